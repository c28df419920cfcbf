// SPDX-License-Identifier: Apache-2.0

package harness

// Output is what the process has printed on standard output so far.
func (p *Proc) Output() string { return p.result().Stdout }
