// SPDX-License-Identifier: Apache-2.0

package podunit

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
)

// Output is what there is to write for a declaration, below the directory that
// systemd gives: files and links by their path.
type Output struct {
	Files map[string]string // path to text
	Links map[string]string // path to target
}

// Output is empty for what is masked.
func (d *Declaration) Output(h Host) Output {
	out := Output{map[string]string{}, map[string]string{}}
	if d.Source.Masked {
		return out
	}
	service := d.Source.Service()
	out.Files[service] = d.Service(h)
	if text := d.Socket(); text != "" {
		socket := d.Source.Name + ".socket"
		out.Files[socket] = text
		out.Links["sockets.target.wants/"+socket] = "../" + socket
	}
	// What is enabled of a template is its default instance.
	enabled := service
	if prefix, isTemplate := strings.CutSuffix(d.Source.Name, "@"); isTemplate {
		if d.fallback == "" {
			return out
		}
		enabled = prefix + "@" + d.fallback + ".service"
	}
	for key, dir := range map[string]string{wantedBy: ".wants/", requiredBy: ".requires/", upheldBy: ".upholds/"} {
		for _, target := range d.install[key] {
			out.Links[target+dir+enabled] = "../" + service
		}
	}
	for _, name := range d.install[alias] {
		out.Links[name] = service
	}
	return out
}

// Write puts the output into a directory. Each file is there as a whole or not
// at all; nothing outside of the directory is touched. A link in the way of
// another declaration's file stays out.
func (o Output) Write(dir *os.Root) error {
	var errs []error
	for name, text := range o.Files {
		errs = append(errs, writeFile(dir, name, text))
	}
	for name, target := range o.Links {
		if parent := path.Dir(name); parent != "." {
			if err := dir.Mkdir(parent, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				errs = append(errs, err)
				continue
			}
		}
		if err := dir.Symlink(target, name); err != nil {
			if had, readErr := dir.Readlink(name); readErr != nil || had != target {
				errs = append(errs, fmt.Errorf("link %s: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// writeFile does not flush: the directory is in memory and made anew at each boot.
func writeFile(dir *os.Root, name, text string) (err error) {
	temporary := "." + name[:min(len(name), 200)] + ".new"
	f, err := dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, dir.Remove(temporary))
	}
	return dir.Rename(temporary, name)
}
