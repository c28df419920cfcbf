// SPDX-License-Identifier: Apache-2.0

// Package profile keeps what an app was started with in the pod directory, so
// that enter holds its command to the same without asking the image again, and
// stop recognises the process.
//
// The file is JSON, written once, before the PID file, and only root can read
// it. Marshal writes it by hand: the tables that encoding/json builds for the
// types cost more than all mounts of a start together.
package profile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/caps"
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
	Rlimits     []Rlimit        `json:"rlimits"` // index is the number of the resource
}

// Rlimit is one resource limit.
type Rlimit struct {
	Cur uint64 `json:"cur"`
	Max uint64 `json:"max"`
}

// Read reads the profile of the pod directory, the working directory.
func Read() (*Profile, error) {
	data, err := os.ReadFile(poddir.AppProfile)
	if err != nil {
		return nil, err
	}
	var p Profile
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("read %s: %w", poddir.AppProfile, err)
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
