package vectors

import (
	"context"
	"encoding/json"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// First bytes of the nonces; see withRandom.
const (
	clientNonce = 0x40
	serverNonce = 0x80
)

// loginBoxes are whole logins: what the real client sends, and how the real
// server answers, with the box contents opened by the real key types.
func loginBoxes() object {
	mesh := must(key.ParseDERPMesh(meshHex))
	return group("capture of derp.NewClient and derpserver.Server with a known nonce (types/key SealTo and OpenFrom)", object{
		{"regular", loginBox(derp.CanAckPings(true))},
		{"minimal", loginBox()},
		{"meshPeer", loginBox(derp.MeshKey(mesh))},
		{"everything", loginBox(derp.MeshKey(mesh), derp.CanAckPings(true), derp.IsProber(true), derp.AppName("derpkit test"))},
	})
}

func loginBox(opts ...derp.ClientOpt) object {
	var clientInfo, serverInfo []byte
	withRandom(clientNonce, func() {
		_, out := reader(aliceKey, nil, opts...)
		clientInfo = out.Bytes()
	})
	s := newServer()
	defer s.Close()
	p := plug(context.Background(), s, aliceAt)
	p.expect(derp.FrameServerKey)
	withRandom(serverNonce, func() {
		must(p.Write(clientInfo))
		serverInfo = p.expect(derp.FrameServerInfo)
	})
	// The real client has to take the answer.
	client, _ := reader(aliceKey, serverInfo)
	if _, ok := must(client.Recv()).(derp.ServerInfoMessage); !ok {
		failf("the client did not read the ServerInfo frame")
	}

	toServer := clientInfo[derp.FrameHeaderLen+derp.KeyLen:]
	toClient := serverInfo[derp.FrameHeaderLen:]
	clientJSON, ok := serverKey.OpenFrom(aliceKey.Public(), toServer)
	if !ok {
		failf("the server's key does not open the client's box")
	}
	serverJSON, ok := aliceKey.OpenFrom(serverKey.Public(), toClient)
	if !ok {
		failf("the client's key does not open the server's box")
	}
	party := func(seal, open key.NodePrivate, frame, sealed, text []byte) object {
		return object{
			{"privateKey", seal.UntypedHexString()},
			{"peerPublicKey", open.Public().UntypedHexString()},
			{"nonce", hexOf(sealed[:derp.NonceLen])},
			{"json", string(text)},
			{"box", hexOf(sealed[derp.NonceLen:])},
			{"frameHeader", hexOf(frame[:derp.FrameHeaderLen])},
			{"frame", hexOf(frame)},
		}
	}
	return object{
		{"ClientInfo", party(aliceKey, serverKey, clientInfo, toServer, clientJSON)},
		{"ServerInfo", party(serverKey, aliceKey, serverInfo, toClient, serverJSON)},
	}
}

// serverInfoJSON is what the real client makes of ServerInfo texts; a mesh
// link is such a client.
func serverInfoJSON() object {
	take := func(text string) object {
		var info derp.ServerInfo
		err := json.Unmarshal([]byte(text), &info)
		client, _ := reader(aliceKey, written(derp.FrameServerInfo, serverKey.SealTo(aliceKey.Public(), []byte(text))))
		message, recvErr := client.Recv()
		if (err == nil) != (recvErr == nil) {
			failf("ServerInfo %s: decoded %v, received %v", text, err, recvErr)
		}
		if err != nil {
			return object{{"json", text}, {"accepted", false}}
		}
		m := message.(derp.ServerInfoMessage)
		return object{{"json", text}, {"accepted", true}, {"version", info.Version},
			{"tokenBucketBytesPerSecond", m.TokenBucketBytesPerSecond}, {"tokenBucketBytesBurst", m.TokenBucketBytesBurst}}
	}
	return group("derp/derp.go ServerInfo through encoding/json and derp.Client.Recv", object{
		{"today", take(`{"version":2}`)},
		{"empty", take(`{}`)},
		{"null", take(`null`)},
		{"futureField", take(`{"version":3,"future":{"a":[1]}}`)},
		{"tokenBucket", take(`{"version":2,"TokenBucketBytesPerSecond":1250000,"TokenBucketBytesBurst":2500000}`)},
		{"tokenBucketLowerCase", take(`{"version":2,"tokenbucketbytespersecond":7}`)},
		{"versionText", take(`{"version":"2"}`)},
		{"list", take(`[]`)},
		{"nothing", take(``)},
	})
}

// accepted reports whether the real server lets a client in with this JSON.
func accepted(text []byte) bool {
	s := newServer()
	defer s.Close()
	p := plug(context.Background(), s, aliceAt)
	defer p.Close()
	p.expect(derp.FrameServerKey)
	payload := append(rawPublic(aliceKey.Public()), aliceKey.SealTo(serverKey.Public(), text)...)
	p.SetWriteDeadline(time.Now().Add(settle))
	p.Write(written(derp.FrameClientInfo, payload)) // a refusal may cut it short
	frame, err := p.frame()
	return err == nil && derp.FrameType(frame[0]) == derp.FrameServerInfo
}
