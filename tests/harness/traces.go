// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Process is a process of a pod as the host sees it.
type Process struct {
	PID  int
	Comm string
	Args []string
}

// String is for failure messages.
func (p Process) String() string {
	return strconv.Itoa(p.PID) + " " + p.Comm + ": " + strings.Join(p.Args, " ")
}

// ProcessesOf lists the living processes of a pod: those called with its UUID,
// as the supervisor, its guard and systemd-nspawn are, and those in its cgroups.
// Commands of the test that name the UUID count, too, while they run.
func ProcessesOf(uuid string) []Process {
	scope := scopeName(uuid)
	var found []Process
	for _, pid := range PIDs() {
		dir := "/proc/" + strconv.Itoa(pid)
		cmd, _ := os.ReadFile(dir + "/cmdline")
		groups, _ := os.ReadFile(dir + "/cgroup")
		if !bytes.Contains(cmd, []byte(uuid)) && !bytes.Contains(groups, []byte(scope)) || isZombie(pid) {
			continue
		}
		comm, _ := os.ReadFile(dir + "/comm")
		found = append(found, Process{PID: pid, Comm: strings.TrimSpace(string(comm)), Args: strings.Split(strings.TrimRight(string(cmd), "\x00"), "\x00")})
	}
	return found
}

// scopeName is the cgroup of a pod, whose name systemd would escape like this.
func scopeName(uuid string) string {
	return `machine-rkt\x2d` + strings.ReplaceAll(uuid, "-", `\x2d`)
}

// PIDs are the processes that there are, in order.
func PIDs() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// isZombie tells whether nobody but a parent that has not looked knows of a
// process; one that is gone altogether counts.
func isZombie(pid int) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return true
	}
	rest := data[bytes.LastIndexByte(data, ')')+1:]
	return len(rest) > 1 && (rest[1] == 'Z' || rest[1] == 'X')
}

// PodTraces lists what there is of a pod outside of its directory: processes,
// cgroups, mounts, and files where systemd-nspawn, netns, journald and rkt put
// theirs.
func (h *Host) PodTraces(uuid string) (all []string) {
	for _, p := range ProcessesOf(uuid) {
		all = append(all, "process "+p.String())
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // cgroups come and go while we walk
		}
		if strings.HasPrefix(d.Name(), scopeName(uuid)) {
			all = append(all, "cgroup "+p)
			return fs.SkipDir
		}
		return nil
	})
	for _, m := range MountsBelow(h.Dir) {
		if strings.Contains(m, uuid) {
			all = append(all, "mount "+m)
		}
	}
	plain := strings.ReplaceAll(uuid, "-", "")
	for _, dir := range []string{"/run/systemd/nspawn", "/run/systemd/nspawn/*", "/run/systemd/machines", "/run/netns", "/run/rkt", "/run/host", "/var/log/journal", "/dev/shm", os.TempDir()} {
		names, _ := filepath.Glob(dir + "/*")
		for _, name := range names {
			if base := filepath.Base(name); strings.Contains(base, uuid) || strings.Contains(base, plain) {
				all = append(all, "file "+name)
			}
		}
	}
	return all
}

// PodFiles lists what the data directory has of a pod: its directory in any
// state, what is being deleted, locks.
func (h *Host) PodFiles(uuid string) (all []string) {
	for _, dir := range []string{"pods/*", "tmp", "locks"} {
		names, _ := filepath.Glob(filepath.Join(h.Dir, dir, "*"+uuid+"*"))
		all = append(all, names...)
	}
	return all
}

// WaitFor asks again and again until ok says so, at most as long as that; it
// tells whether it has.
func WaitFor(limit time.Duration, ok func() bool) bool {
	const pause = 5 * time.Millisecond
	for end := time.Now().Add(limit); ; time.Sleep(pause) {
		if ok() {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

// Ended tells whether the command has ended.
func (p *Proc) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Said tells whether the command has printed the text on standard output by now.
func (p *Proc) Said(text string) bool { return strings.Contains(p.result().Stdout, text) }

// Killed ends the command with SIGKILL and waits for that.
func (p *Proc) Killed() Result {
	p.h.T.Helper()
	_ = p.Cmd.Process.Kill() // it may have ended
	return p.Wait()
}
