// SPDX-License-Identifier: Apache-2.0

// Package doctor looks at a host and says what of it rkt can use, what it
// cannot, and what to do about that.
//
// Words: a probe answers one question; its result is what was found, a verdict,
// and what to do. Fail is what keeps pods from running; a warning is what costs
// something, or what could not be seen.
//
// Invariants: nothing is changed: no file, mount, rule or module. Files are
// read below Host.Root, and whatever else is asked of the system is a function
// of Host, so that every verdict can be had from a made-up host. A probe that
// fails to find out says so; it never fails the others.
//
// Source: spec packaging.md 2 and 4, services.md 4.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Verdict is what a result means.
type Verdict string

// The verdicts.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warn"
	Fail Verdict = "fail"
)

// Result is the answer of a probe.
type Result struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	Found   string  `json:"found"`
	Todo    string  `json:"todo,omitempty"` // imperative, no full stop
}

// Probe answers one question.
type Probe struct {
	Name string
	Run  func(ctx context.Context, h *Host) Result
}

// Host is what probes look at.
type Host struct {
	Root    string // "/" but for tests
	DataDir string
	Config  string // the local configuration directory
	EUID    int
	Now     time.Time

	Release func() (string, error)                   // of the kernel
	Statfs  func(path string) (unix.Statfs_t, error) // file system of an existing path
	Output  func(ctx context.Context, name string, args ...string) (string, error)
	Cgroups func() (Cgroups, error)
	Openat2 func() error
	Idmap   func(dir string) error // can the file system be mounted idmapped
	Synced  func() (bool, error)   // the clock is kept right by somebody
	Running func(uuid string) bool // a pod runs
}

// Cgroups is how the host has its control groups.
type Cgroups struct {
	Layout      string
	Controllers []string
	Kill        bool // cgroup.kill is there
}

// Examine runs probes in order. One that has not answered when the context ends
// is a warning, and so are those behind it.
func Examine(ctx context.Context, h *Host, probes []Probe) []Result {
	results := []Result{}
	for _, p := range probes {
		answer := make(chan Result, 1)
		go func() { answer <- p.Run(ctx, h) }()
		var r Result
		select {
		case r = <-answer:
		case <-ctx.Done():
			r = Result{Verdict: Warn, Found: "no answer in time", Todo: "look for a file system or program that hangs"}
		}
		r.Name = p.Name
		results = append(results, r)
	}
	return results
}

// Worst is the gravest verdict of all results.
func Worst(results []Result) Verdict {
	worst := OK
	for _, r := range results {
		if r.Verdict == Fail || r.Verdict == Warn && worst == OK {
			worst = r.Verdict
		}
	}
	return worst
}

// Good is a result with nothing to do.
func Good(format string, args ...any) Result {
	return Result{Verdict: OK, Found: fmt.Sprintf(format, args...)}
}

// Unseen is the result of a question that could not be answered.
func Unseen(err error) Result {
	r := Result{Verdict: Warn, Found: "not seen: " + strings.ReplaceAll(err.Error(), "\n", "; ")}
	if errors.Is(err, fs.ErrPermission) {
		r.Todo = "ask again as root"
	}
	return r
}

const maxRead = 4 << 20

// read returns a file below the root of the host, "" if there is none.
func (h *Host) read(path string) (string, error) {
	f, err := os.OpenFile(h.path(path), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	return readAll(f)
}

func (h *Host) path(path string) string { return filepath.Join(h.Root, path) }

func (h *Host) has(path string) bool {
	_, err := os.Stat(h.path(path))
	return err == nil
}

// existing is the nearest directory above a path that is there.
func (h *Host) existing(path string) string {
	for p := h.path(path); ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); err == nil || p == filepath.Dir(p) {
			return p
		}
	}
}
