package scenarios

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go4.org/mem"
	"tailscale.com/derp"
	"tailscale.com/derp/derpconst"
	"tailscale.com/derp/derphttp"
	"tailscale.com/types/key"
)

var loginScenarios = []Scenario{
	{"meta-certificate", overTLS(metaCertificate)},
	{"fast-start", overTLS(fastStart)},
	{"upgrade-tls12", overTLS(upgradeTLS12)},
	{"upgrade-plain", overPlain(upgradePlain)},
	{"server-info-first", overTLS(serverInfoFirst)},
	{"many-options", overTLS(manyOptions)},
	{"post-quantum", overTLS(postQuantum)},
}

// metaCertificate checks the certificate that tells clients the relay's key.
func metaCertificate(e *Env, at endpoint) error {
	chain, err := e.peerCertificates(at)
	if err != nil {
		return err
	}
	if len(chain) < 2 {
		return fmt.Errorf("the relay presents %d certificate(s), no meta certificate", len(chain))
	}
	for _, c := range chain[:len(chain)-1] {
		if strings.HasPrefix(c.Subject.CommonName, derpconst.MetaCertCommonNamePrefix) {
			return fmt.Errorf("the meta certificate is not the last one")
		}
	}
	meta := chain[len(chain)-1]
	public, err := metaKey(meta)
	if err != nil {
		return err
	}
	if v := meta.SerialNumber; v.Int64() != derp.ProtocolVersion || !v.IsInt64() {
		return fmt.Errorf("serial is %v, not the protocol version", v)
	}
	if err := meta.CheckSignature(meta.SignatureAlgorithm, meta.RawTBSCertificate, meta.Signature); err != nil {
		return fmt.Errorf("not self-signed: %w", err)
	}
	if meta.Issuer.String() != meta.Subject.String() {
		return fmt.Errorf("issuer %v is not the subject", meta.Issuer)
	}
	// macOS refuses it without this extension; others are not expected.
	if len(meta.Extensions) != 1 || meta.Extensions[0].Id.String() != "2.5.29.19" {
		return fmt.Errorf("extensions are %v, want basic constraints and nothing else", meta.Extensions)
	}
	if meta.IsCA {
		return fmt.Errorf("it claims to be an authority")
	}
	if now := time.Now(); now.Before(meta.NotBefore) || now.After(meta.NotAfter) {
		return fmt.Errorf("not valid now, but from %v to %v", meta.NotBefore, meta.NotAfter)
	}
	// The same key on every connection, and the one that logins use.
	again, err := e.peerCertificates(at)
	if err != nil {
		return err
	}
	if k, err := metaKey(again[len(again)-1]); err != nil || k != public {
		return fmt.Errorf("the next connection names key %v (%v), not %v", k, err, public)
	}
	c, err := e.dial("client", at)
	if err != nil {
		return err
	}
	if c.ServerPublicKey() != public {
		return fmt.Errorf("the certificate names %v, the relay is %v", public, c.ServerPublicKey())
	}
	return nil
}

func metaKey(c *x509.Certificate) (key.NodePublic, error) {
	text, ok := strings.CutPrefix(c.Subject.CommonName, derpconst.MetaCertCommonNamePrefix)
	if !ok {
		return key.NodePublic{}, fmt.Errorf("the last certificate is %q, not a meta certificate", c.Subject.CommonName)
	}
	return key.ParseNodePublicUntyped(mem.S(text))
}

// fastStart checks that a TLS 1.3 client gets its greeting without a 101: once
// through a recorder, to see the bytes, and once directly.
func fastStart(e *Env, at endpoint) error {
	r, opts, err := e.record(at, 0)
	if err != nil {
		return err
	}
	c, err := e.dial("recorded client", at, opts...)
	if err != nil {
		return err
	}
	if err := c.expectNothing(); err != nil {
		return err
	}
	request, response, fromClient, fromServer, err := r.heads()
	if err != nil {
		return err
	}
	if !bytes.Contains(request, []byte(derp.FastStartHeader+": 1\r\n")) {
		return fmt.Errorf("the client did not ask for fast start:\n%s", request)
	}
	if len(response) != 0 {
		return fmt.Errorf("the relay answered fast start with HTTP:\n%s", response)
	}
	if err := checkFrames(fromClient, fromServer, c.ServerPublicKey()); err != nil {
		return err
	}

	direct, err := e.dial("direct client", at)
	if err != nil {
		return err
	}
	if state, ok := direct.TLSConnectionState(); !ok || state.Version != tls.VersionTLS13 {
		return fmt.Errorf("TLS 1.3 was not negotiated: %+v", state)
	}
	return direct.exchange(direct, []byte("to myself"))
}

// upgradeTLS12 checks that a TLS 1.2 client gets the classic upgrade.
func upgradeTLS12(e *Env, at endpoint) error {
	if err := classicUpgrade(e, at, tls.VersionTLS12); err != nil {
		return err
	}
	direct, err := e.dial("direct client", at, withTLS(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }))
	if err != nil {
		return err
	}
	if state, ok := direct.TLSConnectionState(); !ok || state.Version != tls.VersionTLS12 {
		return fmt.Errorf("TLS 1.2 was not negotiated: %+v", state)
	}
	return direct.exchange(direct, []byte("to myself"))
}

// upgradePlain checks the same without TLS.
func upgradePlain(e *Env, at endpoint) error {
	return classicUpgrade(e, at, 0)
}

