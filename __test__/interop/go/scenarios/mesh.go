package scenarios

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/types/key"
)

var meshScenarios = []Scenario{
	{"mesh-watch-ipv4", overTLS(meshWatch)},
	{"mesh-watch-ipv6", overPlain(meshWatch)},
	{"mesh-watch-loop", overTLS(meshWatchLoop)},
	{"mesh-watch-refused", overTLS(meshWatchRefused)},
	{"mesh-close-peer", overTLS(meshClosePeer)},
	{"mesh-close-peer-refused", overTLS(meshClosePeerRefused)},
	{"mesh-forward", overTLS(meshForward)},
	{"mesh-forward-refused", overTLS(meshForwardRefused)},
	{"mesh-wrong-key", overTLS(meshWrongKey)},
}

// meshWatch checks what a watcher is told: everyone who is there, itself
// included, with address and kind, and then who comes and goes.
func meshWatch(e *Env, at endpoint) error {
	meshKey, err := e.meshKey()
	if err != nil {
		return err
	}
	want := map[key.NodePublic]derp.PeerPresentMessage{}
	join := func(name string, flags derp.PeerPresentFlags, opts ...option) (*Client, error) {
		c, err := e.dial(name, at, opts...)
		if err != nil {
			return nil, err
		}
		address, err := c.address()
		want[c.key] = derp.PeerPresentMessage{Key: c.key, IPPort: address, Flags: flags, AppName: c.AppName}
		return c, err
	}
	named := prepared(func(c *derphttp.Client) { c.AppName = "some app" })
	prober := prepared(func(c *derphttp.Client) { c.IsProber = true })

	_, err1 := join("regular", derp.PeerPresentIsRegular)
	_, err2 := join("named", derp.PeerPresentIsRegular, named)
	_, err3 := join("prober", derp.PeerPresentIsProber, prober)
	_, err4 := join("mesh peer", derp.PeerPresentIsMeshPeer, withMesh(meshKey))
	watcher, err5 := join("watcher", derp.PeerPresentIsMeshPeer, withMesh(meshKey), withWatch())
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return err
	}
	for range len(want) {
		got, err := watcher.expectPresent()
		if err != nil {
			return err
		}
		if expected, ok := want[got.Key]; !ok || got != expected {
			return fmt.Errorf("the watcher is told %s, want %s", show(got), show(expected))
		}
		delete(want, got.Key) // so that no one is named twice
	}
	if err := watcher.expectNothing(); err != nil {
		return err
	}

	// Then changes, as they happen and in that order.
	for range 5 {
		late, err := join("late", derp.PeerPresentIsRegular, named)
		if err != nil {
			return err
		}
		got, err := watcher.expectPresent()
		if err != nil {
			return err
		}
		if got != want[late.key] {
			return fmt.Errorf("the watcher is told %s, want %s", show(got), show(want[late.key]))
		}
		late.Close()
		if err := watcher.expectPeerGone(late.key, derp.PeerGoneReasonDisconnected); err != nil {
			return err
		}
	}
	return watcher.expectNothing()
}

// meshWatchLoop runs the loop that relays of a region run against each other.
func meshWatchLoop(e *Env, at endpoint) error {
	meshKey, err := e.meshKey()
	if err != nil {
		return err
	}
	present, err := e.dial("present", at)
	if err != nil {
		return err
	}
	watcher, err := e.newClient("watcher", at, withMesh(meshKey), withWatch())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	var mu sync.Mutex
	here := map[key.NodePublic]bool{}
	var failure error
	note := func(k key.NodePublic, is bool) {
		mu.Lock()
		defer mu.Unlock()
		here[k] = is
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		watcher.RunWatchConnectionLoop(ctx, key.NodePublic{}, nil,
			func(m derp.PeerPresentMessage) { note(m.Key, true) },
			func(m derp.PeerGoneMessage) { note(m.Peer, false) },
			func(err error) {
				mu.Lock()
				defer mu.Unlock()
				if ctx.Err() == nil && failure == nil {
					failure = err
				}
			})
	}()
	defer func() {
		cancel()
		watcher.Close()
		<-ended
	}()
	see := func(c *Client, is bool) error {
		return e.until(fmt.Sprintf("%s present=%v", c.name, is), func() (bool, error) {
			mu.Lock()
			defer mu.Unlock()
			return here[c.key] == is, failure
		})
	}
	if err := see(present, true); err != nil {
		return err
	}
	late, err := e.dial("late", at)
	if err != nil {
		return err
	}
	if err := see(late, true); err != nil {
		return err
	}
	late.Close()
	return see(late, false)
}

// refused checks that a client without the mesh key is cut off for a frame that
// needs it, and that nobody else notices more than that.
func refused(e *Env, at endpoint, do func(offender, bystander *Client) error) error {
	bystander, err := e.dial("bystander", at)
	if err != nil {
		return err
	}
	offender, err := e.dial("offender", at)
	if err != nil {
		return err
	}
	if err := do(offender, bystander); err != nil {
		return err
	}
	if err := offender.expectClosed(); err != nil {
		return err
	}
	return bystander.expectNothing()
}

