// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/caps"
	"github.com/rkt/rkt/v2/pkg/seccomp"
)

// Plan is what the isolators of an app or of a pod ask for. A nil field means
// "not asked".
type Plan struct {
	Memory      *Resource // bytes
	CPU         *Resource // thousandths of a core
	Pids        *Resource // processes and threads
	CPUShares   *Int      // 2 to 262144, the scale of cgroup v1
	IOWeight    *Int      // 1 to 10000, the scale of cgroup v2
	OOMScoreAdj *Int
	Rlimits     []Rlimit // by number of the resource
	Caps        *Caps
	Seccomp     *Seccomp
	NoNewPrivs  bool
	SELinux     *SELinux
	// Sysctls are kernel parameters of the pod's namespaces, by name. Only the
	// plan of a pod has some.
	Sysctls []KernelParameter
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

// SELinux is the security context that the app's processes run with.
type SELinux struct {
	User, Role, Type, Level string
	Origin                  Origin
}

// String is the context as the kernel takes it.
func (s *SELinux) String() string {
	return s.User + ":" + s.Role + ":" + s.Type + ":" + s.Level
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
func Parse(items []Item) (*Plan, error) { return parse(items, false) }

// ParsePod makes the plan of a pod: what all of its apps together may have,
// and the kernel parameters of its namespaces. All of it is the user's. An
// isolator that only counts for an app is an error.
func ParsePod(list appc.Isolators) (*Plan, error) {
	p, err := parse(Mark(list, nil), true)
	if err != nil {
		return nil, fmt.Errorf("pod: %w", err)
	}
	return p, nil
}

func parse(items []Item, pod bool) (*Plan, error) {
	var b builder
	for _, item := range items {
		if err := checkScope(string(item.Name), pod); err != nil {
			return nil, err
		}
		if err := b.add(item); err != nil {
			return nil, fmt.Errorf("isolator %s: %w", item.Name, err)
		}
	}
	if err := b.finishCaps(); err != nil {
		return nil, err
	}
	return &b.plan, nil
}

// checkScope refuses what counts elsewhere: it would silently do nothing.
func checkScope(name string, pod bool) error {
	switch name {
	case Memory, CPU, Pids:
		return nil
	case Sysctl:
		if !pod {
			return fmt.Errorf("isolator %s: kernel parameters belong to the whole pod, not to an app: use --sysctl or the isolators of the pod manifest itself", name)
		}
	case CPUShares, IOWeight, OOMScoreAdj, Rlimits, CapsRetain, CapsRemove, SeccompRetain, SeccompRemove, NoNewPrivs, SELinuxContext:
		if pod {
			return fmt.Errorf("isolator %s: it counts for an app, not for a pod", name)
		}
	}
	return nil
}

func (b *builder) add(item Item) (err error) {
	p := &b.plan
	switch string(item.Name) {
	case Memory:
		p.Memory, err = memory(item)
	case CPU:
		p.CPU, err = cpu(item)
	case Pids:
		p.Pids, err = pids(item)
	case CPUShares:
		p.CPUShares, err = integer(item, checkShares)
	case IOWeight:
		p.IOWeight, err = integer(item, checkIOWeight)
	case OOMScoreAdj:
		p.OOMScoreAdj, err = integer(item, checkOOMScore)
	case Rlimits:
		err = p.addRlimits(item)
	case SELinuxContext:
		p.SELinux, err = selinux(item)
	case Sysctl:
		err = p.addSysctls(item)
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
