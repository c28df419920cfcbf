// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

const layerDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) add(d time.Duration) { c.t = c.t.Add(d) }

func display(w io.Writer, m Mode) (*Display, *clock) {
	d := New(w, m)
	c := &clock{time.Unix(1000, 0)}
	d.now = func() time.Time { return c.t }
	return d, c
}

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	d, c := display(&out, Auto) // not a terminal
	b := d.Bar(Options{Name: "ACI", Total: 3_700_000})
	b.Add(100)
	c.add(999 * time.Millisecond)
	b.Add(100)
	c.add(time.Millisecond)
	b.Set(3_250_000)
	fmt.Fprintln(d, "a message")
	l := d.Bar(Options{Name: layerDigest, Total: 2000, Layer: true})
	c.add(500 * time.Millisecond)
	l.Add(1000)
	l.Add(1000)
	l.Done()
	l.Done()
	b.Set(3_700_000)
	b.Done()
	u := d.Bar(Options{Name: "signature", Total: -1})
	u.Add(12)
	u.Done()
	q := d.Bar(Options{Name: layerDigest, Total: -1, Layer: true})
	q.Add(12)
	d.Close()
	want := `Downloading ACI: 3.25 MB/3.7 MB
a message
Downloading sha256:0123456789a 1 KB / 2 KB
Downloading sha256:0123456789a 2 KB / 2 KB
Downloading ACI: 3.7 MB/3.7 MB
Downloading signature: 12 B of an unknown total size
Downloading sha256:0123456789a 12 B / ?
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	d, c := display(&out, JSON)
	b := d.Bar(Options{Name: layerDigest, Total: 10, Layer: true})
	c.add(time.Second)
	b.Add(4)
	b.Done()
	want := `{"event":"progress","name":"sha256:0123456789a","state":"downloading","done":4,"total":10}
{"event":"progress","name":"sha256:0123456789a","state":"incomplete","done":4,"total":10}
`
	if out.String() != want {
		t.Errorf("got:\n%s", out.String())
	}
}

func TestNone(t *testing.T) {
	var out bytes.Buffer
	d, c := display(&out, None)
	b := d.Bar(Options{Name: "ACI", Total: 10})
	c.add(time.Hour)
	b.Add(10)
	b.Done()
	fmt.Fprintln(d, "message")
	if out.String() != "message\n" {
		t.Errorf("got %q", out.String())
	}
	var nothing *Bar
	nothing.Add(1)
	nothing.Set(1)
	nothing.SetTotal(1)
	nothing.Done()
}

// screen plays what a terminal would show: lines, cursor up, erase below.
type screen struct {
	lines []string
	row   int
	bad   string
}

var control = regexp.MustCompile(`\x1b\[(\d*)([AJ])`)

func (s *screen) play(data string) {
	for data != "" {
		if m := control.FindStringSubmatch(data); m != nil && strings.HasPrefix(data, m[0]) {
			if m[2] == "A" {
				var n int
				if _, err := fmt.Sscan(m[1], &n); err != nil || n > s.row {
					s.bad = fmt.Sprintf("cursor moves up %q from row %d", m[1], s.row)
					return
				}
				s.row -= n
			} else {
				s.lines = s.lines[:s.row]
			}
			data = data[len(m[0]):]
			continue
		}
		line, rest, ok := strings.Cut(data, "\n")
		if !ok {
			s.bad = fmt.Sprintf("cursor left in the line %q", line)
			return
		}
		if s.row < len(s.lines) {
			s.bad = fmt.Sprintf("%q shares a line with %q", line, s.lines[s.row])
			return
		}
		s.lines = append(s.lines, line)
		s.row++
		data = rest
	}
}

func TestTerminal(t *testing.T) {
	var out bytes.Buffer
	d, c := display(&out, Plain)
	d.mode = Auto
	columns := 60
	d.size = func() (int, int) { return columns, 5 }
	var bars []*Bar
	for i := range 6 {
		bars = append(bars, d.Bar(Options{Name: fmt.Sprintf("sha256:%064d", i), Total: 1000, Layer: true}))
	}
	for i := range 10 {
		c.add(redraw)
		for _, b := range bars {
			b.Add(100)
		}
		if i == 4 {
			fmt.Fprintln(d, "image: a message")
		}
	}
	for _, b := range bars {
		b.Done()
	}
	d.Close()
	var s screen
	s.play(out.String())
	if s.bad != "" {
		t.Fatal(s.bad)
	}
	var want []string
	want = append(want, "image: a message")
	for range bars {
		want = append(want, "Downloading sha256:00000000000 [====] 1 KB / 1 KB")
	}
	if got := strings.Join(s.lines, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("screen at the end:\n%s", got)
	}
	if hex := regexp.MustCompile(`[0-9a-f-]{36,}`).FindString(out.String()); hex != "" {
		t.Errorf("output could be mistaken for a result: %q", hex)
	}
}

func TestTerminalTotal(t *testing.T) {
	var out bytes.Buffer
	d, c := display(&out, Plain)
	d.mode = Auto
	d.size = func() (int, int) { return 100, 30 }
	a := d.Bar(Options{Name: "sha256:aaaaaaaaaaaaaaa", Total: 2000, Layer: true})
	b := d.Bar(Options{Name: "sha256:bbbbbbbbbbbbbbb", Total: 2000, Layer: true})
	a.Set(2000)
	a.Done()
	c.add(time.Second)
	b.Set(1000)
	var s screen
	s.play(out.String())
	want := `Downloading sha256:aaaaaaaaaaa [========================] 2 KB / 2 KB
Downloading sha256:bbbbbbbbbbb [============            ] 1 KB / 2 KB
Total: 1 of 2, 3 KB / 4 KB`
	if got := strings.Join(s.lines, "\n"); got != want || s.bad != "" {
		t.Errorf("got (%s):\n%s\nwant:\n%s", s.bad, got, want)
	}
	d.Close()
}

// A real terminal is recognised; a dumb one gets lines.
func TestRecognise(t *testing.T) {
	master, tty, err := pty.Open()
	if err != nil {
		t.Skip("no pseudo-terminals: ", err)
	}
	defer master.Close()
	defer tty.Close()
	t.Setenv("TERM", "xterm")
	if d := New(tty, Auto); d.mode != Auto {
		t.Errorf("terminal: mode %s", d.mode)
	}
	t.Setenv("TERM", "dumb")
	if d := New(tty, Auto); d.mode != Plain {
		t.Errorf("dumb terminal: mode %s", d.mode)
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if d := New(null, ""); d.mode != Plain {
		t.Errorf("file: mode %s", d.mode)
	}
}

func TestConcurrent(t *testing.T) {
	var out bytes.Buffer
	d := New(&out, Plain)
	d.mode = Auto
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			b := d.Bar(Options{Name: fmt.Sprintf("sha256:%064d", i), Total: 1 << 20, Layer: true})
			defer b.Done()
			if _, err := io.Copy(io.Discard, b.Reader(io.LimitReader(zero{}, 1<<20))); err != nil {
				t.Error(err)
			}
			fmt.Fprintln(d, "message")
		})
	}
	wg.Wait()
	var s screen
	s.play(out.String())
	if s.bad != "" || len(s.lines) != 16 {
		t.Errorf("%s\n%s", s.bad, strings.Join(s.lines, "\n"))
	}
}

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1 KB", 3_250_000: "3.25 MB", 3_700_000: "3.7 MB",
		999_600: "1 MB", 999_499: "999 KB", 12_345_678_901: "12.3 GB", 1 << 62: "4.61e+03 PB",
	} {
		if got := Size(n); got != want {
			t.Errorf("Size(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestParseMode(t *testing.T) {
	for _, s := range []string{"auto", "plain", "json", "none"} {
		if m, err := ParseMode(s); err != nil || string(m) != s {
			t.Errorf("%s: %v, %v", s, m, err)
		}
	}
	if _, err := ParseMode("fancy"); err == nil {
		t.Error("unknown mode was accepted")
	}
}

// The longest line of an archive is as long as a terminal of 80 columns is
// wide; nothing of it is cut, and it does not wrap.
func TestTerminalFullWidth(t *testing.T) {
	var out bytes.Buffer
	d, c := display(&out, Plain)
	d.mode = Auto
	d.size = func() (int, int) { return 80, 24 }
	b := d.Bar(Options{Name: "ACI", Total: 20_800_000})
	c.add(time.Second)
	b.Set(1_250_000)
	var s screen
	s.play(out.String())
	if len(s.lines) != 1 || len(s.lines[0]) != 80 || !strings.HasSuffix(s.lines[0], "] 1.25 MB/20.8 MB") {
		t.Errorf("screen: %q", s.lines)
	}
	d.Close()
}
