// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/store/imagestore"
)

// envNested has the working path of the script that runs this acbuild.
const envNested = "ACBUILD_NESTED_SCRIPT"

func newScript() command {
	return command{
		name: "script", args: "FILE", summary: "Run the commands of a file in a build of their own", min: 1, max: 1, alone: true,
		run: func(ctx context.Context, c *call) error { return c.script(ctx) },
	}
}

// script runs the lines of a file as commands.
func (c *call) script(ctx context.Context) (err error) {
	raw, err := readSmall(c, c.args[0])
	if err != nil {
		return err
	}
	lines, err := parseScript(string(raw))
	if err != nil {
		return fmt.Errorf("%s: %w", c.args[0], err)
	}
	if err := c.checkScript(lines); err != nil {
		return err
	}
	dir := c.Getenv(envNested)
	if dir == "" {
		if dir, err = os.MkdirTemp("", "acbuild-script-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, removeWork(dir)) }()
	}
	for _, words := range lines {
		if err := c.scriptLine(ctx, dir, words); err != nil {
			return err
		}
	}
	return nil
}

// removeWork removes a working path with the build in it.
func removeWork(dir string) error {
	b, err := lockBuild((&build{dir: dir}).path(contextDir))
	switch {
	case errors.Is(err, errNoBuild):
	case err != nil:
		return err
	default:
		if err := errors.Join(b.discard(), b.unlock()); err != nil {
			return err
		}
	}
	return imagestore.RemoveTree(dir)
}

// checkScript refuses, before anything was run, what cannot be in a script.
func (c *call) checkScript(lines [][]string) error {
	for _, words := range lines {
		cmd, err := find(commands(), words[0])
		if err != nil {
			return &statusError{statusUsage, err}
		}
		switch {
		case cmd.name == "end":
			return errors.New("calling end is unnecessary in a script, cleanup is done automatically")
		case cmd.name == "run" && c.EUID != 0:
			return errors.New("scripts using the run subcommand must be run as root")
		}
	}
	return nil
}

func (c *call) scriptLine(ctx context.Context, dir string, words []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := []string{"--debug", "--work-path=" + dir}
	if c.global.noHistory {
		args = append(args, "--no-history")
	}
	cmd := exec.CommandContext(ctx, self, append(args, words...)...)
	cmd.Args[0] = "acbuild" // not acbuild-script
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.Env = append(os.Environ(), envNested+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, c.Stdout, c.Stderr
	c.debugf("script: %q", words)
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return &statusError{exit.ExitCode(), nil} // it has said why
	}
	return err
}

// parseScript returns the commands of a script, split into words.
func parseScript(text string) ([][]string, error) {
	var lines [][]string
	s := bufio.NewScanner(strings.NewReader(text))
	s.Buffer(nil, len(text)+1)
	var line string
	flush := func(number int) error {
		words, err := splitLine(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		line = ""
		if len(words) > 0 {
			lines = append(lines, separate(words))
		}
		return nil
	}
	number := 0
	for s.Scan() {
		number++
		part := s.Text()
		if head, ok := strings.CutSuffix(part, `\`); ok && !endsEscaped(head) && !strings.HasPrefix(strings.TrimSpace(line+part), "#") {
			line += head + " "
			continue
		}
		line += part
		if err := flush(number); err != nil {
			return nil, err
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if line != "" {
		return nil, fmt.Errorf("line %d: %w", number, errEscape)
	}
	return lines, nil
}

// endsEscaped tells whether the last backslash of a line, which is cut off, was
// itself escaped.
func endsEscaped(head string) bool {
	n := len(head) - len(strings.TrimRight(head, `\`))
	return n%2 == 1
}

// separate puts "--" before the command of run and set-exec.
func separate(words []string) []string {
	words[0] = strings.ToLower(words[0])
	cmd, err := find(commands(), words[0])
	if err != nil || cmd.name != "run" && cmd.name != "set-exec" || slices.Contains(words, "--") {
		return words
	}
	valued := map[string]bool{"--store": true, "--working-dir": true, "--engine": true, "--insecure-options": true, "--system-config": true, "--local-config": true}
	for i := 1; i < len(words); i++ {
		switch word := words[i]; {
		case valued[word] || valued["-"+word]:
			i++
		case !strings.HasPrefix(word, "-"):
			return slices.Insert(words, i, "--")
		}
	}
	return words
}

var (
	errSingle = errors.New("unterminated single quote block")
	errDouble = errors.New("unterminated double quote block")
	errEscape = errors.New("ended with an escape")
)

// splitLine splits a line of a script into words.
func splitLine(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune
	escaped := false
	end := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote = r
		case r == '#':
			end()
			return words, nil
		case r == ' ' || r == '\t' || r == '\r':
			end()
		default:
			word.WriteRune(r)
		}
	}
	switch {
	case escaped:
		return nil, errEscape
	case quote == '\'':
		return nil, errSingle
	case quote == '"':
		return nil, errDouble
	}
	end()
	return words, nil
}
