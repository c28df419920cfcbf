// SPDX-License-Identifier: Apache-2.0

package unit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// MaxFile is how many bytes a file may have. systemd takes lines of a MiB, and
// escaped text is up to four times as long.
const MaxFile = 128 << 10

// Pos is a place in a file; lines and columns count from 1, columns in bytes. A
// line of 0 is the file as a whole.
type Pos struct {
	File         string
	Line, Column int
}

func (p Pos) String() string {
	switch {
	case p.Line == 0:
		return p.File
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Problem is something wrong at a place.
type Problem struct {
	Pos  Pos
	Text string
}

func (p Problem) String() string { return p.Pos.String() + ": " + p.Text }

// Entry is one "Key=value", or the header of a section, which has no Key.
type Entry struct {
	Section, Key, Value string
	Pos                 Pos // of the key
	ValuePos            Pos
}

// Parse reads the text of a file. Sections keep their order and may come again.
func Parse(name, text string) (entries []Entry, problems []Problem) {
	p := parser{name: name}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return nil, []Problem{{Pos{File: name}, "not a text file in UTF-8"}}
	}
	for line := range strings.Lines(text) {
		p.line++
		p.add(strings.TrimRight(line, "\r\n"))
	}
	if p.joining {
		p.finish()
	}
	return p.entries, p.problems
}

type parser struct {
	name, section string
	line          int // being read
	entries       []Entry
	problems      []Problem

	joining bool   // the line before ended in a backslash
	joined  string // what there is so far
	start   int    // line it began at
}

// add reads one line. A comment between joined lines is left out, as systemd does.
func (p *parser) add(line string) {
	trimmed := strings.TrimLeft(line, " \t")
	if strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
		return
	}
	// To systemd a carriage return ends a line as well.
	if i := strings.IndexFunc(line, func(c rune) bool { return unicode.IsControl(c) && c != '\t' }); i >= 0 {
		p.problem(Pos{p.name, p.line, i + 1}, "there is a control character in the line")
		p.joining = false
		return
	}
	if !p.joining {
		if strings.TrimSpace(line) == "" {
			return
		}
		p.joined, p.start = "", p.line
	}
	p.joining = continues(line)
	if p.joining {
		p.joined += line[:len(line)-1] + " "
		return
	}
	p.joined += line
	p.finish()
}

// continues: an even number of backslashes at the end are themselves.
func continues(line string) bool {
	n := len(line) - len(strings.TrimRight(line, `\`))
	return n%2 == 1
}

// finish takes a whole line.
func (p *parser) finish() {
	line := p.joined
	p.joining, p.joined = false, ""
	trimmed := strings.TrimSpace(line)
	pos := Pos{p.name, p.start, 1 + strings.Index(line, trimmed)}
	switch {
	case trimmed == "":
	case trimmed[0] == '[':
		p.header(trimmed, pos)
	default:
		p.entry(line, pos)
	}
}

func (p *parser) header(s string, pos Pos) {
	if len(s) < 3 || s[len(s)-1] != ']' {
		p.problem(pos, "%q is no section: it has to be [Name]", s)
		return
	}
	p.section = s[1 : len(s)-1]
	p.entries = append(p.entries, Entry{Section: p.section, Pos: pos, ValuePos: pos})
}

func (p *parser) entry(line string, pos Pos) {
	key, value, ok := strings.Cut(line, "=")
	trimmed := strings.TrimSpace(value)
	key = strings.TrimSpace(key)
	switch {
	case !ok:
		p.problem(pos, "%q is neither a section, nor Key=value, nor a comment", strings.TrimSpace(line))
	case key == "":
		p.problem(pos, "there is no key before the equals sign")
	case p.section == "":
		p.problem(pos, "%s= stands before the first section", key)
	default:
		at := Pos{p.name, p.start, 2 + strings.IndexByte(line, '=') + strings.Index(value, trimmed)}
		p.entries = append(p.entries, Entry{p.section, key, trimmed, pos, at})
	}
}

func (p *parser) problem(pos Pos, format string, args ...any) {
	p.problems = append(p.problems, Problem{pos, fmt.Sprintf(format, args...)})
}

// Errors of Read.
var (
	ErrNotFile = errors.New("not a regular file")
	ErrTooLong = fmt.Errorf("longer than %d bytes", MaxFile)
)

// Read returns the text of a file, "" for one that is linked to /dev/null. It
// never waits: a pipe or a device is an error.
func Read(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if null, err := os.Stat(os.DevNull); err == nil && os.SameFile(info, null) {
		return "", nil
	}
	if !info.Mode().IsRegular() {
		return "", &os.PathError{Op: "read", Path: path, Err: ErrNotFile}
	}
	b, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(b) > MaxFile {
		err = &os.PathError{Op: "read", Path: path, Err: ErrTooLong}
	}
	return string(b), err
}
