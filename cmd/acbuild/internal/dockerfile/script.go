// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/hint"
)

// Options of Script.
type Options struct {
	Dir   string   // that of the Dockerfile, to which sources are relative
	Name  string   // of the image; may be empty
	Write string   // where to write the image; may be empty
	Run   []string // flags for run
	// Entries lists what is in a directory; false for anything else.
	Entries func(path string) ([]string, bool)
}

// Script returns the lines of a script and notices of what was left out.
func Script(text string, o Options) (lines, notices []string, err error) {
	list, err := parse(text)
	if err != nil {
		return nil, nil, err
	}
	s := &script{Options: o, args: map[string]string{}, env: map[string]string{}, workDir: "/"}
	for _, in := range list {
		if err := s.add(in); err != nil {
			return nil, nil, fmt.Errorf("line %d: %s: %w", in.line, in.name, err)
		}
	}
	if !s.begun {
		return nil, nil, errors.New("there is no FROM")
	}
	err = s.finish()
	return s.lines, s.notices, err
}

// script is a script under construction.
type script struct {
	Options
	lines, notices  []string
	begun           bool
	args, env       map[string]string
	workDir         string
	entrypoint, cmd []string
	shellEntrypoint bool
}

var errEmpty = errors.New("an empty word cannot be said in a script of acbuild")

// emit adds a line with quoted words. Arguments that begin with a dash are no flags.
func (s *script) emit(words ...string) error {
	n := 1
	if slices.Contains([]string{"annotation", "environment", "mount", "port"}, words[0]) {
		n = 2
	}
	isFlag := func(w string) bool { return strings.HasPrefix(w, "-") }
	if !slices.Contains(words, "--") && slices.ContainsFunc(words[n:], isFlag) {
		words = slices.Insert(words, n, "--")
	}
	for i, w := range words {
		switch {
		case w == "":
			return errEmpty
		case strings.ContainsAny(w, "\r\n"):
			return errors.New("a line break cannot be said in a script of acbuild")
		case strings.ContainsAny(w, " \t\\\"'#"):
			words[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w) + `"`
		}
	}
	s.lines = append(s.lines, strings.Join(words, " "))
	return nil
}

func (s *script) vars() map[string]string {
	all := maps.Clone(s.args)
	maps.Copy(all, s.env) // ENV wins
	return all
}

func (s *script) add(in instruction) error {
	if strings.Contains(in.text, "<<") && (in.name == "RUN" || in.name == "COPY" || in.name == "ADD") {
		return errors.New("here-documents are not supported")
	}
	if !s.begun && in.name != "FROM" && in.name != "ARG" {
		return errors.New("FROM has to come first")
	}
	switch in.name {
	case "RUN":
		return s.run(in.text)
	case "CMD":
		s.cmd, _ = s.command(in.text)
		return nil
	case "ENTRYPOINT":
		s.entrypoint, s.shellEntrypoint = s.command(in.text)
		s.cmd = nil
		return nil
	case "HEALTHCHECK", "STOPSIGNAL":
		s.notices = append(s.notices, fmt.Sprintf("line %d: %s is left out: images have no place for it", in.line, in.name))
		return nil
	case "MAINTAINER":
		return s.emit("annotation", "add", "authors", in.text)
	case "VOLUME":
		if list, ok := execForm(in.text); ok {
			return s.volumes(list)
		}
	}
	list, err := words(in.text, s.vars())
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("it has no arguments")
	}
	switch in.name {
	case "FROM":
		return s.from(list)
	case "ARG":
		return s.arg(list)
	case "ENV":
		return s.pairs(list, func(k, v string) error {
			s.env[k] = v
			return s.emit("environment", "add", k, v)
		})
	case "LABEL":
		return s.pairs(list, s.label)
	case "COPY", "ADD":
		return s.copy(in, list)
	case "EXPOSE":
		return s.expose(list)
	case "VOLUME":
		return s.volumes(list)
	case "USER":
		return s.user(list[0])
	case "WORKDIR":
		s.workDir = path.Join("/", s.workDir, list[0])
		if path.IsAbs(list[0]) {
			s.workDir = path.Clean(list[0])
		}
		return s.emit("set-working-directory", s.workDir)
	}
	return errors.New("it is not supported")
}

func (s *script) from(list []string) error {
	switch {
	case s.begun:
		return hint.With(errors.New("there are several FROM: builds in stages are not supported"), "build each stage with a script of its own")
	case strings.HasPrefix(list[0], "-"):
		return fmt.Errorf("the flag %s is not supported", list[0])
	}
	s.begun = true
	if list[0] == "scratch" {
		return s.emit("begin")
	}
	return s.emit("begin", "docker://"+list[0])
}

func (s *script) arg(list []string) error {
	for _, word := range list {
		name, value, _ := strings.Cut(word, "=")
		if !isName(name) {
			return fmt.Errorf("%q is no name of a variable", name)
		}
		s.args[name] = value
	}
	return nil
}

