// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/isolator"
)

// perApp is the value of a flag that sets something of the last image.
type perApp struct {
	parser *Parser
	name   string
	kind   string // what help shows the value as
	set    func(app *App, value string) error
}

func (f *perApp) Set(value string) error {
	app := f.parser.last()
	if app == nil {
		return fmt.Errorf("--%s must follow an image", f.name)
	}
	return f.set(app, value)
}

func (f *perApp) String() string { return "" }
func (f *perApp) Type() string   { return f.kind }

// BindSignature adds --signature alone.
func (p *Parser) BindSignature(flags *pflag.FlagSet) {
	p.bind(flags, "signature", "local signature file to use in validating the preceding image", setSignature)
}

// Bind adds all per-app flags.
func (p *Parser) Bind(flags *pflag.FlagSet) {
	p.BindSignature(flags)
	p.bindApp(flags)
}

// bindApp adds what says how the app is run.
func (p *Parser) bindApp(flags *pflag.FlagSet) {
	p.bindIdentity(flags)
	p.bindMetadata(flags)
	p.bindIsolators(flags)
	flags.Var(mountFlag{p}, "mount",
		"mount point binding a volume to a path within an app, syntax: volume=NAME,target=PATH; before the first image it counts for all apps")
}

func (p *Parser) bind(flags *pflag.FlagSet, name, usage string, set func(*App, string) error) {
	flags.Var(&perApp{p, name, "string", set}, name, usage)
}

func (p *Parser) bindIdentity(flags *pflag.FlagSet) {
	p.bind(flags, "name", "set the name of the app (example: '--name=foo'). If not set, then the app name default to the image's name", setName)
	p.bind(flags, "exec", "override the exec command for the preceding image", setExec)
	p.bind(flags, "user", "user override for the preceding image (example: '--user=user')", func(a *App, s string) error {
		a.User = s
		return nil
	})
	p.bind(flags, "group", "group override for the preceding image (example: '--group=group')", func(a *App, s string) error {
		a.Group = s
		return nil
	})
	p.bind(flags, "supplementary-gids", "supplementary group IDs override for the preceding image (example: '--supplementary-gids=1024,2048')", addGIDs)
	p.bind(flags, "working-dir", "override the working directory of the preceding image", setWorkingDir)
	p.bind(flags, "readonly-rootfs", "if set to true, the app's rootfs will be mounted read-only", setReadOnly)
	p.bind(flags, "environment", "set the app's environment variables (example: '--environment=foo=bar')", addEnvironment)
	p.bind(flags, "stdin", "stdin mode for the preceding application: null, tty or stream", func(a *App, s string) error {
		return setStream(&a.Stdin, "stdin", s, []string{"null", "tty", "stream"})
	})
	for name, field := range map[string]func(*App) *string{
		"stdout": func(a *App) *string { return &a.Stdout },
		"stderr": func(a *App) *string { return &a.Stderr },
	} {
		p.bind(flags, name, name+" mode for the preceding application: log, null, tty or stream", func(a *App, s string) error {
			return setStream(field(a), name, s, []string{"log", "null", "tty", "stream"})
		})
	}
}

func (p *Parser) bindMetadata(flags *pflag.FlagSet) {
	p.bind(flags, "annotation", "set the app's annotations (example: '--annotation=foo=bar')", addAnnotation)
	p.bind(flags, "user-annotation", "set the app's user annotations (example: '--user-annotation=foo=bar')", func(a *App, s string) error {
		return addPair(&a.UserAnnotations, "user-annotation", s)
	})
	p.bind(flags, "user-label", "set the app's user labels (example: '--user-label=foo=bar')", func(a *App, s string) error {
		return addPair(&a.UserLabels, "user-label", s)
	})
}

func (p *Parser) bindIsolators(flags *pflag.FlagSet) {
	p.bind(flags, "memory", "memory limit for the preceding image (example: '--memory=16Mi', '--memory=50M', '--memory=1G')", fromText(isolator.MemoryFlag))
	p.bind(flags, "cpu", "cpu limit for the preceding image (example: '--cpu=500m')", fromText(isolator.CPUFlag))
	p.bind(flags, "pids-limit", "how many processes and threads the preceding image may have (example: '--pids-limit=100')", fromNumber(isolator.PidsFlag))
	p.bind(flags, "io-weight", "share of the disks' time for the preceding image, 1 to 10000, where 100 is what an app without the flag has (example: '--io-weight=500')", fromNumber(isolator.IOWeightFlag))
	p.bind(flags, "ulimit", "resource limit of each process of the preceding image, syntax: NAME=SOFT[:HARD], may be repeated (example: '--ulimit=nofile=1024:4096')", fromText(isolator.RlimitFlag))
	p.bind(flags, "cpu-shares", "cpu-shares assigns the specified CPU time share weight (example: '--cpu-shares=2048')", fromNumber(isolator.CPUSharesFlag))
	p.bind(flags, "oom-score-adj", "oom-score-adj isolator override for the preceding image", fromNumber(isolator.OOMScoreAdjFlag))
	retain, remove := fromList(isolator.CapsRetainFlag), fromList(isolator.CapsRemoveFlag)
	p.bind(flags, "caps-retain", "capability to retain (example: '--caps-retain=CAP_SYS_ADMIN')", retain)
	p.bind(flags, "caps-remove", "capability to remove (example: '--caps-remove=CAP_MKNOD')", remove)
	p.bind(flags, "cap-retain", "old spelling of --caps-retain", retain)
	p.bind(flags, "cap-remove", "old spelling of --caps-remove", remove)
	flags.Lookup("cap-retain").Deprecated = "use --caps-retain instead"
	flags.Lookup("cap-remove").Deprecated = "use --caps-remove instead"
	p.bind(flags, "seccomp", "seccomp filter override (example: '--seccomp mode=retain,errno=EPERM,chmod,chown')", fromText(isolator.SeccompFlag))
}

