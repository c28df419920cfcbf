// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/pkg/userspace"
)

// helperEnv lists, separated by colons, the control groups that the child
// process joins before it executes its arguments.
const helperEnv = "RKT_MKSTAGE1_JOIN"

func TestMain(m *testing.M) {
	groups, ok := os.LookupEnv(helperEnv)
	if !ok {
		os.Exit(m.Run())
	}
	_ = os.Unsetenv(helperEnv)
	err := joinAndExec(strings.Split(groups, ":"), os.Args[1:])
	fmt.Fprintln(os.Stderr, err)
	os.Exit(99)
}

func joinAndExec(groups, argv []string) error {
	for _, g := range groups {
		if err := os.WriteFile(filepath.Join(g, "cgroup.procs"), []byte("0"), 0); err != nil {
			return err
		}
	}
	return syscall.Exec(argv[0], argv, os.Environ())
}

// coreosArchive is stage1-coreos with the test client as its program.
func coreosArchive(t *testing.T) []byte {
	t.Helper()
	testenv.NeedsProgram(t, "dpkg-query")
	testenv.NeedsProgram(t, "systemd-nspawn")
	client := filepath.Join(t.TempDir(), "client")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", client, "./testdata/client")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o := options{flavor: "coreos", version: "1.2.3", arch: runtime.GOARCH, program: client, files: staticFiles, net: testNetworks(t)}
	archive, err := o.build(newDpkg())
	if err != nil {
		t.Fatal(err)
	}
	again, err := o.build(newDpkg())
	if err != nil || !bytes.Equal(archive, again) {
		t.Errorf("built twice, other bytes: %v", err)
	}
	return archive
}

// unpack lays an archive out in dir.
func unpack(t *testing.T, archive []byte, dir string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, h.Name)
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(path, h.FileInfo().Mode())
		case tar.TypeSymlink:
			err = os.Symlink(h.Linkname, path)
		case tar.TypeLink:
			err = os.Link(filepath.Join(dir, h.Linkname), path)
		default:
			var body []byte
			if body, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, body, h.FileInfo().Mode())
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The image has every library that one of its files needs, and says where
// everything is from.
func TestCoreosIsComplete(t *testing.T) {
	dir := t.TempDir()
	unpack(t, coreosArchive(t), dir)
	root := filepath.Join(dir, "rootfs")
	var seen int
	err := filepath.WalkDir(filepath.Join(root, "usr"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := elf.Open(path)
		if err != nil {
			return nil //nolint:nilerr // not a program
		}
		defer func() { _ = f.Close() }()
		seen++
		libs, err := f.ImportedLibraries()
		for _, lib := range libs {
			if _, err := os.Stat(filepath.Join(root, "usr/lib", lib)); err != nil && !strings.HasPrefix(lib, "ld-linux") {
				t.Errorf("%s needs %s", path, lib)
			}
		}
		return err
	})
	if err != nil || seen < 20 {
		t.Errorf("%d programs and libraries, %v", seen, err)
	}
	packages, err := os.ReadFile(filepath.Join(root, packagesFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"libc6 ", "systemd ", "systemd-container "} {
		if !strings.Contains("\n"+string(packages), "\n"+want) {
			t.Errorf("no %sin %s", want, packages)
		}
	}
	version, err := os.ReadFile(filepath.Join(root, "systemd-version"))
	if n, bad := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(string(version), "v"))); err != nil || bad != nil || n < 252 {
		t.Errorf("systemd-version is %q, %v", version, err)
	}
	if _, err := os.Stat(filepath.Join(root, linkerLink)); err != nil {
		t.Error(err)
	}
}

