// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// App says how to run the program of an image.
type App struct {
	Exec              []string          `json:"exec"`
	EventHandlers     []EventHandler    `json:"eventHandlers,omitempty"`
	User              string            `json:"user"`
	Group             string            `json:"group"`
	SupplementaryGIDs []int             `json:"supplementaryGIDs,omitempty"`
	WorkingDirectory  string            `json:"workingDirectory,omitempty"`
	Environment       Environment       `json:"environment,omitempty"`
	MountPoints       []MountPoint      `json:"mountPoints,omitempty"`
	Ports             []Port            `json:"ports,omitempty"`
	Isolators         Isolators         `json:"isolators,omitempty"`
	UserAnnotations   map[string]string `json:"userAnnotations,omitempty"`
	UserLabels        map[string]string `json:"userLabels,omitempty"`
}

// Names of event handlers.
const (
	PreStart = "pre-start"
	PostStop = "post-stop"
)

// EventHandler is a program run before the app starts or after it stopped.
type EventHandler struct {
	Name string   `json:"name"`
	Exec []string `json:"exec"`
}

// EnvironmentVariable is one variable of an app's environment.
type EnvironmentVariable struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Environment keeps the order of its variables; names are unique.
type Environment []EnvironmentVariable

// MountPoint is a path at which an image expects a volume.
type MountPoint struct {
	Name     Name   `json:"name"`
	Path     string `json:"path"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// Port is a port, or Count ports from Port upwards, on which an app listens.
type Port struct {
	Name            Name   `json:"name"`
	Protocol        string `json:"protocol"`
	Port            uint   `json:"port"`
	Count           uint   `json:"count"`
	SocketActivated bool   `json:"socketActivated"`
}

// Get returns the value of the variable called name.
func (e Environment) Get(name string) (string, bool) {
	for _, v := range e {
		if v.Name == name {
			return v.Value, true
		}
	}
	return "", false
}

// Set replaces the value of the variable called name or appends a new one.
func (e *Environment) Set(name, value string) {
	for i := range *e {
		if (*e)[i].Name == name {
			(*e)[i].Value = value
			return
		}
	}
	*e = append(*e, EnvironmentVariable{Name: name, Value: value})
}

// setDefaults fills what an absent key means.
func (a *App) setDefaults() {
	for i := range a.Ports {
		a.Ports[i].setDefaults()
	}
}

func (p *Port) setDefaults() {
	if p.Count == 0 {
		p.Count = 1
	}
}

func (a *App) validate() error {
	if err := validateWords(a.Exec); err != nil {
		return at("exec", err)
	}
	if err := validateHandlers(a.EventHandlers); err != nil {
		return at("eventHandlers", err)
	}
	if err := a.validateIdentity(); err != nil {
		return err
	}
	if err := a.Environment.validate(); err != nil {
		return at("environment", err)
	}
	for i, m := range a.MountPoints {
		if err := m.validate(); err != nil {
			return at("mountPoints"+index(i), err)
		}
	}
	for i, p := range a.Ports {
		if err := p.validate(); err != nil {
			return at("ports"+index(i), err)
		}
	}
	return at("isolators", a.Isolators.validate())
}

func (a *App) validateIdentity() error {
	if err := validateWord(a.User); err != nil {
		return at("user", err)
	}
	if a.User == "" {
		return at("user", errors.New("user is required"))
	}
	if err := validateWord(a.Group); err != nil {
		return at("group", err)
	}
	if a.Group == "" {
		return at("group", errors.New("group is required"))
	}
	for i, g := range a.SupplementaryGIDs {
		if g < 0 || int64(g) >= math.MaxUint32 {
			return at("supplementaryGIDs"+index(i), fmt.Errorf("group ID %d is out of range", g))
		}
	}
	if a.WorkingDirectory != "" && !strings.HasPrefix(a.WorkingDirectory, "/") {
		return at("workingDirectory", errors.New("workingDirectory must be an absolute path"))
	}
	return at("workingDirectory", validateWord(a.WorkingDirectory))
}

func validateHandlers(handlers []EventHandler) error {
	seen := make(map[string]bool, len(handlers))
	for i, h := range handlers {
		if h.Name != PreStart && h.Name != PostStop {
			return at(index(i), at("name", fmt.Errorf("bad eventHandler name %q (must be one of: %s, %s)", h.Name, PreStart, PostStop)))
		}
		if seen[h.Name] {
			return at(index(i), at("name", fmt.Errorf("duplicate eventHandler of name %q", h.Name)))
		}
		seen[h.Name] = true
		if err := validateWords(h.Exec); err != nil {
			return at(index(i), at("exec", err))
		}
	}
	return nil
}

var environmentName = compiled(`^[A-Za-z_][A-Za-z_0-9.-]*$`)

// ValidEnvironmentName tells whether name may be a variable of a manifest.
func ValidEnvironmentName(name string) bool { return environmentName().MatchString(name) }

func (e Environment) validate() error {
	seen := make(map[string]bool, len(e))
	for i, v := range e {
		if !ValidEnvironmentName(v.Name) {
			return at(index(i), at("name", fmt.Errorf("invalid environment variable name %q (must match %s)", v.Name, environmentName())))
		}
		if seen[v.Name] {
			return at(index(i), at("name", fmt.Errorf("duplicate environment variable of name %q", v.Name)))
		}
		seen[v.Name] = true
		if err := validateWord(v.Value); err != nil {
			return at(index(i), at("value", err))
		}
	}
	return nil
}

func (m MountPoint) validate() error {
	if err := m.Name.validate(); err != nil {
		return at("name", err)
	}
	if m.Path == "" {
		return at("path", errors.New("path must be set"))
	}
	return at("path", validateWord(m.Path))
}

// maxPort is one more than the highest port number.
const maxPort = 1 << 16

func (p Port) validate() error {
	if err := p.Name.validate(); err != nil {
		return at("name", err)
	}
	if p.Port < 1 || p.Port >= maxPort {
		return at("port", fmt.Errorf("port %d must be in 1-65535 range", p.Port))
	}
	if p.Count > maxPort-p.Port {
		return at("count", fmt.Errorf("end of port range must be in 1-65535 range, got %d ports from %d", p.Count, p.Port))
	}
	return nil
}

// validateWords and validateWord refuse what the kernel cannot take as
// argument, environment value or path.
func validateWords(words []string) error {
	for i, w := range words {
		if err := validateWord(w); err != nil {
			return at(index(i), err)
		}
	}
	return nil
}

func validateWord(w string) error {
	if strings.ContainsRune(w, 0) {
		return fmt.Errorf("%q contains a NUL character", w)
	}
	return nil
}
