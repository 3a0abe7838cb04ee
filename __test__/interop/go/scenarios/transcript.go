package scenarios

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// Transcribe runs a scenario, and returns what each of its clients was told,
// client by client. Of two relays that do the same it is the same: keys have
// names, and ports are left out.
func Transcribe(ctx context.Context, name string, target Target) ([]string, error) {
	var lines []string
	err := run(ctx, name, target, func(e *Env) { lines = e.transcript() })
	return lines, err
}

// heard is what a client was told, as the scenario took it from the inbox.
type heard struct {
	mu       sync.Mutex
	messages []derp.ReceivedMessage // nil is the end of the connection
}

func (h *heard) add(m derp.ReceivedMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, m)
}

func (e *Env) transcript() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	names := map[key.NodePublic]string{}
	taken := map[string]int{}
	for _, c := range e.opened {
		names[c.ServerPublicKey()] = "the relay"
		if _, ok := names[c.key]; !ok {
			taken[c.name]++
			names[c.key] = fmt.Sprintf("%s %d", c.name, taken[c.name])
		}
	}
	nameOf := func(k key.NodePublic) string {
		if _, ok := names[k]; !ok {
			names[k] = fmt.Sprintf("stranger %d", len(names))
		}
		return names[k]
	}
	var lines []string
	for i, c := range e.opened {
		c.heard.mu.Lock()
		var told []string
		for _, m := range c.heard.messages {
			told = append(told, transcribed(m, nameOf))
		}
		c.heard.mu.Unlock()
		lines = append(lines, fmt.Sprintf("client %d, %s:", i+1, nameOf(c.key)))
		lines = append(lines, ordered(told)...)
	}
	return lines
}

const presence = "PeerPresent "

// ordered sorts neighbouring announcements: derper dumps them in the order of
// a Go map, which is another one each time.
func ordered(lines []string) []string {
	for start := 0; start < len(lines); {
		end := start
		for end < len(lines) && strings.HasPrefix(lines[end], presence) {
			end++
		}
		slices.Sort(lines[start:end])
		start = max(end, start+1)
	}
	return lines
}

func transcribed(m derp.ReceivedMessage, nameOf func(key.NodePublic) string) string {
	switch m := m.(type) {
	case nil:
		return "the end"
	case derp.ReceivedPacket:
		return fmt.Sprintf("packet of %s: %d bytes, %x", nameOf(m.Source), len(m.Data), sha256.Sum256(m.Data))
	case derp.PeerGoneMessage:
		return fmt.Sprintf("PeerGone %s, reason %d", nameOf(m.Peer), m.Reason)
	case derp.PeerPresentMessage:
		return fmt.Sprintf("%s%s at %v, flags %#x, app %q", presence, nameOf(m.Key), m.IPPort.Addr(), m.Flags, m.AppName)
	}
	return fmt.Sprintf("%T %+v", m, m)
}
