package scenarios

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"

	"derpkit.test/interop/cert"
)

// recorder sits between a client and the relay and writes down the plain text
// of both directions. It ends the client's TLS with a certificate of its own,
// but hands on the relay's meta certificate, so that the client behaves as it
// would without it.
type recorder struct {
	at         endpoint
	maxVersion uint16
	roots      *x509.CertPool
	chain      tls.Certificate

	mu                 sync.Mutex
	toServer, toClient bytes.Buffer
}

// record prepares a recorder for one connection to a face of the relay.
func (e *Env) record(at endpoint, maxVersion uint16) (*recorder, []option, error) {
	r := &recorder{at: at, maxVersion: maxVersion}
	opts := []option{withDialer(r.dial)}
	if !at.secure() {
		return r, opts, nil
	}
	var err error
	if r.roots, err = e.roots(); err != nil {
		return nil, nil, err
	}
	chain, err := e.peerCertificates(at)
	if err != nil {
		return nil, nil, err
	}
	authority, err := cert.NewAuthority()
	if err != nil {
		return nil, nil, err
	}
	if r.chain, err = authority.Issue(at.serverName); err != nil {
		return nil, nil, err
	}
	r.chain.Certificate = append(r.chain.Certificate, chain[len(chain)-1].Raw)
	opts = append(opts, withTLS(func(c *tls.Config) {
		c.RootCAs = authority.Roots()
		c.MaxVersion = maxVersion
	}))
	return r, opts, nil
}

// peerCertificates is what the relay presents in a handshake.
func (e *Env) peerCertificates(at endpoint) ([]*x509.Certificate, error) {
	roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: at.serverName}}
	conn, err := d.DialContext(e.ctx, "tcp", at.address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates, nil
}

func (r *recorder) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	server, err := d.DialContext(ctx, network, r.at.address)
	if err != nil {
		return nil, err
	}
	client, inner := net.Pipe()
	if r.at.secure() {
		server = tls.Client(server, &tls.Config{RootCAs: r.roots, ServerName: r.at.serverName, MaxVersion: r.maxVersion})
		inner = tls.Server(inner, &tls.Config{Certificates: []tls.Certificate{r.chain}, MaxVersion: r.maxVersion})
	}
	go r.pump(server, inner, &r.toServer)
	go r.pump(inner, server, &r.toClient)
	return client, nil
}

// pump copies until either side ends, and then ends the other.
func (r *recorder) pump(to, from net.Conn, log *bytes.Buffer) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		r.mu.Lock()
		log.Write(buffer[:n])
		r.mu.Unlock()
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

// heads splits the two recordings after the HTTP head of each. The relay's
// head is empty if it answered with DERP at once.
func (r *recorder) heads() (request, response, fromClient, fromServer []byte, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	end := []byte("\r\n\r\n")
	request, fromClient, ok := bytes.Cut(bytes.Clone(r.toServer.Bytes()), end)
	if !ok {
		return nil, nil, nil, nil, fmt.Errorf("the client sent no HTTP request: %q", request)
	}
	fromServer = bytes.Clone(r.toClient.Bytes())
	if bytes.HasPrefix(fromServer, []byte("HTTP/")) {
		if response, fromServer, ok = bytes.Cut(fromServer, end); !ok {
			return nil, nil, nil, nil, errors.New("the response head has no end")
		}
	}
	return append(request, end...), response, fromClient, fromServer, nil
}
