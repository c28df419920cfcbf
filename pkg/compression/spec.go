// SPDX-License-Identifier: Apache-2.0

package compression

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Usage is what Spec.Set takes, for the help of a flag.
const Usage = "compress with `METHOD`: none, gzip[:1-9] or zstd[:1-22]"

// maxLevel is the highest level of a type, 0 if it has none; the lowest one is 1.
func maxLevel(t Type) int {
	switch t {
	case Gzip:
		return gzip.BestCompression
	case Zstd:
		return 22
	}
	return 0
}

// Spec says how to compress. It is a flag.Value; the zero value is not valid.
type Spec struct {
	Type  Type
	Level int // 0 is the type's default
}

// String is TYPE[:LEVEL].
func (s *Spec) String() string {
	if s.Level == 0 {
		return string(s.Type)
	}
	return fmt.Sprintf("%s:%d", s.Type, s.Level)
}

// Set parses none, gzip[:LEVEL] or zstd[:LEVEL].
func (s *Spec) Set(text string) error {
	name, number, hasLevel := strings.Cut(text, ":")
	parsed := Spec{Type: Type(name)}
	if parsed.Type != None && maxLevel(parsed.Type) == 0 {
		return errors.New("must be none, gzip or zstd")
	}
	if hasLevel {
		level, err := strconv.Atoi(number)
		if err != nil || level < 1 || level > maxLevel(parsed.Type) {
			return fmt.Errorf("%q is no level of %s", number, name)
		}
		parsed.Level = level
	}
	*s = parsed
	return nil
}

// NewWriter compresses to w. Equal content gives equal bytes: headers have no
// name and no time, and it does not depend on the number of processors. Closing
// the result does not close w.
func (s Spec) NewWriter(w io.Writer) (io.WriteCloser, error) {
	switch s.Type {
	case None:
		return nopWriteCloser{w}, nil
	case Gzip:
		level := s.Level
		if level == 0 {
			level = gzip.DefaultCompression
		}
		z, err := gzip.NewWriterLevel(w, level)
		if err != nil {
			return nil, err
		}
		// The zero time would be written as seconds before the year 1.
		z.ModTime = time.Unix(0, 0)
		return z, nil
	case Zstd:
		options := []zstd.EOption{zstd.WithEncoderConcurrency(1)}
		if s.Level != 0 {
			options = append(options, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(s.Level)))
		}
		return zstd.NewWriter(w, options...)
	}
	return nil, fmt.Errorf("cannot write compression %q", string(s.Type))
}

// Compress calls fn with a writer that compresses to w.
func (s Spec) Compress(w io.Writer, fn func(io.Writer) error) error {
	z, err := s.NewWriter(w)
	if err != nil {
		return err
	}
	if err := fn(z); err != nil {
		return errors.Join(err, z.Close())
	}
	return z.Close()
}
