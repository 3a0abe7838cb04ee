package vectors

import (
	"context"
	"encoding/binary"
	"fmt"

	"tailscale.com/derp"
	"tailscale.com/derp/derpserver"
	"tailscale.com/types/key"
)

// Where the captured frames say their peers are. Documentation addresses.
const (
	aliceAt = "192.0.2.7:41641"
	bobAt   = "[2001:db8::7]:41642"
	carolAt = "198.51.100.9:443"
)

// packetBytes is the payload of the packet vectors.
var packetBytes = []byte("\x04\x00\x00\x00derpkit")

var pingData = [8]byte{0xde, 0xad, 0xbe, 0xef, 0x00, 0x01, 0x02, 0x03}

// frames has one whole frame (header and payload) of every kind.
func frames() object {
	list := clientFrames()
	list = append(list, serverFrames()...)
	list = append(list, peerPresentFrames()...)
	return append(list, unsentFrames()...)
}

func frameEntry(name, direction string, frame []byte, source string, fields ...member) object {
	entry := object{{"type", name}, {"direction", direction}, {"hex", hexOf(frame)}}
	return append(append(entry, fields...), member{"source", source + " (" + upstream + ")"})
}

// clientFrames are written by the real client.
func clientFrames() object {
	const source = "capture of derp.Client."
	capture := func(name, method string, write func(*derp.Client) error, fields ...member) object {
		client, out := writer(aliceKey)
		check(write(client))
		return frameEntry(name, "toServer", out.Bytes(), source+method, fields...)
	}
	alice, bob := aliceKey.Public(), bobKey.Public()
	to := member{"destination", bob.UntypedHexString()}
	from := member{"sourceKey", alice.UntypedHexString()}
	payload := member{"payload", hexOf(packetBytes)}
	return object{
		{"SendPacket", capture("SendPacket", "Send", func(c *derp.Client) error { return c.Send(bob, packetBytes) }, to, payload)},
		{"SendPacketEmpty", capture("SendPacket", "Send", func(c *derp.Client) error { return c.Send(bob, nil) }, to, member{"payload", ""})},
		{"NotePreferred", capture("NotePreferred", "NotePreferred", func(c *derp.Client) error { return c.NotePreferred(true) }, member{"preferred", true})},
		{"NotePreferredNot", capture("NotePreferred", "NotePreferred", func(c *derp.Client) error { return c.NotePreferred(false) }, member{"preferred", false})},
		{"ForwardPacket", capture("ForwardPacket", "ForwardPacket", func(c *derp.Client) error {
			return c.ForwardPacket(alice, bob, derp.LoanBytes(packetBytes))
		}, from, to, payload)},
		{"WatchConns", capture("WatchConns", "WatchConnectionChanges", func(c *derp.Client) error { return c.WatchConnectionChanges() })},
		{"ClosePeer", capture("ClosePeer", "ClosePeer", func(c *derp.Client) error { return c.ClosePeer(bob) }, member{"peer", bob.UntypedHexString()})},
		{"Ping", capture("Ping", "SendPing", func(c *derp.Client) error { return c.SendPing(pingData) }, member{"data", hexOf(pingData[:])})},
		{"PongFromClient", capture("Pong", "SendPong", func(c *derp.Client) error { return c.SendPong(pingData) }, member{"data", hexOf(pingData[:])})},
	}
}

// serverFrames are written by the real server, in answer to the real client.
func serverFrames() object {
	const source = "capture of derpserver.Server: "
	s := newServer()
	defer s.Close()

	greeting := plug(context.Background(), s, aliceAt)
	serverKeyFrame := greeting.expect(derp.FrameServerKey)
	greeting.Close()

	alice, bob := login(s, aliceKey, aliceAt), login(s, bobKey, bobAt)
	check(alice.client.Send(bobKey.Public(), packetBytes))
	recv := bob.expect(derp.FrameRecvPacket)
	check(bob.client.Send(aliceKey.Public(), nil))
	recvEmpty := alice.expect(derp.FrameRecvPacket)
	check(alice.client.SendPing(pingData))
	pong := alice.expect(derp.FramePong)
	check(alice.client.Send(carolKey.Public(), discoPacket()))
	notHere := alice.expect(derp.FramePeerGone)
	alice.Close()
	gone := bob.expect(derp.FramePeerGone)

	from := func(k key.NodePrivate) member { return member{"sourceKey", k.Public().UntypedHexString()} }
	return object{
		{"ServerKey", frameEntry("ServerKey", "toClient", serverKeyFrame, source+"the greeting",
			member{"public", serverKey.Public().UntypedHexString()})},
		{"RecvPacket", frameEntry("RecvPacket", "toClient", recv, source+"a relayed packet",
			from(aliceKey), member{"payload", hexOf(packetBytes)})},
		{"RecvPacketEmpty", frameEntry("RecvPacket", "toClient", recvEmpty, source+"a relayed empty packet",
			from(bobKey), member{"payload", ""})},
		{"Pong", frameEntry("Pong", "toClient", pong, source+"answer to a Ping", member{"data", hexOf(pingData[:])})},
		{"PeerGoneNotHere", frameEntry("PeerGone", "toClient", notHere, source+"answer to disco for an unknown key",
			member{"peer", carolKey.Public().UntypedHexString()}, member{"reason", "NotHere"})},
		{"PeerGone", frameEntry("PeerGone", "toClient", gone, source+"a sender disconnected",
			member{"peer", aliceKey.Public().UntypedHexString()}, member{"reason", "Disconnected"})},
	}
}