// classicUpgrade wants the 101 byte for byte, and the greeting behind it.
func classicUpgrade(e *Env, at endpoint, maxVersion uint16) error {
	r, opts, err := e.record(at, maxVersion)
	if err != nil {
		return err
	}
	c, err := e.dial("recorded client", at, opts...)
	if err != nil {
		return err
	}
	if err := c.expectNothing(); err != nil {
		return err
	}
	request, response, fromClient, fromServer, err := r.heads()
	if err != nil {
		return err
	}
	if strings.Contains(string(request), derp.FastStartHeader) {
		return fmt.Errorf("the client asked for fast start:\n%s", request)
	}
	want := fmt.Sprintf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n"+
		"Derp-Version: %d\r\nDerp-Public-Key: %s", derp.ProtocolVersion, c.ServerPublicKey().UntypedHexString())
	if string(response) != want {
		return fmt.Errorf("the response is\n%s\nand should be\n%s", response, want)
	}
	if _, err := http.ReadResponse(bufio.NewReader(strings.NewReader(want+"\r\n\r\n")), nil); err != nil {
		return err
	}
	return checkFrames(fromClient, fromServer, c.ServerPublicKey())
}

// checkFrames checks the first frames after the HTTP heads: ClientInfo from
// the client, the greeting and then ServerInfo from the relay.
func checkFrames(fromClient, fromServer []byte, server key.NodePublic) error {
	first, err := readFrames(fromClient)
	if err != nil || len(first) == 0 || first[0].kind != derp.FrameClientInfo {
		return fmt.Errorf("the client's frames are %v (%v), want ClientInfo first", first, err)
	}
	frames, err := readFrames(fromServer)
	if err != nil || len(frames) < 2 {
		return fmt.Errorf("the relay's frames are %v (%v), want a greeting and ServerInfo", frames, err)
	}
	greeting := append([]byte(derp.Magic), server.AppendTo(nil)...)
	if frames[0].kind != derp.FrameServerKey || !bytes.Equal(frames[0].payload, greeting) {
		return fmt.Errorf("the first frame is %v, not the greeting", frames[0])
	}
	if frames[1].kind != derp.FrameServerInfo {
		return fmt.Errorf("the frame after the greeting is %v, not ServerInfo", frames[1])
	}
	return nil
}

type frame struct {
	kind    derp.FrameType
	payload []byte
}

func (f frame) String() string { return fmt.Sprintf("%#x with % x", byte(f.kind), f.payload) }

func readFrames(b []byte) ([]frame, error) {
	var frames []frame
	for len(b) > 0 {
		kind, length, err := derp.ReadFrameHeader(bufio.NewReader(bytes.NewReader(b)))
		if err != nil {
			return frames, err
		}
		if b = b[derp.FrameHeaderLen:]; int(length) > len(b) {
			return frames, fmt.Errorf("a frame of %d bytes is cut after %d", length, len(b))
		}
		frames = append(frames, frame{kind, b[:length]})
		b = b[length:]
	}
	return frames, nil
}

// serverInfoFirst checks that not even packets which wait for a key get ahead
// of its ServerInfo. derpprobe and magicsock depend on it.
func serverInfoFirst(e *Env, at endpoint) error {
	sender, err := e.dial("sender", at)
	if err != nil {
		return err
	}
	target := key.NewNode()
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(200 * time.Microsecond):
			}
			if err := sender.Send(target.Public(), []byte("early")); err != nil {
				done <- err
				return
			}
		}
	}()
	for range 20 {
		c, err := e.dial("receiver", at, withKey(target)) // login checks the order
		if err != nil {
			return err
		}
		if err := c.expectPacket(sender.key, []byte("early")); err != nil {
			return err
		}
		c.Close()
	}
	close(stop)
	return <-done
}

// manyOptions logs in with everything a client can say about itself at once.
func manyOptions(e *Env, at endpoint) error {
	meshKey, err := e.meshKey()
	if err != nil {
		return err
	}
	c, err := e.dial("client", at, withMesh(meshKey), withWatch(), prepared(func(c *derphttp.Client) {
		c.IsProber = true
		c.AppName = "derpkit interop 0123456789 ~!@#$"
		c.NotePreferred(true)
	}))
	if err != nil {
		return err
	}
	self, err := c.expectPresent()
	if err != nil {
		return err
	}
	if self.Key != c.key || self.AppName != "derpkit interop 0123456789 ~!@#$" {
		return fmt.Errorf("the relay sees us as %s", show(self))
	}
	if want := derp.PeerPresentFlags(derp.PeerPresentIsMeshPeer | derp.PeerPresentIsProber); self.Flags != want {
		return fmt.Errorf("flags are %#x, want %#x", self.Flags, want)
	}
	return c.exchange(c, []byte("works"))
}

// postQuantum checks that keys are exchanged as this client would rather have
// it, with the shares that it sends unasked.
func postQuantum(e *Env, at endpoint) error {
	c, err := e.dial("client", at)
	if err != nil {
		return err
	}
	state, ok := c.TLSConnectionState()
	if !ok || state.CurveID != tls.X25519MLKEM768 {
		return fmt.Errorf("keys were exchanged with %v", state.CurveID)
	}
	if state.HelloRetryRequest {
		return fmt.Errorf("the relay asked for another key share")
	}
	return nil
}
