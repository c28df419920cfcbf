// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/caps"
)

func iso(name, value string) appc.Isolator {
	return appc.Isolator{Name: appc.Identifier(name), Value: json.RawMessage(value)}
}

func user(list ...appc.Isolator) []Item { return Mark(list, nil) }

func TestMark(t *testing.T) {
	image := appc.Isolators{iso(Memory, `{ "limit": "64Mi" }`), iso(CPUShares, `100`)}
	app := appc.Isolators{
		iso(Memory, `{"limit":"64Mi"}`), iso(CPUShares, `200`),
		iso(Memory, `{"limit":"64Mi"}`), // the same again, by flag
	}
	var got []Origin
	for _, i := range Mark(app, image) {
		got = append(got, i.Origin)
	}
	if want := []Origin{FromImage, FromUser, FromUser}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if len(image) != 2 || string(image[1].Value) != "100" {
		t.Error("Mark changed its argument")
	}
}

func TestParse(t *testing.T) {
	image := appc.Isolators{
		iso(Memory, `{"request":"16Mi","limit":"32Mi"}`),
		iso(CPU, `{"request":"250m"}`),
		iso(CapsRemove, `{"set":["CAP_KILL","CAP_SYS_ADMIN"]}`),
		iso(BlockIOPS, `{"default":true,"limit":"10"}`),
	}
	flags := appc.Isolators{
		iso(Memory, `{"default":false,"request":"64Mi","limit":"64Mi"}`),
		iso(CPUShares, `512`), iso(OOMScoreAdj, `-5`), iso(NoNewPrivs, `true`),
		iso(CapsRemove, `{"set":["CAP_MKNOD"]}`), iso(NoNewPrivs, `false`),
	}
	p, err := Parse(Mark(append(slices.Clone(image), flags...), image))
	if err != nil {
		t.Fatal(err)
	}
	gone, _ := caps.Parse([]string{"CAP_KILL", "CAP_MKNOD"})
	want := &Plan{
		Memory:      &Resource{Limit: 64 << 20, Request: 64 << 20, Origin: FromUser},
		CPU:         &Resource{Request: 250, Origin: FromImage},
		CPUShares:   &Int{Value: 512},
		OOMScoreAdj: &Int{Value: -5},
		Caps:        &Caps{Bounding: caps.Default &^ gone, Origin: FromUser},
		NoNewPrivs:  true,
		Other:       []Item{{Isolator: image[3], Origin: FromImage}},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParseCaps(t *testing.T) {
	p, err := Parse(user(iso(CapsRetain, `{"set":["CAP_SYS_ADMIN"]}`), iso(CapsRetain, `{"set":["CAP_KILL"]}`)))
	if err != nil || p.Caps.Bounding.String() != "CAP_KILL CAP_SYS_ADMIN" {
		t.Errorf("%v, %v", p, err)
	}
	var all []string
	all = append(all, caps.Default.Names()...)
	raw, _ := json.Marshal(setValue{Set: all})
	p, err = Parse(user(iso(CapsRemove, string(raw))))
	if err != nil || p.Caps.Bounding != 0 {
		t.Errorf("%v, %v", p, err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, tt := range []struct {
		items []appc.Isolator
		want  string
	}{
		{[]appc.Isolator{iso(CPUShares, `1`)}, "isolator os/linux/cpu-shares: os/linux/cpu-shares must be between 2 and 262144, got 1"},
		{[]appc.Isolator{iso(OOMScoreAdj, `-1001`)}, "isolator os/linux/oom-score-adj: os/linux/oom-score-adj must be between -1000 and 1000, got -1001"},
		{[]appc.Isolator{iso(Memory, `{"default":true}`)}, "isolator resource/memory: default must be false"},
		{[]appc.Isolator{iso(CapsRetain, `{"set":[]}`)}, "isolator os/linux/capabilities-retain-set: set must be non-empty"},
		{[]appc.Isolator{iso(CapsRetain, `{"set":["CAP_NO"]}`)}, `isolator os/linux/capabilities-retain-set: unknown capability "CAP_NO"`},
		{
			[]appc.Isolator{iso(CapsRetain, `{"set":["CAP_KILL"]}`), iso(CapsRemove, `{"set":["CAP_KILL"]}`)},
			"cannot have both os/linux/capabilities-retain-set and os/linux/capabilities-remove-set",
		},
		{
			[]appc.Isolator{iso(SeccompRetain, `{"set":["read"]}`), iso(SeccompRemove, `{"set":["read"]}`)},
			"isolator os/linux/seccomp-remove-set: too many seccomp isolators specified",
		},
		{[]appc.Isolator{iso(CPU, `{"limit":"-1"}`)}, "isolator resource/cpu: limit -1 is not positive"},
	} {
		if _, err := Parse(user(tt.items...)); err == nil || err.Error() != tt.want {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
	if _, err := Parse(user(iso(CapsRetain, `{"set":["x"]}`))); !errors.Is(err, caps.ErrUnknown) {
		t.Error(err)
	}
}

func TestFlags(t *testing.T) {
	list := func(f func([]string) (appc.Isolator, error), names ...string) func() (appc.Isolator, error) {
		return func() (appc.Isolator, error) { return f(names) }
	}
	text := func(f func(string) (appc.Isolator, error), s string) func() (appc.Isolator, error) {
		return func() (appc.Isolator, error) { return f(s) }
	}
	number := func(f func(int) (appc.Isolator, error), n int) func() (appc.Isolator, error) {
		return func() (appc.Isolator, error) { return f(n) }
	}
	for _, tt := range []struct {
		name        string
		f           func() (appc.Isolator, error)
		value, fail string
	}{
		{Memory, text(MemoryFlag, "64Mi"), `{"default":false,"request":"64Mi","limit":"64Mi"}`, ""},
		{Memory, text(MemoryFlag, "16"), "", "memory limit of 16 bytes too low. Try a reasonable value, such as --memory=16M"},
		{Memory, text(MemoryFlag, "4096"), `{"default":false,"request":"4096","limit":"4096"}`, ""},
		{CPU, text(CPUFlag, "900m"), `{"default":false,"request":"900m","limit":"900m"}`, ""},
		{CPU, text(CPUFlag, "0"), "", "cpu limit 0 is not positive"},
		{CPUShares, number(CPUSharesFlag, 2), `2`, ""},
		{CPUShares, number(CPUSharesFlag, 262145), "", "os/linux/cpu-shares must be between 2 and 262144, got 262145"},
		{OOMScoreAdj, number(OOMScoreAdjFlag, -1000), `-1000`, ""},
		{OOMScoreAdj, number(OOMScoreAdjFlag, 1001), "", "os/linux/oom-score-adj must be between -1000 and 1000, got 1001"},
		{CapsRetain, list(CapsRetainFlag, "CAP_KILL", "CAP_CHOWN"), `{"set":["CAP_KILL","CAP_CHOWN"]}`, ""},
		{CapsRemove, list(CapsRemoveFlag), "", "set must be non-empty"},
		{CapsRemove, list(CapsRemoveFlag, "KILL"), "", `unknown capability "KILL"`},
		{SeccompRetain, text(SeccompFlag, "mode=retain,read,@appc.io/all"), `{"set":["read","@appc.io/all"]}`, ""},
		{SeccompRemove, text(SeccompFlag, "socket,errno=ENOTSUP,mode=remove"), `{"set":["socket"],"errno":"ENOTSUP"}`, ""},
		{"", text(SeccompFlag, "mode=keep,read"), "", "invalid seccomp mode command-line override"},
		{"", text(SeccompFlag, "read"), "", "invalid seccomp mode command-line override"},
		{"", text(SeccompFlag, "mode=remove,foo=bar,read"), "", "invalid seccomp command-line override"},
		{"", text(SeccompFlag, "mode=remove,read,"), "", "invalid seccomp command-line override"},
		{"", text(SeccompFlag, "mode=remove"), "", "set must be non-empty"},
		{"", text(SeccompFlag, "mode=remove,errno=perm,read"), "", "errno must start with an 'E' character, got perm"},
		{"", text(SeccompFlag, "mode=remove,errno=Eperm,read"), "", "errno can only contain upper case or numeric characters, got Eperm"},
		{"", text(SeccompFlag, "mode=remove,reed"), "", `unknown system call "reed"`},
	} {
		got, err := tt.f()
		if tt.fail != "" {
			if err == nil || err.Error() != tt.fail {
				t.Errorf("%v, want %s", err, tt.fail)
			}
			continue
		}
		if err != nil || string(got.Name) != tt.name || string(got.Value) != tt.value {
			t.Errorf("%s %s, %v, want %s %s", got.Name, got.Value, err, tt.name, tt.value)
		}
		if _, err := Parse(user(got)); err != nil {
			t.Errorf("own isolator refused: %v", err)
		}
	}
}

// FuzzSeccompFlag: what the flag takes, the manifest parser takes.
func FuzzSeccompFlag(f *testing.F) {
	f.Add("mode=retain,read")
	f.Add("errno=EPERM,mode=remove,@appc.io/empty")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := SeccompFlag(s)
		if err != nil {
			return
		}
		if p, err := Parse(user(i)); err != nil || p.Seccomp == nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}

// FuzzParse: no value makes a plan with a limit that means nothing.
func FuzzParse(f *testing.F) {
	f.Add(Memory, `{"limit":"1Gi"}`)
	f.Add(CPU, `{"limit":"900m","request":"1"}`)
	f.Add(CapsRetain, `{"set":["CAP_KILL"]}`)
	f.Add(Pids, `{"limit":"10"}`)
	f.Add(Rlimits, `{"nofile":{"soft":1,"hard":"unlimited"},"core":{"hard":0}}`)
	f.Add(SELinuxContext, `{"user":"u","role":"r","type":"t","level":"s0-s1:c0.c5"}`)
	f.Fuzz(func(t *testing.T, name, value string) {
		p, err := Parse(user(iso(name, value)))
		if err != nil {
			return
		}
		for _, r := range []*Resource{p.Memory, p.CPU, p.Pids} {
			if r != nil && (r.Limit < 0 || r.Request < 0) {
				t.Errorf("%s %s: %+v", name, value, r)
			}
		}
		for _, r := range p.Rlimits {
			if r.Soft > r.Hard {
				t.Errorf("%s %s: %+v", name, value, r)
			}
		}
		if p.SELinux != nil && strings.ContainsAny(p.SELinux.String(), " \n\x00\"'\\") {
			t.Errorf("%s %s: %q", name, value, p.SELinux)
		}
	})
}
