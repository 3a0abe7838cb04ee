package scenarios

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// node is a relay that can be ended and started again, with the same key.
type node struct {
	plan     NodePlan
	at       endpoint
	meshWith string

	lives   int       // how often it was started
	command *exec.Cmd // nil while it does not run
	ended   chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
}

// Write takes what the relay prints.
func (n *node) Write(text []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.output.Write(text)
}

// start starts it, if it does not run, and waits until it answers.
func (n *node) start(ctx context.Context) error {
	if n.command != nil {
		select {
		case <-n.ended:
			return fmt.Errorf("%s has ended by itself: %v", n.at.name, n.command.ProcessState)
		default:
			return nil
		}
	}
	args := append(n.plan.Command[1:len(n.plan.Command):len(n.plan.Command)], "-mesh-with", n.meshWith)
	c := exec.Command(n.plan.Command[0], args...)
	c.Env = append(os.Environ(), n.plan.Env...)
	c.Stdout, c.Stderr = n, n
	if err := c.Start(); err != nil {
		return err
	}
	n.lives++
	ended := make(chan struct{})
	n.command, n.ended = c, ended
	go func() {
		c.Wait()
		close(ended)
	}()
	for deadline := time.Now().Add(2 * patience); ; {
		if conn, err := net.Dial("tcp", n.at.address); err == nil {
			return conn.Close()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not answer", n.at.name)
		}
		select {
		case <-ended:
			return fmt.Errorf("%s has ended at once: %v", n.at.name, c.ProcessState)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// kill ends it without a word.
func (n *node) kill() {
	if n.command == nil {
		return
	}
	n.command.Process.Kill()
	<-n.ended
	n.command = nil
}

// stop ends it as a service manager does.
func (n *node) stop() error {
	n.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.ended:
	case <-time.After(patience):
		return fmt.Errorf("%s does not end on SIGTERM", n.at.name)
	}
	state := n.command.ProcessState
	n.command = nil
	if !state.Success() {
		return fmt.Errorf("%s has ended on SIGTERM with %v", n.at.name, state)
	}
	return nil
}

// forget drops what it has printed.
func (n *node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.output.Reset()
}

// said is the end of what it has printed since.
func (n *node) said() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(n.output.Bytes()), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-40):], []byte("\n")))
}
