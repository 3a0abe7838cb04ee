package scenarios

import (
	"errors"
	"fmt"

	"tailscale.com/derp"
)

var pingScenarios = []Scenario{
	{"ping", overTLS(ping)},
	{"note-preferred", overTLS(notePreferred)},
	{"tolerated-frames", overTLS(toleratedFrames)},
}

// ping checks the client's own Ping, and that pongs echo what was sent.
func ping(e *Env, at endpoint) error {
	c, err := e.dial("client", at)
	if err != nil {
		return err
	}
	for range 3 {
		if err := c.Ping(e.ctx); err != nil {
			return fmt.Errorf("ping: %w", err)
		}
	}
	for range 100 {
		if err := c.expectNothing(); err != nil { // checks the echoed bytes
			return err
		}
	}
	return nil
}

// notePreferred checks that announcing and leaving a home disturbs nothing.
func notePreferred(e *Env, at endpoint) error {
	c, err := e.dial("client", at)
	if err != nil {
		return err
	}
	other, err := e.dial("other", at)
	if err != nil {
		return err
	}
	for i, home := range []bool{true, false, true, true} {
		c.NotePreferred(home)
		if err := c.expectNothing(); err != nil {
			return err
		}
		data := packet(uint64(i), 300)
		if err := errors.Join(c.exchange(other, data), other.exchange(c, data)); err != nil {
			return err
		}
	}
	return nil
}

// toleratedFrames sends what a server must skip: answers to pings that it
// never sent, frames that only servers send, and types of the future.
func toleratedFrames(e *Env, at endpoint) error {
	other, err := e.dial("other", at)
	if err != nil {
		return err
	}
	c, err := e.rawLogin(at, newKey())
	if err != nil {
		return err
	}
	defer c.Close()
	for _, f := range []frame{
		{derp.FramePong, make([]byte, 8)},
		{derp.FrameKeepAlive, nil},
		{derp.FrameHealth, []byte("?")},
		{derp.FrameServerInfo, make([]byte, 60)},
		{derp.FramePeerPresent, make([]byte, 52)},
		{derp.FrameType(0x7f), nil},
		{derp.FrameType(0xff), make([]byte, derp.MaxPacketSize+derp.KeyLen)},
		{derp.FramePing, make([]byte, 1000)},
	} {
		if err := c.frame(f.kind, f.payload); err != nil {
			return err
		}
	}
	if err := c.Send(other.key, packet(1, 50)); err != nil {
		return err
	}
	return other.expectPacket(c.PublicKey(), packet(1, 50))
}
