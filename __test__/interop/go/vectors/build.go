// Package vectors writes down the DERP protocol as upstream speaks it: bytes
// that its client and its server produced, and what they make of bytes that
// they are given. Nothing in here encodes a frame by itself.
package vectors

import (
	"bytes"
	"encoding/json"
	"runtime/debug"
)

// Build returns the text of protocol.json. It is the same on every run.
func Build() []byte {
	checkUpstream()
	// Drops first: the other vectors provoke some.
	droppings := drops()
	file := object{
		{"upstream", upstream},
		{"constants", constants()},
		{"documented", documented()},
		{"frameTypes", frameTypes()},
		{"peerGoneReasons", peerGoneReasons()},
		{"peerPresentFlags", peerPresentFlags()},
		{"drops", droppings},
		{"keys", keyPairs()},
		{"frames", frames()},
		{"login", loginBoxes()},
		{"clientInfoJson", clientInfoJSON()},
		{"clientInfoDepth", clientInfoDepth()},
		{"serverInfoJson", serverInfoJSON()},
		{"appNames", appNames()},
		{"keyText", keyText()},
		{"meshKeys", meshKeys()},
		{"firstFrames", firstFrames()},
		{"inboundFrames", inboundFrames()},
		{"clientReads", clientReads()},
		{"disco", discoCases()},
		{"metaCert", metaCert()},
		{"upgrade", upgrade()},
		{"noContent", noContent()},
		{"stun", stunVectors()},
	}
	var out bytes.Buffer
	check(json.Indent(&out, must(marshal(file)), "", "  "))
	out.WriteByte('\n')
	return out.Bytes()
}

// checkUpstream fails if go.mod moved on and the sources here did not.
func checkUpstream() {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		failf("no build information")
	}
	for _, m := range info.Deps {
		if m.Path+" "+m.Version == upstream {
			return
		}
	}
	failf("this program is not built with %s", upstream)
}
