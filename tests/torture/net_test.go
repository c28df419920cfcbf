// SPDX-License-Identifier: Apache-2.0

//go:build functional

package torture

import (
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/testenv"
	"github.com/rkt/rkt/v2/tests/harness"
)

// netPods is a host of pods with networks, in a laboratory of its own.
type netPods struct {
	*pods
	lab   *harness.Lab
	links []string // of the host without pods
}

// newNetPods is a host with the rkt that users have, or with the one that has
// failpoints.
func newNetPods(t *testing.T, failpoints bool) *netPods {
	t.Helper()
	testenv.NeedsRoot(t)
	lab := harness.NewLab(t)
	if failpoints {
		lab.Host.Bin = harness.Program(t, "RKT_FAILPOINT_BIN", "rkt-failpoint")
	}
	n := &netPods{pods: fillPods(t, lab.Host), lab: lab, links: lab.Links()}
	n.image = n.Fetch(harness.Busybox(t, webPort()))
	n.warm()
	return n
}

func webPort() map[string]any {
	return map[string]any{"ports": []map[string]any{{"name": "web", "protocol": "tcp", "port": 80}}}
}

// run are the arguments of rkt run for a pod that prints two lines and ends,
// with the default network and port 80 at a port of the host.
func (n *netPods) run(port int, script string, flags ...string) []string {
	args := []string{"run", "--net=default"}
	if port != 0 {
		args = append(args, "--port=web:"+strconv.Itoa(port))
	}
	return append(append(args, flags...), n.app(script)...)
}

// traces is everything that the networks of a pod have left on the host.
func (n *netPods) traces(uuid string) []string {
	n.t.Helper()
	all := n.NetTraces(uuid)
	for line := range strings.Lines(n.lab.Rules()) {
		if strings.Contains(line, uuid) {
			all = append(all, "rule "+strings.TrimSpace(line))
		}
	}
	return all
}

// networked wants everything to be there that a running pod with the default
// network has.
func (n *netPods) networked(what, uuid string) {
	n.t.Helper()
	n.kept(what, uuid, "rule ")
}

// kept wants everything to be there that a pod has after its end: it has given
// its ports back, and the rules with them.
func (n *netPods) kept(what, uuid string, also ...string) {
	n.t.Helper()
	left := n.traces(uuid)
	for _, part := range append(also, "/run/netns/", "lease ", "/net/pods/", "/net/results/") {
		if !slices.ContainsFunc(left, func(s string) bool { return strings.Contains(s, part) }) {
			n.t.Errorf("%s: pod %s has no %q among %q", what, uuid, part, left)
		}
	}
}

// bare wants the host to have no more than before there were pods.
func (n *netPods) bare(after string, uuids ...string) {
	n.t.Helper()
	for _, uuid := range uuids {
		if left := n.traces(uuid); len(left) > 0 {
			n.t.Errorf("after %s there is %q", after, left)
		}
	}
	// The kernel takes the interfaces of a namespace away behind the back of who
	// unpinned it.
	var links []string
	if !harness.WaitFor(moment, func() bool { links = n.lab.Links(); return slices.Equal(links, n.links) }) {
		n.t.Errorf("after %s there are the interfaces %v, before %v", after, links, n.links)
	}
	if rules := n.lab.Rules(); strings.Contains(rules, "id: ") {
		n.t.Errorf("after %s there are the rules\n%s", after, rules)
	}
	for _, pattern := range []string{"net/pods/*", "net/results/*"} {
		if left, _ := filepath.Glob(filepath.Join(n.Dir, pattern)); len(left) > 0 {
			n.t.Errorf("after %s there is %v", after, left)
		}
	}
}

