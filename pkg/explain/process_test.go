// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rkt/rkt/v2/pkg/profile"
)

const status = "Name:\tweb\\nUid:\t0\nUmask:\t0022\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t5 9 \nCapInh:\t0000000000000000\nCapPrm:\t0\n" +
	"CapEff:\t0000000000000001\nCapBnd:\t00000000a80425fb\nCapAmb:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t2\n"

func TestParseStatus(t *testing.T) {
	got, err := ParseStatus([]byte(status))
	want := Status{UID: 2, GID: 6, Bounding: 0xa80425fb, Effective: 1, NoNewPrivs: true, Seccomp: 2}
	if err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, field := range []string{"Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp"} {
		if _, err := ParseStatus([]byte(strings.Replace(status, "\n"+field+":", "\nOther:", 1))); err == nil {
			t.Errorf("no %s is taken", field)
		}
		if _, err := ParseStatus([]byte(strings.Replace(status, "\n"+field+":\t", "\n"+field+":\tx x\t", 1))); err == nil {
			t.Errorf("a broken %s is taken", field)
		}
	}
}

// TestOwnProcess reads the files of this process.
func TestOwnProcess(t *testing.T) {
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile("/proc/self/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if s, err := ParseStatus(read("status")); err != nil || s.UID != os.Geteuid() {
		t.Errorf("%+v, %v", s, err)
	}
	if l, err := ParseLimits(read("limits")); err != nil || l[7].Max == 0 {
		t.Errorf("%+v, %v", l, err)
	}
	if m, err := ParseMounts(read("mountinfo")); err != nil || len(m) == 0 {
		t.Errorf("%d mounts, %v", len(m), err)
	}
}

func TestParseLimits(t *testing.T) {
	text := "Limit                     Soft Limit           Hard Limit           Units     \n"
	for _, title := range rlimitTitles {
		text += title + "              10                   unlimited            bytes     \n"
	}
	got, err := ParseLimits([]byte(text))
	if err != nil || len(got) != len(rlimitNames) || got[3] != (profile.Rlimit{Cur: 10, Max: ^uint64(0)}) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", strings.Replace(text, "Max stack", "Min stack", 1), strings.Replace(text, "10 ", "ten", 1)} {
		if got, err := ParseLimits([]byte(bad)); err == nil {
			t.Errorf("%v", got)
		}
	}
}

const mounts = `10 1 0:1 / / rw - overlay overlay rw
11 10 0:2 / /proc rw - proc proc rw
12 11 0:2 /sys /proc/sys ro - proc proc rw
13 12 0:3 /x /proc/sys/kernel/random/boot_id rw - tmpfs tmpfs rw
14 12 0:2 /sys /proc/sys rw - proc proc rw
15 10 0:4 / /super rw - ext4 /dev/x ro
16 10 0:5 / /hidden/below ro - tmpfs tmpfs rw
17 10 0:6 / /hidden rw - tmpfs tmpfs rw
18 10 0:7 / /with\040blank ro - tmpfs tmpfs rw
`

func TestParseMounts(t *testing.T) {
	got, err := ParseMounts([]byte(mounts))
	want := map[string]MountPoint{
		"/": {Root: "/"}, "/proc": {Root: "/"}, "/super": {ReadOnly: true, Root: "/"}, "/hidden": {Root: "/"}, "/with blank": {ReadOnly: true, Root: "/"},
		// The later mount counts, and what was mounted in the earlier one is gone.
		"/proc/sys": {Root: "/sys"},
	}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestMountLoop: a table that makes no sense ends, too.
func TestMountLoop(t *testing.T) {
	if _, err := ParseMounts([]byte("1 0 0:1 / / rw - a a rw\n2 1 0:1 / /x rw - a a rw\n3 2 0:1 / /x rw - a a rw\n2 3 0:1 / /x rw - a a rw\n")); err != nil {
		t.Error(err)
	}
	if got, err := ParseMounts(nil); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestManyMounts: an app that may mount cannot keep rkt busy.
func TestManyMounts(t *testing.T) {
	const n = 20000
	var b strings.Builder
	b.WriteString("1 0 0:1 / / rw - a a rw\n")
	for i := 2; i < n; i++ { // one on the other
		fmt.Fprintf(&b, "%d %d 0:1 / /x rw - a a rw\n", i, i-1)
	}
	for i := n; i < 2*n; i++ {
		fmt.Fprintf(&b, "%d %d 0:1 / /x/%d ro - a a rw\n", i, n-1, i)
	}
	got, err := ParseMounts([]byte(b.String()))
	if err != nil || len(got) != n+2 || !got["/x/30000"].ReadOnly {
		t.Errorf("%d mount points, %v", len(got), err)
	}
}

func FuzzParseProcess(f *testing.F) {
	f.Add([]byte(status))
	f.Add([]byte(mounts))
	f.Fuzz(func(t *testing.T, data []byte) {
		if s, err := ParseStatus(data); err == nil && (s.UID < 0 || s.GID < 0) {
			t.Errorf("%+v", s)
		}
		if l, err := ParseLimits(data); err == nil && len(l) != len(rlimitNames) {
			t.Errorf("%v", l)
		}
		points, err := ParseMounts(data)
		for p := range points {
			if err == nil && !strings.Contains(string(data), "/") {
				t.Errorf("%q out of nothing", p)
			}
		}
	})
}
