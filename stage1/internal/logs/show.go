// SPDX-License-Identifier: Apache-2.0

package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
)

// show runs journalctl for the entries after the cursor, or for all that are
// asked for if it is empty. In follow mode it returns the cursor of the last.
func (v *viewer) show(cursor string) (string, error) {
	if err := v.open(); err != nil || v.dir == nil {
		return cursor, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", os.NewSyscallError("prctl no_new_privs", err)
	}
	argv := append(v.tool.argv[:len(v.tool.argv):len(v.tool.argv)], v.args(cursor)...)
	cmd := &exec.Cmd{
		Path:        argv[0],
		Args:        argv,
		Env:         environ(),
		Stdout:      v.out,
		Stderr:      os.Stderr,
		ExtraFiles:  v.tool.files(v.dir),
		SysProcAttr: unprivileged(os.Geteuid()),
	}
	var filter *cursorFilter
	if v.call.Follow {
		filter = &cursorFilter{out: v.out, lineStart: true}
		cmd.Stdout = filter
	}
	if err := cmd.Run(); err != nil && !isBrokenPipe(err) {
		return "", fmt.Errorf("journalctl: %w", err)
	}
	if filter == nil {
		return "", nil
	}
	last, err := filter.cursor()
	if last == "" {
		last = cursor // there was nothing to show
	}
	return last, err
}

// args are the options of journalctl.
func (v *viewer) args(cursor string) []string {
	args := []string{
		"--quiet", "--no-pager", "--no-hostname", "--output=" + v.call.Output, "--directory=" + dirFD,
	}
	if v.wantsAll() {
		args = append(args, "--all")
	}
	if v.call.Follow {
		args = append(args, "--show-cursor")
	}
	if cursor != "" {
		args = append(args, "--after-cursor="+cursor)
	} else {
		if !v.call.Since.IsZero() {
			args = append(args, "--since="+entrypoint.FormatLogTime(v.call.Since))
		}
		if v.call.Lines >= 0 {
			args = append(args, "--lines="+strconv.Itoa(v.call.Lines))
		}
	}
	if v.call.App != "" {
		// The pod's journald sets this field, too, for what apps send to it.
		args = append(args, "_SYSTEMD_UNIT="+v.call.App+".service")
	}
	return args
}

// wantsAll tells whether long and unprintable values are shown. On a terminal
// control characters are not; as JSON all values are text.
func (v *viewer) wantsAll() bool {
	if strings.HasPrefix(v.call.Output, "json") {
		return true
	}
	_, err := unix.IoctlGetTermios(int(v.out.Fd()), unix.TCGETS)
	return err != nil
}

// environ is the environment of journalctl: how to show times, nothing else.
func environ() []string {
	if tz, ok := os.LookupEnv("TZ"); ok {
		return []string{"TZ=" + tz}
	}
	return []string{}
}

// nobody is the user ID of journalctl when root starts it (the kernel's
// overflow ID).
const nobody = 65534

// unprivileged lets a program that reads what a pod wrote read any file, and
// nothing else that others may not.
func unprivileged(euid int) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if euid == 0 {
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		attr.AmbientCaps = []uintptr{unix.CAP_DAC_READ_SEARCH}
	}
	return attr
}

// isBrokenPipe tells whether the reader of the output has seen enough.
func isBrokenPipe(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == unix.SIGPIPE
}

// cursorMark begins the line that journalctl ends its output with. Lines of
// apps may begin so, too: it is the last one that counts.
const cursorMark = "-- cursor: "

// cursorFilter passes on the output of journalctl without that line.
type cursorFilter struct {
	out       io.Writer
	held      []byte // a line, or the beginning of one, that may be the last
	lineStart bool   // whether what comes next begins a line
}

func (f *cursorFilter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	buf := append(f.held, p...)
	last := bytes.LastIndexByte(buf[:len(buf)-1], '\n') + 1
	if (last > 0 || f.lineStart) && mayBeCursor(buf[last:]) {
		f.lineStart = true
	} else {
		last = len(buf)
		f.lineStart = buf[last-1] == '\n'
	}
	_, err := f.out.Write(buf[:last])
	f.held = append(f.held[:0:0], buf[last:]...)
	return len(p), err
}

func mayBeCursor(line []byte) bool {
	n := min(len(line), len(cursorMark))
	return string(line[:n]) == cursorMark[:n]
}

// cursor returns what journalctl said last, after it has ended.
func (f *cursorFilter) cursor() (string, error) {
	line, complete := bytes.CutSuffix(f.held, []byte("\n"))
	cursor, ok := bytes.CutPrefix(line, []byte(cursorMark))
	if complete && ok && bytes.HasPrefix(cursor, []byte("s=")) {
		return string(cursor), nil
	}
	_, err := f.out.Write(f.held)
	return "", err
}
