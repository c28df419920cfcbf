// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/tests/harness"
)

// insecure are the global flags with another list of insecure options.
func (p *pods) insecure(options string) func() {
	before := p.Flags
	p.Flags = []string{"--insecure-options=" + options}
	return func() { p.Flags = before }
}

// TestPodKernelFiles: masks and modes of /proc and /sys (apps.md 3.2).
func TestPodKernelFiles(t *testing.T) {
	p := newPods(t)
	readOnlyFiles := []string{"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/panic_on_oom", "/proc/sysrq-trigger", "/proc/sys/kernel/hostname"}
	readOnlyDirs := []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices", "/sys/kernel"}
	hiddenDirs := []string{"/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware", "/sys/fs", "/sys/hypervisor", "/sys/module", "/sys/power", "/sys/devices/virtual/powercap"}
	hiddenFiles := []string{
		"/proc/config.gz", "/proc/kallsyms", "/proc/sched_debug", "/proc/kcore", "/proc/kmem", "/proc/mem", "/proc/interrupts", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats",
	}
	look := "for f in " + strings.Join(slices.Concat(readOnlyFiles, readOnlyDirs, hiddenDirs, hiddenFiles), " ") + `; do
		[ -e $f ] || continue
		w=writable
		if [ -d $f ]; then grep -q " $f ro," /proc/self/mountinfo && w=read-only; else ( : >>$f ) 2>/tmp/err || w=refused; fi
		grep -q "ead-only file system" /tmp/err && w=read-only
		>/tmp/err
		echo $f $(stat -c %A $f) $w
	done`
	seen := map[string]string{}
	for line := range strings.Lines(p.sh(look)) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		seen[name] = rest
	}
	if len(seen) < 10 {
		t.Fatalf("saw %v", seen)
	}
	for _, f := range slices.Concat(readOnlyFiles, readOnlyDirs) {
		if got, ok := seen[f]; ok && !strings.HasSuffix(got, " read-only") {
			t.Errorf("%s: %s, want it read-only", f, got)
		}
	}
	for _, f := range hiddenDirs {
		if got, ok := seen[f]; ok && !strings.HasPrefix(got, "d--------- ") {
			t.Errorf("%s: %s, want it hidden", f, got)
		}
	}
	for _, f := range hiddenFiles {
		if got, ok := seen[f]; ok && !strings.HasPrefix(got, "---------- ") {
			t.Errorf("%s: %s, want it hidden", f, got)
		}
	}
	p.expect("drwxr-xr-x\n", "stat -c %A /sys/class")
	p.expect("empty\n", "[ -z \"$(cat /proc/kallsyms)$(ls /sys/fs)\" ] && echo empty")
	p.expect("refused\n", "mkdir /sys/x 2>/dev/null || echo refused")
	// only insecure option paths lifts this
	restore := p.insecure("image,capabilities,seccomp")
	p.expect("d---------\nread-only\n", "stat -c %A /sys/fs; (: >>/proc/sys/vm/panic_on_oom) 2>/dev/null || echo read-only")
	restore()
	defer p.insecure("image,paths")()
	p.expect("drwxr-xr-x\nwritable\n", "stat -c %A /sys/fs; (: >>/proc/sys/vm/panic_on_oom) && echo writable")
}

// TestPodSysVolume: a volume at /sys keeps the kernel's away, one at a masked
// path is masked.
func TestPodSysVolume(t *testing.T) {
	p := newPods(t)
	p.expect("none\n", "[ -e /sys/class ] || echo none", "--volume=v,kind=empty", "--mount=volume=v,target=/sys")
	p.expect("character special file\n", "stat -c %F /sys/class", "--volume=v,kind=host,source=/dev/null", "--mount=volume=v,target=/sys/class")
	p.expect("d---------\nx\n", "stat -c %A /sys/fs; cat /sys/class/x; touch /sys/class/y 2>/dev/null && echo written; true",
		"--volume=v,kind=host,source="+volumeDir(t, "x"), "--mount=volume=v,target=/sys/class", "--volume=w,kind=empty", "--mount=volume=w,target=/sys/fs")
}

