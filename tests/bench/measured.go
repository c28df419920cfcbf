// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// measuredName is the first argument of the process that starts a measured
// command. It is the parent of whatever the command leaves behind: only so the
// processor time of all of them can be known.
const measuredName = "measured"

// resultFD is the descriptor of its report.
const resultFD = 3

// measurement is its report. Times are of the monotonic clock.
type measurement struct {
	Start, End time.Duration // until every copy of the command has ended
	Settled    time.Duration // until every process they left has ended, too
	CPU        time.Duration // user and system, of all of them
}

func (m measurement) wall() time.Duration { return m.End - m.Start }

// measured runs n copies of a command at once, that all have to succeed. before
// is called when the process that will start them is there.
func (b *bench) measured(n int, before func(pid int), cmd *exec.Cmd) measurement {
	r, w, err := os.Pipe()
	if err != nil {
		b.Fatalf("%v", err)
	}
	defer func() { _ = r.Close() }()
	var out bytes.Buffer
	c := exec.Command("/proc/self/exe", append([]string{measuredName, strconv.Itoa(n), cmd.Path}, cmd.Args[1:]...)...)
	c.Env, c.Dir, c.ExtraFiles = cmd.Env, cmd.Dir, []*os.File{w}
	c.Stdout, c.Stderr = &out, &out
	start, err := c.StdinPipe() // it waits for its end
	if err != nil {
		b.Fatalf("%v", err)
	}
	err = c.Start()
	_ = w.Close()
	if err != nil {
		b.Fatalf("%v", err)
	}
	if before != nil {
		before(c.Process.Pid)
	}
	_ = start.Close()
	ended := make(chan struct{})
	go func() {
		select {
		case <-b.stop:
			_ = c.Process.Signal(unix.SIGTERM)
		case <-ended:
		}
	}()
	err = c.Wait()
	close(ended)
	var m measurement
	if err == nil {
		err = json.NewDecoder(r).Decode(&m)
	}
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out.String())
	}
	return m
}

// runMeasured is the other end: words are the number of copies and the command.
func runMeasured(words []string) error {
	if len(words) < 2 {
		return errors.New("called by hand")
	}
	// The one thread that starts the copies is the one that before knows of.
	runtime.LockOSThread()
	n, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	unix.CloseOnExec(resultFD)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err == nil {
		return errors.New("called by hand")
	}
	var m measurement
	attr := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{null.Fd(), null.Fd(), 2}}
	m.Start = now()
	var pids []int
	for range n {
		pid, err := syscall.ForkExec(words[1], words[1:], attr)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", words[1], err), reap(nil, nil))
		}
		pids = append(pids, pid)
	}
	if err := reap(pids, func() { m.End = now() }); err != nil {
		return err
	}
	m.Settled = now()
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_CHILDREN, &use); err != nil {
		return err
	}
	m.CPU = time.Duration(use.Utime.Nano() + use.Stime.Nano())
	return json.NewEncoder(os.NewFile(resultFD, "result")).Encode(m)
}

// reap waits for everything below this process and calls last when the last of
// pids, which all have to succeed, has ended.
func reap(pids []int, last func()) error {
	var errs []error
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return errors.Join(errs...)
		case err != nil:
			return err
		}
		at := slices.Index(pids, pid)
		if at < 0 {
			continue
		}
		pids = slices.Delete(pids, at, at+1)
		if !status.Exited() || status.ExitStatus() != 0 {
			errs = append(errs, fmt.Errorf("ended with wait status %#x", uint32(status)))
		}
		if len(pids) == 0 {
			last()
		}
	}
}

func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}
