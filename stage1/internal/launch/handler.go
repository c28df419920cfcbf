// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/rkt/rkt/v2/pkg/confine"
	"github.com/rkt/rkt/v2/pkg/profile"
)

// HandlerName is what this program calls itself for an event handler: a filter
// cannot be taken off again, so each handler is confined in a process of its own.
const HandlerName = "event-handler"

// profileFD is the descriptor of the profile in that process.
const profileFD = 3

// handlers runs event handlers one after the other, as root of the pod, held
// to what the app is held to. A failing one ends it.
func (s *start) handlers(name string, all [][]string) error {
	for _, words := range all {
		if err := s.checkProgram(words[0]); err != nil {
			return fmt.Errorf("event handler %q: %w", name, err)
		}
		if err := s.handler(words); err != nil {
			return fmt.Errorf("event handler %q: %w", name, err)
		}
	}
	return nil
}

func (s *start) handler(words []string) error {
	asRoot := *s.prof
	asRoot.UID, asRoot.GID, asRoot.Groups = 0, 0, nil
	asRoot.Environment = s.prof.Environment
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	argv := append([]string{HandlerName, s.prof.Start.WorkDir}, words...)
	child, err := os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{
		Env:   []string{},
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr, r},
	})
	_ = r.Close()
	if err != nil {
		return errors.Join(err, w.Close())
	}
	_, werr := w.Write(asRoot.Marshal())
	werr = errors.Join(werr, w.Close())
	state, err := child.Wait()
	if err := errors.Join(err, werr); err != nil {
		return err
	}
	if !state.Success() {
		return errors.New(state.String())
	}
	return nil
}

// Handler is the other end of handlers, already in the app's root.
func Handler(argv []string) error {
	if len(argv) < 3 {
		return errors.New("called by hand")
	}
	f := os.NewFile(profileFD, "profile")
	data, err := io.ReadAll(io.LimitReader(f, profile.MaxSize))
	if err != nil {
		return fmt.Errorf("read descriptor %s: %w", strconv.Itoa(profileFD), err)
	}
	prof, err := profile.Parse(data)
	if err != nil {
		return err
	}
	return confine.Exec(prof, confine.Program{WorkDir: argv[1], Path: argv[2], Args: argv[3:], Env: prof.Environment})
}
