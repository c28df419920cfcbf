// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

const loop = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.1; done"

func TestPodLifeCycle(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	p := h.StartPod(sh(image, loop, "--memory=64Mi")[1:]...)
	if !uuidPattern.MatchString(p.UUID) {
		t.Fatalf("--uuid-file-save wrote %q", p.UUID)
	}
	if s := h.Status(p.UUID); s["state"] != "running" || s["exited"] != "false" || s["pid"] == "" || s["started"] == "" || s["created"] == "" {
		t.Errorf("status of a running pod: %v", s)
	}
	list := h.OK("list", "--no-legend", "--full")
	for _, want := range []string{p.UUID, "busybox", "example.com/busybox:1", image[:len("sha512-")+12], "running"} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in list:\n%s", want, list)
		}
	}
	h.Fail(254, `pod "`+p.UUID+`" is currently running`, "rm", p.UUID)
	if got := harness.Cgroups([]string{p.UUID}); len(got) == 0 {
		t.Errorf("no cgroup has the pod's short UUID in its path")
	}

	if out := h.OK("stop", p.UUID[:8]); out != `"`+p.UUID+`"`+"\n" {
		t.Errorf("stop prints %q", out)
	}
	if r := p.Wait(); r.Status != 0 {
		t.Errorf("stopped pod: %s", r)
	}
	h.OK("status", "--wait", p.UUID)
	if s := h.Status(p.UUID); s["state"] != "exited" || s["exited"] != "true" {
		t.Errorf("status of an exited pod: %v", s)
	}
	if out := h.OK("stop", p.UUID); out != `pod "`+p.UUID+`" is already stopped`+"\n" {
		t.Errorf("stop of an exited pod prints %q", out)
	}
	r := h.Run("gc")
	if r.Status != 0 || !strings.Contains(r.Stderr, `moving pod "`+p.UUID+`" to garbage`) || !strings.Contains(r.Stderr, "not removed: still within grace period (30m0s)") {
		t.Errorf("gc: %s", r)
	}
	if s := h.Status(p.UUID); s["state"] != "exited garbage" {
		t.Errorf("status after gc: %v", s)
	}
	if out := h.OK("gc", "--grace-period=0s"); out != `Garbage collecting pod "`+p.UUID+`"`+"\n" {
		t.Errorf("gc prints %q", out)
	}
	h.Fail(254, `no matches found for "`+p.UUID[:8]+`"`, "status", p.UUID[:8])
	if got := harness.Cgroups([]string{p.UUID}); len(got) > 0 {
		t.Errorf("cgroups left: %v", got)
	}
}

func TestStopForce(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	p := h.StartPod(sh(image, "trap '' TERM; echo ready; while :; do sleep 0.1; done")[1:]...)
	h.OK("stop", "--force", p.UUID)
	if r := p.Wait(); r.Signal != syscall.SIGKILL {
		t.Errorf("forced stop: %s, want death by signal 9", r)
	}
	if out := h.OK("rm", p.UUID); out != `"`+p.UUID+`"`+"\n" {
		t.Errorf("rm prints %q", out)
	}
	h.Fail(254, "failed to stop 1 pod(s)", "stop", "ffffffff")
}

