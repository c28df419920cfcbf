// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Lab is a few hosts on one machine: network namespaces joined by veth. rkt
// runs on the first, so that whatever it does to the network of its host, it
// does not do to the machine.
//
//	client 10.91.0.2, fd91::2 ── 10.91.0.1, fd91::1 host 10.92.0.1, fd92::1 ── 10.92.0.2, fd92::2 outside
//
// The host has a default route by way of outside; client and outside know
// nothing of the networks of pods.
type Lab struct {
	Host    *Host
	Name    string // of the host's namespace (ip-netns(8))
	Client  string
	Outside string
	t       T
}

// Addresses of the hosts of a lab.
const (
	LabHost     = "10.91.0.1" // as the client sees it
	LabHost6    = "fd91::1"
	LabHostOut  = "10.92.0.1" // as the outside sees it
	LabHostOut6 = "fd92::1"
	LabClient   = "10.91.0.2"
	LabClient6  = "fd91::2"
	LabOutside  = "10.92.0.2"
	LabOutside6 = "fd92::2"
)

// NewLab makes the hosts, and a Host for rkt on the first. When the test ends
// the pods are removed first, then what rules of rkt's are left on the host
// fails the test.
func NewLab(t T) *Lab {
	t.Helper()
	id := strings.ToLower(rand.Text()[:6])
	l := &Lab{Name: "rkth-" + id, Client: "rktc-" + id, Outside: "rkto-" + id, t: t}
	for _, ns := range []string{l.Name, l.Client, l.Outside} {
		Command(t, "ip", "netns", "add", ns)
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		Command(t, "ip", "-n", ns, "link", "set", "lo", "up")
	}
	l.join(l.Client, "lab0", LabHost, LabHost6, LabClient, LabClient6)
	l.join(l.Outside, "lab1", LabHostOut, LabHostOut6, LabOutside, LabOutside6)
	Command(t, "ip", "-n", l.Name, "route", "add", "default", "via", LabOutside)
	Command(t, "ip", "-n", l.Name, "-6", "route", "add", "default", "via", LabOutside6)
	t.Cleanup(l.checkRules)
	l.Host = NewHost(t)
	l.Host.NetNS = l.Name
	l.Host.Stage1 = Coreos
	return l
}

// join connects another host with the first.
func (l *Lab) join(ns, dev, host4, host6, other4, other6 string) {
	l.t.Helper()
	Command(l.t, "ip", "-n", l.Name, "link", "add", dev, "type", "veth", "peer", "name", "eth0", "netns", ns)
	for _, a := range [][3]string{{l.Name, dev, host4 + "/24"}, {ns, "eth0", other4 + "/24"}, {l.Name, dev, host6 + "/64"}, {ns, "eth0", other6 + "/64"}} {
		args := []string{"-n", a[0], "addr", "add", a[2], "dev", a[1]}
		if strings.Contains(a[2], ":") {
			args = append(args, "nodad")
		}
		Command(l.t, "ip", args...)
	}
	Command(l.t, "ip", "-n", l.Name, "link", "set", dev, "up")
	Command(l.t, "ip", "-n", ns, "link", "set", "eth0", "up")
}

// In runs a program in the network of one of the hosts and returns its output.
func (l *Lab) In(ns, name string, args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"--net=" + filepath.Join("/run/netns", ns), name}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Rules are rkt's rules on the host, as nft(8) prints them.
func (l *Lab) Rules() string {
	l.t.Helper()
	out, err := l.In(l.Name, "nft", "list", "ruleset")
	if err != nil {
		l.t.Fatalf("nft list ruleset: %v\n%s", err, out)
	}
	return out
}

// Links are the names of the interfaces of the host.
func (l *Lab) Links() []string {
	l.t.Helper()
	out, err := l.In(l.Name, "ip", "-o", "link")
	if err != nil {
		l.t.Fatalf("ip link: %v\n%s", err, out)
	}
	var names []string
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 {
			name, _, _ := strings.Cut(strings.TrimSuffix(f[1], ":"), "@")
			names = append(names, name)
		}
	}
	return names
}

func (l *Lab) checkRules() {
	if rules := l.Rules(); strings.Contains(rules, "id: ") {
		l.t.Errorf("left behind: rules %s", rules)
	}
	for _, name := range l.Links() {
		if strings.HasPrefix(name, "veth") {
			l.t.Errorf("left behind: interface %s", name)
		}
	}
}

// NetTraces lists what there is of the networks of a pod outside of its
// directory: its namespace, its leases, its records.
func (h *Host) NetTraces(uuid string) (all []string) {
	if names, _ := filepath.Glob("/run/netns/*" + uuid + "*"); len(names) > 0 {
		all = append(all, names...)
	}
	leases, _ := filepath.Glob("/var/lib/cni/networks/*/*")
	for _, name := range leases {
		if data, err := os.ReadFile(name); err == nil && strings.HasPrefix(string(data), uuid) {
			all = append(all, "lease "+name)
		}
	}
	for _, pattern := range []string{"net/pods/" + uuid, "net/results/*" + uuid + "*"} {
		names, _ := filepath.Glob(filepath.Join(h.Dir, pattern))
		all = append(all, names...)
	}
	return all
}