// peerPresentFrames are what a watcher is told of differently connected peers.
func peerPresentFrames() object {
	const source = "capture of derpserver.Server: announcement to a watcher of "
	notIdeal := derpserver.IdealNodeContextKey.WithValue(context.Background(), "derp1")
	plain := context.Background()
	mesh := derp.MeshKey(must(key.ParseDERPMesh(meshHex)))
	out := object{}
	for _, c := range []struct {
		name, what, remoteAddr string
		ctx                    context.Context
		address                string
		flags                  []string
		appName                string
		opts                   []derp.ClientOpt
	}{
		{"PeerPresent", "a peer on IPv4", aliceAt, plain, aliceAt, []string{"IsRegular"}, "", nil},
		{"PeerPresentIPv6", "a peer on IPv6", bobAt, plain, bobAt, []string{"IsRegular"}, "", nil},
		{"PeerPresentMappedIPv4", "a peer on an IPv4-mapped address", "[::ffff:192.0.2.7]:41641", plain, aliceAt, []string{"IsRegular"}, "", nil},
		{"PeerPresentAppName", "a peer with an app name", aliceAt, plain, aliceAt, []string{"IsRegular"}, "derpkit test", []derp.ClientOpt{derp.AppName("derpkit test")}},
		{"PeerPresentMeshPeer", "a peer with the mesh key", aliceAt, plain, aliceAt, []string{"IsMeshPeer"}, "", []derp.ClientOpt{mesh}},
		{"PeerPresentProber", "a prober", aliceAt, plain, aliceAt, []string{"IsProber"}, "", []derp.ClientOpt{derp.IsProber(true)}},
		{"PeerPresentNotIdeal", "a peer that names its ideal node", aliceAt, notIdeal, aliceAt, []string{"NotIdeal"}, "", nil},
		{"PeerPresentAllFlags", "a prober with the mesh key that names its ideal node", aliceAt, notIdeal, aliceAt,
			[]string{"IsMeshPeer", "IsProber", "NotIdeal"}, "", []derp.ClientOpt{mesh, derp.IsProber(true)}},
		{"PeerPresentNoAddress", "a peer without an IP address", "pipe", plain, "", []string{"IsRegular"}, "", nil},
	} {
		frame := announced(c.ctx, c.remoteAddr, c.opts)
		out = append(out, member{c.name, frameEntry("PeerPresent", "toClient", frame, source+c.what,
			member{"peer", aliceKey.Public().UntypedHexString()}, member{"address", c.address},
			member{"flags", c.flags}, member{"appName", c.appName})})
	}
	return out
}

// announced returns the PeerPresent frame for one connection of alice's.
func announced(ctx context.Context, remoteAddr string, opts []derp.ClientOpt) []byte {
	s := newServer()
	defer s.Close()
	watcher := login(s, carolKey, carolAt, derp.MeshKey(must(key.ParseDERPMesh(meshHex))))
	check(watcher.client.WatchConnectionChanges())
	watcher.expect(derp.FramePeerPresent) // the watcher itself comes first
	loginContext(ctx, s, aliceKey, remoteAddr, opts...)
	return watcher.expect(derp.FramePeerPresent)
}

// unsentFrames are those that the released server never sends (Health,
// Restarting) or sends after a minute only (KeepAlive). They are written with
// upstream's encoder, and the real client has to understand them.
func unsentFrames() object {
	const source = "derp.WriteFrame, read back by derp.Client.Recv"
	restarting := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 1500), 10_000)
	entry := func(t derp.FrameType, name string, payload []byte, want derp.ReceivedMessage, fields ...member) object {
		frame := written(t, payload)
		client, _ := reader(aliceKey, frame)
		if got := must(client.Recv()); got != want {
			failf("%s reads as %+v, want %+v", name, got, want)
		}
		return frameEntry(name, "toClient", frame, source, fields...)
	}
	return object{
		{"KeepAlive", entry(derp.FrameKeepAlive, "KeepAlive", nil, derp.KeepAliveMessage{})},
		{"PingFromServer", entry(derp.FramePing, "Ping", pingData[:], derp.PingMessage(pingData), member{"data", hexOf(pingData[:])})},
		{"Health", entry(derp.FrameHealth, "Health", []byte("duplicate key"), derp.HealthMessage{Problem: "duplicate key"}, member{"problem", "duplicate key"})},
		{"HealthCleared", entry(derp.FrameHealth, "Health", nil, derp.HealthMessage{}, member{"problem", ""})},
		{"Restarting", entry(derp.FrameRestarting, "Restarting", restarting,
			derp.ServerRestartingMessage{ReconnectIn: 1500 * 1e6, TryFor: 10_000 * 1e6},
			member{"reconnectInMs", 1500}, member{"tryForMs", 10_000})},
	}
}

