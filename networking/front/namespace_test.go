// SPDX-License-Identifier: Apache-2.0

package front

import "github.com/rkt/rkt/v2/pkg/netns"

// inNamespace runs f on a thread that is in a named network namespace, and so
// are the processes that f starts.
func inNamespace(name string, f func() error) error { return netns.In("/var/run/netns/"+name, f) }
