package scenarios

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"tailscale.com/derp"
)

// settling is how long relays may take to find each other again: they wait five
// seconds after a failure, and may have failed just before.
const settling = 30 * time.Second

// RingPlan is three relays of one region, each told to mesh with the others.
// Unlike the other scenarios', these relays are started here, because they are
// also to be ended, and because what lies between them is to be cut.
type RingPlan struct {
	Nodes       []NodePlan
	CAFile      string
	MeshKeyFile string
	Directory   string // has a certificate for every host name
	WrongKey    string // host name of a relay with another mesh key
	Crowd       string // host name of a relay with many clients
}

// NodePlan is one relay. Its command lacks -mesh-with alone.
type NodePlan struct {
	HostName string
	Address  string // HOST:PORT
	Command  []string
	Env      []string // added to this process's
}

// RingScenario is one thing that relays have to do together.
type RingScenario struct {
	Name string
	Run  func(*ring) error
}

// RingScenarios is all of them, in the order in which they are run. The last
// one looks at what has happened to strangers all the while.
func RingScenarios() []RingScenario {
	return slices.Concat(ringClientScenarios, ringBreakScenarios, ringFloodScenarios, ringStrangerScenarios)
}

// Fact is something that relays may do one way or the other; the suite says
// which way each kind of relay does it.
type Fact struct {
	Node int    `json:"node"`
	What string `json:"what"`
	Is   string `json:"is"`
}

// result is a line of output.
type result struct {
	Scenario string `json:"scenario"`
	Took     int64  `json:"took"` // ms
	Error    string `json:"error,omitempty"`
	Facts    []Fact `json:"facts,omitempty"`
}

// ring is a running mesh.
type ring struct {
	*Env  // of the scenario that runs
	plan  RingPlan
	nodes []*node
	links map[[2]int]*link // by who dials whom, oneself included

	wrongKey  *stranger
	crowd     *stranger
	untrusted *untrusted

	mu    sync.Mutex
	facts []Fact
}

// RunRing starts the relays, runs the scenarios and prints a line of JSON about
// each. It ends early when its standard input does: then nobody waits for it.
func RunRing(ctx context.Context, planFile string, names []string) error {
	text, err := os.ReadFile(planFile)
	if err != nil {
		return err
	}
	var plan RingPlan
	if err := json.Unmarshal(text, &plan); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	r := &ring{plan: plan, links: map[[2]int]*link{}}
	defer r.close()
	if err := r.start(ctx); err != nil {
		return fmt.Errorf("the relays do not start: %w\n%s", err, r.output())
	}
	out := json.NewEncoder(os.Stdout)
	for _, s := range RingScenarios() {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		start := time.Now()
		err := r.play(ctx, s)
		line := result{Scenario: s.Name, Took: time.Since(start).Milliseconds(), Facts: r.takeFacts()}
		if err != nil {
			line.Error = fmt.Sprintf("%v\n%s", err, r.output())
		}
		if err := out.Encode(line); err != nil {
			return err
		}
	}
	return nil
}

func (r *ring) start(ctx context.Context) error {
	r.Env = r.newEnv(ctx)
	meshKey, err := r.meshKey()
	if err != nil {
		return err
	}
	if r.wrongKey, err = newStranger(ctx, r.plan, r.plan.WrongKey, strings.Repeat("bad0", 16)); err != nil {
		return err
	}
	if r.crowd, err = newStranger(ctx, r.plan, r.plan.Crowd, meshKey.String()); err != nil {
		return err
	}
	r.crowd.link.cut() // until it is its turn
	if r.untrusted, err = newUntrusted(ctx); err != nil {
		return err
	}
	for i, plan := range r.plan.Nodes {
		at := endpoint{fmt.Sprintf("node %d", i), "https://" + plan.HostName, plan.Address, plan.HostName}
		r.nodes = append(r.nodes, &node{plan: plan, at: at})
	}
	for from := range r.nodes {
		for to := range r.nodes {
			l, err := newLink(ctx, r.nodes[to].plan.Address)
			if err != nil {
				return err
			}
			r.links[[2]int{from, to}] = l
		}
	}
	for i, n := range r.nodes {
		// No name resolves, so the second part says where to dial.
		var with []string
		for j, other := range r.nodes {
			with = append(with, r.links[[2]int{i, j}].entry(other.plan.HostName))
		}
		with = append(with, r.wrongKey.link.entry(r.plan.WrongKey), r.crowd.link.entry(r.plan.Crowd), r.untrusted.entry(i))
		n.meshWith = strings.Join(with, ",")
		if err := n.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *ring) newEnv(ctx context.Context) *Env {
	return newEnv(ctx, Target{CAFile: r.plan.CAFile, MeshKeyFile: r.plan.MeshKeyFile})
}

func (r *ring) close() {
	for _, n := range r.nodes {
		n.kill()
	}
}

// play runs a scenario on a mesh that is whole.
func (r *ring) play(ctx context.Context, s RingScenario) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for _, n := range r.nodes {
		n.forget()
	}
	for _, l := range r.links {
		l.open()
	}
	r.Env = r.newEnv(ctx)
	for _, n := range r.nodes {
		if err := n.start(ctx); err != nil {
			return err
		}
	}
	if err := r.whole(); err != nil {
		return fmt.Errorf("before it: %w", err)
	}
	r.Env.close()
	r.Env = r.newEnv(ctx)
	defer func() { r.Env.close() }()
	return s.Run(r)
}

