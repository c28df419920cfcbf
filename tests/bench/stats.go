// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"time"
)

// series are all rounds of one measurement.
type series []measurement

func (s series) of(f func(measurement) time.Duration) (all []time.Duration) {
	for _, m := range s {
		all = append(all, f(m))
	}
	return all
}

func (s series) wall() time.Duration { return median(s.of(measurement.wall)) }

func (s series) cpu() time.Duration {
	return median(s.of(func(m measurement) time.Duration { return m.CPU }))
}

// span is minimum, median and maximum.
func (s series) span() string {
	all := s.of(measurement.wall)
	return fmt.Sprintf("%s (%.0f…%.0f)", ms(median(all)), milliseconds(slices.Min(all)), milliseconds(slices.Max(all)))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// inTurn runs each of the measurements once per round.
func inTurn(rounds int, all ...func() measurement) []series {
	got := make([]series, len(all))
	for range rounds {
		for i, one := range all {
			got[i] = append(got[i], one())
		}
	}
	return got
}

// against compares wall times, of which rkt is to take half, and processor
// times without a budget.
func against(what string, one, two series) []row {
	const budget = 0.5
	wall, cpu := one.wall().Seconds()/two.wall().Seconds(), one.cpu().Seconds()/two.cpu().Seconds()
	return []row{
		{what: what, rkt: one.span(), peer: two.span(), ratio: fmt.Sprintf("%.2f", wall), budget: fmt.Sprintf("%.2f", budget), met: wall <= budget},
		{what: "  processor time of all its processes", rkt: ms(one.cpu()), peer: ms(two.cpu()), ratio: fmt.Sprintf("%.2f", cpu), budget: "-", met: true},
	}
}

// plain is a row without a budget.
func plain(what, rkt string) row {
	return row{what: what, rkt: rkt, peer: "-", ratio: "-", budget: "-", met: true}
}
