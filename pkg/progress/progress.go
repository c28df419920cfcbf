// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// Mode is a value of --progress.
type Mode string

// The modes. The zero value is Auto.
const (
	Auto  Mode = "auto"  // bars on a terminal, else Plain
	Plain Mode = "plain" // lines
	JSON  Mode = "json"  // a JSON object per line
	None  Mode = "none"
)

// ParseMode parses the value of --progress.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Auto, Plain, JSON, None:
		return m, nil
	}
	return "", fmt.Errorf("unknown progress mode %q (must be one of: %s, %s, %s, %s)", s, Auto, Plain, JSON, None)
}

const (
	redraw        = 100 * time.Millisecond // of a terminal
	nameLength    = 18
	defaultWidth  = 80
	defaultHeight = 24
)

// Display shows bars on one stream.
type Display struct {
	w    io.Writer
	mode Mode
	size func() (columns, rows int)
	now  func() time.Time

	mu    sync.Mutex
	bars  []*Bar // running, in order of start
	drawn int    // lines of bars on the terminal above the cursor
	last  time.Time
	sum   total
}

// total adds up all bars of a Display.
type total struct {
	bars, finished int
	done, size     int64
	unknown        bool
}

// New makes a Display on w. Auto becomes bars if w is a terminal that can move
// its cursor.
func New(w io.Writer, mode Mode) *Display {
	d := &Display{w: w, mode: mode, now: time.Now, size: func() (int, int) { return defaultWidth, defaultHeight }}
	if mode != Auto && mode != "" {
		return d
	}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		d.mode = Plain
		return d
	}
	d.mode = Auto
	d.size = func() (int, int) {
		columns, rows, err := term.GetSize(int(f.Fd()))
		if err != nil || columns <= 0 || rows <= 0 {
			return defaultWidth, defaultHeight
		}
		return columns, rows
	}
	return d
}

// Options describe one Bar.
type Options struct {
	// Name is what is downloaded: "ACI", "signature" or a digest, which is cut.
	Name string
	// Total is the number of bytes, -1 if it is not known.
	Total int64
	// Layer says that it is one of several layers of an image.
	Layer bool
}

// Bar is one download.
type Bar struct {
	d    *Display
	o    Options
	done int64
	last time.Time // last line
	over bool
}

// Bar starts a download.
func (d *Display) Bar(o Options) *Bar {
	if len(o.Name) > nameLength {
		o.Name = o.Name[:nameLength]
	}
	b := &Bar{d: d, o: o}
	d.mu.Lock()
	defer d.mu.Unlock()
	b.last = d.now()
	d.bars = append(d.bars, b)
	d.sum.bars++
	d.sum.size += max(o.Total, 0)
	d.sum.unknown = d.sum.unknown || o.Total < 0
	return b
}

// Write prints whole lines between the bars.
func (d *Display) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drawn == 0 {
		return d.w.Write(p)
	}
	d.erase()
	n, err := d.w.Write(p)
	d.draw()
	return n, err
}

// Close ends all bars.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.bars) > 0 {
		d.finish(d.bars[0], false)
	}
}

// Set says how many bytes are there.
func (b *Bar) Set(done int64) {
	if b == nil {
		return
	}
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	b.set(done)
}

// Add says that n more bytes are there.
func (b *Bar) Add(n int) {
	if b == nil {
		return
	}
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	b.set(b.done + int64(n))
}

// SetTotal corrects the number of bytes.
func (b *Bar) SetTotal(n int64) {
	if b == nil {
		return
	}
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	b.d.sum.size += max(n, 0) - max(b.o.Total, 0)
	b.o.Total = n
}

func (b *Bar) set(done int64) {
	if b.over {
		return
	}
	b.d.sum.done += done - b.done
	b.done = done
	b.d.update(b)
}

// Done ends the download; what is shown last is what is there. Only the first call counts.
func (b *Bar) Done() {
	if b == nil {
		return
	}
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	b.d.finish(b, b.o.Total < 0 || b.done == b.o.Total)
}

// Reader counts what is read through it.
func (b *Bar) Reader(r io.Reader) io.Reader { return &reader{r: r, b: b} }

type reader struct {
	r io.Reader
	b *Bar
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.b.Add(n)
	}
	return n, err
}
