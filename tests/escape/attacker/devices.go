// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// deviceTries make a node and open it. The host's disks are found in /proc.
func deviceTries() []try {
	var all []try
	add := func(name string, kind, major, minor uint32) {
		all = append(all, try{"device." + name, func() error { return node("/tmp/node-"+name, kind, major, minor) }})
	}
	add("mem", unix.S_IFCHR, 1, 1)
	add("kmem", unix.S_IFCHR, 1, 2)
	add("port", unix.S_IFCHR, 1, 4)
	add("kmsg", unix.S_IFCHR, 1, 11)
	add("console-of-host", unix.S_IFCHR, 5, 1)
	add("tty1", unix.S_IFCHR, 4, 1)
	add("ttyS0", unix.S_IFCHR, 4, 64)
	add("fuse", unix.S_IFCHR, 10, 229)
	add("tun", unix.S_IFCHR, 10, 200)
	add("kvm", unix.S_IFCHR, 10, 232)
	add("loop-control", unix.S_IFCHR, 10, 237)
	add("device-mapper", unix.S_IFCHR, 10, 236)
	add("loop0", unix.S_IFBLK, 7, 0)
	data, _ := os.ReadFile("/proc/partitions")
	for line := range strings.Lines(string(data)) {
		var major, minor uint32
		var blocks uint64
		var name string
		if n, err := fmt.Sscan(line, &major, &minor, &blocks, &name); n == 4 && err == nil && blocks > 0 {
			add("disk-"+name, unix.S_IFBLK, major, minor)
		}
	}
	all = append(all,
		try{"device.of-the-image", func() error { return opens("/dev/of-the-image", unix.O_RDONLY) }},
		try{"device.dev-shm", func() error { return node("/dev/shm/node", unix.S_IFCHR, 1, 3) }}, // nodev
	)
	return all
}

func node(path string, kind, major, minor uint32) error {
	_ = os.Remove(path)
	defer func() { _ = os.Remove(path) }()
	if err := unix.Mknod(path, kind|0o600, int(unix.Mkdev(major, minor))); err != nil {
		return fmt.Errorf("mknod: %w", err)
	}
	if err := opens(path, unix.O_RDONLY); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return nil
}
