// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/cgroup"
	"github.com/rkt/rkt/v2/pkg/devfilter"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

func full() *Profile {
	bounding, score := caps.Default, int64(-5)
	return &Profile{
		App: "web", PID: 42, StartTime: 1 << 60, UID: 7, GID: 8, Groups: []int{9, 4294967294},
		Environment: []string{"A=1", "ODD=two\nlines \"q\" \\ \x00\x1f é"},
		Bounding:    &bounding, Seccomp: &seccomp.Policy{Mode: seccomp.Remove, Calls: []string{"mount"}, Guarded: []string{"ioctl"}, Errno: 1, Unknown: 38, Unfiltered: true},
		NoNewPrivs: true, OOMScoreAdj: &score, Cgroups: []string{`/sys/fs/cgroup/machine-rkt\x2dx.scope`}, PrivateIPC: true, PrivateNet: true,
		Rlimits: []Rlimit{{Cur: 1, Max: 1<<64 - 1}}, Label: "a:b:c:s0:c1,c2",
		Start: &Start{
			Exec: []string{"/bin/sh", "-c", "two\nlines"}, WorkDir: "/home", PreStart: [][]string{{"/a", ""}, {"/b"}}, PostStop: [][]string{{"/c \"x\""}},
			ReadOnly: true, HostPaths: true, KeepSys: true, WholeSys: true, ReadOnlyPaths: []string{"/proc/sys"}, HiddenPaths: []string{"/sys/fs"}, TTY: true, Interactive: true,
			Streams: []string{"null", "log", "tty"}, PodCaps: caps.Set(1<<40 | 1), PodCalls: []string{"mount"}, UserShift: 1<<32 - 1,
			Devices: []devfilter.Rule{{Type: devfilter.Char, Major: 10, Minor: 229, Access: "rw"}, {Type: devfilter.Block, Major: -1, Minor: -1, Access: "rwm"}},
			Limits:  cgroup.Limits{Memory: 1 << 40, MemoryLow: 2, CPU: 3, CPUShares: 4, CPURequest: 5, Pids: 6, IOWeight: 7},
		},
	}
}

func TestMarshal(t *testing.T) {
	for name, p := range map[string]*Profile{"full": full(), "bare": {App: "a"}} {
		var got Profile
		if err := json.Unmarshal(p.Marshal(), &got); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, p.Marshal())
		}
		if name == "bare" { // an empty list is as good as none
			got.Groups, got.Environment, got.Rlimits = nil, nil, nil
		}
		if diff := cmp.Diff(p, &got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func process() Process {
	return Process{PID: 42, StartTime: 1 << 60, Cgroups: []string{`/sys/fs/cgroup/machine-rkt\x2dx.scope`, "/b"}}
}

func TestProcess(t *testing.T) {
	var got Process
	if err := json.Unmarshal(process().Marshal(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(process(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	own, err := StartTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "process")
	for name, tt := range map[string]struct {
		content string
		want    error
	}{
		"alive":      {string(Process{PID: os.Getpid(), StartTime: own}.Marshal()), nil},
		"other":      {string(Process{PID: os.Getpid(), StartTime: own + 1}.Marshal()), ErrOtherProcess},
		"gone":       {string(Process{PID: 1 << 30, StartTime: own}.Marshal()), ErrOtherProcess},
		"damaged":    {"{", nil},
		"no process": {"{}", ErrOtherProcess},
	} {
		if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadProcess(file)
		switch {
		case name == "damaged":
			if err == nil {
				t.Error("a damaged file is read")
			}
		case !errors.Is(err, tt.want) || tt.want == nil && err != nil:
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadProcess(file + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestNoFieldForgotten: full sets every field, so the round trip covers all.
func TestNoFieldForgotten(t *testing.T) {
	for _, v := range []reflect.Value{
		reflect.ValueOf(*full()), reflect.ValueOf(*full().Seccomp), reflect.ValueOf(full().Rlimits[0]), reflect.ValueOf(*full().Start), reflect.ValueOf(full().Start.Devices[0]), reflect.ValueOf(full().Start.Limits),
		reflect.ValueOf(full().Start.Limits), reflect.ValueOf(process()),
	} {
		for i := range v.NumField() {
			if v.Field(i).IsZero() {
				t.Errorf("%s.%s is not set", v.Type(), v.Type().Field(i).Name)
			}
		}
	}
}

func FuzzString(f *testing.F) {
	f.Add("a\"\\\n")
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return // does not come out of a manifest
		}
		var got string
		if err := json.Unmarshal(appendString(nil, s), &got); err != nil || got != s {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	})
}

func TestStartTime(t *testing.T) {
	own, err := StartTime(os.Getpid())
	if err != nil || own == 0 {
		t.Fatalf("%d, %v", own, err)
	}
	p := Profile{PID: os.Getpid(), StartTime: own}
	if err := p.Check(os.Getpid()); err != nil {
		t.Error(err)
	}
	p.StartTime++
	if err := p.Check(os.Getpid()); !errors.Is(err, ErrOtherProcess) {
		t.Error(err)
	}
	const stat = "5 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20"
	if n, err := parseStartTime(stat); err != nil || n != 777 {
		t.Errorf("%d, %v", n, err)
	}
	for _, bad := range []string{"", "5 (a) S 1", "5 a S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"} {
		if n, err := parseStartTime(bad); err == nil {
			t.Errorf("%q: %d", bad, n)
		}
	}
}
