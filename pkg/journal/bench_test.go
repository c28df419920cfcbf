// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"fmt"
	"testing"
	"time"
)

func testPod() Pod {
	return Pod{
		UUID:      "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
		MachineID: [16]byte{0x0a, 0x1b, 0x2c, 0x3d, 0x4e, 0x5f, 0x60, 0x71, 0x82, 0x93, 0xa4, 0xb5, 0xc6, 0xd7, 0xe8, 0xf9},
		BootID:    [16]byte{0xb0, 1: 7, 15: 1},
		Hostname:  "rkt-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
	}
}

func testLog(t testing.TB, dir string, p Pod) *PodLog {
	t.Helper()
	l, err := OpenPod(dir, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func BenchmarkLine(b *testing.B) {
	for _, tc := range []struct {
		name string
		line func(buf []byte, i int) []byte
	}{
		{"unique", func(buf []byte, i int) []byte { return fmt.Appendf(buf, "GET /index.html?n=%d 200 1234 0.003s", i) }},
		{"same", func(buf []byte, _ int) []byte { return append(buf, "tick"...) }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			p := testPod()
			p.NoSync = true
			l := testLog(b, b.TempDir(), p)
			b.ReportAllocs()
			var buf []byte
			for i := 0; b.Loop(); i++ {
				buf = tc.line(buf[:0], i)
				if err := l.Line("web", Stdout, 7, time.Now(), buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStart is what the journal adds to the start and end of a pod with
// one line of output.
func BenchmarkStart(b *testing.B) {
	for _, sync := range []bool{false, true} {
		b.Run(fmt.Sprintf("sync=%v", sync), func(b *testing.B) {
			dir := b.TempDir()
			p := testPod()
			p.NoSync = !sync
			for i := 0; b.Loop(); i++ {
				p.MachineID[0], p.MachineID[1] = byte(i), byte(i>>8)
				l := testLog(b, dir, p)
				if err := l.Line("web", Stdout, 7, time.Now(), []byte("ready")); err != nil {
					b.Fatal(err)
				}
				if err := l.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
