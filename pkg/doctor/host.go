// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// booted is there where systemd is PID 1 (sd_booted(3)).
const booted = "/run/systemd/system"

func systemd(ctx context.Context, h *Host) Result {
	if !h.has(booted) {
		return Good("not PID 1 here; pods run without it")
	}
	found := "PID 1"
	if out, err := h.Output(ctx, "systemctl", "--version"); err == nil {
		found = firstLine(out)
	}
	for _, dir := range []string{"/usr/lib/systemd/", "/lib/systemd/"} {
		if h.has(dir + "systemd-machined") {
			return Good("%s, with machined", found)
		}
	}
	return Result{Verdict: Warn, Found: found + ", without machined", Todo: "install the package systemd-container to see pods in machinectl"}
}

// oldestNspawn is what stage1-host works with (packaging.md 2).
const oldestNspawn = 220

func nspawn(ctx context.Context, h *Host) Result {
	if !h.has("/usr/bin/systemd-nspawn") {
		return Good("not installed; only stage1-host needs it")
	}
	out, err := h.Output(ctx, "/usr/bin/systemd-nspawn", "--version")
	if err != nil {
		return Unseen(fmt.Errorf("systemd-nspawn --version: %w", err))
	}
	words := strings.Fields(out)
	if len(words) < 2 {
		return Unseen(fmt.Errorf("systemd-nspawn --version says %q", firstLine(out)))
	}
	digits := strings.TrimRightFunc(words[1], func(c rune) bool { return c < '0' || c > '9' })
	n, err := strconv.Atoi(strings.SplitN(digits, ".", 2)[0])
	switch {
	case err != nil:
		return Unseen(fmt.Errorf("systemd-nspawn --version says %q", firstLine(out)))
	case n < oldestNspawn:
		return Result{Verdict: Warn, Found: firstLine(out), Todo: fmt.Sprintf("use systemd %d or later, or stage1-coreos: stage1-host does not work with this one", oldestNspawn)}
	}
	return Good("%s", firstLine(out))
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// Groups of packaging.md 3.
const (
	groupUsers  = "rkt"
	groupAdmins = "rkt-admin"
)

// groupIDs are the groups of /etc/group by name.
func (h *Host) groupIDs() (map[string]int, error) {
	text, err := h.read("/etc/group")
	ids := map[string]int{}
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 3 {
			continue
		}
		if gid, err := strconv.Atoi(fields[2]); err == nil {
			ids[fields[0]] = gid
		}
	}
	return ids, err
}

func groups(_ context.Context, h *Host) Result {
	ids, err := h.groupIDs()
	if err != nil {
		return Unseen(err)
	}
	var missing, todo []string
	for _, name := range []string{groupUsers, groupAdmins} {
		if _, ok := ids[name]; !ok {
			missing = append(missing, name)
			todo = append(todo, "groupadd --force --system "+name)
		}
	}
	if len(missing) > 0 {
		return Result{Verdict: Warn, Found: "missing: " + strings.Join(missing, ", "), Todo: strings.Join(todo, "; ")}
	}
	return Good("%s, %s", groupUsers, groupAdmins)
}

// place is a row of packaging.md 4.
type place struct {
	path  string
	mode  fs.FileMode
	group string
}

const setgid = fs.ModeSetgid

func (h *Host) places() []place {
	data := []place{
		{"", 0o750 | setgid, groupUsers},
		{"tmp", 0o750 | setgid, groupUsers},
		{"cas", 0o770 | setgid, groupUsers},
		{"cas/db", 0o770 | setgid, groupUsers},
		{"cas/imagelocks", 0o770 | setgid, groupUsers},
		{"cas/imageManifest", 0o770 | setgid, groupUsers},
		{"cas/blob", 0o770 | setgid, groupUsers},
		{"cas/tmp", 0o770 | setgid, groupUsers},
		{"cas/tree", 0o700 | setgid, groupUsers},
		{"cas/treestorelocks", 0o700 | setgid, groupUsers},
		{"locks", 0o750 | setgid, groupUsers},
		{"pods", 0o750 | setgid, groupUsers},
	}
	for _, name := range []string{"embryo", "prepare", "prepared", "run", "exited-garbage", "garbage"} {
		data = append(data, place{"pods/" + name, 0o750 | setgid, groupUsers})
	}
	for i := range data {
		data[i].path = filepath.Join(h.DataDir, data[i].path)
	}
	return append(data, place{h.Config, 0o775 | setgid, groupAdmins})
}

