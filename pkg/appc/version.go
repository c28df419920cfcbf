// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"errors"
	"fmt"
	"strconv"
)

// semver is the grammar of Semantic Versioning 2.0.0.
var semver = compiled(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)` +
	`(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`)

// MajorVersion returns the first number of a semantic version.
func MajorVersion(version string) (uint64, error) {
	m := semver().FindStringSubmatch(version)
	if m == nil {
		return 0, fmt.Errorf("%q is not a semantic version", version)
	}
	return strconv.ParseUint(m[1], 10, 64)
}

func validateACVersion(v string) error {
	if v == "" || v == "0.0.0" {
		return errors.New("acVersion must be set")
	}
	_, err := MajorVersion(v)
	return err
}
