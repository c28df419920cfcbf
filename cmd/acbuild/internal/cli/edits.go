// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/cmd/internal/argv"
	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/distribution"
)

type manifest = appc.ImageManifest

// appOf returns the app of a manifest, which is made if there is none.
func appOf(m *manifest) *appc.App {
	if m.App == nil {
		m.App = &appc.App{User: "0", Group: "0"}
	}
	return m.App
}

// without drops the elements that match; it is an error if there are none.
func without[T any](list []T, match func(T) bool) ([]T, error) {
	kept := slices.DeleteFunc(slices.Clone(list), match)
	if len(kept) == len(list) {
		return nil, errNotThere
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return kept, nil
}

// replace drops the elements that match and appends a new one.
func replace[T any](list []T, match func(T) bool, value T) []T {
	return append(slices.DeleteFunc(list, match), value)
}

func identifier(what, s string) (appc.Identifier, error) {
	id, err := appc.NewIdentifier(s)
	if err != nil {
		return "", fmt.Errorf("%s %q: %w", what, s, err)
	}
	return id, nil
}

func addAnnotation(c *call, m *manifest) error {
	name, err := identifier("annotation", c.args[0])
	if err != nil {
		return err
	}
	m.Annotations.Set(name, c.args[1])
	return nil
}

func removeAnnotation(c *call, m *manifest) (err error) {
	m.Annotations, err = without(m.Annotations, func(a appc.Annotation) bool { return a.Name.String() == c.args[0] })
	return err
}

func addLabel(c *call, m *manifest) error {
	name, err := identifier("label", c.args[0])
	if err != nil {
		return err
	}
	setLabel(m, name, c.args[1])
	return nil
}

func setLabel(m *manifest, name appc.Identifier, value string) {
	m.Labels = replace(m.Labels, func(l appc.Label) bool { return l.Name == name }, appc.Label{Name: name, Value: value})
}

func removeLabel(c *call, m *manifest) (err error) {
	m.Labels, err = without(m.Labels, func(l appc.Label) bool { return l.Name.String() == c.args[0] })
	return err
}

func addEnvironment(c *call, m *manifest) error {
	appOf(m).Environment.Set(c.args[0], c.args[1])
	return nil
}

func removeEnvironment(c *call, m *manifest) (err error) {
	if m.App == nil {
		return errNotThere
	}
	m.App.Environment, err = without(m.App.Environment, func(v appc.EnvironmentVariable) bool { return v.Name == c.args[0] })
	return err
}

func newAddMount() command {
	var readOnly bool
	cmd := add("NAME PATH", "Add or replace a mount point", func(c *call, m *manifest) error {
		app := appOf(m)
		point := appc.MountPoint{Name: appc.Name(c.args[0]), Path: c.args[1], ReadOnly: readOnly}
		app.MountPoints = replace(app.MountPoints, func(p appc.MountPoint) bool { return p.Name == point.Name }, point)
		return nil
	})
	cmd.flags = func(fs *flag.FlagSet) { fs.BoolVar(&readOnly, "read-only", false, "the app only reads there") }
	return cmd
}

func removeMount(c *call, m *manifest) (err error) {
	if m.App == nil {
		return errNotThere
	}
	m.App.MountPoints, err = without(m.App.MountPoints, func(p appc.MountPoint) bool {
		return p.Name.String() == c.args[0] || p.Path == c.args[0]
	})
	return err
}

func newAddPort() command {
	var count uint
	var activated bool
	return command{
		name: "add", args: "NAME PROTO PORT", summary: "Add or replace a port", min: 3, max: 3, modifies: true,
		flags: func(fs *flag.FlagSet) {
			fs.UintVar(&count, "count", 1, "how many `PORTS` there are, from this one upwards")
			fs.BoolVar(&activated, "socket-activated", false, "the app is given the open socket")
		},
		edit: func(c *call, m *manifest) error {
			number, err := strconv.ParseUint(c.args[2], 10, 16)
			if err != nil {
				return errors.New("port must be a positive number between 0 and 65535")
			}
			app := appOf(m)
			port := appc.Port{Name: appc.Name(c.args[0]), Protocol: c.args[1], Port: uint(number), Count: count, SocketActivated: activated}
			app.Ports = replace(app.Ports, func(p appc.Port) bool { return p.Name == port.Name }, port)
			return nil
		},
	}
}

func removePort(c *call, m *manifest) (err error) {
	if m.App == nil {
		return errNotThere
	}
	m.App.Ports, err = without(m.App.Ports, func(p appc.Port) bool {
		return p.Name.String() == c.args[0] || strconv.FormatUint(uint64(p.Port), 10) == c.args[0]
	})
	return err
}

func addIsolator(c *call, m *manifest) error {
	isolator := appc.Isolator{Name: appc.Identifier(c.args[0])}
	if !isolator.IsKnown() {
		return fmt.Errorf("unknown isolator name: %s", c.args[0])
	}
	raw, err := readSmall(c, c.args[1])
	if err != nil {
		return err
	}
	if !json.Valid(raw) {
		return errors.New("the value is not JSON")
	}
	isolator.Value = raw
	app := appOf(m)
	app.Isolators = replace(app.Isolators, func(i appc.Isolator) bool { return i.Name == isolator.Name }, isolator)
	return nil
}

// readSmall reads a file, or standard input for "-", of at most the size of a
// manifest.
func readSmall(c *call, name string) ([]byte, error) {
	r := c.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // only read
		r = f
	}
	data, err := io.ReadAll(io.LimitReader(r, appc.MaxManifestSize+1))
	if err != nil {
		return nil, err
	}
	if len(data) > appc.MaxManifestSize {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, appc.MaxManifestSize)
	}
	return data, nil
}

