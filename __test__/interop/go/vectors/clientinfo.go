package vectors

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"tailscale.com/derp"
)

// clientInfoJSON is which ClientInfo texts log in, and as what. Every case is
// decoded by upstream's type and, sealed into a login, tried on a real server.
func clientInfoJSON() object {
	const key64 = "6d529e9d4ef632d22d4a4214cb49da8f1ba1b72697061fb24e312984c35ec8d8"
	meshKey := func(text string) string { return `{"meshKey":"` + text + `"}` }
	name := func(text string) string { return `{"AppName":"` + text + `"}` }
	values := object{}
	for _, c := range []struct{ name, text string }{
		// What real clients send.
		{"tailscaled", `{"version":2,"CanAckPings":true}`},
		{"meshPeer", `{"meshKey":"` + key64 + `","version":2,"CanAckPings":false}`},
		{"everything", `{"meshKey":"` + key64 + `","version":2,"CanAckPings":true,"IsProber":true,"AppName":"probe"}`},

		// Whole values.
		{"emptyObject", `{}`},
		{"null", `null`},
		{"list", `[]`},
		{"text", `"x"`},
		{"number", `2`},
		{"true", `true`},
		{"nothing", ``},
		{"onlySpace", ` `},
		{"surroundingSpace", " \t\r\n{\"version\":2} \t\r\n"},
		{"trailingBrace", `{"version":2}}`},
		{"trailingObject", `{"version":2}{}`},
		{"trailingNul", "{\"version\":2}\x00"},
		{"leadingByteOrderMark", "\ufeff{\"version\":2}"},
		{"formFeed", "\f{\"version\":2}"},
		{"noBreakSpace", "{\"version\":\u00a02}"},
		{"cutShort", `{"version":2`},
		{"trailingComma", `{"version":2,}`},
		{"comment", `{/* */"version":2}`},
		{"singleQuotes", `{'version':2}`},
		{"unquotedName", `{version:2}`},
		{"notANumber", `{"version":NaN}`},

		// Names.
		{"lowerCaseNames", `{"meshkey":"` + key64 + `","version":2,"canackpings":true,"isprober":true,"appname":"a"}`},
		{"upperCaseNames", `{"MESHKEY":"` + key64 + `","VERSION":2,"CANACKPINGS":true,"ISPROBER":true,"APPNAME":"a"}`},
		{"escapedName", `{"\u0076ersion":2}`},
		{"longSInName", `{"i` + "\u017f" + `Prober":true}`},
		{"kelvinInName", `{"mesh` + "\u212a" + `ey":"` + key64 + `"}`},
		{"unknownName", `{"future":1,"version":2}`},
		{"unknownNested", `{"future":{"version":9,"list":[1,{"a":null}]},"version":2}`},
		{"protoName", `{"__proto__":{"IsProber":true},"constructor":1,"version":2}`},
		{"emptyName", `{"":1,"version":2}`},
		{"spaceInName", `{"version ":"x"}`},

		// The same name twice.
		{"lastWins", `{"version":1,"version":2}`},
		{"lastSpellingWins", `{"VERSION":2,"version":3,"Version":4}`},
		{"laterNullKeeps", `{"version":2,"version":null}`},
		{"earlierBadType", `{"version":"x","version":2}`},
		{"earlierBadMeshKey", `{"meshKey":"x","meshKey":"` + key64 + `"}`},
		{"lastMeshKeyWins", `{"meshKey":"` + strings.Repeat("11", 32) + `","meshKey":"` + key64 + `"}`},

		// version
		{"versionZero", `{"version":0}`},
		{"versionNegative", `{"version":-3}`},
		{"versionNegativeZero", `{"version":-0}`},
		{"versionText", `{"version":"2"}`},
		{"versionBoolean", `{"version":true}`},
		{"versionFraction", `{"version":2.5}`},
		{"versionWholeFraction", `{"version":2.0}`},
		{"versionExponent", `{"version":2e0}`},
		{"versionLarge", `{"version":9223372036854775807}`},
		{"versionTooLarge", `{"version":9223372036854775808}`},
		{"versionLeadingZero", `{"version":02}`},
		{"versionPlus", `{"version":+2}`},
		{"versionNull", `{"version":null}`},
		{"versionList", `{"version":[2]}`},

		// CanAckPings, IsProber
		{"booleansFalse", `{"CanAckPings":false,"IsProber":false}`},
		{"booleansNull", `{"CanAckPings":null,"IsProber":null}`},
		{"canAckPingsNumber", `{"CanAckPings":1}`},
		{"canAckPingsText", `{"CanAckPings":"true"}`},
		{"canAckPingsUpperCase", `{"CanAckPings":TRUE}`},
		{"isProberNumber", `{"IsProber":0}`},
		{"isProberObject", `{"IsProber":{}}`},

		// meshKey
		{"meshKeyUpperCase", meshKey(strings.ToUpper(key64))},
		{"meshKeyAllZero", meshKey(strings.Repeat("0", 64))},
		{"meshKeyEscaped", meshKey(`\u0036` + key64[1:])},
		{"meshKeyEmpty", meshKey("")},
		{"meshKeyNull", `{"meshKey":null}`},
		{"meshKeyNumber", `{"meshKey":1}`},
		{"meshKeyObject", `{"meshKey":{}}`},
		{"meshKeyShort", meshKey(key64[2:])},
		{"meshKeyOddShort", meshKey(key64[1:])},
		{"meshKeyOddLong", meshKey(key64 + "0")},
		{"meshKeyLong", meshKey(key64 + "00")},
		{"meshKeyNotHex", meshKey("zz" + key64[2:])},
		{"meshKeySpace", meshKey(" " + key64)},
		{"meshKeyNewline", meshKey(key64 + `\n`)},

		// AppName
		{"appName", name("app 1.0 (test)")},
		{"appNameEmpty", name("")},
		{"appNameNull", `{"AppName":null}`},
		{"appNameNumber", `{"AppName":1}`},
		{"appNameLongest", name(strings.Repeat("a", derp.MaxAppNameLen))},
		{"appNameTooLong", name(strings.Repeat("a", derp.MaxAppNameLen+1))},
		{"appNameEscapes", name(`\u0041\/\"\\`)},
		{"appNameTab", name(`a\tb`)},
		{"appNameDelete", name("\x7f")},
		{"appNameNotASCII", name("caf\u00e9")},
		{"appNameEscapedNotASCII", name(`caf\u00e9`)},

		// Text that is not clean.
		{"rawTabInText", "{\"future\":\"a\tb\"}"},
		{"rawNewlineInText", "{\"future\":\"a\nb\"}"},
		{"badEscape", `{"future":"\x41"}`},
		{"loneSurrogateElsewhere", `{"future":"\ud800","version":2}`},
		{"loneSurrogateAppName", name(`\ud800`)},
		{"invalidUTF8Elsewhere", "{\"future\":\"\xff\",\"version\":2}"},
		{"invalidUTF8Name", "{\"\xff\":1,\"version\":2}"},
		{"invalidUTF8AppName", name("\xff")},
		{"invalidUTF8OutsideText", "{\xff}"},
	} {
		values = append(values, member{c.name, clientInfoCase(c.text)})
	}
	return group("derp/derp_client.go ClientInfo through encoding/json, ValidAppName, and derpserver.Server.Accept", values)
}

