// SPDX-License-Identifier: Apache-2.0

package appops

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage1/internal/supervise"
)

// maxEndpoints is the size of the largest list of endpoints that is read.
const maxEndpoints = 64 << 10

// Attach connects the caller's standard streams with those of an app, or lists
// which can be.
func Attach(argv []string) error {
	a, err := entrypoint.ParseAttach(argv)
	if err != nil {
		return err
	}
	vars, err := entrypoint.ParseCrossingVars(os.Getenv)
	if err != nil {
		return err
	}
	root := "/proc/" + strconv.Itoa(vars.EnterPID) + "/root"
	e, err := readEndpoints(root, a.App)
	if err != nil {
		return err
	}
	if a.Action == entrypoint.AttachList {
		const indent = "    "
		data, err := json.MarshalIndent(e, "", indent)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(append(data, '\n'))
		return err
	}
	chosen, err := choose(a, e)
	if err != nil {
		return err
	}
	return connect(root, chosen)
}

func readEndpoints(root, app string) (*supervise.Endpoints, error) {
	f, err := os.Open(filepath.Join(root, poddir.AppStreams(app), supervise.EndpointsFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("app %q is not attachable: none of its streams was made so (--stdin, --stdout, --stderr), or it is not running", app)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxEndpoints))
	if err != nil {
		return nil, err
	}
	var e supervise.Endpoints
	if err := json.Unmarshal(data, &e); err != nil {
		return nil, fmt.Errorf("endpoints of app %q: %w", app, err)
	}
	return &e, nil
}

// stream is one endpoint with the directions that are wanted.
type stream struct {
	target  supervise.Target
	in, out bool
	to      *os.File // of output
}

// choose selects the endpoints; one that was asked for has to be there.
func choose(a entrypoint.Attach, e *supervise.Endpoints) ([]stream, error) {
	auto := a.Action == entrypoint.AttachAuto
	wanted := []struct {
		name    string
		in, out bool
		to      *os.File
	}{
		{"stdin", auto || a.Stdin, false, nil},
		{"stdout", false, auto || a.Stdout, os.Stdout},
		{"stderr", false, auto || a.Stderr, os.Stderr},
		{"tty", auto || a.TTYIn, auto || a.TTYOut, os.Stdout},
	}
	var chosen []stream
	for _, w := range wanted {
		if !w.in && !w.out {
			continue
		}
		i := slices.IndexFunc(e.Targets, func(t supervise.Target) bool { return t.Name == w.name })
		if i < 0 {
			if !auto {
				return nil, fmt.Errorf("app %q has no attachable %s", a.App, w.name)
			}
			continue
		}
		chosen = append(chosen, stream{e.Targets[i], w.in, w.out, w.to})
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("app %q has no attachable stream", a.App)
	}
	return chosen, nil
}

// connect copies until the first output has ended, and then what the others
// still hold.
func connect(root string, streams []stream) error {
	var outputs sync.WaitGroup
	var inputs []*net.UnixConn
	restore := func() {}
	for _, s := range streams {
		if !strings.HasPrefix(s.target.Address, "/"+poddir.AppStreams("")+"/") {
			return fmt.Errorf("endpoint %s is at %q, which is no place for one", s.target.Name, s.target.Address)
		}
		c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: filepath.Join(root, s.target.Address), Net: "unix"})
		if err != nil {
			return fmt.Errorf("attach to %s: %w", s.target.Name, err)
		}
		if s.in {
			inputs = append(inputs, c)
			if s.target.Name == "tty" {
				restore = makeRaw()
			}
		}
		if s.out {
			outputs.Add(1)
			go func() {
				defer outputs.Done()
				_, _ = io.Copy(s.to, c)
			}()
		}
	}
	defer restore()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	go func() {
		sig := <-signals
		restore() // the terminal is the caller's
		signal.Reset()
		_ = unix.Kill(os.Getpid(), sig.(syscall.Signal)) //nolint:forcetypeassert // every signal of Unix is one
	}()
	done := make(chan struct{})
	go func() { outputs.Wait(); close(done) }()
	ended := make(chan struct{})
	if len(inputs) > 0 {
		go func() { copyInput(inputs); close(ended) }()
	}
	if len(streams) == len(inputs) && !streams[0].out {
		<-ended // input only
		return nil
	}
	<-done
	return nil
}

func copyInput(conns []*net.UnixConn) {
	b := make([]byte, 4<<10)
	for {
		n, err := os.Stdin.Read(b)
		for _, c := range conns {
			if n > 0 {
				_, _ = c.Write(b[:n])
			}
		}
		if err != nil {
			return
		}
	}
}

// makeRaw lets every key through to the app; the result undoes it.
func makeRaw() func() {
	saved, err := unix.IoctlGetTermios(0, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	raw := *saved
	raw.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	raw.Oflag &^= unix.OPOST
	raw.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	if err := unix.IoctlSetTermios(0, unix.TCSETS, &raw); err != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetTermios(0, unix.TCSETS, saved) }
}
