// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"regexp"
	"sync"
)

// compiled compiles a regular expression when it is first used: the programs
// that start a pod use few of them, and all together take a quarter of a
// millisecond.
func compiled(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