func discoPacket() []byte {
	return append([]byte("TS\xf0\x9f\x92\xac"), repeat(1, discoMinLen()-6)...)
}

// clientReads is what the real client makes of frames from older, newer and
// broken servers; a mesh link has to be as tolerant.
func clientReads() object {
	peer := rawPublic(bobKey.Public())
	address := append(append(make([]byte, 10), 0xff, 0xff, 192, 0, 2, 7), 0xa2, 0xa9)
	with := func(parts ...[]byte) []byte {
		var b []byte
		for _, p := range parts {
			b = append(b, p...)
		}
		return b
	}
	read := func(t derp.FrameType, payload []byte) object {
		frame := written(t, payload)
		// A ping behind the frame tells "ignored" from "waiting for more".
		client, _ := reader(aliceKey, with(frame, written(derp.FramePing, repeat(0xee, 8))))
		message, err := client.Recv()
		return object{{"hex", hexOf(frame)}, {"reads", describe(message, err)}}
	}
	return group("derp.Client.Recv on frames written with derp.WriteFrame", object{
		{"peerGoneWithoutReason", read(derp.FramePeerGone, peer)},
		{"peerGoneLonger", read(derp.FramePeerGone, with(peer, []byte{1, 2, 3}))},
		{"peerGoneUnknownReason", read(derp.FramePeerGone, with(peer, []byte{0x42}))},
		{"peerGoneShort", read(derp.FramePeerGone, peer[:31])},
		{"peerPresentKeyOnly", read(derp.FramePeerPresent, peer)},
		{"peerPresentShort", read(derp.FramePeerPresent, peer[:31])},
		{"peerPresentCutAddress", read(derp.FramePeerPresent, with(peer, address[:17]))},
		{"peerPresentNoFlags", read(derp.FramePeerPresent, with(peer, address))},
		{"peerPresentNoName", read(derp.FramePeerPresent, with(peer, address, []byte{1}))},
		{"peerPresentEmptyName", read(derp.FramePeerPresent, with(peer, address, []byte{1, 0}))},
		{"peerPresentName", read(derp.FramePeerPresent, with(peer, address, []byte{1, 3}, []byte("app")))},
		{"peerPresentCutName", read(derp.FramePeerPresent, with(peer, address, []byte{1, 4}, []byte("app")))},
		{"peerPresentBadName", read(derp.FramePeerPresent, with(peer, address, []byte{1, 3}, []byte("a\np")))},
		{"peerPresentLonger", read(derp.FramePeerPresent, with(peer, address, []byte{1, 3}, []byte("app and more")))},
		{"recvPacketShort", read(derp.FrameRecvPacket, peer[:31])},
		{"recvPacketEmpty", read(derp.FrameRecvPacket, peer)},
		{"pingShort", read(derp.FramePing, pingData[:7])},
		{"pingLonger", read(derp.FramePing, with(pingData[:], []byte{9}))},
		{"pongShort", read(derp.FramePong, pingData[:7])},
		{"pongLonger", read(derp.FramePong, with(pingData[:], []byte{9}))},
		{"restartingShort", read(derp.FrameRestarting, make([]byte, 7))},
		{"keepAliveWithBody", read(derp.FrameKeepAlive, []byte{1})},
		{"serverKeyAfterLogin", read(derp.FrameServerKey, with([]byte(derp.Magic), peer))},
		{"unknownType", read(derp.FrameType(0x7f), []byte("future"))},
	})
}

// describe renders what the client returned, or "ignored" when it was the ping.
func describe(m derp.ReceivedMessage, err error) any {
	if err != nil {
		return object{{"error", err.Error()}}
	}
	switch m := m.(type) {
	case derp.PingMessage:
		if m == derp.PingMessage(repeat(0xee, 8)) {
			return "ignored"
		}
		return object{{"type", "Ping"}, {"data", hexOf(m[:])}}
	case derp.PongMessage:
		return object{{"type", "Pong"}, {"data", hexOf(m[:])}}
	case derp.KeepAliveMessage:
		return object{{"type", "KeepAlive"}}
	case derp.PeerGoneMessage:
		return object{{"type", "PeerGone"}, {"peer", m.Peer.UntypedHexString()}, {"reason", m.Reason}}
	case derp.PeerPresentMessage:
		address := ""
		if m.IPPort.IsValid() {
			address = m.IPPort.String()
		}
		return object{{"type", "PeerPresent"}, {"peer", m.Key.UntypedHexString()}, {"address", address}, {"flags", m.Flags}, {"appName", m.AppName}}
	case derp.ReceivedPacket:
		return object{{"type", "RecvPacket"}, {"sourceKey", m.Source.UntypedHexString()}, {"payload", hexOf(m.Data)}}
	}
	panic(fmt.Sprintf("unexpected message %#v", m))
}
