// SPDX-License-Identifier: Apache-2.0

//go:build functional

package escape

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// program is where the attacker lies in its images.
const program = "/bin/attacker"

// field is where attacks happen: a data directory of rkt, a flavor, and
// something on the host to lose.
type field struct {
	*testing.T
	h        *harness.Host
	flavor   string
	stage1   string // flag
	programs string // directory of rkt and its stage1 image
	attacker []byte
	canary   string            // a directory of the host
	images   map[string]string // made so far: ID by content
	trees    map[string]harness.Node
}

// eachFlavor runs attacks for the flavors.
func eachFlavor(t *testing.T, flavors []string, test func(f *field)) {
	t.Helper()
	testenv.NeedsRoot(t)
	body, err := os.ReadFile(harness.GoProgram(t, "tests/escape/attacker"))
	if err != nil {
		t.Fatal(err)
	}
	for _, flavor := range harness.Flavors(flavors...) {
		t.Run(flavor, func(t *testing.T) {
			f := &field{T: t, h: harness.NewHost(t), flavor: flavor, attacker: body, images: map[string]string{}}
			f.own(strings.TrimPrefix(harness.Stage1Flag(t, flavor), "--stage1-path="))
			f.plant()
			test(f)
			f.harvest()
		})
	}
}

// all are the flavors for attacks that every flavor has to stop; walls are
// those that have walls against the kernel's own doors: fly is for trusted
// programs and has none (docs/stage1-differences.md).
func all() []string   { return []string{"coreos", "host", "fly"} }
func walls() []string { return []string{"coreos", "host"} }

// own gives the field its own copies of rkt and of the stage1 image, which
// nobody else may change meanwhile.
func (f *field) own(image string) {
	f.Helper()
	f.programs = filepath.Join(f.TempDir(), "programs")
	f.must(os.Mkdir(f.programs, 0o755))
	for _, p := range []string{f.h.Bin, image} {
		body, err := os.ReadFile(p)
		f.must(err)
		f.must(os.WriteFile(filepath.Join(f.programs, filepath.Base(p)), body, 0o755))
	}
	f.h.Bin = filepath.Join(f.programs, filepath.Base(f.h.Bin))
	f.stage1 = "--stage1-hash=" + f.h.Fetch(filepath.Join(f.programs, filepath.Base(image)))
}

// plant makes the canary and lets rkt unpack its stage1, so that it is there
// to be attacked.
func (f *field) plant() {
	f.Helper()
	f.canary = filepath.Join(f.TempDir(), "canary")
	for _, d := range []string{"", "sub", "etc", "dev", "dev/pts", "dev/shm", "proc", "sys", "run", "tmp"} {
		f.must(os.MkdirAll(filepath.Join(f.canary, d), 0o777))
		f.must(os.Chmod(filepath.Join(f.canary, d), 0o777))
	}
	for _, p := range []string{"file", "sub/file", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab", "etc/passwd", "dev/null", "program"} {
		f.must(os.WriteFile(filepath.Join(f.canary, p), []byte("canary\n"), 0o666))
		f.must(os.Chmod(filepath.Join(f.canary, p), 0o777))
	}
	f.must(os.Symlink("file", filepath.Join(f.canary, "link")))
	f.h.OK("run", f.stage1, "--net=none", f.image(attack{}), "--exec="+program, "--", "report")
	f.trees = f.deep()
}

// harvest compares what is dear byte by byte, after all attacks of the field.
func (f *field) harvest() {
	f.Helper()
	now := f.deep()
	for p, was := range f.trees {
		if fmt.Sprint(now[p]) != fmt.Sprint(was) {
			f.Errorf("%s changed:\n was %+v\n is  %+v", p, was, now[p])
		}
	}
}

// deep hashes the canary, rkt, the stage1 images and all trees of the store.
func (f *field) deep() map[string]harness.Node {
	f.Helper()
	all := map[string]harness.Node{}
	for _, dir := range []string{f.canary, filepath.Join(f.h.Dir, "cas"), f.programs} {
		for p, n := range harness.Scan(f, dir, harness.ScanOptions{SkipDirTimes: true, Skip: []string{"db", "image"}}) {
			n.Links = nil
			if strings.HasPrefix(p, "imageManifest") { // written anew, the same, when stage1 is looked at
				n.MTime = ""
			}
			all[filepath.Join(dir, p)] = n
		}
	}
	return all
}

