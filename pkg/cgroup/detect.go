// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// hierarchy is one mounted hierarchy as the calling process sees it.
type hierarchy struct {
	mount       string // where it is mounted
	own         string // directory of the calling process, at or below mount
	v2          bool
	controllers []string
}

// Host is what control groups the host has.
type Host struct {
	hierarchies []hierarchy
	fs          filesystem
	proc        string // of the calling process
	// managed says that systemd runs the host: cgroups that it has made are its.
	managed bool
}

// Detect looks at the mounts and the cgroups of the calling process. A host
// without any is not an error: it just has no controller.
func Detect() (*Host, error) {
	h, err := detect("/proc/self", osFS{})
	if err == nil {
		_, err := os.Lstat("/run/systemd/system") // sd_booted(3)
		h.managed = err == nil
	}
	return h, err
}

func detect(proc string, fs filesystem) (*Host, error) {
	mounts, err := os.ReadFile(path.Join(proc, "mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	own, err := os.ReadFile(path.Join(proc, "cgroup"))
	if err != nil {
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	infos, err := mountinfo.GetMountsFromReader(bytes.NewReader(mounts), mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("detect cgroups: %w", err)
	}
	h := &Host{fs: fs, proc: proc}
	paths := ownPaths(own)
	for _, m := range infos {
		if hi, ok := newHierarchy(m, paths); ok && !h.hasMount(hi) {
			h.hierarchies = append(h.hierarchies, hi)
		}
	}
	for i := range h.hierarchies {
		if hi := &h.hierarchies[i]; hi.v2 {
			// Those that own has can be fewer (see handDownTo).
			list, err := fs.read(path.Join(hi.mount, "cgroup.controllers"))
			if err == nil {
				hi.controllers = strings.Fields(list)
			}
		}
	}
	return h, nil
}

// ownPath is one line of /proc/self/cgroup.
type ownPath struct {
	controllers []string // empty on v2
	path        string
}

// ownUnified is the path of the calling process's cgroup on v2, now.
func (h *Host) ownUnified() (string, error) {
	own, err := os.ReadFile(path.Join(h.proc, "cgroup"))
	if err != nil {
		return "", err
	}
	for _, p := range ownPaths(own) {
		if len(p.controllers) == 0 {
			return p.path, nil
		}
	}
	return "", errors.New("this process is in no cgroup of v2")
}

func ownPaths(file []byte) (paths []ownPath) {
	s := bufio.NewScanner(bytes.NewReader(file))
	for s.Scan() {
		f := strings.SplitN(s.Text(), ":", 3)
		if len(f) != 3 || !strings.HasPrefix(f[2], "/") {
			continue
		}
		p := ownPath{path: f[2]}
		if f[1] != "" {
			p.controllers = strings.Split(f[1], ",")
		}
		paths = append(paths, p)
	}
	return paths
}

// newHierarchy pairs a mount with the line that belongs to it.
func newHierarchy(m *mountinfo.Info, paths []ownPath) (hierarchy, bool) {
	h := hierarchy{mount: m.Mountpoint, v2: m.FSType == "cgroup2"}
	options := strings.Split(m.VFSOptions, ",")
	for _, p := range paths {
		if h.v2 != (len(p.controllers) == 0) {
			continue
		}
		if !h.v2 && !slices.Contains(options, p.controllers[0]) {
			continue
		}
		h.controllers = p.controllers
		h.own = path.Join(h.mount, below(m.Root, p.path))
		return h, true
	}
	return h, false
}

// below is the part of p under the root of a mount: a container may have only
// a part of the hierarchy mounted.
func below(root, p string) string {
	root = strings.TrimSuffix(root, "/")
	if rest, ok := strings.CutPrefix(p, root); ok && (rest == "" || rest[0] == '/') {
		return rest
	}
	return ""
}

// hasMount tells whether the same hierarchy was seen at another mount point.
func (h *Host) hasMount(n hierarchy) bool {
	return slices.ContainsFunc(h.hierarchies, func(o hierarchy) bool {
		return o.v2 == n.v2 && slices.Equal(o.controllers, n.controllers)
	})
}

// Has tells whether the host can enforce limits of a controller.
func (h *Host) Has(controller string) bool { return h.find(controller) != nil }

// find prefers v2: where both list a controller, v1 does not have it.
func (h *Host) find(controller string) *hierarchy {
	var found *hierarchy
	for i := range h.hierarchies {
		hi := &h.hierarchies[i]
		if hi.has(controller) && (found == nil || hi.v2) {
			found = hi
		}
	}
	return found
}
