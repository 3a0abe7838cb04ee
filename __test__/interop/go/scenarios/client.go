package scenarios

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/types/key"
)

// Client is a real client with an inbox. The inbox is always being filled, so
// that a scenario which looks elsewhere never slows the relay down.
type Client struct {
	*derphttp.Client
	env   *Env
	name  string // for messages
	key   key.NodePublic
	inbox chan received
	heard heard
}

type received struct {
	message derp.ReceivedMessage
	err     error
}

// option changes a client before it connects.
type option func(*settings)

type settings struct {
	key        key.NodePrivate
	maxVersion uint16
	dialer     func(context.Context, string, string) (net.Conn, error)
	prepare    []func(*derphttp.Client) // what derphttp has fields for
	tls        func(*tls.Config)
}

func withKey(k key.NodePrivate) option { return func(s *settings) { s.key = k } }

func withMesh(k key.DERPMesh) option { return prepared(func(c *derphttp.Client) { c.MeshKey = k }) }

// withWatch makes the client send WatchConns right after its ClientInfo.
func withWatch() option {
	return prepared(func(c *derphttp.Client) { c.WatchConnectionChanges = true })
}

func prepared(f func(*derphttp.Client)) option {
	return func(s *settings) { s.prepare = append(s.prepare, f) }
}

func withTLS(f func(*tls.Config)) option { return func(s *settings) { s.tls = f } }

func withDialer(dial func(context.Context, string, string) (net.Conn, error)) option {
	return func(s *settings) { s.dialer = dial }
}

// dial connects a client and reads its ServerInfo, which has to come first.
func (e *Env) dial(name string, at endpoint, opts ...option) (*Client, error) {
	c, err := e.newClient(name, at, opts...)
	if err != nil {
		return nil, err
	}
	return c, c.login()
}

// newClient prepares a client that has not connected yet.
func (e *Env) newClient(name string, at endpoint, opts ...option) (*Client, error) {
	s := settings{key: key.NewNode()}
	for _, o := range opts {
		o(&s)
	}
	c, err := derphttp.NewClient(s.key, at.url+"/derp", discard, netmon.NewStatic())
	if err != nil {
		return nil, err
	}
	if s.dialer == nil {
		var d net.Dialer
		s.dialer = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.DialContext(ctx, network, at.address)
		}
	}
	c.SetURLDialer(s.dialer)
	if at.secure() {
		if c.TLSConfig, err = e.tlsConfig(""); err != nil {
			return nil, err
		}
		if s.tls != nil {
			s.tls(c.TLSConfig)
		}
	}
	for _, f := range s.prepare {
		f(c)
	}
	return e.adopt(name, s.key.Public(), c), nil
}

// adopt gives an inbox to a client and remembers to close it.
func (e *Env) adopt(name string, k key.NodePublic, c *derphttp.Client) *Client {
	client := &Client{Client: c, env: e, name: name, key: k, inbox: make(chan received, 1<<14)}
	c.SetCanAckPings(true) // as tailscaled does
	e.mu.Lock()
	e.opened = append(e.opened, client)
	e.mu.Unlock()
	return client
}

// login connects, starts to receive, and takes ServerInfo out of the inbox.
func (c *Client) login() error {
	if err := c.Connect(c.env.ctx); err != nil {
		return fmt.Errorf("%s cannot connect: %w", c.name, err)
	}
	go c.receive()
	first, err := c.next()
	if err != nil {
		return fmt.Errorf("%s is connected, but: %w", c.name, err)
	}
	if _, ok := first.(derp.ServerInfoMessage); !ok {
		return fmt.Errorf("%s: the first message after login is %s, not ServerInfo", c.name, show(first))
	}
	return nil
}

