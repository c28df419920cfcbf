// SPDX-License-Identifier: Apache-2.0

package imagestore

import "github.com/rkt/rkt/v2/pkg/appc"

// Glance calls fn for the records in the CAS directory dir, in no order, and
// leaves out what cannot be read. It takes no lock and writes nothing, so it
// may tell of an image that is being removed: for suggestions, not for
// decisions. A directory that is not there has no images; an error of fn ends it.
func Glance(dir string, fn func(*Record) error) error {
	s := &Store{dir: dir}
	return s.eachRecord(fn, func(appc.ImageID, error) {})
}
