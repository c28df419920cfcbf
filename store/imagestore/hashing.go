// SPDX-License-Identifier: Apache-2.0

package imagestore

import "hash"

// Chunks of a hashing: large enough for the hand-over to cost nothing.
const (
	hashChunk  = 128 << 10
	hashChunks = 4
)

// hashing hashes what is written to it in a goroutine of its own, so that
// reading the next files and hashing the last ones overlap. sum ends it and
// must be called.
type hashing struct {
	n    int64
	cur  []byte
	full chan []byte
	free chan []byte
	done chan []byte
}

func newHashing(h hash.Hash) *hashing {
	w := &hashing{
		cur:  make([]byte, 0, hashChunk),
		full: make(chan []byte, hashChunks),
		free: make(chan []byte, hashChunks),
		done: make(chan []byte, 1),
	}
	for range hashChunks - 1 {
		w.free <- make([]byte, 0, hashChunk)
	}
	go func() {
		for chunk := range w.full {
			_, _ = h.Write(chunk) // a hash never fails
			w.free <- chunk[:0]
		}
		w.done <- h.Sum(nil)
	}()
	return w
}

// Write never fails.
func (w *hashing) Write(p []byte) (int, error) {
	total := len(p)
	w.n += int64(total)
	for len(p) > 0 {
		n := min(len(p), hashChunk-len(w.cur))
		w.cur = append(w.cur, p[:n]...)
		p = p[n:]
		if len(w.cur) == hashChunk {
			w.full <- w.cur
			w.cur = <-w.free
		}
	}
	return total, nil
}

// sum returns the digest and the number of bytes.
func (w *hashing) sum() ([]byte, int64) {
	w.full <- w.cur
	close(w.full)
	return <-w.done, w.n
}

// countWriter counts bytes.
type countWriter struct{ n int64 }

func (c *countWriter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return len(p), nil
}
