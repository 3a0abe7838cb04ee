package vectors

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// firstFrames is which frame headers a server takes for a login. One that it
// does not take ends the connection before any of the body is read.
func firstFrames() object {
	try := func(t derp.FrameType, length int) object {
		s := newServer()
		defer s.Close()
		p := plug(context.Background(), s, aliceAt)
		defer p.Close()
		p.expect(derp.FrameServerKey)
		return object{{"type", t}, {"length", length}, {"taken", p.takesHeader(t, length)}}
	}
	return group("derpserver.Server.recvClientKey, measured", object{
		{"empty", try(derp.FrameClientInfo, 0)},
		{"tooShort", try(derp.FrameClientInfo, derp.KeyLen+derp.NonceLen-1)},
		{"shortest", try(derp.FrameClientInfo, derp.KeyLen+derp.NonceLen)},
		{"longest", try(derp.FrameClientInfo, 256<<10)},
		{"tooLong", try(derp.FrameClientInfo, 256<<10+1)},
		{"sendPacket", try(derp.FrameSendPacket, 100)},
		{"ping", try(derp.FramePing, 8)},
		{"serverKey", try(derp.FrameServerKey, 100)},
	})
}

// takesHeader writes a frame header, then one byte of body: the pipe has no
// buffer, so the byte goes through only if the other end reads on.
func (p *peer) takesHeader(t derp.FrameType, length int) bool {
	p.SetWriteDeadline(time.Now().Add(settle))
	must(p.Write(written(t, make([]byte, length))[:derp.FrameHeaderLen]))
	_, err := p.Write([]byte{0})
	if err != nil && !errors.Is(err, io.ErrClosedPipe) {
		failf("frame %#x of %d bytes: %v", t, length, err)
	}
	return err == nil
}

// inboundFrames is which frames end a logged-in connection. After each one
// comes a ping: a pong means that the frame was taken, the end of the stream
// that it was not. The bodies are zeros.
func inboundFrames() object {
	mesh := derp.MeshKey(must(key.ParseDERPMesh(meshHex)))
	try := func(t derp.FrameType, length int, asMesh bool) object {
		var opts []derp.ClientOpt
		if asMesh {
			opts = append(opts, mesh)
		}
		return object{{"type", t}, {"length", length}, {"mesh", asMesh}, {"closes", !stays(t, length, opts...)}}
	}
	const max = derp.MaxPacketSize
	regular := func(t derp.FrameType, length int) object { return try(t, length, false) }
	meshed := func(t derp.FrameType, length int) object { return try(t, length, true) }
	return group("derpserver.sclient.run and its frame handlers, measured", object{
		{"sendPacketShort", regular(derp.FrameSendPacket, 31)},
		{"sendPacketNoBody", regular(derp.FrameSendPacket, 0)},
		{"sendPacketEmpty", regular(derp.FrameSendPacket, 32)},
		{"sendPacketLongest", regular(derp.FrameSendPacket, 32+max)},
		{"sendPacketTooLong", regular(derp.FrameSendPacket, 32+max+1)},
		{"forwardPacketRegular", regular(derp.FrameForwardPacket, 64)},
		{"forwardPacketShort", meshed(derp.FrameForwardPacket, 63)},
		{"forwardPacketEmpty", meshed(derp.FrameForwardPacket, 64)},
		{"forwardPacketLongest", meshed(derp.FrameForwardPacket, 64+max)},
		{"forwardPacketTooLong", meshed(derp.FrameForwardPacket, 64+max+1)},
		{"notePreferredEmpty", regular(derp.FrameNotePreferred, 0)},
		{"notePreferred", regular(derp.FrameNotePreferred, 1)},
		{"notePreferredLong", regular(derp.FrameNotePreferred, 2)},
		{"watchConnsRegular", regular(derp.FrameWatchConns, 0)},
		{"watchConnsMesh", meshed(derp.FrameWatchConns, 0)},
		{"watchConnsMeshLong", meshed(derp.FrameWatchConns, 1)},
		{"closePeerRegular", regular(derp.FrameClosePeer, 32)},
		{"closePeerMeshShort", meshed(derp.FrameClosePeer, 31)},
		{"closePeerMesh", meshed(derp.FrameClosePeer, 32)},
		{"closePeerMeshLong", meshed(derp.FrameClosePeer, 33)},
		{"pingShort", regular(derp.FramePing, 7)},
		{"ping", regular(derp.FramePing, 8)},
		{"pingLonger", regular(derp.FramePing, 9)},
		{"pingLongest", regular(derp.FramePing, 1000)},
		{"pingTooLong", regular(derp.FramePing, 1001)},
		{"pong", regular(derp.FramePong, 8)},
		{"pongEmpty", regular(derp.FramePong, 0)},
		{"keepAlive", regular(derp.FrameKeepAlive, 0)},
		{"serverKey", regular(derp.FrameServerKey, 40)},
		{"clientInfo", regular(derp.FrameClientInfo, 88)},
		{"serverInfo", regular(derp.FrameServerInfo, 53)},
		{"recvPacket", regular(derp.FrameRecvPacket, 40)},
		{"peerGone", regular(derp.FramePeerGone, 33)},
		{"peerPresent", regular(derp.FramePeerPresent, 52)},
		{"health", regular(derp.FrameHealth, 3)},
		{"restarting", regular(derp.FrameRestarting, 8)},
		{"unknownEmpty", regular(derp.FrameType(0x7f), 0)},
		{"unknownLongest", regular(derp.FrameType(0x7f), 32+max)},
		{"unknownTooLong", regular(derp.FrameType(0x7f), 32+max+1)},
		{"unknownZeroType", regular(derp.FrameType(0), 1)},
		{"keepAliveTooLong", regular(derp.FrameKeepAlive, 32+max+1)},
		{"unknownTooLongMesh", meshed(derp.FrameType(0xff), 32+max+1)},
	})
}

// stays reports whether a logged-in connection outlives a frame of zeros.
func stays(t derp.FrameType, length int, opts ...derp.ClientOpt) bool {
	s := newServer()
	defer s.Close()
	p := login(s, aliceKey, aliceAt, opts...)
	defer p.Close()
	return p.survives(t, length)
}

// survives sends one frame of zeros and reports whether p still answers a ping.
func (p *peer) survives(t derp.FrameType, length int) bool {
	frame := written(t, make([]byte, length))
	go func() {
		// The server may hang up anywhere in here; the reader below tells.
		p.Write(frame)
		p.client.SendPing(pingData)
	}()
	for {
		got, err := p.frame()
		if err != nil {
			return false
		}
		if bytes.Equal(got, written(derp.FramePong, pingData[:])) {
			return true
		}
		if derp.FrameType(got[0]) == derp.FramePong {
			// The frame was a ping itself. Only one pong waits at a time, so
			// ours may have been dropped for it.
			go p.client.SendPing(pingData)
		}
	}
}
