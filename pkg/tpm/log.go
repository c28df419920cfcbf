// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// DefaultLog is where the event log is.
const DefaultLog = "/var/log/rkt/tpm-events"

// openLog opens the log to append. It is for root alone: pod manifests have
// environments in them.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return openRegular(path, os.O_RDWR|os.O_CREATE|os.O_APPEND)
}

func openRegular(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// nextNumber is the number of the record to append: one more than the last that
// makes sense.
func nextNumber(f *os.File) (uint64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	for tail := int64(64 << 10); ; tail *= 8 {
		from := max(st.Size()-tail, 0)
		buf := make([]byte, st.Size()-from)
		if _, err := f.ReadAt(buf, from); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		for end := len(buf); ; {
			at := bytes.LastIndexByte(buf[:end], separator)
			if at < 0 {
				break
			}
			if r, err := parseRecord(buf[at+1 : end]); err == nil {
				return r.Number + 1, nil
			}
			end = at
		}
		if from == 0 {
			return 0, nil
		}
		if tail > 4*MaxRecord {
			return 0, errors.New("the end of the log makes no sense")
		}
	}
}

// appendRecord writes a record and flushes it. What is half written is taken
// back.
func appendRecord(f *os.File, r *Record) (undo func() error, err error) {
	line, err := r.encode()
	if err != nil {
		return nil, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	undo = func() error { return errors.Join(f.Truncate(size), f.Sync()) }
	_, err = f.Write(line)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(err, undo())
	}
	return undo, nil
}

// ReadLog calls fn for each record of the log at path, in order, and bad for
// what is none. An error of fn ends it and is returned.
func ReadLog(path string, fn func(*Record) error, bad func(error)) error {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return readRecords(f, fn, bad)
}

func readRecords(in io.Reader, fn func(*Record) error, bad func(error)) error {
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, 64<<10), MaxRecord)
	s.Split(splitRecords)
	for s.Scan() {
		if len(s.Bytes()) == 0 {
			continue
		}
		r, err := parseRecord(s.Bytes())
		if err != nil {
			bad(err)
			continue
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return s.Err()
}

// splitRecords cuts at separators, which it leaves out.
func splitRecords(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, separator); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
