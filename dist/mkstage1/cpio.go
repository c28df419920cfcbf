// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
)

// cpio writes the format newc (Linux, Documentation/driver-api/early-userspace/
// buffer-format.rst). Everything is root's and of the epoch.
type cpio struct {
	b     bytes.Buffer
	inode int
}

func (c *cpio) add(name string, mode int, body []byte) {
	c.inode++
	// magic, inode, mode, uid, gid, nlink, mtime, size, device, rdevice, name, check
	fmt.Fprintf(&c.b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.inode, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name)+1, 0)
	c.b.WriteString(name)
	c.b.WriteByte(0)
	c.pad()
	c.b.Write(body)
	c.pad()
}

func (c *cpio) pad() {
	for c.b.Len()%4 != 0 {
		c.b.WriteByte(0)
	}
}

func (c *cpio) end() []byte {
	c.add("TRAILER!!!", 0, nil)
	return c.b.Bytes()
}
