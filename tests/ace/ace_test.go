// SPDX-License-Identifier: Apache-2.0

//go:build functional

package ace

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/ace/expect"
	"github.com/rkt/rkt/v2/tests/harness"
)

// TestExecutor runs main and sidekick as one pod and reports what they find.
func TestExecutor(t *testing.T) {
	eachFlavor(t, func(r *run) {
		host := r.hostVolume()
		r.h.Env = []string{expect.Leaked + "=leaked", "AC_METADATA_URL=http://192.0.2.1/forged"}
		uuid := filepath.Join(r.TempDir(), "uuid")
		images := []string{r.mainImage(), "--name=" + expect.Main}
		if r.single() {
			writeFile(r, filepath.Join(host, filepath.Base(expect.AloneFile)), "")
		} else {
			images = append(images, r.sidekickImage(), "--name="+expect.Sidekick)
		}
		res := r.h.Run(append(append([]string{
			"run", r.stage1, "--net=none", "--uuid-file-save=" + uuid, "--hostname=" + expect.Hostname, "--dns=" + expect.Nameserver,
			"--hosts-entry=" + expect.HostsAddress + "=" + expect.HostsName,
		}, r.volumes(host)...), images...)...)
		if res.Status != 0 {
			r.Errorf("%s", res)
		}
		both := harness.AppOutput(res.Stdout, expect.Main)
		if !r.single() {
			both += harness.AppOutput(res.Stdout, expect.Sidekick)
		}
		r.report(r.names(expect.RoleMain, expect.RoleSidekick, expect.RolePreStart, expect.RolePostStop), both)
		r.outside(host, uuid, res, both)
		if r.Failed() {
			r.Logf("the whole run: %s", res)
		}
	})
}

// hostVolume is the directory of main's host volumes.
func (r *run) hostVolume() string {
	dir := filepath.Join(r.TempDir(), "volume")
	if err := os.Mkdir(dir, 0o777); err != nil {
		r.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		r.Fatal(err)
	}
	writeFile(r, filepath.Join(dir, expect.HostFile), expect.HostContent)
	order := filepath.Join(dir, filepath.Base(expect.OrderFile))
	writeFile(r, order, "")
	if err := os.Chmod(order, 0o666); err != nil { // main is not root
		r.Fatal(err)
	}
	return dir
}

func writeFile(t testing.TB, path, body string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (r *run) volumes(host string) []string {
	return []string{
		"--volume=ro,kind=host,readOnly=true,source=" + host,
		"--volume=rw,kind=host,source=" + host,
		"--volume=masked,kind=host,source=" + host,
		"--volume=one-file,kind=host,source=" + filepath.Join(host, expect.HostFile),
		fmt.Sprintf("--volume=shared,kind=empty,mode=0%o,uid=%d,gid=%d", expect.SharedMode, expect.SharedUID, expect.SharedGID),
	}
}

// outside are the checks that an app cannot do.
func (r *run) outside(host, uuidFile string, res harness.Result, output string) {
	uuid, _ := os.ReadFile(uuidFile)
	r.check("outside.pod-uuid-is-rfc4122", unless(regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).Match(uuid), "%q", uuid))
	order, _ := os.ReadFile(filepath.Join(host, filepath.Base(expect.OrderFile)))
	want := "pre-start-begins pre-start-ends main-begins main-ends post-stop-begins post-stop-ends"
	got := strings.Join(strings.Fields(string(order)), " ")
	r.check("outside.order-of-handlers", unless(got == want, "%q, want %q", got, want))
	written, _ := os.ReadFile(filepath.Join(host, expect.WrittenFile))
	r.check("outside.host-volume-written", unless(string(written) == "main was here\n", "%q", written))
	r.check("outside.stderr-captured", unless(strings.Contains(res.Stdout+res.Stderr, "main on stderr"), "main's words on its stderr are lost"))
	for _, ns := range []string{"net", "ipc", "uts", "pid", "mnt"} {
		own, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			r.Fatal(err)
		}
		m := regexp.MustCompile(`(?m)^namespace main\.` + ns + ` (.*)$`).FindStringSubmatch(output)
		wrong := "main did not tell"
		if m != nil {
			wrong = unless(m[1] != own, "main is in the host's %s", own)
		}
		r.check("outside.not-in-the-host's-"+ns, wrong)
	}
}

