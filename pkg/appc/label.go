// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"fmt"
	"net/url"
	"slices"
	"time"
)

// Label is a name and value that image references can ask for.
type Label struct {
	Name  Identifier `json:"name"`
	Value string     `json:"value"`
}

// Labels are the labels of an image; names are unique.
type Labels []Label

// Get returns the value of the label called name.
func (l Labels) Get(name string) (string, bool) {
	for _, x := range l {
		if string(x.Name) == name {
			return x.Value, true
		}
	}
	return "", false
}

func (l Labels) validate() error {
	seen := make(map[Identifier]bool, len(l))
	for i, x := range l {
		if err := x.Name.validate(); err != nil {
			return at(index(i), at("name", err))
		}
		if x.Name == "name" {
			return at(index(i), at("name", fmt.Errorf("invalid label name: %q", x.Name)))
		}
		if seen[x.Name] {
			return at(index(i), at("name", fmt.Errorf("duplicate labels of name %q", x.Name)))
		}
		seen[x.Name] = true
	}
	return l.validatePlatform()
}

// validatePlatform reports a bad "os" or "arch" at the place of that label.
func (l Labels) validatePlatform() error {
	os, ok := l.Get("os")
	if !ok {
		return nil
	}
	name := "os"
	err := validOS(os)
	if arch, ok := l.Get("arch"); ok && err == nil {
		name, err = "arch", IsValidOSArch(os, arch)
	}
	if err == nil {
		return nil
	}
	i := slices.IndexFunc(l, func(x Label) bool { return string(x.Name) == name })
	return at(index(i), at("value", err))
}

// Annotation is a name and value that says something about an image, app or pod.
type Annotation struct {
	Name  Identifier `json:"name"`
	Value string     `json:"value"`
}

// Annotations have unique names.
type Annotations []Annotation

// Get returns the value of the annotation called name.
func (a Annotations) Get(name string) (string, bool) {
	for _, x := range a {
		if string(x.Name) == name {
			return x.Value, true
		}
	}
	return "", false
}

// Set replaces the value of the annotation called name or appends a new one.
func (a *Annotations) Set(name Identifier, value string) {
	for i := range *a {
		if (*a)[i].Name == name {
			(*a)[i].Value = value
			return
		}
	}
	*a = append(*a, Annotation{Name: name, Value: value})
}

func (a Annotations) validate() error {
	seen := make(map[Identifier]bool, len(a))
	for i, x := range a {
		if err := x.Name.validate(); err != nil {
			return at(index(i), at("name", err))
		}
		if seen[x.Name] {
			return at(index(i), at("name", fmt.Errorf("duplicate annotations of name %q", x.Name)))
		}
		seen[x.Name] = true
		if err := x.validateValue(); err != nil {
			return at(index(i), at("value", err))
		}
	}
	return nil
}

// validateValue checks the annotations whose meaning the specification fixes.
func (a Annotation) validateValue() error {
	switch a.Name {
	case "created":
		if _, err := time.Parse(time.RFC3339, a.Value); err != nil {
			return fmt.Errorf("annotation %q is not an RFC 3339 date: %q", a.Name, a.Value)
		}
	case "homepage", "documentation":
		u, err := url.Parse(a.Value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("annotation %q is not an http or https URL: %q", a.Name, a.Value)
		}
	}
	return nil
}
