package scenarios

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"tailscale.com/net/stun"
)

var stunScenarios = []Scenario{
	{"stun", stunAnswers},
	{"stun-silence", stunSilence},
}

// eachSTUN runs a check with a socket that is connected to each address.
func (e *Env) eachSTUN(check func(*net.UDPConn) error) error {
	if len(e.STUN) == 0 {
		return errors.New("this scenario needs -stun")
	}
	for _, address := range e.STUN {
		var d net.Dialer
		conn, err := d.DialContext(e.ctx, "udp", address)
		if err != nil {
			return err
		}
		err = check(conn.(*net.UDPConn))
		conn.Close()
		if err != nil {
			return fmt.Errorf("STUN at %s: %w", address, err)
		}
	}
	return nil
}

// stunAnswers checks that the relay tells a client its own address.
func stunAnswers(e *Env) error {
	return e.eachSTUN(func(conn *net.UDPConn) error {
		for range 20 {
			if err := stunOnce(conn); err != nil {
				return err
			}
		}
		return nil
	})
}

func stunOnce(conn *net.UDPConn) error {
	id := stun.NewTxID()
	if _, err := conn.Write(stun.Request(id)); err != nil {
		return err
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	buffer := make([]byte, 1500)
	n, err := conn.Read(buffer)
	if err != nil {
		return err
	}
	return checkSTUN(buffer[:n], id, conn.LocalAddr().(*net.UDPAddr).AddrPort())
}

// checkSTUN checks an answer: whose it is, what it says, and that IPv4 clients
// are answered in IPv4 and IPv6 clients in IPv6.
func checkSTUN(answer []byte, id stun.TxID, self netip.AddrPort) error {
	gotID, got, err := stun.ParseResponse(answer)
	if err != nil {
		return fmt.Errorf("% x: %w", answer, err)
	}
	if gotID != id {
		return fmt.Errorf("the answer is to another request: % x", gotID)
	}
	self = netip.AddrPortFrom(self.Addr().Unmap().WithZone(""), self.Port())
	if got != self {
		return fmt.Errorf("the relay sees %v, we are %v", got, self)
	}
	const familyAt = 25 // header, attribute type and length, one zero byte
	family, length := byte(1), 32
	if self.Addr().Is6() {
		family, length = 2, 44
	}
	if len(answer) != length || answer[familyAt] != family {
		return fmt.Errorf("%d bytes of family %d, want %d of family %d: % x", len(answer), answer[familyAt], length, family, answer)
	}
	return nil
}

// stunSilence checks that strangers get no answer, so that the relay is of no
// use for reflecting traffic.
func stunSilence(e *Env) error {
	return e.eachSTUN(func(conn *net.UDPConn) error {
		id := stun.NewTxID()
		request := stun.Request(id)
		plain := append([]byte{0, 1, 0, 0}, request[4:20]...) // no attributes at all
		broken := append([]byte(nil), request...)
		broken[len(broken)-1] ^= 1 // wrong fingerprint
		for _, b := range [][]byte{plain, broken, request[:20], []byte("hello"), {0}} {
			if _, err := conn.Write(b); err != nil {
				return err
			}
		}
		// Had any of them been answered, that answer would come first. A
		// second answer would come soon after.
		if err := stunOnce(conn); err != nil {
			return err
		}
		conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := conn.Read(make([]byte, 1500))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("a stranger was answered with %d bytes (%v)", n, err)
		}
		return nil
	})
}