// meshWatchRefused asks for what only a mesh peer may have: after login, and
// in the same breath as the login, where a relay may hang up before or after
// its ServerInfo.
func meshWatchRefused(e *Env, at endpoint) error {
	late, err := e.rawLogin(at, newKey())
	if err != nil {
		return err
	}
	defer late.Close()
	if err := errors.Join(late.WatchConnectionChanges(), late.expectClosed()); err != nil {
		return err
	}
	early, err := e.newClient("early", at, withWatch())
	if err != nil {
		return err
	}
	var closed closedError
	if err := early.login(); errors.As(err, &closed) {
		return nil
	} else if err != nil {
		return err
	}
	return early.expectClosed()
}

func meshClosePeerRefused(e *Env, at endpoint) error {
	return refused(e, at, func(offender, bystander *Client) error { return offender.ClosePeer(bystander.key) })
}

func meshForwardRefused(e *Env, at endpoint) error {
	return refused(e, at, func(offender, bystander *Client) error {
		return offender.ForwardPacket(newKey().Public(), bystander.key, derp.LoanBytes(packet(1, 100)))
	})
}

// meshClosePeer checks that all connections of the key are closed, and others
// are not.
func meshClosePeer(e *Env, at endpoint) error {
	meshKey, err := e.meshKey()
	if err != nil {
		return err
	}
	k := key.NewNode()
	one, err1 := e.dial("one", at, withKey(k))
	two, err2 := e.dial("two", at, withKey(k))
	bystander, err3 := e.dial("bystander", at)
	closer, err4 := e.dial("closer", at, withMesh(meshKey))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if err := closer.ClosePeer(newKey().Public()); err != nil { // nobody: no harm
		return err
	}
	if err := closer.ClosePeer(k.Public()); err != nil {
		return err
	}
	return errors.Join(one.expectClosed(), two.expectClosed(), bystander.expectNothing(), closer.expectNothing())
}

// meshForward plays another relay of the region, which hands over packets of
// clients that are connected there.
func meshForward(e *Env, at endpoint) error {
	meshKey, err := e.meshKey()
	if err != nil {
		return err
	}
	relay, err := e.dial("other relay", at, withMesh(meshKey))
	if err != nil {
		return err
	}
	client, err := e.dial("client", at)
	if err != nil {
		return err
	}
	elsewhere := newKey().Public()
	for i, size := range []int{0, 1, 1400, derp.MaxPacketSize} {
		data := packet(uint64(i), size)
		if err := relay.ForwardPacket(elsewhere, client.key, derp.LoanBytes(data)); err != nil {
			return err
		}
		if err := client.expectPacket(elsewhere, data); err != nil {
			return fmt.Errorf("%d bytes: %w", size, err)
		}
	}
	// A client that is not here is the other relay's mistake, which it is
	// told about, for discovery messages only.
	nobody := newKey().Public()
	if err := relay.ForwardPacket(elsewhere, nobody, derp.LoanBytes(packet(1, 100))); err != nil {
		return err
	}
	if err := relay.expectNothing(); err != nil {
		return err
	}
	if err := relay.ForwardPacket(elsewhere, nobody, derp.LoanBytes(discoPacket(100))); err != nil {
		return err
	}
	if err := relay.expectPeerGone(nobody, derp.PeerGoneReasonNotHere); err != nil {
		return err
	}
	return client.expectNothing()
}

// meshWrongKey checks that a wrong mesh key is no error: the client is just
// like any other.
func meshWrongKey(e *Env, at endpoint) error {
	meshKey, err := e.meshKey()
	if err != nil {
		return err
	}
	wrong, err := key.ParseDERPMesh("00000000000000000000000000000000000000000000000000000000000000ff")
	if err != nil || wrong.Equal(meshKey) {
		return fmt.Errorf("the wrong key is not wrong: %v", err)
	}
	watcher, err := e.dial("watcher", at, withMesh(meshKey), withWatch())
	if err != nil {
		return err
	}
	if _, err := watcher.expectPresent(); err != nil { // itself
		return err
	}
	c, err := e.dial("client", at, withMesh(wrong))
	if err != nil {
		return err
	}
	got, err := watcher.expectPresent()
	if err != nil {
		return err
	}
	if got.Key != c.key || got.Flags != derp.PeerPresentIsRegular {
		return fmt.Errorf("the watcher is told %s, want a regular client", show(got))
	}
	if err := errors.Join(c.exchange(watcher, packet(1, 100)), watcher.exchange(c, packet(2, 100))); err != nil {
		return err
	}
	if err := c.ClosePeer(watcher.key); err != nil {
		return err
	}
	if err := c.expectClosed(); err != nil {
		return err
	}
	// Twice: as a watcher, and as someone who got a packet of it.
	return errors.Join(
		watcher.expectPeerGone(c.key, derp.PeerGoneReasonDisconnected),
		watcher.expectPeerGone(c.key, derp.PeerGoneReasonDisconnected),
		watcher.expectNothing())
}
