// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// kind is what is known of a type of file system.
type kind struct {
	name    string
	verdict Verdict
	remark  string
	todo    string
}

const (
	copies     = "put the data directory on ext4, xfs or btrfs: images are copied for each pod here"
	remote     = "put the data directory on a local disk: locks and overlays do not work as they should over a network"
	zfsMagic   = 0x2FC12FC1
	bcachefs   = 0xca451a4e
	cephMagic  = 0x00c36400
	cifsMagic  = 0xff534d42
	smb2Magic  = 0xfe534d42
	ninePMagic = 0x01021997
)

func kinds() map[int64]kind {
	return map[int64]kind{
		unix.EXT4_SUPER_MAGIC:      {"ext4", OK, "overlays", ""},
		unix.XFS_SUPER_MAGIC:       {"xfs", OK, "overlays, reflinks where made with them", ""},
		unix.BTRFS_SUPER_MAGIC:     {"btrfs", OK, "overlays, reflinks", ""},
		bcachefs:                   {"bcachefs", OK, "overlays, reflinks", ""},
		unix.F2FS_SUPER_MAGIC:      {"f2fs", OK, "overlays", ""},
		unix.TMPFS_MAGIC:           {"tmpfs", Warn, "overlays, but lost when the host stops", "put the data directory on a disk"},
		unix.OVERLAYFS_SUPER_MAGIC: {"overlay", Warn, "no overlay on overlay", copies},
		zfsMagic:                   {"zfs", Warn, "no overlays", copies},
		unix.NFS_SUPER_MAGIC:       {"nfs", Fail, "over a network", remote},
		unix.FUSE_SUPER_MAGIC:      {"fuse", Warn, "no overlays", copies},
		cephMagic:                  {"ceph", Fail, "over a network", remote},
		cifsMagic:                  {"cifs", Fail, "over a network", remote},
		smb2Magic:                  {"smb", Fail, "over a network", remote},
		ninePMagic:                 {"9p", Warn, "no overlays", copies},
		unix.MSDOS_SUPER_MAGIC:     {"vfat", Fail, "no owners, no links", copies},
	}
}

func fileSystem(_ context.Context, h *Host) Result {
	dir := h.existing(h.DataDir)
	st, err := h.Statfs(dir)
	if err != nil {
		return Unseen(err)
	}
	k, known := kinds()[int64(uint32(st.Type))]
	switch {
	case st.Flags&unix.ST_RDONLY != 0:
		return Result{Verdict: Fail, Found: dir + " is read-only", Todo: "mount it for writing, or choose another directory with --dir"}
	case st.Flags&unix.ST_NOEXEC != 0:
		return Result{Verdict: Fail, Found: dir + " is mounted with noexec", Todo: "mount it without: programs of pods are there"}
	case !known:
		return Result{Verdict: Warn, Found: fmt.Sprintf("%s is on a file system of the unknown type %#x", dir, uint32(st.Type)), Todo: `see with "rkt explain run" whether pods get overlays there`}
	case st.Flags&unix.ST_NODEV != 0 || st.Flags&unix.ST_NOSUID != 0:
		return Result{Verdict: Warn, Found: fmt.Sprintf("%s is on %s, mounted with nosuid or nodev", dir, k.name), Todo: "mount it without, if apps need programs with set user ID"}
	}
	return Result{Verdict: k.verdict, Found: fmt.Sprintf("%s is on %s: %s", dir, k.name, k.remark), Todo: k.todo}
}

// Free space below which pods and images get into trouble.
const (
	tooLittle = 128 << 20
	little    = 1 << 30
	fewInodes = 10_000
)

func space(_ context.Context, h *Host) Result {
	dir := h.existing(h.DataDir)
	st, err := h.Statfs(dir)
	if err != nil {
		return Unseen(err)
	}
	free := st.Bavail * uint64(max(st.Bsize, 0))
	found := fmt.Sprintf("%d MiB free on the file system of %s", free>>20, dir)
	const todo = `make room: "rkt gc", "rkt image gc"`
	switch {
	case free < tooLittle:
		return Result{Verdict: Fail, Found: found, Todo: todo}
	case free < little:
		return Result{Verdict: Warn, Found: found, Todo: todo}
	case st.Files > 0 && st.Ffree < fewInodes:
		return Result{Verdict: Warn, Found: fmt.Sprintf("%s, but room for only %d files", found, st.Ffree), Todo: todo}
	}
	return Good("%s", found)
}

// leftovers are mounts of pods that do not run, in the host's namespace, and
// records of networks of pods that are gone.
func leftovers(_ context.Context, h *Host) Result {
	mounts, err := h.read("/proc/self/mountinfo")
	if err != nil {
		return Unseen(err)
	}
	dead := map[string]bool{}
	pods := filepath.Join(h.DataDir, poddir.Pods) + "/"
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if below, ok := strings.CutPrefix(unescapeMount(fields[4]), pods); ok {
			parts := strings.SplitN(below, "/", 3)
			if len(parts) > 1 && !h.Running(parts[1]) {
				dead[parts[1]] = true
			}
		}
	}
	gone, err := h.goneNetworks()
	if err != nil {
		return Unseen(err)
	}
	var found []string
	if len(dead) > 0 {
		found = append(found, fmt.Sprintf("mounts of %d pod(s) that do not run", len(dead)))
	}
	if len(gone) > 0 {
		found = append(found, fmt.Sprintf("networks of %d pod(s) that are gone", len(gone)))
	}
	if len(found) > 0 {
		return Result{Verdict: Warn, Found: strings.Join(found, "; "), Todo: "rkt gc --grace-period=0s"}
	}
	return Good("none")
}

// goneNetworks are the pods that a record of networks names and no directory has.
func (h *Host) goneNetworks() (gone []string, err error) {
	entries, err := os.ReadDir(h.path(filepath.Join(h.DataDir, poddir.NetPods)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		uuid := e.Name()
		if _, parseErr := poddir.ParseUUID(uuid); parseErr != nil {
			continue
		}
		if !slices.ContainsFunc(poddir.StateDirs(), func(dir string) bool {
			return h.has(filepath.Join(h.DataDir, poddir.Pods, dir, uuid))
		}) {
			gone = append(gone, uuid)
		}
	}
	return gone, err
}

// unescapeMount decodes blanks and the like in a path of mountinfo (proc(5)).
func unescapeMount(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
