// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/rkt/rkt/v2/tests/harness"
)

// TestTerminal: no app pushes characters into a terminal that somebody else
// reads (TIOCSTI, TIOCLINUX).
func TestTerminal(t *testing.T) {
	eachFlavor(t, walls(), func(f *field) {
		app := map[string]any{"exec": []string{program, "tty"}}
		for _, mode := range []string{"null", "tty", "stream"} {
			out := filepath.Join(f.TempDir(), "out")
			f.must(os.Mkdir(out, 0o777))
			output := mode
			f.run(attack{
				name: "mode " + mode, app: app, flags: []string{"--volume=out,kind=host,source=" + out},
				appFlags: []string{"--stdin=" + mode, "--stdout=" + output, "--stderr=" + output, "--mount=volume=out,target=/out", "--environment=ATTACKER_OUT=/out/said"},
				check: func(f *field, r harness.Result) {
					f.Helper()
					said, err := os.ReadFile(filepath.Join(out, "said"))
					f.must(err)
					f.judge(attack{allow: contained}, harness.Result{Stdout: string(said), Status: r.Status})
				},
				allow: unheard,
			})
		}
		f.run(attack{name: "log", app: app, allow: contained})
		f.Run("interactive", func(t *testing.T) {
			image := f.image(attack{app: app})
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			cmd := f.h.Cmd(ctx, "run", f.stage1, "--net=none", "--interactive", image)
			master, err := pty.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = master.Close() }()
			said, _ := io.ReadAll(master) // EIO when the other side closes
			_ = cmd.Wait()
			g := *f
			g.T = t
			g.judge(attack{allow: contained}, harness.Result{Stdout: string(said), Status: cmd.ProcessState.ExitCode()})
			if t.Failed() {
				t.Logf("%s", said)
			}
		})
	})
}