// whole waits until every relay reaches the clients of every other.
func (r *ring) whole() error {
	clients, err := r.one("probe")
	if err != nil {
		return err
	}
	return r.acquaint(clients...)
}

// one dials a client at each relay.
func (r *ring) one(name string) ([]*Client, error) {
	var clients []*Client
	for i, n := range r.nodes {
		c, err := r.dial(fmt.Sprintf("%s at %d", name, i), n.at)
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
	}
	return clients, nil
}

// acquaint makes each of the clients reach each other one.
func (r *ring) acquaint(clients ...*Client) error {
	for _, from := range clients {
		for _, to := range clients {
			if from == to {
				continue
			}
			if err := r.reach(from, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// reach sends until a packet arrives: relays have yet to tell each other.
// Everything sent is taken out of the inbox again.
func (e *Env) reach(from, to *Client) error {
	deadline := time.Now().Add(settling)
	for n := 0; time.Now().Before(deadline); n++ {
		sent := []byte{byte(n >> 8), byte(n), 'r'}
		if err := from.Send(to.key, sent); err != nil {
			return err
		}
		select {
		case r := <-to.inbox:
			for m, err := r.message, r.err; ; m, err = to.next() {
				got, ok := m.(derp.ReceivedPacket)
				if !ok || got.Source != from.key || len(got.Data) != len(sent) {
					return fmt.Errorf("%s got %s (%v) while %s tried to reach it", to.name, show(m), err, from.name)
				}
				if bytes.Equal(got.Data, sent) {
					return nil
				}
			}
		case <-time.After(40 * time.Millisecond):
		case <-e.ctx.Done():
			return e.ctx.Err()
		}
	}
	return fmt.Errorf("nothing gets from %s to %s", from.name, to.name)
}

// knowing waits until node i knows all that node j has announced up to now: it
// is told of a newcomer last.
func (r *ring) knowing(i, j int) error {
	from, err1 := r.dial("asker", r.nodes[i].at)
	to, err2 := r.dial("newcomer", r.nodes[j].at)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	defer from.Close()
	defer to.Close()
	return r.reach(from, to)
}

// together runs a check for every node, or pair of nodes, at the same time.
func together[T any](over []T, check func(T) error) error {
	failed := make([]error, len(over))
	var wait sync.WaitGroup
	for i, one := range over {
		wait.Go(func() {
			if err := check(one); err != nil {
				failed[i] = fmt.Errorf("%v: %w", one, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(failed...)
}

// turns has the numbers of all nodes, each at the first place once.
var turns = [][3]int{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}}

// orders has all orders of the nodes.
var orders = append(slices.Clone(turns), [3]int{0, 2, 1}, [3]int{1, 0, 2}, [3]int{2, 1, 0})

func (r *ring) fact(node int, what, is string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts = append(r.facts, Fact{node, what, is})
}

func (r *ring) takeFacts() []Fact {
	r.mu.Lock()
	defer r.mu.Unlock()
	facts := r.facts
	r.facts = nil
	return facts
}

// output is what the relays have printed lately.
func (r *ring) output() string {
	var b strings.Builder
	for i, n := range r.nodes {
		fmt.Fprintf(&b, "node %d, %s:\n%s\n", i, n.plan.Command[0], n.said())
	}
	return b.String()
}
