// SPDX-License-Identifier: Apache-2.0

// Package profile keeps what an app is started with in the pod directory, so
// that enter holds its command to the same without asking the image again, and
// stop recognises the process.
//
// The file is JSON, written once, before the PID file, and only root can read
// it. The fly flavor has one for its only app. The nspawn flavors have one for
// each app, in the pod directory for enter, and a copy inside the pod for the
// program that starts the app: what is read by a program with the powers of the
// host is never in reach of the pod.
// Marshal writes it by hand: the tables that encoding/json builds for the
// types cost more than all mounts of a start together.
package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// ErrOtherProcess says that a process ID belongs to another process by now.
var ErrOtherProcess = errors.New("the process ID has been given to another process")

// Profile is what one app was started with.
type Profile struct {
	App       string `json:"app"`
	PID       int    `json:"pid"`
	StartTime uint64 `json:"startTime"` // clock ticks since boot

	UID    int   `json:"uid"`
	GID    int   `json:"gid"`
	Groups []int `json:"groups"` // supplementary

	Environment []string        `json:"environment"` // NAME=VALUE
	Bounding    *caps.Set       `json:"bounding,omitempty"`
	Seccomp     *seccomp.Policy `json:"seccomp,omitempty"`
	NoNewPrivs  bool            `json:"noNewPrivs,omitempty"`
	OOMScoreAdj *int64          `json:"oomScoreAdj,omitempty"`
	Cgroups     []string        `json:"cgroups,omitempty"` // directories to join
	PrivateIPC  bool            `json:"privateIPC,omitempty"`
	PrivateNet  bool            `json:"privateNet,omitempty"`
	Rlimits     []Rlimit        `json:"rlimits"`         // index is the number of the resource
	Label       string          `json:"label,omitempty"` // SELinux label of the process

	// Start is how to start the app inside a pod; fly, where rkt itself becomes
	// the app, has none.
	Start *Start `json:"start,omitempty"`
}

// Start is what the program needs that starts an app inside a pod.
type Start struct {
	Exec      []string   `json:"exec"` // program, resolved, then its arguments
	WorkDir   string     `json:"workDir"`
	PreStart  [][]string `json:"preStart,omitempty"`
	PostStop  [][]string `json:"postStop,omitempty"`
	ReadOnly  bool       `json:"readOnly,omitempty"` // root file system
	HostPaths bool       `json:"hostPaths,omitempty"`
	// KeepSys says that a volume lies at or below /sys, so none is mounted there.
	KeepSys bool `json:"keepSys,omitempty"`
	// WholeSys says that what is mounted below /sys of the pod belongs to it.
	WholeSys      bool     `json:"wholeSys,omitempty"`
	ReadOnlyPaths []string `json:"readOnlyPaths,omitempty"`
	HiddenPaths   []string `json:"hiddenPaths,omitempty"`
	TTY           bool     `json:"tty,omitempty"`
	Interactive   bool     `json:"interactive,omitempty"`
	Streams       []string `json:"streams"` // of descriptors 0, 1, 2: null, log, tty, stream
	PodCaps       caps.Set `json:"podCaps"` // what the supervisor of the pod keeps
	PodCalls      []string `json:"podCalls,omitempty"`
	UserShift     uint32   `json:"userShift,omitempty"`
	// Devices are those that the app may use beyond what every app may.
	Devices []devfilter.Rule `json:"devices,omitempty"`
	// Limits are those of the app's cgroup, where the pod's systemd makes it with
	// every controller (v2).
	Limits cgroup.Limits `json:"limits,omitzero"`
}

// Process is the running process of an app, for programs on the host.
type Process struct {
	PID       int      `json:"pid"`
	StartTime uint64   `json:"startTime"`
	Cgroups   []string `json:"cgroups"` // directories that it is in
}

// Marshal returns the content of the file.
func (p Process) Marshal() []byte {
	o := Object{}
	o.Int("pid", int64(p.PID))
	o.Raw("startTime", strconv.FormatUint(p.StartTime, 10))
	o.Raw("cgroups", list(p.Cgroups, appendString))
	return append(o.Bytes(), '\n')
}

// ReadProcess reads the file of a Process and checks that it is still running,
// else the error is ErrOtherProcess or fs.ErrNotExist.
func ReadProcess(name string) (Process, error) {
	var p Process
	data, err := os.ReadFile(name)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("read %s: %w", name, err)
	}
	t, err := StartTime(p.PID)
	if errors.Is(err, fs.ErrNotExist) || err == nil && t != p.StartTime {
		return p, fmt.Errorf("process %d: %w", p.PID, ErrOtherProcess)
	}
	return p, err
}

// Rlimit is one resource limit.
type Rlimit struct {
	Cur uint64 `json:"cur"`
	Max uint64 `json:"max"`
}

// Read reads the profile of the pod directory, the working directory.
func Read() (*Profile, error) { return ReadFile(poddir.AppProfile) }

// ReadFile reads a profile.
func ReadFile(name string) (*Profile, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	p, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return p, nil
}

// MaxSize is the size of the largest profile: a manifest has 1 MiB at most.
const MaxSize = 8 << 20

// Parse reads what Marshal wrote.
func Parse(data []byte) (*Profile, error) {
	var p Profile
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, err
	}
	return &p, nil
}

// StartTime is the time a process started, in clock ticks since boot: with its
// ID it names a process for good (field 22 of /proc/PID/stat).
func StartTime(pid int) (uint64, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	t, err := parseStartTime(string(data))
	if err != nil {
		return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return t, nil
}

// parseStartTime skips the program name, which may hold blanks and parentheses.
func parseStartTime(stat string) (uint64, error) {
	const afterName = 22 - 3
	i := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[i+1:])
	if i < 0 || len(fields) <= afterName {
		return 0, errors.New("unexpected format")
	}
	return strconv.ParseUint(fields[afterName], 10, 64)
}

// Check returns ErrOtherProcess unless pid is still the process of the profile.
func (p *Profile) Check(pid int) error {
	t, err := StartTime(pid)
	if err != nil {
		return err
	}
	if pid != p.PID || t != p.StartTime {
		return fmt.Errorf("process %d: %w", pid, ErrOtherProcess)
	}
	return nil
}
