// SPDX-License-Identifier: Apache-2.0

package networking

import "github.com/rkt/rkt/v2/networking/firewall"

// recorder notes which masquerading plugins have asked for.
type recorder struct {
	firewall.Backend
	added *[]firewall.Masquerade
	messages
}

// Add is what plugins call; forwarded ports do not come this way.
func (r recorder) Add(p firewall.Pod) error {
	if err := r.Backend.Add(p); err != nil {
		return err
	}
	*r.added = append(*r.added, p.Masquerades...)
	for _, w := range r.Warnings() {
		r.say("warning: %s", w)
	}
	return nil
}
