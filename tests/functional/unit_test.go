// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/unit"
	"github.com/rkt/rkt/v2/tests/harness"
)

// TestDeclaredPod executes the command of a generated service, as systemd would
// without being there: the app gets exactly the words of the declaration.
func TestDeclaredPod(t *testing.T) {
	h := harness.NewHost(t)
	image := h.Fetch(harness.Busybox(t, nil))
	dir := t.TempDir()
	local, out := filepath.Join(dir, "local"), filepath.Join(dir, "out")
	for _, d := range []string{local + "/pods.d", out} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf("[Pod]\nNet=none\nInsecureOptions=image\nStage1=fly\n[App app]\nImage=%s\nExec=/bin/echo\n"+
		"Args=-%%i- \"two  words\" $HOME ${X} 'a\"b' \\\\ 100%%%% ; \\u00e4\n[Install]\nWantedBy=multi-user.target\n", image)
	if err := os.WriteFile(local+"/pods.d/say@.pod", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	h.Flags = append(h.Flags, "--local-config="+local)
	h.OK("unit", "verify")
	h.OK("systemd-generator", out, out, out)
	service, err := os.ReadFile(out + "/say@.service")
	if err != nil {
		t.Fatal(err)
	}
	entries, problems := unit.Parse("say@.service", string(service))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	specifiers := strings.NewReplacer("%%", "%", "%i", "inst", "%t", dir, "%N", "say@inst")
	if err := os.MkdirAll(dir+"/rkt-pod/say@inst", 0o755); err != nil {
		t.Fatal(err)
	}
	commands := map[string][]string{}
	for _, e := range entries {
		if e.Key != "ExecStart" && e.Key != "ExecStopPost" {
			continue
		}
		words, err := unit.Split(strings.TrimPrefix(e.Value, "-"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range words {
			words[i] = strings.ReplaceAll(specifiers.Replace(words[i]), "$$", "$")
		}
		commands[e.Key] = words
	}
	if got, want := execute(t, commands["ExecStart"]), "-inst- two  words $HOME ${X} a\"b \\ 100% ; ä\n"; got != want {
		t.Errorf("the app said %q, want %q", got, want)
	}
	uuid, err := os.ReadFile(dir + "/rkt-pod/say@inst/uuid")
	if err != nil {
		t.Fatal(err)
	}
	execute(t, commands["ExecStopPost"])
	if state := h.Status(string(uuid))["state"]; state != "exited garbage" && state != "exited" {
		t.Errorf("the pod is %q", state)
	}
}

func execute(t *testing.T, words []string) string {
	t.Helper()
	if len(words) == 0 {
		t.Fatal("no command")
	}
	cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
	cmd.WaitDelay = time.Second
	var errOut strings.Builder
	cmd.Stderr = &errOut
	b, err := cmd.Output()
	if err != nil {
		t.Errorf("%q: %v: %s", words, err, errOut.String())
	}
	return string(b)
}
