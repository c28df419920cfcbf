// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// maxContext is the length of the longest context part that is taken. A level
// with all categories is the longest in use.
const maxContext = 4096

func selinux(item Item) (*SELinux, error) {
	var c appc.SELinuxContext
	if err := json.Unmarshal(item.Value, &c); err != nil {
		return nil, fmt.Errorf("value is not a context: %w", err)
	}
	for _, part := range []struct{ name, value, more string }{
		{"user", c.User, ""}, {"role", c.Role, ""}, {"type", c.Type, ""}, {"level", c.Level, ":,"},
	} {
		if err := checkContextPart(part.value, part.more); err != nil {
			return nil, fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return &SELinux{User: c.User, Role: c.Role, Type: c.Type, Level: c.Level, Origin: item.Origin}, nil
}

// checkContextPart holds a part to the letters of policy identifiers, and a
// level also to what separates its sensitivities and categories. So a context
// is one word of four parts wherever it is written.
func checkContextPart(s, more string) error {
	if s == "" || len(s) > maxContext {
		return fmt.Errorf("part of a context with %d bytes", len(s))
	}
	for i := range len(s) {
		c := s[i]
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
		if !ok && strings.IndexByte(more, c) < 0 {
			return fmt.Errorf("%q is not part of a context", s)
		}
	}
	return nil
}
