package scenarios

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// Many clients, who are announced at once.
var ringFloodScenarios = []RingScenario{
	{"ring-5000-announced", ringFlood},
	{"ring-5000-announcing", ringFlooding},
}

const (
	throng = 5000
	burst  = 50 // packets on their way to different clients of the throng, from each sender
)

// throngOf has the clients, and knows who has reached them: each is sent its
// own key.
type throngOf struct {
	keys    []key.NodePublic
	mu      sync.Mutex
	reached map[[2]key.NodePublic]bool // from, to
	wrong   error
}

func (t *throngOf) take(to key.NodePublic, p derp.ReceivedPacket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !bytes.Equal(p.Data, to.AppendTo(nil)) {
		t.wrong = errors.New("a packet for somebody else arrived")
	}
	t.reached[[2]key.NodePublic{p.Source, to}] = true
}

// fill logs all of them in.
func (t *throngOf) fill(login func() (*derp.Client, key.NodePublic, error)) error {
	t.keys, t.reached = make([]key.NodePublic, throng), map[[2]key.NodePublic]bool{}
	return together([]int{0, 1, 2, 3, 4, 5, 6, 7}, func(part int) error {
		for i := part; i < throng; i += 8 {
			c, k, err := login()
			if err != nil {
				return fmt.Errorf("client %d: %w", i, err)
			}
			t.keys[i] = k
			go func() {
				for {
					m, err := c.Recv()
					if err != nil {
						return
					}
					if p, ok := m.(derp.ReceivedPacket); ok {
						t.take(k, p)
					}
				}
			}()
		}
		return nil
	})
}

// reachedBy has each of them reached by each sender, a few at a time. The order
// in which they are announced is nobody's, so whoever is not reached is tried
// again.
func (t *throngOf) reachedBy(r *ring, senders []*Client) error {
	missing := func(some []key.NodePublic) (count int, of map[*Client][]key.NodePublic, err error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		of = map[*Client][]key.NodePublic{}
		for _, s := range senders {
			for _, k := range some {
				if !t.reached[[2]key.NodePublic{s.key, k}] {
					of[s] = append(of[s], k)
					count++
				}
			}
		}
		return count, of, t.wrong
	}
	for some := range slices.Chunk(t.keys, burst) {
		asked := time.Time{}
		if err := r.within(settling, "that all of the throng are reached", func() (bool, error) {
			count, of, err := missing(some)
			if count == 0 || err != nil || time.Since(asked) < time.Second {
				return count == 0, err
			}
			asked = time.Now()
			for s, keys := range of {
				for _, k := range keys {
					if err := s.Send(k, k.AppendTo(nil)); err != nil {
						return false, err
					}
				}
			}
			return false, nil
		}); err != nil {
			return err
		}
	}
	for _, s := range senders {
		if err := s.expectNothing(); err != nil {
			return err
		}
	}
	return nil
}

// ringFlood has the relays connect to another with five thousand clients, and
// wants each of those to be reached from everywhere; and none when it is gone.
func ringFlood(r *ring) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	var all throngOf
	if err := all.fill(func() (*derp.Client, key.NodePublic, error) { return r.crowd.inMemory(ctx) }); err != nil {
		return err
	}
	last, err1 := r.dial("the last of them", r.crowd.at)
	senders, err2 := r.one("sender")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	r.crowd.link.open()
	for _, s := range senders {
		if err := r.reach(s, last); err != nil {
			return err
		}
	}
	if err := all.reachedBy(r, senders); err != nil {
		return err
	}
	r.crowd.link.cut()
	for _, s := range senders {
		for _, k := range []key.NodePublic{last.key, all.keys[0]} {
			if err := s.untilUnknown(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// inMemory logs a client in, to a relay of this process, without a network.
func (s *stranger) inMemory(ctx context.Context) (*derp.Client, key.NodePublic, error) {
	near, far := net.Pipe()
	context.AfterFunc(ctx, func() { near.Close() })
	go s.Accept(ctx, far, bufio.NewReadWriter(bufio.NewReader(far), bufio.NewWriter(far)), "192.0.2.1:1234")
	k := newKey()
	c, err := derp.NewClient(k, near, bufio.NewReadWriter(bufio.NewReader(near), bufio.NewWriter(near)), discard)
	if err != nil {
		return nil, key.NodePublic{}, err
	}
	first, err := c.Recv()
	if err != nil {
		return nil, key.NodePublic{}, err
	}
	if _, ok := first.(derp.ServerInfoMessage); !ok {
		return nil, key.NodePublic{}, fmt.Errorf("the first message is %s", show(first))
	}
	return c, k.Public(), nil
}

// untilUnknown asks with discovery messages until the key is not here.
func (c *Client) untilUnknown(k key.NodePublic) error {
	return c.env.until(fmt.Sprintf("that %s cannot reach it", c.name), func() (bool, error) {
		if err := c.Send(k, discoPacket(100)); err != nil {
			return false, err
		}
		messages, err := c.drain()
		for _, m := range messages {
			if m != (derp.PeerGoneMessage{Peer: k, Reason: derp.PeerGoneReasonNotHere}) {
				return false, fmt.Errorf("%s got %s", c.name, show(m))
			}
		}
		return len(messages) > 0, err
	})
}

// ringFlooding has five thousand clients at the first relay, to which the
// others connect anew.
func ringFlooding(r *ring) error {
	at := r.nodes[0].at
	var all throngOf
	var mu sync.Mutex
	var opened []*rawClient
	defer func() {
		for _, c := range opened {
			c.Close()
		}
	}()
	if err := all.fill(func() (*derp.Client, key.NodePublic, error) {
		c, err := r.rawLogin(at, newKey())
		if err != nil {
			return nil, key.NodePublic{}, err
		}
		mu.Lock()
		defer mu.Unlock()
		opened = append(opened, c)
		return c.Client, c.PublicKey(), nil
	}); err != nil {
		return err
	}
	others := []int{1, 2}
	for _, i := range others {
		r.links[[2]int{i, 0}].broken()
	}
	last, err := r.dial("the last of them", at)
	if err != nil {
		return err
	}
	var senders []*Client
	for _, i := range others {
		s, err := r.dial(fmt.Sprintf("sender at %d", i), r.nodes[i].at)
		if err != nil {
			return err
		}
		if err := r.reach(s, last); err != nil {
			return err
		}
		senders = append(senders, s)
	}
	return all.reachedBy(r, senders)
}
