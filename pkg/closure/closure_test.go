// SPDX-License-Identifier: Apache-2.0

package closure

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// binaryFile describes an ELF file to write: only what the package reads.
type binaryFile struct {
	machine     elf.Machine // 0: x86-64
	interpreter string
	needed      []string
	runpath     string
	dlopen      string // content of a note
}

// bytes lays the file out as header, program header, contents, section headers.
func (f binaryFile) bytes() []byte {
	const headerSize, progSize = 64, 56
	if f.machine == 0 {
		f.machine = elf.EM_X86_64
	}
	var content, dynamic bytes.Buffer
	strs := []byte{0}
	str := func(s string) uint64 {
		at := len(strs)
		strs = append(append(strs, s...), 0)
		return uint64(at)
	}
	le := binary.LittleEndian
	tag := func(tag elf.DynTag, value uint64) { _ = binary.Write(&dynamic, le, []uint64{uint64(tag), value}) }
	for _, n := range f.needed {
		tag(elf.DT_NEEDED, str(n))
	}
	if f.runpath != "" {
		tag(elf.DT_RUNPATH, str(f.runpath))
	}
	tag(elf.DT_NULL, 0)
	names := []byte("\x00.dynstr\x00.dynamic\x00.note.dlopen\x00.shstrtab\x00")
	name := func(s string) uint32 { return uint32(bytes.Index(names, []byte(s+"\x00"))) }
	sections := []elf.Section64{{}}
	add := func(s elf.Section64, body []byte) uint64 {
		s.Off, s.Size = headerSize+progSize+uint64(content.Len()), uint64(len(body))
		content.Write(body)
		sections = append(sections, s)
		return s.Off
	}
	add(elf.Section64{Name: name(".dynstr"), Type: uint32(elf.SHT_STRTAB)}, strs)
	add(elf.Section64{Name: name(".dynamic"), Type: uint32(elf.SHT_DYNAMIC), Link: 1, Entsize: 16}, dynamic.Bytes())
	if f.dlopen != "" {
		add(elf.Section64{Name: name(".note.dlopen"), Type: uint32(elf.SHT_NOTE)}, []byte(f.dlopen))
	}
	add(elf.Section64{Name: name(".shstrtab"), Type: uint32(elf.SHT_STRTAB)}, names)
	prog := elf.Prog64{Type: uint32(elf.PT_NULL)}
	if f.interpreter != "" {
		body := append([]byte(f.interpreter), 0)
		prog = elf.Prog64{Type: uint32(elf.PT_INTERP), Off: headerSize + progSize + uint64(content.Len()), Filesz: uint64(len(body))}
		content.Write(body)
	}
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_DYN), Machine: uint16(f.machine), Version: uint32(elf.EV_CURRENT),
		Phoff: headerSize, Ehsize: headerSize, Phentsize: progSize, Phnum: 1,
		Shoff:     headerSize + progSize + uint64(content.Len()),
		Shentsize: 64, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	var out bytes.Buffer
	for _, part := range []any{header, prog, content.Bytes(), sections} {
		_ = binary.Write(&out, le, part)
	}
	return out.Bytes()
}

// note is an ELF note as a linker writes it.
func noteBytes(owner string, kind uint32, text string) string {
	var b bytes.Buffer
	pad := func(s string) string { return s + strings.Repeat("\x00", (4-len(s)%4)%4) }
	_ = binary.Write(&b, binary.LittleEndian, []uint32{uint32(len(owner) + 1), uint32(len(text) + 1), kind})
	b.WriteString(pad(owner+"\x00") + pad(text+"\x00"))
	return b.String()
}

