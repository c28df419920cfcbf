// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// historyAnnotation names the records of what was done to an image; later
// releases of the classic acbuild wrote the other one.
const (
	historyAnnotation      = "appc.io/acbuild/command-"
	otherHistoryAnnotation = "coreos.com/acbuild/command-"
)

// record adds the command to the history in the manifest.
func (c *call) record(m *manifest) error {
	if c.global.noHistory || !c.cmd.modifies {
		return nil
	}
	last := 0
	for _, a := range m.Annotations {
		for _, prefix := range []string{historyAnnotation, otherHistoryAnnotation} {
			rest, ok := strings.CutPrefix(a.Name.String(), prefix)
			if n, err := strconv.ParseUint(rest, 10, 31); ok && err == nil {
				last = max(last, int(n))
			}
		}
	}
	name, err := appc.NewIdentifier(historyAnnotation + strconv.Itoa(last+1))
	if err != nil {
		return err
	}
	text := "acbuild " + c.name()
	for _, arg := range c.args {
		text += fmt.Sprintf(" %q", arg)
	}
	m.Annotations.Set(name, text)
	return nil
}
