// SPDX-License-Identifier: Apache-2.0

//go:build vm

package vm

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// cpio is an archive in the format of the kernel's initial file systems
// ("newc", Documentation/driver-api/early-userspace/buffer-format.rst).
type cpio struct {
	b     bytes.Buffer
	inode int
}

const (
	modeDir  = 0o040755
	modeFile = 0o100755
)

func (c *cpio) dir(name string) { c.add(name, modeDir, nil) }

func (c *cpio) file(name string, body []byte) { c.add(name, modeFile, body) }

func (c *cpio) add(name string, mode int, body []byte) {
	c.inode++
	const links = 1
	fmt.Fprintf(&c.b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.inode, mode, 0, 0, links, 0, len(body), 0, 0, 0, 0, len(name)+1, 0, name)
	c.align()
	c.b.Write(body)
	c.align()
}

func (c *cpio) align() {
	const word = 4
	for c.b.Len()%word != 0 {
		c.b.WriteByte(0)
	}
}

// bytes ends the archive and returns it.
func (c *cpio) bytes() []byte {
	c.add("TRAILER!!!", 0, nil)
	return c.b.Bytes()
}

// write ends the archive and returns a file of it.
func (c *cpio) write(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "initramfs")
	if err := os.WriteFile(file, c.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
