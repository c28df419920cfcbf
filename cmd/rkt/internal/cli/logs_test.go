// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"

	"github.com/rkt/rkt/v2/pkg/entrypoint"
)

func TestSinceFlag(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for in, want := range map[string]time.Time{
		"10m":                         now.Add(-10 * time.Minute),
		"0":                           now,
		"1h30m":                       now.Add(-90 * time.Minute),
		"2026-01-01T00:00:00Z":        time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"2026-01-01T00:00:00.5+01:00": time.Date(2025, 12, 31, 23, 0, 0, 5e8, time.UTC),
		"2026-01-01 10:00:00":         time.Date(2026, 1, 1, 10, 0, 0, 0, time.Local),
		"2026-01-01T10:00:00":         time.Date(2026, 1, 1, 10, 0, 0, 0, time.Local),
		"2026-01-01":                  time.Date(2026, 1, 1, 0, 0, 0, 0, time.Local),
	} {
		f := sinceFlag{now: func() time.Time { return now }}
		if err := f.Set(in); err != nil || !f.time.Equal(want) {
			t.Errorf("%q: %v, %v", in, f.time, err)
		}
	}
	for _, in := range []string{"", "-10m", "yesterday", "10", "2026-13-01", "@5", "--until=x"} {
		f := sinceFlag{now: func() time.Time { return now }}
		if err := f.Set(in); err == nil {
			t.Errorf("%q: %v", in, f.time)
		}
	}
}

func TestLinesFlag(t *testing.T) {
	for in, want := range map[string]linesFlag{"0": 0, "12": 12, "all": entrypoint.AllLines} {
		var f linesFlag
		if err := f.Set(in); err != nil || f != want || f.String() != in {
			t.Errorf("%q: %d, %v", in, f, err)
		}
	}
	for _, in := range []string{"", "-1", "+x", "1e3", "99999999999"} {
		var f linesFlag
		if err := f.Set(in); err == nil {
			t.Errorf("%q: %d", in, f)
		}
	}
}