func (f *field) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// attack is an image with bad intentions and the way it is run.
type attack struct {
	name     string
	app      map[string]any // app section of the image; exec is the attacker's look
	image    map[string]any // what else differs in the image manifest
	entries  []harness.Entry
	without  []string // paths of the plain image left out, with what is below
	flags    []string // before the image
	appFlags []string // after it
	args     []string // after --
	manifest func(image string) map[string]any
	rename   string   // of the app in the manifest
	wrap     []string // program that becomes rkt
	files    []*os.File
	env      []string
	allow    outcome
	check    func(f *field, r harness.Result)
}

// outcome is what may come of an attack. An escape may not.
type outcome int

const (
	anyway    outcome = iota // refused or contained
	refused                  // rkt does not start the app
	contained                // the app runs, to no avail
	unheard                  // the app says elsewhere what it does
)

// base are the entries of every image.
func (f *field) base() []harness.Entry {
	return []harness.Entry{
		harness.Dir("bin", 0o755), harness.File(program, 0o755, string(f.attacker)),
		harness.Dir("etc", 0o755), harness.Dir("dev", 0o755), harness.Dir("proc", 0o755), harness.Dir("sys", 0o755), harness.Dir("run", 0o755), harness.Dir("tmp", 0o1777),
		harness.File("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home:/bin/sh\n"),
		harness.File("etc/group", 0o644, "root:x:0:\nalice:x:1000:\n"),
	}
}

// image makes and fetches the image of an attack.
func (f *field) image(a attack) string {
	f.Helper()
	app := map[string]any{"exec": f.look()}
	for k, v := range a.app {
		app[k] = v
	}
	entries := slices.DeleteFunc(f.base(), func(e harness.Entry) bool {
		return slices.ContainsFunc(a.without, func(p string) bool { return strings.HasPrefix(strings.TrimSuffix(e.Name, "/")+"/", p+"/") })
	})
	entries = append(entries, a.entries...)
	var files []any
	for _, e := range entries {
		files = append(files, e.Header)
		if e.Name != strings.TrimPrefix(program, "/") {
			files = append(files, e.Body)
		}
	}
	manifest := harness.Manifest("example.com/attack", "1", app)
	for k, v := range a.image {
		manifest[k] = v
	}
	data, err := json.Marshal([]any{manifest, files})
	f.must(err)
	id, ok := f.images[string(data)]
	if !ok {
		id = f.h.Fetch(harness.ACI(f, manifest, entries))
		f.images[string(data)] = id
		// Render it now: its tree is among what may not change.
		if uuid := strings.TrimSpace(f.h.Run("prepare", f.stage1, id, "--exec="+program).Stdout); len(uuid) == 36 {
			f.h.OK("rm", uuid)
		}
	}
	return id
}

// some is the whole list or, in the short form under the host flavor, whose
// code is that of coreos, every fifth of it.
func (f *field) some(list []string) []string {
	if f.flavor != "host" || long() {
		return list
	}
	var few []string
	for i := 0; i < len(list); i += 5 {
		few = append(few, list[i])
	}
	return few
}

// look is the command line of an app that searches for the canary. Under fly
// it has the host's /proc.
func (f *field) look() []string {
	words := []string{program, "look", f.canary}
	if f.flavor == "fly" {
		words = append(words, "near")
	}
	return words
}

// run does one attack as a subtest and looks at what it left.
func (f *field) run(a attack) {
	f.Helper()
	f.Run(a.name, func(t *testing.T) { f.on(t).attack(a) })
}

func (f *field) attack(a attack) {
	f.Helper()
	image := f.image(a)
	before := f.outside()
	args := append([]string{"run", f.stage1, "--net=none"}, a.flags...)
	if a.manifest != nil {
		m := a.manifest(image)
		if a.rename != "" {
			m["apps"].([]map[string]any)[0]["name"] = a.rename
		}
		args = append(args, "--pod-manifest="+f.manifestFile(m))
	} else {
		args = append(append(args, image), a.appFlags...)
		if a.args != nil {
			args = append(append(args, "--"), a.args...)
		}
	}
	r := f.start(a, args)
	f.judge(a, r)
	f.compare(before, f.outside())
	if f.Failed() {
		f.Logf("%s", r)
	}
}

func (f *field) manifestFile(m map[string]any) string {
	f.Helper()
	full := map[string]any{"acVersion": "0.8.11", "acKind": "PodManifest"}
	for k, v := range m {
		full[k] = v
	}
	data, err := json.Marshal(full)
	f.must(err)
	file := filepath.Join(f.TempDir(), "pod.json")
	f.must(os.WriteFile(file, data, 0o644))
	return file
}

