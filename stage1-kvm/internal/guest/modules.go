// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ModuleList is the file of the initramfs's module directory that lists them, a
// name of a file in each line, those first that others need.
const ModuleList = "list"

func loadModules(dir string) error {
	data, err := os.ReadFile(filepath.Join(dir, ModuleList))
	if errors.Is(err, os.ErrNotExist) {
		return nil // everything is in the kernel
	}
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(data)) {
		if err := loadModule(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("load the module %s: %w", name, err)
		}
	}
	return nil
}

func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
