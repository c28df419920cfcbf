// SPDX-License-Identifier: Apache-2.0

package closure

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Finder finds libraries.
type Finder struct {
	Machine elf.Machine
	// Dirs are searched after the directories a file names itself.
	Dirs []string
	// Opened tells of a library that is opened only when it is wanted
	// whether it is; nil means that none is.
	Opened func(soname string) bool
}

// Result is what programs need beside themselves.
type Result struct {
	Interpreter string            // as the programs name it
	Libraries   map[string]string // soname to file, symbolic links resolved
}

// MissingError tells that a library is nowhere.
type MissingError struct {
	Soname string
	By     string // the file that needs it
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s needs %s, which is nowhere", e.By, e.Soname)
}

// Find returns the closure of the programs. A library that is missing is a
// *MissingError.
func (f Finder) Find(programs ...string) (*Result, error) {
	r := &Result{Libraries: map[string]string{}}
	todo := slices.Clone(programs)
	for len(todo) > 0 {
		path := todo[0]
		todo = todo[1:]
		o, err := f.open(path)
		if err != nil {
			return nil, err
		}
		if slices.Contains(programs, path) {
			if err := r.interpret(o); err != nil {
				return nil, err
			}
		}
		for _, soname := range o.needed {
			if soname == filepath.Base(r.Interpreter) {
				continue // it is there before anything is loaded
			}
			lib, err := f.locate(soname, o)
			known := r.Libraries[soname]
			if known != "" {
				// A library may rely on the program for having loaded another.
				if err == nil && lib != known {
					return nil, fmt.Errorf("%s is both %s and, for %s, %s", soname, known, path, lib)
				}
				continue
			}
			if err != nil {
				return nil, err
			}
			r.Libraries[soname] = lib
			todo = append(todo, lib)
		}
	}
	return r, nil
}

// interpret notes the interpreter of a program, which has to be the same for
// all.
func (r *Result) interpret(o *object) error {
	switch {
	case o.interpreter == "":
		return fmt.Errorf("%s is no dynamically linked program", o.path)
	case r.Interpreter == "":
		r.Interpreter = o.interpreter
	case r.Interpreter != o.interpreter:
		return fmt.Errorf("%s has the interpreter %s, others %s", o.path, o.interpreter, r.Interpreter)
	}
	return nil
}

// locate finds a library as the dynamic linker would: a file for another
// machine does not count.
func (f Finder) locate(soname string, by *object) (string, error) {
	if strings.Contains(soname, "/") {
		return "", fmt.Errorf("%s needs %s: a path is not supported", by.path, soname)
	}
	for _, dir := range slices.Concat(by.runpath, f.Dirs) {
		path, err := filepath.EvalSymlinks(filepath.Join(dir, soname))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if _, err := f.open(path); err == nil {
			return path, nil
		}
	}
	return "", &MissingError{Soname: soname, By: by.path}
}

// object is what counts of an ELF file.
type object struct {
	path        string
	interpreter string
	runpath     []string
	needed      []string // sonames, of libraries to be opened later, too
}

func (f Finder) open(path string) (*object, error) {
	file, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer func() { _ = file.Close() }()
	if file.Machine != f.Machine {
		return nil, fmt.Errorf("%s is for %s, not %s", path, file.Machine, f.Machine)
	}
	o := &object{path: path}
	if err := f.read(o, file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return o, nil
}

func (f Finder) read(o *object, file *elf.File) (err error) {
	if o.interpreter, err = interpreter(file); err != nil {
		return err
	}
	if o.needed, err = file.DynString(elf.DT_NEEDED); err != nil {
		return err
	}
	opened, err := opened(file)
	if err != nil {
		return err
	}
	for _, soname := range opened {
		if f.Opened != nil && f.Opened(soname) && !slices.Contains(o.needed, soname) {
			o.needed = append(o.needed, soname)
		}
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		list, err := file.DynString(tag)
		if err != nil {
			return err
		}
		for _, dir := range list {
			o.runpath = append(o.runpath, expand(dir, o.path)...)
		}
	}
	return nil
}

// expand splits a list of directories of the file at path.
func expand(list, path string) []string {
	var out []string
	for dir := range strings.SplitSeq(list, ":") {
		for _, origin := range []string{"$ORIGIN", "${ORIGIN}"} {
			dir = strings.ReplaceAll(dir, origin, filepath.Dir(path))
		}
		if filepath.IsAbs(dir) {
			out = append(out, dir)
		}
	}
	return out
}

func interpreter(file *elf.File) (string, error) {
	for _, p := range file.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		const most = 4096
		if p.Filesz > most {
			return "", errors.New("name of the interpreter is too long")
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return "", fmt.Errorf("name of the interpreter: %w", err)
		}
		return strings.TrimRight(string(b), "\x00"), nil
	}
	return "", nil
}
