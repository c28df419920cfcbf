// SPDX-License-Identifier: Apache-2.0

//go:build guest

package guest

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// patience is how long a guest may take in all.
const patience = 20 * time.Minute

// machine is a guest that is not started yet.
type machine struct {
	kernel kernel
	host   string // unified, legacy or systemd
	disk   string // file
	debian string // file of the second disk, which is not written to; with systemd
}

// initramfs packs the init program and the modules.
func initramfs(t *testing.T, k kernel, host string) string {
	t.Helper()
	var c cpio
	for _, dir := range []string{"dev", "proc", "disk", "modules"} {
		c.dir(dir)
	}
	c.file("init", read(t, harness.GoProgram(t, "tests/guest/init")))
	var order []string
	for _, name := range k.load(t, modulesOf(host)) {
		c.file("modules/"+name, read(t, k.modules[name]))
		order = append(order, name)
	}
	c.file("modules/order", []byte(strings.Join(order, "\n")+"\n"))
	file := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(file, c.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// makeDisk makes an ext4 image of a directory.
func makeDisk(t *testing.T, tree, size string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	harness.Command(t, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", "-d", tree, file, size)
	return file
}

// console is what a guest has printed.
type console struct {
	results map[string]string // PASS, FAIL or SKIP of each test
	text    string
}

// result is a line of a test program's, told -test.v.
var result = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)

// run starts the machine and follows its console to the end.
func (m machine) run(t *testing.T) console {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	accel := os.Getenv("RKT_GUEST_ACCEL") // kvm; a device that can be opened need not work
	if accel == "" {
		accel = "tcg,thread=multi"
	}
	words := "console=ttyS0 quiet panic=-1 random.trust_cpu=on mitigations=off systemd.show_status=no guest.host=" + m.host
	args := []string{
		"-machine", "q35", "-accel", accel, "-cpu", "max", "-smp", "2", "-m", "1024",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", m.kernel.image, "-initrd", initramfs(t, m.kernel, m.host), "-append", words,
		"-drive", "id=a,file=" + m.disk + ",format=raw,if=none,cache=unsafe", "-device", "virtio-blk-pci,drive=a",
	}
	if m.debian != "" {
		args = append(args, "-drive", "id=b,file="+m.debian+",format=raw,if=none,cache=unsafe,snapshot=on", "-device", "virtio-blk-pci,drive=b")
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install qemu-system-x86 with \"make deps-guest\"", err)
	}
	c := follow(t, out)
	err = cmd.Wait()
	if ctx.Err() != nil {
		t.Errorf("the guest has not ended after %s", patience)
	} else if err != nil {
		t.Errorf("qemu: %v: %s", err, complaints.String())
	}
	return c
}

// follow reads the console; lines of tests are shown as they come.
func follow(t *testing.T, r io.Reader) console {
	t.Helper()
	c := console{results: map[string]string{}}
	start := time.Now()
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := strings.TrimRight(s.Text(), "\r")
		c.text += line + "\n"
		t.Logf("%6.1f %s", time.Since(start).Seconds(), line)
		if m := result.FindStringSubmatch(line); m != nil {
			c.results[m[2]] = m[1]
		}
	}
	return c
}
