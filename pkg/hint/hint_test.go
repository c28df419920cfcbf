// SPDX-License-Identifier: Apache-2.0

package hint_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/rkt/rkt/v2/pkg/hint"
)

func TestHint(t *testing.T) {
	cause := errors.New("cause")
	inner := hint.With(cause, "do %s", "this")
	outer := fmt.Errorf("outer: %w", inner)
	if outer.Error() != "outer: cause" || !errors.Is(outer, cause) {
		t.Errorf("the hint changed the error: %v", outer)
	}
	for err, want := range map[error]string{
		nil:                         "",
		cause:                       "",
		inner:                       "do this",
		outer:                       "do this",
		hint.With(outer, "do that"): "do that",
		errors.Join(cause, outer):   "do this",
	} {
		if got := hint.Of(err); got != want {
			t.Errorf("hint of %v is %q, want %q", err, got, want)
		}
	}
	if hint.With(nil, "x") != nil {
		t.Error("a hint made an error")
	}
}
