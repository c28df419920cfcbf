// SPDX-License-Identifier: Apache-2.0

package entrypoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/poddir"
)

const testUUID poddir.UUID = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9"

// full has every field set to something that is not its default.
func full() Run {
	return Run{
		Path: "/pod/stage1/rootfs/init", Debug: true, Net: "net1:ip=10.0.0.1,host", Interactive: true,
		PrivateUsers: "65536:65536", MDSToken: strings.Repeat("a1", 16), LocalConfig: "/etc/rkt",
		Hostname: "h", ResolvMode: ModeStage0, HostsMode: ModeHost,
		DisableCapabilities: true, DisablePaths: true, DisableSeccomp: true,
		Mutable: true, IPC: "parent", UUID: testUUID,
	}
}

// expressible is r as a stage1 of the interface version can see it.
func expressible(r Run, version int) Run {
	if version < 2 {
		r.Hostname = ""
	}
	if version < 3 {
		r.DisableCapabilities, r.DisablePaths, r.DisableSeccomp = false, false, false
	}
	if version < 4 {
		r.ResolvMode, r.HostsMode = ModeDefault, ModeDefault
	}
	if version < 6 {
		r.IPC = ""
	}
	return r
}

func TestRunRoundTrip(t *testing.T) {
	plain := Run{Path: "/p/run", Net: ModeDefault, ResolvMode: ModeDefault, HostsMode: ModeDefault, UUID: testUUID}
	none := plain
	none.ResolvMode = ModeNone
	for version := 1; version <= CurrentVersion; version++ {
		for name, r := range map[string]Run{"full": full(), "plain": plain, "no dns": none} {
			argv, _ := r.Argv(version)
			got, err := ParseRun(argv)
			if err != nil {
				t.Fatalf("version %d, %s: %v", version, name, err)
			}
			if diff := cmp.Diff(expressible(r, version), got); diff != "" {
				t.Errorf("version %d, %s (-want +got):\n%s", version, name, diff)
			}
		}
	}
}

// TestRunArgv fixes order and spelling: external stage1 images read them.
func TestRunArgv(t *testing.T) {
	all := []string{
		"--debug", "--net=net1:ip=10.0.0.1,host", "--interactive", "--private-users=65536:65536",
		"--mds-token=" + strings.Repeat("a1", 16), "--local-config=/etc/rkt", "--hostname=h",
		"--dns-conf-mode=resolv=stage0,hosts=host", "--disable-capabilities-restriction", "--disable-paths",
		"--disable-seccomp", "--mutable", "--ipc=parent",
	}
	hostname := "warning: --hostname option is not supported by stage1"
	dns := "warning: --dns-conf-mode option not supported by stage1"
	ipc := "warning: --ipc option is not supported by stage1"
	for _, tt := range []struct {
		version  int
		dropped  []string
		warnings []string
	}{
		{1, []string{"--hostname", "--dns", "--disable", "--ipc"}, []string{hostname, dns, ipc}},
		{2, []string{"--dns", "--disable", "--ipc"}, []string{dns, ipc}},
		{3, []string{"--dns", "--ipc"}, []string{dns, ipc}},
		{4, []string{"--ipc"}, []string{ipc}},
		{5, []string{"--ipc"}, []string{ipc}},
		{6, nil, nil},
	} {
		want := []string{"/pod/stage1/rootfs/init"}
		for _, a := range all {
			if !slices.ContainsFunc(tt.dropped, func(p string) bool { return strings.HasPrefix(a, p) }) {
				want = append(want, a)
			}
		}
		want = append(want, testUUID.String())
		argv, warnings := full().Argv(tt.version)
		if diff := cmp.Diff(want, argv); diff != "" {
			t.Errorf("version %d (-want +got):\n%s", tt.version, diff)
		}
		if diff := cmp.Diff(tt.warnings, warnings); diff != "" {
			t.Errorf("version %d warnings (-want +got):\n%s", tt.version, diff)
		}
	}
	argv, warnings := Run{Path: "/r", UUID: testUUID}.Argv(1)
	if diff := cmp.Diff([]string{"/r", "--net=default", testUUID.String()}, argv); diff != "" || warnings != nil {
		t.Errorf("minimal: %v %v", argv, warnings)
	}
}

