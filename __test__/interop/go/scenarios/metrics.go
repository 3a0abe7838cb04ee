package scenarios

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"
)

var metricsScenarios = []Scenario{
	{"metrics", overTLS(metrics)},
	{"debug-check", overTLS(debugCheck)},
}

// samples is a page of Prometheus text, by name and labels as written there.
type samples map[string]float64

func (w *web) samples() (samples, error) {
	r, err := w.ask("GET", "/debug/varz")
	if err != nil {
		return nil, err
	}
	if r.StatusCode != 200 {
		return nil, fmt.Errorf("/debug/varz: %s (it is open to loopback)", r.Status)
	}
	out := samples{}
	lines := bufio.NewScanner(strings.NewReader(r.body))
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("/debug/varz has a line %q", line)
		}
		out[line[:at]] = value
	}
	return out, lines.Err()
}

// metrics checks the counters that dashboards are built on, by how much they
// move with known traffic.
func metrics(e *Env, at endpoint) error {
	w, err := e.web(at)
	if err != nil {
		return err
	}
	alice, err := e.dial("alice", at)
	if err != nil {
		return err
	}
	bob, err := e.dial("bob", at)
	if err != nil {
		return err
	}
	var before samples
	if err := e.until("no one here but alice and bob", func() (bool, error) {
		before, err = w.samples()
		return before["derp_current_connections"] == 2, err
	}); err != nil {
		return err
	}

	if err := alice.exchange(bob, packet(1, 100)); err != nil {
		return err
	}
	if err := bob.exchange(alice, discoPacket(200)); err != nil {
		return err
	}
	nobody := newKey().Public()
	if err := alice.Send(nobody, packet(1, 50)); err != nil {
		return err
	}
	if err := alice.Send(nobody, discoPacket(70)); err != nil {
		return err
	}
	if before, err := alice.drain(); err != nil || len(before) != 1 { // the NotHere
		return fmt.Errorf("got %v (%v)", before, err)
	}
	alice.NotePreferred(true)
	if err := alice.expectNothing(); err != nil {
		return err
	}
	late, err := e.dial("late", at)
	if err != nil {
		return err
	}
	if err := late.expectNothing(); err != nil {
		return err
	}

	want := samples{
		"derp_accepts":                                                  1,
		"derp_current_connections":                                      1,
		"derp_clients_local":                                            1,
		"derp_clients_total":                                            1,
		"derp_clients_remote":                                           0,
		"derp_current_home_connections":                                 1,
		"derp_packets_received":                                         4,
		"derp_bytes_received":                                           100 + 200 + 50 + 70,
		`derp_packets_received_kind{kind="disco"}`:                      2,
		`derp_packets_received_kind{kind="other"}`:                      2,
		"derp_packets_sent":                                             2,
		"derp_bytes_sent":                                               100 + 200,
		`derp_packets_dropped{reason="unknown_dest",kind="disco"}`:      1,
		`derp_packets_dropped{reason="unknown_dest",kind="other"}`:      1,
		`derp_bytes_dropped{reason="unknown_dest",kind="disco"}`:        70,
		`derp_bytes_dropped{reason="unknown_dest",kind="other"}`:        50,
		`derp_packets_dropped{reason="queue_head",kind="other"}`:        0,
		`derp_packets_dropped{reason="gone_disconnected",kind="disco"}`: 0,
		"derp_peer_gone_not_here_frames":                                1,
		"derp_peer_gone_disconnected_frames":                            0,
		"derp_got_ping":                                                 3,
		"derp_sent_pong":                                                3,
		"derp_unknown_frames":                                           0,
		"derp_watchers":                                                 0,
	}
	// Some relays bring figures together from several places; they settle.
	var wrong string
	if err := e.until("counters that fit the traffic", func() (bool, error) {
		after, err := w.samples()
		if err != nil {
			return false, err
		}
		wrong = ""
		for name, delta := range want {
			value, ok := after[name]
			if !ok {
				return false, fmt.Errorf("/debug/varz has no %s", name)
			}
			if moved := value - before[name]; moved != delta {
				wrong += fmt.Sprintf("\n  %s moved by %v, want %v", name, moved, delta)
			}
		}
		return wrong == "", nil
	}); err != nil {
		return fmt.Errorf("%w:%s", err, wrong)
	}
	return nil
}

// debugCheck asks the relay whether its books are in order.
func debugCheck(e *Env, at endpoint) error {
	w, err := e.web(at)
	if err != nil {
		return err
	}
	if _, err := e.dial("client", at); err != nil {
		return err
	}
	// Clients of an earlier scenario may still be leaving.
	var r reply
	if err := e.until("books in order", func() (bool, error) {
		r, err = w.ask("GET", "/debug/check")
		return r.Response != nil && r.StatusCode == 200, err
	}); err != nil {
		return fmt.Errorf("%w: %q", err, r.body)
	}
	return r.want(200, "derp.Server ConsistencyCheck okay")
}