// swept runs gc, at most twice, and wants nothing to be left of pods and networks.
func (n *netPods) swept(after string, uuids ...string) {
	n.t.Helper()
	const most = 2
	for range most {
		if r := n.Run("gc", "--grace-period=0s", "--expire-prepared=0s"); r.Status != 0 {
			n.t.Errorf("gc after %s: %s", after, r)
		}
	}
	for _, uuid := range uuids {
		if left := append(n.PodTraces(uuid), n.PodFiles(uuid)...); len(left) > 0 {
			n.t.Errorf("after %s and gc there is %q", after, left)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(n.Dir, "tmp", "*")); len(left) > 0 {
		n.t.Errorf("after %s and gc there is %v", after, left)
	}
	n.bare(after+" and gc", uuids...)
}

// works wants a pod with the same network and port to run, and removes it.
func (n *netPods) works(after string, port int) {
	n.t.Helper()
	r := n.Run(n.run(port, script)...)
	whole(n.pods, r, after)
	if r.Status != 0 {
		n.t.Errorf("the next pod after %s: %s", after, r)
	}
	n.swept("the pod after "+after, n.Pods()...)
}

// start starts a pod that serves files on port 80 and waits until it answers.
func (n *netPods) serving(port int) *harness.Proc {
	n.t.Helper()
	proc := n.start(n.run(port, "mkdir -p /w && echo served >/w/index.html && exec httpd -f -p 80 -h /w")...)
	if !harness.WaitFor(harness.Timeout, func() bool { return proc.Ended() || n.answers(port) }) || proc.Ended() {
		n.t.Fatalf("no server: %s", proc.Wait())
	}
	return proc
}

// answers tells whether the client gets the pod's page by way of the host.
func (n *netPods) answers(port int) bool {
	out, err := n.lab.In(n.lab.Client, "curl", "-s", "-m", "2", "http://"+harness.LabHost+":"+strconv.Itoa(port)+"/")
	return err == nil && strings.TrimSpace(out) == "served"
}

// address is the IPv4 address of a pod by its record.
func (n *netPods) address(uuid string) netip.Addr {
	n.t.Helper()
	var nets []struct {
		IP netip.Addr `json:"ip"`
	}
	data, err := os.ReadFile(filepath.Join(n.PodDir(uuid), "net-info.json"))
	if err == nil {
		err = json.Unmarshal(data, &nets)
	}
	if err != nil || len(nets) == 0 {
		n.t.Errorf("record of the networks of %s: %v, %s", uuid, err, data)
		return netip.Addr{}
	}
	return nets[0].IP
}

// removeDir removes the directory of a pod that has ended, as a person does
// who does not know of gc.
func (n *netPods) removeDir(uuid string) {
	n.t.Helper()
	for dir := n.PodDir(uuid); dir != ""; dir = n.PodDir(uuid) { // gc may have moved it
		for _, m := range slices.Backward(harness.MountsBelow(dir)) {
			_ = unix.Unmount(m, unix.MNT_DETACH)
		}
		harness.Command(n.t, "rm", "-rf", "--one-file-system", dir)
	}
	n.noCgroups(uuid)
}

// noCgroups removes what nobody can find any more without the pod's directory.
func (n *netPods) noCgroups(uuid string) {
	n.t.Helper()
	harness.WaitFor(moment, func() bool { return len(harness.ProcessesOf(uuid)) == 0 })
	for _, dir := range harness.Cgroups([]string{uuid}) {
		harness.Command(n.t, "find", dir, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";")
	}
}

// netPoints are the failpoints about networks, from the sources.
func netPoints(t *testing.T) (names []string) {
	t.Helper()
	hit := regexp.MustCompile(`failpoint\.Hit\("((?:net|run\.netns|rm\.netns|stage1\.net|stage1-gc\.networks|gc\.networks)[a-z.-]+)"\)`)
	for _, dir := range []string{"networking", "stage0", "stage1"} {
		err := filepath.WalkDir(filepath.Join(harness.Checkout(t), dir), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
				return err
			}
			src, err := os.ReadFile(path)
			for _, m := range hit.FindAllStringSubmatch(string(src), -1) {
				names = append(names, m[1])
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// slowPlugin is a plugin that hangs in the command that FILE.hang names: it
// writes its process ID to FILE, and sleeps. DEL leaves FILE.del.
const slowPlugin = `package main

import (
	"encoding/json"
	"os"
	"strconv"
	"time"
)

func main() {
	var conf struct {
		File string
	}
	_ = json.NewDecoder(os.Stdin).Decode(&conf)
	command := os.Getenv("CNI_COMMAND")
	if hang, _ := os.ReadFile(conf.File + ".hang"); string(hang) == command {
		_ = os.WriteFile(conf.File+".new", []byte(strconv.Itoa(os.Getpid())), 0o600)
		_ = os.Rename(conf.File+".new", conf.File)
		time.Sleep(time.Hour)
	}
	switch command {
	case "ADD":
		_, _ = os.Stdout.WriteString("{\"cniVersion\":\"1.0.0\"}")
	case "DEL":
		_ = os.WriteFile(conf.File+".del", nil, 0o600)
	case "VERSION":
		_, _ = os.Stdout.WriteString("{\"cniVersion\":\"1.0.0\",\"supportedVersions\":[\"0.4.0\",\"1.0.0\"]}")
	}
}
`

// slowNet gives the host a network "slow" that comes after "default" and
// returns the file of its plugin.
func (n *netPods) slowNet() string {
	n.t.Helper()
	dir, file := filepath.Join(n.LocalConfig(), "net.d"), filepath.Join(n.t.TempDir(), "pid")
	conf, err := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": "slow", "type": "slow", "file": file})
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "zz-slow.conf"), conf, 0o600)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	build(n.t, slowPlugin, filepath.Join(dir, "slow"))
	return file
}

// hangIn has the plugin hang in a command from now on, or in none.
func hangIn(t *testing.T, plugin, command string) {
	t.Helper()
	if err := os.WriteFile(plugin+".hang", []byte(command), 0o600); err != nil {
		t.Fatal(err)
	}
}

// build makes a static program.
func build(t *testing.T, source, to string) {
	t.Helper()
	src := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(src, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to, src)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}

// below are the processes of that name that work in the host's data directory:
// the program that sets networks up, and its plugins.
func (n *netPods) below(program string) (pids []int) {
	for _, pid := range harness.PIDs() {
		cwd, err := os.Readlink(procFile(pid, "cwd"))
		if err != nil || !strings.HasPrefix(cwd, n.Dir+"/") {
			continue
		}
		cmd, _ := os.ReadFile(procFile(pid, "cmdline"))
		if strings.HasPrefix(filepath.Base(strings.SplitN(string(cmd), "\x00", 2)[0]), program) {
			pids = append(pids, pid)
		}
	}
	return pids
}
