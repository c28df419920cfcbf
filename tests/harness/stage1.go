// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Flavors are the stage1 flavors that a test which covers several runs with:
// all that it can, or those of them that the environment names (RKT_TEST_FLAVORS,
// comma separated).
func Flavors(can ...string) []string {
	only := os.Getenv("RKT_TEST_FLAVORS")
	if only == "" {
		return can
	}
	return slices.DeleteFunc(can, func(f string) bool { return !slices.Contains(strings.Split(only, ","), f) })
}

// Stage1Flag is the flag of run and prepare for the flavor's image in build/.
func Stage1Flag(t T, flavor string) string {
	t.Helper()
	p := filepath.Join(Checkout(t), "build", "stage1", "stage1-"+flavor+".aci")
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("no %s: run \"make stage1\"", p)
	}
	return "--stage1-path=" + p
}

// appLine is how a supervisor prefixes a line of an app in log mode.
var appLine = regexp.MustCompile(`^\[ *[0-9]+\.[0-9]{6}\] ([a-z0-9-]+)\[[0-9]+\]: (.*)$`)

// AppOutput is what an app, or all if it is "", printed in what rkt run printed:
// the lines without the supervisor's prefix. Without any prefix, as under fly,
// all is the app's.
func AppOutput(stdout, app string) string {
	var out strings.Builder
	prefixed := false
	for line := range strings.Lines(stdout) {
		m := appLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		prefixed = prefixed || m != nil
		if m != nil && (app == "" || m[1] == app) {
			out.WriteString(m[2] + "\n")
		}
	}
	if !prefixed {
		return stdout
	}
	return out.String()
}

// programsEnv names a directory of programs that GoProgram and TrueProgram would
// build: where the tests run there is no Go.
const programsEnv = "RKT_TEST_PROGRAMS"

// ProgramFile is the name below RKT_TEST_PROGRAMS of the program that
// GoProgram builds of dir. TrueProgram's is "true".
func ProgramFile(dir string) string { return strings.ReplaceAll(dir, "/", "_") }

// GoProgram builds a package of this module, named by its directory below the
// checkout, as a static program.
func GoProgram(t T, dir string) string {
	t.Helper()
	if made := os.Getenv(programsEnv); made != "" {
		return filepath.Join(made, ProgramFile(dir))
	}
	bin := filepath.Join(t.TempDir(), filepath.Base(dir))
	c := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "./"+dir)
	c.Dir = Checkout(t)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, out)
	}
	return bin
}

// WaitContains waits for a line of standard output with want in it, as an app
// in log mode prints one.
func (p *Proc) WaitContains(want string) {
	p.h.T.Helper()
	limit := time.After(Timeout)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				<-p.done
				p.h.T.Fatalf("ended before it printed %q: %s", want, p.result())
			}
			if strings.Contains(line, want) {
				return
			}
		case <-limit:
			p.h.T.Fatalf("no %q after %s: %s", want, Timeout, p.result())
		}
	}
}