func removeIsolator(c *call, m *manifest) (err error) {
	if m.App == nil {
		return errNotThere
	}
	m.App.Isolators, err = without(m.App.Isolators, func(i appc.Isolator) bool { return i.Name.String() == c.args[0] })
	return err
}

func setName(c *call, m *manifest) (err error) {
	if c.args[0] == "" {
		return errors.New("name cannot be empty")
	}
	m.Name, err = identifier("name", c.args[0])
	return err
}

func newSetExec() command {
	return command{
		name: "set-exec", args: "-- CMD [ARG...]", summary: "Set the command line of the app", min: 1, max: -1, modifies: true,
		edit: func(c *call, m *manifest) error {
			appOf(m).Exec = c.args
			return nil
		},
	}
}

func setUser(c *call, m *manifest) error {
	if c.args[0] == "" {
		return errors.New("user cannot be empty")
	}
	appOf(m).User = c.args[0]
	return nil
}

func setGroup(c *call, m *manifest) error {
	if c.args[0] == "" {
		return errors.New("group cannot be empty")
	}
	appOf(m).Group = c.args[0]
	return nil
}

func newSetGroups() command {
	return command{
		name: "set-supp-groups", args: "GID...", summary: "Set the supplementary groups of the app", min: 1, max: -1, modifies: true,
		edit: func(c *call, m *manifest) error {
			var groups []int
			for _, arg := range c.args {
				gid, err := strconv.ParseUint(arg, 10, 32)
				if err != nil {
					return fmt.Errorf("invalid supplementary group %q", arg)
				}
				groups = append(groups, int(gid))
			}
			appOf(m).SupplementaryGIDs = groups
			return nil
		},
	}
}

func setWorkingDirectory(c *call, m *manifest) error {
	if !path.IsAbs(c.args[0]) {
		return fmt.Errorf("working directory %q must be an absolute path", c.args[0])
	}
	appOf(m).WorkingDirectory = c.args[0]
	return nil
}

func newSetEventHandler() command {
	return command{
		name: "set-event-handler", aliases: []string{"set-eh"}, args: "pre-start|post-stop CMD [ARG...]",
		summary: "Set a program to run before the app starts or after it stopped", min: 2, max: -1, modifies: true,
		edit: func(c *call, m *manifest) error {
			app := appOf(m)
			handler := appc.EventHandler{Name: c.args[0], Exec: c.args[1:]}
			app.EventHandlers = replace(app.EventHandlers, func(h appc.EventHandler) bool { return h.Name == handler.Name }, handler)
			return nil
		},
	}
}

func setTag(c *call, m *manifest) error {
	setLabel(m, "version", c.args[0])
	return nil
}

type dependencyOptions struct {
	labels  argv.Words
	imageID string
	size    uint64
}

func newAddDependency() command {
	var o dependencyOptions
	cmd := set("add", "IMAGE", "Add or replace a dependency", func(c *call, m *manifest) error {
		dep, err := o.dependency(c.args[0])
		if err != nil {
			return err
		}
		m.Dependencies = replace(m.Dependencies, func(d appc.Dependency) bool { return d.ImageName == dep.ImageName }, dep)
		return nil
	})
	cmd.flags = func(fs *flag.FlagSet) {
		fs.Var(&o.labels, "label", "ask for the label `KEY=VALUE`; may be given several times")
		fs.StringVar(&o.imageID, "image-id", "", "ask for the image `ID`")
		fs.Uint64Var(&o.size, "size", 0, "the size of the uncompressed image in `BYTES`")
	}
	return cmd
}

func (o *dependencyOptions) dependency(image string) (appc.Dependency, error) {
	point, err := distribution.ParseAppc(image)
	if err != nil {
		return appc.Dependency{}, fmt.Errorf("couldn't parse dependency name: %w", err)
	}
	dep := appc.Dependency{ImageName: point.Name, Size: o.size}
	for _, text := range o.labels {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return dep, fmt.Errorf("no '=' character in %q", text)
		}
		label, err := identifier("label", name)
		if err != nil {
			return dep, err
		}
		dep.Labels = append(dep.Labels, appc.Label{Name: label, Value: value})
	}
	dep.Labels = append(dep.Labels, point.Labels...)
	seen := map[appc.Identifier]bool{}
	for _, l := range dep.Labels {
		if seen[l.Name] {
			return dep, fmt.Errorf("multiple %s labels specified", l.Name)
		}
		seen[l.Name] = true
	}
	if o.imageID != "" {
		id, err := appc.ParseImageID(o.imageID)
		if err != nil {
			return dep, fmt.Errorf("couldn't parse image ID: %w", err)
		}
		dep.ImageID = &id
	}
	return dep, nil
}

func removeDependency(c *call, m *manifest) (err error) {
	m.Dependencies, err = without(m.Dependencies, func(d appc.Dependency) bool { return d.ImageName.String() == c.args[0] })
	return err
}
