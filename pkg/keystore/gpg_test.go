// SPDX-License-Identifier: Apache-2.0

package keystore

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/testenv"
)

// gpg is GnuPG with a home directory of its own.
type gpg struct {
	t    testing.TB
	home string
}

// newGPG makes a home directory. Its path is short, for sockets are in it.
func newGPG(t testing.TB) *gpg {
	t.Helper()
	testenv.NeedsProgram(t, "gpg")
	home, err := os.MkdirTemp("/tmp", "g") //nolint:usetesting // t.TempDir is too long for sockets
	if err != nil {
		t.Fatal(err)
	}
	g := &gpg{t, home}
	t.Cleanup(func() {
		kill := exec.Command("gpgconf", "--homedir", home, "--kill", "all")
		if out, err := kill.CombinedOutput(); err != nil {
			t.Errorf("gpgconf --kill all: %v\n%s", err, out)
		}
		_ = os.RemoveAll(home)
	})
	return g
}

func (g *gpg) run(stdin []byte, args ...string) []byte {
	g.t.Helper()
	args = append([]string{
		"--homedir", g.home, "--batch", "--no-tty", "--quiet", "--yes", "--no-auto-check-trustdb",
		"--pinentry-mode", "loopback", "--passphrase", "", "--trust-model", "always",
	}, args...)
	cmd := exec.Command("gpg", args...)
	cmd.Stdin = bytes.NewReader(stdin)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		g.t.Fatalf("gpg %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out.Bytes()
}

// at are the options that set the clock.
func at(t time.Time) []string {
	return []string{"--faked-system-time", t.UTC().Format("20060102T150405") + "!"}
}

// makeKey makes a key and returns its fingerprint.
func (g *gpg) makeKey(user, algo, usage, expire string, options ...string) Fingerprint {
	g.t.Helper()
	g.run(nil, append(options, "--quick-gen-key", user, algo, usage, expire)...)
	for line := range strings.SplitSeq(string(g.run(nil, append(options, "--with-colons", "--list-keys", "="+user)...)), "\n") {
		if rest, ok := strings.CutPrefix(line, "fpr:"); ok {
			return Fingerprint(strings.ToLower(strings.Trim(rest, ":")))
		}
	}
	g.t.Fatalf("no key for %s", user)
	return ""
}

func (g *gpg) export(f Fingerprint) []byte {
	g.t.Helper()
	return g.run(nil, "--armor", "--export", string(f))
}

func (g *gpg) sign(data []byte, f Fingerprint, options ...string) []byte {
	g.t.Helper()
	return g.run(data, append(options, "--armor", "--detach-sign", "--local-user", string(f))...)
}

// revoke uses the certificate that gpg made together with the key.
func (g *gpg) revoke(f Fingerprint) {
	g.t.Helper()
	path := filepath.Join(g.home, "openpgp-revocs.d", strings.ToUpper(string(f))+".rev")
	text, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	_, cert, ok := bytes.Cut(text, []byte(":-----"))
	if !ok {
		g.t.Fatalf("%s holds no certificate", path)
	}
	g.run(append([]byte("-----"), cert...), "--import")
}

func mustKeys(t testing.TB, data []byte) *Keys {
	t.Helper()
	keys, err := ReadKeys(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func verify(store *Store, name string, data, signature []byte, now time.Time) (*Verified, error) {
	sigs, err := ReadSignatures(bytes.NewReader(signature))
	if err != nil {
		return nil, err
	}
	digest := sigs.Begin()
	if _, err := io.Copy(digest, bytes.NewReader(data)); err != nil {
		return nil, err
	}
	ring, err := store.Keyring(identifier(name))
	if err != nil {
		return nil, err
	}
	return digest.Verify(ring, now)
}
