// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/rkt/rkt/v2/tests/harness"
)

// sh are the arguments that run a shell script in the busybox image.
func sh(image, script string, flags ...string) []string {
	args := append([]string{"run", "--net=host", image}, flags...)
	return append(args, "--exec=/bin/sh", "--", "-c", script)
}

func TestRunExitStatus(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	for _, status := range []int{0, 1, 2, 42, 127, 254, 255} {
		if r := h.Run(sh(image, "exit "+strconv.Itoa(status))...); r.Status != status {
			t.Errorf("app exits %d: %s", status, r)
		}
	}
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGSEGV, syscall.SIGHUP, syscall.SIGUSR1} {
		if r := h.Run(sh(image, fmt.Sprintf("kill -%d $$; sleep 100", int(sig)))...); r.Signal != sig {
			t.Errorf("app dies of signal %d: %s", int(sig), r)
		}
	}
}

// groupMessage is what a machine without the group rkt hears (cli.md 1.5).
const groupMessage = "run: group \"rkt\" not found, will use default gid when rendering images\n"

func TestGroupMessageOnce(t *testing.T) {
	h := newHost(t)
	r := h.Run(sh(h.Fetch(harness.Busybox(t, nil)), "exit 0")...)
	if n := strings.Count(r.Stderr, groupMessage); n > 1 {
		t.Errorf("said %d times: %s", n, r)
	}
}

func TestRunStreams(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	r := h.RunWith("from stdin\n", sh(image, "cat; echo to stderr >&2")...)
	if r.Stdout != "from stdin\n" || strings.ReplaceAll(r.Stderr, groupMessage, "") != "to stderr\n" {
		t.Errorf("only the app's words are wanted on both streams: %s", r)
	}
}

func TestSignalsReachTheApp(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR2} {
		p := h.StartPod(sh(image, fmt.Sprintf("trap 'exit 7' %d; echo ready; while :; do sleep 0.1; done", int(sig)))[1:]...)
		p.Signal(sig)
		if r := p.Wait(); r.Status != 7 {
			t.Errorf("signal %d to rkt run: %s, want the app's handler to exit 7", int(sig), r)
		}
	}
}

func TestRunEnvironmentAndUsers(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, map[string]any{
		"environment": []map[string]string{{"name": "FROM_IMAGE", "value": "image"}, {"name": "OVER", "value": "image"}}, "workingDirectory": "/var",
	}))
	h.Env = []string{"RKT_TEST_INHERITED=caller"}
	out := h.OK(append([]string{"run", "--net=host", "--inherit-env", "--set-env=OVER=pod", "--set-env=POD=pod"}, sh(image, "env; pwd", "--environment=OVER=app")[2:]...)...)
	for _, want := range []string{"FROM_IMAGE=image", "OVER=app", "POD=pod", "RKT_TEST_INHERITED=caller", "AC_APP_NAME=busybox", "\n/var\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the app's environment:\n%s", want, out)
		}
	}
	if out := h.OK(sh(image, "env")...); strings.Contains(out, "RKT_TEST_INHERITED") || strings.Contains(out, "RKT_LOCK_FD") {
		t.Errorf("the caller's environment leaks:\n%s", out)
	}
	for flag, want := range map[string]string{
		"--user=1000":                 "uid=1000(alice) gid=0(root)",
		"--user=alice":                "uid=1000(alice)",
		"--group=staff":               "gid=50(staff)",
		"--user=/home":                "uid=0(root)",
		"--supplementary-gids=50,600": "50(staff),600",
	} {
		if out := h.OK(sh(image, "id", flag)...); !strings.Contains(out, want) {
			t.Errorf("%s: %q, want %q in it", flag, out, want)
		}
	}
	h.Fail(254, "not found", sh(image, "id", "--user=nobody-here")...)
	if out := h.OK(sh(image, "pwd", "--working-dir=/home")...); out != "/home\n" {
		t.Errorf("--working-dir: %q", out)
	}
	h.Fail(254, "/not/there", "run", "--net=host", image, "--exec=/not/there")
	if out := h.OK(sh(image, "ls /proc/self/fd")...); strings.Contains(out, "9") || len(strings.Fields(out)) > 5 {
		t.Logf("descriptors in the app: %q", out) // 0 1 2, the lock, the directory being listed
	}
}