// start runs rkt with what the attack gives it.
func (f *field) start(a attack, args []string) harness.Result {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := f.h.Cmd(ctx, args...)
	cmd.Env = append(cmd.Env, a.env...)
	if a.wrap != nil {
		path, err := exec.LookPath(a.wrap[0])
		f.must(err)
		cmd.Args = append(append(slices.Clone(a.wrap), f.h.Bin), cmd.Args[1:]...)
		cmd.Path = path
	}
	cmd.ExtraFiles = a.files
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that no pod stays
	cmd.WaitDelay = 20 * time.Second
	begin := time.Now()
	err := cmd.Run()
	if ctx.Err() != nil {
		f.Errorf("no end after %s", time.Since(begin))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		f.Fatalf("rkt %v: %v", args, err)
	}
	r := harness.Result{Args: args, Stdout: out.String(), Stderr: errOut.String(), Took: time.Since(begin)}
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	r.Status = ws.ExitStatus()
	if ws.Signaled() {
		r.Signal = ws.Signal()
	}
	return r
}

// judge reads what the attacker said.
func (f *field) judge(a attack, r harness.Result) {
	f.Helper()
	ran, escapes := false, 0
	for line := range strings.Lines(r.Stdout + r.Stderr) {
		if _, how, ok := strings.Cut(line, "ESCAPED "); ok {
			if escapes++; escapes <= 10 {
				f.Errorf("escaped: %s", strings.TrimSpace(how))
			}
		}
		ran = ran || strings.HasSuffix(strings.TrimSpace(line), "done")
	}
	switch {
	case a.allow == refused && (ran || r.Status == 0):
		f.Errorf("not refused: status %d", r.Status)
	case a.allow == contained && (!ran || r.Status != 0):
		f.Errorf("the app did not run to its end: status %d", r.Status)
	case !ran && r.Status == 0 && a.allow != unheard:
		f.Errorf("neither refused nor run")
	}
	if !ran && a.allow != unheard {
		f.oneLine(r)
	}
	if a.check != nil {
		a.check(f, r)
	}
	f.stage1OfPods()
}

// stage1OfPods: no program of a pod's own copy of stage1 was written to. They
// run on the host when somebody enters the pod.
func (f *field) stage1OfPods() {
	f.Helper()
	uppers, err := filepath.Glob(filepath.Join(f.h.Dir, "pods", "*", "*", "overlay", "*", "upper"))
	f.must(err)
	for _, upper := range uppers {
		for _, name := range []string{"init", "launch", "run", "enter", "gc", "stop", "app_add", "app_rm", "app_start", "app_stop", "attach", "logs", "post-stop", "usr", "lib", "bin", "sbin", "lib64"} {
			for _, root := range []string{"", "rootfs"} {
				p := filepath.Join(upper, root, name)
				if st, err := os.Lstat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
					f.Errorf("a program of the pod's stage1 was written to: %s", p)
				}
			}
		}
	}
}

// said are the lines with which rkt explains a failure: on its stderr or, once
// the pod runs, in the output of the app.
func said(r harness.Result) []string {
	var lines []string
	for line := range strings.Lines(r.Stderr + harness.AppOutput(r.Stdout, "")) {
		line = strings.TrimSuffix(line, "\n")
		known := []string{"hint: ", "warning: ", "Warning: ", "Error: Unable to open ", "networking: networking namespace with loopback only", "ready", "report", "refused ", "ESCAPED "} // apps.md 1.3, and the attacker
		if line != "" && !strings.Contains(line, `group "rkt" not found`) && !slices.ContainsFunc(known, func(p string) bool { return strings.HasPrefix(line, p) }) {
			lines = append(lines, line)
		}
	}
	return lines
}

// oneLine: a refusal is one line that says why, and perhaps a hint.
func (f *field) oneLine(r harness.Result) {
	f.Helper()
	lines := said(r)
	for _, line := range lines {
		for _, c := range line {
			if c < 0x20 || c == 0x7f {
				f.Errorf("control character %q in %q", c, line)
				break
			}
		}
	}
	// stage1-fly's own program, as the interpreter of a script, is the app's or the handler's word
	own := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, `exe: "exe" is not an entrypoint`) })
	if own >= 0 && len(lines) > 1 {
		lines = slices.Delete(lines, own, own+1)
	}
	if r.Status != 0 && len(lines) > 1 {
		f.Errorf("more than one line of error: %q", lines)
	}
	if r.Status != 0 && r.Signal == 0 && len(lines) == 0 && !strings.Contains(r.Stdout+r.Stderr, "Error: Unable to open ") {
		f.Errorf("no word of why")
	}
}