func TestExitedPod(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	file := filepath.Join(t.TempDir(), "uuid")
	r := h.Run(append([]string{"run", "--uuid-file-save=" + file}, sh(image, "echo out; exit 5")[1:]...)...)
	if r.Status != 5 {
		t.Fatalf("%s", r)
	}
	raw, err := os.ReadFile(file)
	if err != nil || len(raw) != 36 {
		t.Fatalf("UUID file: %q, %v", raw, err)
	}
	uuid := string(raw)
	if s := h.Status(uuid); s["state"] != "exited" {
		t.Errorf("status: %v", s)
	}
	var pods []struct {
		Name  string
		State string
		Apps  []struct {
			Name    string
			State   string
			ImageID string `json:"image_id"`
		}
	}
	if err := json.Unmarshal([]byte(h.OK("list", "--format=json")), &pods); err != nil {
		t.Fatal(err)
	}
	if len(pods) != 1 || pods[0].Name != uuid || pods[0].State != "exited" || len(pods[0].Apps) != 1 {
		t.Fatalf("list --format=json: %+v", pods)
	}
	if a := pods[0].Apps[0]; a.Name != "busybox" || a.State != "exited" || a.ImageID != image {
		t.Errorf("app: %+v", a)
	}
	h.OK("rm", "--uuid-file="+file)
	if got := h.OK("list", "--format=json"); got != "[]\n" {
		t.Errorf("empty list: %q", got)
	}
}

func TestPrepareAndRunPrepared(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	uuid := strings.TrimSuffix(h.OK("prepare", image, "--exec=/bin/sh", "--", "-c", "echo hello; exit 3"), "\n")
	if !uuidPattern.MatchString(uuid) {
		t.Fatalf("prepare printed %q", uuid)
	}
	if s := h.Status(uuid); s["state"] != "prepared" {
		t.Errorf("status: %v", s)
	}
	h.Fail(254, "is not running", "stop", uuid)
	h.OK("image", "rm", image) // the prepared pod keeps working
	if r := h.Run("run-prepared", "--net=host", uuid); r.Status != 3 || r.Stdout != "hello\n" {
		t.Errorf("%s", r)
	}
	h.Fail(254, `pod "`+uuid+`" is not prepared`, "run-prepared", uuid)
	var manifest map[string]any
	if err := json.Unmarshal([]byte(h.OK("cat-manifest", uuid)), &manifest); err != nil || manifest["acKind"] != "PodManifest" {
		t.Errorf("cat-manifest: %v, %v", manifest, err)
	}
	compact := strings.TrimSuffix(h.OK("cat-manifest", "--pretty-print=false", uuid), "\n")
	if raw, err := os.ReadFile(filepath.Join(h.PodDir(uuid), "pod")); err != nil || string(raw) != compact {
		t.Errorf("compact cat-manifest and the file pod differ (%v):\n%s\n%s", err, compact, raw)
	}
}

func TestExpirePrepared(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	uuid := strings.TrimSpace(h.OK("prepare", image))
	if r := h.Run("gc"); strings.Contains(r.Stderr, uuid) {
		t.Errorf("a fresh prepared pod is touched: %s", r)
	}
	if r := h.Run("gc", "--expire-prepared=0s"); !strings.Contains(r.Stderr, `moving expired prepared pod "`+uuid+`" to garbage`) || !strings.Contains(r.Stdout, uuid) {
		t.Errorf("%s", r)
	}
	uuid = strings.TrimSpace(h.OK("prepare", image))
	if r := h.Run("rm", uuid); r.Stdout != `"`+uuid+`"`+"\n" {
		t.Errorf("rm of a prepared pod: %s", r)
	}
}

func TestPodManifestFile(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	file := filepath.Join(t.TempDir(), "pod.json")
	text := `{"acVersion":"0.8.11","acKind":"PodManifest","apps":[{"name":"mine","image":{"id":"` + image[:30] + `"},"app":{"exec":["/bin/sh","-c","echo from manifest"],"user":"0","group":"0"}}],"volumes":[],"isolators":[],"annotations":[],"ports":[]}`
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := h.OK("run", "--net=host", "--pod-manifest="+file); out != "from manifest\n" {
		t.Errorf("%q", out)
	}
	h.Fail(254, "conflicting flags set with --pod-manifest (see --help)", "run", "--pod-manifest=/not/there", image)
	for _, uuid := range h.Pods() {
		if raw, err := os.ReadFile(filepath.Join(h.PodDir(uuid), "pod")); err != nil || string(raw) != text {
			t.Errorf("the manifest was changed: %v\n%s", err, raw)
		}
	}
}

