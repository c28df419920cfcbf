// SPDX-License-Identifier: Apache-2.0

package journal

import (
	"encoding/binary"
	"os"
)

const (
	windowSize = 16 << 10
	windowsMax = 8
)

// windows reads a file that may be of any size, with parts of it in memory:
// what belongs together in a journal is mostly written together.
type windows struct {
	f    *os.File
	size uint64
	all  [windowsMax]window
	next int
}

type window struct {
	at   uint64
	data []byte // nil: unused
}

// bytes returns n bytes of the file, valid until the next call.
func (w *windows) bytes(at, n uint64) ([]byte, bool) {
	if n > w.size || at > w.size-n {
		return nil, false
	}
	start := at &^ (windowSize - 1)
	if at+n > start+windowSize {
		data := make([]byte, n)
		m, _ := w.f.ReadAt(data, int64(at)) //nolint:gosec // within the file
		return data, m == len(data)
	}
	data := w.window(start)
	if at-start+n > uint64(len(data)) { // the file was cut meanwhile
		return nil, false
	}
	return data[at-start : at-start+n], true
}

func (w *windows) window(start uint64) []byte {
	for i := range w.all {
		if v := &w.all[i]; v.data != nil && v.at == start {
			return v.data
		}
	}
	v := &w.all[w.next]
	w.next = (w.next + 1) % windowsMax
	if v.data == nil {
		v.data = make([]byte, windowSize)
	}
	m, _ := w.f.ReadAt(v.data[:windowSize], int64(start)) //nolint:gosec // within the file
	v.at, v.data = start, v.data[:m]
	return v.data
}

func (w *windows) u64(at uint64) (uint64, bool) {
	b, ok := w.bytes(at, 8)
	if !ok {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b), true
}