// unless is a complaint or, if good, nothing.
func unless(good bool, format string, args ...any) string {
	if good {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// TestRendering: every execution starts from a clean copy; a read-only root is.
func TestRendering(t *testing.T) {
	eachFlavor(t, func(r *run) {
		image := r.plainImage()
		for range 2 {
			res := r.h.Run("run", r.stage1, "--net=none", image, "--name=app", "--", expect.RoleCleanCopy)
			r.report(r.names(expect.RoleCleanCopy), harness.AppOutput(res.Stdout, "app"))
		}
		host := r.hostVolume()
		section := map[string]any{"exec": []string{expect.Program, expect.RoleReadOnly}}
		a := app("app", image, section)
		a["readOnlyRootFS"] = true
		a["mounts"] = []map[string]any{{"volume": "shared", "path": expect.SharedMain}, {"volume": "ro", "path": expect.RO}}
		pod := r.podManifest([]map[string]any{a}, []map[string]any{
			{"name": "shared", "kind": "empty", "mode": "0755"}, {"name": "ro", "kind": "host", "source": host, "readOnly": true},
		})
		res := r.h.Run("run", r.stage1, "--net=none", "--pod-manifest="+pod)
		r.report(r.names(expect.RoleReadOnly), harness.AppOutput(res.Stdout, "app"))
		if r.Failed() {
			r.Logf("%s", res)
		}
	})
}

// TestNetwork: what listens on the host's loopback is not the pod's.
func TestNetwork(t *testing.T) {
	eachFlavor(t, func(r *run) {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(expect.SidekickPort)))
		if err != nil {
			r.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		busybox := r.h.Fetch(harness.Busybox(r, nil))
		res := r.h.Run("run", r.stage1, "--net=none", busybox, "--exec=/bin/nc", "--", "-z", "-w", "2", "127.0.0.1", strconv.Itoa(expect.SidekickPort))
		r.check("network.own-loopback", unless(res.Status != 0, "an app with --net=none reached the host's loopback: %s", res))
		res = r.h.Run("run", r.stage1, "--net=none", busybox, "--name=app", "--exec=/bin/grep", "--", "SigIgn", "/proc/self/status")
		got := strings.TrimSpace(strings.TrimPrefix(harness.AppOutput(res.Stdout, "app"), "SigIgn:"))
		r.check("process.sigpipe-not-ignored", unless(got == "0000000000000000", "ignored signals %q: %s", got, res))
	})
}

// TestVolumeSourceMissing: a volume without its source is an error.
func TestVolumeSourceMissing(t *testing.T) {
	eachFlavor(t, func(r *run) {
		src := filepath.Join(r.TempDir(), "missing")
		res := r.h.Run("run", r.stage1, "--net=none", "--volume=v,kind=host,source="+src, r.plainImage(), "--mount=volume=v,target=/v", "--", expect.RoleExit, "0")
		r.check("volume.missing-source-is-an-error", unless(res.Status != 0 && strings.Contains(res.Stderr+res.Stdout, src), "%s", res))
		_, err := os.Lstat(src)
		r.check("volume.missing-source-is-not-made", unless(err != nil, "%s was made", src))
		res = r.h.Run("run", r.stage1, "--net=none", r.plainImage(), "--working-dir=/not/there", "--", expect.RoleExit, "0")
		host := r.hostVolume()
		if err := os.Mkdir(filepath.Join(host, "sub"), 0o755); err != nil {
			r.Fatal(err)
		}
		in := r.h.Run("run", r.stage1, "--net=none", "--volume=v,kind=host,source="+host, r.plainImage(), "--mount=volume=v,target=/v", "--working-dir=/v/sub", "--", expect.RoleExit, "0")
		r.check("working-directory.in-a-volume", unless(in.Status == 0, "%s", in))
		r.check("working-directory.missing-is-an-error", unless(res.Status != 0 && strings.Contains(res.Stderr+res.Stdout, "/not/there"), "%s", res))
	})
}

// isolators are the apps of TestIsolators: each has one.
func isolators() map[string][]map[string]any {
	iso := func(name string, value any) []map[string]any {
		return []map[string]any{{"name": name, "value": value}}
	}
	set := func(names ...string) map[string]any { return map[string]any{"set": names} }
	filter := func(errno string, names ...string) map[string]any {
		return map[string]any{"set": names, "errno": errno}
	}
	// What a static Go program needs to start and to print a line.
	needed := strings.Fields(`read write close openat open newfstatat fstat lseek mmap munmap mprotect madvise brk futex nanosleep clock_gettime clock_nanosleep
		rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack clone clone3 exit exit_group gettid getpid tgkill sched_getaffinity sched_yield arch_prctl prctl
		fcntl readlinkat readlink epoll_create1 epoll_ctl epoll_pwait eventfd2 pipe2 prlimit64 getrlimit set_robust_list set_tid_address rseq uname execve getrandom
		ioctl poll ppoll restart_syscall mincore pread64 getdents64 statfs fchdir chdir`)
	return map[string][]map[string]any{
		"none":                    nil,
		"caps-retain":             iso("os/linux/capabilities-retain-set", set("CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE")),
		"caps-remove":             iso("os/linux/capabilities-remove-set", set("CAP_SYS_CHROOT", "CAP_MKNOD", "CAP_SYS_ADMIN")),
		"caps-remove-all":         iso("os/linux/capabilities-remove-set", set(defaultCapNames()...)),
		"no-new-privileges":       iso("os/linux/no-new-privileges", true),
		"no-new-privileges-false": iso("os/linux/no-new-privileges", false),
		"seccomp-remove-errno":    iso("os/linux/seccomp-remove-set", filter("ENOTSUP", "mkdir", "mkdirat")),
		"seccomp-remove":          iso("os/linux/seccomp-remove-set", filter("", "mkdir", "mkdirat")),
		"seccomp-retain-errno":    iso("os/linux/seccomp-retain-set", filter("EACCES", needed...)),
		"seccomp-retain-all":      iso("os/linux/seccomp-retain-set", filter("", "@appc.io/all")),
		"seccomp-remove-empty":    iso("os/linux/seccomp-remove-set", filter("EPERM", "@appc.io/empty", "mkdirat")),
		"cpu":                     iso("resource/cpu", map[string]any{"request": "50m", "limit": "100m"}),
		"oom-score-adj":           iso("os/linux/oom-score-adj", 321),
	}
}

func defaultCapNames() []string {
	return strings.Fields(`CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_KILL CAP_MKNOD CAP_NET_RAW CAP_NET_BIND_SERVICE
		CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_SETFCAP CAP_SYS_CHROOT`)
}

// TestIsolators: what one app of a pod asks for holds for that app and for no
// other. Where a pod has one app only, each is a pod.
func TestIsolators(t *testing.T) {
	eachFlavor(t, func(r *run) {
		image := r.plainImage()
		var all []map[string]any
		for name, list := range isolators() {
			all = append(all, app("with-"+name, image, map[string]any{"exec": []string{expect.Program, expect.RoleIsolator, name}, "isolators": list}))
		}
		pods := [][]map[string]any{all}
		if r.single() {
			pods = nil
			for _, a := range all {
				pods = append(pods, []map[string]any{a})
			}
		}
		var whole []string
		var results strings.Builder
		for _, apps := range pods {
			res := r.h.Run("run", r.stage1, "--net=none", "--pod-manifest="+r.podManifest(apps, nil))
			for _, a := range apps {
				results.WriteString(harness.AppOutput(res.Stdout, a["name"].(string)))
			}
			whole = append(whole, res.String())
		}
		for name := range isolators() {
			r.report([]string{expect.RoleIsolator + "." + name}, results.String())
		}
		if r.Failed() {
			r.Logf("%s", strings.Join(whole, "\n"))
		}
		r.memory(image)
		r.told(image)
	})
}

// told: the user can learn what became of every isolator (spec/ace.md).
func (r *run) told(image string) {
	a := app("app", image, map[string]any{"exec": []string{expect.Program, expect.RoleExit, "0"}, "isolators": []map[string]any{
		{"name": "resource/cpu", "value": map[string]any{"limit": "300m"}},
		{"name": "resource/memory", "value": map[string]any{"limit": "64Mi"}},
		{"name": "os/linux/oom-score-adj", "value": 321},
		{"name": "os/linux/capabilities-remove-set", "value": map[string]any{"set": []string{"CAP_KILL"}}},
		{"name": "os/linux/no-new-privileges", "value": true},
		{"name": "os/linux/seccomp-remove-set", "value": map[string]any{"set": []string{"mkdir"}, "errno": "EXDEV"}},
	}})
	out := r.h.OK("explain", "run", r.stage1, "--net=none", "--pod-manifest="+r.podManifest([]map[string]any{a}, nil))
	for what, pattern := range map[string]string{
		"cpu": `(?m)^ *cpu: 300 `, "memory": `(?m)^ *memory: 67108864 bytes`, "oom-score-adj": `321`, "capabilities": `without CAP_KILL`, "no-new-privileges": `(?m)^ *no new privileges: on`, "seccomp": `EXDEV`,
	} {
		r.check("isolator.told."+what, unless(regexp.MustCompile(pattern).MatchString(out), "not in what rkt explain says: %s", out))
	}
}

// memory: an app may not have more than its limit.
func (r *run) memory(image string) {
	eat := func(limit string) harness.Result {
		a := app("app", image, map[string]any{
			"exec": []string{expect.Program, expect.RoleEat}, "isolators": []map[string]any{{"name": "resource/memory", "value": map[string]any{"limit": limit}}},
		})
		return r.h.Run("run", r.stage1, "--net=none", "--pod-manifest="+r.podManifest([]map[string]any{a}, nil))
	}
	if res := eat("64Mi"); res.Status != int(syscall.SIGKILL) && res.Signal != syscall.SIGKILL && res.Status != 128+int(syscall.SIGKILL) {
		r.check("isolator.memory", fmt.Sprintf("256 MiB with a limit of 64Mi: %s", res))
	} else {
		r.check("isolator.memory", "")
	}
	res := eat("1Gi")
	r.check("isolator.memory-within", unless(res.Status == 0, "256 MiB with a limit of 1Gi: %s", res))
	a := app("app", image, map[string]any{
		"exec":      []string{expect.Program, expect.RoleExit, "0"},
		"isolators": []map[string]any{{"name": "example.com/unheard-of", "value": true}},
	})
	res = r.h.Run("run", r.stage1, "--net=none", "--pod-manifest="+r.podManifest([]map[string]any{a}, nil))
	r.check("isolator.unknown-is-not-silent", unless(res.Status != 0 && strings.Contains(res.Stderr, "example.com/unheard-of"), "%s", res))
}

// TestRefused: manifests that say two things at once, or something twice.
func TestRefused(t *testing.T) {
	eachFlavor(t, func(r *run) {
		image := r.plainImage()
		set := func(names ...string) map[string]any { return map[string]any{"set": names} }
		exit := []string{expect.Program, expect.RoleExit, "0"}
		iso := func(all ...any) map[string]any {
			var list []map[string]any
			for i := 0; i < len(all); i += 2 {
				list = append(list, map[string]any{"name": all[i], "value": all[i+1]})
			}
			return app("app", image, map[string]any{"exec": exit, "isolators": list})
		}
		for name, apps := range map[string][]map[string]any{
			"both-capability-sets": {iso("os/linux/capabilities-retain-set", set("CAP_KILL"), "os/linux/capabilities-remove-set", set("CAP_CHOWN"))},
			"both-seccomp-sets":    {iso("os/linux/seccomp-retain-set", set("@appc.io/all"), "os/linux/seccomp-remove-set", set("reboot"))},
			"two-seccomp-sets":     {iso("os/linux/seccomp-remove-set", set("reboot"), "os/linux/seccomp-remove-set", set("mkdir"))},
			"empty-capability-set": {iso("os/linux/capabilities-retain-set", set())},
			"empty-seccomp-set":    {iso("os/linux/seccomp-retain-set", set())},
			"unknown-capability":   {iso("os/linux/capabilities-retain-set", set("CAP_OF_LOVE"))},
			"unknown-system-call":  {iso("os/linux/seccomp-remove-set", set("make_coffee"))},
			"one-name-twice":       {iso(), iso()},
			"two-pre-starts": {app("app", image, map[string]any{"exec": exit, "eventHandlers": []map[string]any{
				{"name": expect.RolePreStart, "exec": exit}, {"name": expect.RolePreStart, "exec": exit},
			}})},
			"unknown-handler": {app("app", image, map[string]any{"exec": exit, "eventHandlers": []map[string]any{{"name": "mid-life", "exec": exit}}})},
			"no-program":      {app("app", image, map[string]any{"exec": []string{}})},
		} {
			res := r.h.Run("run", r.stage1, "--net=none", "--pod-manifest="+r.podManifest(apps, nil))
			r.check("refused."+name, unless(res.Status == 254, "%s", res))
		}
	})
}

// TestMetadata: what the metadata service answers an app of a registered pod.
func TestMetadata(t *testing.T) {
	eachFlavor(t, func(r *run) {
		harness.LockMetadata(r)
		r.h = harness.NewLab(r).Host
		r.h.Env = []string{"AC_METADATA_URL=http://192.0.2.1/forged"}
		svc := r.h.StartMetadata("--listen-port=0")
		image := r.annotatedImage()
		a := app(expect.Isolated, image, map[string]any{"exec": []string{expect.Program, expect.RoleMetadata}})
		a["annotations"] = []pair{{"both", "pod"}, {"added", "pod"}}
		file := r.podManifest([]map[string]any{a}, nil)
		edit(r, file, func(m map[string]any) { m["annotations"] = []pair{{"example.com/of/pod", "pod ☃"}} })
		res := r.h.Run("run", r.stage1, "--mds-register", "--pod-manifest="+file)
		r.report(r.names(expect.RoleMetadata), harness.AppOutput(res.Stdout, expect.Isolated))
		if r.Failed() {
			r.Logf("%s\nthe service: %s", res, svc.Errors())
		}
	})
}

// edit changes a JSON document in a file.
func edit(t testing.TB, file string, change func(map[string]any)) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if data, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	writeFile(t, file, string(data))
}

