package scenarios

import (
	"errors"
	"fmt"
	"math"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

var peerGoneScenarios = []Scenario{
	{"peer-gone-disconnected", overTLS(peerGoneDisconnected)},
	{"peer-gone-not-here", overTLS(peerGoneNotHere)},
}

// peerGoneDisconnected checks that whoever heard of a peer learns that it left,
// once, and that nobody else does.
func peerGoneDisconnected(e *Env, at endpoint) error {
	leaver, err := e.dial("leaver", at)
	if err != nil {
		return err
	}
	friend, err := e.dial("friend", at)
	if err != nil {
		return err
	}
	stranger, err := e.dial("stranger", at)
	if err != nil {
		return err
	}
	if err := leaver.exchange(friend, packet(1, 100)); err != nil {
		return err
	}
	// A packet to the leaver does not make the stranger someone who knows it.
	if err := stranger.exchange(leaver, packet(2, 100)); err != nil {
		return err
	}
	leaver.Close()
	if err := friend.expectPeerGone(leaver.key, derp.PeerGoneReasonDisconnected); err != nil {
		return err
	}
	return errors.Join(friend.expectNothing(), stranger.expectNothing())
}

// peerGoneNotHere checks the answer to discovery messages for unknown keys:
// only they are answered, and a burst of three, then one a second.
func peerGoneNotHere(e *Env, at endpoint) error {
	c, err := e.dial("client", at)
	if err != nil {
		return err
	}
	nobody := key.NewNode().Public()

	for _, data := range [][]byte{nil, packet(1, 1), packet(1, 1400), discoPacket(61)} {
		if err := c.Send(nobody, data); err != nil {
			return err
		}
	}
	if err := c.expectNothing(); err != nil {
		return fmt.Errorf("packets that are no discovery messages: %w", err)
	}

	start := time.Now()
	const sent = 12
	for range sent {
		if err := c.Send(nobody, discoPacket(62)); err != nil {
			return err
		}
	}
	answers, err := c.drain()
	if err != nil {
		return err
	}
	const burst = 3
	most := burst + int(math.Ceil(time.Since(start).Seconds()))
	if len(answers) < burst || len(answers) > most {
		return fmt.Errorf("%d discovery messages got %d answers, want %d to %d", sent, len(answers), burst, most)
	}
	want := derp.PeerGoneMessage{Peer: nobody, Reason: derp.PeerGoneReasonNotHere}
	for _, m := range answers {
		if m != want {
			return fmt.Errorf("got %s, want %s", show(m), show(want))
		}
	}

	// The limit fills up again, and holds for the connection, not for the key.
	time.Sleep(1200 * time.Millisecond)
	other := key.NewNode().Public()
	if err := c.Send(other, discoPacket(200)); err != nil {
		return err
	}
	return c.expectPeerGone(other, derp.PeerGoneReasonNotHere)
}
