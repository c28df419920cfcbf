// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tracer records which programs are executed and when processes end, below one
// process, by kernel tracepoints. They cost nearly nothing, while strace(1)
// triples all times and hides the waits.
type tracer struct {
	root *os.Root // an instance of tracefs of its own: others may trace meanwhile
	top  *os.File // tracefs, mounted nowhere
	name string
}

var tracepoints = [...]string{"sched_process_exec", "sched_process_exit"}

func openTracer() (*tracer, error) {
	fd, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("tracefs: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.FsconfigCreate(fd); err != nil {
		return nil, fmt.Errorf("tracefs: %w", err)
	}
	mnt, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("tracefs: %w", err)
	}
	t := &tracer{top: os.NewFile(uintptr(mnt), "tracefs"), name: "instances/rkt-bench-" + strconv.Itoa(os.Getpid())}
	if err := unix.Mkdirat(mnt, t.name, 0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("tracefs: %w", err), t.top.Close())
	}
	if t.root, err = os.OpenRoot(fmt.Sprintf("/proc/self/fd/%d/%s", mnt, t.name)); err != nil {
		return nil, errors.Join(err, t.close())
	}
	for file, value := range map[string]string{"trace_clock": "mono", "options/event-fork": "1", "tracing_on": "0"} {
		if err := t.write(file, value); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	for _, e := range tracepoints {
		if err := t.write("events/sched/"+e+"/enable", "1"); err != nil {
			return nil, errors.Join(err, t.close())
		}
	}
	return t, nil
}

func (t *tracer) write(file, value string) error {
	f, err := t.root.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value + "\n")
	return errors.Join(err, f.Close())
}

// close takes the instance away.
func (t *tracer) close() error {
	var err error
	if t.root != nil {
		err = errors.Join(t.write("tracing_on", "0"), t.write("set_event_pid", ""), t.root.Close())
	}
	return errors.Join(err, unix.Unlinkat(int(t.top.Fd()), t.name, unix.AT_REMOVEDIR), t.top.Close())
}

// start records a process and all that it starts from now on.
func (t *tracer) start(pid int) error {
	return errors.Join(t.write("trace", ""), t.write("set_event_pid", strconv.Itoa(pid)), t.write("tracing_on", "1"))
}

func (t *tracer) stop() ([]event, error) {
	if err := t.write("tracing_on", "0"); err != nil {
		return nil, err
	}
	text, err := t.root.ReadFile("trace")
	if err != nil {
		return nil, err
	}
	return parseTrace(string(text))
}

// event is the execution of a program, or the end of a thread if program is empty.
type event struct {
	at      time.Duration
	pid     int
	program string
}

// <task>-<pid> [<cpu>] <flags> <seconds>: <event>: <fields>
var traceLine = regexp.MustCompile(`^ *.*-(\d+) +\[\d+\] +\S+ +(\d+\.\d+): (\w+): (.*)$`)

func parseTrace(text string) (events []event, err error) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := traceLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			return nil, fmt.Errorf("unexpected line of a trace: %q", line)
		}
		at, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return nil, err
		}
		e := event{at: time.Duration(math.Round(at*1e6)) * time.Microsecond}
		if e.pid, err = strconv.Atoi(m[1]); err != nil {
			return nil, err
		}
		if m[3] == tracepoints[0] {
			e.program, _, _ = strings.Cut(strings.TrimPrefix(m[4], "filename="), " pid=")
		}
		events = append(events, e)
	}
	return events, nil
}

// phases are what a run consists of, one after the other.
type phases [9]time.Duration

func phaseNames() [len(phases{})]string {
	return [...]string{
		"fork and exec of rkt by the caller",
		"stage0: exec of rkt → exec of stage1",
		"supervisor: exec of stage1 → exec of systemd-nspawn",
		"systemd-nspawn: → exec of systemd",
		"systemd: → exec of launch",
		"launch: → exec of the app",
		"app: → its end",
		"end: end of the app → end of rkt",
		"left behind: → end of the last process (nobody waits for it)",
	}
}

// stage1 is what is stage1's.
func (p phases) stage1() (sum time.Duration) {
	for _, d := range p[2:8] {
		sum += d
	}
	return sum
}

// phasesOf finds the borders.
func phasesOf(events []event, m measurement) (phases, error) {
	isPart := func(words ...string) func(event) bool {
		return func(e event) bool {
			for _, w := range words {
				if strings.HasPrefix(path.Base(e.program), w) {
					return true
				}
			}
			return false
		}
	}
	rkt := 0
	app := 0
	steps := []func(e event) bool{
		func(e event) bool { rkt = e.pid; return e.program != "" },
		func(e event) bool { return e.pid == rkt && e.program != "" },
		isPart("ld", "systemd-nspawn"),
		func(e event) bool { return path.Base(e.program) == "systemd" },
		func(e event) bool { app = e.pid; return path.Base(e.program) == "launch" },
		func(e event) bool { return e.pid == app && e.program != "" },
		func(e event) bool { return e.pid == app && e.program == "" },
	}
	border := []time.Duration{m.Start}
	for _, e := range events {
		if next := len(border) - 1; next < len(steps) && steps[next](e) {
			border = append(border, e.at)
		}
	}
	var p phases
	if len(border) != len(steps)+1 {
		return p, fmt.Errorf("the trace has %d of the %d events of a run: %v", len(border)-1, len(steps), events)
	}
	border = append(border, m.End, m.Settled)
	for i := range p {
		p[i] = border[i+1] - border[i]
	}
	return p, nil
}
