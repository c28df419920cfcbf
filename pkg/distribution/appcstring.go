// SPDX-License-Identifier: Apache-2.0

package distribution

import (
	"errors"
	"fmt"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

var (
	errColons     = errors.New("malformed app string - colon may appear at most once")
	errColonPlace = errors.New("malformed app string - colon may appear only right after the app name")
)

// ParseAppc parses NAME[:VERSION][,LABEL=VALUE]…, the only form that commands
// on stored images accept beside a hash.
func ParseAppc(s string) (Appc, error) {
	a, err := parseAppcString(s)
	if err != nil {
		return Appc{}, hintName(s, fmt.Errorf("invalid appc image string %q: %w", s, err))
	}
	return a, nil
}

func parseAppc(s string) (Point, error) {
	a, err := ParseAppc(s)
	return orNil(a, err)
}

func parseAppcString(s string) (Appc, error) {
	if strings.Count(s, ":") > 1 {
		return Appc{}, errColons
	}
	head, labels, _ := strings.Cut(s, ",")
	if strings.Contains(labels, ":") {
		return Appc{}, errColonPlace
	}
	name, version, hasVersion := strings.Cut(head, ":")
	var a Appc
	var err error
	if a.Name, err = appc.NewIdentifier(name); err != nil {
		return Appc{}, err
	}
	if hasVersion {
		a.Labels = appc.Labels{{Name: "version", Value: version}}
	}
	if head == s {
		return a, nil
	}
	for part := range strings.SplitSeq(labels, ",") {
		label, value, ok := strings.Cut(part, "=")
		if !ok {
			return Appc{}, fmt.Errorf("malformed label %q: want NAME=VALUE", part)
		}
		if err := a.add(label, value); err != nil {
			return Appc{}, err
		}
	}
	return a, nil
}

func (a *Appc) add(label, value string) error {
	name, err := appc.NewIdentifier(label)
	if err != nil {
		return fmt.Errorf("label %q: %w", label, err)
	}
	if name == "name" {
		return errors.New(`invalid label name: "name"`)
	}
	if _, ok := a.Labels.Get(label); ok {
		return fmt.Errorf("duplicate labels of name %q", label)
	}
	a.Labels = append(a.Labels, appc.Label{Name: name, Value: value})
	return nil
}
