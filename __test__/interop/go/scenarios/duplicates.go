package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

var duplicateScenarios = []Scenario{
	{"duplicate-keys", overTLS(duplicateKeys)},
	{"reconnect-100", overTLS(reconnect)},
}

func newKey() key.NodePrivate { return key.NewNode() }

// duplicateKeys follows two connections with one key. The newest is active;
// then whichever wrote last; and when one ends, the other. Only when both are
// gone do others hear of it.
func duplicateKeys(e *Env, at endpoint) error {
	meshKey, err := e.meshKey()
	if err != nil {
		return err
	}
	other, err := e.dial("other", at)
	if err != nil {
		return err
	}
	clone := key.NewNode()
	first, err := e.dial("first clone", at, withKey(clone))
	if err != nil {
		return err
	}
	watcher, err := e.dial("watcher", at, withMesh(meshKey), withWatch())
	if err != nil {
		return err
	}
	for range 3 { // other, first and the watcher itself
		if _, err := watcher.expectPresent(); err != nil {
			return err
		}
	}

	// The newest is active. That the first got nothing shows later: what
	// arrives there next has to be a packet from after it spoke again.
	second, err := e.dial("second clone", at, withKey(clone))
	if err != nil {
		return err
	}
	if p, err := watcher.expectPresent(); err != nil || p.Key != clone.Public() {
		return fmt.Errorf("a second connection is announced too; got %s (%v)", show(p), err)
	}
	if err := other.exchange(second, packet(1, 100)); err != nil {
		return fmt.Errorf("the newest connection should be active: %w", err)
	}

	// Whoever wrote last is active, in turns.
	for i, c := range []*Client{first, second, first, first, second} {
		data := packet(uint64(10+i), 100)
		if err := c.exchange(other, data); err != nil {
			return err
		}
		if err := other.exchange(c, data); err != nil {
			return fmt.Errorf("%s wrote last and should be active (turn %d): %w", c.name, i, err)
		}
	}

	// The active one leaves: the other takes over.
	second.Close()
	if err := e.takesOver(other, first); err != nil {
		return err
	}
	if err := errors.Join(other.expectNothing(), watcher.expectNothing()); err != nil {
		return fmt.Errorf("one clone of two has left, nobody should hear: %w", err)
	}
	if err := first.exchange(other, packet(20, 100)); err != nil {
		return err
	}
	first.Close()
	return errors.Join(
		other.expectPeerGone(clone.Public(), derp.PeerGoneReasonDisconnected),
		watcher.expectPeerGone(clone.Public(), derp.PeerGoneReasonDisconnected),
		other.expectNothing(), watcher.expectNothing())
}

// takesOver sends numbered packets until one arrives at the remaining clone.
// Those before may be lost: the relay has yet to notice that the other ended.
func (e *Env) takesOver(sender, remaining *Client) error {
	last := byte(0)
	for n := byte(1); n < 250; n++ {
		if err := sender.Send(remaining.key, []byte{n}); err != nil {
			return err
		}
		select {
		case r := <-remaining.inbox:
			p, ok := r.message.(derp.ReceivedPacket)
			if !ok || p.Source != sender.key || len(p.Data) != 1 {
				return fmt.Errorf("%s got %v (%v)", remaining.name, r.message, r.err)
			}
			last = p.Data[0]
			// The rest of what was sent is on its way; nothing may be missing.
			for last < n {
				p, err := remaining.nextPacket()
				if err != nil {
					return err
				}
				if last++; !bytes.Equal(p.Data, []byte{last}) {
					return fmt.Errorf("%s got packet % x, want %d", remaining.name, p.Data, last)
				}
			}
			return nil
		case <-time.After(20 * time.Millisecond):
		case <-e.ctx.Done():
			return e.ctx.Err()
		}
	}
	return fmt.Errorf("%s does not become active when the other clone leaves", remaining.name)
}

// reconnect comes back a hundred times with the same key, as a node does that
// changes networks: every other time while the old connection still stands.
func reconnect(e *Env, at endpoint) error {
	sender, err := e.dial("sender", at)
	if err != nil {
		return err
	}
	k := key.NewNode()
	var old *Client
	for i := range 100 {
		c, err := e.dial(fmt.Sprintf("connection %d", i+1), at, withKey(k))
		if err != nil {
			return err
		}
		if err := sender.exchange(c, packet(uint64(i), 64)); err != nil {
			return err
		}
		if old != nil {
			old.Close()
			// The end of the old one must not take the new one's traffic away.
			if err := sender.exchange(c, packet(uint64(i)+1000, 64)); err != nil {
				return fmt.Errorf("after its predecessor ended: %w", err)
			}
		}
		if old = nil; i%2 == 0 {
			c.Close()
		} else {
			old = c
		}
	}
	if old == nil {
		return nil
	}
	if err := old.exchange(sender, packet(9, 9)); err != nil {
		return err
	}
	old.Close()
	return sender.expectPeerGone(k.Public(), derp.PeerGoneReasonDisconnected)
}
