package scenarios

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// link lies between a relay and another that it dials, and copies. It can be
// cut, so that what is connected breaks and nothing connects, and stalled, so
// that nothing breaks and nothing moves.
type link struct {
	ctx      context.Context
	listener net.Listener
	target   string

	mu       sync.Mutex
	isCut    bool
	moving   chan struct{} // closed while it is not stalled
	ends     map[net.Conn]struct{}
	accepted int // connections ever
}

func newLink(ctx context.Context, target string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &link{ctx: ctx, listener: listener, target: target, moving: make(chan struct{}), ends: map[net.Conn]struct{}{}}
	close(l.moving)
	context.AfterFunc(ctx, func() { listener.Close() })
	go l.serve()
	return l, nil
}

// entry is what -mesh-with has to say for this link.
func (l *link) entry(hostName string) string { return meshWithEntry(hostName, l.listener) }

func meshWithEntry(hostName string, listener net.Listener) string {
	address := listener.Addr().(*net.TCPAddr)
	return fmt.Sprintf("%s:%d/%v", hostName, address.Port, address.IP)
}

// cut breaks the link.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = true
	l.breakAll()
}

// broken breaks what is connected, and lets it connect again.
func (l *link) broken() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.breakAll()
}

func (l *link) breakAll() {
	for end := range l.ends {
		end.Close()
	}
	clear(l.ends)
}

// stall stops all movement.
func (l *link) stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moving = make(chan struct{})
}

// open repairs it.
func (l *link) open() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.isCut = false
	select {
	case <-l.moving:
	default:
		close(l.moving)
	}
}

// state is how many connections there were ever, and whether there is one now.
func (l *link) state() (accepted int, connected bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted, len(l.ends) > 0
}

func (l *link) serve() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		l.accepted++
		l.mu.Unlock()
		go l.join(near)
	}
}

func (l *link) join(near net.Conn) {
	defer near.Close()
	near.(*net.TCPConn).SetReadBuffer(64 << 10) // so that a stall shows soon
	if !l.keep(near) {
		return
	}
	defer l.drop(near)
	far := l.reachTarget()
	if far == nil || !l.keep(far) {
		return
	}
	defer l.drop(far)
	defer far.Close()
	go l.pump(near, far)
	l.pump(far, near)
}

// reachTarget dials the relay. It may be about to start: whoever was refused
// would come again only after five seconds.
func (l *link) reachTarget() net.Conn {
	for deadline := time.Now().Add(8 * time.Second); time.Now().Before(deadline); {
		if far, err := net.Dial("tcp", l.target); err == nil {
			return far
		}
		select {
		case <-l.ctx.Done():
			return nil
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// keep remembers a connection to break, or reports that there must be none.
func (l *link) keep(end net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isCut {
		end.Close()
		return false
	}
	l.ends[end] = struct{}{}
	return true
}

func (l *link) drop(end net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.ends, end)
}

// pump copies until either side ends, and then ends the other.
func (l *link) pump(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		moving := l.moving
		l.mu.Unlock()
		select {
		case <-moving:
		case <-l.ctx.Done():
			return
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}
