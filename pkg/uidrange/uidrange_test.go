// SPDX-License-Identifier: Apache-2.0

package uidrange

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, s := range []string{"", "1", "a:b", "1:0", "-1:5", "+1:5", "4294967295:65536", "4294967295:1", ":", "1:2:3", " 1:2"} {
		if r, err := Parse(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("Parse(%q) = %v, %v", s, r, err)
		}
	}
	for s, want := range map[string]Range{"65536:65536": {65536, 65536}, "0:1": {0, 1}, "4294967294:1": {4294967294, 1}} {
		if r, err := Parse(s); err != nil || r != want || r.String() != s {
			t.Errorf("Parse(%q) = %v, %v", s, r, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("65536:65536")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(r.String()); err != nil || again != r || r.Count == 0 || r.end() < r.Start {
			t.Errorf("%q: %v, %v, %v", s, r, again, err)
		}
	})
}

func TestParseSubIDs(t *testing.T) {
	got, err := ParseSubIDs(strings.NewReader("# ours\nrkt:100000:65536\n\n 1000:524288:65536 \n"))
	want := []Entry{{"rkt", Range{100000, 65536}}, {"1000", Range{524288, 65536}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for _, bad := range []string{
		"rkt", "rkt:1", ":1:2", "rkt:1:2:3", "rkt:-1:2", "rkt:1:0", "rkt:1:4294967295", "rkt:0x10:5", "rkt:a:b",
		strings.Repeat("x", maxLine+1),
	} {
		if got, err := ParseSubIDs(strings.NewReader("a:1:2\n" + bad)); err == nil {
			t.Errorf("%.40q: %v", bad, got)
		}
	}
}

// FuzzParseSubIDs: what is read can be written and read again.
func FuzzParseSubIDs(f *testing.F) {
	f.Add("rkt:100000:65536\n#x\n7:1:2")
	f.Fuzz(func(t *testing.T, s string) {
		entries, err := ParseSubIDs(strings.NewReader(s))
		if err != nil {
			return
		}
		var b strings.Builder
		for _, e := range entries {
			if e.Count == 0 || e.end() < e.Start {
				t.Fatalf("%q: %v", s, e)
			}
			b.WriteString(e.Owner + ":" + e.String() + "\n")
		}
		again, err := ParseSubIDs(strings.NewReader(b.String()))
		if err != nil || !slices.Equal(again, entries) {
			t.Errorf("%q: %v, %v", s, again, err)
		}
	})
}

func etc(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadHost(t *testing.T) {
	const passwd = "root:x:0:0::/:/bin/sh\n+nis\nbad:x:-5:1::/:\nrkt:x:900:900::/:\n"
	ids := []Range{{0, 1}, {900, 1}, {7, 1}}
	base := map[string]string{"passwd": passwd, "group": "g:x:7:\n"}
	for _, tt := range []struct {
		name, subuid, subgid string
		pool, taken          []Range
	}{
		{"no entry", "", "", defaultPool(), nil},
		{"entries of others", "u:600000:65536\n", "u:700000:10\n", defaultPool(), []Range{{600000, 65536}, {700000, 10}}},
		{"by name", "rkt:100000:65536\n", "rkt:100000:65536\n", []Range{{100000, 65536}}, nil},
		{"by number", "900:100000:65536\n", "rkt:100000:65536\n", []Range{{100000, 65536}}, nil},
		{"parts in common", "rkt:100000:200000\n", "rkt:0:150000\nrkt:200000:10\n", []Range{{100000, 50000}, {200000, 10}}, nil},
		{"one file only", "rkt:100000:65536\n", "u:5:6\n", nil, []Range{{5, 6}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base["subuid"], base["subgid"] = tt.subuid, tt.subgid
			h, err := ReadHost(etc(t, base))
			want := &Host{Pool: tt.pool, Taken: append(slices.Clone(ids), tt.taken...)}
			if diff := cmp.Diff(want, h); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
	if h, err := ReadHost(t.TempDir()); err != nil || !slices.Equal(h.Pool, defaultPool()) {
		t.Errorf("no files: %v, %v", h, err)
	}
	if h, err := ReadHost(etc(t, map[string]string{"subuid": "u:x:y\n"})); err == nil {
		t.Errorf("bad line: %v", h)
	}
}

func TestChoose(t *testing.T) {
	three := []Range{{100000, 3*Size + 5}}
	for _, tt := range []struct {
		name        string
		pool, taken []Range
		start, want uint32 // 0: none
		err         error
	}{
		{"first", three, nil, 0, 100000, nil},
		{"second", three, nil, 1, 100000 + Size, nil},
		{"wraps", three, []Range{{100000 + 2*Size, 1}}, 2, 100000, nil},
		{"a large number", three, nil, 1<<32 - 1, 100000, nil},
		{"a user in the middle", three, []Range{{100500, 1}}, 0, 100000 + Size, nil},
		{"a user right before", three, []Range{{99999, 1}}, 0, 100000, nil},
		{"a user right behind", three, []Range{{100000 + Size, 1}}, 0, 100000, nil},
		{"one that spans two", three, []Range{{100000 + Size - 1, 2}}, 0, 100000 + 2*Size, nil},
		{"many, overlapping", three, []Range{{100000, 70000}, {1, 2}, {100001, 1}, {170000, Size * 3}}, 0, 0, ErrNoFree},
		{"two parts", []Range{{0x80000, Size}, {0x200000, Size}}, []Range{{0x80000, Size}}, 0, 0x200000, nil},
		{"parts that are too small", []Range{{5, Size - 1}, {0x200000, Size}}, nil, 0, 0x200000, nil},
		{"no pool", []Range{{5, Size - 1}}, nil, 0, 0, ErrNoPool},
		{"empty pool", nil, nil, 0, 0, ErrNoPool},
	} {
		t.Run(tt.name, func(t *testing.T) {
			half := len(tt.taken) / 2
			h := &Host{Pool: tt.pool, Taken: tt.taken[:half]}
			r, err := h.Choose(tt.taken[half:], tt.start)
			if !errors.Is(err, tt.err) || r.Start != tt.want || (err == nil && r.Count != Size) {
				t.Errorf("%v, %v; want %d, %v", r, err, tt.want, tt.err)
			}
		})
	}
}

func TestDefaultPool(t *testing.T) {
	h := &Host{Pool: defaultPool()}
	var total uint32
	for _, p := range h.Pool {
		total += p.Count / Size
	}
	first, last := h.block(0), h.block(total-1)
	if first.Start != 0x00080000 || last.Start != 0x6FFF0000 || first.Start%Size != 0 {
		t.Errorf("%v to %v", first, last)
	}
	// Until there is none left, no block comes twice.
	var pods []Range
	for range total {
		r, err := h.Choose(pods[:min(len(pods), 10)], uint32(len(pods)))
		if err != nil || r.Start%Size != 0 {
			t.Fatal(r, err)
		}
		pods = append(pods, r)
	}
	if _, err := h.Choose(pods, 12345); !errors.Is(err, ErrNoFree) {
		t.Error(err)
	}
	r, err := h.Choose(slices.Delete(slices.Clone(pods), 777, 778), 0)
	if err != nil || r != pods[777] {
		t.Errorf("%v, %v; want %v", r, err, pods[777])
	}
}
