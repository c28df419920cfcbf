// SPDX-License-Identifier: Apache-2.0

package networking

import "github.com/rkt/rkt/v2/networking/firewall"

// rules are the rules of the host's firewall, opened when they are needed: a
// pod on a macvlan needs none. A host that has no firewall at all has nothing
// to remove either.
type rules struct {
	backend firewall.Backend
	err     error
}

var _ firewall.Backend = (*rules)(nil)

func (r *rules) open() error {
	if r.backend == nil && r.err == nil {
		r.backend, r.err = firewall.Open()
	}
	return r.err
}

func (r *rules) Name() string {
	if r.open() != nil {
		return "none"
	}
	return r.backend.Name()
}

func (r *rules) Add(p firewall.Pod) error {
	if err := r.open(); err != nil {
		return err
	}
	return r.backend.Add(p)
}

func (r *rules) Warnings() []string {
	if r.backend == nil {
		return nil
	}
	return r.backend.Warnings()
}

func (r *rules) RemoveNetwork(id, network string) error {
	if r.open() != nil {
		return nil
	}
	return r.backend.RemoveNetwork(id, network)
}

func (r *rules) Remove(id string) error {
	if r.open() != nil {
		return nil
	}
	return r.backend.Remove(id)
}

func (r *rules) Missing(p firewall.Pod) ([]string, error) {
	if err := r.open(); err != nil {
		return nil, err
	}
	return r.backend.Missing(p)
}

func (r *rules) IDs() ([]string, error) {
	if r.open() != nil {
		return nil, nil
	}
	return r.backend.IDs()
}

func (r *rules) Tidy() error {
	if r.open() != nil {
		return nil
	}
	return r.backend.Tidy()
}
