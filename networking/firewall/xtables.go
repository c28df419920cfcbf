// SPDX-License-Identifier: Apache-2.0

package firewall

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockPath    = "/run/rkt/firewall.lock"
	programTime = time.Minute // longest run; they wait 30 s for the xtables lock
	lockSeconds = "30"
)

// programs are those of one family.
type programs struct {
	v6            bool
	save, restore string
}

// findPrograms looks for iptables-save and iptables-restore, of a variant
// ("-nft", "-legacy") if it is installed.
func findPrograms(v6 bool, variant string) (programs, error) {
	name := "iptables"
	if v6 {
		name = "ip6tables"
	}
	for _, n := range []string{name + variant, name} {
		save, err1 := lookPath(n + "-save")
		restore, err2 := lookPath(n + "-restore")
		if err1 == nil && err2 == nil {
			return programs{v6, save, restore}, nil
		}
	}
	return programs{}, fmt.Errorf("%s-restore is not installed", name)
}

func lookPath(name string) (string, error) {
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}

// run runs a program in the calling thread's network namespace.
func run(input, path string, args ...string) (string, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL=C"}
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var out bytes.Buffer
	cmd.Stdout = &out
	err := cmd.Start()
	if err == nil {
		// No context: taking rules back must not be cut off with what failed.
		limit := time.AfterFunc(programTime, func() { _ = cmd.Process.Kill() })
		err = cmd.Wait()
		limit.Stop()
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", filepath.Base(path), err, strings.TrimSpace(stderr.String()))
	}
	return out.String(), nil
}

// read returns the rules of all tables, or of one.
func (p programs) read(table string) (saved, error) {
	var args []string
	if table != "" {
		args = []string{"-t", table}
	}
	out, err := run("", p.save, args...)
	return parseSave(out), err
}

func (p programs) write(s *script) error {
	if s.empty() {
		return nil
	}
	text, err := s.text()
	if err != nil {
		return err
	}
	_, err = run(text, p.restore, "--noflush", "-w", lockSeconds)
	return err
}

// add makes the rules that are not there yet.
func (have saved) add(plan []xtPlaced) *script {
	s := &script{}
	there := have.keys()
	for _, r := range plan {
		if there[r.key()] {
			continue
		}
		there[r.key()] = true
		if _, ok := have.policies[tableChain{r.table, r.chain}]; !ok && ours(r.chain) {
			s.newChain(r.table, r.chain)
		}
		verb := []string{"-A", r.chain}
		if r.First {
			verb = []string{"-I", r.chain}
		}
		s.do(r.table, append(verb, r.words...)...)
	}
	return s
}

// remove deletes the rules of these comments, the chains for pods that are
// empty then, and the guard when no port is forwarded any more.
func (have saved) remove(mine func(string) bool) *script {
	s := &script{}
	touched, left := map[string]bool{}, map[string]bool{}
	ports := false
	var guards []xtRule
	for _, r := range have.rules {
		target := r.after("-j")
		switch {
		case mine(r.comment()):
			s.do(r.table, append([]string{"-D", r.chain}, r.words...)...)
			touched[target], touched[r.chain] = true, true
			continue
		case r.table == "raw" && r.comment() == guard()[0].Comment:
			guards = append(guards, r)
		}
		left[target], left[r.chain] = true, true
		ports = ports || strings.HasPrefix(target, dnatPrefix)
	}
	for _, c := range slices.Sorted(maps.Keys(touched)) {
		if _, exists := have.policies[tableChain{"nat", c}]; exists && ours(c) && !left[c] {
			s.do("nat", "-X", c)
		}
	}
	if !ports && !s.empty() {
		for _, g := range guards {
			s.do("raw", append([]string{"-D", g.chain}, g.words...)...)
		}
	}
	return s
}

// lacks says in words which rules of the plan are not there.
func (have saved) lacks(plan []xtPlaced) []string {
	var out []string
	there := have.keys()
	for _, r := range plan {
		if !there[r.key()] && !slices.Contains(out, r.What) {
			out = append(out, r.What)
		}
	}
	return out
}

// xtables is the backend of iptables and ip6tables.
type xtables struct {
	v4       programs
	v6       programs // without paths: not installed
	lock     string
	warnings []string
}

// newXtables chooses the iptables that works: the plain name may stand for the
// variant that needs nf_tables.
func newXtables(lock string) (*xtables, error) {
	var errs []error
	for _, variant := range []string{"", "-legacy"} {
		v4, err := findPrograms(false, variant)
		if err == nil {
			_, err = v4.read("nat")
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		v6, err := findPrograms(true, variant)
		if err != nil {
			v6 = programs{v6: true}
		}
		return &xtables{v4: v4, v6: v6, lock: lock}, nil
	}
	return nil, errors.Join(errs...)
}

func (*xtables) Name() string { return "iptables" }

func (x *xtables) Warnings() []string { return x.warnings }

// families are those whose programs are installed.
func (x *xtables) families() []programs {
	if x.v6.save == "" {
		return []programs{x.v4}
	}
	return []programs{x.v4, x.v6}
}

// locked keeps others who mind the lock from the rules meanwhile.
func (x *xtables) locked(op func() error) error {
	if err := unix.Mkdir(filepath.Dir(x.lock), 0o755); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("create directory of %s: %w", x.lock, err)
	}
	fd, err := unix.Open(x.lock, unix.O_RDONLY|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("open lock %s: %w", x.lock, err)
	}
	defer unix.Close(fd)
	for {
		err := unix.Flock(fd, unix.LOCK_EX)
		if err == nil {
			return op()
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("lock %s: %w", x.lock, err)
		}
	}
}