// TestExitStatus: what rkt run returns and what is kept of each app.
func TestExitStatus(t *testing.T) {
	type want struct {
		exec   []string
		status string // of the app, in the output of rkt status; "" for any
	}
	exit := func(status string, n ...string) want {
		return want{append([]string{expect.Program, expect.RoleExit}, n...), status}
	}
	eachFlavor(t, func(r *run) {
		image := r.plainImage()
		for name, tt := range map[string]struct {
			apps   []want
			status int
			signal syscall.Signal
			multi  bool
		}{
			"zero":                     {apps: []want{exit("0", "0")}},
			"one":                      {apps: []want{exit("1", "1")}, status: 1},
			"255":                      {apps: []want{exit("255", "255")}, status: 255},
			"killed":                   {apps: []want{{[]string{expect.Program, expect.RoleSignal, "9"}, "9"}}, status: 9, signal: syscall.SIGKILL},
			"terminated":               {apps: []want{{[]string{expect.Program, expect.RoleSignal, "15"}, "15"}}, status: 15, signal: syscall.SIGTERM},
			"cannot be executed":       {apps: []want{{[]string{"/not/there"}, ""}}, status: 203},
			"all succeed":              {apps: []want{exit("0", "0"), exit("0", "0", "100")}, multi: true},
			"one fails, others wait":   {apps: []want{{[]string{expect.Program, expect.RoleWait}, "0"}, exit("7", "7", "100")}, status: 7, multi: true},
			"the first failure counts": {apps: []want{exit("0", "0", "100"), exit("5", "5", "100"), exit("0", "6", "2500")}, status: 5, multi: true},
		} {
			if tt.multi && r.single() {
				continue
			}
			uuid := filepath.Join(r.TempDir(), "uuid")
			var apps []map[string]any
			for i, a := range tt.apps {
				apps = append(apps, app("app-"+strconv.Itoa(i), image, map[string]any{"exec": a.exec}))
			}
			res := r.h.Run("run", r.stage1, "--net=none", "--uuid-file-save="+uuid, "--pod-manifest="+r.podManifest(apps, nil))
			good := res.Status == tt.status || r.single() && res.Signal == tt.signal && tt.signal != 0 || r.single() && tt.status == 203 && res.Status == 254
			r.check("exit-status."+name, unless(good, "want %d: %s", tt.status, res))
			if r.single() {
				continue
			}
			id, err := os.ReadFile(uuid)
			if err != nil {
				r.Error(err)
				continue
			}
			status := r.h.Status(string(id))
			for i, a := range tt.apps {
				app := "app-app-" + strconv.Itoa(i)
				r.check("exit-status."+name+"/"+app, unless(a.status == "" || status[app] == a.status, "status %q, want %q", status[app], a.status))
			}
		}
		r.handlers(image)
	})
}

