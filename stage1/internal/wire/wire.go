// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Socket is the supervisor's socket, below the root of stage1.
const Socket = "rkt/supervisor.sock"

// MaxMessage is the size of the largest request or answer.
const MaxMessage = 8 << 10

// maxText is how much of a text is sent.
const maxText = 4 << 10

// Kind says what a request is about.
type Kind string

// The kinds.
const (
	// Start: the app's own process is about to become the app. A terminal's
	// master side comes with it if the app has one. The answer carries the
	// standard streams that the app lacks, in order.
	Start Kind = "start"
	// Handler: a handler that runs after the app asks for its streams.
	Handler Kind = "handler"
	// Failed: the app cannot be started; Text says why.
	Failed Kind = "failed"
)

// Request is one request.
type Request struct {
	Kind Kind
	App  string
	PID  int    // of the sender, as the pod numbers it
	Text string // one line
}

var errMalformed = errors.New("malformed request")

// Marshal returns the datagram.
func (r Request) Marshal() ([]byte, error) {
	text := r.Text
	if len(text) > maxText {
		text = text[:maxText]
	}
	text = strings.ReplaceAll(text, "\x00", " ")
	b := []byte(string(r.Kind) + "\x00" + r.App + "\x00" + strconv.Itoa(r.PID) + "\x00" + text)
	if _, err := Parse(b); err != nil {
		return nil, err
	}
	return b, nil
}

// Parse reads a datagram.
func Parse(b []byte) (Request, error) {
	f := strings.Split(string(b), "\x00")
	if len(b) > MaxMessage || len(f) != 4 || len(f[3]) > maxText {
		return Request{}, errMalformed
	}
	r := Request{Kind: Kind(f[0]), App: f[1], Text: f[3]}
	switch r.Kind {
	case Start, Handler, Failed:
	default:
		return Request{}, fmt.Errorf("%w: kind %q", errMalformed, f[0])
	}
	if _, err := appc.NewName(f[1]); err != nil {
		return Request{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	pid, err := strconv.Atoi(f[2])
	if err != nil || pid <= 0 || strconv.Itoa(pid) != f[2] {
		return Request{}, fmt.Errorf("%w: process ID %q", errMalformed, f[2])
	}
	r.PID = pid
	return r, nil
}

// Answers. Anything else is the reason why a request is not granted.
const (
	answerOK = "ok"
	// answerBus asks for a connection to the pod's systemd, which only a process
	// inside the pod can make; the answer to the request follows.
	answerBus = "bus"
)

// Ask sends a request with descriptors over a new connection to the socket and
// returns the descriptors of the answer. The files are the caller's to close.
// dial connects to the pod's systemd if the supervisor asks for that.
func Ask(socket string, r Request, dial func() (*os.File, error), send ...*os.File) ([]*os.File, error) {
	b, err := r.Marshal()
	if err != nil {
		return nil, err
	}
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("reach the supervisor of the pod: %w", err)
	}
	defer func() { _ = c.Close() }()
	if err := write(c, b, send); err != nil {
		return nil, fmt.Errorf("reach the supervisor of the pod: %w", err)
	}
	b, files, err := Read(c)
	if err == nil && string(b) == answerBus {
		b, files, err = sendBus(c, dial)
	}
	if err != nil {
		return nil, fmt.Errorf("answer of the supervisor of the pod: %w", err)
	}
	if string(b) != answerOK {
		closeAll(files)
		return nil, fmt.Errorf("the supervisor of the pod refuses: %s", b)
	}
	return files, nil
}

func sendBus(c *net.UnixConn, dial func() (*os.File, error)) ([]byte, []*os.File, error) {
	bus, err := dial()
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = bus.Close() }()
	if err := write(c, []byte(answerBus), []*os.File{bus}); err != nil {
		return nil, nil, err
	}
	return Read(c)
}

// AskBus asks the sender of a request for a connection to the pod's systemd.
func AskBus(c *net.UnixConn) (*os.File, error) {
	if err := write(c, []byte(answerBus), nil); err != nil {
		return nil, err
	}
	_, files, err := Read(c)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		closeAll(files)
		return nil, errMalformed
	}
	return files[0], nil
}

// Grant answers a request with descriptors.
func Grant(c *net.UnixConn, send []*os.File) error { return write(c, []byte(answerOK), send) }

// Refuse answers a request with a reason.
func Refuse(c *net.UnixConn, reason string) error {
	return write(c, []byte(reason[:min(len(reason), maxText)]), nil)
}

func write(c *net.UnixConn, b []byte, send []*os.File) error {
	var oob []byte
	if len(send) > 0 {
		fds := make([]int, len(send))
		for i, f := range send {
			fds[i] = int(f.Fd())
		}
		oob = unix.UnixRights(fds...)
	}
	_, _, err := c.WriteMsgUnix(b, oob, nil)
	return err
}

// maxFiles is how many descriptors a message may carry.
const maxFiles = 3

// Read reads one datagram with its descriptors, which are the caller's to close.
func Read(c *net.UnixConn) ([]byte, []*os.File, error) {
	b := make([]byte, MaxMessage)
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, flags, _, err := c.ReadMsgUnix(b, oob)
	files := descriptors(oob[:oobn]) // even if something else is wrong: they are open
	if err == nil && (flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 || len(files) > maxFiles) {
		err = errMalformed
	}
	if err != nil {
		closeAll(files)
		return nil, nil, err
	}
	return b[:n], files, nil
}

func descriptors(oob []byte) (files []*os.File) {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd) // MSG_CMSG_CLOEXEC is set by package net already
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
