// SPDX-License-Identifier: Apache-2.0

package podunit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/podunit"
	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/pkg/unit"
)

var host = podunit.Host{Rkt: "/usr/bin/rkt"}

// TestGolden: testdata/NAME.pod becomes testdata/NAME.golden.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.pod")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".pod")
		out := podunit.Parse(name, "/etc/rkt/pods.d/"+name+".pod", string(text)).Output(host)
		var got strings.Builder
		for _, m := range []map[string]string{out.Files, out.Links} {
			for _, k := range sortedKeys(m) {
				got.WriteString("==> " + k + "\n" + m[k] + "\n")
			}
		}
		golden := strings.TrimSuffix(file, ".pod") + ".golden"
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func sortedKeys(m map[string]string) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		"":                                                   "w.pod: there is nothing to run: add a section [App NAME] with Image=, or PodManifest= in [Pod]",
		"[App]\nImage=x\nMemroy=1G":                          "w.pod:3:1: there is no Memroy= in [App]; did you mean Memory=?",
		"[App]\nImage=x\nPort=a:1":                           "w.pod:3:1: there is no Port= in [App]; it belongs into [Pod]",
		"[App]\nImage=x\nRestart=no":                         "w.pod:3:1: there is no Restart= in [App]; for the directive of systemd, put it into [Service]",
		"[App]\nImage=x\n[Service]\nRestat=no":               "w.pod:4:1: systemd knows no Restat= in [Service]; did you mean Restart=?",
		"[App]\nImage=x\n[Service]\nMemory=1G":               "w.pod:4:1: there is no Memory= in [Service]; it belongs into [App]",
		"[App]\nImage=x\n[Service]\nExecStart=":              "w.pod:4:1: ExecStart= cannot be set in [Service]: it is rkt's; the pod would not be supervised with another",
		"[App]\nImage=x\n[Service]\nType=forking":            "w.pod:4:6: Type=forking: has to be notify, exec or simple",
		"[App]\nImage=x\n[Contaner]\n":                       "w.pod:3:1: there is no section [Contaner]",
		"[Ap web]\n[App]\nImage=x":                           "w.pod:1:1: there is no section [Ap web]; did you mean [App]?",
		"[App Web]\nImage=x":                                 "w.pod:1:1: [App Web]: ",
		"[App web]\nMemory=1G":                               "w.pod:1:1: [App web]: Image= is missing",
		"[App]\nImage=--x":                                   `w.pod:2:7: Image=: "--x" begins with a dash`,
		"[App]\nImage=x\nArgs=a --- b":                       `w.pod:3:6: Args=: an app of rkt run cannot have the argument "---"`,
		"[App]\nImage=x\nArgs='a":                            "w.pod:3:6: Args=: a quote is not closed",
		"[App]\nImage=x\nReadOnly=maybe":                     `w.pod:3:10: ReadOnly=: "maybe" is neither yes nor no`,
		"[Pod]\nDir=here\n[App]\nImage=x":                    `w.pod:2:5: Dir=: "here" is no absolute path`,
		"[App]\nImage=x\nUser=100%":                          `w.pod:3:6: User=: "%" is no specifier of systemd; a percent sign is written %%`,
		"[App]\nImage=x\n[Install]\nWantedBy=x":              "w.pod:4:10: WantedBy=: no name of a unit: x",
		"[App]\nImage=x\n[Install]\nWantedBy=../../x.target": "w.pod:4:10: WantedBy=: no name of a unit: ../../x.target",
		"[App]\nImage=x\n[Install]\nWantdBy=x.target":        "w.pod:4:1: there is no WantdBy= in [Install] of a pod; did you mean WantedBy=?",
		"[App]\nImage=x\n[Install]\nAlias=w.service":         "w.pod:4:7: Alias=: the alias of a unit is another name: w.service",
		"[App]\nImage=x\n[Install]\nDefaultInstance=a/b":     `w.pod:4:17: DefaultInstance=: "a/b" cannot be part of the name of a unit`,
		"[App]\nImage=x\n[Socket]\nAccept=yes":               "w.pod:4:1: Accept= cannot be set in [Socket]: a pod takes the listening socket, not one connection",
	} {
		d := podunit.Parse("w", "w.pod", text)
		if len(d.Problems) != 1 || !strings.HasPrefix(d.Problems[0].String(), want) {
			t.Errorf("%q: %v, want %s", text, d.Problems, want)
			continue
		}
		// It fails with that reason, and runs nothing else.
		entries, _ := unit.Parse("x", d.Service(host))
		words := execStart(t, entries)
		if len(words) != 5 || words[2] != "refuse" || words[4] != unit.Literal(d.Problems[0].String()) || slices.Contains(words, "run") {
			t.Errorf("%q: %q", text, words)
		}
	}
}