// modes: what more people can write than should is a failure; anything else
// costs members of the groups some rights.
func modes(_ context.Context, h *Host) Result {
	ids, err := h.groupIDs()
	if err != nil {
		return Unseen(err)
	}
	var open, other []string
	seen, unseen := 0, error(nil)
	for _, p := range h.places() {
		info, err := os.Stat(h.path(p.path))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			unseen = err
			continue
		}
		seen++
		excess, wrong := p.compare(info, ids)
		if excess {
			open = append(open, wrong)
		} else if wrong != "" {
			other = append(other, wrong)
		}
	}
	const todo = "run the script setup-data-dir.sh or systemd-tmpfiles --create rkt.conf"
	switch {
	case len(open) > 0:
		return Result{Verdict: Fail, Found: strings.Join(append(open, other...), "; "), Todo: todo}
	case unseen != nil:
		return Unseen(unseen)
	case len(other) > 0:
		return Result{Verdict: Warn, Found: shorten(other), Todo: todo + ", for the members of the groups"}
	case seen == 0:
		return Good("no directories yet; rkt makes them")
	}
	return Good("as they should be")
}

// compare says how a directory differs, and whether others than root and the
// group can write what decides about pods.
func (p place) compare(info fs.FileInfo, ids map[string]int) (excess bool, wrong string) {
	const relevant = fs.ModePerm | setgid
	mode := info.Mode() & relevant
	owner, isStat := info.Sys().(*syscall.Stat_t)
	switch gid, ok := ids[p.group]; {
	case !info.IsDir():
		return true, p.path + " is no directory"
	case isStat && owner.Uid != 0:
		return true, fmt.Sprintf("%s belongs to user %d, not root", p.path, owner.Uid)
	case mode&0o002 != 0:
		return true, fmt.Sprintf("%s has mode %#o: everybody can write", p.path, octal(mode))
	case isStat && mode&0o020 != 0 && owner.Gid != 0 && int(owner.Gid) != gid:
		return true, fmt.Sprintf("%s can be written by group %d, which is not %s", p.path, owner.Gid, p.group)
	case mode != p.mode:
		return false, fmt.Sprintf("%s has mode %#o, not %#o", p.path, octal(mode), octal(p.mode))
	case isStat && ok && int(owner.Gid) != gid:
		return false, fmt.Sprintf("%s has group %d, not %s", p.path, owner.Gid, p.group)
	}
	return false, ""
}

func octal(m fs.FileMode) uint32 {
	n := uint32(m.Perm())
	if m&fs.ModeSetgid != 0 {
		n |= 0o2000
	}
	return n
}

// shorten keeps a list readable.
func shorten(list []string) string {
	const most = 3
	if len(list) > most {
		list = append(list[:most:most], fmt.Sprintf("and %d more", len(list)-most))
	}
	return strings.Join(list, "; ")
}

func inotify(_ context.Context, h *Host) Result {
	text, err := h.read("/proc/sys/fs/inotify/max_user_instances")
	if err != nil {
		return Unseen(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return Unseen(fmt.Errorf("fs.inotify.max_user_instances is %q", text))
	}
	// The systemd of each pod has three instances.
	found := fmt.Sprintf("fs.inotify.max_user_instances is %d, enough for %d pods", n, n/3)
	if n <= 128 {
		return Result{Verdict: Warn, Found: found, Todo: "sysctl fs.inotify.max_user_instances=8192, to run more pods under stage1-coreos or stage1-host"}
	}
	return Good("%s", found)
}

func forwarding(_ context.Context, h *Host) Result {
	text, err := h.read("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return Unseen(err)
	}
	if text == "1" {
		return Good("net.ipv4.ip_forward is on")
	}
	return Good("net.ipv4.ip_forward is off; the first pod with a network switches it on")
}

// earliest is before any release of this program: certificates and signatures
// of today are not valid then.
var earliest = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func clock(_ context.Context, h *Host) Result {
	now := h.Now.UTC().Format("2006-01-02 15:04:05 UTC")
	if h.Now.Before(earliest) {
		return Result{Verdict: Fail, Found: now, Todo: "set the clock: signatures and certificates are not valid yet at that time"}
	}
	synced, err := h.Synced()
	if err != nil {
		return Unseen(err)
	}
	if !synced {
		return Result{Verdict: Warn, Found: now + ", not synchronized", Todo: "run a time service, such as systemd-timesyncd or chrony"}
	}
	return Good("%s, synchronized", now)
}
