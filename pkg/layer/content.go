// SPDX-License-Identifier: Apache-2.0

package layer

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// bigFile is the size from which a file is worth a look at the free space,
// and its pages worth being written back early.
const bigFile = 1 << 20

// freeSpace refuses an entry that claims more than the file system has,
// instead of filling the disk first. A sparse file claims more than it needs,
// but such a claim beyond the whole disk is refused as well.
func (u *unpacker) freeSpace(size int64) error {
	if size < 64*bigFile {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(u.root, &st); err != nil {
		return fmt.Errorf("statfs: %w", err)
	}
	if free := int64(st.Bavail) * st.Bsize; size > free {
		return fmt.Errorf("%d bytes do not fit: %d bytes are free: %w", size, free, unix.ENOSPC)
	}
	return nil
}

// writeContent copies exactly size bytes. Blocks of zeros become holes, so
// that sparse files stay sparse and a bomb of zeros costs no disk.
func writeContent(f *os.File, content io.Reader, size int64, buf []byte) error {
	var off, flushed int64
	for off < size {
		b := buf[:min(int64(len(buf)), size-off)]
		if _, err := io.ReadFull(content, b); err != nil {
			return fmt.Errorf("read archive: %w", noEOF(err))
		}
		if !allZero(b) {
			if _, err := f.WriteAt(b, off); err != nil {
				return err
			}
		}
		off += int64(len(b))
		if off-flushed >= 8*bigFile {
			startWriteback(f, flushed, off-flushed)
			flushed = off
		}
	}
	if size >= bigFile {
		startWriteback(f, flushed, size-flushed)
	}
	return f.Truncate(size)
}

// startWriteback asks the kernel to begin writing without waiting, so that the
// flush before the commit finds little left to do.
func startWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