func setSignature(a *App, s string) error {
	if a.hasSignature {
		return errors.New("--signature specified multiple times for the same image")
	}
	a.Signature, a.hasSignature = s, true
	return nil
}

func setName(a *App, s string) error {
	name, err := appc.NewName(s)
	if err != nil {
		return err
	}
	a.Name = string(name)
	return nil
}

func setExec(a *App, s string) error {
	if a.hasExec {
		return errors.New("--exec specified multiple times for the same image")
	}
	a.Exec, a.hasExec = s, true
	return nil
}

func addGIDs(a *App, s string) error {
	var gids []int
	for word := range strings.SplitSeq(s, ",") {
		// The highest number is the kernel's "no group".
		gid, err := strconv.ParseUint(word, 10, 32)
		if err != nil || gid == 1<<32-1 {
			return errors.New("--supplementary-gids must be integers")
		}
		gids = append(gids, int(gid))
	}
	a.SupplementaryGIDs = append(a.SupplementaryGIDs, gids...)
	return nil
}

func setWorkingDir(a *App, s string) error {
	if !filepath.IsAbs(s) {
		return errors.New("--working-dir must be an absolute path")
	}
	a.WorkingDir = s
	return nil
}

func setReadOnly(a *App, s string) error {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return errors.New("--readonly-rootfs must be set with a boolean")
	}
	a.ReadOnlyRootFS = &v
	return nil
}

func setStream(dst *string, name, mode string, modes []string) error {
	if !slices.Contains(modes, mode) {
		return fmt.Errorf("invalid %s mode %q", name, mode)
	}
	*dst = mode
	return nil
}

func addEnvironment(a *App, s string) error {
	name, value, ok := strings.Cut(s, "=")
	if !ok || !appc.ValidEnvironmentName(name) {
		return fmt.Errorf("invalid format of --environment flag %q", s)
	}
	a.Environment.Set(name, value)
	return nil
}

// addAnnotation keeps the first value of a name.
func addAnnotation(a *App, s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("invalid format of --annotation flag %q", s)
	}
	name, err := appc.NewIdentifier(key)
	if err != nil {
		return fmt.Errorf("invalid format of --annotation flag %q: %w", s, err)
	}
	if _, set := a.Annotations.Get(key); !set {
		a.Annotations.Set(name, value)
	}
	return nil
}

func addPair(pairs *map[string]string, flag, s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return fmt.Errorf("invalid format of --%s flag %q", flag, s)
	}
	if *pairs == nil {
		*pairs = map[string]string{}
	}
	(*pairs)[key] = value
	return nil
}

func fromText(parse func(string) (appc.Isolator, error)) func(*App, string) error {
	return func(a *App, s string) error {
		i, err := parse(s)
		if err != nil {
			return err
		}
		return a.setIsolator(i)
	}
}

func fromNumber(parse func(int) (appc.Isolator, error)) func(*App, string) error {
	return fromText(func(s string) (appc.Isolator, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return appc.Isolator{}, fmt.Errorf("%q is not an integer", s)
		}
		return parse(n)
	})
}

func fromList(parse func([]string) (appc.Isolator, error)) func(*App, string) error {
	return fromText(func(s string) (appc.Isolator, error) { return parse(strings.Split(s, ",")) })
}

// setIsolator puts i in place of the one an earlier flag of its kind gave. There
// are many kinds of resource limits in isolators of one name, so these add up.
func (a *App) setIsolator(i appc.Isolator) error {
	if i.Name == isolator.Rlimits {
		a.Isolators = append(a.Isolators, i)
		return nil
	}
	for _, other := range a.Isolators {
		if isCaps(i) && isCaps(other) && other.Name != i.Name {
			return errors.New("error: cannot use both --caps-retain and --caps-remove on the same image")
		}
	}
	family := func(other appc.Isolator) bool {
		return other.Name == i.Name || isSeccomp(i) && isSeccomp(other)
	}
	a.Isolators = append(slices.DeleteFunc(a.Isolators, family), i)
	return nil
}

func isCaps(i appc.Isolator) bool {
	return i.Name == isolator.CapsRetain || i.Name == isolator.CapsRemove
}

func isSeccomp(i appc.Isolator) bool {
	return i.Name == isolator.SeccompRetain || i.Name == isolator.SeccompRemove
}