// receive fills the inbox until the connection ends. The real client would
// connect anew on the next call; here the end of a connection is the end.
func (c *Client) receive() {
	for {
		m, generation, err := c.RecvDetail()
		if err == nil && generation != 1 {
			err = fmt.Errorf("connected %d times", generation)
		}
		if p, ok := m.(derp.ReceivedPacket); ok {
			p.Data = bytes.Clone(p.Data) // it is only on loan
			m = p
		}
		select {
		case c.inbox <- received{m, err}:
		case <-c.env.ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// next is the next message that is of interest.
func (c *Client) next() (derp.ReceivedMessage, error) {
	timeout := time.After(patience)
	for {
		select {
		case r := <-c.inbox:
			if r.err != nil {
				c.heard.add(nil)
				return nil, closedError{r.err}
			}
			if c.ofInterest(r.message) {
				c.heard.add(r.message)
				return r.message, nil
			}
		case <-timeout:
			return nil, fmt.Errorf("%s: nothing arrived within %v", c.name, patience)
		case <-c.env.ctx.Done():
			return nil, fmt.Errorf("%s: %w", c.name, c.env.ctx.Err())
		}
	}
}

// ofInterest sorts out keep-alives, which may come at any time, and what a
// watcher is told of strangers: clients of an earlier scenario may be leaving.
func (c *Client) ofInterest(m derp.ReceivedMessage) bool {
	switch m := m.(type) {
	case derp.KeepAliveMessage:
		return false
	case derp.PeerPresentMessage:
		return c.env.knows(m.Key)
	case derp.PeerGoneMessage:
		return !c.WatchConnectionChanges || c.env.knows(m.Peer)
	}
	return true
}

// closedError is the end of a connection, as opposed to silence.
type closedError struct{ err error }

func (e closedError) Error() string { return "the connection was closed: " + e.err.Error() }

// nextPacket is the next message, which has to be a packet.
func (c *Client) nextPacket() (derp.ReceivedPacket, error) {
	m, err := c.next()
	if err != nil {
		return derp.ReceivedPacket{}, err
	}
	p, ok := m.(derp.ReceivedPacket)
	if !ok {
		return p, fmt.Errorf("%s got %s instead of a packet", c.name, show(m))
	}
	return p, nil
}

// expectPacket wants exactly this packet as the next message.
func (c *Client) expectPacket(from key.NodePublic, data []byte) error {
	p, err := c.nextPacket()
	if err != nil {
		return err
	}
	if p.Source != from {
		return fmt.Errorf("%s got a packet of %v, not of %v", c.name, p.Source, from)
	}
	if !bytes.Equal(p.Data, data) {
		same := 0
		for same < min(len(p.Data), len(data)) && p.Data[same] == data[same] {
			same++
		}
		return fmt.Errorf("%s got %d bytes for %d, which differ from byte %d on (% x…)",
			c.name, len(p.Data), len(data), same, head(p.Data[same:]))
	}
	return nil
}

// expectPeerGone wants exactly this notice as the next message.
func (c *Client) expectPeerGone(peer key.NodePublic, reason derp.PeerGoneReasonType) error {
	m, err := c.next()
	if err != nil {
		return err
	}
	if want := (derp.PeerGoneMessage{Peer: peer, Reason: reason}); m != want {
		return fmt.Errorf("%s got %s, not %s", c.name, show(m), show(want))
	}
	return nil
}

// expectClosed wants the relay to hang up, whatever comes before that.
func (c *Client) expectClosed() error {
	for {
		_, err := c.next()
		var closed closedError
		if errors.As(err, &closed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: the connection should have been closed: %w", c.name, err)
		}
	}
}

// expectPresent wants a PeerPresent as the next message.
func (c *Client) expectPresent() (derp.PeerPresentMessage, error) {
	m, err := c.next()
	if err != nil {
		return derp.PeerPresentMessage{}, err
	}
	p, ok := m.(derp.PeerPresentMessage)
	if !ok {
		return p, fmt.Errorf("%s got %s instead of PeerPresent", c.name, show(m))
	}
	return p, nil
}

var pings atomic.Uint64

// drain returns what has arrived, up to the answer to a ping that is sent now.
// The relay answers it after all that it had to say about earlier frames of
// this connection, so drain also proves what did not arrive.
func (c *Client) drain() ([]derp.ReceivedMessage, error) {
	var data [8]byte
	binary.BigEndian.PutUint64(data[:], pings.Add(1))
	if err := c.SendPing(data); err != nil {
		return nil, fmt.Errorf("%s cannot ping: %w", c.name, err)
	}
	var before []derp.ReceivedMessage
	for {
		m, err := c.next()
		if err != nil {
			return before, fmt.Errorf("no pong: %w", err)
		}
		if pong, ok := m.(derp.PongMessage); ok {
			if pong != derp.PongMessage(data) {
				return before, fmt.Errorf("%s got a pong with % x, pinged % x", c.name, pong, data)
			}
			return before, nil
		}
		before = append(before, m)
	}
}

// expectNothing wants no message up to now but the answer to a ping.
func (c *Client) expectNothing() error {
	before, err := c.drain()
	if err != nil {
		return err
	}
	if len(before) > 0 {
		return fmt.Errorf("%s got %s, and should have got nothing", c.name, show(before[0]))
	}
	return nil
}

// exchange sends a packet from c to peer and waits until it is there.
func (c *Client) exchange(peer *Client, data []byte) error {
	if err := c.Send(peer.key, data); err != nil {
		return fmt.Errorf("%s cannot send: %w", c.name, err)
	}
	return peer.expectPacket(c.key, data)
}

// address is the client's end of the TCP connection, as the relay sees it.
func (c *Client) address() (netip.AddrPort, error) {
	a, err := c.LocalAddr()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), err
}

// show renders a message for people.
func show(m derp.ReceivedMessage) string {
	switch m := m.(type) {
	case derp.ReceivedPacket:
		return fmt.Sprintf("a packet of %s with %d bytes (% x…)", m.Source.ShortString(), len(m.Data), head(m.Data))
	case derp.PeerGoneMessage:
		return fmt.Sprintf("PeerGone(%s, reason %d)", m.Peer.ShortString(), m.Reason)
	case derp.PeerPresentMessage:
		return fmt.Sprintf("PeerPresent(%s, %v, flags %#x, app %q)", m.Key.ShortString(), m.IPPort, m.Flags, m.AppName)
	}
	return fmt.Sprintf("%T %+v", m, m)
}

func head(b []byte) []byte { return b[:min(len(b), 16)] }

func discard(string, ...any) {}
