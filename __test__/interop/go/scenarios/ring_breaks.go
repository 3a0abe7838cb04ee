package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
	_ "unsafe" // for linkname

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// What happens when a part of the mesh is down.
var ringBreakScenarios = []RingScenario{
	{"ring-cut", ringCut},
	{"ring-stall", ringStall},
	{"ring-restart", ringRestart},
	{"ring-ten-breaks", ringTenBreaks},
}

// around are links of which each relay dials one and is dialled by one: cutting
// them leaves one way between any two relays. So do those the other way around.
var around = [][][2]int{
	{{0, 1}, {1, 2}, {2, 0}},
	{{1, 0}, {2, 1}, {0, 2}},
}

// ringCut cuts the connection that a relay made. It has lost who is there, and
// says so; it is still reached from there, and finds back.
func ringCut(r *ring) error {
	for _, links := range around {
		clients, err := r.one("client")
		if err != nil {
			return err
		}
		if err := r.acquaint(clients...); err != nil {
			return err
		}
		for _, l := range links {
			r.links[l].cut()
		}
		for _, l := range links {
			from, to := clients[l[0]], clients[l[1]]
			if err := from.expectPeerGone(to.key, derp.PeerGoneReasonDisconnected); err != nil {
				return err
			}
			if err := from.Send(to.key, discoPacket(100)); err != nil {
				return err
			}
			if err := from.expectPeerGone(to.key, derp.PeerGoneReasonNotHere); err != nil {
				return err
			}
		}
		for _, l := range links {
			if err := clients[l[1]].exchange(clients[l[0]], packet(1, 1000)); err != nil {
				return fmt.Errorf("on the other way: %w", err)
			}
		}
		for _, l := range links {
			r.links[l].open()
		}
		if err := r.acquaint(clients...); err != nil {
			return err
		}
		for _, c := range clients {
			if err := c.expectNothing(); err != nil {
				return err
			}
		}
	}
	return nil
}

// ringStall stops what a relay sends to another, without a break. Whoever does
// not send there must not notice. Whoever does may have to wait until the relay
// gives up, after five seconds.
func ringStall(r *ring) error {
	const waitsFor = 4 * time.Second
	links := around[0]
	targets, err := r.one("target")
	if err != nil {
		return err
	}
	senders, err1 := r.one("sender")
	neighbours, err2 := r.one("neighbour")
	left, err3 := r.one("bystander")
	right, err4 := r.one("other bystander")
	if err := errors.Join(err1, err2, err3, err4, r.acquaint(append(targets, senders...)...)); err != nil {
		return err
	}
	for _, l := range links {
		r.links[l].stall()
	}
	err = together(links, func(l [2]int) error {
		here := l[0]
		goesOn := make(chan error, 1)
		go func() {
			for i := range 150 { // 10 MB, more than the buffers on the way take
				if err := senders[here].Send(targets[l[1]].key, packet(uint64(i), derp.MaxPacketSize)); err != nil {
					goesOn <- err
					return
				}
			}
			goesOn <- senders[here].exchange(neighbours[here], packet(1, 1000))
		}()
		until := time.After(waitsFor)
		for n := 0; ; n++ {
			data := packet(uint64(n), 1000)
			if err := errors.Join(right[here].exchange(left[here], data), left[here].exchange(right[here], data)); err != nil {
				return fmt.Errorf("beside a stalled link: %w", err)
			}
			select {
			case err := <-goesOn:
				r.fact(here, "who sends across a stalled link", "goes on")
				return err
			case <-until:
				r.fact(here, "who sends across a stalled link", "waits")
				return nil
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	for _, l := range links {
		r.links[l].open()
	}
	if err != nil {
		return err
	}
	if err := r.whole(); err != nil {
		return fmt.Errorf("the stall is over: %w", err)
	}
	return nil
}

// ringRestart ends one relay after the other, in turn with and without a
// warning. Its clients are gone for the others, until they are back.
func ringRestart(r *ring) error {
	k := [3]key.NodePrivate{key.NewNode(), key.NewNode(), key.NewNode()}
	var clients [3]*Client
	for i, n := range r.nodes {
		var err error
		if clients[i], err = r.dial(fmt.Sprintf("client at %d", i), n.at, withKey(k[i])); err != nil {
			return err
		}
	}
	for i, n := range r.nodes {
		if err := r.acquaint(clients[:]...); err != nil {
			return err
		}
		left, right := clients[(i+1)%3], clients[(i+2)%3]
		if i == 1 {
			if err := n.stop(); err != nil {
				return err
			}
		} else {
			n.kill()
		}
		for _, c := range []*Client{left, right} {
			if err := c.expectPeerGone(clients[i].key, derp.PeerGoneReasonDisconnected); err != nil {
				return fmt.Errorf("node %d has ended: %w", i, err)
			}
		}
		if err := errors.Join(left.exchange(right, packet(1, 1000)), right.exchange(left, packet(2, 1000))); err != nil {
			return err
		}
		if err := errors.Join(clients[i].expectClosed(), n.start(r.ctx)); err != nil {
			return err
		}
		var err error
		if clients[i], err = r.dial(fmt.Sprintf("client at %d, again", i), n.at, withKey(k[i])); err != nil {
			return err
		}
	}
	if err := r.acquaint(clients[:]...); err != nil {
		return err
	}
	return errors.Join(clients[0].expectNothing(), clients[1].expectNothing(), clients[2].expectNothing())
}

// The loop waits five seconds after each failure, which its own tests shorten
// like this, too.
//
//go:linkname retryInterval tailscale.com/derp/derphttp.retryInterval
var retryInterval time.Duration

// ringTenBreaks follows each relay on a connection that breaks ten times, half
// of them noticed by a packet to forward, as it happens between relays.
func ringTenBreaks(r *ring) error {
	meshKey, err := r.meshKey()
	if err != nil {
		return err
	}
	before := retryInterval
	retryInterval = 50 * time.Millisecond
	defer func() { retryInterval = before }()
	return together([]int{0, 1, 2}, func(i int) error {
		at := r.nodes[i].at
		l, err := newLink(r.ctx, at.address)
		if err != nil {
			return err
		}
		present, err := r.dial("present", at)
		if err != nil {
			return err
		}
		through := func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, l.listener.Addr().String())
		}
		f, err := r.follow(fmt.Sprintf("watcher of %d", i), at, true, withMesh(meshKey), withDialer(through))
		if err != nil {
			return err
		}
		defer f.stop()
		sees := func() error {
			return f.until("the client that is there", func() bool { _, ok := f.here[present.key]; return ok })
		}
		elsewhere := newKey().Public()
		for n := range 10 {
			if err := sees(); err != nil {
				return err
			}
			l.broken()
			for got := n%2 == 0; !got; {
				// What is written into a broken connection is lost.
				f.ForwardPacket(elsewhere, present.key, derp.LoanBytes([]byte{byte(n)}))
				select {
				case m := <-present.inbox:
					p, ok := m.message.(derp.ReceivedPacket)
					if !ok || p.Source != elsewhere {
						return fmt.Errorf("%s got %s (%v)", present.name, show(m.message), m.err)
					}
					got = p.Data[0] == byte(n)
				case <-time.After(20 * time.Millisecond):
				case <-r.ctx.Done():
					return r.ctx.Err()
				}
			}
			if err := f.until(fmt.Sprintf("that break %d was one", n), func() bool { return f.lost[present.key] == n+1 }); err != nil {
				return err
			}
		}
		if err := sees(); err != nil {
			return err
		}
		present.Close()
		return f.until("that the client leaves", func() bool { _, ok := f.here[present.key]; return !ok })
	})
}