func TestRunArguments(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, map[string]any{"exec": []string{"/bin/echo", "from", "image"}}))
	if out := h.OK("run", "--net=host", image); out != "from image\n" {
		t.Errorf("exec of the image: %q", out)
	}
	if out := h.OK("run", "--net=host", image, "--", "and", "", "--net=host"); out != "from image and  --net=host\n" {
		t.Errorf("arguments after --: %q", out)
	}
	if out := h.OK("run", "--net=host", image, "--exec=printf", "--", "%s|", "a b", ""); out != "a b||" {
		t.Errorf("--exec by name: %q", out)
	}
	h.Fail(254, "fly only supports 1 application per Pod for now", "run", "--net=host", image, image, "--name=two")
	h.Fail(254, "--exec must follow an image", "run", "--exec=/bin/sh", image)
	h.Fail(254, "must provide at least one image or specify the pod manifest", "run")
}

func TestRunTTY(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	cmd := h.Cmd(t.Context(), append([]string{"run", "--interactive", "--net=host", image}, "--exec=/bin/sh", "--", "-c", "tty; stty size; read line; echo got $line")...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 33, Cols: 99})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := io.WriteString(f, "words\n"); err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(f) // EIO when the other side closes
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"33 99", "got words"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), "not a tty") {
		t.Errorf("no terminal in the app:\n%s", out)
	}
}

func TestVolumes(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, map[string]any{"mountPoints": []map[string]any{{"name": "declared", "path": "/declared"}}}))
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "f"), []byte("host file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	volume := "--volume=v,kind=host,source=" + src
	run := func(script string, flags ...string) string {
		t.Helper()
		args := append([]string{"run", "--net=host"}, flags...)
		return h.OK(append(args, "--exec=/bin/sh", "--", "-c", script)...)
	}
	if out := run("cat /deep/in/f; echo new >/deep/in/g", volume, image, "--mount=volume=v,target=/deep/in"); out != "host file\n" {
		t.Errorf("host volume: %q", out)
	}
	if got, err := os.ReadFile(filepath.Join(src, "g")); err != nil || string(got) != "new\n" {
		t.Errorf("file written through the volume: %q, %v", got, err)
	}
	if out := run("echo x >/v/h || echo refused", volume+",readOnly=true", image, "--mount=volume=v,target=/v"); !strings.Contains(out, "refused") {
		t.Errorf("read-only volume: %q", out)
	}
	if out := run("stat -c '%a %u %g' /v; touch /v/x && echo written", "--volume=v,kind=empty,mode=0750,uid=7,gid=8", image, "--mount=volume=v,target=/v"); out != "750 7 8\nwritten\n" {
		t.Errorf("empty volume: %q", out)
	}
	if out := run("touch /declared/x && echo written", image); !strings.Contains(out, "written") {
		t.Errorf("a declared mount point without volume gets an empty one: %q", out)
	}
	file := filepath.Join(src, "f")
	if out := run("cat /etc/one", "--volume=one,kind=host,source="+file, image, "--mount=volume=one,target=/etc/one"); out != "host file\n" {
		t.Errorf("file volume: %q", out)
	}
	h.Fail(254, `dangling mount point "/v": volume "nope" not found`, "run", image, "--mount=volume=nope,target=/v")
	h.Fail(254, "source for host volume must be absolute path", "run", "--volume=v,kind=host,source=relative", image)
	r := h.Run("run", "--net=host", "--volume=v,kind=host,source=/no/such/source", image, "--mount=volume=v,target=/v", "--exec=/bin/true")
	if r.Status != 254 || !strings.Contains(r.Stderr, "/no/such/source") {
		t.Errorf("missing volume source: %s", r)
	}
	if left := harness.MountsBelow(h.Dir); len(left) > 0 {
		t.Errorf("mounts of pods in the host's table: %v", left)
	}
}

