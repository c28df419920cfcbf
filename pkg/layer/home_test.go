// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// insideVariable tells the test that it is in a mount namespace of its own.
const insideVariable = "RKT_TEST_LAYER_INSIDE"

// A tree on an overlay whose layers are on two file systems, as a data
// directory is in a container or on a live system, is unpacked and checked as
// any other, also after the overlay was mounted again.
func TestTreeOnOverlay(t *testing.T) {
	testenv.NeedsRoot(t)
	testenv.NeedsOverlay(t)
	if os.Getenv(insideVariable) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestTreeOnOverlay$", "-test.v")
		cmd.Env = append(os.Environ(), insideVariable+"=1")
		cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("--- PASS: TestTreeOnOverlay ")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	o := newOverlay(t)
	s := Source{Root: o.at("tree"), Index: o.at("index")}
	data := makeTar(t, dir("d/", 0o755), file("d/a", "content"), link("d/c", "d/a"), symlink("l", "d"))
	options := UnpackOptions{Limits: DefaultLimits()}
	if err := os.Mkdir(s.Root, 0o755); err != nil {
		t.Fatal(err)
	}
	res, err := Unpack(t.Context(), bytes.NewReader(data), s.Root, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.WriteIndex(t.Context(), s.Index); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"at once", "after the overlay was mounted again"} {
		if err := CheckStat(t.Context(), s); err != nil {
			t.Errorf("CheckStat %s: %v", when, err)
		}
		if err := VerifyTar(t.Context(), s, bytes.NewReader(data), options); err != nil {
			t.Errorf("VerifyTar %s: %v", when, err)
		}
		o.remount(t)
	}
	t.Run("a file mounted over one of the tree", func(t *testing.T) {
		name := filepath.Join(s.Root, "d/a")
		must(t, unix.Mount(o.at("index"), name, "", unix.MS_BIND, ""))
		if err := CheckStat(t.Context(), s); !isChanged(err) {
			t.Errorf("CheckStat = %v, want a ChangedError", err)
		}
		must(t, unix.Unmount(name, unix.MNT_DETACH))
	})
	t.Run("a file of another file system mounted over one of the tree", func(t *testing.T) {
		name, other := filepath.Join(s.Root, "d/a"), filepath.Join(o.base, "other")
		must(t, os.WriteFile(other, []byte("content"), 0o644))
		must(t, unix.Mount(other, name, "", unix.MS_BIND, ""))
		var changed *ChangedError
		if err := CheckStat(t.Context(), s); !errors.As(err, &changed) || changed.What != "not a file of this tree" {
			t.Errorf("CheckStat = %v, want a ChangedError", err)
		}
		must(t, unix.Unmount(name, unix.MNT_DETACH))
	})
	t.Run("content", func(t *testing.T) {
		must(t, os.WriteFile(filepath.Join(s.Root, "d/a"), []byte("CONTENT"), 0o644))
		if err := CheckStat(t.Context(), s); !isChanged(err) {
			t.Errorf("CheckStat = %v, want a ChangedError", err)
		}
	})
}

// overlay is one with a lower layer in the test's directory and an upper one
// in memory, in the test's mount namespace.
type overlay struct{ base string }

func newOverlay(t *testing.T) overlay {
	t.Helper()
	must(t, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	o := overlay{base: t.TempDir()}
	for _, dir := range []string{"lower", "upper", "merged"} {
		must(t, os.Mkdir(filepath.Join(o.base, dir), 0o755))
	}
	must(t, unix.Mount("tmpfs", filepath.Join(o.base, "upper"), "tmpfs", 0, ""))
	for _, dir := range []string{"upper/upper", "upper/work"} {
		must(t, os.Mkdir(filepath.Join(o.base, dir), 0o755))
	}
	o.mount(t)
	t.Cleanup(func() {
		must(t, unix.Unmount(o.at(""), unix.MNT_DETACH))
		must(t, unix.Unmount(filepath.Join(o.base, "upper"), unix.MNT_DETACH))
	})
	must(t, os.WriteFile(o.at("probe"), nil, 0o600))
	var file, dir unix.Stat_t
	must(t, errors.Join(unix.Stat(o.at("probe"), &file), unix.Stat(o.at(""), &dir)))
	if file.Dev == dir.Dev {
		t.Fatal("files and directories of the overlay have one device number, so this would prove nothing")
	}
	return o
}

func (o overlay) at(name string) string { return filepath.Join(o.base, "merged", name) }

func (o overlay) mount(t *testing.T) {
	t.Helper()
	options := "xino=off,lowerdir=" + o.base + "/lower,upperdir=" + o.base + "/upper/upper,workdir=" + o.base + "/upper/work"
	must(t, unix.Mount("overlay", o.at(""), "overlay", 0, options))
}

// remount gives the directories other inode numbers.
func (o overlay) remount(t *testing.T) {
	t.Helper()
	must(t, unix.Unmount(o.at(""), 0))
	o.mount(t)
	for range 100 { // numbers that others had before
		must(t, errors.Join(os.Mkdir(o.at("x"), 0o700), os.Remove(o.at("x"))))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
