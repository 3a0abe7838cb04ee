package scenarios

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"derpkit.test/interop/cert"
	"tailscale.com/derp"
	"tailscale.com/derp/derpserver"
)

// What relays of a mesh make of others in their list. All of them have tried
// for a while when these are run.
var ringStrangerScenarios = []RingScenario{
	{"ring-wrong-key", ringWrongKey},
	{"ring-untrusted", ringUntrusted},
	{"ring-own-key", ringOwnKey},
}

// stranger is a relay of this process, made of derper's own server.
type stranger struct {
	*derpserver.Server
	at   endpoint
	link *link // to it
}

func newStranger(ctx context.Context, plan RingPlan, hostName, meshKey string) (*stranger, error) {
	file := filepath.Join(plan.Directory, hostName)
	pair, err := tls.LoadX509KeyPair(file+".crt", file+".key")
	if err != nil {
		return nil, err
	}
	s := derpserver.New(newKey(), discard)
	if err := s.SetMeshKey(meshKey); err != nil {
		return nil, err
	}
	config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil }}
	s.ModifyTLSConfigToAddMetaCert(config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: derpserver.Handler(s), TLSConfig: config, ErrorLog: log.New(io.Discard, "", 0)}
	go server.ServeTLS(listener, "", "")
	context.AfterFunc(ctx, func() { server.Close(); s.Close() })
	at := endpoint{hostName, "https://" + hostName, listener.Addr().String(), hostName}
	l, err := newLink(ctx, at.address)
	return &stranger{s, at, l}, err
}

// untrusted takes connections with certificates that no one has to trust.
type untrusted struct {
	listener net.Listener
	mu       sync.Mutex
	refused  map[string]int // handshakes, by the name that was asked for
	trusted  map[string]int
}

func newUntrusted(ctx context.Context) (*untrusted, error) {
	authority, err := cert.NewAuthority()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { listener.Close() })
	u := &untrusted{listener: listener, refused: map[string]int{}, trusted: map[string]int{}}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go u.shake(ctx, conn, authority)
		}
	}()
	return u, nil
}

func (u *untrusted) shake(ctx context.Context, conn net.Conn, authority *cert.Authority) {
	defer conn.Close()
	name := ""
	secure := tls.Server(conn, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		name = hello.ServerName
		pair, err := authority.Issue(name)
		return &pair, err
	}})
	err := secure.HandshakeContext(ctx)
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil {
		u.refused[name]++
	} else {
		u.trusted[name]++
	}
}

func untrustedName(node int) string { return fmt.Sprintf("untrusted%d.test", node) }

// entry is what node i has in its list, under a name of its own.
func (u *untrusted) entry(i int) string { return meshWithEntry(untrustedName(i), u.listener) }

// ringUntrusted wants nobody to have said a word after the handshake.
func ringUntrusted(r *ring) error {
	for i := range r.nodes {
		name := untrustedName(i)
		if err := r.within(settling, fmt.Sprintf("that node %d asks for %s", i, name), func() (bool, error) {
			r.untrusted.mu.Lock()
			defer r.untrusted.mu.Unlock()
			if r.untrusted.trusted[name] > 0 {
				return false, fmt.Errorf("node %d trusts a certificate that it must not trust", i)
			}
			return r.untrusted.refused[name] > 0, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// ringWrongKey has a relay with another mesh key. For it the others are clients
// like any other, which ask for what they may not have, and are cut off; for
// them it is a relay that cannot be meshed with, and nobody there is reached.
func ringWrongKey(r *ring) error {
	f, err := r.follow("watcher of the stranger", r.wrongKey.at, false, withMesh(r.wrongKey.MeshKey()))
	if err != nil {
		return err
	}
	defer f.stop()
	clients, err := r.one("client")
	if err != nil {
		return err
	}
	for i, c := range clients {
		relay := c.ServerPublicKey()
		if err := f.until(fmt.Sprintf("that node %d comes, as an ordinary client, and goes", i), func() bool {
			_, here := f.here[relay]
			return f.ever[relay] == derp.PeerPresentIsRegular && !here
		}); err != nil {
			return err
		}
	}
	there, err := r.dial("client of the stranger", r.wrongKey.at)
	if err != nil {
		return err
	}
	for _, c := range clients {
		if err := c.Send(there.key, discoPacket(100)); err != nil {
			return err
		}
		if err := c.expectPeerGone(there.key, derp.PeerGoneReasonNotHere); err != nil {
			return err
		}
	}
	return there.expectNothing()
}

// ringOwnKey looks at the relays' connections to themselves: there was one in
// each life of a relay, which has noticed, and does not try again. derpkit
// makes another, which asks whether the other end is a twin with its key.
func ringOwnKey(r *ring) error {
	const soon = time.Second
	for i, n := range r.nodes {
		l := r.links[[2]int{i, i}]
		expected := n.lives
		if slices.ContainsFunc(r.plan.Nodes[i].Env, func(v string) bool { return strings.HasPrefix(v, "DERPKIT_PLANE=") }) {
			expected = 2 * n.lives
		}
		if err := r.until(fmt.Sprintf("that node %d connects to itself", i), func() (bool, error) {
			accepted, _ := l.state()
			return accepted >= expected, nil
		}); err != nil {
			return err
		}
		if accepted, _ := l.state(); accepted != expected {
			return fmt.Errorf("node %d was started %d times, and has connected to itself %d times", i, n.lives, accepted)
		}
		is := "is closed"
		if r.within(soon, "an end", func() (bool, error) { _, connected := l.state(); return !connected, nil }) != nil {
			is = "stays open"
		}
		r.fact(i, "a connection to itself", is)
	}
	return nil
}
