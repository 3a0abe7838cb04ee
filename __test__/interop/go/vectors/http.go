package vectors

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"derpkit.test/interop/cert"
	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/derp/derpserver"
	"tailscale.com/net/netmon"
)

// upgrade is the HTTP around DERP: the request texts of the real client, and
// the answer of the real handler.
func upgrade() object {
	entry := func(text, source string) object {
		return object{{"text", text}, {"source", "capture of " + source + " (" + upstream + ")"}}
	}
	return object{
		{"request", entry(clientRequest("http", ""), "derphttp.Client over plain HTTP")},
		{"requestFastStart", entry(clientRequest("https", ""), "derphttp.Client over TLS 1.3 after a meta certificate")},
		{"requestTLS12", entry(clientRequest("https", "1.2"), "derphttp.Client over TLS 1.2")},
		{"response", entry(handlerResponse(""), "derpserver.Handler, up to the greeting")},
		{"responseFastStart", entry(handlerResponse(derp.FastStartHeader+": 1\r\n"), "derpserver.Handler, up to the greeting")},
	}
}

// clientRequest returns the request head that the real client sends.
func clientRequest(scheme, maxTLS string) string {
	s := newServer()
	defer s.Close()
	client := must(derphttp.NewClient(aliceKey, scheme+"://derp.test/derp", quiet, netmon.NewStatic()))
	defer client.Close()
	ours, theirs := net.Pipe()
	client.SetURLDialer(func(context.Context, string, string) (net.Conn, error) { return ours, nil })

	server := theirs
	if scheme == "https" {
		authority := must(cert.NewAuthority())
		issued := must(authority.Issue("derp.test"))
		config := &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &issued, nil }}
		s.ModifyTLSConfigToAddMetaCert(config)
		if maxTLS == "1.2" {
			config.MaxVersion = tls.VersionTLS12
		}
		client.TLSConfig = &tls.Config{RootCAs: authority.Roots()}
		server = tls.Server(theirs, config)
	}
	go client.Connect(context.Background()) // fails when we hang up
	defer theirs.Close()                    // a TLS close would wait for the client

	server.SetReadDeadline(time.Now().Add(settle))
	br := bufio.NewReader(server)
	var head strings.Builder
	for !strings.HasSuffix(head.String(), "\r\n\r\n") {
		head.WriteString(must(br.ReadString('\n')))
	}
	return head.String()
}

// handlerResponse returns what the real handler sends before the greeting.
func handlerResponse(extraHeaders string) string {
	s := newServer()
	defer s.Close()
	web := httptest.NewUnstartedServer(derpserver.Handler(s))
	web.Config.ErrorLog = nil
	web.Start()
	defer web.Close()
	conn := must(net.Dial("tcp", web.Listener.Addr().String()))
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(settle))
	must(io.WriteString(conn, "GET /derp HTTP/1.1\r\nHost: derp.test\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n"+extraHeaders+"\r\n"))
	greeting := written(derp.FrameServerKey, append([]byte(derp.Magic), rawPublic(serverKey.Public())...))
	var got bytes.Buffer
	for !bytes.HasSuffix(got.Bytes(), greeting) {
		must(io.CopyN(&got, conn, 1))
	}
	return strings.TrimSuffix(got.String(), string(greeting))
}

// noContent is which challenges /generate_204 echoes, and its header fields.
func noContent() object {
	try := func(challenge string) object {
		r := httptest.NewRequest("GET", "/generate_204", nil)
		if challenge != "" {
			r.Header[http.CanonicalHeaderKey(derpserver.NoContentChallengeHeader)] = []string{challenge}
		}
		w := httptest.NewRecorder()
		derpserver.ServeNoContent(w, r)
		return object{
			{"challenge", challenge},
			{"status", w.Code},
			{"response", w.Header().Get(derpserver.NoContentResponseHeader)},
			{"cacheControl", w.Header().Get("Cache-Control")},
		}
	}
	return group("derp/derpserver/handler.go ServeNoContent", object{
		{"none", try("")},
		{"captivePortalCheck", try("ts_derp1.example.com")},
		{"allCharacters", try("azAZ09.-_:")},
		{"longest", try(strings.Repeat("a", 64))},
		{"tooLong", try(strings.Repeat("a", 65))},
		{"space", try("foo bar")},
		{"slash", try("foo/bar")},
		{"plus", try("foo+bar")},
		{"notASCII", try("caf\u00e9")},
	})
}