// handlers: a pre-start that fails keeps the app from starting.
func (r *run) handlers(image string) {
	host := r.hostVolume()
	section := map[string]any{
		"exec":          []string{expect.Program, expect.RoleExit, "0"},
		"eventHandlers": []map[string]any{{"name": expect.RolePreStart, "exec": []string{expect.Program, expect.RoleExit, "3"}}},
	}
	a := app("app", image, section)
	start := time.Now()
	res := r.h.Run("run", r.stage1, "--net=none", "--pod-manifest="+r.podManifest([]map[string]any{a}, nil))
	r.check("handler.pre-start-fails", unless(res.Status != 0, "%s", res))
	r.check("handler.pre-start-fails-at-once", unless(time.Since(start) < 20*time.Second, "took %s", time.Since(start)))
	_ = host
}

// TestEnter: a command in a pod has the app's environment and walls.
func TestEnter(t *testing.T) {
	eachFlavor(t, func(r *run) {
		host := r.hostVolume()
		args := append([]string{r.stage1, "--net=none"}, r.volumes(host)...)
		image := r.mainImage()
		var env []pair
		for name, value := range expect.Env() {
			env = append(env, pair{name, value})
		}
		_ = args
		a := app(expect.Main, image, map[string]any{
			"exec": []string{expect.Program, expect.RoleWait}, "user": expect.User, "group": expect.Group,
			"supplementaryGIDs": expect.SupplementaryGIDs(), "workingDirectory": expect.MainDir, "environment": env,
		})
		file := filepath.Join(r.TempDir(), "uuid")
		p := r.h.Start("run", r.stage1, "--net=none", "--uuid-file-save="+file, "--pod-manifest="+r.podManifest([]map[string]any{a}, nil))
		p.WaitContains("ready")
		uuid, err := os.ReadFile(file)
		if err != nil {
			r.Fatal(err)
		}
		r.h.Env = []string{expect.Leaked + "=leaked", "TERM=vt220"}
		res := r.h.Run("enter", string(uuid), expect.Program, expect.RoleEnter)
		r.report(r.names(expect.RoleEnter), res.Stdout)
		if res.Status != 0 {
			r.Errorf("%s", res)
		}
		r.h.OK("stop", string(uuid))
		if res := p.Wait(); res.Status != 0 {
			r.Errorf("stopped in order: %s", res)
		}
	})
}
