// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// runNetwork: a cached trivial image with the default network, and podman with
// its own; what the network costs; many at once; how fast packets go. All of it
// on a host made of a network namespace.
func runNetwork(b *bench) []row {
	l := harness.NewLab(b)
	_, tree := b.tiny(l.Host)
	image := b.withPort(l.Host)
	p := b.newPodman(tree)
	rkt := func(args ...string) func() measurement {
		return func() measurement {
			return b.measured(1, nil, l.Host.Cmd(context.Background(), append(append([]string{"run"}, args...), image)...))
		}
	}
	other := func() measurement { return b.measured(1, nil, inNetNS(l.Name, p.run("--network=bridge"))) }
	variants := []func() measurement{rkt(), other, rkt("--net=none"), rkt("--port=www:8080")}
	inTurn(1, variants...) // warms up
	got := inTurn(b.rounds, variants...)
	rows := against("rkt run, network default / podman run --rm, its default network", got[0], got[1])
	rows[0].comment = p.how()
	set := plain("  set-up of the network", ms(got[0].wall()-got[2].wall()))
	set.comment = "(beyond --net=none)"
	rows = append(rows, set, plain("  rkt run --port", got[3].span()), b.teardown(l.Host, image))
	l.Host.OK("gc", "--grace-period=0s")
	rows = append(rows, b.manyWithNetwork(l, image, p)...)
	return append(rows, b.throughput(l))
}

// withPort is a trivial image with a port.
func (b *bench) withPort(h *harness.Host) string {
	app := map[string]any{"exec": []string{"/bin/true"}, "ports": []map[string]any{{"name": "www", "protocol": "tcp", "port": 80}}}
	return h.Fetch(harness.ACI(b, harness.Manifest("example.com/tiny-port", "1", app), harness.TinyEntries(b)))
}

// inNetNS is a command in a network namespace.
func inNetNS(ns string, cmd *exec.Cmd) *exec.Cmd {
	in := exec.Command("nsenter", append([]string{"--net=" + filepath.Join("/run/netns", ns), cmd.Path}, cmd.Args[1:]...)...)
	in.Env, in.Dir = cmd.Env, cmd.Dir
	return in
}

// teardown is what removing a pod takes more for its network.
func (b *bench) teardown(h *harness.Host, image string) row {
	remove := func(network string) func() measurement {
		return func() measurement {
			file := filepath.Join(b.TempDir(), "uuid")
			b.timed(h.Cmd(context.Background(), "run", "--net="+network, "--uuid-file-save="+file, image))
			return b.measured(1, nil, h.Cmd(context.Background(), "rm", "--uuid-file="+file))
		}
	}
	got := inTurn(max(5, b.long()), remove("default"), remove("none"))
	r := plain("  teardown of the network (rm)", ms(got[0].wall()-got[1].wall()))
	r.comment = "(beyond --net=none)"
	return r
}

// manyWithNetwork starts many at once and looks for lost leases.
func (b *bench) manyWithNetwork(l *harness.Lab, image string, p *podman) []row {
	rkt := func() measurement {
		return b.measured(atOnce, nil, l.Host.Cmd(context.Background(), "run", image))
	}
	other := func() measurement { return b.measured(atOnce, nil, inNetNS(l.Name, p.run("--network=bridge"))) }
	got := inTurn(b.long(), rkt, other)
	rows := against(fmt.Sprintf("%d at once with a network, until the last has ended", atOnce), got[0], got[1])
	ips := addresses(b, l.Host)
	lost := len(ips) - len(slices.Compact(slices.Sorted(slices.Values(ips))))
	want := atOnce * b.long()
	bad := lost > 0 || len(ips) != want
	rows[0] = withComment(rows[0], bad, fmt.Sprintf("%d addresses, %d of them twice, of %d pods", len(ips), lost, want))
	l.Host.OK("gc", "--grace-period=0s")
	return rows
}

// addresses are those of all pods.
func addresses(b *bench, h *harness.Host) (ips []string) {
	var pods []struct {
		Networks []struct {
			IP string `json:"ip"`
		} `json:"networks"`
	}
	if err := json.Unmarshal([]byte(h.OK("net", "list", "--format=json")), &pods); err != nil {
		b.Fatalf("net list: %v", err)
	}
	for _, p := range pods {
		for _, n := range p.Networks {
			ips = append(ips, n.IP)
		}
	}
	return ips
}

// throughput is what iperf3 gets from a pod to its host, and over a bare pair
// of veth.
func (b *bench) throughput(l *harness.Lab) row {
	if _, err := exec.LookPath("iperf3"); err != nil {
		b.Fatalf("iperf3 is missing: install it with \"make deps-bench\"")
	}
	server := inNetNS(l.Name, exec.Command("iperf3", "--server"))
	if err := server.Start(); err != nil {
		b.Fatalf("%v", err)
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	}()
	file := filepath.Join(b.TempDir(), "uuid")
	nap := harness.Busybox(b, map[string]any{"exec": []string{"/bin/sleep", "3600"}})
	pod := l.Host.Start("run", "--uuid-file-save="+file, nap)
	defer func() {
		l.Host.OK("stop", "--force", "--uuid-file="+file)
		pod.Wait()
	}()
	var uuid string
	if !harness.WaitFor(10*time.Second, func() bool {
		for _, u := range l.Host.Pods() {
			uuid = u
		}
		ips := addresses(b, l.Host)
		return len(ips) == 1 && ips[0] != ""
	}) {
		b.Fatalf("the pod does not run: %s", pod.Output())
	}
	var one, two []float64
	for range max(3, b.long()) {
		one = append(one, iperf(b, "cni-"+uuid, "172.16.28.1"))
		two = append(two, iperf(b, l.Client, harness.LabHost))
	}
	slices.Sort(one)
	slices.Sort(two)
	got, bare := one[len(one)/2], two[len(two)/2]
	gbit := func(v float64) string { return fmt.Sprintf("%.1f Gbit/s", v/1e9) }
	return row{
		what: "iperf3 pod to host / over a bare pair of veth", rkt: gbit(got), peer: gbit(bare),
		ratio: fmt.Sprintf("%.2f", got/bare), budget: "≥ 0.95", met: got >= 0.95*bare,
	}
}

// iperf returns bits per second.
func iperf(b *bench, ns, server string) float64 {
	out, err := inNetNS(ns, exec.Command("iperf3", "--client", server, "--time", "2", "--json")).Output()
	var r struct {
		End struct {
			Sum struct {
				Bits float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil || r.End.Sum.Bits == 0 {
		b.Fatalf("iperf3 to %s: %v: %s", server, err, out)
	}
	return r.End.Sum.Bits
}
