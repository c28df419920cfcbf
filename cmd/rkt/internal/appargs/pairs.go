// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

var errNoPair = errors.New("must be specified as key=value")

// PairsFlag is a flag of KEY=VALUE pairs of a pod, each key once.
type PairsFlag map[string]string

// Set adds one pair.
func (f *PairsFlag) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return errNoPair
	}
	if _, set := (*f)[key]; set {
		return fmt.Errorf("key %q already set", key)
	}
	if *f == nil {
		*f = PairsFlag{}
	}
	(*f)[key] = value
	return nil
}

func (f *PairsFlag) String() string {
	words := make([]string, 0, len(*f))
	for _, key := range slices.Sorted(maps.Keys(*f)) {
		words = append(words, key+"="+(*f)[key])
	}
	return strings.Join(words, ",")
}

// Type is what pflag shows as the kind of value.
func (f *PairsFlag) Type() string { return "list" }

// AnnotationsFlag is --annotation of a pod: NAME=VALUE, each name once.
type AnnotationsFlag appc.Annotations

// Set adds one annotation.
func (f *AnnotationsFlag) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return errNoPair
	}
	name, err := appc.NewIdentifier(key)
	if err != nil {
		return fmt.Errorf("%q is not a valid name of an annotation: %w", key, err)
	}
	if _, set := appc.Annotations(*f).Get(key); set {
		return fmt.Errorf("key %q already set", key)
	}
	(*appc.Annotations)(f).Set(name, value)
	return nil
}

func (f *AnnotationsFlag) String() string {
	words := make([]string, len(*f))
	for i, a := range *f {
		words[i] = a.Name.String() + "=" + a.Value
	}
	return strings.Join(words, ",")
}

// Type is what pflag shows as the kind of value.
func (f *AnnotationsFlag) Type() string { return "list" }
