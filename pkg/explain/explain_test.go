// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/appuser"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/podplan"
	"github.com/rkt/rkt/v2/pkg/profile"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func iso(name, value string) appc.Isolator {
	return appc.Isolator{Name: appc.Identifier(name), Value: json.RawMessage(value)}
}

func stage1(name string) Stage1Input {
	mark := appc.Identifier(entrypoint.AnnotationLogs)
	if name == "fly" {
		mark = entrypoint.AnnotationGCNeeds
	}
	return Stage1Input{
		Manifest: &appc.ImageManifest{
			Name: appc.Identifier(imagePrefix + name), Labels: appc.Labels{{Name: "version", Value: "2.0.0"}},
			Annotations: appc.Annotations{{Name: entrypoint.AnnotationInterfaceVersion, Value: "6"}, {Name: mark, Value: "x"}},
		},
		ID: "sha512-5555", From: "the image in this rkt", Verification: Verification{VerifiedBuiltIn, "the image is part of this rkt"},
	}
}

// input is a pod of one app, change of it, that asks for nothing.
func input(flavor string, change func(*Input, *appc.App)) Input {
	section := &appc.App{Exec: []string{"/web"}, User: "0", Group: "0"}
	own := *section
	all := caps.All
	in := Input{
		Subject: OfFlags, State: StatePlanned,
		Manifest: &appc.PodManifest{Apps: []appc.RuntimeApp{{Name: "web", App: section, Image: appc.RuntimeImage{ID: "sha512-1234"}}}},
		Images: map[appc.Name]*appc.ImageManifest{"web": {
			Name: "example.com/web", Labels: appc.Labels{{Name: "version", Value: "1"}}, App: &own,
		}},
		Apps: map[appc.Name]AppInput{"web": {
			Verification: Verification{VerifiedUnknown, "nobody knows"},
			Found:        &Found{Program: "/web"},
		}},
		Overlay: true,
		Stage1:  stage1(flavor),
		Host: HostInput{
			Cgroups: "unified", Controllers: map[string]int{"memory": 2, "cpu": 2, "pids": 2, "io": 0},
			Rlimits: make([]profile.Rlimit, len(rlimitNames)), Bounding: &all,
		},
		Call: entrypoint.Run{Net: "none"}, Started: true, NetKnown: true, Fetch: []string{},
	}
	for i := range in.Host.Rlimits {
		in.Host.Rlimits[i] = profile.Rlimit{Cur: ^uint64(0), Max: ^uint64(0)}
	}
	if change != nil {
		change(&in, section)
	}
	return in
}

// rich is an app with something of everything.
func rich(in *Input, app *appc.App) {
	yes := true
	image := in.Images["web"]
	image.Annotations = appc.Annotations{{Name: "appc.io/docker/repository", Value: "web"}}
	image.App.MountPoints = []appc.MountPoint{{Name: "cache", Path: "/cache"}}
	image.App.Isolators = appc.Isolators{
		iso("resource/memory", `{"limit":"64Mi","request":"16Mi"}`), iso("os/linux/no-new-privileges", "true"),
		iso("resource/block-iops", `{"default":true,"limit":"10"}`),
	}
	app.MountPoints = image.App.MountPoints
	app.Exec = []string{"web", "two words", "--x=\x1b[31m"}
	app.User, app.Group, app.SupplementaryGIDs, app.WorkingDirectory = "www", "www", []int{5}, "/srv"
	app.EventHandlers = []appc.EventHandler{{Name: "pre-start", Exec: []string{"/init"}}, {Name: "post-stop", Exec: []string{"/fini"}}}
	app.Isolators = append(slices.Clone(image.App.Isolators),
		iso("resource/cpu", `{"limit":"500m"}`), iso("os/linux/cpu-shares", "512"), iso("resource/pids", `{"limit":"100"}`),
		iso("os/linux/io-weight", "50"), iso("os/linux/oom-score-adj", "100"), iso("os/unix/rlimits", `{"nofile":{"soft":10,"hard":20}}`),
		iso("os/linux/capabilities-retain-set", `{"set":["CAP_NET_ADMIN","CAP_CHOWN"]}`),
		iso("os/linux/seccomp-retain-set", `{"set":["@rkt/default-whitelist","mount"],"errno":"EACCES"}`),
	)
	ra := &in.Manifest.Apps[0]
	ra.ReadOnlyRootFS = true
	ra.Mounts = []appc.Mount{{Volume: "data", Path: "/data"}, {Volume: "tmp", Path: "/scratch"}}
	ra.Annotations.Set(entrypoint.AnnotationStdout, "stream")
	in.Manifest.Volumes = []appc.Volume{
		{Name: "data", Kind: appc.HostVolume, Source: "/srv/data", ReadOnly: &yes}, {Name: "tmp", Kind: appc.EmptyVolume},
	}
	in.Manifest.Isolators = appc.Isolators{iso("resource/memory", `{"limit":"1Gi"}`), iso("os/unix/sysctl", `{"net.ipv4.ip_forward":"1"}`)}
	in.Manifest.Ports = []appc.ExposedPort{{Name: "http", HostPort: 80}}
	in.Call.Hostname, in.Call.ResolvMode = "host.example", entrypoint.ModeStage0
	in.Apps["web"] = AppInput{
		Verification: in.Apps["web"].Verification,
		Found:        &Found{IDs: appuser.IDs{UID: 33, GID: 33}, Program: "/usr/bin/web", HasHosts: true},
	}
}