// world writes files and returns its directory.
func world(t *testing.T, files map[string]binaryFile) string {
	t.Helper()
	// Paths are compared, so the directory has no links in its name.
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		f.runpath = strings.ReplaceAll(f.runpath, "@", dir)
		if err := os.WriteFile(path, f.bytes(), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const linker = "/lib64/ld-linux-x86-64.so.2"

func TestFind(t *testing.T) {
	dir := world(t, map[string]binaryFile{
		// The private library relies on the program for another private one.
		"prog":            {interpreter: linker, needed: []string{"libcore.so", "libshared.so", "libc.so.6", "ld-linux-x86-64.so.2"}, runpath: "@/private:relative"},
		"tool":            {interpreter: linker, needed: []string{"libc.so.6"}},
		"private/libcore": {},
		"private/libcore.so": {
			needed: []string{"libshared.so", "libc.so.6"},
		},
		"private/libshared.so": {needed: []string{"libm.so.6", "libown.so"}, runpath: "$ORIGIN/sub"},
		"private/sub/libown.so": {dlopen: noteBytes("FDO", 0x407c0c0a, `[{"feature":"x","priority":"suggested","soname":["libseldom.so.1"]}]`) +
			noteBytes("GNU", 3, "id") +
			noteBytes("FDO", 0x407c0c0a, `[{"soname":["libmount.so.1","libmount.so.0"]}]`)},
		"other/libc.so.6":     {machine: elf.EM_AARCH64},
		"lib/libc-2.36.so":    {needed: []string{"ld-linux-x86-64.so.2"}},
		"lib/libm.so.6":       {},
		"lib/libmount.so.1":   {},
		"lib/libseldom.so.1":  {},
		"lib/libunrelated.so": {},
	})
	if err := os.Symlink("libc-2.36.so", filepath.Join(dir, "lib/libc.so.6")); err != nil {
		t.Fatal(err)
	}
	f := Finder{
		Machine: elf.EM_X86_64, Dirs: []string{filepath.Join(dir, "other"), filepath.Join(dir, "lib")},
		Opened: func(soname string) bool { return soname == "libmount.so.1" },
	}
	got, err := f.Find(filepath.Join(dir, "prog"), filepath.Join(dir, "tool"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Result{Interpreter: linker, Libraries: map[string]string{
		"libcore.so":    filepath.Join(dir, "private/libcore.so"),
		"libshared.so":  filepath.Join(dir, "private/libshared.so"),
		"libown.so":     filepath.Join(dir, "private/sub/libown.so"),
		"libc.so.6":     filepath.Join(dir, "lib/libc-2.36.so"),
		"libm.so.6":     filepath.Join(dir, "lib/libm.so.6"),
		"libmount.so.1": filepath.Join(dir, "lib/libmount.so.1"),
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFindFails(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]binaryFile
		want  string
	}{
		"missing library": {map[string]binaryFile{"prog": {interpreter: linker, needed: []string{"libnone.so.1"}}}, "needs libnone.so.1, which is nowhere"},
		"wrong machine": {map[string]binaryFile{
			"prog": {interpreter: linker, needed: []string{"liba.so"}}, "lib/liba.so": {machine: elf.EM_AARCH64},
		}, "needs liba.so, which is nowhere"},
		"a path": {map[string]binaryFile{"prog": {interpreter: linker, needed: []string{"../liba.so"}}}, "a path is not supported"},
		"static": {map[string]binaryFile{"prog": {}}, "is no dynamically linked program"},
		"other program": {map[string]binaryFile{
			"prog": {machine: elf.EM_AARCH64, interpreter: linker},
		}, "is for EM_AARCH64, not EM_X86_64"},
		"two libraries of a name": {map[string]binaryFile{
			"prog":            {interpreter: linker, needed: []string{"liba.so", "libb.so"}, runpath: "@/private"},
			"private/liba.so": {}, "private/libb.so": {needed: []string{"liba.so"}}, "lib/liba.so": {},
		}, "liba.so is both"},
		"damaged note": {map[string]binaryFile{"prog": {interpreter: linker, dlopen: "abc"}}, "damaged"},
		"long note":    {map[string]binaryFile{"prog": {interpreter: linker, dlopen: "\xff\xff\xff\xff\xff\xff\xff\xff\x0a\x0c\x7c\x40"}}, "damaged"},
		"no JSON":      {map[string]binaryFile{"prog": {interpreter: linker, dlopen: noteBytes("FDO", dlopenType, "{")}}, ".note.dlopen"},
	} {
		dir := world(t, tc.files)
		_, err := Finder{Machine: elf.EM_X86_64, Dirs: []string{filepath.Join(dir, "lib")}}.Find(filepath.Join(dir, "prog"))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q", name, err, tc.want)
		}
	}
	var missing *MissingError
	dir := world(t, map[string]binaryFile{"prog": {interpreter: linker, needed: []string{"libnone.so"}}})
	if _, err := (Finder{Machine: elf.EM_X86_64}).Find(filepath.Join(dir, "prog")); !errors.As(err, &missing) || missing.Soname != "libnone.so" {
		t.Error(err)
	}
	dir = world(t, map[string]binaryFile{"a": {interpreter: linker}, "b": {interpreter: "/lib/ld-musl.so.1"}})
	if _, err := (Finder{Machine: elf.EM_X86_64}).Find(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err == nil {
		t.Error("two interpreters")
	}
	if err := os.WriteFile(filepath.Join(dir, "text"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := (Finder{Machine: elf.EM_X86_64}).Find(filepath.Join(dir, "text")); err == nil {
		t.Error("a script")
	}
}
