package scenarios

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// rawClient is the real frame client on a connection that the scenario made by
// hand, for sending what derphttp never would.
type rawClient struct {
	*derp.Client
	conn net.Conn
	brw  *bufio.ReadWriter
}

// rawLogin upgrades a connection by hand and logs in.
func (e *Env) rawLogin(at endpoint, k key.NodePrivate, opts ...derp.ClientOpt) (*rawClient, error) {
	conn, err := e.connect(at)
	if err != nil {
		return nil, err
	}
	c := &rawClient{conn: conn, brw: bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))}
	if err := c.upgrade(k, opts); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// connect opens a TCP or TLS connection that ends with the scenario.
func (e *Env) connect(at endpoint) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(e.ctx, "tcp", at.address)
	if err != nil || !at.secure() {
		return conn, err
	}
	config, err := e.tlsConfig(at.serverName)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	return secure, secure.HandshakeContext(e.ctx)
}

func (c *rawClient) upgrade(k key.NodePrivate, opts []derp.ClientOpt) error {
	c.conn.SetDeadline(time.Now().Add(patience))
	defer c.conn.SetDeadline(time.Time{})
	fmt.Fprint(c.brw, "GET /derp HTTP/1.1\r\nHost: derp.test\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n")
	if err := c.brw.Flush(); err != nil {
		return err
	}
	response, err := http.ReadResponse(c.brw.Reader, nil)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("upgrade: %s", response.Status)
	}
	if c.Client, err = derp.NewClient(k, c.conn, c.brw, discard, opts...); err != nil {
		return err
	}
	first, err := c.Recv()
	if err != nil {
		return err
	}
	if _, ok := first.(derp.ServerInfoMessage); !ok {
		return fmt.Errorf("the first message is %s", show(first))
	}
	return nil
}

// frame writes any frame.
func (c *rawClient) frame(t derp.FrameType, payload []byte) error {
	return derp.WriteFrame(c.brw.Writer, t, payload)
}

// expectClosed wants the relay to hang up. The client's own read timeout is
// far longer, so the deadline is set underneath it.
func (c *rawClient) expectClosed() error {
	timer := time.AfterFunc(patience, func() { c.conn.Close() })
	for {
		m, err := c.Recv()
		if err == nil {
			continue
		}
		if !timer.Stop() || errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("the relay did not hang up within %v (last: %v)", patience, m)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		return nil // EOF, or a reset because it did not read everything
	}
}

func (c *rawClient) Close() error { return c.conn.Close() }
