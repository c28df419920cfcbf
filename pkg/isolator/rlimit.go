// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// Unlimited is the value of a resource limit that does not limit (RLIM_INFINITY).
const Unlimited = uint64(appc.RlimitUnlimited)

// Rlimit is a resource limit of each process of the app (setrlimit(2)).
type Rlimit struct {
	Name       string // as in the flag: nofile
	Resource   int    // as in the system call: RLIMIT_NOFILE
	Soft, Hard uint64
	Origin     Origin
}

// resources are the names that --ulimit takes. The numbers are those of all
// architectures that rkt runs on.
func resources() map[string]int {
	return map[string]int{
		"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
		"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK,
		"msgqueue": unix.RLIMIT_MSGQUEUE, "nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE,
		"nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS, "rtprio": unix.RLIMIT_RTPRIO,
		"rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
	}
}

func newRlimit(name string, l appc.Rlimit) (Rlimit, error) {
	known := resources()
	n, ok := known[name]
	if !ok {
		return Rlimit{}, fmt.Errorf("unknown resource %q: it is one of %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	soft, hard := l.Soft, l.Hard
	switch {
	case soft == nil && hard == nil:
		return Rlimit{}, fmt.Errorf("%s: soft or hard must be set", name)
	case soft == nil:
		soft = hard
	case hard == nil:
		hard = soft
	}
	if *soft > *hard {
		return Rlimit{}, fmt.Errorf("%s: the soft limit is above the hard one", name)
	}
	return Rlimit{Name: name, Resource: n, Soft: uint64(*soft), Hard: uint64(*hard)}, nil
}

// addRlimits merges an isolator into the plan, name by name: a flag for one
// resource leaves the image's others alone.
func (p *Plan) addRlimits(item Item) error {
	var all appc.Rlimits
	if err := json.Unmarshal(item.Value, &all); err != nil {
		return fmt.Errorf("value is not a set of resource limits: %w", err)
	}
	for name, l := range all {
		r, err := newRlimit(name, l)
		if err != nil {
			return err
		}
		r.Origin = item.Origin
		p.Rlimits = slices.DeleteFunc(p.Rlimits, func(o Rlimit) bool { return o.Resource == r.Resource })
		p.Rlimits = append(p.Rlimits, r)
	}
	slices.SortFunc(p.Rlimits, func(a, b Rlimit) int { return a.Resource - b.Resource })
	return nil
}

// RlimitFlag makes the isolator of one --ulimit, NAME=SOFT[:HARD]. A limit is
// a number, "unlimited" or -1.
func RlimitFlag(s string) (appc.Isolator, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return appc.Isolator{}, fmt.Errorf("%q is not a resource limit: it is NAME=SOFT[:HARD]", s)
	}
	softText, hardText, both := strings.Cut(value, ":")
	if !both {
		hardText = softText
	}
	soft, err1 := parseRlimit(softText)
	hard, err2 := parseRlimit(hardText)
	if err := errors.Join(err1, err2); err != nil {
		return appc.Isolator{}, fmt.Errorf("%s: %q is neither a number nor \"unlimited\"", name, value)
	}
	l := appc.Rlimit{Soft: &soft, Hard: &hard}
	if _, err := newRlimit(name, l); err != nil {
		return appc.Isolator{}, err
	}
	return isolator(Rlimits, appc.Rlimits{name: l})
}

func parseRlimit(s string) (appc.RlimitValue, error) {
	if s == "unlimited" || s == "-1" {
		return appc.RlimitUnlimited, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return appc.RlimitValue(n), err
}
