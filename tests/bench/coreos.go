// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"
)

// atOnce is how many pods are started at once.
const atOnce = 50

// runCoreos: a cached trivial static image under systemd-nspawn, and podman on
// the same root; with a limit; more apps; many at once.
func runCoreos(b *bench) []row {
	h := b.coreosHost()
	image, tree := b.tiny(h)
	p := b.newPodman(tree)
	rkt := func(args []string) func() measurement {
		return func() measurement { return b.measuredRkt(h, 1, args...) }
	}
	other := func() measurement { return b.measured(1, nil, p.run()) }
	variants := []func() measurement{rkt(copies(1, image)), other, rkt(copies(1, image, "--memory=64Mi")), rkt(copies(2, image)), rkt(copies(5, image))}
	inTurn(1, variants...) // warms up
	got := inTurn(b.rounds, variants...)
	rows := against("rkt run --net=none / "+p.String(), got[0], got[1])
	rows[0].comment = p.how()
	for i, what := range []string{"with --memory=64Mi", "two apps", "five apps"} {
		r := plain("  rkt run, "+what, got[i+2].span())
		r.comment = fmt.Sprintf("(cpu %s)", ms(got[i+2].cpu()))
		rows = append(rows, r)
	}
	h.OK("gc", "--grace-period=0s") // what the next measurement meets is the same every time
	return append(rows, b.manyAtOnce(func() measurement { return b.measuredRkt(h, atOnce, copies(1, image)...) },
		func() measurement { return b.measured(atOnce, nil, p.run()) })...)
}

func (b *bench) manyAtOnce(rkt, other func() measurement) []row {
	got := inTurn(b.long(), rkt, other)
	rows := against(fmt.Sprintf("%d at once, until the last has ended", atOnce), got[0], got[1])
	settled := func(s series) string {
		return ms(median(s.of(func(m measurement) time.Duration { return m.Settled - m.Start })))
	}
	return append(rows, row{what: "  and all that it left has ended", rkt: settled(got[0]), peer: settled(got[1]), ratio: "-", budget: "-", met: true})
}

// phasesOfRun: where each millisecond goes.
func phasesOfRun(b *bench) []row {
	h := b.coreosHost()
	image, _ := b.tiny(h)
	t, err := openTracer()
	if err != nil {
		b.Logf("bench: left out: kernel tracepoints are not available here: %v", err)
		return nil
	}
	b.Cleanup(func() {
		if err := t.close(); err != nil {
			b.Errorf("%v", err)
		}
	})
	one := func() phases {
		m := b.measured(1, func(pid int) {
			if err := t.start(pid); err != nil {
				b.Fatalf("%v", err)
			}
		}, h.Cmd(context.Background(), copies(1, image)...))
		events, err := t.stop()
		if err != nil {
			b.Fatalf("%v", err)
		}
		ph, err := phasesOf(events, m)
		if err != nil {
			b.Fatalf("%v", err)
		}
		return ph
	}
	one() // warms up
	var all []phases
	for range b.rounds {
		all = append(all, one())
	}
	return phaseRows(all)
}

func phaseRows(all []phases) (rows []row) {
	var stage1 []time.Duration
	for i, name := range phaseNames() {
		var ds []time.Duration
		for _, ph := range all {
			ds = append(ds, ph[i])
		}
		rows = append(rows, plain("  "+name, ms(median(ds))))
	}
	for _, ph := range all {
		stage1 = append(stage1, ph.stage1())
	}
	r := limit("start of stage1 to its end", median(stage1), 70*time.Millisecond, ms)
	r.comment = "(supervisor, systemd-nspawn, systemd, app, end)"
	return append([]row{r}, rows...)
}
