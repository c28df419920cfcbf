// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fake(words []string) (string, error) {
	return map[string]string{
		"": "NAME:\n\trkt - run pods\n\nUSAGE:\n\trkt [flags] COMMAND\n\nVERSION:\n\t2\n\nCOMMANDS:\n" +
			"\tgc\t\tClean up\n\timage rm\tRemove images\n",
		"gc": "NAME:\n\tgc - Clean up\n\nUSAGE:\n\trkt gc\n\nDESCRIPTION:\n\tRemoves what is\n\tover.\n\n\tExample:\n\n\t\t$ rkt gc\n\n" +
			"\t.hidden \\ text\n\n\tExit status:\n\t0\tsuccess\n\nOPTIONS:\n\t--grace-period=30m\thow long\n",
		"image":    "NAME:\n\timage - Operate on images\n\nUSAGE:\n\trkt image\n\nCOMMANDS:\n\timage rm\tRemove images\n",
		"image rm": "NAME:\n\timage rm - Remove images\n\nUSAGE:\n\trkt image rm IMAGE...\n",
	}[strings.Join(words, " ")], nil
}

func TestPages(t *testing.T) {
	m := manual{program: "rkt", version: "2.0", date: "2026-01-02", join: "_", ask: fake}
	pages, err := m.pages()
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(pages))
	if diff := cmp.Diff([]string{"rkt", "rkt_gc", "rkt_image", "rkt_image_rm"}, names); diff != "" {
		t.Fatal(diff)
	}
	want := `.\" generated from the help text
.TH "RKT_GC" 1 2026-01-02 "rkt 2.0" "User Commands"
.SH NAME
rkt_gc \- Clean up
.SH SYNOPSIS
.B rkt gc
.SH DESCRIPTION
Removes what is
over.
.PP
Example:
.IP
$ rkt gc
.PP
\&.hidden \e text
.SH EXIT STATUS
.TP
.B 0
success
.SH OPTIONS
.TP
.B \-\-grace\-period=30m
how long
.SH SEE ALSO
.BR rkt (1)
`
	if diff := cmp.Diff(want, pages["rkt_gc"]); diff != "" {
		t.Error(diff)
	}
	if also := pages["rkt_image"]; !strings.HasSuffix(also, ".SH SEE ALSO\n.BR rkt (1) ,\n.BR rkt_image_rm (1)\n") {
		t.Errorf("rkt_image ends in %q", also)
	}
}

// docker2aci has no commands and no sections.
func TestShortHelp(t *testing.T) {
	sections, err := parseHelp("usage: docker2aci [options] IMAGE\n\nIMAGE is\nsomething.\n\nOptions:\n  -o=DIR      write to DIR\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"-o=DIR\twrite to DIR"}, find(sections, "OPTIONS").lines); diff != "" {
		t.Error(diff)
	}
}

// A program that fails to describe itself makes no empty page.
func TestBrokenHelp(t *testing.T) {
	for _, text := range []string{"", "hello\n", "NAME:\n\tx - y\n", "usage: x\n"} {
		m := manual{program: "x", version: "1", join: "_", ask: func([]string) (string, error) { return text, nil }}
		if pages, err := m.pages(); err == nil {
			t.Errorf("%q made %v", text, pages)
		}
	}
}
