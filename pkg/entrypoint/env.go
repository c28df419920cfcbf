// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Environment variables that stage0 sets for the run entrypoint.
const (
	EnvLockFD              = "RKT_LOCK_FD"
	EnvSELinuxContext      = "RKT_SELINUX_CONTEXT"
	EnvSELinuxMountContext = "RKT_SELINUX_MOUNT_CONTEXT"
	EnvConfigDirs          = "RKT_STAGE1_CONFIG_DIRS"
	EnvTree                = "RKT_STAGE1_TREE"
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
	// ConfigDirs are the configuration directories, in rising order of what
	// counts; a stage1 that does not know them goes by Run.LocalConfig.
	ConfigDirs []string
	// Tree is a directory that has stage1 as it is in its image and that the pod
	// never reaches: what root of the host is to execute after the pod has run
	// has to come from there. Empty if there is none.
	Tree string
}

// Environ returns the complete environment of the run entrypoint: the
// caller's, with the variables of the contract set or overwritten.
func (v RunVars) Environ(caller []string) []string {
	out := make([]string, 0, len(caller)+4)
	for _, kv := range caller {
		name, _, _ := strings.Cut(kv, "=")
		switch name {
		case EnvLockFD, EnvSELinuxContext, EnvSELinuxMountContext, EnvConfigDirs, EnvTree:
		default:
			out = append(out, kv)
		}
	}
	if len(v.ConfigDirs) > 0 {
		list, err := json.Marshal(v.ConfigDirs)
		if err == nil {
			out = append(out, EnvConfigDirs+"="+string(list))
		}
	}
	if v.Tree != "" {
		out = append(out, EnvTree+"="+v.Tree)
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
	var dirs []string
	if list := getenv(EnvConfigDirs); list != "" {
		if err := json.Unmarshal([]byte(list), &dirs); err != nil {
			return RunVars{}, fmt.Errorf("%s=%q is no list of directories", EnvConfigDirs, list)
		}
	}
	return RunVars{
		ConfigDirs:          dirs,
		Tree:                getenv(EnvTree),
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