// The units of the image start and end a pod, without a word but that it ends.
func TestCoreosBoots(t *testing.T) {
	testenv.NeedsRoot(t)
	archive := coreosArchive(t)
	const ends = "SuccessAction=exit-force\nFailureAction=exit-force\n"
	for name, tc := range map[string]struct {
		pod    string // lines of default.target; "": there is none
		action string
		exec   string
		status int
		says   string
		log    []string
	}{
		"an app ends":      {pod: "Wants=app.service\n", action: ends, exec: "/usr/bin/systemctl --version"},
		"exit with status": {pod: "Wants=app.service\n", exec: "/usr/bin/systemctl exit 7", status: 7},
		"power off":        {pod: "Wants=app.service\n", exec: "/usr/bin/systemctl poweroff"},
		"halt":             {pod: "Wants=app.service\n", exec: "/usr/bin/systemctl halt"},
		"reboot":           {pod: "Wants=app.service\n", exec: "/usr/bin/systemctl reboot"},
		"cannot start":     {status: 254, says: "Unit default.target not found.\n"},
		// The app is gone before journald has started: an end in order waits.
		"journal": {
			pod:    "Wants=app.service systemd-journald.socket systemd-journald-dev-log.socket\nAfter=systemd-journald.socket systemd-journald-dev-log.socket\n",
			action: "After=systemd-journald.socket systemd-journald-dev-log.socket\nSuccessAction=exit\n", exec: "/launch",
			log: []string{"to dev-log", "to the native socket"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			unpack(t, archive, dir)
			root := filepath.Join(dir, "rootfs")
			write(t, filepath.Join(root, "etc/machine-id"), strings.Repeat("0123", 8)+"\n")
			if tc.pod != "" {
				write(t, filepath.Join(root, unitDir, "default.target"), "[Unit]\nDefaultDependencies=no\n"+tc.pod)
				write(t, filepath.Join(root, unitDir, "app.service"), "[Unit]\nDefaultDependencies=no\n"+tc.action+
					"[Service]\nType=oneshot\nStandardOutput=null\nExecStart="+tc.exec+"\n")
			}
			status, out := boot(t, root)
			if status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			if want := tc.says + "Shutting down.\n"; out != want {
				t.Errorf("the pod says %q, want %q", out, want)
			}
			log := readJournal(t, root)
			for _, want := range tc.log {
				if !strings.Contains("\n"+log, "\n"+want+"\n") {
					t.Errorf("the journal has %q, want %q", log, want)
				}
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// linked is a program of the image, run on the host as stage1 does.
func linked(root, program string, args ...string) []string {
	return append([]string{
		filepath.Join(root, linkerLink), "--inhibit-cache", "--library-path", filepath.Join(root, userspace.LibraryDir),
		filepath.Join(root, program),
	}, args...)
}

// boot runs the pod to its end, in control groups and a mount namespace of its
// own, and returns what its systemd says.
func boot(t *testing.T, root string) (status int, out string) {
	t.Helper()
	groups := makeGroups(t)
	argv := linked(root, "usr/bin/systemd-nspawn", "-q", "-D", root, "--register=no", "--keep-unit", "--settings=no",
		"--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=passive", "--boot", "--",
		"--default-standard-output=null", "--log-target=console", "--log-level=notice", "--log-color=0", "--show-status=0")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", argv...)
	// A host with v1 controllers would have systemd complain about them.
	cmd.Env = append(os.Environ(), helperEnv+"="+strings.Join(groups, ":"), "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_LOCK=0")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if cmd.ProcessState.ExitCode() < 0 {
		t.Errorf("%v\n%s", err, &stderr)
	}
	return cmd.ProcessState.ExitCode(), strings.ReplaceAll(stdout.String(), "\r", "")
}

// makeGroups makes a control group in each hierarchy that nspawn writes to,
// of the same name in all, as nspawn does, and removes it with what is in it
// when the test ends.
func makeGroups(t *testing.T) []string {
	t.Helper()
	hierarchies := []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"}
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil {
		t.Fatal(err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		hierarchies = []string{"/sys/fs/cgroup"}
	}
	name := "rkt-mkstage1-test-" + filepath.Base(t.TempDir()) + "-" + strconv.Itoa(os.Getpid())
	var groups []string
	for _, h := range hierarchies {
		if _, err := os.Stat(h); err != nil {
			continue
		}
		dir := filepath.Join(h, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		groups = append(groups, dir)
		t.Cleanup(func() { removeGroup(t, dir) })
	}
	return groups
}

// removeGroup kills what is left in a group: nspawn's death is not that of the
// pod. Processes need a moment to leave.
func removeGroup(t *testing.T, dir string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		var dirs []string
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		slices.Reverse(dirs)
		for _, d := range dirs {
			procs, _ := os.ReadFile(filepath.Join(d, "cgroup.procs"))
			for field := range strings.FieldsSeq(string(procs)) {
				if pid, bad := strconv.Atoi(field); bad == nil && pid > 1 {
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			err = os.Remove(d)
		}
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Error(err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// readJournal returns the messages of the pod's journal.
func readJournal(t *testing.T, root string) string {
	t.Helper()
	argv := linked(root, "usr/bin/journalctl", "--quiet", "--no-pager", "--output=cat", "--directory="+filepath.Join(root, "var/log/journal"))
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output()
	if err != nil {
		t.Errorf("journalctl: %v", err)
	}
	return string(out)
}
