// SPDX-License-Identifier: Apache-2.0

package caps

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTable(t *testing.T) {
	if len(names) != 41 || unix.CAP_LAST_CAP != len(names)-1 {
		t.Fatalf("%d names, last number %d", len(names), unix.CAP_LAST_CAP)
	}
	for name, n := range map[string]int{
		"CAP_CHOWN": unix.CAP_CHOWN, "CAP_SYS_ADMIN": unix.CAP_SYS_ADMIN, "CAP_SYSLOG": unix.CAP_SYSLOG,
		"CAP_CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE, "CAP_NET_ADMIN": unix.CAP_NET_ADMIN,
	} {
		if s, err := Parse([]string{name}); err != nil || s != 1<<n {
			t.Errorf("Parse(%s) = %x, %v", name, uint64(s), err)
		}
	}
}

func TestDefault(t *testing.T) {
	want, err := Parse(strings.Fields(`CAP_AUDIT_WRITE CAP_CHOWN CAP_DAC_OVERRIDE CAP_FSETID CAP_FOWNER CAP_KILL CAP_MKNOD
		CAP_NET_RAW CAP_NET_BIND_SERVICE CAP_SETUID CAP_SETGID CAP_SETPCAP CAP_SETFCAP CAP_SYS_CHROOT`))
	if err != nil {
		t.Fatal(err)
	}
	if Default != want {
		t.Errorf("Default = %v, want %v", Default, want)
	}
	if len(Default.Names()) != 14 {
		t.Errorf("%d capabilities in the default set", len(Default.Names()))
	}
}

func TestRoundTrip(t *testing.T) {
	for _, s := range []Set{0, 1, Default, All, All &^ Default} {
		got, err := Parse(s.Names())
		if err != nil || got != s {
			t.Errorf("Parse(Names(%x)) = %x, %v", uint64(s), uint64(got), err)
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, name := range []string{"", "CAP_", "chown", "CHOWN", "cap_chown", "CAP_chown", "CAP_FOO", "CAP_41"} {
		if _, err := Parse([]string{name}); !errors.Is(err, ErrUnknown) {
			t.Errorf("Parse(%q): %v", name, err)
		}
	}
}
