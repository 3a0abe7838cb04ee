package vectors

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"log"
	"net"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derpserver"
	"tailscale.com/types/key"
)

// settle bounds every wait for a frame; all of it happens inside one process.
const settle = 5 * time.Second

func quiet(string, ...any) {}

// sink is a connection that goes nowhere: what a client writes is kept.
type sink struct{ bytes.Buffer }

func (*sink) Close() error                     { return nil }
func (*sink) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*sink) SetDeadline(time.Time) error      { return nil }
func (*sink) SetReadDeadline(time.Time) error  { return nil }
func (*sink) SetWriteDeadline(time.Time) error { return nil }

// writer returns a real client whose login is already written to nowhere, and
// the buffer in which the frames that it writes next appear.
func writer(priv key.NodePrivate, opts ...derp.ClientOpt) (*derp.Client, *sink) {
	client, out := reader(priv, nil, opts...)
	out.Reset()
	return client, out
}

// reader returns a real client that receives exactly the given bytes.
func reader(priv key.NodePrivate, in []byte, opts ...derp.ClientOpt) (*derp.Client, *sink) {
	out := new(sink)
	brw := bufio.NewReadWriter(bufio.NewReader(bytes.NewReader(in)), bufio.NewWriter(out))
	opts = append(opts, derp.ServerPublicKey(serverKey.Public()))
	return must(derp.NewClient(priv, out, brw, quiet, opts...)), out
}

// newServer starts a real server inside this process.
func newServer() *derpserver.Server {
	log.SetOutput(io.Discard) // the server also logs through package log
	s := derpserver.New(serverKey, quiet)
	check(s.SetMeshKey(meshHex))
	return s
}

// peer is one connection to an in-process server: a real client for writing,
// and the raw bytes of the server for reading.
type peer struct {
	net.Conn
	br     *bufio.Reader
	client *derp.Client
}

// plug connects bytes to s as if they came from remoteAddr.
func plug(ctx context.Context, s *derpserver.Server, remoteAddr string) *peer {
	ours, theirs := net.Pipe()
	brw := bufio.NewReadWriter(bufio.NewReader(theirs), nil)
	go s.Accept(ctx, theirs, brw, remoteAddr)
	return &peer{Conn: ours, br: bufio.NewReaderSize(ours, 1<<17)}
}

// login connects priv to s through the real client and waits for ServerInfo.
func login(s *derpserver.Server, priv key.NodePrivate, remoteAddr string, opts ...derp.ClientOpt) *peer {
	return loginContext(context.Background(), s, priv, remoteAddr, opts...)
}

func loginContext(ctx context.Context, s *derpserver.Server, priv key.NodePrivate, remoteAddr string, opts ...derp.ClientOpt) *peer {
	p := plug(ctx, s, remoteAddr)
	brw := bufio.NewReadWriter(p.br, bufio.NewWriter(p))
	p.client = must(derp.NewClient(priv, p, brw, quiet, opts...))
	p.expect(derp.FrameServerInfo)
	return p
}

// frame returns the bytes of the next frame from the server, header included.
func (p *peer) frame() ([]byte, error) {
	p.SetReadDeadline(time.Now().Add(settle))
	header, err := p.br.Peek(derp.FrameHeaderLen)
	if err != nil {
		return nil, err
	}
	_, length, err := derp.ReadFrameHeader(bufio.NewReader(bytes.NewReader(header)))
	if err != nil {
		return nil, err
	}
	whole := make([]byte, derp.FrameHeaderLen+int(length))
	_, err = io.ReadFull(p.br, whole)
	return whole, err
}

func (p *peer) expect(t derp.FrameType) []byte {
	frame := must(p.frame())
	if derp.FrameType(frame[0]) != t {
		failf("got frame % x, want type %#x", frame, t)
	}
	return frame
}

// written is a whole frame made by upstream's encoder, for the few frames that
// no released server sends within a test's patience.
func written(t derp.FrameType, payload []byte) []byte {
	var out bytes.Buffer
	check(derp.WriteFrame(bufio.NewWriter(&out), t, payload))
	return out.Bytes()
}
