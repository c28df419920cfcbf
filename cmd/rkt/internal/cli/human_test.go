// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"testing"
	"time"
)

func TestRelativeTime(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		age  time.Duration
		want string
	}{
		{0, "now"},
		{time.Second, "1 second ago"},
		{59 * time.Second, "59 seconds ago"},
		{time.Minute, "1 minute ago"},
		{2 * time.Minute, "2 minutes ago"},
		{time.Hour, "1 hour ago"},
		{23 * time.Hour, "23 hours ago"},
		{day, "1 day ago"},
		{6 * day, "6 days ago"},
		{week, "1 week ago"},
		{3 * week, "3 weeks ago"},
		{month, "1 month ago"},
		{5 * month, "5 months ago"},
		{year, "1 year ago"},
		{19 * month, "2 years ago"},
		{5 * year, "5 years ago"},
		{38 * year, "a long while ago"},
		{-time.Hour, "1 hour from now"},
		{-3 * day, "3 days from now"},
	} {
		if got := relativeTime(now.Add(-tc.age), now); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.age, got, tc.want)
		}
	}
	if got := relativeTime(time.Time{}, now); got != "a long while ago" {
		t.Errorf("zero time: %s", got)
	}
}

func TestLongTime(t *testing.T) {
	if got := longTime(time.Time{}); got != "0001-01-01 00:00:00 +0000 UTC" {
		t.Error(got)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 120456789, time.UTC)
	if got := longTime(at); got != "2026-01-02 03:04:05.12 +0000 UTC" {
		t.Error(got)
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 9: "9B", 512: "512B", 1023: "1023B", 1024: "1.0KiB", 1536: "1.5KiB",
		9542041: "9.1MiB", 12 << 20: "12MiB", 150 << 20: "150MiB", 1<<20 - 1: "1.0MiB", 10188: "9.9KiB", 10230: "10KiB",
		1 << 62: "4.0EiB",
	} {
		if got := humanSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	for _, tc := range []struct {
		rows [][]string
		want string
	}{
		{nil, "\n"},
		{[][]string{{"UUID", "APP", "X"}}, "UUID\tAPP\tX\n"},
		{[][]string{{"UUID", "X"}, {"12345678", "y"}}, "UUID\t\tX\n12345678\ty\n"},
		{[][]string{{"a", "", ""}, {"b", "cccccccc", ""}}, "a\t\t\t\nb\tcccccccc\t\n"},
		{[][]string{{"é123456", "x"}, {"1234567", "y\tz\n"}}, "é123456\tx\n1234567\ty z \n"},
	} {
		if got := table(tc.rows); got != tc.want {
			t.Errorf("%q: %q\nwant %q", tc.rows, got, tc.want)
		}
	}
}