func report(t *testing.T, in Input) *Report {
	t.Helper()
	r, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func textOf(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.Text(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// counts differ with the architecture and with every new system call.
var counts = regexp.MustCompile(`on, [0-9]+ calls`)

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("system calls are those of another architecture")
	}
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s, rewrite with -update (-want +got):\n%s", file, diff)
	}
}

func TestText(t *testing.T) {
	for name, in := range map[string]Input{
		"coreos": input("coreos", nil), "coreos-rich": input("coreos", rich), "fly": input("fly", nil), "pod": started(t, "coreos", rich),
		"insecure": input("host", func(in *Input, _ *appc.App) {
			in.Call.DisableCapabilities, in.Call.DisablePaths, in.Call.DisableSeccomp = true, true, true
			in.Call.Net, in.Call.IPC, in.PrivateUsers = "host", "parent", true
			in.Fetch = []string{"image", "http"}
		}),
	} {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".txt", counts.ReplaceAll([]byte(textOf(t, report(t, in))), []byte("on, N calls")))
		})
	}
}

// TestJSON: the form is a contract: no field goes or is renamed without a new
// version.
func TestJSON(t *testing.T) {
	r := report(t, started(t, "coreos", rich))
	for i := range r.Apps {
		r.Apps[i].Seccomp.Allowed = 0
	}
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "pod.json", append(data, '\n'))
	var back Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	back.subject = r.subject
	if diff := cmp.Diff(r, &back, cmp.Exporter(func(reflect.Type) bool { return true })); diff != "" {
		t.Errorf("what is printed is not what is read back (-want +got):\n%s", diff)
	}
}

// started is a running pod: record and process are what the plan says.
func started(t *testing.T, flavor string, change func(*Input, *appc.App)) Input {
	t.Helper()
	in := input(flavor, change)
	in.Subject, in.UUID, in.State, in.Fetch, in.NetKnown = OfPod, "0d6a1b5e-0000-4000-8000-000000000001", "running", nil, false
	f, _ := findFlavor(in.Stage1)
	plan, err := podplan.New(in.Manifest, in.Images, f.options(&in))
	if err != nil {
		t.Fatal(err)
	}
	a := &plan.Apps[0]
	found := in.Apps["web"].Found
	rec := &profile.Profile{
		App: "web", UID: found.IDs.UID, GID: found.IDs.GID, Groups: a.App.SupplementaryGIDs, Bounding: &a.Bounding, Seccomp: a.Filter,
		Rlimits: slices.Clone(in.Host.Rlimits),
		Start: &profile.Start{
			Exec: append([]string{found.Program}, a.App.Exec[1:]...), WorkDir: a.WorkDir(), ReadOnly: a.Runtime.ReadOnlyRootFS,
			ReadOnlyPaths: a.Masks.ReadOnly, HiddenPaths: a.Masks.Inaccessible,
		},
	}
	for _, s := range a.Streams {
		rec.Start.Streams = append(rec.Start.Streams, string(s))
	}
	for _, l := range a.Limits.Rlimits {
		rec.Rlimits[l.Resource] = profile.Rlimit{Cur: l.Soft, Max: l.Hard}
	}
	if o := a.Limits.OOMScoreAdj; o != nil {
		rec.OOMScoreAdj = &o.Value
	}
	rec.NoNewPrivs, _ = a.NoNewPrivs(rec.UID)
	in.Apps["web"] = AppInput{Verification: in.Apps["web"].Verification, Record: rec, Process: processOf(rec)}
	return in
}

