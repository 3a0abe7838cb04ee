package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// Scenarios with two relays of one region, which have to work as one.
var pairScenarios = []Scenario{
	{"pair-relay", overPair(pairRelay)},
	{"pair-peer-gone", overPair(pairPeerGone)},
	{"pair-move", overPair(pairMove)},
}

// pair is a client on each relay, with the mesh knowing both.
type pair struct {
	env         *Env
	here, there endpoint
	a, b        *Client // a is here, b is there
}

func overPair(check func(*pair) error) func(*Env) error {
	return func(e *Env) error {
		here, err := e.tlsEndpoint()
		if err != nil {
			return err
		}
		there, err := e.peerEndpoint()
		if err != nil {
			return err
		}
		a, err := e.dial("a", here)
		if err != nil {
			return err
		}
		b, err := e.dial("b", there)
		if err != nil {
			return err
		}
		if a.ServerPublicKey() == b.ServerPublicKey() {
			return errors.New("both addresses lead to the same relay")
		}
		p := &pair{e, here, there, a, b}
		if err := errors.Join(p.reach(a, b), p.reach(b, a)); err != nil {
			return err
		}
		return check(p)
	}
}

// reach sends until a packet arrives: the relays have yet to tell each other.
// Everything sent is taken out of the inbox again.
func (p *pair) reach(from, to *Client) error {
	for n := byte(1); n < 250; n++ {
		if err := from.Send(to.key, []byte{n}); err != nil {
			return err
		}
		select {
		case r := <-to.inbox:
			for got, ok := r.message.(derp.ReceivedPacket); ; {
				if !ok || got.Source != from.key || len(got.Data) != 1 {
					return fmt.Errorf("%s got %v (%v)", to.name, r.message, r.err)
				}
				if bytes.Equal(got.Data, []byte{n}) {
					return nil
				}
				var err error
				if got, err = to.nextPacket(); err != nil {
					return err
				}
			}
		case <-time.After(40 * time.Millisecond):
		case <-p.env.ctx.Done():
			return p.env.ctx.Err()
		}
	}
	return fmt.Errorf("nothing gets from %s to %s: the relays are not in a mesh", from.name, to.name)
}

// pairRelay checks that packets cross, whole and in order.
func pairRelay(p *pair) error {
	for i, size := range []int{0, 1, 1400, 16384, derp.MaxPacketSize} {
		data := packet(uint64(i), size)
		if err := p.a.exchange(p.b, data); err != nil {
			return fmt.Errorf("%d bytes from a to b: %w", size, err)
		}
		if err := p.b.exchange(p.a, data); err != nil {
			return fmt.Errorf("%d bytes from b to a: %w", size, err)
		}
	}
	for i := range 20 {
		if err := p.a.Send(p.b.key, packet(uint64(i), 1000)); err != nil {
			return err
		}
	}
	for i := range 20 {
		if err := p.b.expectPacket(p.a.key, packet(uint64(i), 1000)); err != nil {
			return fmt.Errorf("packet %d of a row: %w", i, err)
		}
	}
	return errors.Join(p.a.expectNothing(), p.b.expectNothing())
}

// pairPeerGone checks that leaving one relay is heard of on the other, and that
// the key is unknown in both afterwards.
func pairPeerGone(p *pair) error {
	p.a.Close()
	if err := p.b.expectPeerGone(p.a.key, derp.PeerGoneReasonDisconnected); err != nil {
		return err
	}
	if err := p.b.Send(p.a.key, discoPacket(100)); err != nil {
		return err
	}
	return p.b.expectPeerGone(p.a.key, derp.PeerGoneReasonNotHere)
}

// pairMove moves a client from one relay to the other. It never leaves the
// region, so nobody is told that it has.
func pairMove(p *pair) error {
	k := key.NewNode()
	before, err := p.env.dial("mover, before", p.here, withKey(k))
	if err != nil {
		return err
	}
	if err := errors.Join(p.reach(p.b, before), p.reach(before, p.b)); err != nil {
		return err
	}
	if err := before.exchange(p.a, packet(1, 100)); err != nil {
		return err
	}
	after, err := p.env.dial("mover, after", p.there, withKey(k))
	if err != nil {
		return err
	}
	// The other end's own relay has it now, which comes before the mesh.
	if err := p.b.exchange(after, packet(2, 100)); err != nil {
		return err
	}
	if err := after.exchange(p.a, packet(3, 100)); err != nil {
		return err
	}
	left, err := p.leaving(p.here, k.Public())
	if err != nil {
		return err
	}
	// A relay does not show that it has heard of a key's second place. It was
	// told some round trips ago; this is for slow machines.
	time.Sleep(300 * time.Millisecond)
	before.Close()
	if err := left(); err != nil {
		return err
	}
	if err := p.reach(p.a, after); err != nil {
		return err
	}
	return errors.Join(p.a.expectNothing(), p.b.expectNothing(), after.expectNothing())
}

// leaving returns a function that waits until a relay has noticed that the key
// is no longer connected to it.
func (p *pair) leaving(at endpoint, k key.NodePublic) (func() error, error) {
	meshKey, err := p.env.meshKey()
	if err != nil {
		return nil, err
	}
	watcher, err := p.env.dial("watcher", at, withMesh(meshKey), withWatch())
	if err != nil {
		return nil, err
	}
	return func() error {
		for {
			m, err := watcher.next()
			if err != nil {
				return err
			}
			if gone, ok := m.(derp.PeerGoneMessage); ok && gone.Peer == k {
				return nil
			}
		}
	}, nil
}
