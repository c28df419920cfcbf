// SPDX-License-Identifier: Apache-2.0

package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/stage1-kvm/internal/agent"
)

// controlSocket is where programs of the host ask the supervisor for sessions,
// in the pod directory. Its permissions are who may: root.
const controlSocket = "kvm.sock"

// A request is one message with the three standard streams, then any number of
// events; the answer is one outcome.
type event struct {
	Signal     byte   `json:"signal,omitempty"`
	Rows, Cols uint16 `json:",omitempty"`
}

type outcome struct {
	Result agent.Result `json:"result"`
	Error  string       `json:"error,omitempty"`
}

const (
	maxControl      = 256 << 10
	requestPatience = 10 * time.Second
)

// listen serves programs of the host until stop is called.
func (s *supervisor) listen() (stop func(), err error) {
	_ = os.Remove(controlSocket)
	old := unix.Umask(0o177)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: controlSocket, Net: "unixpacket"})
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("socket of the supervisor: %w", err)
	}
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = c.Close() }()
				s.serve(c)
			}()
		}
	}()
	return func() { _ = l.Close() }, nil
}

// serve runs one program in the guest for a program of the host.
func (s *supervisor) serve(c *net.UnixConn) {
	_ = c.SetReadDeadline(time.Now().Add(requestPatience))
	cmd, files, err := readRequest(c)
	if err != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	r, err := s.session(c, cmd, files)
	o := outcome{Result: r}
	if err != nil {
		o.Error = err.Error()
	}
	if data, err := json.Marshal(o); err == nil {
		_, _ = c.Write(data)
	}
}

// session runs a program in the guest with the streams of the one who asks.
// When that ends before, its program gets a hangup.
func (s *supervisor) session(c *net.UnixConn, cmd agent.Command, files []*os.File) (agent.Result, error) {
	defer closeAll(files[1], files[2])
	session, err := s.host.Open(cmd)
	if err != nil {
		_ = files[0].Close()
		return agent.Result{}, err
	}
	go func() {
		copyInput(session.Stdin(), files[0])
		_ = files[0].Close()
	}()
	go func() {
		for {
			e, err := readEvent(c)
			switch {
			case err != nil:
				_ = session.Signal(byte(unix.SIGHUP))
				return
			case e.Signal != 0:
				_ = session.Signal(e.Signal)
			default:
				_ = session.Resize(e.Rows, e.Cols)
			}
		}
	}()
	var copies sync.WaitGroup
	for i := 1; i <= 2; i++ {
		copies.Go(func() { _ = session.CopyOutput(i, files[i]) })
	}
	r, err := session.Result()
	copies.Wait()
	// Whoever reads the input of the one who asks must not keep it.
	_ = files[0].SetReadDeadline(time.Now())
	return r, err
}

func readEvent(c *net.UnixConn) (event, error) {
	b := make([]byte, maxControl)
	n, err := c.Read(b)
	if err != nil {
		return event{}, err
	}
	if n == 0 {
		return event{}, io.EOF
	}
	var e event
	return e, json.Unmarshal(b[:n], &e)
}

// readRequest reads the program that is wanted and the standard streams for it.
func readRequest(c *net.UnixConn) (cmd agent.Command, files []*os.File, err error) {
	b, oob := make([]byte, maxControl), make([]byte, unix.CmsgSpace(3*4))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	if err != nil {
		return cmd, nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return cmd, nil, err
	}
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "stream"))
		}
	}
	if err = json.Unmarshal(b[:n], &cmd); err == nil && (len(files) != 3 || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0) {
		err = errNoStreams
	}
	if err != nil {
		closeAll(files...)
		return cmd, nil, err
	}
	return cmd, files, nil
}

// ask runs a program in the guest of the pod whose directory is the working
// one, with the caller's streams.
func ask(cmd agent.Command, events <-chan event) (agent.Result, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: controlSocket, Net: "unixpacket"})
	if err != nil {
		return agent.Result{}, fmt.Errorf("reach the supervisor of the pod: %w", err)
	}
	defer func() { _ = c.Close() }()
	data, err := json.Marshal(cmd)
	if err != nil {
		return agent.Result{}, err
	}
	if len(data) > maxControl {
		return agent.Result{}, errors.New("the command is too long")
	}
	if _, _, err := c.WriteMsgUnix(data, unix.UnixRights(0, 1, 2), nil); err != nil {
		return agent.Result{}, fmt.Errorf("reach the supervisor of the pod: %w", err)
	}
	go func() {
		for e := range events {
			if data, err := json.Marshal(e); err == nil {
				_, _ = c.Write(data)
			}
		}
	}()
	b := make([]byte, maxControl)
	n, err := c.Read(b)
	if err != nil || n == 0 {
		return agent.Result{}, errors.Join(errors.New("the pod has ended"), err)
	}
	var o outcome
	if err := json.Unmarshal(b[:n], &o); err != nil {
		return agent.Result{}, fmt.Errorf("answer of the supervisor of the pod: %w", err)
	}
	if o.Error != "" {
		return agent.Result{}, errors.New(o.Error)
	}
	return o.Result, nil
}
