// SPDX-License-Identifier: Apache-2.0

package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appenv"
	"github.com/rkt/rkt/v2/pkg/atomicfile"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/poddir"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/stage1/internal/units"
)

// machineID is the pod's UUID without dashes.
func (p *pod) machineID() string { return strings.ReplaceAll(p.call.UUID.String(), "-", "") }

// writeNames writes who the pod is and where names are looked up.
func (p *pod) writeNames() error {
	if err := p.write("etc/machine-id", []byte(p.machineID()+"\n"), 0o444); err != nil {
		return err
	}
	if err := p.write("etc/hostname", []byte(p.call.Hostname), 0o644); err != nil {
		return err
	}
	if err := p.copyTimeZone(); err != nil {
		return err
	}
	if err := p.resolvConf(); err != nil {
		return err
	}
	return p.hosts()
}

// copyTimeZone gives the pod's own programs the host's time zone; apps have
// that of their image. Whatever goes wrong is not worth a failed start.
func (p *pod) copyTimeZone() error {
	const maxSize = 1 << 20
	target, err := filepath.EvalSymlinks("/etc/localtime")
	if err != nil {
		return nil
	}
	st, err := os.Stat(target)
	if err != nil || !st.Mode().IsRegular() || st.Size() > maxSize {
		return nil
	}
	data, err := os.ReadFile(target)
	if err != nil {
		return nil
	}
	_ = p.s1.Remove("etc/localtime")
	return p.write("etc/localtime", data, 0o644)
}

func (p *pod) resolvConf() error {
	if p.call.ResolvMode != entrypoint.ModeHost {
		return nil // stage0 has written the file, or there is none
	}
	source, warning := ResolvSource(p.net.host, os.ReadFile)
	if warning != "" {
		say("%s", warning)
	}
	return p.bindFile(source, poddir.ResolvConf)
}

func (p *pod) hosts() error {
	switch p.call.HostsMode {
	case entrypoint.ModeHost:
		return p.bindFile("/etc/hosts", poddir.Hosts)
	case entrypoint.ModeStage0:
		return p.addSelf(poddir.Hosts)
	}
	return p.addSelf(poddir.HostsFallback)
}

// bindFile shows a file of the host read-only in stage1's tree.
func (p *pod) bindFile(source, target string) error {
	if err := p.write(target, nil, 0o644); err != nil {
		return err
	}
	fd, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return &os.PathError{Op: "show the pod", Path: source, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
	if err == nil {
		err = unix.MoveMount(fd, "", unix.AT_FDCWD, filepath.Join(poddir.Stage1Rootfs, target), unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return &os.PathError{Op: "show the pod", Path: source, Err: err}
	}
	return nil
}

// addSelf adds the pod's own name to the line of 127.0.0.1.
func (p *pod) addSelf(name string) error {
	data, err := p.s1.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		data = nil
	} else if err != nil {
		return err
	}
	return p.write(name, withHost(data, p.call.Hostname), 0o644)
}

func withHost(hosts []byte, hostname string) []byte {
	var out bytes.Buffer
	done := false
	for line := range bytes.Lines(hosts) {
		text := bytes.TrimRight(line, "\n")
		out.Write(text)
		if f := bytes.Fields(text); !done && len(f) > 0 && string(f[0]) == "127.0.0.1" {
			done = true
			out.WriteString(" " + hostname)
		}
		out.WriteByte('\n')
	}
	if !done {
		out.WriteString("127.0.0.1\t" + hostname + "\n")
	}
	return out.Bytes()
}

// writeUnits writes a unit for each app, and the target that wants them.
func (p *pod) writeUnits() error {
	for _, name := range p.order {
		if err := p.writeUnit(name); err != nil {
			return err
		}
	}
	return p.write(filepath.Join(units.Dir, units.Target), []byte(units.DefaultTarget(p.order)), 0o644)
}

func (p *pod) writeUnit(name string) error {
	a := p.apps[name].plan
	u := units.App{
		Name: name, Image: a.Image.Name.String(), Notify: a.Notify,
		PostStop: len(a.Handlers("post-stop")) > 0,
	}
	if p.cgroup != nil && p.cgroup.Whole() {
		u.Limits = a.Limits
	}
	var err error
	if u.Socket, err = p.writeSocket(name, &p.sockets); err != nil {
		return err
	}
	return p.write(filepath.Join(units.Dir, units.Service(name)), []byte(u.Unit()), 0o644)
}

// writeProfiles resolves what each app is held to and writes it into the pod.
func (p *pod) writeProfiles() error {
	for _, dir := range []string{poddir.LaunchDir, poddir.EnvDir, "rkt/iottymux"} {
		if err := p.s1.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make %s in stage1: %w", dir, err)
		}
	}
	for _, name := range p.order {
		a := p.apps[name]
		prof, err := p.resolve(a.plan, p.appRoot(name))
		if err != nil {
			return fmt.Errorf("cannot initialize immutable environment: app %q: %w", name, err)
		}
		a.prof = prof
		if err := p.write(poddir.AppProfileFile(name), prof.Marshal(), 0o600); err != nil {
			return err
		}
		if err := p.write(poddir.AppEnv(name), appenv.File(prof.Environment), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// writeHostProfiles writes the profiles for programs on the host.
func (p *pod) writeHostProfiles() error {
	if err := os.Mkdir(poddir.AppsHost, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, name := range p.order {
		if err := p.apps[name].writeHost(name); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) writeHost(name string) error {
	host, start := *a.prof, *a.prof.Start
	host.Start, host.Cgroups, start.Limits = &start, a.v1, a.limits
	return atomicfile.WriteNoSync(poddir.AppHost(name), host.Marshal(), 0o600)
}

// writeConfig writes runtime-config (spec stage1.md 5) and the flavor link.
func (p *pod) writeConfig() error {
	var insecure, o profile.Object
	insecure.Bool("DisablePaths", p.call.DisablePaths)
	insecure.Bool("DisableCapabilities", p.call.DisableCapabilities)
	insecure.Bool("DisableSeccomp", p.call.DisableSeccomp)
	o.String("MetadataServiceURL", p.metadataURL)
	o.String("PrivateUsers", p.call.PrivateUsers)
	o.String("MDSToken", p.call.MDSToken)
	o.String("Hostname", p.call.Hostname)
	o.Bool("Debug", p.call.Debug)
	o.Bool("Mutable", p.call.Mutable)
	o.String("ResolvConfMode", p.call.ResolvMode)
	o.String("EtcHostsMode", p.call.HostsMode)
	o.Raw("NetList", "{}")
	o.Bool("Interactive", p.call.Interactive)
	o.Raw("InsecureOptions", string(insecure.Bytes()))
	o.String("IPCMode", p.call.IPC)
	if err := atomicfile.WriteNoSync(poddir.RuntimeConfig, o.Bytes(), 0o644); err != nil {
		return err
	}
	err := os.Symlink(p.flavor, poddir.Flavor)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
