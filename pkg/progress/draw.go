// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// period is the time between two lines of one bar on something that is not a
// terminal.
func (b *Bar) period() time.Duration {
	if b.o.Layer {
		return 500 * time.Millisecond
	}
	return time.Second
}

// update shows the state of b if it is time. The lock is held.
func (d *Display) update(b *Bar) {
	now := d.now()
	switch d.mode {
	case None:
	case Auto:
		if now.Sub(d.last) >= redraw {
			d.last = now
			d.erase()
			d.draw()
		}
	default:
		if now.Sub(b.last) >= b.period() {
			b.last = now
			d.line(b, "downloading")
		}
	}
}

// finish shows the last state of b and forgets it. The lock is held.
func (d *Display) finish(b *Bar, complete bool) {
	if b.over {
		return
	}
	b.over = true
	d.bars = slices.DeleteFunc(d.bars, func(x *Bar) bool { return x == b })
	d.sum.finished++
	state := "done"
	if !complete {
		state = "incomplete"
	}
	switch d.mode {
	case None:
	case Auto:
		d.erase()
		columns, _ := d.size()
		d.print(cut(b.text(columns, true), columns) + "\n")
		d.draw()
	default:
		d.line(b, state)
	}
	if len(d.bars) == 0 {
		d.sum = total{}
	}
}

// print drops errors: a stderr that is gone must not fail a download.
func (d *Display) print(s string) { _, _ = d.w.Write([]byte(s)) }

type event struct {
	Event string `json:"event"`
	Name  string `json:"name"`
	State string `json:"state"`
	Done  int64  `json:"done"`
	Total int64  `json:"total"` // -1: unknown
}

func (d *Display) line(b *Bar, state string) {
	if d.mode == Plain {
		d.print(b.text(defaultWidth, false) + "\n")
		return
	}
	data, err := json.Marshal(event{Event: "progress", Name: b.o.Name, State: state, Done: b.done, Total: b.o.Total})
	if err != nil {
		return // strings and numbers always marshal
	}
	d.print(string(data) + "\n")
}

// erase removes the running bars; the cursor is then where they began.
func (d *Display) erase() {
	if d.drawn > 0 {
		d.print(fmt.Sprintf("\x1b[%dA\x1b[J", d.drawn))
	}
	d.drawn = 0
}

// draw prints the running bars, as many as fit, and the total if there are
// several.
func (d *Display) draw() {
	if len(d.bars) == 0 {
		return
	}
	columns, rows := d.size()
	var out strings.Builder
	shown := d.bars[:min(len(d.bars), max(1, rows-2))]
	for _, b := range shown {
		out.WriteString(cut(b.text(columns, true), columns) + "\n")
	}
	d.drawn = len(shown)
	if d.sum.bars > 1 {
		out.WriteString(cut(d.sum.text(), columns) + "\n")
		d.drawn++
	}
	d.print(out.String())
}

// cut keeps a line from wrapping, which would upset the count of lines. A line
// may fill all columns: terminals wrap when one more character comes.
func cut(s string, columns int) string { return s[:min(len(s), max(1, columns))] }

func (t total) text() string {
	size := Size(t.size)
	if t.unknown {
		size = "?"
	}
	return fmt.Sprintf("Total: %d of %d, %s / %s", t.finished, t.bars, Size(t.done), size)
}

// text is the line of a bar: layers and archives have different historic forms.
func (b *Bar) text(columns int, withBar bool) string {
	head := "Downloading " + b.o.Name
	if b.o.Layer {
		size := "?"
		if b.o.Total >= 0 {
			size = Size(b.o.Total)
		}
		return head + " " + b.box(min(columns, defaultWidth)-len(head)-24, withBar) + Size(b.done) + " / " + size
	}
	if b.o.Total < 0 {
		return fmt.Sprintf("%s: %s of an unknown total size", head, Size(b.done))
	}
	return head + ": " + b.box(min(columns, defaultWidth)-len(head)-18, withBar) + Size(b.done) + "/" + Size(b.o.Total)
}

// box is the bar of the given width, brackets included, and a space.
func (b *Bar) box(width int, withBar bool) string {
	if !withBar || width < 3 || b.o.Total < 0 {
		return ""
	}
	inner := int64(width - 2)
	full := inner
	if b.o.Total > 0 {
		full = min(inner, int64(float64(inner)*(float64(b.done)/float64(b.o.Total))))
	}
	return "[" + strings.Repeat("=", int(full)) + strings.Repeat(" ", int(inner-full)) + "] "
}

// Size formats bytes in decimal units with three significant digits.
func Size(n int64) string {
	units := [...]string{"B", "KB", "MB", "GB", "TB", "PB"}
	value, unit := float64(n), 0
	for value >= 999.5 && unit < len(units)-1 {
		value /= 1000
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g %s", value, units[unit])
}
