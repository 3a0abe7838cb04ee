package scenarios

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"tailscale.com/derp"
	"tailscale.com/disco"
	"tailscale.com/types/key"
)

var trafficScenarios = []Scenario{
	{"traffic-200-clients", overTLS(func(e *Env, at endpoint) error { return e.traffic(at, 0) })},
	{"traffic-200-clients-disco", overTLS(func(e *Env, at endpoint) error { return e.traffic(at, 0.5) })},
	{"traffic-overload", overTLS(trafficOverload)},
}

const (
	crowd          = 200
	packetsEach    = 50
	meanPause      = 100 * time.Millisecond // so 2000 packets a second in all
	largestCommon  = 8 << 10
	shareOfLargest = 0.01
	trafficSeed    = 20200913
)

// flow is what keeps its order: a source, a destination, and a kind, because
// discovery messages have a queue of their own and may overtake.
type flow struct {
	from, to key.NodePublic
	disco    bool
}

// digest stands for a packet's bytes.
type digest struct {
	size int
	sum  [sha256.Size]byte
}

// ledger knows what is on its way. Packets are as short as zero bytes, so they
// carry no numbers: they are known by their content and their turn.
type ledger struct {
	mu              sync.Mutex
	pending         map[flow][]digest
	sent, delivered int
	lastDelivery    time.Time
	failures        []string // the first few
	failed          int
}

func (l *ledger) send(f flow, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending[f] = append(l.pending[f], digest{len(data), sha256.Sum256(data)})
	l.sent++
}

func (l *ledger) receive(f flow, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lastDelivery = time.Now()
	got := digest{len(data), sha256.Sum256(data)}
	queue := l.pending[f]
	if len(queue) > 0 && queue[0] == got {
		l.pending[f] = queue[1:]
		l.delivered++
		return
	}
	what := "was never sent, arrived before, or was damaged"
	if slices.Contains(queue, got) {
		what = "is out of order"
	}
	l.fail(fmt.Sprintf("a packet of %d bytes from %s to %s %s", got.size, f.from.ShortString(), f.to.ShortString(), what))
}

// fail notes a failure; the first few say enough. The caller holds mu, or is
// the only one left.
func (l *ledger) fail(text string) {
	if len(l.failures) < 5 {
		l.failures = append(l.failures, text)
	}
	l.failed++
}

func (l *ledger) idle() (missing int, since time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent - l.delivered, time.Since(l.lastDelivery)
}

// traffic has a crowd talk at random, slowly enough that no loss is excusable,
// and wants every packet exactly once, intact and in order.
func (e *Env) traffic(at endpoint, discoShare float64) error {
	clients, err := e.crowd(at, crowd)
	if err != nil {
		return err
	}
	return e.trafficAmong(clients, discoShare)
}

func (e *Env) trafficAmong(clients []*Client, discoShare float64) error {
	book := &ledger{pending: map[flow][]digest{}, lastDelivery: time.Now()}
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for _, c := range clients {
		readers.Go(func() { c.readInto(book, stop) })
	}
	for i, c := range clients {
		rng := rand.New(rand.NewPCG(trafficSeed, uint64(i)))
		writers.Go(func() { c.chatter(rng, clients, discoShare, book) })
	}
	writers.Wait()
	for { // what is under way arrives, or nothing comes for a while
		if missing, since := book.idle(); missing == 0 || since > patience/2 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	readers.Wait()

	// Nothing may come late: no second copies, no notices.
	for _, c := range clients {
		if err := c.expectNothing(); err != nil {
			book.fail(err.Error())
		}
	}
	if want := len(clients) * packetsEach; book.sent != want {
		book.fail(fmt.Sprintf("only %d of %d packets were sent", book.sent, want))
	}
	if missing := book.sent - book.delivered; missing != 0 {
		book.fail(fmt.Sprintf("%d of %d packets never arrived", missing, book.sent))
	}
	e.logf("%d packets sent, %d delivered", book.sent, book.delivered)
	if len(book.failures) > 0 {
		return fmt.Errorf("%d failures, such as:\n  %s", book.failed, strings.Join(book.failures, "\n  "))
	}
	return nil
}

// crowd dials n clients, some at a time.
func (e *Env) crowd(at endpoint, n int) ([]*Client, error) {
	clients, failed := make([]*Client, n), make([]error, n)
	var wait sync.WaitGroup
	places := make(chan struct{}, 16)
	for i := range n {
		wait.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			clients[i], failed[i] = e.dial(fmt.Sprintf("client %d", i), at)
		})
	}
	wait.Wait()
	return clients, errors.Join(failed...)
}

// readInto enters what c receives.
func (c *Client) readInto(book *ledger, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case r := <-c.inbox:
			p, ok := r.message.(derp.ReceivedPacket)
			if ok {
				book.receive(flow{p.Source, c.key, disco.LooksLikeDiscoWrapper(p.Data)}, p.Data)
				continue
			}
			if _, ok := r.message.(derp.KeepAliveMessage); ok {
				continue
			}
			book.mu.Lock()
			book.fail(fmt.Sprintf("%s got %v (%v)", c.name, r.message, r.err))
			book.mu.Unlock()
			if r.err != nil {
				return
			}
		}
	}
}

