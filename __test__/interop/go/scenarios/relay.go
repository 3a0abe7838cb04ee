package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"tailscale.com/derp"
	"tailscale.com/disco"
	"tailscale.com/types/key"
)

var relayScenarios = []Scenario{
	{"relay-tls", overTLS(relaySizes)},
	{"relay-plain", overPlain(relaySizes)},
	{"relay-to-self", overTLS(relayToSelf)},
	{"relay-too-large", overTLS(relayTooLarge)},
	{"relay-last-words-tls", overTLS(relayLastWords)},
	{"relay-last-words-plain", overPlain(relayLastWords)},
}

// packet returns n bytes that are the same for the same seed.
func packet(seed uint64, n int) []byte {
	b := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	rng.Read(b)
	return b
}

// relaySizes sends packets of every interesting size, both ways, twice.
func relaySizes(e *Env, at endpoint) error {
	alice, err := e.dial("alice", at)
	if err != nil {
		return err
	}
	bob, err := e.dial("bob", at)
	if err != nil {
		return err
	}
	for round := range uint64(2) {
		for i, size := range []int{0, 1, 31, 32, 1400, 2048, 16384, derp.MaxPacketSize - 1, derp.MaxPacketSize} {
			seed := round*1000 + uint64(i)
			if err := alice.exchange(bob, packet(seed, size)); err != nil {
				return fmt.Errorf("%d bytes from alice to bob: %w", size, err)
			}
			if err := bob.exchange(alice, packet(seed+500, size)); err != nil {
				return fmt.Errorf("%d bytes from bob to alice: %w", size, err)
			}
		}
	}
	if err := alice.expectNothing(); err != nil {
		return err
	}
	return bob.expectNothing()
}

// relayToSelf sends to the sender's own key, and to the relay's key, which is
// an address like any other that nobody is connected with.
func relayToSelf(e *Env, at endpoint) error {
	c, err := e.dial("client", at)
	if err != nil {
		return err
	}
	if err := c.exchange(c, packet(1, 100)); err != nil {
		return err
	}
	if err := c.Send(c.ServerPublicKey(), discoPacket(100)); err != nil {
		return err
	}
	return c.expectPeerGone(c.ServerPublicKey(), derp.PeerGoneReasonNotHere)
}

// relayTooLarge checks the limit that the client itself keeps, and that the
// connection is good for a packet of exactly that size afterwards.
func relayTooLarge(e *Env, at endpoint) error {
	alice, err := e.dial("alice", at)
	if err != nil {
		return err
	}
	direct, err := e.dial("bob", at)
	if err != nil {
		return err
	}
	if err := alice.exchange(direct, packet(1, derp.MaxPacketSize)); err != nil {
		return err
	}
	raw, err := e.rawLogin(at, key.NewNode())
	if err != nil {
		return err
	}
	defer raw.Close()
	if err := raw.Send(direct.key, packet(2, derp.MaxPacketSize)); err != nil {
		return err
	}
	if err := direct.expectPacket(raw.PublicKey(), packet(2, derp.MaxPacketSize)); err != nil {
		return err
	}
	// One byte more is what no client sends: the relay hangs up.
	if err := raw.frame(derp.FrameSendPacket, append(direct.key.AppendTo(nil), packet(3, derp.MaxPacketSize+1)...)); err != nil &&
		!strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
		return err
	}
	if err := raw.expectClosed(); err != nil {
		return err
	}
	return direct.expectPeerGone(raw.PublicKey(), derp.PeerGoneReasonDisconnected)
}

// discoPacket returns a packet that looks like a discovery message.
func discoPacket(n int) []byte {
	b := packet(uint64(n), n)
	copy(b, disco.Magic)
	return b
}

// relayLastWords sends a packet as soon as ServerInfo is there, and ends its
// side of the connection right behind it: the packet arrives, and the sender
// reads the end of the connection. Whether the receiver is told that a sender
// has left who was gone before its packet was written is the relay's affair:
// derper does not tell.
func relayLastWords(e *Env, at endpoint) error {
	other, err := e.dial("other", at)
	if err != nil {
		return err
	}
	for round := range uint64(50) {
		c, err := e.rawLogin(at, newKey())
		if err != nil {
			return err
		}
		data := packet(round, 300)
		if err := c.Send(other.key, data); err != nil {
			return err
		}
		if err := c.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			return err
		}
		m, err := other.next()
		for _, gone := m.(derp.PeerGoneMessage); gone; _, gone = m.(derp.PeerGoneMessage) {
			m, err = other.next()
		}
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		if p, ok := m.(derp.ReceivedPacket); !ok || p.Source != c.PublicKey() || !bytes.Equal(p.Data, data) {
			return fmt.Errorf("round %d: the receiver got %s", round, show(m))
		}
		c.conn.SetDeadline(time.Now().Add(patience))
		if m, err := c.Recv(); !errors.Is(err, io.EOF) {
			return fmt.Errorf("round %d: the sender got %v and %v, not the end", round, m, err)
		}
		c.conn.Close()
	}
	return nil
}