// TestPodDev: the content of /dev.
func TestPodDev(t *testing.T) {
	p := newPods(t)
	p.expect(strings.Join([]string{
		"null crw-rw-rw- 1:3", "zero crw-rw-rw- 1:5", "full crw-rw-rw- 1:7", "random crw-rw-rw- 1:8", "urandom crw-rw-rw- 1:9", "tty crw-rw-rw- 5:0", "",
	}, "\n"), "cd /dev; for n in null zero full random urandom tty; do stat -c '%n %A %t:%T' $n; done")
	p.expect("crw-rw-rw- 0 0\n", "stat -L -c '%A %u %g' /dev/ptmx")
	p.expect("drwxrwxrwt\nyes\n", "stat -c %A /dev/shm; touch /dev/shm/x && echo yes")
	p.expect("/run/systemd/journal/dev-log\n", "readlink /dev/log")
	p.expect("out\nerr\n", "echo out >/dev/stdout; sleep 0.1; echo err >/dev/stderr")
	p.expect("0\n", "head -c 10 /dev/zero | tr -d '\\0' | wc -c; echo x >/dev/null")
	p.expect("No space left on device\n", "(echo x >/dev/full) 2>&1 | grep -o 'No space.*'")
	mounts := p.sh("grep -E ' /dev/(pts|shm) ' /proc/self/mountinfo | cut -d' ' -f5,6")
	for line := range strings.Lines(mounts) {
		name, options, _ := strings.Cut(strings.TrimSpace(line), " ")
		for _, want := range map[string][]string{"/dev/pts": {"nosuid", "noexec"}, "/dev/shm": {"nosuid", "nodev"}}[name] {
			if !slices.Contains(strings.Split(options, ","), want) {
				t.Errorf("%s is mounted %s, without %s", name, options, want)
			}
		}
	}
	for dir, want := range map[string][]string{"/proc": {"nosuid", "noexec", "nodev"}, "/sys": {"nosuid", "noexec", "nodev", "ro"}} {
		options := strings.Split(strings.TrimSpace(p.sh("awk '$5==\""+dir+"\" {print $6}' /proc/self/mountinfo | tail -n 1")), ",")
		for _, w := range want {
			if !slices.Contains(options, w) {
				t.Errorf("%s is mounted %v, without %s", dir, options, w)
			}
		}
	}
}

// TestPodOddDev: what images have in the way in /dev.
func TestPodOddDev(t *testing.T) {
	p := newPods(t)
	entries := append(harness.BusyboxEntries(t),
		harness.Symlink("dev/shm", "/tmp"), harness.Symlink("dev/pts", "/nowhere"), harness.File("dev/null", 0o644, "a file"), harness.Symlink("dev/zero", "/etc/passwd"),
		harness.File("dev/ptmx", 0o600, ""), harness.Symlink("dev/log", "/tmp/log"))
	image := p.Fetch(harness.ACI(t, harness.Manifest("example.com/odd-dev", "1", map[string]any{}), entries))
	r := p.Run(p.program(image, []string{"--exec=/bin/sh"}, "-c",
		"stat -c '%n %A' /dev/null /dev/zero /dev/shm /dev/pts; stat -L -c %F /dev/ptmx; readlink /dev/log; head -c 1 /etc/passwd; echo; head -c 5 /dev/zero | wc -c")...)
	want := "/dev/null crw-rw-rw-\n/dev/zero crw-rw-rw-\n/dev/shm drwxrwxrwt\n/dev/pts drwxr-xr-x\ncharacter special file\n/tmp/log\nr\n5\n"
	if got := harness.AppOutput(r.Stdout, "app"); r.Status != 0 || got != want {
		t.Errorf("%q, want %q: %s", got, want, r)
	}
}

