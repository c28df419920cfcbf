// SPDX-License-Identifier: Apache-2.0

package uidrange

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxLine bounds a line of the host's files.
const maxLine = 1 << 20

// Entry is a line of /etc/subuid or /etc/subgid.
type Entry struct {
	Owner string // name or number of a user
	Range
}

// ParseSubIDs reads a file as subuid(5) has it, OWNER:START:COUNT. A line that
// is neither that nor empty nor a comment is an error, because others may read
// a claim into it.
func ParseSubIDs(r io.Reader) (entries []Entry, err error) {
	err = eachLine(r, func(line string) error {
		f := strings.Split(line, ":")
		if len(f) != 3 || f[0] == "" {
			return errors.New("it is not OWNER:START:COUNT")
		}
		ids, err := parse(f[1], f[2])
		if err != nil {
			return fmt.Errorf("%w %q", ErrInvalid, line)
		}
		entries = append(entries, Entry{f[0], ids})
		return nil
	})
	return entries, err
}

// parseIDs reads the numbers of a file as passwd(5) or group(5) has it; names
// are their owners. Lines without a number are skipped: they make no ID exist.
func parseIDs(r io.Reader) (entries []Entry, err error) {
	err = eachLine(r, func(line string) error {
		f := strings.Split(line, ":")
		if len(f) < 3 {
			return nil
		}
		if ids, err := parse(f[2], "1"); err == nil {
			entries = append(entries, Entry{f[0], ids})
		}
		return nil
	})
	return entries, err
}

func eachLine(r io.Reader, fn func(string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if err := fn(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return s.Err()
}

// claims tells whether the entry is one of the user's.
func (e Entry) claims(name string, uid *uint32) bool {
	return e.Owner == name || uid != nil && e.Owner == strconv.FormatUint(uint64(*uid), 10)
}
