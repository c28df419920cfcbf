// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

const full = "no space left on device"

// newFullPods is a host on a disk of its own, whose store has all that a pod
// needs.
func newFullPods(t *testing.T) *pods {
	t.Helper()
	testenv.NeedsRoot(t)
	const size = 300 << 10 // KiB
	p := fillPods(t, smallDisk(t, size))
	p.warm()
	return p
}

// ballast is what fills the disk.
func (p *pods) ballast() string { return filepath.Join(filepath.Dir(p.Dir), "ballast") }

// fill leaves so much room on the disk, in KiB.
func (p *pods) fill(kib int64) {
	p.t.Helper()
	p.empty()
	f, err := os.Create(p.ballast())
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, 1<<20)
	var size int64
	for len(block) > 0 {
		n, err := f.Write(block)
		size += int64(n)
		if errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			p.t.Fatal(err)
		}
	}
	if err := f.Truncate(size - kib<<10); err != nil {
		p.t.Fatal(err)
	}
}

// empty makes room.
func (p *pods) empty() {
	if err := os.Remove(p.ballast()); err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Fatal(err)
	}
}

// TestFullDiskAtStart starts pods on a disk with more and more room. Each start
// fails with the reason, or works.
func TestFullDiskAtStart(t *testing.T) {
	p := newFullPods(t)
	room := []int64{0, 4, 16, 32, 64, 96, 128, 160, 192, 256, 1024}
	if long() {
		room = nil
		for kib := int64(0); kib < 400; kib += 4 {
			room = append(room, kib)
		}
	}
	failed, worked := 0, 0
	for _, kib := range room {
		after := fmt.Sprintf("a start with %d KiB", kib)
		p.fill(kib)
		r := p.Run(p.run(script)...)
		p.OK("list")
		uuids := p.Pods()
		for _, uuid := range uuids {
			p.ended(uuid, after)
		}
		lines := errorLines(r)
		switch {
		case r.Signal != 0:
			t.Errorf("%s: %s", after, r)
		case r.Status == 0:
			worked++
			whole(p, r, after)
		default:
			failed++
			reasons := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { // it has no room either
				return strings.Contains(line, "record the exit status")
			})
			if len(reasons) != 1 {
				t.Errorf("%s: want one line that tells: %s", after, r)
			}
		}
		if len(lines) > 0 && !strings.Contains(r.Stderr, full) {
			t.Errorf("%s: the cause is missing from the message: %s", after, r)
		}
		p.collect(after, uuids...) // deleting needs no room
	}
	t.Logf("%d starts failed, %d worked", failed, worked)
	if failed == 0 || worked == 0 {
		t.Errorf("%d starts failed, %d worked: the test shows nothing", failed, worked)
	}
	p.empty()
	p.OK(p.run(script)...)
}

// TestFullDiskWhileLogging fills the disk under a pod whose app goes on to say
// a lot. The app does not notice, nor does who reads its lines; there is one
// warning, and the pod ends with the status of its app.
func TestFullDiskWhileLogging(t *testing.T) {
	const count, status = 20000, 7
	p := newFullPods(t)
	for _, kib := range []int64{0, 1024} {
		start := t.TempDir() // not on that disk
		say := fmt.Sprintf("echo ready; until [ -e /v/go ]; do sleep 0.02; done; i=0; while [ $i -lt %d ]; do echo line $i of many, with some text to make it longer; i=$((i+1)); done; exit %d", count, status)
		args := []string{"run", "--net=none", "--volume=v,kind=host,source=" + start, p.image, "--name=app", "--mount=volume=v,target=/v", "--exec=/bin/sh", "--", "-c", say}
		proc := p.start(args...)
		proc.WaitContains("]: ready")
		p.fill(kib)
		if err := os.WriteFile(filepath.Join(start, "go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		r := proc.Wait()
		after := fmt.Sprintf("a full disk (%d KiB left) under an app that writes", kib)
		if r.Status != status {
			t.Errorf("after %s: %s", after, r)
		}
		said := strings.Split(strings.TrimSuffix(said(r), "\n"), "\n")
		if len(said) != count+1 || said[count] != fmt.Sprintf("line %d of many, with some text to make it longer", count-1) {
			t.Errorf("after %s it printed %d lines, the last of them %q", after, len(said), said[len(said)-1])
		}
		lines, warnings := errorLines(r), 0
		for _, line := range lines {
			if strings.HasPrefix(line, "warning: the journal of the pod cannot be written") && strings.Contains(line, full) {
				warnings++
			}
		}
		// the other line is about the exit status, which has no room either
		if warnings != 1 || len(lines) > 2 {
			t.Errorf("after %s there are %d warnings of %d lines: %s", after, warnings, len(lines), r)
		}
		p.ended(proc.UUID, after)
		p.collect(after, proc.UUID)
		p.empty()
	}
}

// TestFullDiskUnderSandbox adds apps to a mutable pod on a full disk: that
// fails and leaves nothing, and works again when there is room.
func TestFullDiskUnderSandbox(t *testing.T) {
	p := newFullPods(t)
	sandbox := p.start("app", "sandbox", "--net=none")
	if !p.ready(sandbox) {
		t.Fatalf("no sandbox: %s", sandbox.Wait())
	}
	failed := 0
	for _, kib := range []int64{0, 8, 16, 24, 32, 48, 64} {
		p.fill(kib)
		r := p.Run("app", "add", sandbox.UUID, p.image, "--name=app", "--exec=/bin/sleep", "--", "1000")
		if r.Status != 0 {
			failed++
			if !strings.Contains(r.Stderr, full) {
				t.Errorf("%d KiB: the cause is missing from the message: %s", kib, r)
			}
		} else if r := p.Run("app", "start", sandbox.UUID, "--app=app"); r.Status != 0 && !strings.Contains(r.Stderr, full) {
			t.Errorf("%d KiB: the cause is missing from the message: %s", kib, r)
		}
		p.OK("app", "list", sandbox.UUID)
		if r := p.Run("app", "rm", sandbox.UUID, "--app=app"); r.Status != 0 && !strings.Contains(r.Stderr, "nonexistent app") && !strings.Contains(r.Stderr, full) {
			t.Errorf("%d KiB: %s", kib, r)
		}
		p.empty()
		if r := p.Run("app", "rm", sandbox.UUID, "--app=app"); r.Status != 0 && !strings.Contains(r.Stderr, "nonexistent app") {
			t.Errorf("with room: %s", r)
		}
		p.noApps(sandbox.UUID, fmt.Sprintf("app add with %d KiB", kib))
		p.startApp(sandbox.UUID)
		p.OK("app", "rm", sandbox.UUID, "--app=app")
	}
	t.Logf("%d times app add failed", failed)
	if failed == 0 {
		t.Errorf("no app add failed: the test shows nothing")
	}
	p.fill(0)
	p.OK("stop", sandbox.UUID)
	if r := sandbox.Wait(); r.Status != 0 {
		t.Errorf("%s", r)
	}
	p.ended(sandbox.UUID, "stop on a full disk")
	p.collect("stop on a full disk", sandbox.UUID)
	p.empty()
}
