package scenarios

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"tailscale.com/types/key"
)

// patience is how long a scenario waits for what should happen at once.
const patience = 10 * time.Second

// Target says where the relay under test is. A scenario fails if it needs what
// is not given, so that nothing is skipped in silence.
type Target struct {
	TLS         string   // https://HOST:PORT
	ServerName  string   // name in its certificate
	CAFile      string   // PEM, signs the certificates
	Plain       string   // http://HOST:PORT
	Port80      string   // http://HOST:PORT of the plain face of the TLS relay
	STUN        []string // HOST:PORT
	MeshKeyFile string   // as given to the relay
	MaxTLS      uint16   // the highest version that clients offer; 0 for whatever Go's do
}

// Env is what a running scenario works with.
type Env struct {
	Target
	ctx context.Context

	mu     sync.Mutex
	opened []*Client
}

func newEnv(ctx context.Context, target Target) *Env { return &Env{Target: target, ctx: ctx} }

// close closes every client that the scenario left open.
func (e *Env) close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.opened {
		c.Close()
	}
}

// knows reports whether the key is of a client of this scenario.
func (e *Env) knows(k key.NodePublic) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.opened, func(c *Client) bool { return c.key == k })
}

// logf prints a detail that is worth seeing also when all went well.
func (e *Env) logf(format string, args ...any) { fmt.Printf("  "+format+"\n", args...) }

// endpoint is one face of a relay: how to dial it, and how it calls itself.
type endpoint struct {
	name       string // for messages
	url        string // with the server's name in it
	address    string // HOST:PORT to dial
	serverName string // in the certificate; empty for plain HTTP
}

func (at endpoint) secure() bool { return at.serverName != "" }

// tlsEndpoint is the TLS face. Its URL carries the name in the certificate,
// because Go sends no server name for an address.
func (e *Env) tlsEndpoint() (endpoint, error) {
	if e.TLS == "" || e.ServerName == "" {
		return endpoint{}, errors.New("this scenario needs -tls and -server-name")
	}
	u, err := url.Parse(e.TLS)
	if err != nil {
		return endpoint{}, err
	}
	return endpoint{"TLS", "https://" + net.JoinHostPort(e.ServerName, u.Port()), u.Host, e.ServerName}, nil
}

func (e *Env) plainEndpoint() (endpoint, error) {
	if e.Plain == "" {
		return endpoint{}, errors.New("this scenario needs -plain")
	}
	u, err := url.Parse(e.Plain)
	if err != nil {
		return endpoint{}, err
	}
	return endpoint{name: "plain HTTP", url: e.Plain, address: u.Host}, nil
}

// tlsConfig is what clients of the TLS face use.
func (e *Env) tlsConfig(serverName string) (*tls.Config, error) {
	roots, err := e.roots()
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: roots, ServerName: serverName, MaxVersion: e.MaxTLS}, nil
}

// overTLS and overPlain turn a check of one face into a scenario.
func overTLS(check func(*Env, endpoint) error) func(*Env) error {
	return func(e *Env) error {
		at, err := e.tlsEndpoint()
		if err != nil {
			return err
		}
		return check(e, at)
	}
}

func overPlain(check func(*Env, endpoint) error) func(*Env) error {
	return func(e *Env) error {
		at, err := e.plainEndpoint()
		if err != nil {
			return err
		}
		return check(e, at)
	}
}

// roots is the pool that trusts the relay's certificate.
func (e *Env) roots() (*x509.CertPool, error) {
	if e.CAFile == "" {
		return nil, errors.New("this scenario needs -ca")
	}
	pem, err := os.ReadFile(e.CAFile)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", e.CAFile)
	}
	return pool, nil
}

// meshKey is the relay's mesh key.
func (e *Env) meshKey() (key.DERPMesh, error) {
	if e.MeshKeyFile == "" {
		return key.DERPMesh{}, errors.New("this scenario needs -mesh-key-file")
	}
	text, err := os.ReadFile(e.MeshKeyFile)
	if err != nil {
		return key.DERPMesh{}, err
	}
	return key.ParseDERPMesh(strings.TrimSpace(string(text)))
}

// until waits for a condition that has no event.
func (e *Env) until(what string, done func() (bool, error)) error {
	return e.within(patience, what, done)
}

func (e *Env) within(patience time.Duration, what string, done func() (bool, error)) error {
	deadline := time.Now().Add(patience)
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not happen within %v", what, patience)
		}
		select {
		case <-e.ctx.Done():
			return e.ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