// chatter sends packets to random others. It pauses after each one instead of
// keeping a schedule, so that a slow machine makes no bursts.
func (c *Client) chatter(rng *rand.Rand, others []*Client, discoShare float64, book *ledger) {
	for range packetsEach {
		time.Sleep(rand.N(2 * meanPause))
		peer := others[rng.IntN(len(others))]
		data := randomPacket(rng, discoShare)
		book.send(flow{c.key, peer.key, disco.LooksLikeDiscoWrapper(data)}, data)
		if err := c.Send(peer.key, data); err != nil {
			book.mu.Lock()
			book.fail(fmt.Sprintf("%s cannot send: %v", c.name, err))
			book.mu.Unlock()
			return
		}
	}
}

func randomPacket(rng *rand.Rand, discoShare float64) []byte {
	size := rng.IntN(largestCommon + 1)
	switch roll := rng.Float64(); {
	case roll < shareOfLargest:
		size = derp.MaxPacketSize
	case roll < 0.1:
		size = rng.IntN(64)
	}
	data := make([]byte, size)
	for i := 0; i < len(data); i += 8 {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], rng.Uint64())
		copy(data[i:], word[:])
	}
	if rng.Float64() < discoShare && size >= 62 {
		copy(data, disco.Magic)
	}
	return data
}

// trafficOverload sends faster than anyone can relay. Loss is fine then, but
// none of it may go uncounted, and what arrives is intact and in order.
func trafficOverload(e *Env, at endpoint) error {
	w, err := e.web(at)
	if err != nil {
		return err
	}
	receiver, err := e.dial("receiver", at)
	if err != nil {
		return err
	}
	const senders, each, size = 4, 5000, 1200
	crowd, err := e.crowd(at, senders)
	if err != nil {
		return err
	}
	before, err := w.samples()
	if err != nil {
		return err
	}

	var delivered atomic.Int64
	broken := make(chan error, 1)
	go func() { broken <- receiver.takeNumbered(senders, each, &delivered) }()
	var writers sync.WaitGroup
	for _, c := range crowd {
		writers.Go(func() {
			data := packet(1, size)
			for n := range uint64(each) {
				binary.BigEndian.PutUint64(data, n)
				binary.BigEndian.PutUint64(data[size-8:], n)
				if c.Send(receiver.key, data) != nil {
					return // the counters will tell
				}
			}
		})
	}
	writers.Wait()

	var books string
	err = e.until("counters that account for every packet", func() (bool, error) {
		select {
		case err := <-broken:
			return false, err
		default:
		}
		after, err := w.samples()
		if err != nil {
			return false, err
		}
		received := after["derp_packets_received"] - before["derp_packets_received"]
		sent := after["derp_packets_sent"] - before["derp_packets_sent"]
		var dropped float64
		for _, name := range slices.Sorted(maps.Keys(after)) {
			if strings.HasPrefix(name, "derp_packets_dropped{") {
				dropped += after[name] - before[name]
			}
		}
		arrived := float64(delivered.Load())
		books = fmt.Sprintf("offered %d, relay received %v, sent %v, dropped %v; arrived %v", senders*each, received, sent, dropped, arrived)
		return received == senders*each && received == sent+dropped && arrived == sent, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %s", err, books)
	}
	e.logf("%s", books)
	for _, c := range append(crowd, receiver) {
		if err := c.Ping(e.ctx); err != nil {
			return fmt.Errorf("%s did not survive: %w", c.name, err)
		}
	}
	return nil
}

// takeNumbered reads numbered packets, which may have gaps but no steps back.
func (c *Client) takeNumbered(senders, each int, delivered *atomic.Int64) error {
	last := map[key.NodePublic]uint64{}
	for {
		var r received
		select {
		case r = <-c.inbox:
		case <-c.env.ctx.Done():
			return c.env.ctx.Err()
		}
		p, ok := r.message.(derp.ReceivedPacket)
		if _, pong := r.message.(derp.PongMessage); pong {
			continue
		}
		if !ok {
			return fmt.Errorf("%s got %v (%v)", c.name, r.message, r.err)
		}
		n := binary.BigEndian.Uint64(p.Data)
		want := packet(1, len(p.Data))
		if before, ok := last[p.Source]; ok && n <= before {
			return fmt.Errorf("packet %d of %s arrived after %d", n, p.Source.ShortString(), before)
		}
		last[p.Source] = n
		if n != binary.BigEndian.Uint64(p.Data[len(p.Data)-8:]) || string(p.Data[8:len(p.Data)-8]) != string(want[8:len(want)-8]) {
			return fmt.Errorf("packet %d of %s is damaged", n, p.Source.ShortString())
		}
		delivered.Add(1)
	}
}