func processOf(rec *profile.Profile) *Process {
	p := &Process{
		PID: 4711, Status: Status{UID: rec.UID, GID: rec.GID, Bounding: *rec.Bounding, NoNewPrivs: rec.NoNewPrivs, Seccomp: seccompFilter},
		Rlimits: rec.Rlimits, OwnNamespaces: map[string]bool{}, Mounts: map[string]MountPoint{"/": {ReadOnly: rec.Start.ReadOnly}},
		Cgroups: []string{"/sys/fs/cgroup/pod/app"},
		Files: []ControlFile{
			{"/sys/fs/cgroup/pod/app/memory.max", "67108864"},
			{"/sys/fs/cgroup/pod/app/cpu.max", "50000 100000"},
			{"/sys/fs/cgroup/pod/app/pids.max", "100"},
			{"/sys/fs/cgroup/pod/app/cpu.weight", "20"},
		},
		Resolve: func(s string) (string, error) { return s, nil },
		Exists:  func(s string) bool { return s != "/proc/kcore" },
	}
	if rec.OOMScoreAdj != nil {
		p.OOMScoreAdj = *rec.OOMScoreAdj
	}
	for _, name := range []string{"mnt", "pid", "ipc", "net", "uts", "cgroup"} {
		p.OwnNamespaces[name] = true
	}
	for _, path := range append(slices.Clone(rec.Start.ReadOnlyPaths), rec.Start.HiddenPaths...) {
		p.Mounts[path] = MountPoint{ReadOnly: true}
	}
	for _, path := range []string{
		"/proc", "/dev/pts", "/dev/shm", "/dev/null", "/etc/resolv.conf", "/run/systemd/journal", "/cache", "/scratch", "/etc/hosts",
	} {
		p.Mounts[path] = MountPoint{}
	}
	for _, path := range []string{"/sys", "/etc/hostname", "/data"} {
		p.Mounts[path] = MountPoint{ReadOnly: true}
	}
	return p
}

