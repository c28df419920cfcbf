// SPDX-License-Identifier: Apache-2.0

//go:build vm

package vm

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

// Kinds of hosts.
const (
	unified = "unified"
	legacy  = "legacy"
	systemd = "systemd"
)

// patience is how long a guest may take in all.
const patience = 60 * time.Minute

// machine is a guest that is not started yet.
type machine struct {
	kernel kernel
	host   string // unified, legacy or systemd
	disk   string // file
	debian string // file of the second disk; with systemd
	keep   bool   // the second disk is written to: it is this machine's alone
}

// initramfs packs the init program and the modules.
func initramfs(t *testing.T, k kernel, host string) string {
	t.Helper()
	var c cpio
	for _, dir := range []string{"dev", "proc", "disk", "modules"} {
		c.dir(dir)
	}
	c.file("init", read(t, harness.GoProgram(t, "tests/vm/init")))
	var order []string
	for _, name := range k.load(t, modulesOf(host)) {
		c.file("modules/"+name, read(t, k.modules[name]))
		order = append(order, name)
	}
	c.file("modules/order", []byte(strings.Join(order, "\n")+"\n"))
	return c.write(t)
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// makeImage makes an ext4 image of a directory.
func makeImage(t *testing.T, tree, file, size string) {
	t.Helper()
	harness.Command(t, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard", "-m", "0", "-d", tree, file, size)
}

// console is what a guest has printed.
type console struct {
	results map[string]string // PASS, FAIL or SKIP of each test, by "task Test/sub"
	tasks   []string          // that have ended
}

var (
	// result is a line of a test program's, told -test.v.
	result = regexp.MustCompile(`^\s*--- (PASS|FAIL|SKIP): (\S+) \(`)
	starts = regexp.MustCompile(`vm: task (\S+) starts$`)
	ended  = regexp.MustCompile(`vm: task (\S+) ended with `)
)

// run starts the machine and follows its console to the end.
func (m machine) run(t *testing.T) console {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args := qemuArgs(accelerator(t, m.kernel), m.kernel, initramfs(t, m.kernel, m.host), "vm.host="+m.host)
	args = append(args, "-drive", "id=a,file="+m.disk+",format=raw,if=none,cache=unsafe", "-device", "virtio-blk-pci,drive=a")
	if m.debian != "" {
		second := "id=b,file=" + m.debian + ",format=raw,if=none,cache=unsafe"
		if !m.keep {
			second += ",snapshot=on"
		}
		args = append(args, "-drive", second, "-device", "virtio-blk-pci,drive=b")
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v: install qemu-system-x86 with \"make deps-vm\"", err)
	}
	start := time.Now()
	c := follow(t, out)
	err = cmd.Wait()
	t.Logf("the guest ran for %.0f s", time.Since(start).Seconds())
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
	task := ""
	start := time.Now()
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := strings.TrimRight(s.Text(), "\r")
		t.Logf("%6.1f %s", time.Since(start).Seconds(), line)
		if m := starts.FindStringSubmatch(line); m != nil {
			task = m[1]
		}
		if m := ended.FindStringSubmatch(line); m != nil {
			c.tasks = append(c.tasks, m[1])
		}
		if m := result.FindStringSubmatch(line); m != nil {
			c.results[task+" "+m[2]] = m[1]
		}
	}
	return c
}

// copyDisk copies the image of a Debian for a machine that is to write to it.
func copyDisk(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "debian")
	harness.Command(t, "cp", "--sparse=always", from, to)
	return to
}