func execStart(t *testing.T, entries []unit.Entry) (words []string) {
	t.Helper()
	for _, e := range entries {
		if e.Key != "ExecStart" {
			continue
		}
		if words != nil {
			t.Fatal("ExecStart twice")
		}
		var err error
		if words, err = unit.Split(e.Value); err != nil {
			t.Fatal(err)
		}
	}
	for i := range words {
		words[i] = strings.ReplaceAll(words[i], "$$", "$")
	}
	return words
}

// TestLong: systemd takes lines of a MiB, also in what fails.
func TestLong(t *testing.T) {
	dir := t.TempDir()
	most := "[App]\nImage=x\nArgs=" + strings.Repeat("\u00e4", unit.MaxFile/2-20)
	for path, text := range map[string]string{
		"w.pod": most, "x.pod": "[App]\nImage=x\n" + strings.Repeat("y", unit.MaxFile-100), "x.pod.d/1.conf": strings.Repeat("z", 1000),
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sources, _ := podunit.Find([]string{dir})
	if len(sources) != 2 {
		t.Fatal(sources)
	}
	for i, problems := range []int{0, 2} {
		d := sources[i].Read()
		if n := len(d.Service(host)); len(d.Problems) != problems || n > 1<<20 || i == 1 && n > 5000 {
			t.Errorf("%s: %d bytes, %d problems", sources[i].Name, n, len(d.Problems))
		}
	}
}

func TestWarnings(t *testing.T) {
	d := podunit.Parse("w", "w.pod", "[Pod]\nInsecureOptions=image\n[App]\nImage=x\n[Service]\nQwertzuiop=1\n")
	if len(d.Problems) > 0 || len(d.Warnings) != 2 {
		t.Errorf("%v, %v", d.Problems, d.Warnings)
	}
}

// TestFind: /etc before /run before /usr/lib, file by file; masks, drop-ins,
// templates, and files that nobody would read.
func TestFind(t *testing.T) {
	top := t.TempDir()
	dirs := []string{top + "/etc", top + "/run", top + "/lib"}
	for path, text := range map[string]string{
		"etc/a.pod": "[App]\nImage=etc\n", "run/a.pod": "[App]\nImage=run\n", "lib/a.pod": "[App]\nImage=lib\n",
		"lib/masked.pod": "[App]\nImage=x\n", "etc/masked.pod": "",
		"lib/b-c@.pod":            "[App]\nImage=b\nUser=0\n",
		"lib/b-c@.pod.d/10.conf":  "[App]\nUser=1\n",
		"run/b-c@.pod.d/10.conf":  "[App]\nUser=2\n", // in place of the one in lib
		"etc/b-.pod.d/20.conf":    "[App]\nUser=3\n",
		"lib/b-c@x.pod.d/30.conf": "[App]\nGroup=4\n",
		"lib/pod.d/05.conf":       "[App]\nUser=5\nGroup=5\n",
		"lib/pod.d/20.conf":       "[App]\nUser=6\n", // less than b-.pod.d
		"lib/b-c@.pod.d/40.conf":  "",                // masks
		"lib/nobody.pod.d/1.conf": "",
		"etc/a.pod.d/note.txt":    "",
		"etc/typo.pods":           "",
		"etc/.hidden":             "",
		"etc/bad name.pod":        "",
		"etc/@.pod":               "",
	} {
		full := filepath.Join(top, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(top+"/lib/b-c@.pod", top+"/etc/b-c@x.pod"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", top+"/run/null.pod"); err != nil {
		t.Fatal(err)
	}
	sources, problems := podunit.Find(dirs)
	got := map[string]string{}
	for _, s := range sources {
		if s.Masked {
			got[s.Name] = "masked"
			if out := s.Read().Output(host); len(out.Files)+len(out.Links) > 0 {
				t.Errorf("%s: %v", s.Name, out)
			}
			continue
		}
		d := s.Read()
		if len(d.Problems) > 0 {
			t.Errorf("%s: %v", s.Name, d.Problems)
		}
		var words []string
		for _, a := range d.Arguments()[1:] {
			words = append(words, a.Words...)
		}
		got[s.Name] = strings.Join(words, " ")
	}
	// All drop-ins for pods in general are about the app without a name.
	want := map[string]string{
		"a": "etc --user=6 --group=5", "masked": "masked", "null": "masked",
		"b-c@": "b --user=3 --group=5", "b-c@x": "b --user=3 --group=4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var wrong []string
	for _, p := range problems {
		wrong = append(wrong, strings.TrimPrefix(p.Pos.File, top+"/"))
	}
	slices.Sort(wrong)
	if diff := cmp.Diff([]string{"etc/@.pod", "etc/a.pod.d/note.txt", "etc/bad name.pod", "etc/typo.pods", "nobody.pod.d"}, wrong); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// TestWrite: files replace links that others made, and nothing leaves the
// directory.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, dir+"/w.service"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Dir(outside), dir+"/a.target.wants"); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = root.Close() }()
	out := podunit.Parse("w", "w.pod", "[App]\nImage=x\n[Install]\nWantedBy=a.target b.target\nAlias=v.service\n").Output(host)
	if err := out.Write(root); err == nil {
		t.Error("a link was made outside")
	}
	if b, _ := os.ReadFile(outside); string(b) != "x" {
		t.Errorf("a file outside was written: %q", b)
	}
	for link, want := range map[string]string{"b.target.wants/w.service": "../w.service", "v.service": "w.service"} {
		if got, _ := os.Readlink(filepath.Join(dir, link)); got != want {
			t.Errorf("%s: %q, want %q", link, got, want)
		}
	}
	if entries, _ := os.ReadDir(filepath.Dir(outside)); len(entries) != 1 {
		t.Errorf("outside: %v", entries)
	}
	if info, err := os.Lstat(dir + "/w.service"); err != nil || !info.Mode().IsRegular() {
		t.Errorf("w.service: %v %v", info, err)
	}
}

// TestSystemd has systemd itself read what was made of the examples.
func TestSystemd(t *testing.T) {
	analyze := testenv.NeedsProgram(t, "systemd-analyze")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/rkt", []byte("#!/bin/false\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../examples/pods.d/*.pod")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	golden, _ := filepath.Glob("testdata/*.pod")
	for _, file := range append(files, golden...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".pod")
		for unitName, text := range podunit.Parse(name, "/etc/rkt/pods.d/"+name+".pod", string(text)).Output(podunit.Host{Rkt: dir + "/rkt"}).Files {
			unitName = strings.Replace(unitName, "@.", "@1.", 1)
			if err := os.WriteFile(filepath.Join(dir, unitName), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	units, _ := filepath.Glob(dir + "/*.s*")
	for _, u := range units {
		cmd := exec.Command(analyze, "verify", "--man=no", u)
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), dir) {
			t.Errorf("%s: %v: %s", filepath.Base(u), err, out)
		}
	}
}

// FuzzDeclaration: whatever a file says, the service has one command, which is
// rkt, and directives that the file did not write are those of rkt.
func FuzzDeclaration(f *testing.F) {
	for _, s := range []string{
		"[App]\nImage=x\nArgs=a 'b c' %i $X\n", "[Pod]\nNet=host\n[App a]\nImage=x\nExec=\\\n", "[Service]\nRestart=always\n[App]\nImage=x",
		"[App]\nImage=a\\nb\nUser=\\", "[App x]\n[Install]\nWantedBy=a.target\n", "[Socket]\nListenStream=80\n[App]\nImage=x\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d := podunit.Parse("w", "/etc/rkt/pods.d/w.pod", s)
		entries, problems := unit.Parse("x", d.Service(host))
		if len(problems) > 0 {
			t.Fatalf("%q: %v", s, problems)
		}
		words := execStart(t, entries)
		if len(words) < 2 || words[0] != "/usr/bin/rkt" {
			t.Fatalf("%q: %q", s, words)
		}
		if len(d.Problems) > 0 {
			return
		}
		want := []string{"/usr/bin/rkt"}
		run := []string{"run"}
		for _, a := range d.Arguments() {
			if a.Global {
				want = append(want, a.Words...)
			} else {
				run = append(run, a.Words...)
			}
		}
		if diff := cmp.Diff(append(want, run...), words); diff != "" {
			t.Errorf("%q (-want +got):\n%s", s, diff)
		}
		written, _ := unit.Parse("x", s)
		count := func(all []unit.Entry) (n int) {
			for _, e := range all {
				if e.Key != "" && (e.Section == "Unit" || e.Section == "Service") {
					n++
				}
			}
			return n
		}
		if n := count(entries) - count(written); n < 13 || n > 17 {
			t.Errorf("%q: %d directives are rkt's:\n%s", s, n, d.Service(host))
		}
	})
}