// TestDifferences: whatever is looser than the plan is told, and nothing if
// nothing is.
func TestDifferences(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*profile.Profile, *Process)
		want   []string // setting and who has seen it
	}{
		{"none", func(*profile.Profile, *Process) {}, nil},
		{"record: more capabilities", func(r *profile.Profile, p *Process) {
			more := *r.Bounding | 1<<unix.CAP_SYS_ADMIN
			r.Bounding, p.Bounding = &more, more
		}, []string{"capabilities record"}},
		{"record: all capabilities", func(r *profile.Profile, p *Process) { r.Bounding, p.Bounding = nil, caps.All }, []string{"capabilities record"}},
		{"record: no filter", func(r *profile.Profile, _ *Process) { r.Seccomp = nil }, []string{"seccomp record"}},
		{"record: another filter", func(r *profile.Profile, _ *Process) {
			other := *r.Seccomp
			other.Errno = unix.EPERM
			r.Seccomp = &other
		}, []string{"seccomp record"}},
		{"record: privileges", func(r *profile.Profile, p *Process) { r.NoNewPrivs, p.NoNewPrivs = false, false }, []string{"noNewPrivileges record"}},
		{"record: writable root", func(r *profile.Profile, _ *Process) { r.Start.ReadOnly = false }, []string{"root.readOnly record"}},
		{"record: no masks", func(r *profile.Profile, _ *Process) { r.Start.HostPaths = true }, []string{"masks record"}},
		{"record: a mask less", func(r *profile.Profile, _ *Process) { r.Start.HiddenPaths = r.Start.HiddenPaths[1:] }, []string{"masks record"}},
		{"record: arguments", func(r *profile.Profile, _ *Process) { r.Start.Exec = r.Start.Exec[:1] }, []string{"program.arguments record"}},
		{"record: stream", func(r *profile.Profile, _ *Process) { r.Start.Streams[0] = "tty" }, []string{"streams record"}},
		{"record: limit", func(r *profile.Profile, _ *Process) { r.Rlimits[7].Max = 30 }, []string{"rlimits.nofile record"}},
		{"record: score", func(r *profile.Profile, _ *Process) { r.OOMScoreAdj = nil }, []string{"oomScoreAdj record"}},
		{"process: more capabilities", func(_ *profile.Profile, p *Process) { p.Bounding |= 1 << unix.CAP_SYS_ADMIN }, []string{"capabilities process"}},
		{"process: fewer capabilities", func(_ *profile.Profile, p *Process) { p.Bounding = 0 }, []string{"capabilities process"}},
		{"process: privileges", func(_ *profile.Profile, p *Process) { p.NoNewPrivs = false }, []string{"noNewPrivileges process"}},
		{"process: no filter", func(_ *profile.Profile, p *Process) { p.Seccomp = seccompOff }, []string{"seccomp process"}},
		{"process: score", func(_ *profile.Profile, p *Process) { p.OOMScoreAdj = -1 }, []string{"oomScoreAdj process"}},
		{"process: limit", func(r *profile.Profile, p *Process) {
			p.Rlimits = slices.Clone(r.Rlimits)
			p.Rlimits[7].Max = 21
		}, []string{"rlimits.nofile process"}},
		{"process: tighter limit", func(r *profile.Profile, p *Process) {
			p.Rlimits = slices.Clone(r.Rlimits)
			p.Rlimits[7] = profile.Rlimit{Cur: 20, Max: 20}
		}, nil},
		{"process: namespace of the host", func(_ *profile.Profile, p *Process) { p.OwnNamespaces["pid"] = false }, []string{"namespaces.pid process"}},
		{"process: volume gone", func(_ *profile.Profile, p *Process) { delete(p.Mounts, "/data") }, []string{"mounts./data process"}},
		{"process: volume writable", func(_ *profile.Profile, p *Process) { p.Mounts["/data"] = MountPoint{} }, []string{"mounts./data process"}},
		{"process: node missing", func(_ *profile.Profile, p *Process) { delete(p.Mounts, "/dev/null") }, nil},
		{"process: target leads nowhere", func(_ *profile.Profile, p *Process) {
			p.Resolve = func(s string) (string, error) {
				if s == "/data" {
					return "", errors.New("a loop")
				}
				return s, nil
			}
		}, []string{"mounts./data process"}},
		{"process: writable root", func(_ *profile.Profile, p *Process) { p.Mounts["/"] = MountPoint{} }, []string{"root.readOnly process"}},
		{"process: visible", func(_ *profile.Profile, p *Process) { delete(p.Mounts, "/sys/firmware") }, []string{"masks./sys/firmware process"}},
		{"process: writable", func(_ *profile.Profile, p *Process) { p.Mounts["/proc/sys"] = MountPoint{} }, []string{"masks./proc/sys process"}},
		{"process: memory", func(_ *profile.Profile, p *Process) { p.Files[0].Value = "max" }, []string{"limits.memory process"}},
		{"process: memory rounded", func(_ *profile.Profile, p *Process) { p.Files[0].Value = "67108000" }, nil},
		{"process: cpu", func(_ *profile.Profile, p *Process) { p.Files[1].Value = "60000 100000" }, []string{"limits.cpu process"}},
		{"process: no cpu limit", func(_ *profile.Profile, p *Process) { p.Files[1].Value = "max 100000" }, []string{"limits.cpu process"}},
		{"process: pids", func(_ *profile.Profile, p *Process) { p.Files[2].Value = "101" }, []string{"limits.pids process"}},
		{"process: weight", func(_ *profile.Profile, p *Process) { p.Files[3].Value = "100" }, []string{"limits.cpu-shares process"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in := started(t, "coreos", rich)
			a := in.Apps["web"]
			tt.change(a.Record, a.Process)
			var got []string
			for _, d := range report(t, in).Apps[0].Differences {
				got = append(got, d.Setting+" "+d.Seen)
				if d.Plan == d.Actual {
					t.Errorf("no difference: %+v", d)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

// TestFlavors: what an app gets that asks for nothing.
func TestFlavors(t *testing.T) {
	for flavor, contained := range map[string]bool{"coreos": true, "host": true, "fly": false} {
		t.Run(flavor, func(t *testing.T) {
			r := report(t, input(flavor, nil))
			a := &r.Apps[0]
			if !r.Stage1.Known || r.Stage1.Flavor != flavor || len(r.Refusals)+len(r.Warnings) != 0 {
				t.Errorf("%+v %v %v", r.Stage1, r.Refusals, r.Warnings)
			}
			if contained != a.Seccomp.On || contained != a.Masks.On || contained != a.Devices.Restricted || contained != a.Seccomp.PodFilter {
				t.Errorf("filter %t, masks %t, devices %t", a.Seccomp.On, a.Masks.On, a.Devices.Restricted)
			}
			if got := len(a.Capabilities.Bounding); contained && got != 14 || !contained && got != len(caps.All.Names()) {
				t.Errorf("%d capabilities", got)
			}
			for _, n := range r.Namespaces {
				want := contained && n.Name != "user" || n.Name == "mount" || n.Name == "network" // --net=none
				if n.Own == nil || *n.Own != want {
					t.Errorf("namespace %s: %v, want %t", n.Name, n.Own, want)
				}
			}
			if mode := a.Streams[1].Mode; contained != (mode == "log") {
				t.Errorf("stdout: %s", mode)
			}
		})
	}
}

// TestFlavorAsked: what is asked for counts in every flavor.
func TestFlavorAsked(t *testing.T) {
	for _, flavor := range []string{"coreos", "fly"} {
		r := report(t, input(flavor, func(in *Input, app *appc.App) {
			app.Isolators = appc.Isolators{
				iso("os/linux/capabilities-remove-set", `{"set":["CAP_KILL"]}`), iso("os/linux/seccomp-remove-set", `{"set":["mkdir"]}`),
				iso("resource/memory", `{"limit":"2Mi"}`),
			}
			in.Manifest.Isolators = appc.Isolators{iso("resource/memory", `{"limit":"1Mi"}`)}
			app.User = "7"
			in.Apps["web"] = AppInput{Found: &Found{IDs: appuser.IDs{UID: 7}}}
		}))
		a := &r.Apps[0]
		if c := a.Capabilities; len(c.Bounding) != 13 || !slices.Equal(c.Removed, []string{"CAP_KILL"}) || c.Origin != FromUser || len(c.Effective) != 0 || c.Effective == nil {
			t.Errorf("%s: %+v", flavor, c)
		}
		if s := a.Seccomp; !s.On || s.List != "deny" || s.Denied != "kill" || s.Unknown != "allow" || s.Origin != FromUser || !slices.Contains(s.Added, "mount") || !slices.Contains(s.Removed, "mkdir") {
			t.Errorf("%s: %+v", flavor, s)
		}
		if !a.NoNewPrivileges.On || a.NoNewPrivileges.Detail == "" {
			t.Errorf("%s: %+v", flavor, a.NoNewPrivileges)
		}
		want := map[string]int64{"coreos": 2 << 20, "fly": 1 << 20}[flavor] // fly has one cgroup for both
		if l := a.Limits[0]; l.Limit == nil || *l.Limit != want || *r.Limits[0].Limit != 1<<20 {
			t.Errorf("%s: %+v", flavor, l)
		}
	}
}

func TestRefusals(t *testing.T) {
	noCgroups := func(in *Input, app *appc.App) {
		in.Host = HostInput{Cgroups: "none", Controllers: map[string]int{}}
		app.Isolators = append(app.Isolators, iso("resource/memory", `{"limit":"64Mi"}`))
	}
	for _, tt := range []struct {
		name, flavor, want string
		warns              bool
		change             func(*Input, *appc.App)
	}{
		{"memory without controller", "coreos", "the host has no memory cgroup controller", false, noCgroups},
		{"image's memory without controller", "coreos", "the isolator resource/memory of the image is skipped", true, func(in *Input, app *appc.App) {
			noCgroups(in, app)
			in.Images["web"].App.Isolators = app.Isolators
		}},
		{"no such user", "coreos", `"www" user not found`, false, func(in *Input, _ *appc.App) {
			in.Apps["web"] = AppInput{Found: &Found{UserErr: errors.New(`"www" user not found`)}}
		}},
		{"no such program", "fly", "unable to find", false, func(in *Input, _ *appc.App) {
			in.Apps["web"] = AppInput{Found: &Found{ProgramErr: errors.New("unable to find")}}
		}},
		{"network under fly", "fly", "has the network of the host, or none", false, func(in *Input, _ *appc.App) { in.Call.Net = "lan:IP=1.2.3.4" }},
		{"host and more", "coreos", "go with no other", false, func(in *Input, _ *appc.App) { in.Call.Net = "host,default" }},
		{"users under fly", "fly", "--private-users", false, func(in *Input, _ *appc.App) { in.PrivateUsers = true }},
		{"sysctl under fly", "fly", "--sysctl", false, func(in *Input, _ *appc.App) {
			in.Manifest.Isolators = appc.Isolators{iso("os/unix/sysctl", `{"net.ipv4.ip_forward":"1"}`)}
		}},
		{"post-stop under fly", "fly", "post-stop", false, func(_ *Input, app *appc.App) {
			app.EventHandlers = []appc.EventHandler{{Name: "post-stop", Exec: []string{"/x"}}}
		}},
		{"tty under fly", "fly", "stdin=tty", false, func(in *Input, _ *appc.App) {
			in.Manifest.Apps[0].Annotations.Set(entrypoint.AnnotationStdin, "tty")
		}},
		{"SELinux of a flag", "coreos", "the host has no SELinux", false, func(_ *Input, app *appc.App) {
			app.Isolators = appc.Isolators{iso("os/linux/selinux-context", `{"user":"u","role":"r","type":"t","level":"s0"}`)}
		}},
		{"SELinux of an image", "coreos", "the host has no SELinux", true, func(in *Input, app *appc.App) {
			app.Isolators = appc.Isolators{iso("os/linux/selinux-context", `{"user":"u","role":"r","type":"t","level":"s0"}`)}
			in.Images["web"].App.Isolators = app.Isolators
		}},
		{"volume that is not there", "coreos", "stat /none", false, func(in *Input, _ *appc.App) {
			in.Apps["web"] = AppInput{Found: &Found{VolumeErr: errors.New("volume v: stat /none: no such file or directory")}}
		}},
		{"rlimit above rkt's own", "coreos", "above the hard limit of rkt itself", false, func(in *Input, app *appc.App) {
			in.Host.Bounding, in.Host.Rlimits[7].Max = new(caps.Set), 10
			*in.Host.Bounding = caps.All &^ (1 << unix.CAP_SYS_RESOURCE)
			app.Isolators = appc.Isolators{iso("os/unix/rlimits", `{"nofile":{"hard":11}}`)}
		}},
		{"SELinux under fly", "fly", "selinux-context", false, func(_ *Input, app *appc.App) {
			app.Isolators = appc.Isolators{iso("os/linux/selinux-context", `{"user":"u","role":"r","type":"t","level":"s0"}`)}
		}},
		{"not started", "coreos", "run-prepared", true, func(in *Input, _ *appc.App) {
			in.Subject, in.State, in.Started, in.NetKnown = OfPod, "prepared", false, false
		}},
		{"not recorded", "coreos", "has not recorded", true, func(in *Input, _ *appc.App) {
			in.Subject, in.State, in.Started, in.NetKnown = OfPod, "running", false, false
		}},
		{"implicit volume", "coreos", "implicitly creating", true, func(_ *Input, app *appc.App) {
			app.MountPoints = []appc.MountPoint{{Name: "d", Path: "/d"}}
		}},
		{"foreign stage1", "coreos", "does not know the stage1 image", true, func(in *Input, _ *appc.App) { in.Stage1.Manifest.Annotations = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := report(t, input(tt.flavor, tt.change))
			got, none := r.Refusals, r.Warnings
			if tt.warns {
				got, none = none, got
			}
			if len(got) != 1 || !strings.Contains(got[0], tt.want) || len(none) != 0 {
				t.Errorf("refusals %q, warnings %q, want %q", r.Refusals, r.Warnings, tt.want)
			}
			if got := textOf(t, r); !strings.Contains(got, clean(tt.want)) {
				t.Errorf("the text does not say it:\n%s", got)
			}
		})
	}
}

// TestErrors: what no plan can be made of fails as the start would.
func TestErrors(t *testing.T) {
	for name, change := range map[string]func(*Input, *appc.App){
		"capability": func(_ *Input, app *appc.App) {
			app.Isolators = appc.Isolators{iso("os/linux/capabilities-retain-set", `{"set":["CAP_X"]}`)}
		},
		"volume": func(in *Input, _ *appc.App) {
			in.Manifest.Apps[0].Mounts = []appc.Mount{{Volume: "none", Path: "/x"}}
		},
		"image": func(in *Input, _ *appc.App) { in.Images = nil },
		"range": func(in *Input, _ *appc.App) { in.Call.PrivateUsers = "x" },
		"version": func(in *Input, _ *appc.App) {
			in.Stage1.Manifest.Annotations.Set(entrypoint.AnnotationInterfaceVersion, "x")
		},
		"host's sysctl": func(in *Input, _ *appc.App) {
			in.Call.Net = "host"
			in.Manifest.Isolators = appc.Isolators{iso("os/unix/sysctl", `{"net.ipv4.ip_forward":"1"}`)}
		},
	} {
		if r, err := New(input("coreos", change)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// TestKernelAnswers: what nobody has recorded the kernel tells.
func TestKernelAnswers(t *testing.T) {
	for own, want := range map[bool]string{true: NetLoopback, false: NetHost} {
		in := started(t, "coreos", rich)
		in.Apps["web"].Process.OwnNamespaces["net"] = own
		if r := report(t, in); r.Network.Gives != want {
			t.Errorf("own namespace %t: %+v", own, r.Network)
		}
	}
	in := started(t, "coreos", rich)
	a := in.Apps["web"]
	a.Process = nil
	in.Apps["web"] = a
	if r := report(t, in); r.Network.Gives != NetUnknown || r.Apps[0].Process != nil {
		t.Errorf("%+v", r.Network)
	}
	a.Record.Start, a.Record.PrivateNet = nil, true // as fly's
	in.Stage1 = stage1("fly")
	in.Manifest.Isolators = nil
	if r := report(t, in); r.Network.Gives != NetLoopback {
		t.Errorf("fly: %+v", r.Network)
	}
}

func TestUserNamespace(t *testing.T) {
	in := started(t, "coreos", nil)
	in.PrivateUsers, in.Call.PrivateUsers = true, "100000:65536"
	p := in.Apps["web"].Process
	p.OwnNamespaces["user"] = true
	p.UID, p.GID = 100000, 100007
	p.Bounding &^= 1 << unix.CAP_NET_BIND_SERVICE
	p.Files = nil
	r := report(t, in)
	if a := r.Apps[0]; a.Process.UID != 0 || a.Process.GID != 7 || len(a.Differences) != 0 || !slices.Equal(a.Capabilities.Unavailable, []string{"CAP_NET_BIND_SERVICE"}) {
		t.Errorf("%+v", a)
	}
	if u := r.UserNamespace; !u.On || u.First != 100000 || u.Count != 65536 {
		t.Errorf("%+v", u)
	}
}

// TestRlimitOfImage: an image gets no more than rkt's caller has.
func TestRlimitOfImage(t *testing.T) {
	for _, flavor := range []string{"coreos", "fly"} {
		r := report(t, input(flavor, func(in *Input, app *appc.App) {
			in.Host.Rlimits[7] = profile.Rlimit{Cur: 5, Max: 10}
			app.Isolators = appc.Isolators{iso("os/unix/rlimits", `{"nofile":{"hard":11}}`)}
			in.Images["web"].App.Isolators = app.Isolators
		}))
		if l := r.Apps[0].Rlimits[7]; l.Name != "nofile" || l.Soft != 10 || l.Hard != 10 || l.Detail != "asked for: 11:11" {
			t.Errorf("%s: %+v", flavor, l)
		}
	}
}

// TestDevices: a volume that is a device adds one.
func TestDevices(t *testing.T) {
	rule := devfilter.Rule{Type: devfilter.Block, Major: 8, Minor: 1, Access: "r"}
	in := input("coreos", func(in *Input, _ *appc.App) {
		in.Host.Cgroups = "legacy"
		in.Apps["web"] = AppInput{Found: &Found{Devices: []devfilter.Rule{rule}}}
	})
	d := report(t, in).Apps[0].Devices
	if got := d.Rules[len(d.Rules)-1]; !d.Restricted || got != (DeviceRule{Device: "b 8:1", Access: "r"}) || d.By != "devices controller of cgroup v1" {
		t.Errorf("%+v", d)
	}
}

// TestCallerWithout: rkt cannot give what it has not got.
func TestCallerWithout(t *testing.T) {
	r := report(t, input("coreos", func(in *Input, _ *appc.App) {
		few := caps.Default &^ (1 << unix.CAP_MKNOD)
		in.Host.Bounding = &few
	}))
	if c := r.Apps[0].Capabilities; slices.Contains(c.Bounding, "CAP_MKNOD") || !slices.Equal(c.Unavailable, []string{"CAP_MKNOD"}) {
		t.Errorf("%+v", c)
	}
}

// TestDefaultIsNoDifference: the default filter of the default set is the base.
func TestDefaultIsNoDifference(t *testing.T) {
	s := report(t, input("coreos", nil)).Apps[0].Seccomp
	if len(s.Added)+len(s.Removed) != 0 || s.Allowed != len(seccomp.Default(caps.Default).Allowed()) || s.Denied != "EPERM" || s.Unknown != "ENOSYS" {
		t.Errorf("%+v", s)
	}
	s = report(t, input("coreos", func(_ *Input, app *appc.App) {
		app.Isolators = appc.Isolators{iso("os/linux/capabilities-retain-set", `{"set":["CAP_SYS_ADMIN"]}`)}
	})).Apps[0].Seccomp
	if s.Origin != FromDefault || !slices.Contains(s.Added, "mount") {
		t.Errorf("a capability brings its calls: %+v", s)
	}
}

// FuzzText: nothing an image says ends a line or reaches the terminal raw.
func FuzzText(f *testing.F) {
	f.Add("/web\n  capabilities: none", "/data\r", "www\x1b]0;x\a", "a\u202eb")
	f.Add("", " ", "\x00", "[image]")
	f.Fuzz(func(t *testing.T, exec, target, user, arg string) {
		in := started(t, "coreos", nil)
		plain := textOf(t, report(t, in))
		section := in.Manifest.Apps[0].App
		section.Exec = []string{"/x" + exec, arg}
		section.User, section.WorkingDirectory = user, target
		in.Images["web"].Name = appc.Identifier(arg)
		in.Manifest.Apps[0].Mounts = []appc.Mount{{Volume: "v", Path: "/" + target}}
		in.Manifest.Volumes = []appc.Volume{{Name: "v", Kind: appc.HostVolume, Source: "/" + arg}}
		in.Apps["web"].Process.Files = []ControlFile{{Path: "/" + arg, Value: user}}
		r, err := New(in)
		if err != nil {
			return
		}
		got := textOf(t, r)
		for _, c := range got {
			if c != '\n' && !strings.ContainsRune(" \t", c) && (c < 0x20 || c == 0x7f || c >= 0x80 && c < 0xa0 || c >= 0x202a && c <= 0x202e) {
				t.Fatalf("raw %U in:\n%s", c, got)
			}
		}
		if n := strings.Count(got, "\n  capabilities: "); n != strings.Count(plain, "\n  capabilities: ") {
			t.Errorf("%d lines about capabilities:\n%s", n, got)
		}
	})
}
