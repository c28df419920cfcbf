// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cleanUp removes every pod of the host and reports what stays behind. It
// runs after the processes of the test were waited for.
func (h *Host) cleanUp() {
	h.T.Helper()
	if _, err := os.Stat(h.Dir); err != nil {
		return
	}
	uuids := h.Pods()
	if len(uuids) > 0 {
		r := h.Run("gc", "--grace-period=0s", "--expire-prepared=0s")
		if r.Status != 0 {
			h.T.Errorf("gc at the end of the test: %s", r)
		}
	}
	if left := h.Pods(); len(left) > 0 {
		h.T.Errorf("pods left after gc: %v", left)
	}
	h.CheckLeaks(uuids)
}

// CheckLeaks fails the test if mounts or processes refer to the host's data
// directory, or cgroups to one of the pods.
func (h *Host) CheckLeaks(uuids []string) {
	h.T.Helper()
	for _, m := range MountsBelow(h.Dir) {
		h.T.Errorf("left behind: mount %s", m)
	}
	for _, p := range processesBelow(h.Dir) {
		h.T.Errorf("left behind: process %s", p)
	}
	for _, c := range Cgroups(uuids) {
		h.T.Errorf("left behind: cgroup %s", c)
	}
	for _, uuid := range uuids {
		for _, trace := range h.NetTraces(uuid) {
			h.T.Errorf("left behind: %s", trace)
		}
	}
}

// MountsBelow lists the mount points below dir in the test's own table.
func MountsBelow(dir string) []string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4]+"/", dir+"/") {
			found = append(found, f[4])
		}
	}
	return found
}

// processesBelow lists the processes whose root, directory or program is below dir.
func processesBelow(dir string) []string {
	entries, _ := os.ReadDir("/proc")
	var found []string
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		for _, link := range []string{"root", "cwd", "exe"} {
			to, err := os.Readlink(filepath.Join("/proc", e.Name(), link))
			if err == nil && strings.HasPrefix(to+"/", dir+"/") {
				cmd, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
				found = append(found, e.Name()+" "+link+" "+to+": "+string(bytes.ReplaceAll(cmd, []byte{0}, []byte(" "))))
				break
			}
		}
	}
	return found
}

// Cgroups lists the cgroup directories with the first group of one of the
// UUIDs in their name.
func Cgroups(uuids []string) []string {
	if len(uuids) == 0 {
		return nil
	}
	var found []string
	_ = filepath.WalkDir("/sys/fs/cgroup", func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // cgroups come and go while we walk
		}
		for _, u := range uuids {
			if strings.Contains(d.Name(), u[:8]) {
				found = append(found, p)
				return fs.SkipDir
			}
		}
		return nil
	})
	return found
}

// CheckEmpty fails the test if anything but the empty skeleton and the index
// is left in the data directory: no pod, image, layer, tree, scratch or lock
// of a key.
func (h *Host) CheckEmpty() {
	h.T.Helper()
	err := filepath.WalkDir(h.Dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(h.Dir, p)
		if err != nil {
			return err
		}
		switch {
		case strings.HasPrefix(rel, "cas/db/"), rel == "locks/prepareLock":
		case !d.IsDir():
			h.T.Errorf("left behind: %s", rel)
		case strings.HasPrefix(rel, "cas/tree/"), strings.HasPrefix(rel, "pods/") && strings.Count(rel, "/") > 1:
			h.T.Errorf("left behind: %s", rel)
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		h.T.Errorf("look for left-overs: %v", err)
	}
}

// CollectAll removes all pods and images and checks that nothing is left. Two
// passes of each are enough from any state (spec: gc converges).
func (h *Host) CollectAll() {
	h.T.Helper()
	uuids := h.Pods()
	for range 2 {
		h.OK("gc", "--grace-period=0s", "--expire-prepared=0s")
		h.OK("image", "gc", "--grace-period=0s")
	}
	h.CheckEmpty()
	h.CheckLeaks(uuids)
}
