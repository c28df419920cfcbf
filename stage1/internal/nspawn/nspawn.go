// SPDX-License-Identifier: Apache-2.0

// Package nspawn puts together how systemd-nspawn is called for a pod. It is
// pure: what it answers depends on its arguments alone.
//
// Every setting that newer versions changed or that files of the host could
// override is given explicitly. The system call filter is loaded by the caller
// before it executes systemd-nspawn (package seccomp, Supervisor), which would
// otherwise compile its own, at a third of a pod's start-up time: so
// SYSTEMD_SECCOMP=0 is never passed without that.
//
// Source: systemd-nspawn(1), systemd's ENVIRONMENT document, spec
// stage1-flavors.md A.3 and E.1.
package nspawn

import (
	"strings"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/stage1/internal/units"
)

// Call is one start of systemd-nspawn.
type Call struct {
	// Loader is the dynamic linker that runs Program with the libraries in
	// LibraryPath; empty: Program runs by itself.
	Loader      string
	LibraryPath string
	Program     string

	UUID         poddir.UUID
	Root         string // directory of stage1's tree
	Hostname     string
	PrivateUsers string // SHIFT:COUNT, empty: none
	Caps         caps.Set
	AllCaps      bool
	Register     bool // with machined
	LinkJournal  bool // the host has a journal to show the pod's in
	ShareIPC     bool
	WritableAPI  bool // insecure option "paths"
	Unified      bool // the pod tracks processes on cgroup v2
	Label        string
	MountLabel   string
	Notify       string // address of a notification socket
	Debug        bool
}

// maxHostname is the longest host name Linux knows.
const maxHostname = 64

// Name is what the pod is called: machine name and default host name.
func Name(id poddir.UUID) string { return "rkt-" + id.String() }

// Argv returns the argument list.
func (c Call) Argv() []string {
	var argv []string
	add := func(words ...string) { argv = append(argv, words...) }
	when := func(on bool, words ...string) {
		if on {
			add(words...)
		}
	}
	if c.Loader != "" {
		add(c.Loader, "--inhibit-cache", "--library-path", c.LibraryPath, "--argv0", "systemd-nspawn")
	}
	add(c.Program, "--boot", "--notify-ready=yes", "--settings=no", "--resolv-conf=off", "--timezone=off")
	when(c.Label != "", "-Z"+c.Label)
	when(c.MountLabel != "", "-L"+c.MountLabel)
	// One place for units instead of eleven: systemd goes through all of them for
	// each unit, and for the drop-ins of each mount, a third of its system calls.
	add("--setenv=SYSTEMD_UNIT_PATH=/" + units.Dir)
	add("--register="+yesNo(c.Register), "--keep-unit")
	add("--link-journal=" + map[bool]string{true: "try-guest", false: "no"}[c.LinkJournal])
	if c.Debug {
		add("--console=read-only")
	} else {
		add("--console=passive", "--quiet")
	}
	when(c.PrivateUsers != "", "--private-users="+c.PrivateUsers, "--private-users-ownership=off")
	add("--uuid="+c.UUID.String(), "--machine="+Name(c.UUID))
	// One that systemd-nspawn refuses is set later, before the first app.
	when(isHostname(c.Hostname), "--hostname="+c.Hostname)
	add("--directory=" + c.Root)
	switch names := c.Caps.Names(); {
	case c.AllCaps:
		add("--capability=all")
	case len(names) > 0:
		add("--capability=" + strings.Join(names, ","))
	}
	add("--", "--default-standard-output=null")
	if c.Debug {
		add("--log-target=console", "--show-status=0")
	} else {
		add("--log-target=null", "--show-status=0")
	}
	return argv
}

// isHostname tells whether a host name is one for systemd, which is stricter
// than the kernel (hostname(7), "hostname_is_valid" of systemd): words of
// letters, digits and inner dashes, with single dots between them.
func isHostname(name string) bool {
	if len(name) > maxHostname {
		return false
	}
	for word := range strings.SplitSeq(name, ".") {
		if word == "" || word[0] == '-' || word[len(word)-1] == '-' || strings.ContainsFunc(word, isOdd) {
			return false
		}
	}
	return true
}

// isOdd tells whether a character has no place in a host name.
func isOdd(c rune) bool {
	switch {
	case '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-':
		return false
	}
	return true
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// Env returns the environment: only what this call means, nothing of the
// caller's but its search path.
func (c Call) Env(path string) []string {
	env := []string{
		"PATH=" + path,
		"SYSTEMD_SECCOMP=0",
		"SYSTEMD_NSPAWN_CONTAINER_SERVICE=rkt",
		"SYSTEMD_NSPAWN_TMPFS_TMP=0",
		"SYSTEMD_NSPAWN_LOCK=0",
		"NOTIFY_SOCKET=" + c.Notify,
	}
	if !c.Debug {
		env = append(env, "SYSTEMD_LOG_LEVEL=err")
	}
	if c.Unified {
		env = append(env, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1")
	}
	if c.ShareIPC {
		env = append(env, "SYSTEMD_NSPAWN_SHARE_NS_IPC=1")
	}
	if c.WritableAPI {
		env = append(env, "SYSTEMD_NSPAWN_API_VFS_WRITABLE=1")
	}
	return env
}

// Default are the capabilities that systemd-nspawn leaves to a pod whatever it
// is told (systemd-nspawn(1), --capability=).
const Default = caps.Set(1<<0 | 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<13 | 1<<15 |
	1<<18 | 1<<19 | 1<<21 | 1<<22 | 1<<23 | 1<<24 | 1<<26 | 1<<27 | 1<<28 | 1<<29 | 1<<30 | 1<<31)
