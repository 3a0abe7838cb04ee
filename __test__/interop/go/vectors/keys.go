package vectors

import (
	"crypto/sha256"

	"go4.org/mem"
	"tailscale.com/types/key"
)

// fixedKey returns the same private key for the same label every time. It is
// clamped, as every key that types/key generates is.
func fixedKey(label string) key.NodePrivate {
	raw := sha256.Sum256([]byte("derpkit test vectors: " + label))
	raw[0] &= 248
	raw[31] = raw[31]&127 | 64
	return key.NodePrivateFromRaw32(mem.B(raw[:]))
}

// The parties of every vector.
var (
	serverKey = fixedKey("server")
	aliceKey  = fixedKey("alice")
	bobKey    = fixedKey("bob")
	carolKey  = fixedKey("carol")
	meshHex   = hexOf(sum("mesh key"))
)

func sum(label string) []byte {
	h := sha256.Sum256([]byte("derpkit test vectors: " + label))
	return h[:]
}

func rawPublic(k key.NodePublic) []byte { return k.AppendTo(nil) }

func keyPairs() object {
	pair := func(k key.NodePrivate) object {
		return object{{"private", k.UntypedHexString()}, {"public", k.Public().UntypedHexString()}}
	}
	return group("types/key: NodePrivate.Public on fixed private keys", object{
		{"server", pair(serverKey)},
		{"alice", pair(aliceKey)},
		{"bob", pair(bobKey)},
		{"carol", pair(carolKey)},
		{"mesh", object{{"meshKey", meshHex}}},
	})
}

// keyText is how keys look in files, logs and JSON, and what the parsers take.
func keyText() object {
	priv, pub := must(bobKey.MarshalText()), bobKey.Public().String()
	hexPub := bobKey.Public().UntypedHexString()
	parsePrivate := func(text string) object {
		var k key.NodePrivate
		err := k.UnmarshalText([]byte(text))
		return parsed(text, err, k.UntypedHexString())
	}
	parsePublic := func(text string) object {
		var k key.NodePublic
		err := k.UnmarshalText([]byte(text))
		return parsed(text, err, k.UntypedHexString())
	}
	parseUntyped := func(text string) object {
		k, err := key.ParseNodePublicUntyped(mem.S(text))
		return parsed(text, err, k.UntypedHexString())
	}
	short := func(k key.NodePublic) object {
		return object{{"public", k.UntypedHexString()}, {"short", k.ShortString()}}
	}
	allBits := key.NodePublicFromRaw32(mem.S(string(repeat(0xff, 32))))
	return object{
		{"privateText", group("types/key/node.go NodePrivate.MarshalText and UnmarshalText", object{
			{"bob", parsePrivate(string(priv))},
			{"upperCaseHex", parsePrivate("privkey:" + upper(bobKey.UntypedHexString()))},
			{"upperCasePrefix", parsePrivate("PRIVKEY:" + bobKey.UntypedHexString())},
			{"noPrefix", parsePrivate(bobKey.UntypedHexString())},
			{"publicPrefix", parsePrivate("nodekey:" + bobKey.UntypedHexString())},
			{"short", parsePrivate(string(priv[:len(priv)-1]))},
			{"long", parsePrivate(string(priv) + "0")},
			{"trailingNewline", parsePrivate(string(priv) + "\n")},
			{"notHex", parsePrivate(string(priv[:len(priv)-1]) + "g")},
			{"empty", parsePrivate("")},
			{"allZero", parsePrivate("privkey:" + hexOf(make([]byte, 32)))},
			{"unclamped", parsePrivate("privkey:" + hexOf(repeat(0xff, 32)))},
		})},
		{"publicText", group("types/key/node.go NodePublic.MarshalText and UnmarshalText", object{
			{"bob", parsePublic(pub)},
			{"upperCaseHex", parsePublic("nodekey:" + upper(hexPub))},
			{"noPrefix", parsePublic(hexPub)},
			{"privatePrefix", parsePublic("privkey:" + hexPub)},
			{"short", parsePublic(pub[:len(pub)-1])},
			{"trailingSpace", parsePublic(pub + " ")},
			{"empty", parsePublic("")},
		})},
		{"publicUntyped", group("types/key/node.go ParseNodePublicUntyped", object{
			{"bob", parseUntyped(hexPub)},
			{"upperCase", parseUntyped(upper(hexPub))},
			{"withPrefix", parseUntyped(pub)},
			{"short", parseUntyped(hexPub[1:])},
		})},
		{"shortForm", group("types/key/node.go NodePublic.ShortString", object{
			{"server", short(serverKey.Public())},
			{"alice", short(aliceKey.Public())},
			{"bob", short(bobKey.Public())},
			{"allBits", short(allBits)},
			{"allZero", short(key.NodePublic{})},
		})},
	}
}

// meshKeys is what a mesh key file or environment variable may hold.
func meshKeys() object {
	parse := func(text string) object {
		k, err := key.ParseDERPMesh(text)
		out := parsed(text, err, k.String())
		if err == nil {
			out = append(out, member{"zero", k.IsZero()})
		}
		return out
	}
	return group("types/key/derp.go ParseDERPMesh, DERPMesh.String, DERPMesh.IsZero", object{
		{"plain", parse(meshHex)},
		{"upperCase", parse(upper(meshHex))},
		{"trailingNewline", parse(meshHex + "\n")},
		{"surroundingSpace", parse(" \t\r\n\v\f" + meshHex + " \t\r\n\v\f")},
		{"surroundingNextLine", parse("\u0085" + meshHex + "\u0085")},
		{"surroundingNoBreakSpace", parse("\u00a0" + meshHex + "\u00a0")},
		{"surroundingUnicodeSpace", parse("\u2003\u2028\u3000" + meshHex)},
		{"byteOrderMark", parse("\ufeff" + meshHex)},
		{"innerSpace", parse(meshHex[:32] + " " + meshHex[33:])},
		{"allZero", parse(hexOf(make([]byte, 32)))},
		{"tooShort", parse(meshHex[1:])},
		{"tooLong", parse(meshHex + "0")},
		{"notHex", parse("g" + meshHex[1:])},
		{"hexPrefix", parse("0x" + meshHex[2:])},
		{"empty", parse("")},
		{"onlySpace", parse(" \n")},
	})
}

// parsed is one parser case: what went in, whether it was taken, and as what.
func parsed(text string, err error, asHex string) object {
	if err != nil {
		return object{{"text", text}, {"ok", false}}
	}
	return object{{"text", text}, {"ok", true}, {"hex", asHex}}
}
