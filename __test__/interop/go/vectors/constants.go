package vectors

import (
	"golang.org/x/crypto/nacl/box"
	"tailscale.com/derp"
	"tailscale.com/derp/derpconst"
	"tailscale.com/derp/derpserver"
	"tailscale.com/disco"
)

// constants are values that upstream exports; the compiler vouches for them.
func constants() object {
	entry := func(value any, symbol string) object {
		return object{{"value", value}, {"source", symbol + " (" + upstream + ")"}}
	}
	return object{
		{"Magic", entry(hexOf([]byte(derp.Magic)), "derp/derp.go Magic, as hex")},
		{"ProtocolVersion", entry(derp.ProtocolVersion, "derp/derp.go ProtocolVersion")},
		{"FrameHeaderLen", entry(derp.FrameHeaderLen, "derp/derp.go FrameHeaderLen")},
		{"KeyLen", entry(derp.KeyLen, "derp/derp.go KeyLen")},
		{"NonceLen", entry(derp.NonceLen, "derp/derp.go NonceLen")},
		{"BoxOverhead", entry(box.Overhead, "golang.org/x/crypto/nacl/box Overhead, used by types/key SealTo")},
		{"MaxPacketSize", entry(derp.MaxPacketSize, "derp/derp.go MaxPacketSize")},
		{"MaxInfoLen", entry(derp.MaxInfoLen, "derp/derp.go MaxInfoLen")},
		{"MaxAppNameLen", entry(derp.MaxAppNameLen, "derp/derp_client.go MaxAppNameLen")},
		{"KeepAliveSeconds", entry(derp.KeepAlive.Seconds(), "derp/derp.go KeepAlive")},
		{"DefaultTCPWriteTimeoutSeconds", entry(derpserver.DefaultTCPWiteTimeout.Seconds(), "derp/derpserver/derpserver.go DefaultTCPWiteTimeout (spelled so)")},
		{"MetaCertCommonNamePrefix", entry(derpconst.MetaCertCommonNamePrefix, "derp/derpconst MetaCertCommonNamePrefix")},
		{"FastStartHeader", entry(derp.FastStartHeader, "derp/derp.go FastStartHeader")},
		{"IdealNodeHeader", entry(derp.IdealNodeHeader, "derp/derp.go IdealNodeHeader")},
		{"NoContentChallengeHeader", entry(derpserver.NoContentChallengeHeader, "derp/derpserver/handler.go NoContentChallengeHeader")},
		{"NoContentResponseHeader", entry(derpserver.NoContentResponseHeader, "derp/derpserver/handler.go NoContentResponseHeader")},
		{"DiscoMagic", entry(hexOf([]byte(disco.Magic)), "disco/disco.go Magic, as hex")},
		{"DiscoMinLen", entry(discoMinLen(), "disco/disco.go LooksLikeDiscoWrapper, shortest packet it takes")},
	}
}

// documented are values which upstream keeps unexported and which no short
// capture can show. They were read in the source, not executed.
func documented() object {
	entry := func(value any, symbol string) object {
		return object{{"value", value}, {"source", "derp/derpserver/derpserver.go " + symbol + " (" + upstream + ", read)"}}
	}
	return object{
		{"SendQueueDepth", entry(32, "defaultPerClientSendQueueDepth")},
		{"MeshWriteTimeoutSeconds", entry(30, "privilegedWriteTimeout")},
		{"KeepAliveJitterSeconds", entry(5, "keepAliveInterval")},
		{"LoginTimeoutSeconds", entry(10, "Server.accept")},
		{"NotHerePerSecond", entry(1, "Server.accept, sclient.peerGoneLim")},
		{"NotHereBurst", entry(3, "Server.accept, sclient.peerGoneLim")},
		{"HomeMoveGraceSeconds", entry(5, "sclient.setPreferred")},
	}
}

func frameTypes() object {
	return group("derp/derp.go FrameType constants", object{
		{"ServerKey", derp.FrameServerKey},
		{"ClientInfo", derp.FrameClientInfo},
		{"ServerInfo", derp.FrameServerInfo},
		{"SendPacket", derp.FrameSendPacket},
		{"RecvPacket", derp.FrameRecvPacket},
		{"KeepAlive", derp.FrameKeepAlive},
		{"NotePreferred", derp.FrameNotePreferred},
		{"PeerGone", derp.FramePeerGone},
		{"PeerPresent", derp.FramePeerPresent},
		{"ForwardPacket", derp.FrameForwardPacket},
		{"WatchConns", derp.FrameWatchConns},
		{"ClosePeer", derp.FrameClosePeer},
		{"Ping", derp.FramePing},
		{"Pong", derp.FramePong},
		{"Health", derp.FrameHealth},
		{"Restarting", derp.FrameRestarting},
	})
}

func peerGoneReasons() object {
	return group("derp/derp.go PeerGoneReasonType constants", object{
		{"Disconnected", derp.PeerGoneReasonDisconnected},
		{"NotHere", derp.PeerGoneReasonNotHere},
		{"MeshConnBroke", derp.PeerGoneReasonMeshConnBroke},
	})
}

func peerPresentFlags() object {
	return group("derp/derp.go PeerPresentFlags constants", object{
		{"IsRegular", derp.PeerPresentIsRegular},
		{"IsMeshPeer", derp.PeerPresentIsMeshPeer},
		{"IsProber", derp.PeerPresentIsProber},
		{"NotIdeal", derp.PeerPresentNotIdeal},
	})
}

// discoMinLen asks upstream for the shortest packet that counts as disco.
func discoMinLen() int {
	for n := len(disco.Magic); n < 1000; n++ {
		if disco.LooksLikeDiscoWrapper(append([]byte(disco.Magic), make([]byte, n-len(disco.Magic))...)) {
			return n
		}
	}
	panic("no packet looks like disco")
}

func discoCases() object {
	looks := func(packet []byte) object {
		return object{{"hex", hexOf(packet)}, {"disco", disco.LooksLikeDiscoWrapper(packet)}}
	}
	magic := []byte(disco.Magic)
	return group("disco/disco.go LooksLikeDiscoWrapper", object{
		{"empty", looks(nil)},
		{"magicOnly", looks(magic)},
		{"oneShort", looks(append(magic[:6:6], repeat(1, discoMinLen()-7)...))},
		{"shortest", looks(append(magic[:6:6], repeat(1, discoMinLen()-6)...))},
		{"longer", looks(append(magic[:6:6], repeat(1, 200)...))},
		{"wrongMagic", looks(append([]byte("TS\xf0\x9f\x92\xad"), repeat(1, 200)...))},
		{"magicNotFirst", looks(append([]byte{0}, append(magic[:6:6], repeat(1, 200)...)...))},
		{"wireguard", looks(append([]byte{4, 0, 0, 0}, repeat(1, 100)...))},
	})
}
