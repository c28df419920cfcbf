// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// DefaultLogOutput is how lines are shown unless something else is asked for:
// "TIME APP[PID]: LINE".
const DefaultLogOutput = "short-iso-precise"

// LogOutputs are the forms that logs can show lines in, named as journalctl
// names them (journalctl(1), --output).
func LogOutputs() []string {
	return []string{
		"short", "short-full", DefaultLogOutput, "short-iso", "short-precise", "short-monotonic", "short-unix",
		"cat", "export", "json", "json-pretty", "json-seq", "json-sse", "verbose", "with-unit",
	}
}

// AllLines is the value of Logs.Lines without a limit.
const AllLines = -1

// Logs is a call of the logs entrypoint: show what the apps of a pod have
// written. The working directory is the pod directory.
type Logs struct {
	Path    string // the program, argv[0]
	Journal string // directory with the journal files, relative to the working directory
	Root    string // tree of the stage1 image; empty: journalctl of the host is used
	App     string // of this app only
	Follow  bool   // until the pod has ended
	Since   time.Time
	Lines   int    // the last so many, or AllLines
	Output  string // one of LogOutputs
}

// Argv returns the argument list; it is the same in every interface version.
func (l Logs) Argv() []string {
	argv := []string{l.Path, "--journal=" + l.Journal}
	if l.Root != "" {
		argv = append(argv, "--root="+l.Root)
	}
	if l.App != "" {
		argv = append(argv, "--app="+l.App)
	}
	if l.Follow {
		argv = append(argv, "--follow")
	}
	if !l.Since.IsZero() {
		argv = append(argv, "--since="+FormatLogTime(l.Since))
	}
	if l.Lines >= 0 {
		argv = append(argv, "--lines="+strconv.Itoa(l.Lines))
	}
	return append(argv, "--output="+l.Output)
}

// FormatLogTime writes a time as journalctl reads it: @SECONDS.MICROSECONDS
// since the epoch. What lies before is the epoch.
func FormatLogTime(t time.Time) string {
	usec := max(0, t.UnixMicro())
	return fmt.Sprintf("@%d.%06d", usec/1e6, usec%1e6)
}

func parseLogTime(s string) (time.Time, error) {
	invalid := fmt.Errorf("invalid time %q", s)
	sec, usec, ok := strings.Cut(strings.TrimPrefix(s, "@"), ".")
	if !strings.HasPrefix(s, "@") || !ok || len(usec) != 6 {
		return time.Time{}, invalid
	}
	n, err := strconv.ParseUint(sec, 10, 40) // far beyond the year 9999
	if err != nil {
		return time.Time{}, invalid
	}
	u, err := strconv.ParseUint(usec, 10, 32)
	if err != nil {
		return time.Time{}, invalid
	}
	return time.Unix(int64(n), int64(u)*1000), nil
}

// ParseLogs reads an argument list, program name included.
func ParseLogs(argv []string) (Logs, error) {
	fs, err := newFlags(argv)
	if err != nil {
		return Logs{}, err
	}
	l := Logs{Path: argv[0], Lines: AllLines, Output: DefaultLogOutput}
	fs.StringVar(&l.Journal, "journal", "", "")
	fs.StringVar(&l.Root, "root", "", "")
	fs.StringVar(&l.App, "app", "", "")
	fs.BoolVar(&l.Follow, "follow", false, "")
	fs.Func("since", "", func(s string) (err error) { l.Since, err = parseLogTime(s); return err })
	fs.IntVar(&l.Lines, "lines", AllLines, "")
	fs.StringVar(&l.Output, "output", DefaultLogOutput, "")
	if err := noArgs(fs, argv); err != nil {
		return Logs{}, err
	}
	return l, l.check()
}

// check refuses what would mean something else to journalctl.
func (l *Logs) check() error {
	if !filepath.IsLocal(l.Journal) {
		return fmt.Errorf("%q in --journal does not lead into the pod directory", l.Journal)
	}
	if l.Root != "" && !filepath.IsAbs(l.Root) {
		return fmt.Errorf("%q in --root is not absolute", l.Root)
	}
	if l.Lines < AllLines {
		return errors.New("negative number in --lines")
	}
	if !slices.Contains(LogOutputs(), l.Output) {
		return fmt.Errorf("unknown form %q in --output", l.Output)
	}
	if l.App == "" {
		return nil
	}
	if _, err := appc.NewName(l.App); err != nil {
		return fmt.Errorf("--app: %w", err)
	}
	return nil
}
