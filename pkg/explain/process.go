// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// Process is what the kernel says of the running app.
type Process struct {
	PID int
	Status
	Rlimits     []profile.Rlimit // index is the number of the resource
	OOMScoreAdj int64
	// OwnNamespaces tells by name of the file in /proc/PID/ns which namespaces
	// are not those of this process.
	OwnNamespaces map[string]bool
	// Mounts are what is on top at each mount point.
	Mounts  map[string]MountPoint
	Cgroups []string
	Files   []ControlFile
	// Resolve and Exists look into the app's root: where a target leads to, and
	// whether there is something at a path.
	Resolve func(target string) (string, error)
	Exists  func(path string) bool
}

// MountPoint is where something is mounted.
type MountPoint struct {
	ReadOnly bool
	Root     string // the part of the file system that is mounted there
}

// Modes of Status.Seccomp (proc(5)).
const (
	seccompOff    = 0
	seccompStrict = 1
	seccompFilter = 2
)

// Status is what /proc/PID/status says. IDs are the effective ones, of the host.
type Status struct {
	UID, GID            int
	Bounding, Effective caps.Set
	NoNewPrivs          bool
	Seccomp             int
}

// ParseStatus reads /proc/PID/status. The kernel escapes line ends in the only
// field that the process chooses, its name.
func ParseStatus(data []byte) (Status, error) {
	var s Status
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ":")
		if _, twice := fields[name]; ok && !twice {
			fields[name] = strings.TrimSpace(value)
		}
	}
	const effective = 1 // of real, effective, saved, file system
	for _, f := range []struct {
		name string
		set  func(string) error
	}{
		{"Uid", func(v string) (err error) { s.UID, err = nth(v, effective); return err }},
		{"Gid", func(v string) (err error) { s.GID, err = nth(v, effective); return err }},
		{"CapBnd", func(v string) (err error) { s.Bounding, err = capSet(v); return err }},
		{"CapEff", func(v string) (err error) { s.Effective, err = capSet(v); return err }},
		{"NoNewPrivs", func(v string) (err error) { s.NoNewPrivs, err = strconv.ParseBool(v); return err }},
		{"Seccomp", func(v string) (err error) { s.Seccomp, err = strconv.Atoi(v); return err }},
	} {
		v, ok := fields[f.name]
		if !ok {
			return Status{}, fmt.Errorf("no field %s", f.name)
		}
		if err := f.set(v); err != nil {
			return Status{}, fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	return s, nil
}

func nth(list string, n int) (int, error) {
	words := strings.Fields(list)
	if len(words) <= n {
		return 0, errors.New("too short")
	}
	id, err := strconv.ParseUint(words[n], 10, 32)
	return int(id), err
}

func capSet(hex string) (caps.Set, error) {
	n, err := strconv.ParseUint(hex, 16, 64)
	return caps.Set(n), err
}

// rlimitTitles are the rows of /proc/PID/limits, by number of the resource.
var rlimitTitles = [...]string{
	"Max cpu time", "Max file size", "Max data size", "Max stack size", "Max core file size", "Max resident set", "Max processes",
	"Max open files", "Max locked memory", "Max address space", "Max file locks", "Max pending signals", "Max msgqueue size",
	"Max nice priority", "Max realtime priority", "Max realtime timeout",
}

// rlimitNames are the words of --ulimit, by number of the resource.
var rlimitNames = [...]string{
	"cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending", "msgqueue", "nice",
	"rtprio", "rttime",
}

// ParseLimits reads /proc/PID/limits.
func ParseLimits(data []byte) ([]profile.Rlimit, error) {
	limits := make([]profile.Rlimit, len(rlimitTitles))
	seen := 0
	for line := range strings.Lines(string(data)) {
		for i, title := range rlimitTitles {
			rest, ok := strings.CutPrefix(line, title+" ")
			if !ok {
				continue
			}
			words := strings.Fields(rest)
			if len(words) < 2 {
				return nil, fmt.Errorf("%s: too short", title)
			}
			cur, err1 := rlimit(words[0])
			hard, err2 := rlimit(words[1])
			if err := errors.Join(err1, err2); err != nil {
				return nil, fmt.Errorf("%s: %w", title, err)
			}
			limits[i] = profile.Rlimit{Cur: cur, Max: hard}
			seen++
		}
	}
	if seen != len(limits) {
		return nil, fmt.Errorf("%d of %d limits", seen, len(limits))
	}
	return limits, nil
}

func rlimit(s string) (uint64, error) {
	if s == "unlimited" {
		return ^uint64(0), nil
	}
	return strconv.ParseUint(s, 10, 64)
}

// ParseMounts reads /proc/PID/mountinfo and returns what is on top at each mount
// point. What lies under a later mount is not reached, and so is not there.
func ParseMounts(data []byte) (map[string]MountPoint, error) {
	infos, err := mountinfo.GetMountsFromReader(bytes.NewReader(data), nil)
	if err != nil {
		return nil, err
	}
	t := mountTree{ids: map[int]bool{}, on: map[place]*mountinfo.Info{}, tops: map[place]*mountinfo.Info{}}
	for _, m := range infos {
		t.ids[m.ID] = true
		t.on[place{m.Parent, m.Mountpoint}] = m
	}
	for _, m := range infos {
		if m.Mountpoint == "/" && !t.ids[m.Parent] {
			t.root = m
		}
	}
	points := map[string]MountPoint{}
	for _, m := range infos {
		if _, done := points[m.Mountpoint]; done {
			continue
		}
		if top := t.top(m.Mountpoint); top != nil && top.Mountpoint == m.Mountpoint {
			points[m.Mountpoint] = MountPoint{ReadOnly: hasOption(top.Options, "ro") || hasOption(top.VFSOptions, "ro"), Root: top.Root}
		}
	}
	return points, nil
}

// mountTree is a mount table in which one can look up a path as the kernel does.
type mountTree struct {
	ids  map[int]bool
	on   map[place]*mountinfo.Info
	tops map[place]*mountinfo.Info // what over has found: an app may mount a lot
	root *mountinfo.Info
}

// place is a path that is in a mount.
type place struct {
	mount int
	path  string
}

// top is the mount that a path leads to, if no link is on the way.
func (t *mountTree) top(path string) *mountinfo.Info {
	if t.root == nil {
		return nil
	}
	at := t.over(t.root, "/")
	for i := 1; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			at = t.over(at, path[:i])
		}
	}
	return at
}

// over is what was mounted last on a path of a mount.
func (t *mountTree) over(m *mountinfo.Info, path string) *mountinfo.Info {
	from := place{m.ID, path}
	if top, ok := t.tops[from]; ok {
		return top
	}
	for range len(t.ids) { // no table makes it go round for ever
		next := t.on[place{m.ID, path}]
		if next == nil || next == m {
			break
		}
		m = next
	}
	t.tops[from] = m
	return m
}

func hasOption(list, want string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == want {
			return true
		}
	}
	return false
}

func (p *Process) info(shift uint32) *ProcessInfo {
	mode := map[int]string{seccompOff: "off", seccompStrict: "strict", seccompFilter: "filter"}[p.Seccomp]
	return &ProcessInfo{
		PID: p.PID, UID: p.UID - int(shift), GID: p.GID - int(shift),
		Bounding: names(p.Bounding), Effective: names(p.Effective),
		NoNewPrivileges: p.NoNewPrivs, Seccomp: mode, OOMScoreAdj: p.OOMScoreAdj, Cgroups: list(p.Cgroups),
	}
}

// names lists a set, never nil.
func names(s caps.Set) []string { return list(s.Names()) }

// list is never nil.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}