// outside is the state of what lies outside of pods: a line for each file,
// with its change time, which nobody can set back.
func (f *field) outside() map[string]string {
	f.Helper()
	all := map[string]string{}
	records := f.h.Dir + "/cas/imageManifest"                                                                     // written anew, the same, when stage1 is looked at
	skip := []string{f.h.Dir + "/pods", f.h.Dir + "/cas/db", f.h.Dir + "/cas/image", f.h.Dir + "/locks", records} // cas/image: when an image was last used
	for _, root := range []string{f.canary, f.h.Dir, f.programs} {
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && slices.Contains(skip, p) {
				return fs.SkipDir
			}
			all[p], err = stamp(p)
			return err
		})
		f.must(err)
	}
	for p, n := range harness.Scan(f, records, harness.ScanOptions{SkipDirTimes: true}) {
		all[filepath.Join(records, p)] = n.Mode + n.Sum
	}
	for _, p := range []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/etc/mtab", "/etc/passwd", "/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/console", "/dev/ptmx"} {
		all[p], _ = stamp(p)
	}
	for _, p := range []string{"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/vm/panic_on_oom"} {
		text, _ := os.ReadFile(p)
		all[p] = string(text)
	}
	for _, dir := range []string{"/", "/dev", "/sys"} {
		entries, _ := os.ReadDir(dir)
		names := []string{}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		all["names in "+dir] = strings.Join(names, " ")
	}
	return all
}

func stamp(p string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(p, &st); err != nil {
		return "", &fs.PathError{Op: "lstat", Path: p, Err: err}
	}
	s := fmt.Sprintf("mode %o owner %d:%d device %d inode %d", st.Mode, st.Uid, st.Gid, st.Rdev, st.Ino)
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		s += fmt.Sprintf(" size %d changed %d.%09d", st.Size, st.Ctim.Sec, st.Ctim.Nsec)
	}
	return s, nil
}

// compare: what was there is as it was. New is only what rkt keeps of images.
func (f *field) compare(before, after map[string]string) {
	f.Helper()
	for p, was := range before {
		if is, ok := after[p]; !ok {
			f.Errorf("%s is gone", p)
		} else if is != was {
			f.Errorf("%s changed:\n was %s\n is  %s", p, was, is)
		}
	}
	for p := range after {
		if _, ok := before[p]; !ok && !strings.HasPrefix(p, f.h.Dir+"/") {
			f.Errorf("%s is new", p)
		}
	}
}

// facts are what the attacker reports of itself.
type facts struct {
	Args, Env  []string
	Dir        string
	Groups     []int
	FDs        []string
	Status     map[string]string
	Cgroup     string
	Namespaces map[string]string
	Hostname   string
	OOM        string
	Label      string
	Session    int
	Limits     string
}

// reports reads what the processes of a pod reported in the output of rkt. At
// least one has to be there.
func (f *field) reports(output string) []facts {
	f.Helper()
	var all []facts
	pieces := map[string]string{}
	for line := range strings.Lines(harness.AppOutput(output, "")) {
		words := strings.SplitN(strings.TrimSpace(line), " ", 3)
		switch {
		case words[0] == "report" && len(words) == 3:
			pieces[words[1]] += words[2]
			continue
		case words[0] != "reported" || len(words) != 2:
			continue
		}
		var got facts
		f.must(json.Unmarshal([]byte(pieces[words[1]]), &got))
		for _, list := range [][]string{got.Args, got.Env} {
			for i := range list {
				list[i] = f.unhex(list[i])
			}
		}
		got.Dir = f.unhex(got.Dir)
		all = append(all, got)
	}
	if len(all) == 0 {
		f.Fatalf("no report in %q", output)
	}
	return all
}

func (f *field) unhex(s string) string {
	f.Helper()
	b, err := hex.DecodeString(s)
	f.must(err)
	return string(b)
}

// long tells whether there is time for the long form.
func long() bool { return os.Getenv("TORTURE") == "long" }

func itoa(n int) string { return strconv.Itoa(n) }
