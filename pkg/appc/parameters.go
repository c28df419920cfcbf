// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// parameters are the key=value pairs of a flag such as --volume.
type parameters map[string][]string

// keys returns the keys in order, so that of several faults the same one is
// reported each time.
func (p parameters) keys() []string { return slices.Sorted(maps.Keys(p)) }

func (p parameters) single() error {
	for _, key := range p.keys() {
		if len(p[key]) > 1 {
			return fmt.Errorf("label %s with multiple values %q", key, p[key])
		}
	}
	return nil
}

func (p parameters) volume() (Volume, error) {
	if err := p.single(); err != nil {
		return Volume{}, err
	}
	var v Volume
	for _, key := range p.keys() {
		if err := v.setParameter(key, p[key][0]); err != nil {
			return Volume{}, err
		}
	}
	if err := v.validate(); err != nil {
		return Volume{}, withoutPath(err)
	}
	return v, nil
}

func (v *Volume) setParameter(key, value string) error {
	var err error
	switch key {
	case "name":
		v.Name = Name(value)
	case "kind":
		v.Kind = value
	case "source":
		v.Source = value
	case "readOnly":
		v.ReadOnly, err = parse(value, strconv.ParseBool)
	case "recursive":
		v.Recursive, err = parse(value, strconv.ParseBool)
	case "mode":
		v.Mode = &value
	case "uid":
		v.UID, err = parse(value, strconv.Atoi)
	case "gid":
		v.GID, err = parse(value, strconv.Atoi)
	default:
		return fmt.Errorf("unknown volume parameter %q", key)
	}
	if err != nil {
		return fmt.Errorf("volume parameter %q: %w", key, err)
	}
	return nil
}

func parse[T any](s string, f func(string) (T, error)) (*T, error) {
	v, err := f(s)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// ParseMount parses the value of --mount: volume=NAME,target=PATH. Keys and
// values are decoded as in a URL's query (%2C stands for a comma, + for a blank).
// Errors do not repeat s.
func ParseMount(s string) (Mount, error) {
	params := parameters{}
	for p := range strings.SplitSeq(s, ",") {
		key, value, err := cutQuery(p)
		if err != nil {
			return Mount{}, err
		}
		params[key] = append(params[key], value)
	}
	if err := params.single(); err != nil {
		return Mount{}, err
	}
	var m Mount
	for _, key := range params.keys() {
		switch key {
		case "volume":
			m.Volume = Name(params[key][0])
		case "target":
			m.Path = params[key][0]
		default:
			return Mount{}, fmt.Errorf("unknown mount parameter %q", key)
		}
	}
	if m.Volume == "" {
		return Mount{}, errors.New("volume must be set")
	}
	if m.Path == "" {
		return Mount{}, errors.New("target must be set")
	}
	if err := m.validate(); err != nil {
		return Mount{}, withoutPath(err)
	}
	return m, nil
}

func cutQuery(s string) (key, value string, err error) {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return "", "", fmt.Errorf("mount parameter %q has no value", s)
	}
	if key, err = url.QueryUnescape(key); err != nil {
		return "", "", fmt.Errorf("mount parameter %q: %w", s, err)
	}
	if value, err = url.QueryUnescape(value); err != nil {
		return "", "", fmt.Errorf("mount parameter %q: %w", s, err)
	}
	return key, value, nil
}

// withoutPath returns the cause of a fault for text that is not JSON.
func withoutPath(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
