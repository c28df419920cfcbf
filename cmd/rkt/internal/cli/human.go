// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"math"
	"time"
)

// longTime prints a time to the millisecond.
func longTime(t time.Time) string { return t.Format("2006-01-02 15:04:05.999 -0700 MST") }

const (
	day   = 24 * time.Hour
	week  = 7 * day
	month = 30 * day
	year  = 12 * month
)

// relativeTime says how far t is from now: "3 days ago", "1 hour from now".
func relativeTime(t, now time.Time) string {
	if t.IsZero() {
		return "a long while ago"
	}
	age, suffix := now.Sub(t), "ago"
	if age < 0 {
		age, suffix = -age, "from now"
	}
	for _, unit := range []struct {
		below time.Duration // ages below this
		text  string
		unit  time.Duration // counted in this; 0: the text has no number
	}{
		{time.Second, "now", 0},
		{2 * time.Second, "1 second", 0},
		{time.Minute, "%d seconds", time.Second},
		{2 * time.Minute, "1 minute", 0},
		{time.Hour, "%d minutes", time.Minute},
		{2 * time.Hour, "1 hour", 0},
		{day, "%d hours", time.Hour},
		{2 * day, "1 day", 0},
		{week, "%d days", day},
		{2 * week, "1 week", 0},
		{month, "%d weeks", week},
		{2 * month, "1 month", 0},
		{year, "%d months", month},
		{18 * month, "1 year", 0},
		{2 * year, "2 years", 0},
		{37 * year, "%d years", year},
		{math.MaxInt64, "a long while", 0},
	} {
		if age >= unit.below {
			continue
		}
		switch {
		case unit.text == "now":
			return unit.text
		case unit.unit == 0:
			return unit.text + " " + suffix
		}
		return fmt.Sprintf(unit.text, age/unit.unit) + " " + suffix
	}
	return "a long while " + suffix
}

// humanSize prints bytes in binary units, with one decimal below 10.
func humanSize(bytes int64) string {
	if bytes < 1024 {
		return fmt.Sprintf("%dB", bytes)
	}
	size := float64(bytes)
	for _, unit := range []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"} {
		size /= 1024
		if rounded := math.Round(size*10) / 10; rounded < 10 {
			return fmt.Sprintf("%.1f%s", rounded, unit)
		}
		if rounded := math.Round(size); rounded < 1024 || unit == "EiB" {
			return fmt.Sprintf("%.0f%s", rounded, unit)
		}
	}
	return ""
}
