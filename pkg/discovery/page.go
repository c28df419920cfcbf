// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/net/html"
)

// tag is a <meta> of a page.
type tag struct {
	name   string // begins with "ac-"
	prefix string // of image names
	uri    string // URL or template
}

// tagsOf reads a page. It ends where the page does or where it cannot be read
// on; the error is that of r only, the tags so far are good in any case.
func tagsOf(r io.Reader) ([]tag, error) {
	var tags []tag
	z := html.NewTokenizer(r)
	for len(tags) < maxTags {
		switch z.Next() {
		case html.ErrorToken:
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return tags, err
			}
			return tags, nil
		case html.StartTagToken, html.SelfClosingTagToken:
			if t, ok := tagOf(z); ok {
				tags = append(tags, t)
			}
		}
	}
	return tags, nil
}

// tagOf reads the tag at which the tokenizer is. Of an attribute that is there
// more than once the first counts.
func tagOf(z *html.Tokenizer) (tag, bool) {
	element, more := z.TagName()
	if !bytes.Equal(element, []byte("meta")) {
		return tag{}, false
	}
	var name, content *string
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		switch {
		case string(key) == "name" && name == nil:
			name = text(value)
		case string(key) == "content" && content == nil:
			content = text(value)
		}
	}
	if name == nil || content == nil || !strings.HasPrefix(*name, "ac-") || len(*content) > maxTag {
		return tag{}, false
	}
	fields := strings.Fields(*content)
	if len(fields) != 2 {
		return tag{}, false
	}
	return tag{name: *name, prefix: fields[0], uri: fields[1]}, true
}

func text(b []byte) *string {
	s := string(b)
	return &s
}

// Why a page gave nothing.
var (
	errNoTag    = errors.New("the page has no such tag")
	errNotForIt = errors.New("the page has no such tag for this name")
)

// pick uses the tags of a kind whose prefix fits. The error says why there is
// none of use.
func pick[T any](tags []tag, kind, name string, use func(tag) (T, error)) ([]T, error) {
	var found []T
	seen := map[string]bool{}
	why := errNoTag
	for _, t := range tags {
		if t.name != kind {
			continue
		}
		if !strings.HasPrefix(name, t.prefix) {
			if errors.Is(why, errNoTag) {
				why = errNotForIt
			}
			continue
		}
		if seen[t.uri] {
			continue
		}
		seen[t.uri] = true
		v, err := use(t)
		if err != nil {
			why = fmt.Errorf("tag with %q: %w", cut(t.uri), err)
			continue
		}
		if found = append(found, v); len(found) == maxResults {
			break
		}
	}
	if len(found) > 0 {
		return found, nil
	}
	return nil, why
}

// cut keeps a text from outside short.
func cut(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	return strings.ToValidUTF8(s[:maxQuoted], "") + "..."
}
