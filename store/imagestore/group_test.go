// SPDX-License-Identifier: Apache-2.0

package imagestore_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// Any ids that are nobody's.
const (
	memberUID = 64_101
	groupGID  = 64_100
)

// TestGroupMember has root and a member of the store's group use the same
// store in turn, both with an umask that gives the group nothing.
func TestGroupMember(t *testing.T) {
	testenv.NeedsRoot(t)
	top := t.TempDir()
	// The parents of a test's directory are private to root.
	for dir := top; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	program := filepath.Join(top, "child")
	copyProgram(t, program)
	dir := filepath.Join(top, "cas")
	must(t, os.Mkdir(dir, 0o770))
	must(t, os.Chown(dir, 0, groupGID))
	must(t, os.Chmod(dir, 0o770|os.ModeSetgid))
	root := func(verb, n string) { step(t, program, dir, verb, n, nil) }
	member := func(verb, n string) {
		step(t, program, dir, verb, n, &syscall.Credential{Uid: memberUID, Gid: groupGID, Groups: []uint32{groupGID}})
	}
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)

	root("aci", "1")
	root("oci", "1")
	root("list", "0")
	member("list", "0")
	member("aci", "2")
	member("oci", "2")
	member("export", "1")
	member("rm", "1")
	member("rmoci", "1")
	root("aci", "2") // refreshes what the member imported
	root("oci", "3")
	root("gc", "0")
	member("oci", "4")
	member("gc", "0")
	root("rmoci", "2")
	// What either left behind when killed must not lock the other out.
	db := filepath.Join(dir, "db")
	must(t, os.WriteFile(filepath.Join(db, "."+"0123456789abcdef0123456789abcdef01234567"), nil, 0o600))
	member("list", "0")
	must(t, os.WriteFile(filepath.Join(db, "ql.db"), []byte("broken"), 0o660))
	must(t, os.Chmod(filepath.Join(db, "ql.db"), 0o660))
	member("list", "0")
	root("list", "0")
	s := openAt(t, dir)
	if got := len(list(t, s)); got != 3 {
		t.Errorf("%d images, want 3", got)
	}
	sameImages(t, s, list(t, s))
}

func copyProgram(t *testing.T, to string) {
	t.Helper()
	src, err := os.Open("/proc/self/exe")
	must(t, err)
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	must(t, err)
	_, err = io.Copy(dst, src)
	must(t, err)
	must(t, dst.Close())
	must(t, src.Close())
}

func step(t *testing.T, program, dir, verb, n string, who *syscall.Credential) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, dir, n)
	cmd.Env = append(os.Environ(), childEnv+"="+verb)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", verb, n, err, out)
	}
}
