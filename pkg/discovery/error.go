// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

var (
	errSearchTimeout  = fmt.Errorf("discovery took longer than %s", searchTimeout)
	errRequestTimeout = errors.New("no page within")
	errRedirects      = errors.New("too many redirects")
	errDowngrade      = errors.New("redirect from https to http refused")
)

// Error says that no candidate had what was looked for, and why.
type Error struct {
	Tag      string
	Failures []Failure // one for each candidate
}

// Failure is a candidate that did not have it.
type Failure struct {
	Candidate string
	Attempts  []Attempt
}

// Attempt is one page that was asked for. Without a URL it was not, because
// its host cannot be reached, as an attempt before has shown.
type Attempt struct {
	URL string
	Err error
}

// Error is all on one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("discovery failed")
	separator := ": "
	for _, f := range e.Failures {
		for _, a := range f.Attempts {
			if a.URL != "" {
				b.WriteString(separator + a.Error())
				separator = "; "
			}
		}
	}
	return b.String()
}

// Unwrap gives what went wrong with each page.
func (e *Error) Unwrap() []error {
	var all []error
	for _, f := range e.Failures {
		all = append(all, f.Unwrap()...)
	}
	return all
}

func (f Failure) Error() string {
	all := make([]string, 0, len(f.Attempts))
	for _, a := range f.Attempts {
		all = append(all, a.Error())
	}
	return strings.Join(all, "; ")
}

// Unwrap gives what went wrong with each attempt.
func (f Failure) Unwrap() []error {
	all := make([]error, 0, len(f.Attempts))
	for _, a := range f.Attempts {
		all = append(all, a)
	}
	return all
}

func (a Attempt) Error() string {
	if a.URL == "" {
		return oneLine(a.Err.Error())
	}
	return a.URL + ": " + oneLine(a.Err.Error())
}

func (a Attempt) Unwrap() error { return a.Err }

// StatusError is an answer that is no page.
type StatusError struct{ Code int }

func (e *StatusError) Error() string { return fmt.Sprintf("expected a 200 OK got %d", e.Code) }

// oneLine keeps a server's text from being more than that.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}
