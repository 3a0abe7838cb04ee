package scenarios

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// What clients of a whole mesh see.
var ringClientScenarios = []RingScenario{
	{"ring-relay", ringRelay},
	{"ring-peer-gone", ringPeerGone},
	{"ring-watchers", ringWatchers},
	{"ring-close-peer", ringClosePeer},
	{"ring-move", ringMove},
	{"ring-two-places", ringTwoPlaces},
	{"ring-traffic", ringTraffic},
}

// ringRelay checks that packets cross every link, whole and in order.
func ringRelay(r *ring) error {
	clients, err := r.one("client")
	if err != nil {
		return err
	}
	if err := r.acquaint(clients...); err != nil {
		return err
	}
	for i, size := range []int{0, 1, 31, 32, 1400, 2048, 16384, derp.MaxPacketSize - 1, derp.MaxPacketSize} {
		for _, from := range clients {
			for _, to := range clients {
				if err := from.exchange(to, packet(uint64(i), size)); err != nil {
					return fmt.Errorf("%d bytes from %s to %s: %w", size, from.name, to.name, err)
				}
			}
		}
	}
	for _, from := range clients {
		for _, to := range clients {
			for i := range 20 {
				if err := from.Send(to.key, packet(uint64(i), 1000)); err != nil {
					return err
				}
			}
			for i := range 20 {
				if err := to.expectPacket(from.key, packet(uint64(i), 1000)); err != nil {
					return fmt.Errorf("packet %d of a row: %w", i, err)
				}
			}
		}
	}
	return errors.Join(clients[0].expectNothing(), clients[1].expectNothing(), clients[2].expectNothing())
}

// ringPeerGone checks that leaving one relay is heard of on the others, by
// whom it concerns, and that the key is unknown there afterwards.
func ringPeerGone(r *ring) error {
	return together(turns, func(turn [3]int) error {
		leaver, err1 := r.dial("leaver", r.nodes[turn[0]].at)
		friend, err2 := r.dial("friend", r.nodes[turn[1]].at)
		another, err3 := r.dial("another friend", r.nodes[turn[2]].at)
		stranger, err4 := r.dial("stranger", r.nodes[turn[1]].at)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		if err := r.acquaint(leaver, friend, another); err != nil {
			return err
		}
		leaver.Close()
		for _, c := range []*Client{friend, another} {
			if err := c.expectPeerGone(leaver.key, derp.PeerGoneReasonDisconnected); err != nil {
				return err
			}
			if err := c.Send(leaver.key, discoPacket(100)); err != nil {
				return err
			}
			if err := c.expectPeerGone(leaver.key, derp.PeerGoneReasonNotHere); err != nil {
				return err
			}
		}
		return stranger.expectNothing()
	})
}

// follower is the loop that relays run against each other, as a client.
type follower struct {
	*Client
	env     *Env
	mu      sync.Mutex
	here    map[key.NodePublic]derp.PeerPresentFlags
	ever    map[key.NodePublic]derp.PeerPresentFlags
	lost    map[key.NodePublic]int // because the connection broke
	failure error
	stop    func()
}

// follow runs the loop. A broken connection is a failure, unless it may break.
func (e *Env) follow(name string, at endpoint, mayBreak bool, opts ...option) (*follower, error) {
	c, err := e.newClient(name, at, append(opts, withWatch())...)
	if err != nil {
		return nil, err
	}
	f := &follower{Client: c, env: e, lost: map[key.NodePublic]int{}}
	f.here, f.ever = map[key.NodePublic]derp.PeerPresentFlags{}, map[key.NodePublic]derp.PeerPresentFlags{}
	ctx, cancel := context.WithCancel(e.ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.RunWatchConnectionLoop(ctx, key.NodePublic{}, nil, f.add, f.remove, func(err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if !mayBreak && ctx.Err() == nil && f.failure == nil {
				f.failure = fmt.Errorf("%s: %w", name, err)
			}
		})
	}()
	f.stop = func() {
		cancel()
		c.Close()
		<-ended
	}
	return f, nil
}

