// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"fmt"
	"strings"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Values of the DNS modes and of the network list.
const (
	ModeDefault = "default"
	ModeHost    = "host"
	ModeStage0  = "stage0"
	ModeNone    = "none" // resolv.conf only
)

// Run is a call of the run entrypoint.
type Run struct {
	Path         string // the program, argv[0]
	Debug        bool
	Net          string // comma separated name[:args]; empty means ModeDefault
	Interactive  bool
	PrivateUsers string // SHIFT:COUNT
	MDSToken     string // 32 hex digits
	LocalConfig  string // directory
	Hostname     string
	ResolvMode   string // ModeDefault, ModeHost, ModeStage0 or ModeNone; empty means ModeDefault
	HostsMode    string // ModeDefault, ModeHost or ModeStage0; empty means ModeDefault

	DisableCapabilities bool
	DisablePaths        bool
	DisableSeccomp      bool

	Mutable bool   // the caller has asked CheckMutable first
	IPC     string // auto, private or parent
	UUID    poddir.UUID
}

// Argv returns the argument list for a stage1 image of the given interface
// version, and one warning line for each option that version cannot express.
func (r Run) Argv(version int) (argv, warnings []string) {
	argv = []string{r.Path}
	flag := func(set bool, s string) {
		if set {
			argv = append(argv, s)
		}
	}
	value := func(name, v string) { flag(v != "", "--"+name+"="+v) }

	flag(r.Debug, "--debug")
	value("net", orDefault(r.Net))
	flag(r.Interactive, "--interactive")
	value("private-users", r.PrivateUsers)
	value("mds-token", r.MDSToken)
	value("local-config", r.LocalConfig)
	if version >= versionHostname {
		value("hostname", r.Hostname)
	} else if r.Hostname != "" {
		warnings = append(warnings, "warning: --hostname option is not supported by stage1")
	}
	if dns := r.dnsMode(); version >= versionDNS {
		value("dns-conf-mode", dns)
	} else if dns != "" {
		warnings = append(warnings, "warning: --dns-conf-mode option not supported by stage1")
	}
	// Dropped without a word below this version: such an image is stricter
	// than asked for, never looser.
	if version >= versionInsecure {
		flag(r.DisableCapabilities, "--disable-capabilities-restriction")
		flag(r.DisablePaths, "--disable-paths")
		flag(r.DisableSeccomp, "--disable-seccomp")
	}
	flag(r.Mutable, "--mutable")
	if version >= versionIPC {
		value("ipc", r.IPC)
	} else if r.IPC != "" {
		warnings = append(warnings, "warning: --ipc option is not supported by stage1")
	}
	return append(argv, r.UUID.String()), warnings
}

// dnsMode is the value of --dns-conf-mode, empty if both modes are the default.
func (r Run) dnsMode() string {
	resolv, hosts := orDefault(r.ResolvMode), orDefault(r.HostsMode)
	if resolv == ModeDefault && hosts == ModeDefault {
		return ""
	}
	return "resolv=" + resolv + ",hosts=" + hosts
}

func orDefault(s string) string {
	if s == "" {
		return ModeDefault
	}
	return s
}

// ParseRun reads an argument list, program name included.
func ParseRun(argv []string) (Run, error) {
	fs, err := newFlags(argv)
	if err != nil {
		return Run{}, err
	}
	r := Run{Path: argv[0], ResolvMode: ModeDefault, HostsMode: ModeDefault}
	fs.BoolVar(&r.Debug, "debug", false, "")
	fs.StringVar(&r.Net, "net", ModeDefault, "")
	fs.BoolVar(&r.Interactive, "interactive", false, "")
	fs.StringVar(&r.PrivateUsers, "private-users", "", "")
	fs.StringVar(&r.MDSToken, "mds-token", "", "")
	fs.StringVar(&r.LocalConfig, "local-config", "", "")
	fs.StringVar(&r.Hostname, "hostname", "", "")
	fs.Func("dns-conf-mode", "", r.setDNSMode)
	fs.BoolVar(&r.DisableCapabilities, "disable-capabilities-restriction", false, "")
	fs.BoolVar(&r.DisablePaths, "disable-paths", false, "")
	fs.BoolVar(&r.DisableSeccomp, "disable-seccomp", false, "")
	fs.BoolVar(&r.Mutable, "mutable", false, "")
	fs.StringVar(&r.IPC, "ipc", "", "")
	if r.UUID, err = parseUUID(fs, argv); err != nil {
		return Run{}, err
	}
	r.Net = orDefault(r.Net)
	return r, nil
}

// setDNSMode parses resolv=R,hosts=H; either part may be missing.
func (r *Run) setDNSMode(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		name, mode, ok := strings.Cut(part, "=")
		if !ok {
			return fmt.Errorf("invalid DNS mode %q", part)
		}
		switch {
		case name == "resolv" && (isMode(mode) || mode == ModeNone):
			r.ResolvMode = mode
		case name == "hosts" && isMode(mode):
			r.HostsMode = mode
		default:
			return fmt.Errorf("invalid DNS mode %q", part)
		}
	}
	return nil
}

func isMode(s string) bool { return s == ModeDefault || s == ModeHost || s == ModeStage0 }
