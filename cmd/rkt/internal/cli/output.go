// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// printf writes one line of the answer.
func (d *Deps) printf(format string, args ...any) error {
	return d.writeOut(fmt.Sprintf(format, args...) + "\n")
}

// errorf writes one message, with the command's name in front.
func (d *Deps) errorf(format string, args ...any) {
	d.writeErr(d.command + ": " + fmt.Sprintf(format, args...) + "\n")
}

func (d *Deps) writeOut(s string) error {
	_, err := io.WriteString(d.Stdout, s)
	if err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// writeErr writes a message, between the bars of downloads that are under way.
// It cannot report its own failure: stderr is where it would.
func (d *Deps) writeErr(s string) {
	if !d.Global.Debug && (d.command == "prepare" || d.command == "fetch") {
		s = cutLongHex(s)
	}
	if d.display != nil {
		_, _ = d.display.Write([]byte(s))
		return
	}
	_, _ = io.WriteString(d.Stderr, s)
}

const (
	longHex = 36 // digits and dashes of a UUID
	keptHex = 12
)

// cutLongHex shortens what callers of prepare and fetch, who search both
// streams for the result, could take for a UUID or an image ID.
func cutLongHex(s string) string {
	var b strings.Builder
	run := 0 // length of the digits and dashes before i
	for i := 0; i <= len(s); i++ {
		if i < len(s) && isHexOrDash(s[i]) {
			run++
			continue
		}
		if word := s[i-run : i]; run < longHex {
			b.WriteString(word)
		} else {
			b.WriteString(word[:keptHex] + "...")
		}
		run = 0
		if i < len(s) {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func isHexOrDash(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F' || c == '-'
}

// Values of --format.
const (
	formatTable      = ""
	formatJSON       = "json"
	formatJSONPretty = "json-pretty"
)

// formatFlag is --format of commands that print a table or JSON.
type formatFlag string

func (f *formatFlag) Set(s string) error {
	switch s {
	case formatTable, formatJSON, formatJSONPretty:
		*f = formatFlag(s)
		return nil
	}
	return fmt.Errorf("Invalid format option: %s", s) //nolint:staticcheck // a literal scripts match on
}

func (f *formatFlag) String() string { return string(*f) }
func (f *formatFlag) Type() string   { return "string" }

func (f *formatFlag) usage() string {
	return "print the output in a structured form; allowed values: " + quotedList([]string{formatJSON, formatJSONPretty})
}

// printJSON writes v compact or, pretty, with one tab a level.
func (d *Deps) printJSON(v any, pretty bool) error {
	var data []byte
	var err error
	if pretty {
		data, err = json.MarshalIndent(v, "", "\t")
	} else {
		data, err = json.Marshal(v)
	}
	if err != nil {
		return err
	}
	return d.writeOut(string(data) + "\n")
}

// lineHandler writes slog records as rkt's messages: one line
// "component: message key=value".
type lineHandler struct {
	print     func(string)
	component string
	debug     *bool
	attrs     []slog.Attr
}

func (h *lineHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level > slog.LevelDebug || *h.debug
}

func (h *lineHandler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	component := h.component
	add := func(a slog.Attr) bool {
		if a.Key == "component" {
			component = a.Value.String()
			return true
		}
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	}
	for _, a := range h.attrs {
		add(a)
	}
	r.Attrs(add)
	h.print(component + ": " + oneLine(r.Message+b.String()) + "\n")
	return nil
}

func (h *lineHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.attrs = append(append([]slog.Attr(nil), h.attrs...), attrs...)
	return &c
}

// WithGroup is not used: rkt's log keys are flat.
func (h *lineHandler) WithGroup(string) slog.Handler { return h }
