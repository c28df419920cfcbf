// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// docBlock is a block of commands of a document, with the texts that follow it:
// lines that have to be somewhere in what the commands print, in this order.
type docBlock struct {
	line     int
	commands string
	want     []string
}

// docBlocks reads the blocks marked sh and text.
func docBlocks(t *testing.T, path string) []docBlock {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []docBlock
	kind, n := "", 0
	for line := range strings.Lines(string(data)) {
		n++
		fence, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "```")
		switch {
		case ok && kind != "":
			kind = ""
		case ok && fence == "sh":
			kind, blocks = fence, append(blocks, docBlock{line: n})
		case ok && fence == "text" && len(blocks) > 0:
			kind = fence
		case ok:
			t.Fatalf("%s:%d: a block marked %q", path, n, fence)
		case kind == "sh":
			blocks[len(blocks)-1].commands += line
		case kind == "text":
			b := &blocks[len(blocks)-1]
			b.want = append(b.want, strings.TrimSuffix(line, "\n"))
		}
	}
	return blocks
}

// docScript joins the blocks for one shell that stops at the first failure.
func docScript(blocks []docBlock) string {
	var b strings.Builder
	b.WriteString("set -eu\n")
	for _, block := range blocks {
		fmt.Fprintf(&b, "echo '### %d'\n%s", block.line, block.commands)
	}
	b.WriteString("echo '### end'\n")
	return b.String()
}

// TestGettingStarted types the commands of docs/getting-started.md.
func TestGettingStarted(t *testing.T) {
	testenv.NeedsRoot(t)
	for _, name := range []string{"bash", "go", "gpg", "openssl", "curl", "ip", "awk"} {
		testenv.NeedsProgram(t, name)
	}
	l := harness.NewLab(t)
	dir, err := os.MkdirTemp("/tmp", "g") //nolint:usetesting // t.TempDir is too long for the sockets of gpg
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	blocks := docBlocks(t, filepath.Join(harness.Checkout(t), "docs", "getting-started.md"))
	out := typed(t, l, dir, docScript(blocks))
	for _, b := range blocks {
		_, said, ok := strings.Cut(out, fmt.Sprintf("### %d\n", b.line))
		if !ok {
			t.Fatalf("the shell did not come to line %d:\n%s", b.line, out)
		}
		said, _, _ = strings.Cut(said, "\n### ")
		rest := said
		for _, want := range b.want {
			if _, rest, ok = strings.Cut(rest, want); !ok {
				t.Errorf("line %d: no %q in\n%s", b.line, want, said)
				break
			}
		}
	}
	if !strings.HasSuffix(strings.TrimSpace(out), "### end") {
		t.Errorf("the shell did not come to the end:\n%s", out)
	}
}

// typed runs a shell on the host of a lab, whose rkt has directories of its own,
// and returns what it and all it started said.
func typed(t *testing.T, l *harness.Lab, dir, text string) string {
	t.Helper()
	bin, work := filepath.Join(dir, "bin"), filepath.Join(dir, "w")
	if err := os.MkdirAll(work, 0o700); err != nil {
		t.Fatal(err)
	}
	rkt := strings.Join(l.Host.Cmd(t.Context()).Args, " ")
	_, rkt, _ = strings.Cut(rkt, l.Host.Bin+" ") // without nsenter
	rkt = strings.ReplaceAll(rkt, " --insecure-options=image", "")
	writeFile(t, filepath.Join(bin, "rkt"), "#!/bin/sh\nexec "+l.Host.Bin+" "+rkt+" \"$@\"\n")
	for name, env := range map[string]string{"acbuild": "ACBUILD_BIN", "actool": "ACTOOL_BIN"} {
		writeFile(t, filepath.Join(bin, name), "#!/bin/sh\nexec "+harness.Program(t, env, name)+" \"$@\"\n")
	}
	for _, name := range []string{"rkt", "acbuild", "actool"} {
		if err := os.Chmod(filepath.Join(bin, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--net=/run/netns/"+l.Name, "bash", "-c", text)
	cmd.Dir = work
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	// What the shell leaves when it fails goes with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = exec.Command("gpgconf", "--homedir", filepath.Join(work, "gnupg"), "--kill", "all").Run()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