func (f *follower) add(m derp.PeerPresentMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.here[m.Key], f.ever[m.Key] = m.Flags, m.Flags
}

func (f *follower) remove(m derp.PeerGoneMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Reason == derp.PeerGoneReasonMeshConnBroke {
		f.lost[m.Peer]++
	}
	delete(f.here, m.Peer)
}

// until waits for what the loop has been told.
func (f *follower) until(what string, is func() bool) error {
	return f.env.within(settling, fmt.Sprintf("%s: %s", f.name, what), func() (bool, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		return is(), f.failure
	})
}

// ringWatchers follows each relay, and wants to be told of its own clients, all
// of them and no others, and of the other relays.
func ringWatchers(r *ring) error {
	meshKey, err := r.meshKey()
	if err != nil {
		return err
	}
	var followers []*follower
	for i, n := range r.nodes {
		f, err := r.follow(fmt.Sprintf("watcher of %d", i), n.at, false, withMesh(meshKey))
		if err != nil {
			return err
		}
		defer f.stop()
		followers = append(followers, f)
	}
	var here [3]map[key.NodePublic]bool
	var clients []*Client
	for i, n := range r.nodes {
		here[i] = map[key.NodePublic]bool{followers[i].key: true}
		for range 5 {
			c, err := r.dial("client", n.at)
			if err != nil {
				return err
			}
			clients = append(clients, c)
			here[i][c.key] = true
		}
	}
	agree := func() error {
		return together([]int{0, 1, 2}, func(i int) error {
			return followers[i].until("all of its clients, and no other", func() bool {
				count := 0
				for k := range followers[i].here {
					if r.knows(k) {
						count++
						if !here[i][k] {
							return false
						}
					}
				}
				return count == len(here[i])
			})
		})
	}
	if err := agree(); err != nil {
		return err
	}
	for i, f := range followers {
		for j, other := range followers {
			if i == j {
				continue
			}
			relay := other.ServerPublicKey()
			if err := f.until("the other relays, as mesh peers", func() bool {
				return f.here[relay] == derp.PeerPresentIsMeshPeer
			}); err != nil {
				return err
			}
		}
	}
	for _, c := range clients {
		c.Close()
	}
	for i, f := range followers {
		here[i] = map[key.NodePublic]bool{f.key: true}
	}
	return agree()
}

// ringClosePeer closes a client in one of the two places where it is. It is
// still in the region, so nobody is told that it has gone.
func ringClosePeer(r *ring) error {
	meshKey, err := r.meshKey()
	if err != nil {
		return err
	}
	return together(turns, func(turn [3]int) error {
		here, there := r.nodes[turn[0]].at, r.nodes[turn[1]].at
		k := key.NewNode()
		friend, err1 := r.dial("friend", r.nodes[turn[2]].at)
		closed, err2 := r.dial("to be closed", here, withKey(k))
		spared, err3 := r.dial("to be spared", there, withKey(k))
		closer, err4 := r.dial("closer", here, withMesh(meshKey))
		if err := errors.Join(err1, err2, err3, err4, r.knowing(turn[2], turn[0]), r.knowing(turn[2], turn[1])); err != nil {
			return err
		}
		if err := spared.exchange(friend, packet(1, 100)); err != nil {
			return err
		}
		if err := closer.ClosePeer(k.Public()); err != nil {
			return err
		}
		if err := closed.expectClosed(); err != nil {
			return err
		}
		if err := r.reach(friend, spared); err != nil {
			return err
		}
		return errors.Join(spared.expectNothing(), friend.expectNothing(), closer.expectNothing())
	})
}