func clientInfoCase(text string) object {
	var info derp.ClientInfo
	err := json.Unmarshal([]byte(text), &info)
	ok := err == nil && derp.ValidAppName(info.AppName)
	if got := accepted([]byte(text)); got != ok {
		failf("ClientInfo %q: decoding says %v, the server says %v", text, ok, got)
	}
	out := object{}
	if utf8.ValidString(text) {
		out = append(out, member{"json", text})
	}
	out = append(out, member{"hex", hexOf([]byte(text))}, member{"accepted", ok})
	if !ok {
		return out
	}
	meshKey := ""
	if !info.MeshKey.IsZero() {
		meshKey = info.MeshKey.String()
	}
	return append(out, member{"decoded", object{
		{"meshKey", meshKey},
		{"version", info.Version},
		{"canAckPings", info.CanAckPings},
		{"isProber", info.IsProber},
		{"appName", info.AppName},
	}})
}

// clientInfoDepth is how deeply nested an unknown field may be: a deeper one
// has to be refused, or at least must not take the process down.
func clientInfoDepth() object {
	nested := func(depth int) bool {
		var info derp.ClientInfo
		text := `{"future":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + `}`
		return json.Unmarshal([]byte(text), &info) == nil
	}
	return object{{"source", "encoding/json of the Go release that upstream asks for (" + upstream + ", measured)"},
		{"deepestListInUnknownField", longest(1, 100_000, nested)}}
}

// appNames is derp.ValidAppName at its edges.
func appNames() object {
	values := object{}
	for _, c := range []struct{ name, text string }{
		{"empty", ""},
		{"plain", "tsnet app"},
		{"space", " "},
		{"tilde", "~"},
		{"allSymbols", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}"},
		{"longest", strings.Repeat("x", derp.MaxAppNameLen)},
		{"tooLong", strings.Repeat("x", derp.MaxAppNameLen+1)},
		{"longestInBytesNotLetters", strings.Repeat("\u00e9", derp.MaxAppNameLen/2)},
		{"nul", "a\x00"},
		{"newline", "a\n"},
		{"unitSeparator", "\x1f"},
		{"delete", "\x7f"},
		{"notASCII", "\u00fc"},
	} {
		values = append(values, member{c.name, object{{"text", c.text}, {"valid", derp.ValidAppName(c.text)}}})
	}
	return group("derp/derp_client.go ValidAppName", values)
}
