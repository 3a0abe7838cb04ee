package scenarios

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/types/key"
)

const (
	talkPause   = time.Second // between two packets of a talker
	talkRetry   = 100 * time.Millisecond
	talkPlaces  = 64 // first dials at one time
	talkSettle  = 3 * time.Second
	talkExcuse  = 3 * time.Second // around a change of connection of either side
	talkExample = 5
)

// talker is a client that connects again whenever its connection ends, as
// tailscaled does, and talks with one other for as long as it is told to.
type talker struct {
	key     key.NodePublic
	client  *derphttp.Client
	partner *talker

	mu        sync.Mutex
	connected bool
	relay     key.NodePublic
	changes   []time.Time // of its connection
	sent      []time.Time // by number
	received  map[uint32]bool
	last      uint32
	heard     time.Time // when it got its last packet
	disorder  int
	twice     int
	gone      int // PeerGone of its partner
}

// state is what a crowd says while it talks.
type state struct {
	Connected int            `json:"connected"`
	Flowing   int            `json:"flowing"` // have got a packet since both sides have connected
	Relays    map[string]int `json:"relays"`
}

// summary is what has become of the packets of a crowd.
type summary struct {
	Sent     int      `json:"sent"`
	Received int      `json:"received"`
	Excused  int      `json:"excused"` // lost, while one side changed its connection
	Lost     int      `json:"lost"`    // lost without that
	Disorder int      `json:"disorder"`
	Twice    int      `json:"twice"`
	Gone     int      `json:"gone"`
	Examples []string `json:"examples"`
}

// Talk connects n clients in pairs and has each send a packet a second to its
// partner. For each line of in it writes a line of JSON: for "state" how many
// are connected, and where; for "stop" what has become of the packets.
func Talk(ctx context.Context, target Target, n int, in io.Reader, out io.Writer) error {
	e := newEnv(ctx, target)
	at, err := e.tlsEndpoint()
	if err != nil {
		return err
	}
	all := make([]*talker, n)
	for i := range all {
		if all[i], err = e.talker(at); err != nil {
			return err
		}
	}
	for i, t := range all {
		t.partner = all[i^1]
	}
	talking, stop := context.WithCancel(ctx)
	defer stop()
	places := make(chan struct{}, talkPlaces)
	var talkers sync.WaitGroup
	for _, t := range all {
		go t.listen(ctx, places)
		talkers.Go(func() { t.talk(talking) })
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var answer any = stateOf(all)
		if lines.Text() == "stop" {
			stop()
			talkers.Wait()
			time.Sleep(talkSettle)
			answer = summaryOf(all)
		}
		text, _ := json.Marshal(answer)
		fmt.Fprintf(out, "%s\n", text)
	}
	return lines.Err()
}

func (e *Env) talker(at endpoint) (*talker, error) {
	private := key.NewNode()
	c, err := derphttp.NewClient(private, at.url+"/derp", discard, netmon.NewStatic())
	if err != nil {
		return nil, err
	}
	c.SetCanAckPings(true)
	c.SetURLDialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, at.address)
	})
	if c.TLSConfig, err = e.tlsConfig(""); err != nil {
		return nil, err
	}
	return &talker{key: private.Public(), client: c, received: map[uint32]bool{}}, nil
}

func (t *talker) listen(ctx context.Context, places chan struct{}) {
	places <- struct{}{}
	err := t.client.Connect(ctx)
	<-places
	for ctx.Err() == nil {
		if err != nil {
			t.changed(false)
			time.Sleep(talkRetry)
		}
		var m derp.ReceivedMessage
		if m, err = t.client.Recv(); err != nil {
			continue
		}
		switch m := m.(type) {
		case derp.ServerInfoMessage:
			t.changed(true)
		case derp.ReceivedPacket:
			t.got(binary.BigEndian.Uint32(m.Data))
		case derp.PeerGoneMessage:
			t.mu.Lock()
			t.gone++
			t.mu.Unlock()
		case derp.PingMessage:
			go t.client.SendPong(m)
		}
	}
}

func (t *talker) changed(connected bool) {
	relay := t.client.ServerPublicKey()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.connected != connected || connected {
		t.changes = append(t.changes, time.Now())
	}
	t.connected, t.relay = connected, relay
}

func (t *talker) got(number uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.received[number] {
		t.twice++
	}
	if number < t.last {
		t.disorder++
	}
	t.received[number] = true
	t.heard = time.Now()
	t.last = max(t.last, number)
}

// talk sends a packet a second, while both sides are connected.
func (t *talker) talk(ctx context.Context) {
	data := make([]byte, 200)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(rand.N(2 * talkPause)):
		}
		if !t.isConnected() || !t.partner.isConnected() {
			continue
		}
		t.mu.Lock()
		binary.BigEndian.PutUint32(data, uint32(len(t.sent)))
		t.sent = append(t.sent, time.Now())
		t.mu.Unlock()
		// What fails is lost; its end is excused by the change of the connection.
		_ = t.client.Send(t.partner.key, data)
	}
}

func (t *talker) isConnected() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.connected
}

// changedAround reports whether the connection has changed about then.
func (t *talker) changedAround(when time.Time) bool {
	return slices.ContainsFunc(t.changes, func(change time.Time) bool {
		return change.Sub(when).Abs() < talkExcuse
	})
}

func stateOf(all []*talker) state {
	s := state{Relays: map[string]int{}}
	for _, t := range all {
		t.mu.Lock()
		if t.connected {
			s.Connected++
			s.Relays[t.relay.UntypedHexString()]++
		}
		heard := t.heard
		t.mu.Unlock()
		if heard.After(t.lastChange()) && heard.After(t.partner.lastChange()) {
			s.Flowing++
		}
	}
	return s
}

func (t *talker) lastChange() (last time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.changes); n > 0 {
		last = t.changes[n-1]
	}
	return last
}

func summaryOf(all []*talker) (s summary) {
	for _, t := range all {
		s.Sent += len(t.sent)
		s.Received += len(t.received)
		s.Disorder += t.disorder
		s.Twice += t.twice
		s.Gone += t.gone
		for number, when := range t.sent {
			if t.partner.received[uint32(number)] {
				continue
			}
			if t.changedAround(when) || t.partner.changedAround(when) {
				s.Excused++
				continue
			}
			s.Lost++
			if len(s.Examples) < talkExample {
				s.Examples = append(s.Examples, fmt.Sprintf("packet %d from %s at %s to %s at %s, %s",
					number, t.key.ShortString(), t.relay.ShortString(), t.partner.key.ShortString(), t.partner.relay.ShortString(),
					when.Format(time.StampMilli)))
			}
		}
	}
	return s
}
