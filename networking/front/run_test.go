// SPDX-License-Identifier: Apache-2.0

package front

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRun(t *testing.T) {
	for _, tc := range []struct{ name, script, want string }{
		{"success", "cat; echo warning >&2", `{"a":1}`},
		{"said", `echo '{"code":7,"msg":"no","details":"why"}'; exit 1`, "error no; why"},
		{"no details", `echo '{"code":7,"msg":"no"}'; exit 1`, "error no"},
		{"no JSON", `echo oops; exit 3`, `error netplugin failed but error parsing its diagnostic message "oops\n": invalid character 'o' looking for beginning of value (exit status 3)`},
		{"nothing", `exit 3`, `error netplugin failed but error parsing its diagnostic message "": unexpected end of JSON input (exit status 3)`},
		{"other JSON", `echo '{}'; exit 3`, `error netplugin failed but error parsing its diagnostic message "{}\n": no message in it (exit status 3)`},
		{"too much", `head -c 1048577 /dev/zero`, "error plugin PATH wrote more than 1048576 bytes"},
		{"much on stderr", `head -c 1000000 /dev/zero >&2; echo x`, "x\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "plugin")
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+tc.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			out, err := Exec{Stderr: &stderr}.ExecPlugin(t.Context(), path, []byte(`{"a":1}`), os.Environ())
			got := string(out)
			if err != nil {
				got = "error " + strings.ReplaceAll(err.Error(), path, "PATH")
			}
			if got != tc.want {
				t.Errorf("%.300s, not %s", got, tc.want)
			}
			if n := stderr.Len(); n > maxStderr || n == 0 && strings.Contains(tc.script, ">&2") {
				t.Errorf("%d bytes on stderr", n)
			}
		})
	}
}

func TestRunCancelled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Exec{}).ExecPlugin(ctx, path, nil, nil); err == nil || !strings.Contains(err.Error(), "deadline") {
		t.Error(err)
	}
}

func TestMasquerades(t *testing.T) {
	for conf, want := range map[string]bool{
		`{"type":"ptp","IpMasq":true}`:                            true,
		`{"type":"ptp","ipMasq":true,"ipMasqBackend":"nftables"}`: false,
		`{"type":"ptp"}`:                   false,
		`{"type":"macvlan","ipMasq":true}`: false,
		`{"name":"l","plugins":[{"type":"tuning"},{"type":"bridge","ipMasq":true}]}`: true,
		`[]`: false,
	} {
		if got := Masquerades([]byte(conf)); got != want {
			t.Errorf("%s: %v", conf, got)
		}
	}
}

func TestFindShipped(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, Dir)
	write(t, dir, map[string]string{"ptp": "", "mine": "", "bridge": "", "flannel": "", "upstream/ptp": "", "upstream/mine": ""})
	write(t, root, map[string]string{"net.d/ptp": "", "net.d/upstream/ptp": ""})
	for path, want := range map[string]bool{
		filepath.Join(dir, "ptp"):          true,
		filepath.Join(dir, "flannel"):      true,
		filepath.Join(dir, "bridge"):       false, // nothing upstream: a user's
		filepath.Join(dir, "mine"):         false,
		filepath.Join(root, "net.d/ptp"):   false,
		filepath.Join(dir, "upstream/ptp"): false,
	} {
		if _, got := findShipped(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
	t.Chdir(root)
	if s, ok := findShipped(filepath.Join(Dir, "ptp")); !ok || s.upstream() != filepath.Join(Dir, "upstream/ptp") {
		t.Errorf("relative: %v %v", s, ok)
	}
	if got := own("/a/usr/lib/rkt/net", "ptp").upstream(); got != "/a/usr/lib/rkt/plugins/net/upstream/ptp" {
		t.Error(got)
	}
}