func TestEnter(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, map[string]any{"environment": []map[string]string{{"name": "APP_VAR", "value": "yes"}}}))
	p := h.StartPod(sh(image, "echo pod >/only-here; "+loop, "--user=1000", "--group=50")[1:]...)
	_ = p
	h.Env = append(h.Env, "TERM=xterm-test", "CALLER_ONLY=1")
	out := h.OK("enter", p.UUID, "/bin/sh", "-c", "env; id; pwd")
	for _, want := range []string{"APP_VAR=yes", "TERM=xterm-test", "uid=1000", "gid=50", "\n/\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the entered command:\n%s", want, out)
		}
	}
	if strings.Contains(out, "CALLER_ONLY") {
		t.Errorf("the caller's environment leaks in:\n%s", out)
	}
	if r := h.Run("enter", p.UUID, "sh", "-c", "exit 9"); r.Status != 9 {
		t.Errorf("exit status of the command: %s", r)
	}
	h.Fail(254, "/bin/bash", "enter", p.UUID)
	h.OK("stop", p.UUID)
	p.Wait()
	h.Fail(254, `isn't currently running`, "enter", p.UUID, "/bin/true")
}

func TestExportPod(t *testing.T) {
	h := newHost(t)
	src := t.TempDir()
	if err := os.WriteFile(filepath.Join(src, "secret"), []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"overlay", "copy"} {
		image := h.Fetch(harness.Busybox(t, nil))
		file := filepath.Join(t.TempDir(), "uuid")
		args := []string{"run", "--uuid-file-save=" + file, "--net=host", "--volume=v,kind=host,source=" + src}
		if mode == "copy" {
			args = append(args, "--no-overlay")
		}
		h.OK(append(args, image, "--mount=volume=v,target=/vol", "--exec=/bin/sh", "--", "-c", "echo made >/made; rm /etc/group; chown 1000:50 /made")...)
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		uuid, aci := string(raw), filepath.Join(t.TempDir(), "pod.aci")
		h.Fail(254, "extension must be .aci", "export", uuid, aci+".tar")
		h.OK("export", uuid, aci)
		h.Fail(254, "target file exists (try --overwrite)", "export", uuid, aci)
		id := h.Fetch(aci)
		out := h.OK("run", "--net=host", id, "--exec=/bin/sh", "--", "-c", "cat /made; stat -c %u:%g /made; ls /etc/group /vol 2>&1; ls /proc | head -1 >/dev/null && echo proc")
		if !strings.HasPrefix(out, "made\n1000:50\n") || strings.Contains(out, "secret") || !strings.Contains(out, "No such file") {
			t.Errorf("%s: exported pod: %q", mode, out)
		}
		listing := harness.Command(t, "tar", "-tzf", aci)
		if strings.Contains(listing, "rootfs/proc/1") || strings.Contains(listing, "rootfs/vol/secret") {
			t.Errorf("%s: the export has files that were mounted over the app's", mode)
		}
	}
}

func TestUUIDPrefixes(t *testing.T) {
	h := newHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	var uuids []string
	for range 20 { // twenty pods have, all but surely, two with one first digit
		uuids = append(uuids, strings.TrimSpace(h.OK("prepare", "--quiet", image)))
	}
	slices.Sort(uuids)
	var prefix string
	for i := range uuids[1:] {
		if uuids[i][:1] == uuids[i+1][:1] {
			prefix = uuids[i][:1]
		}
	}
	if prefix != "" {
		h.Fail(254, "ambiguous uuid", "status", prefix)
	}
	h.OK("status", strings.ToUpper(uuids[0]))
	h.Fail(254, "UUID cannot be empty", "status", "")
	r := h.Run(append([]string{"rm"}, uuids...)...)
	if r.Status != 0 || strings.Count(r.Stdout, "\n") != len(uuids) {
		t.Errorf("%s", r)
	}
}
