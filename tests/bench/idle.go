// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// idlePods: the memory of pods that only wait, beyond their app, and listing them.
func idlePods(b *bench) []row {
	b.allowInstances(b.idle)
	h := b.coreosHost()
	image := h.Fetch(harness.ACI(b, harness.Manifest("example.com/idle", "1", map[string]any{"exec": []string{"/bin/sh", "-c", "echo ready; exec sleep 1000000"}}), harness.BusyboxEntries(b)))
	pods := b.startPods(h, image, b.idle)
	var sum int64
	parts := map[string]int64{}
	for _, p := range pods {
		for name, pss := range b.memory(p.Cmd.Process.Pid, h.PodDir(p.UUID)) {
			parts[name] += pss
			sum += pss
		}
	}
	list := b.repeat(h, "list")
	b.stopPods(h, pods)
	n := int64(len(pods))
	mean := sum / n
	const most = 15 << 20
	r := row{what: fmt.Sprintf("memory of an idle pod beyond the app, %d pods", n), rkt: mib(mean), peer: "-", ratio: "-", budget: mib(most), met: mean <= most}
	r.comment = fmt.Sprintf("(supervisor %s, guard %s, systemd-nspawn %s, systemd %s)", mib(parts["supervisor"]/n), mib(parts["guard"]/n), mib(parts["systemd-nspawn"]/n), mib(parts["systemd"]/n))
	return []row{r, limit(fmt.Sprintf("rkt list, %d running pods", n), list, 100*time.Millisecond, ms)}
}

// allowInstances sees to it that the systemd of each pod has its inotify
// instances, of which the kernel gives root 128 by default.
func (b *bench) allowInstances(pods int) {
	const file, each, others = "/proc/sys/fs/inotify/max_user_instances", 4, 64
	before, err := os.ReadFile(file)
	if err != nil {
		b.Fatalf("%v", err)
	}
	have, err := strconv.Atoi(strings.TrimSpace(string(before)))
	if err != nil {
		b.Fatalf("%v", err)
	}
	need := pods*each + others
	if have >= need {
		return
	}
	b.Logf("bench: %s is %d until the end", file, need)
	b.Cleanup(func() {
		if err := os.WriteFile(file, before, 0); err != nil {
			b.Errorf("%v", err)
		}
	})
	if err := os.WriteFile(file, []byte(strconv.Itoa(need)), 0); err != nil {
		b.Fatalf("%v", err)
	}
}

// startPods starts pods, a few at once.
func (b *bench) startPods(h *harness.Host, image string, n int) []*harness.Proc {
	const together = 4
	var pods []*harness.Proc
	for len(pods) < n {
		var procs []*harness.Proc
		var files []string
		for range min(together, n-len(pods)) {
			file := filepath.Join(b.TempDir(), "uuid")
			files = append(files, file)
			procs = append(procs, h.Start("run", "--net=none", "--uuid-file-save="+file, image))
		}
		for i, p := range procs {
			p.WaitContains("ready")
			uuid, err := os.ReadFile(files[i])
			if err != nil {
				b.Fatalf("%v", err)
			}
			p.UUID = string(uuid)
		}
		pods = append(pods, procs...)
	}
	return pods
}

func (b *bench) stopPods(h *harness.Host, pods []*harness.Proc) {
	args := []string{"stop", "--force"}
	for _, p := range pods {
		args = append(args, p.UUID)
	}
	h.OK(args...)
	var all sync.WaitGroup
	for _, p := range pods {
		all.Go(func() { p.Wait() })
	}
	all.Wait()
}

// memory is the proportional set size of the processes of a pod that are not
// of its apps, by what they are.
func (b *bench) memory(supervisor int, dir string) map[string]int64 {
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		b.Fatalf("%v", err)
	}
	leader, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		b.Fatalf("%v", err)
	}
	all := map[string]int64{"supervisor": b.pss(supervisor), "systemd": b.pss(leader)}
	for _, child := range b.children(supervisor) {
		name := "guard"
		if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", leader)); parent(comm) == child {
			name = "systemd-nspawn"
		}
		all[name] += b.pss(child)
	}
	return all
}

func (b *bench) children(pid int) (found []int) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		b.Fatalf("%v", err)
	}
	for _, d := range dirs {
		stat, err := os.ReadFile(filepath.Join(d, "stat"))
		if err != nil || parent(stat) != pid {
			continue // gone, or somebody else's
		}
		child, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			b.Fatalf("%v", err)
		}
		found = append(found, child)
	}
	return found
}

// parent is field 4 of proc_pid_stat(5), 0 if it cannot be read.
func parent(stat []byte) int {
	text := string(stat)
	f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(f) < 2 {
		return 0
	}
	pid, _ := strconv.Atoi(f[1])
	return pid
}

// pss is the proportional set size of a process in bytes.
func (b *bench) pss(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatalf("%v", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				b.Fatalf("%v", err)
			}
			return kb << 10
		}
	}
	b.Fatalf("process %d has no size", pid)
	return 0
}