// TestPodDevices: which devices an app may make and use.
func TestPodDevices(t *testing.T) {
	p := newPods(t)
	script := "for d in '1 3' '1 5' '5 2' '10 237' '7 0'; do t=c; [ \"$d\" = '7 0' ] && t=b; mknod /tmp/n $t $d 2>/dev/null && echo made $d || echo refused $d; rm -f /tmp/n; done"
	p.expect("made 1 3\nmade 1 5\nrefused 5 2\nrefused 10 237\nrefused 7 0\n", script)
	p.expect("refused\n", "mknod /tmp/n c 1 3 2>/dev/null || echo refused", "--caps-remove=CAP_MKNOD")
	restore := p.insecure("image,paths")
	p.expect("made 1 3\nmade 1 5\nmade 5 2\nmade 10 237\nmade 7 0\n", script)
	restore()
	// a volume of a device allows the use of it, and no more
	loop := filepath.Join(t.TempDir(), "loop0")
	if err := unix.Mknod(loop, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))); err != nil { // fuse
		t.Fatal(err)
	}
	use := "(: <>/dev/x) 2>&1 && echo opened; mknod /tmp/n c 10 229 2>/dev/null || echo not made"
	if _, err := os.Stat("/dev/fuse"); err == nil {
		p.expect("opened\nnot made\n", use, "--volume=d,kind=host,source="+loop, "--mount=volume=d,target=/dev/x")
		p.expect("opened\n", "(: </dev/x) && echo opened; (: <>/dev/x) 2>/dev/null && echo written; true", "--volume=d,kind=host,readOnly=true,source="+loop, "--mount=volume=d,target=/dev/x")
	}
}