// ringMove moves a client from one relay to another. It never leaves the
// region, so nobody is told that it has.
func ringMove(r *ring) error {
	return together(orders, func(order [3]int) error {
		from, to := order[0], order[1]
		k := key.NewNode()
		a, err1 := r.dial("neighbour before", r.nodes[from].at)
		b, err2 := r.dial("neighbour after", r.nodes[to].at)
		c, err3 := r.dial("neighbour never", r.nodes[order[2]].at)
		before, err4 := r.dial("mover, before", r.nodes[from].at, withKey(k))
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			return err
		}
		neighbours := []*Client{a, b, c}
		for _, n := range neighbours {
			if err := errors.Join(r.reach(n, before), r.reach(before, n)); err != nil {
				return err
			}
		}
		after, err := r.dial("mover, after", r.nodes[to].at, withKey(k))
		if err != nil {
			return err
		}
		// Its own relay has it now, which comes before the mesh.
		if err := b.exchange(after, packet(2, 100)); err != nil {
			return err
		}
		for _, n := range neighbours {
			if err := r.reach(after, n); err != nil {
				return err
			}
		}
		if err := errors.Join(r.knowing(from, to), r.knowing(order[2], to)); err != nil {
			return err
		}
		before.Close()
		for _, n := range neighbours {
			if err := r.reach(n, after); err != nil {
				return err
			}
		}
		return errors.Join(a.expectNothing(), b.expectNothing(), c.expectNothing(), after.expectNothing())
	})
}

// ringTwoPlaces has one key on two relays at once. Each of them prefers its own;
// the third one the place it heard of first, until that is gone, and then the
// other, also when the first comes back.
func ringTwoPlaces(r *ring) error {
	return together(orders, func(order [3]int) error {
		here, there, third := order[0], order[1], order[2]
		k := key.NewNode()
		first, err1 := r.dial("first", r.nodes[here].at, withKey(k))
		if err := errors.Join(err1, r.knowing(third, here), r.knowing(there, here)); err != nil {
			return err
		}
		second, err2 := r.dial("second", r.nodes[there].at, withKey(k))
		if err := errors.Join(err2, r.knowing(third, there), r.knowing(here, there)); err != nil {
			return err
		}
		a, err1 := r.dial("neighbour of the first", r.nodes[here].at)
		b, err2 := r.dial("neighbour of the second", r.nodes[there].at)
		c, err3 := r.dial("neighbour of neither", r.nodes[third].at)
		if err := errors.Join(err1, err2, err3, r.knowing(here, third), r.knowing(there, third)); err != nil {
			return err
		}
		// Those who have heard of it would be told if it had gone.
		for _, n := range []*Client{a, b, c} {
			if err := errors.Join(r.reach(first, n), r.reach(second, n)); err != nil {
				return err
			}
		}
		rowTo := func(from, to *Client) error {
			for i := range 20 {
				if err := from.exchange(to, packet(uint64(i), 100)); err != nil {
					return fmt.Errorf("%s to %s: %w", from.name, to.name, err)
				}
			}
			return nil
		}
		if err := errors.Join(rowTo(a, first), rowTo(b, second), rowTo(c, first)); err != nil {
			return err
		}
		first.Close()
		if err := errors.Join(r.reach(c, second), r.reach(a, second)); err != nil {
			return err
		}
		again, err := r.dial("first, again", r.nodes[here].at, withKey(k))
		if err := errors.Join(err, r.knowing(third, here), r.knowing(there, here)); err != nil {
			return err
		}
		if err := errors.Join(rowTo(a, again), rowTo(b, second), rowTo(c, second)); err != nil {
			return err
		}
		if err := errors.Join(a.expectNothing(), b.expectNothing(), c.expectNothing()); err != nil {
			return fmt.Errorf("it never left: %w", err)
		}
		second.Close()
		again.Close()
		return c.expectPeerGone(k.Public(), derp.PeerGoneReasonDisconnected)
	})
}

// ringTraffic has a crowd that is spread over the relays talk at random, far
// below what they can do, and wants every packet exactly once and in order.
func ringTraffic(r *ring) error {
	var all []*Client
	for _, n := range r.nodes {
		some, err := r.Env.crowd(n.at, crowd/5)
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	for _, order := range orders {
		if err := r.knowing(order[0], order[1]); err != nil {
			return err
		}
	}
	return r.trafficAmong(all, 0.3)
}
