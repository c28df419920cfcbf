// SPDX-License-Identifier: Apache-2.0

// Package progress shows how far downloads are.
//
// A Display writes to one stream, a Bar is one download on it. On a terminal
// the running bars and a total are redrawn in place; elsewhere each update is a
// line of its own; with JSON each update is one JSON object on a line.
//
// A Display is an io.Writer for the messages that appear between updates:
// what is written through it never shares a line with a bar. The cursor always
// rests at the start of an empty line, so messages that others write to the same terminal stay whole, too.
//
// Names are cut to 18 characters and bars are made of "=" and spaces: rkt's
// callers search this output for image IDs and UUIDs, and must not find any here.
//
//	d := progress.New(os.Stderr, progress.Auto)
//	defer d.Close()
//	b := d.Bar(progress.Options{Name: "ACI", Total: size})
//	defer b.Done()
//	io.Copy(dst, b.Reader(src))
//
// All methods may be called concurrently. There is no background goroutine: a
// download that stands still is not redrawn. A nil *Bar does nothing.
package progress