// TestPodVolumes: every kind of volume.
func TestPodVolumes(t *testing.T) {
	p := newPods(t)
	dir := volumeDir(t, "f", "sub/g")
	v := func(more string) string { return "--volume=v,kind=host,source=" + dir + more }
	const mount = "--mount=volume=v,target=/v"
	p.expect("f\nsub/g\n", "cat /v/f /v/sub/g; echo written >/v/new", v(""), mount)
	if got, err := os.ReadFile(filepath.Join(dir, "new")); err != nil || string(got) != "written\n" {
		t.Errorf("written through the volume: %q, %v", got, err)
	}
	p.expect("f\nrefused\n", "cat /v/f; (echo x >/v/f) 2>/dev/null || echo refused", v(",readOnly=true"), mount)
	p.expect("f\n", "cat /deep/er/f", v(""), "--mount=volume=v,target=/deep/er")
	p.expect("f\n", "cat /one", "--volume=v,kind=host,source="+dir+"/f", "--mount=volume=v,target=/one")
	p.expect("f\nroot:x\n", "cat /etc/passwd; head -c 6 /tmp/p; echo", "--volume=v,kind=host,source="+dir+"/f", "--mount=volume=v,target=/etc/passwd",
		"--volume=w,kind=host,source=/etc/passwd,readOnly=true", "--mount=volume=w,target=/tmp/p")
	if l, err := net.Listen("unix", filepath.Join(dir, "sock")); err != nil {
		t.Error(err)
	} else {
		p.expect("socket\n", "stat -c %F /s", "--volume=v,kind=host,source="+dir+"/sock", "--mount=volume=v,target=/s")
		_ = l.Close()
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.expect("fifo\n", "stat -c %F /s", "--volume=v,kind=host,source="+dir+"/fifo", "--mount=volume=v,target=/s")
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	p.expect("f\n", "cat /v/f", "--volume=v,kind=host,source="+dir+"/link", mount)
	odd := filepath.Join(t.TempDir(), `o:dd\ na"me$`+"\n%")
	if err := os.Mkdir(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	p.expect("yes\n", `touch "/t:a\ r/x" && echo yes`, "--volume=v,kind=host,source="+odd, `--mount=volume=v,target=/t:a\ r`)
	if !exists(filepath.Join(odd, "x")) {
		t.Errorf("nothing arrived in %q", odd)
	}
	p.refused(254, `can't mount because`, p.shell("true", "--volume=v,kind=host,source="+dir+"/f", "--mount=volume=v,target=/bin")...)
}

// TestPodVolumeRecursion: what is mounted below a source.
func TestPodVolumeRecursion(t *testing.T) {
	p := newPods(t)
	dir := volumeDir(t, "sub/hidden")
	if err := unix.Mount("tmpfs", dir+"/sub", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir+"/sub", 0) }()
	if err := os.WriteFile(dir+"/sub/below", []byte("below\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const mount = "--mount=volume=v,target=/v"
	v := "--volume=v,kind=host,source=" + dir
	p.expect("below\n", "ls /v/sub", v, mount)
	p.expect("below\n", "ls /v/sub", v+",recursive=true", mount)
	p.expect("hidden\n", "ls /v/sub", v+",recursive=false", mount)
	p.expect("refused\n", "(: >/v/sub/x) 2>/dev/null || echo refused", v+",readOnly=true", mount)
	p.expect("refused\n", "(: >/v/sub/x) 2>/dev/null || echo refused", v+",readOnly=true,recursive=true", mount)
	// what the app mounts stays its own
	p.expect("mounted\n", "mkdir /v/in /v/out && mount -t tmpfs x /v/in && touch /v/in/secret && echo mounted", v, mount, "--caps-retain=CAP_SYS_ADMIN,CAP_DAC_OVERRIDE")
	if entries, err := os.ReadDir(dir + "/in"); err != nil || len(entries) > 0 {
		t.Errorf("an app's mount reaches the host: %v, %v", entries, err)
	}
}

// TestPodVolumePropagation: what the host mounts later under a shared source
// appears in the app.
func TestPodVolumePropagation(t *testing.T) {
	p := newPods(t)
	dir := t.TempDir()
	for _, step := range []func() error{
		func() error { return unix.Mount(dir, dir, "", unix.MS_BIND, "") },
		func() error { return unix.Mount("", dir, "", unix.MS_SHARED, "") },
		func() error { return os.Mkdir(dir+"/late", 0o755) },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	proc := p.start(p.shell("echo ready; until [ -e /v/late/file ]; do sleep 0.05; done; echo arrived", "--volume=v,kind=host,source="+dir, "--mount=volume=v,target=/v")...)
	if err := unix.Mount("tmpfs", dir+"/late", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir+"/late", unix.MNT_DETACH) }()
	if err := os.WriteFile(dir+"/late/file", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	proc.WaitContains("arrived")
	if r := proc.Wait(); r.Status != 0 {
		t.Errorf("%s", r)
	}
}

// TestPodEmptyVolumes: mode and owner, shared by two apps, gone with the pod.
func TestPodEmptyVolumes(t *testing.T) {
	p := newPods(t)
	p.expect("755 0 0\n", "stat -c '%a %u %g' /v", "--volume=v,kind=empty", "--mount=volume=v,target=/v")
	p.expect("1750 7 8\nyes\n", "stat -c '%a %u %g' /v; touch /v/x && echo yes", "--volume=v,kind=empty,mode=1750,uid=7,gid=8", "--mount=volume=v,target=/v")
	p.expect("refused\n", "touch /v/x 2>/dev/null || echo refused", "--volume=v,kind=empty,readOnly=true", "--mount=volume=v,target=/v")
	r := p.Run("run", p.stage1, "--net=none", "--volume=v,kind=empty", "--mount=volume=v,target=/v",
		p.image, "--name=writer", "--exec=/bin/sh", "--", "-c", "echo hello >/v/x; mv /v/x /v/f", "---",
		p.image, "--name=reader", "--exec=/bin/sh", "--", "-c", "until [ -e /v/f ]; do sleep 0.05; done; cat /v/f")
	if got := harness.AppOutput(r.Stdout, "reader"); r.Status != 0 || got != "hello\n" {
		t.Errorf("shared: %s", r)
	}
	image := p.Fetch(harness.Busybox(t, map[string]any{"mountPoints": []map[string]any{{"name": "data", "path": "/data"}, {"name": "ro", "path": "/ro", "readOnly": true}}}))
	r = p.Run(p.program(image, []string{"--exec=/bin/sh"}, "-c", "stat -c '%a %u %g' /data; touch /data/x && echo yes; touch /ro/x 2>/dev/null || echo refused")...)
	if got := harness.AppOutput(r.Stdout, "app"); r.Status != 0 || got != "755 0 0\nyes\nrefused\n" {
		t.Errorf("implicit: %q: %s", got, r)
	}
	if !strings.Contains(r.Stderr, `warning: no volume specified for mount point "data", implicitly creating an "empty" volume. This volume will be removed when the pod is garbage-collected.`+"\n") {
		t.Errorf("no warning: %s", r)
	}
}

// TestPodCopyUp: the implicit volume of a converted image has the image's content.
func TestPodCopyUp(t *testing.T) {
	p := newPods(t)
	m := harness.Manifest("example.com/docker", "1", map[string]any{
		"mountPoints": []map[string]any{{"name": "data", "path": "/data"}, {"name": "linked", "path": "/link"}, {"name": "nothing", "path": "/nothing"}},
	})
	m["annotations"] = []map[string]string{{"name": "appc.io/docker/repository", "value": "library/x"}}
	entries := append(harness.BusyboxEntries(t), harness.Dir("data", 0o2750), harness.File("data/f", 0o640, "content\n"), harness.Symlink("data/l", "/etc/passwd"), harness.Symlink("link", "target"),
		harness.Dir("target", 0o755), harness.File("target/g", 0o644, "behind a link\n"))
	for i := range entries {
		if strings.HasPrefix(entries[i].Name, "data") {
			entries[i].Uid, entries[i].Gid = 12, 34
		}
	}
	image := p.Fetch(harness.ACI(t, m, entries))
	script := "cd /data; stat -c '%n %a %u %g' . f; readlink l; cat f; cat /link/g; ls /nothing; stat -c %a /nothing; touch f && grep -c ' /data ' /proc/self/mountinfo"
	want := ". 2750 12 34\nf 640 12 34\n/etc/passwd\ncontent\nbehind a link\n755\n1\n"
	r := p.Run(p.program(image, []string{"--exec=/bin/sh"}, "-c", script)...)
	if got := harness.AppOutput(r.Stdout, "app"); r.Status != 0 || got != want {
		t.Errorf("%q, want %q: %s", got, want, r)
	}
	if !strings.Contains(r.Stderr, `Docker converted image, initializing implicit volume with data contained at the mount point "/data".`+"\n") {
		t.Errorf("nothing is said: %s", r)
	}
	r = p.Run(p.program(image, []string{"--volume=data,kind=empty", "--exec=/bin/ls"}, "/data")...)
	if got := harness.AppOutput(r.Stdout, "app"); r.Status != 0 || got != "" {
		t.Errorf("a volume that was given is filled: %q: %s", got, r)
	}
}

// TestPodMountTargets: links and dots in a target stay inside the root.
func TestPodMountTargets(t *testing.T) {
	p := newPods(t)
	outside := t.TempDir()
	entries := append(harness.BusyboxEntries(t), harness.Symlink("evil", outside), harness.Symlink("up", "../../../../../../../../.."+outside), harness.Symlink("dangling", "/made/here"),
		harness.Symlink("rel", "home"), harness.Symlink("proclink", "/proc/1/root"))
	image := p.Fetch(harness.ACI(t, harness.Manifest("example.com/links", "1", map[string]any{}), entries))
	dir := volumeDir(t, "f")
	for target, at := range map[string]string{
		"/evil/made": outside + "/made/f", "/up/made": outside + "/made/f", "/../../.." + outside + "/made": outside + "/made/f", "/dangling": "/made/here/f", "/rel": "/home/f",
		"/rel/../var": "/var/f",
	} {
		r := p.Run(p.program(image, []string{"--volume=v,kind=host,source=" + dir, "--mount=volume=v,target=" + target, "--exec=/bin/cat"}, at)...)
		if got := harness.AppOutput(r.Stdout, "app"); r.Status != 0 || got != "f\n" {
			t.Errorf("target %s: %s", target, r)
		}
		if left, _ := os.ReadDir(outside); len(left) > 0 {
			t.Fatalf("target %s made %v on the host", target, left)
		}
	}
	for _, target := range []string{"/", "/.", "/evil/../../.."} {
		r := p.Run(p.program(image, []string{"--volume=v,kind=host,source=" + dir, "--mount=volume=v,target=" + target, "--exec=/bin/ls"}, "/")...)
		if r.Status == 0 && strings.Contains(harness.AppOutput(r.Stdout, "app"), "f\n") || r.Status != 0 && r.Status != 254 {
			t.Errorf("target %s: %s", target, r)
		}
	}
}

// TestPodVolumeAtApiPaths: volumes where rkt mounts things of its own.
func TestPodVolumeAtAPIPaths(t *testing.T) {
	p := newPods(t)
	dir := volumeDir(t, "hosts", "f")
	before := harness.Scan(t, dir, harness.ScanOptions{})
	v := []string{"--volume=v,kind=host,readOnly=true,source=" + dir}
	p.expect("hosts\n", "cat /etc/hosts", append(v, "--mount=volume=v,target=/etc")...)
	p.expect("f\n", "cat /dev/f", append(v, "--mount=volume=v,target=/dev")...)
	p.expect("f\n", "cat /run/f", append(v, "--mount=volume=v,target=/run")...)
	p.expect("f\n", "cat /tmp/f", append(v, "--mount=volume=v,target=/tmp")...)
	harness.CompareTrees(t, "before", before, "after", harness.Scan(t, dir, harness.ScanOptions{}))
	rw := volumeDir(t, "null")
	before = harness.Scan(t, rw, harness.ScanOptions{})
	p.Run(p.shell("true", "--volume=v,kind=host,source="+rw, "--mount=volume=v,target=/dev")...)
	after := harness.Scan(t, rw, harness.ScanOptions{SkipDirTimes: true})
	for name, n := range before {
		if name != "." && after[name].Sum != n.Sum {
			t.Errorf("%s in a volume at /dev is changed", name)
		}
	}
	if _, ok := after["null"]; !ok {
		t.Errorf("a file of the volume at /dev is gone")
	}
	for name := range after {
		if _, ok := before[name]; !ok && after[name].Mode[0] != '4' {
			t.Errorf("rkt made %s in the volume at /dev", name)
		}
	}
}

// TestPodReadOnlyRoot: the root, and what stays writable.
func TestPodReadOnlyRoot(t *testing.T) {
	p := newPods(t)
	script := "touch /x 2>&1 | grep -o 'Read-only file system'; touch /tmp/x 2>/dev/null || echo tmp too; touch /v/x && echo volume; touch /dev/shm/x && echo shm; echo x >/dev/null && echo null"
	for _, more := range [][]string{nil, {"--no-overlay"}} {
		p.expect("Read-only file system\ntmp too\nvolume\nshm\nnull\n", script, append(more, "--readonly-rootfs=true", "--volume=v,kind=empty", "--mount=volume=v,target=/v")...)
	}
	p.expect("written\n", "touch /x && echo written", "--readonly-rootfs=false")
	p.expect("fresh\n", "[ -e /x ] || echo fresh")
	p.expect("", "mount -o remount,rw / 2>/dev/null && echo remounted; mount -o remount,bind,rw / 2>/dev/null && echo remounted; true", "--readonly-rootfs=true")
}

// TestPodNoOverlay: the same with a copied tree.
func TestPodNoOverlay(t *testing.T) {
	p := newPods(t)
	p.expect("0\nroot\nwritten\n", "grep ' / ' /proc/self/mountinfo | grep -c overlay; head -c 4 /etc/passwd; echo; touch /x && echo written", "--no-overlay")
	r := p.Run("run", p.stage1, "--net=none", "--no-overlay", p.image, "--name=one", "--exec=/bin/sh", "--", "-c", "touch /mine; echo one", "---",
		p.image, "--name=two", "--exec=/bin/sh", "--", "-c", "sleep 0.3; ls /mine; exit 0")
	if r.Status != 0 || strings.Contains(harness.AppOutput(r.Stdout, "two"), "/mine\n") && !strings.Contains(r.Stdout, "No such file") {
		t.Errorf("two apps of one image: %s", r)
	}
}

// TestPodRootMount: the root is a mount of its own which a privileged app may
// change without reaching anybody else.
func TestPodRootMount(t *testing.T) {
	p := newPods(t)
	p.expect("private\n", "mount --make-private / && mkdir /m && mount -t tmpfs x /m && echo private", "--caps-retain=CAP_SYS_ADMIN,CAP_DAC_OVERRIDE,CAP_CHOWN")
	p.expect("1\n", "awk '$5==\"/\"' /proc/self/mountinfo | wc -l")
	if out, err := exec.Command("sh", "-c", "grep -c "+strconv.Quote(p.Dir)+" /proc/self/mountinfo").Output(); err == nil {
		t.Errorf("mounts of pods in the host's table: %s", out)
	}
}