func TestParseRunForms(t *testing.T) {
	r, err := ParseRun([]string{"/r", "-debug", "--interactive=true", "--mutable=false", "--net", "host", testUUID.String()})
	if err != nil || !r.Debug || !r.Interactive || r.Mutable || r.Net != "host" {
		t.Errorf("%+v, %v", r, err)
	}
	for _, args := range []string{
		"", "--bogus U", "--dns-conf-mode=resolv U", "--dns-conf-mode=hosts=none U", "--dns-conf-mode=x=host U",
		"--debug=maybe U", "U U", "not-a-uuid", "--net",
	} {
		argv := append([]string{"/r"}, strings.Fields(strings.ReplaceAll(args, "U", testUUID.String()))...)
		if r, err := ParseRun(argv); err == nil {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if _, err := ParseRun(nil); err == nil {
		t.Error("no program name")
	}
}

func TestOthersRoundTrip(t *testing.T) {
	e := Enter{Path: "/e", PID: 42, App: "a", Cmd: []string{"/bin/sh", "-c", "--", "--pid=1"}}
	if got, err := ParseEnter(e.Argv()); err != nil || !cmp.Equal(e, got) {
		t.Errorf("%+v, %v", got, err)
	}
	if want := []string{"/e", "--pid=42", "--appname=a", "--", "/bin/sh", "-c", "--", "--pid=1"}; !slices.Equal(e.Argv(), want) {
		t.Errorf("enter: %q", e.Argv())
	}
	e.App = ""
	if got, err := ParseEnter(e.Argv()); err != nil || !cmp.Equal(e, got) {
		t.Errorf("%+v, %v", got, err)
	}
	for version := 1; version <= CurrentVersion; version++ {
		g := GC{Path: "/g", Debug: true, LocalConfig: "/etc/x", UUID: testUUID}
		got, err := ParseGC(g.Argv(version))
		if version < 5 {
			g.LocalConfig = ""
		}
		if err != nil || g != got {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
	}
	if want := []string{"/g", "--local-config", "/c", testUUID.String()}; !slices.Equal(GC{Path: "/g", LocalConfig: "/c", UUID: testUUID}.Argv(5), want) {
		t.Error("gc passes --local-config as two words")
	}
	for _, force := range []bool{false, true} {
		s := Stop{Path: "/s", Force: force, UUID: testUUID}
		if got, err := ParseStop(s.Argv()); err != nil || s != got {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, a := range []App{{Path: "/a", Debug: true, UUID: testUUID, App: "x"}, {Path: "/a", App: "x"}} {
		if got, err := ParseApp(a.Argv()); err != nil || a != got {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, a := range []Attach{
		{Path: "/t", Action: AttachList, App: "x"},
		{Path: "/t", Action: AttachCustom, TTYIn: true, Stdout: true, App: "x", Debug: true},
	} {
		if got, err := ParseAttach(a.Argv()); err != nil || a != got {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

func TestParseEnterRefuses(t *testing.T) {
	for _, argv := range [][]string{
		{"/e"}, {"/e", "--pid=0", "--", "x"}, {"/e", "--pid=-3", "--", "x"}, {"/e", "--pid=1", "--"}, {"/e", "--pid=x", "--", "x"},
	} {
		if e, err := ParseEnter(argv); err == nil {
			t.Errorf("%q: %+v", argv, e)
		}
	}
}

func manifest(kv ...string) *appc.ImageManifest {
	m := &appc.ImageManifest{}
	for i := 0; i < len(kv); i += 2 {
		m.Annotations = append(m.Annotations, appc.Annotation{Name: appc.Identifier(kv[i]), Value: kv[i+1]})
	}
	return m
}

func TestLookup(t *testing.T) {
	m := manifest(AnnotationRun, "/init", AnnotationGC, "../../gc", AnnotationStop, "/", AnnotationEnter, "")
	for _, tt := range []struct{ annotation, path, err string }{
		{AnnotationRun, "/init", ""},
		{AnnotationGC, "/gc", ""},
		{AnnotationStop, "", `entrypoint "coreos.com/rkt/stage1/stop": "/" is not a program`},
		{AnnotationEnter, "", `entrypoint "coreos.com/rkt/stage1/enter" not found`},
		{AnnotationAttach, "", `entrypoint "coreos.com/rkt/stage1/attach" not found`},
	} {
		p, err := Lookup(m, tt.annotation)
		if p != tt.path || fmt.Sprint(err) != orNil(tt.err) {
			t.Errorf("Lookup(%s) = %q, %v", tt.annotation, p, err)
		}
	}
	var missing *NotFoundError
	if _, err := Lookup(m, AnnotationAttach); !errors.As(err, &missing) {
		t.Errorf("%T", err)
	}
}

func orNil(s string) string {
	if s == "" {
		return "<nil>"
	}
	return s
}

func TestVersion(t *testing.T) {
	for _, tt := range []struct {
		m    *appc.ImageManifest
		want int
	}{
		{manifest(), 1},
		{manifest(AnnotationInterfaceVersion, "6"), 6},
	} {
		if v, err := Version(tt.m); err != nil || v != tt.want {
			t.Errorf("%d, %v", v, err)
		}
	}
	if _, err := Version(manifest(AnnotationInterfaceVersion, "six")); err == nil ||
		!strings.HasPrefix(err.Error(), "error parsing interface version") {
		t.Error(err)
	}
}

func TestCheckMutable(t *testing.T) {
	all := []string{AnnotationAppAdd, "/a", AnnotationAppRm, "/b", AnnotationAppStart, "/c", AnnotationAppStop, "/d"}
	if err := CheckMutable(manifest(all...)); err != nil {
		t.Error(err)
	}
	if err := CheckMutable(manifest(all[2:]...)); !errors.Is(err, ErrMutable) {
		t.Error(err)
	}
}

func TestEnvironments(t *testing.T) {
	get := func(env []string) func(string) string {
		return func(name string) string {
			for _, kv := range env {
				if v, ok := strings.CutPrefix(kv, name+"="); ok {
					return v
				}
			}
			return ""
		}
	}
	v := RunVars{LockFD: 7, SELinuxContext: "a:b", SELinuxMountContext: "c:d", ConfigDirs: []string{"/usr/lib/rkt", "/etc/r:k\nt"}, Tree: "/t"}
	env := v.Environ([]string{"HOME=/x", EnvLockFD + "=99", EnvSELinuxContext + "=old", "LISTEN_FDS=1"})
	if !slices.Equal(env[:2], []string{"HOME=/x", "LISTEN_FDS=1"}) || len(env) != 7 {
		t.Errorf("%q", env)
	}
	if got, err := ParseRunVars(get(env)); err != nil || !cmp.Equal(got, v) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseRunVars(get(nil)); err == nil {
		t.Error("no lock descriptor")
	}
	c := CrossingVars{EnterCmd: "/e", EnterPID: 3, EnterApp: "a", Path: "/bin"}
	if got, err := ParseCrossingVars(get(c.Environ())); err != nil || got != c {
		t.Errorf("%+v, %v", got, err)
	}
	want := []string{"RKT_STAGE1_ENTERCMD=/e", "RKT_STAGE1_ENTERPID=3", "PATH=" + DefaultPath}
	if got := (CrossingVars{EnterCmd: "/e", EnterPID: 3}).Environ(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if _, err := ParseCrossingVars(get([]string{EnvEnterCmd + "=/e"})); err == nil {
		t.Error("no pid")
	}
}

// FuzzParseRun: what parses, prints back to what parses the same.
func FuzzParseRun(f *testing.F) {
	argv, _ := full().Argv(CurrentVersion)
	f.Add(strings.Join(argv, "\x00"))
	f.Add("/r\x00--dns-conf-mode=hosts=host\x00" + testUUID.String())
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRun(strings.Split(s, "\x00"))
		if err != nil {
			return
		}
		again, _ := r.Argv(CurrentVersion)
		got, err := ParseRun(again)
		if err != nil || got != r {
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
	})
}

func TestNetRoundTrip(t *testing.T) {
	for _, n := range []Net{
		{Path: "/n", Action: NetCheck, Debug: true, UUID: testUUID},
		{Path: "/n", Action: NetRepair, UUID: testUUID},
		{Path: "/n", Action: NetRelease, UUID: testUUID},
		{Path: "/n", Action: NetSweep, DataDir: "/var/lib/rkt"},
	} {
		if got, err := ParseNet(n.Argv()); err != nil || n != got {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, args := range []string{"", "--action=check", "--action=sweep", "--action=sweep --data=x", "--action=bogus " + testUUID.String(), "--action=check ../x"} {
		if n, err := ParseNet(append([]string{"/n"}, strings.Fields(args)...)); err == nil {
			t.Errorf("%q: %+v", args, n)
		}
	}
}
