// SPDX-License-Identifier: Apache-2.0

package devfilter

import (
	"fmt"
	"os"
	"path/filepath"
)

// WriteV1 puts the rules on a cgroup of the devices controller (version 1).
// dir is its directory. The group must not have children yet: the kernel
// refuses to change the default of one that has.
func WriteV1(dir string, rules []Rule) error {
	rules, err := merge(rules)
	if err != nil {
		return err
	}
	if err := write(filepath.Join(dir, "devices.deny"), "a"); err != nil {
		return err
	}
	for _, r := range rules {
		if err := write(filepath.Join(dir, "devices.allow"), r.String()); err != nil {
			return fmt.Errorf("allow devices %q: %w", r, err)
		}
	}
	return nil
}

// write gives a file of the controller one value in one write, as it wants it.
func write(file, value string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
