// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"fmt"
	"strconv"
	"strings"
)

// Environment variables that stage0 sets for the run entrypoint.
const (
	EnvLockFD              = "RKT_LOCK_FD"
	EnvSELinuxContext      = "RKT_SELINUX_CONTEXT"
	EnvSELinuxMountContext = "RKT_SELINUX_MOUNT_CONTEXT"
)

// Environment variables that stage0 sets for crossing entrypoints.
const (
	EnvEnterCmd = "RKT_STAGE1_ENTERCMD"
	EnvEnterPID = "RKT_STAGE1_ENTERPID"
	EnvEnterApp = "RKT_STAGE1_ENTERAPP"
)

// DefaultPath is the PATH of a crossing entrypoint whose caller has none.
const DefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// RunVars is what the environment of the run entrypoint carries.
type RunVars struct {
	LockFD              int    // descriptor that holds the pod lock
	SELinuxContext      string // process label, may be empty
	SELinuxMountContext string // mount label, may be empty
}

// Environ returns the complete environment of the run entrypoint: the
// caller's, with the variables of the contract set or overwritten.
func (v RunVars) Environ(caller []string) []string {
	out := make([]string, 0, len(caller)+3)
	for _, kv := range caller {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case EnvLockFD, EnvSELinuxContext, EnvSELinuxMountContext:
		default:
			out = append(out, kv)
		}
	}
	return append(out,
		EnvLockFD+"="+strconv.Itoa(v.LockFD),
		EnvSELinuxContext+"="+v.SELinuxContext,
		EnvSELinuxMountContext+"="+v.SELinuxMountContext)
}

// ParseRunVars reads back what Environ set; getenv is os.Getenv.
func ParseRunVars(getenv func(string) string) (RunVars, error) {
	s := getenv(EnvLockFD)
	fd, err := strconv.Atoi(s)
	if err != nil || fd < 0 {
		return RunVars{}, fmt.Errorf("%s=%q does not name a descriptor", EnvLockFD, s)
	}
	return RunVars{
		LockFD:              fd,
		SELinuxContext:      getenv(EnvSELinuxContext),
		SELinuxMountContext: getenv(EnvSELinuxMountContext),
	}, nil
}

// CrossingVars is what the environment of a crossing entrypoint carries.
type CrossingVars struct {
	EnterCmd string // path of the enter entrypoint
	EnterPID int    // process that enter is pointed at
	EnterApp string // optional
	Path     string // PATH of the caller; empty means DefaultPath
}

// Environ returns the complete environment of a crossing entrypoint. Nothing
// of the caller's but PATH is in it.
func (v CrossingVars) Environ() []string {
	out := []string{
		EnvEnterCmd + "=" + v.EnterCmd,
		EnvEnterPID + "=" + strconv.Itoa(v.EnterPID),
	}
	if v.EnterApp != "" {
		out = append(out, EnvEnterApp+"="+v.EnterApp)
	}
	p := v.Path
	if p == "" {
		p = DefaultPath
	}
	return append(out, "PATH="+p)
}

// ParseCrossingVars reads back what CrossingVars.Environ set; getenv is os.Getenv.
func ParseCrossingVars(getenv func(string) string) (CrossingVars, error) {
	s := getenv(EnvEnterPID)
	pid, err := strconv.Atoi(s)
	if err != nil || pid <= 0 {
		return CrossingVars{}, fmt.Errorf("%s=%q is not a process ID", EnvEnterPID, s)
	}
	cmd := getenv(EnvEnterCmd)
	if cmd == "" {
		return CrossingVars{}, fmt.Errorf("%s is not set", EnvEnterCmd)
	}
	return CrossingVars{EnterCmd: cmd, EnterPID: pid, EnterApp: getenv(EnvEnterApp), Path: getenv("PATH")}, nil
}
