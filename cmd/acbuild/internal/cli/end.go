// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"path/filepath"
)

func endBuild(_ context.Context, c *call) error {
	b, err := lockBuild(filepath.Join(c.global.workPath, contextDir))
	if err != nil {
		return err
	}
	err = b.discard()
	return errors.Join(err, b.unlock())
}