// Add applies one family after the other, and takes the first back when the
// second fails.
func (x *xtables) Add(p Pod) error {
	x.warnings = nil
	p, err := p.check()
	if err != nil {
		return fmt.Errorf("add firewall rules: %w", err)
	}
	err = x.locked(func() error { return x.add(p) })
	if err != nil {
		return fmt.Errorf("add firewall rules of %q: %w", p.ID, err)
	}
	return nil
}

func (x *xtables) add(p Pod) error {
	var done []func() error
	for _, prog := range []programs{x.v4, x.v6} {
		plan := xtPlan(p, prog.v6)
		if len(plan) == 0 {
			continue
		}
		undo, err := prog.apply(p, plan)
		done = append(done, undo)
		if err != nil {
			for _, undo := range slices.Backward(done) {
				err = errors.Join(err, undo())
			}
			return err
		}
	}
	return nil
}

// apply adds what is missing of a plan, and returns how to take it back.
func (p programs) apply(pod Pod, plan []xtPlaced) (undo func() error, err error) {
	undo = func() error { return nil }
	if p.save == "" {
		return undo, errors.New("rules for IPv6 need ip6tables: install the package iptables")
	}
	have, err := p.read("")
	if err != nil {
		return undo, err
	}
	if have.policies[tableChain{"filter", "FORWARD"}] == "DROP" {
		plan = append(plan, xtAccept(pod, p.v6)...)
	}
	undo = func() error { return p.back(have, plan) }
	return undo, p.write(have.add(plan))
}

// back deletes what a plan added to the rules before.
func (p programs) back(before saved, plan []xtPlaced) error {
	now, err := p.read("")
	if err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	was, is := before.keys(), now.keys()
	s := &script{}
	var chains []string
	for _, r := range plan {
		if k := r.key(); is[k] && !was[k] {
			is[k] = false
			s.do(r.table, append([]string{"-D", r.chain}, r.words...)...)
		}
		c := tableChain{r.table, r.chain}
		_, old := before.policies[c]
		if _, exists := now.policies[c]; exists && !old && ours(r.chain) && !slices.Contains(chains, r.chain) {
			chains = append(chains, r.chain)
		}
	}
	for _, c := range chains {
		s.do("nat", "-X", c)
	}
	if err := p.write(s); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	return nil
}

func (x *xtables) RemoveNetwork(id, network string) error {
	if err := x.remove(func(c string) bool { return ownerNetwork(c, id, network) }); err != nil {
		return fmt.Errorf("remove firewall rules of %q for network %q: %w", id, network, err)
	}
	return nil
}

func (x *xtables) Remove(id string) error {
	if err := x.remove(func(c string) bool { return owner(c, id) }); err != nil {
		return fmt.Errorf("remove firewall rules of %q: %w", id, err)
	}
	return nil
}

func (x *xtables) remove(mine func(string) bool) error {
	return x.locked(func() error {
		var errs error
		for _, prog := range x.families() {
			have, err := prog.read("")
			if err == nil {
				err = prog.write(have.remove(mine))
			}
			errs = errors.Join(errs, err)
		}
		return errs
	})
}

func (x *xtables) Missing(p Pod) ([]string, error) {
	p, err := p.check()
	if err != nil {
		return nil, fmt.Errorf("check firewall rules: %w", err)
	}
	var out []string
	for _, prog := range []programs{x.v4, x.v6} {
		plan := xtPlan(p, prog.v6)
		if len(plan) == 0 {
			continue
		}
		var have saved
		if prog.save != "" {
			if have, err = prog.read(""); err != nil {
				return nil, fmt.Errorf("check firewall rules of %q: %w", p.ID, err)
			}
		}
		if have.policies[tableChain{"filter", "FORWARD"}] == "DROP" {
			plan = append(plan, xtAccept(p, prog.v6)...)
		}
		out = append(out, have.lacks(plan)...)
	}
	return out, nil
}

func (x *xtables) IDs() ([]string, error) {
	all := names{}
	for _, prog := range x.families() {
		have, err := prog.read("nat")
		if err != nil {
			return nil, fmt.Errorf("list firewall rules: %w", err)
		}
		for _, r := range have.rules {
			if ours(r.chain) || ours(r.after("-j")) {
				all.add(r.comment())
			}
		}
	}
	out := all.ids()
	slices.Sort(out)
	return out, nil
}
