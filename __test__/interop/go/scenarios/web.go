package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

var webScenarios = []Scenario{
	{"http-probe", onBothFaces(httpProbe)},
	{"http-upgrade-required", onBothFaces(httpUpgradeRequired)},
	{"http-generate-204", onBothFaces(httpGenerate204)},
	{"http-pages", onBothFaces(httpPages)},
	{"http-port-80", httpPort80},
}

// onBothFaces runs a check over TLS and over plain HTTP.
func onBothFaces(check func(*web) error) func(*Env) error {
	return func(e *Env) error {
		secure, err := e.tlsEndpoint()
		if err != nil {
			return err
		}
		plain, err := e.plainEndpoint()
		if err != nil {
			return err
		}
		for _, at := range []endpoint{secure, plain} {
			w, err := e.web(at)
			if err != nil {
				return err
			}
			if err := check(w); err != nil {
				return fmt.Errorf("over %s: %w", at.name, err)
			}
		}
		return nil
	}
}

// web asks one face of the relay over HTTP, without following redirects.
type web struct {
	env    *Env
	at     endpoint
	client *http.Client
}

func (e *Env) web(at endpoint) (*web, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, network, at.address)
		},
	}
	if at.secure() {
		config, err := e.tlsConfig(at.serverName)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = config
	}
	return &web{env: e, at: at, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// reply is a response with its body read.
type reply struct {
	*http.Response
	body string
}

// ask sends a request; headers are name, value, name, value.
func (w *web) ask(method, path string, headers ...string) (reply, error) {
	r, err := http.NewRequestWithContext(w.env.ctx, method, w.at.url+path, nil)
	if err != nil {
		return reply{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header[headers[i]] = []string{headers[i+1]}
	}
	response, err := w.client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response, string(body)}, err
}

// want checks status, body and header fields; a field of "" has to be absent.
func (r reply) want(status int, body string, fields ...string) error {
	what := r.Request.Method + " " + r.Request.URL.Path
	if r.StatusCode != status {
		return fmt.Errorf("%s: status %s, want %d", what, r.Status, status)
	}
	if r.body != body {
		return fmt.Errorf("%s: body %q, want %q", what, r.body, body)
	}
	for i := 0; i+1 < len(fields); i += 2 {
		if got := r.Header.Get(fields[i]); got != fields[i+1] {
			return fmt.Errorf("%s: %s is %q, want %q", what, fields[i], got, fields[i+1])
		}
	}
	return nil
}

// httpProbe is what clients without UDP measure latency with.
func httpProbe(w *web) error {
	for _, path := range []string{"/derp/probe", "/derp/latency-check"} {
		for _, method := range []string{"GET", "HEAD"} {
			r, err := w.ask(method, path)
			if err != nil {
				return err
			}
			if err := r.want(200, "", "Access-Control-Allow-Origin", "*"); err != nil {
				return err
			}
		}
		for _, method := range []string{"POST", "OPTIONS"} {
			r, err := w.ask(method, path)
			if err != nil {
				return err
			}
			if err := r.want(405, "bogus probe method\n", "Access-Control-Allow-Origin", ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// httpUpgradeRequired is /derp for those who do not speak DERP.
func httpUpgradeRequired(w *web) error {
	for _, headers := range [][]string{nil, {"Connection", "keep-alive"}} {
		r, err := w.ask("GET", "/derp", headers...)
		if err != nil {
			return err
		}
		if err := r.want(426, "DERP requires connection upgrade\n", "Content-Type", "text/plain; charset=utf-8"); err != nil {
			return err
		}
	}
	return nil
}

// httpGenerate204 is the captive portal check.
func httpGenerate204(w *web) error {
	const ask, answer = "X-Tailscale-Challenge", "X-Tailscale-Response"
	for _, c := range []struct{ challenge, response string }{
		{"", ""},
		{"ts_derp1.example.com", "response ts_derp1.example.com"},
		{strings.Repeat("a", 64), "response " + strings.Repeat("a", 64)},
		{strings.Repeat("a", 65), ""},
		{"with space", ""},
	} {
		var headers []string
		if c.challenge != "" {
			headers = []string{ask, c.challenge}
		}
		r, err := w.ask("GET", "/generate_204", headers...)
		if err != nil {
			return err
		}
		if err := r.want(204, "", answer, c.response,
			"Cache-Control", "no-cache, no-store, must-revalidate, no-transform, max-age=0"); err != nil {
			return fmt.Errorf("challenge %q: %w", c.challenge, err)
		}
	}
	return nil
}

// httpPages is what people and crawlers see.
func httpPages(w *web) error {
	robots, err := w.ask("GET", "/robots.txt")
	if err != nil {
		return err
	}
	if err := robots.want(200, "User-agent: *\nDisallow: /\n", "X-Content-Type-Options", "nosniff"); err != nil {
		return err
	}
	// Every other path is the home page, whatever it says.
	for _, path := range []string{"/", "/index.html", "/derp/"} {
		home, err := w.ask("GET", path)
		if err != nil {
			return err
		}
		if err := home.want(200, home.body, "Content-Type", "text/html; charset=utf-8", "X-Frame-Options", "DENY"); err != nil {
			return err
		}
		if !strings.Contains(home.body, "DERP") {
			return fmt.Errorf("%s does not say what this is:\n%s", path, home.body)
		}
	}
	return nil
}

// httpPort80 is the plain face of a TLS relay: captive portal checks are
// answered there, all else is sent to HTTPS, and DERP is not spoken.
func httpPort80(e *Env) error {
	if e.Port80 == "" {
		return errors.New("this scenario needs -port80")
	}
	w, err := e.web(endpoint{name: "port 80", url: e.Port80, address: strings.TrimPrefix(e.Port80, "http://")})
	if err != nil {
		return err
	}
	if err := httpGenerate204(w); err != nil {
		return err
	}
	for _, path := range []string{"/", "/derp", "/some/where?with=query"} {
		r, err := w.ask("GET", path)
		if err != nil {
			return err
		}
		to, err := url.Parse(r.Header.Get("Location"))
		if err != nil {
			return err
		}
		// The port is the relay's business; on the usual ports there is none.
		// Those who may see the debug pages are led there from the front page.
		host, _, _ := net.SplitHostPort(w.at.address)
		onward := to.RequestURI() == path || path == "/" && to.Path == "/debug/"
		if r.StatusCode != 302 || to.Scheme != "https" || to.Hostname() != host || !onward {
			return fmt.Errorf("GET %s: %s to %q, want 302 to the same on HTTPS", path, r.Status, to)
		}
	}
	post, err := w.ask("POST", "/")
	if err != nil {
		return err
	}
	return post.want(400, "Use HTTPS\n")
}
