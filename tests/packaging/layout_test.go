// SPDX-License-Identifier: Apache-2.0

//go:build packaging

package packaging

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// directories are the lines "PATH MODE root:GROUP" that tmpfiles.d promises.
func directories(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(harness.Checkout(t), "dist/tmpfiles.d/rkt.conf"))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 7 && f[0] == "d" {
			list = append(list, fmt.Sprintf("%s %s %s:%s", f[1], strings.TrimPrefix(f[2], "0"), f[3], f[4]))
		}
	}
	if len(list) < 20 {
		t.Fatalf("tmpfiles.d has %d directories", len(list))
	}
	return list
}

// A link in place of a directory that members of the group may replace leads
// the set-up nowhere.
func TestSetupFollowsNoLink(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	script := h.put(filepath.Join(harness.Checkout(t), "dist/scripts/setup-data-dir.sh"))
	h.run("mkdir", "-p", "/srv/data")
	h.run("sh", script, "/srv/data/rkt")
	if got := h.run("stat", "-c", "%a %U:%G", "/srv/data/rkt", "/srv/data/rkt/cas/db", "/srv/data/rkt/cas/tree"); got != "2750 root:rkt\n2770 root:rkt\n2700 root:rkt\n" {
		t.Errorf("directories are %s", got)
	}
	h.run("sh", script, "/srv/data/rkt") // again
	h.run("mkdir", "-m", "0700", "/srv/secret")
	h.run("rmdir", "/srv/data/rkt/cas/db")
	h.run("ln", "-s", "/srv/secret", "/srv/data/rkt/cas/db")
	if out := h.refuses("sh", script, "/srv/data/rkt"); !strings.Contains(out, "cas/db is a link to /srv/secret") {
		t.Errorf("the script says %s", out)
	}
	if got := h.run("stat", "-c", "%a %G", "/srv/secret"); got != "700 root\n" {
		t.Errorf("the directory behind the link is %s", got)
	}
	if out := h.refuses("setpriv", "--reuid", "1000", "--clear-groups", "sh", script); out != "This script must be run as root\n" {
		t.Errorf("for others the script says %q", out)
	}
}
