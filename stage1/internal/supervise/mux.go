// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// mux lets clients attach to the streams of apps. Each stream has a socket in
// the app's directory rkt/iottymux/<app>, named in the file endpoints there
// (spec stage1-flavors.md A.8.1).
type mux struct {
	s  *supervisor
	mu sync.Mutex
	// listeners of each app, closed when its stream ends.
	listeners map[string][]*endpoint
}

// endpoint is one attachable stream.
type endpoint struct {
	name     string // stdin, stdout, stderr, tty
	listener *net.UnixListener
}

// Endpoints is the content of the file of that name.
type Endpoints struct {
	Version int      `json:"version"`
	Targets []Target `json:"targets"`
}

// Target is where one stream can be reached.
type Target struct {
	Name    string `json:"name"`
	Domain  string `json:"domain"`
	Address string `json:"address"` // below the root of stage1
}

const endpointsVersion = 1

// EndpointsFile is the name of the file with the Endpoints of an app.
const EndpointsFile = "endpoints"

func newMux(s *supervisor) *mux { return &mux{s: s, listeners: map[string][]*endpoint{}} }

// listen opens the socket of a stream and lists it.
func (m *mux) listen(app, name string) (*net.UnixListener, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := poddir.AppStreams(app)
	var l *net.UnixListener
	err := m.s.onPodRoot(func() error {
		if err := m.s.pod.s1.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		file := path.Join(dir, "sock-"+name)
		_ = m.s.pod.s1.Remove(file) // of an earlier start
		top, err := m.s.pod.s1.Open(".")
		if err != nil {
			return err
		}
		defer func() { _ = top.Close() }()
		address := "/proc/self/fd/" + strconv.Itoa(int(top.Fd())) + "/" + file
		if l, err = net.ListenUnix("unix", &net.UnixAddr{Name: address, Net: "unix"}); err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		if err := m.s.pod.s1.Chmod(file, 0o600); err != nil {
			return err
		}
		m.listeners[app] = append(m.listeners[app], &endpoint{name: name, listener: l})
		return m.publish(app)
	})
	if err != nil {
		return nil, fmt.Errorf("attachable %s: %w", name, err)
	}
	return l, nil
}

// publish writes the endpoints of an app.
func (m *mux) publish(app string) error {
	e := Endpoints{Version: endpointsVersion, Targets: []Target{}}
	for _, l := range m.listeners[app] {
		e.Targets = append(e.Targets, Target{Name: l.name, Domain: "unix", Address: "/" + path.Join(poddir.AppStreams(app), "sock-"+l.name)})
	}
	slices.SortFunc(e.Targets, func(a, b Target) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return m.s.replace(path.Join(poddir.AppStreams(app), EndpointsFile), append(data, '\n'))
}

// unlisten closes the socket of a stream that has ended.
func (m *mux) unlisten(app string, l *net.UnixListener) {
	_ = l.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.listeners[app] = slices.DeleteFunc(m.listeners[app], func(e *endpoint) bool { return e.listener == l })
}

// close ends what nobody has ended.
func (m *mux) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, list := range m.listeners {
		for _, e := range list {
			_ = e.listener.Close()
		}
	}
}

// output is what an app writes, for any number of clients.
type output struct {
	m       *mux
	app     string
	l       *net.UnixListener
	mu      sync.Mutex
	clients map[*client]bool
	over    bool
}

// client is one connection. What it does not take in time is lost for it, and
// so is the connection: it must not slow the app down.
type client struct {
	conn  *net.UnixConn
	queue chan []byte
}

// maxQueue is how many writes a client may lag behind.
const maxQueue = 1024

// output opens the socket of an output stream; nil if that fails, which has
// been said then: the app runs without.
func (m *mux) output(app, name string) *output {
	l, err := m.listen(app, name)
	if err != nil {
		say("stage1: app %q: %v", app, err)
		return nil
	}
	o := &output{m: m, app: app, l: l, clients: map[*client]bool{}}
	go o.accept(func(*net.UnixConn) {})
	return o
}

// terminal opens the socket of a terminal: what clients send goes to it.
func (m *mux) terminal(app string, master *os.File) *output {
	l, err := m.listen(app, "tty")
	if err != nil {
		say("stage1: app %q: %v", app, err)
		return &output{m: m, app: app, clients: map[*client]bool{}}
	}
	o := &output{m: m, app: app, l: l, clients: map[*client]bool{}}
	go o.accept(func(c *net.UnixConn) { copyInput(master, c, nil) })
	return o
}

func (o *output) accept(input func(*net.UnixConn)) {
	for {
		conn, err := o.l.AcceptUnix()
		if err != nil {
			return
		}
		c := &client{conn: conn, queue: make(chan []byte, maxQueue)}
		o.mu.Lock()
		if o.over {
			o.mu.Unlock()
			_ = conn.Close()
			continue
		}
		o.clients[c] = true
		o.m.s.readers.Add(1)
		o.mu.Unlock()
		go o.feed(c)
		go func() {
			input(conn)
			b := make([]byte, 1)
			if _, err := conn.Read(b); err != nil { // the client has gone
				o.drop(c)
			}
		}()
	}
}

// feed sends to a client until the stream ends or the client is dropped.
func (o *output) feed(c *client) {
	defer o.m.s.readers.Done()
	defer func() { _ = c.conn.Close() }()
	for b := range c.queue {
		_ = c.conn.SetWriteDeadline(time.Now().Add(outputPatience))
		if _, err := c.conn.Write(b); err != nil {
			o.drop(c)
			return
		}
	}
}

func (o *output) drop(c *client) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.clients[c] {
		delete(o.clients, c)
		close(c.queue)
	}
}

// write passes on what the app has written. It keeps b.
func (o *output) write(b []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for c := range o.clients {
		select {
		case c.queue <- b:
		default:
			delete(o.clients, c)
			close(c.queue)
			_ = c.conn.CloseRead()
		}
	}
}

// end closes the stream: clients get what is queued, then the end of it.
func (o *output) end() {
	if o.l != nil {
		o.m.unlisten(o.app, o.l)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	for c := range o.clients {
		delete(o.clients, c)
		close(c.queue)
	}
}

// input opens the socket of an app's standard input.
func (m *mux) input(app, name string, w *os.File) {
	l, err := m.listen(app, name)
	if err != nil {
		say("stage1: app %q: %v", app, err)
		_ = w.Close()
		return
	}
	var mu sync.Mutex
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				if !copyInput(w, conn, &mu) {
					m.unlisten(app, l) // the app reads no more
					_ = w.Close()
				}
			}()
		}
	}()
}

// copyInput copies what a client sends; false if the app takes no more. With a
// lock, writes of several clients do not mix.
func copyInput(w *os.File, c *net.UnixConn, mu *sync.Mutex) bool {
	b := make([]byte, 4<<10)
	for {
		n, err := c.Read(b)
		if n > 0 {
			if mu != nil {
				mu.Lock()
			}
			_, werr := w.Write(b[:n])
			if mu != nil {
				mu.Unlock()
			}
			if werr != nil {
				return errors.Is(werr, os.ErrDeadlineExceeded)
			}
		}
		if err != nil {
			return true
		}
	}
}
