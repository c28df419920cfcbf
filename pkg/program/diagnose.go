// SPDX-License-Identifier: Apache-2.0

package program

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/inroot"
)

const (
	maxDepth   = 10
	maxShebang = 256 // BINPRM_BUF_SIZE: the kernel reads no more of a script
	maxHeader  = 1 << 16
)

// Diagnose says why the program cannot be executed: it or an interpreter it
// names is missing or of no use. The text has the prefix "Error: ". Empty
// means that nothing is wrong with the files.
func Diagnose(root *inroot.Root, name string) string {
	for range maxDepth {
		interpreter, problem := examine(root, name)
		if problem != "" {
			return "Error: " + problem
		}
		if interpreter == "" {
			return ""
		}
		name = interpreter
	}
	return "Error: Excessive interpreter recursion, giving up"
}

// Strerror is the text of an error number as C programs print it.
func Strerror(err error) string {
	var errno unix.Errno
	s := err.Error()
	if errors.As(err, &errno) {
		s = errno.Error()
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// UnableToOpen is the diagnosis of a file that cannot be opened.
func UnableToOpen(name string, err error) string {
	return "Unable to open \"" + name + "\": " + Strerror(err)
}

// examine looks at one file: the interpreter it needs, if any, or what is
// wrong with it. Names are printed as they are.
func examine(root *inroot.Root, name string) (interpreter, problem string) {
	if !strings.HasPrefix(name, "/") {
		return "", "Path must be absolute: \"" + name + "\""
	}
	st, err := root.Stat(name)
	if err != nil {
		return "", UnableToOpen(name, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "", "\"" + name + "\" is not a regular file"
	case st.Mode&0o111 == 0:
		return "", "\"" + name + "\" is not executable"
	}
	f, err := root.OpenRegular(name)
	if err != nil {
		return "", UnableToOpen(name, err)
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, maxShebang)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return "", UnableToOpen(name, err)
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("#!")):
		return shebang(head[2:], name)
	case bytes.HasPrefix(head, []byte("\x7fELF")):
		return elfInterpreter(f, head, name)
	}
	return "", "Unsupported file type"
}

func noInterpreter(name string) string {
	return "Unable to determine interpreter for \"" + name + "\""
}

func shebang(rest []byte, name string) (interpreter, problem string) {
	line, _, found := bytes.Cut(rest, []byte("\n"))
	if !found && len(rest) >= maxShebang-2 {
		return "", "Shebang line too long"
	}
	fields := bytes.Fields(line)
	if len(fields) == 0 {
		return "", noInterpreter(name)
	}
	return string(fields[0]), ""
}

// Positions in the identification of an ELF file (elf(5)), and the type of the
// program header that names an interpreter.
const (
	elfClass, elfData, elfVersion = 4, 5, 6
	ptInterp                      = 3
)

// elfLayout is where the fields are in one class.
type elfLayout struct {
	phoff, phentsize, phnum int
	offset, filesz          int // in a program header
	wide                    bool
	minSize                 int
}

func layoutOf(class byte) (elfLayout, bool) {
	switch class {
	case 1:
		return elfLayout{phoff: 28, phentsize: 42, phnum: 44, offset: 4, filesz: 16, minSize: 52}, true
	case 2:
		return elfLayout{phoff: 32, phentsize: 54, phnum: 56, offset: 8, filesz: 32, wide: true, minSize: 64}, true
	}
	return elfLayout{}, false
}

func (l elfLayout) word(order binary.ByteOrder, b []byte) int64 {
	if l.wide {
		return int64(order.Uint64(b))
	}
	return int64(order.Uint32(b))
}

func byteOrder(data byte) (binary.ByteOrder, bool) {
	switch data {
	case 1:
		return binary.LittleEndian, true
	case 2:
		return binary.BigEndian, true
	}
	return nil, false
}

func elfInterpreter(f io.ReaderAt, head []byte, name string) (interpreter, problem string) {
	const unsupported = "Unsupported ELF format"
	if len(head) <= elfVersion {
		return "", unsupported
	}
	if head[elfVersion] != 1 {
		return "", "Unsupported ELF version"
	}
	l, ok := layoutOf(head[elfClass])
	order, known := byteOrder(head[elfData])
	if !ok || !known || len(head) < l.minSize {
		return "", unsupported
	}
	size, count := int(order.Uint16(head[l.phentsize:])), int(order.Uint16(head[l.phnum:]))
	if size < l.filesz+8 || size*count > maxHeader {
		return "", unsupported
	}
	table := make([]byte, size*count)
	if _, err := f.ReadAt(table, l.word(order, head[l.phoff:])); err != nil {
		return "", unsupported
	}
	for h := table; len(h) >= size; h = h[size:] {
		if order.Uint32(h) != ptInterp {
			continue
		}
		n := l.word(order, h[l.filesz:])
		if n <= 1 || n > unix.PathMax {
			return "", noInterpreter(name)
		}
		path := make([]byte, n)
		if _, err := f.ReadAt(path, l.word(order, h[l.offset:])); err != nil {
			return "", noInterpreter(name)
		}
		return string(bytes.TrimRight(path, "\x00")), ""
	}
	return "", ""
}