// pairs are K=V …, or one K with the rest of the line.
func (s *script) pairs(list []string, each func(k, v string) error) error {
	if !strings.Contains(list[0], "=") {
		if len(list) < 2 {
			return fmt.Errorf("%q has no value", list[0])
		}
		return each(list[0], strings.Join(list[1:], " "))
	}
	for _, word := range list {
		k, v, ok := strings.Cut(word, "=")
		if !ok {
			return fmt.Errorf("%q has no =", word)
		}
		if err := each(k, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) label(k, v string) error {
	name, err := appc.SanitizeIdentifier(k)
	if err != nil {
		return err
	}
	return s.emit("annotation", "add", name.String(), v)
}

func (s *script) command(text string) (argv []string, shell bool) {
	if list, ok := execForm(text); ok {
		return list, false
	}
	return []string{"/bin/sh", "-c", text}, true
}

func (s *script) run(text string) error {
	if strings.HasPrefix(text, "--") {
		return errors.New("its flags are not supported")
	}
	argv, shell := s.command(text)
	if len(argv) == 0 {
		return errors.New("it has no arguments")
	}
	if !shell && len(s.args) > 0 {
		return errors.New("a command in the form of a list does not see ARG here: write it in the form of a shell command")
	}
	if shell {
		for _, name := range slices.Backward(slices.Sorted(maps.Keys(s.args))) {
			if _, ok := s.env[name]; !ok {
				argv[2] = "export " + name + "='" + strings.ReplaceAll(s.args[name], "'", `'\''`) + "'; " + argv[2]
			}
		}
	}
	line := append([]string{"run"}, s.Run...)
	switch {
	case s.workDir == "/":
	case shell: // WORKDIR makes it, too
		dir := "'" + strings.ReplaceAll(s.workDir, "'", `'\''`) + "'"
		argv[2] = "mkdir -p " + dir + " && cd " + dir + " || exit; " + argv[2]
	default:
		line = append(line, "--working-dir="+s.workDir)
	}
	return s.emit(append(append(line, "--"), argv...)...)
}

func (s *script) copy(in instruction, list []string) error {
	if words, ok := execForm(in.text); ok {
		list = words
	}
	if len(list) < 2 {
		return errors.New("source and destination are needed")
	}
	sources, dst := list[:len(list)-1], list[len(list)-1]
	toDir := strings.HasSuffix(dst, "/") || dst == "." || len(sources) > 1
	if !path.IsAbs(dst) {
		dst = path.Join(s.workDir, dst)
	}
	for i, src := range sources {
		switch {
		case strings.HasPrefix(src, "--"):
			return fmt.Errorf("the flag %s is not supported", src)
		case strings.ContainsAny(src, "*?["):
			return fmt.Errorf("%q: patterns are not supported", src)
		case strings.Contains(src, "://"), strings.HasPrefix(src, "git@"):
			return fmt.Errorf("%q: only files beside the Dockerfile are copied", src)
		case in.name == "ADD" && isArchive(src):
			return hint.With(fmt.Errorf("%q: archives are not unpacked", src), "unpack it and copy the directory")
		}
		local := filepath.FromSlash(strings.TrimLeft(path.Clean(src), "/"))
		if local == "" || !filepath.IsLocal(local) {
			return fmt.Errorf("%q is outside of the directory of the Dockerfile", src)
		}
		sources[i] = filepath.Join(s.Dir, local)
	}
	return s.copyFiles(sources, dst, toDir)
}

// copyFiles copies files, and of directories what is in them.
func (s *script) copyFiles(sources []string, dst string, toDir bool) error {
	var files []string
	for _, src := range sources {
		entries, isDir := s.Entries(src)
		if !isDir {
			files = append(files, src)
			continue
		}
		toDir = true
		for _, name := range entries {
			files = append(files, filepath.Join(src, name))
		}
	}
	switch {
	case len(files) == 0:
		return nil
	case toDir:
		return s.emit(append(append([]string{"copy-to-dir"}, files...), path.Clean(dst))...)
	}
	return s.emit("copy", files[0], dst)
}

func isArchive(name string) bool {
	for _, suffix := range []string{".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".txz", ".tar.zst"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// expose names ports as the conversion of images does.
func (s *script) expose(list []string) error {
	for _, word := range list {
		port, protocol, ok := strings.Cut(word, "/")
		if !ok {
			protocol = "tcp"
		}
		if err := s.emit("port", "add", port+"-"+protocol, protocol, port); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) volumes(list []string) error {
	for _, dir := range list {
		name, err := appc.SanitizeName("volume-" + strings.Trim(path.Clean(dir), "/"))
		if err != nil {
			return err
		}
		if err := s.emit("mount", "add", name.String(), dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *script) user(word string) error {
	user, group, ok := strings.Cut(word, ":")
	if err := s.emit("set-user", user); err != nil || !ok {
		return err
	}
	return s.emit("set-group", group)
}

// finish adds what stands at the end.
func (s *script) finish() error {
	argv := slices.Clone(s.entrypoint)
	if !s.shellEntrypoint {
		argv = append(argv, s.cmd...)
	}
	if len(argv) > 0 {
		if err := s.emit(append([]string{"set-exec", "--"}, argv...)...); err != nil {
			return fmt.Errorf("ENTRYPOINT and CMD: %w", err)
		}
	}
	if s.Name != "" {
		if err := s.emit("set-name", s.Name); err != nil {
			return err
		}
	}
	if s.Write != "" {
		return s.emit("write", s.Write)
	}
	return nil
}
