// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Probes are those that need nothing but this package.
func Probes() []Probe {
	return []Probe{
		{"kernel", kernel},
		{"namespaces", namespaces},
		{"user namespaces", userNamespaces},
		{"overlay", overlayModule},
		{"seccomp", seccompFilter},
		{"openat2", openat2},
		{"idmapped mounts", idmapped},
		{"cgroups", controlGroups},
		{"systemd", systemd},
		{"systemd-nspawn", nspawn},
		{"groups", groups},
		{"directory modes", modes},
		{"file system", fileSystem},
		{"disk space", space},
		{"inotify", inotify},
		{"forwarding", forwarding},
		{"clock", clock},
		{"leftovers", leftovers},
	}
}

// version reads "5.10.0-21-amd64".
func version(release string) (major, minor int, ok bool) {
	head, rest, _ := strings.Cut(release, ".")
	digits := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
	if digits >= 0 {
		rest = rest[:digits]
	}
	major, err1 := strconv.Atoi(head)
	minor, err2 := strconv.Atoi(rest)
	return major, minor, err1 == nil && err2 == nil
}

func kernel(_ context.Context, h *Host) Result {
	r, err := h.Release()
	if err != nil {
		return Unseen(err)
	}
	major, minor, ok := version(r)
	older := func(a, b int) bool { return major < a || major == a && minor < b }
	switch {
	case !ok:
		return Result{Verdict: Warn, Found: fmt.Sprintf("%q, which is no version of Linux", r)}
	case older(3, 18):
		return Result{Verdict: Fail, Found: "Linux " + r, Todo: "use Linux 3.18 or later"}
	case older(5, 12):
		return Result{Verdict: Warn, Found: "Linux " + r, Todo: "use Linux 5.12 or later to share images between pods with user namespaces"}
	}
	return Good("Linux %s", r)
}

func namespaces(_ context.Context, h *Host) Result {
	var missing []string
	for _, name := range []string{"mnt", "uts", "ipc", "pid", "net"} {
		if !h.has("/proc/self/ns/" + name) {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return Result{Verdict: Fail, Found: "missing: " + strings.Join(missing, ", "), Todo: "use a kernel with CONFIG_NAMESPACES and all namespaces, and mount /proc"}
	}
	if !h.has("/proc/self/ns/cgroup") {
		return Result{Verdict: Warn, Found: "no cgroup namespaces", Todo: "use Linux 4.6 or later"}
	}
	return Good("mnt, uts, ipc, pid, net, cgroup")
}

func userNamespaces(_ context.Context, h *Host) Result {
	const todo = "pods cannot have --private-users; use a kernel with CONFIG_USER_NS"
	if !h.has("/proc/self/ns/user") {
		return Result{Verdict: Warn, Found: "not in the kernel", Todo: todo}
	}
	most, err := h.read("/proc/sys/user/max_user_namespaces")
	if err != nil {
		return Unseen(err)
	}
	if most == "0" {
		return Result{Verdict: Warn, Found: "switched off: user.max_user_namespaces is 0", Todo: "sysctl user.max_user_namespaces=15000, for --private-users"}
	}
	return Good("there")
}

func overlayModule(_ context.Context, h *Host) Result {
	list, err := h.read("/proc/filesystems")
	if err != nil {
		return Unseen(err)
	}
	if !slices.Contains(strings.Split(list, "\n"), "nodev\toverlay") {
		return Result{Verdict: Warn, Found: "not in the kernel, or its module is not loaded", Todo: "modprobe overlay; without it, images are copied for each pod"}
	}
	r, err := h.Release()
	if err != nil {
		return Unseen(err)
	}
	if major, minor, ok := version(r); ok && (major < 5 || major == 5 && minor < 19) {
		return Result{Verdict: Warn, Found: "there, but not with idmapped layers", Todo: "use Linux 5.19 or later to share images with pods that have --private-users"}
	}
	return Good("there, with many layers and idmapped ones")
}

func seccompFilter(_ context.Context, h *Host) Result {
	actions, err := h.read("/proc/sys/kernel/seccomp/actions_avail")
	if err != nil {
		return Unseen(err)
	}
	if actions != "" {
		return Good("actions: %s", actions)
	}
	status, err := h.read("/proc/self/status")
	if err != nil {
		return Unseen(err)
	}
	if strings.Contains("\n"+status, "\nSeccomp:") {
		return Good("there")
	}
	return Result{Verdict: Fail, Found: "no filters", Todo: "use a kernel with CONFIG_SECCOMP_FILTER; apps run only with --insecure-options=seccomp"}
}

func openat2(_ context.Context, h *Host) Result {
	err := h.Openat2()
	switch {
	case err == nil:
		return Good("there")
	case errors.Is(err, unix.ENOSYS):
		return Result{Verdict: Warn, Found: "not in the kernel", Todo: "use Linux 5.6 or later"}
	}
	return Result{Verdict: Warn, Found: "refused: " + err.Error(), Todo: "look whether a filter of system calls keeps rkt from it"}
}

func idmapped(_ context.Context, h *Host) Result {
	if h.EUID != 0 {
		return Unseen(fmt.Errorf("only root can tell: %w", unix.EPERM))
	}
	dir := h.existing(h.DataDir)
	if err := h.Idmap(dir); err != nil {
		return Result{Verdict: Warn, Found: fmt.Sprintf("not on the file system of %s: %v", dir, err), Todo: "images are copied for pods with --private-users; use Linux 5.12 or later and ext4, xfs or btrfs"}
	}
	return Good("there, on the file system of %s", dir)
}

func controlGroups(_ context.Context, h *Host) Result {
	c, err := h.Cgroups()
	if err != nil {
		return Unseen(err)
	}
	found := c.Layout + "; controllers: " + strings.Join(c.Controllers, ", ")
	var missing []string
	for _, name := range []string{"memory", "cpu", "pids", "io"} {
		if !slices.Contains(c.Controllers, name) {
			missing = append(missing, name)
		}
	}
	switch {
	case len(c.Controllers) == 0:
		return Result{Verdict: Fail, Found: c.Layout + "; no controllers", Todo: "mount /sys/fs/cgroup, type cgroup2; limits of apps cannot be enforced"}
	case len(missing) > 0:
		return Result{Verdict: Warn, Found: found, Todo: "give the cgroup rkt is started in " + strings.Join(missing, ", ") + " (cgroup.subtree_control, or Delegate=yes in its unit): limits of apps that need them are refused"}
	case c.Layout == "unified" && !c.Kill:
		return Result{Verdict: Warn, Found: found + "; no cgroup.kill", Todo: "use Linux 5.14 or later, which ends all processes of a pod at once"}
	}
	return Good("%s", found)
}
