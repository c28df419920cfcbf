// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// Plan is what the isolators of an app ask for. A nil field means "not asked".
type Plan struct {
	Memory      *Resource // bytes
	CPU         *Resource // thousandths of a core
	CPUShares   *Int
	OOMScoreAdj *Int
	Caps        *Caps
	Seccomp     *Seccomp
	NoNewPrivs  bool
	// Other are isolators that the plan cannot express, in manifest order.
	Other []Item
}

// Resource is a limit on a divisible resource. Limit and Request are 0 where
// the isolator has none.
type Resource struct {
	Limit, Request int64
	Origin         Origin
}

// Int is a whole number.
type Int struct {
	Value  int64
	Origin Origin
}

// Caps is the bounding set that the capability isolators lead to.
type Caps struct {
	Bounding caps.Set
	Origin   Origin
}

// Seccomp is the system call filter that the seccomp isolator leads to.
type Seccomp struct {
	seccomp.Policy
	Origin Origin
}

// Errors of combinations.
var (
	ErrCapsConflict = errors.New("cannot have both " + CapsRetain + " and " + CapsRemove)
	ErrSeccompTwice = errors.New("too many seccomp isolators specified")
	errEmptySet     = errors.New("set must be non-empty")
)

// builder collects the lists that several isolators of one kind make up.
type builder struct {
	plan           Plan
	retain, remove *set
	seccomps       int
}

type set struct {
	names  []string
	origin Origin
}

// add appends names; a list that the user contributed to is the user's.
func (s *set) add(names []string, o Origin) *set {
	if s == nil {
		return &set{names: names, origin: o}
	}
	s.names = append(s.names, names...)
	s.origin = min(s.origin, o)
	return s
}

// Parse makes the plan of an app. Errors name the isolator.
func Parse(items []Item) (*Plan, error) {
	var b builder
	for _, item := range items {
		if err := b.add(item); err != nil {
			return nil, fmt.Errorf("isolator %s: %w", item.Name, err)
		}
	}
	if err := b.finishCaps(); err != nil {
		return nil, err
	}
	return &b.plan, nil
}

func (b *builder) add(item Item) (err error) {
	p := &b.plan
	switch string(item.Name) {
	case Memory:
		p.Memory, err = memory(item)
	case CPU:
		p.CPU, err = cpu(item)
	case CPUShares:
		p.CPUShares, err = integer(item, checkShares)
	case OOMScoreAdj:
		p.OOMScoreAdj, err = integer(item, checkOOMScore)
	case CapsRetain:
		b.retain, err = capSet(item, b.retain)
	case CapsRemove:
		b.remove, err = capSet(item, b.remove)
	case SeccompRetain, SeccompRemove:
		err = b.addSeccomp(item)
	case NoNewPrivs:
		var on bool
		if err := json.Unmarshal(item.Value, &on); err != nil {
			return fmt.Errorf("value is not a boolean: %w", err)
		}
		p.NoNewPrivs = p.NoNewPrivs || on
	default:
		p.Other = append(p.Other, item)
	}
	return err
}

func (b *builder) finishCaps() error {
	switch {
	case b.retain != nil && b.remove != nil:
		return ErrCapsConflict
	case b.retain != nil:
		s, err := caps.Parse(b.retain.names)
		if err != nil {
			return fmt.Errorf("isolator %s: %w", CapsRetain, err)
		}
		b.plan.Caps = &Caps{Bounding: s, Origin: b.retain.origin}
	case b.remove != nil:
		s, err := caps.Parse(b.remove.names)
		if err != nil {
			return fmt.Errorf("isolator %s: %w", CapsRemove, err)
		}
		b.plan.Caps = &Caps{Bounding: caps.Default &^ s, Origin: b.remove.origin}
	}
	return nil
}

func (b *builder) addSeccomp(item Item) error {
	if b.seccomps++; b.seccomps > 1 {
		return ErrSeccompTwice
	}
	v, err := unmarshalSet(item)
	if err != nil {
		return err
	}
	mode := seccomp.Retain
	if string(item.Name) == SeccompRemove {
		mode = seccomp.Remove
	}
	policy, err := seccomp.NewPolicy(mode, v.Set, v.Errno)
	if err != nil {
		return err
	}
	b.plan.Seccomp = &Seccomp{Policy: policy, Origin: item.Origin}
	return nil
}

// setValue is the value of the capability and seccomp isolators.
type setValue struct {
	Set   []string `json:"set"`
	Errno string   `json:"errno,omitempty"`
}

func unmarshalSet(item Item) (setValue, error) {
	var v setValue
	if err := json.Unmarshal(item.Value, &v); err != nil {
		return v, fmt.Errorf("value is not a set: %w", err)
	}
	if len(v.Set) == 0 {
		return v, errEmptySet
	}
	return v, nil
}

func capSet(item Item, have *set) (*set, error) {
	v, err := unmarshalSet(item)
	if err != nil {
		return nil, err
	}
	return have.add(v.Set, item.Origin), nil
}