// TestVolumeCannotEscape: links in the image must not redirect a mount.
func TestVolumeCannotEscape(t *testing.T) {
	h := newHost(t)
	outside := t.TempDir()
	entries := append(harness.BusyboxEntries(t), harness.Symlink("evil", outside), harness.Symlink("up", "../../../../../../../../.."+outside))
	image := h.Fetch(harness.ACI(t, harness.Manifest("example.com/evil", "1", map[string]any{}), entries))
	src := t.TempDir()
	for _, target := range []string{"/evil/made", "/up/made", "/../../../../../../../.." + outside + "/made"} {
		r := h.Run("run", "--net=host", "--volume=v,kind=host,source="+src, image, "--mount=volume=v,target="+target, "--exec=/bin/true")
		if entries, _ := os.ReadDir(outside); len(entries) > 0 {
			t.Errorf("target %s made %v on the host: %s", target, entries[0].Name(), r)
		}
	}
}

func TestReadOnlyRoot(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	out := h.OK(sh(image, "touch /x 2>/dev/null || echo refused; touch /tmp/x && echo tmp works", "--readonly-rootfs=true")...)
	if !strings.Contains(out, "refused") {
		t.Errorf("--readonly-rootfs=true: %q", out)
	}
	if out := h.OK(sh(image, "touch /x && echo written")...); out != "written\n" {
		t.Errorf("without it: %q", out)
	}
	if out := h.OK(sh(image, "ls /x 2>/dev/null || echo fresh")...); out != "fresh\n" {
		t.Errorf("a new pod sees what another one wrote: %q", out)
	}
}

func TestNoOverlay(t *testing.T) {
	h := newHost(t)
	layout := harness.WriteLayout(t, busyboxOCI(t, harness.OCIOptions{}))
	out := h.OK("run", "--no-overlay", "--net=host", "oci:"+layout, "--exec=/bin/sh", "--", "-c", "cat /etc/layer; touch /written; grep ' / ' /proc/self/mountinfo | grep -c overlay || true")
	if !strings.HasPrefix(out, "second\n") || strings.Contains(out, "\n1\n") {
		t.Errorf("copied root: %q", out)
	}
	for _, uuid := range h.Pods() {
		if _, err := os.Stat(filepath.Join(h.PodDir(uuid), "overlay-prepared")); err == nil {
			t.Errorf("pod %s has the overlay marker", uuid)
		}
	}
}

func TestManifestLayersInPod(t *testing.T) {
	h := newHost(t)
	odd := append(harness.OddLayers(), harness.BusyboxEntries(t))
	image := h.Fetch("oci:" + harness.WriteLayout(t, harness.OCIImage(t, harness.OCIOptions{}, odd...)))
	out := h.OK(sh(image, "ls /opaque; cat /links/one; cat /links/four; cat /etc/gone; ls -d /swap/*; stat -c %u:%g /data/b")...)
	want := "links/one is its own file nowshared contentback again/swap/dir\n/swap/file\n4000000000:65536\n"
	if out != want {
		t.Errorf("merged layers in the pod:\n%q\nwant\n%q", out, want)
	}
}

func TestRunLeavesNoDescriptorOpen(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	// harness waits for end of file on both streams; a left-over process would hold them
	if r := h.Run(sh(image, "sleep 0; echo done")...); r.Stdout != "done\n" {
		t.Errorf("%s", r)
	}
	out, err := exec.Command("sh", "-c", "ls -l /proc/*/exe 2>/dev/null | grep -c "+h.Dir).CombinedOutput()
	if err == nil {
		t.Errorf("processes of the pod are left: %s", out)
	}
}
