// SPDX-License-Identifier: Apache-2.0

package discovery

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// templateValues are what the placeholders of a template stand for, {ext}
// excepted.
func templateValues(app App) map[string]string {
	os, arch := appc.HostLabels()
	values := map[string]string{"version": "latest", "os": os, "arch": arch}
	for _, l := range app.Labels {
		values[string(l.Name)] = l.Value
	}
	values["name"] = string(app.Name)
	return values
}

// render makes the two URLs of a template. One without {ext} names the image;
// the signature then is where it is for URLs that users give.
func render(template string, values map[string]string) (Endpoint, error) {
	aci, err := expand(template, "aci", values)
	if err != nil {
		return Endpoint{}, err
	}
	asc, err := expand(template, "aci.asc", values)
	if err != nil {
		return Endpoint{}, err
	}
	if *aci == *asc {
		escaped := strings.TrimSuffix(aci.EscapedPath(), ".aci") + ".aci.asc"
		if asc.Path, err = url.PathUnescape(escaped); err != nil {
			return Endpoint{}, err
		}
		asc.RawPath = escaped
	}
	return Endpoint{ACI: aci, ASC: asc}, nil
}

// part is where in a URL a placeholder stands.
type part int

const (
	authority part = iota // and the scheme before it
	path
	query
	anywhere // for an identifier, which may be host and path
)

// expand replaces each placeholder once: what a value looks like does not
// matter. A value is escaped for the place where it goes.
func expand(template, ext string, values map[string]string) (*url.URL, error) {
	template, _, _ = strings.Cut(template, "#")
	var b strings.Builder
	for rest := template; rest != ""; {
		literal, after, ok := strings.Cut(rest, "{")
		b.WriteString(literal)
		if !ok {
			break
		}
		name, tail, ok := strings.Cut(after, "}")
		if !ok {
			return nil, errors.New("a brace is not closed")
		}
		value, ok := values[name]
		if name == "ext" {
			value, ok = ext, true
		}
		if !ok {
			return nil, fmt.Errorf("it needs the label %q", cut(name))
		}
		where := partOf(b.String())
		if name == "name" && where == authority {
			where = anywhere
		}
		escaped, err := escape(value, where)
		if err != nil {
			return nil, fmt.Errorf("{%s}: %w", name, err)
		}
		b.WriteString(escaped)
		if b.Len() > maxURL {
			return nil, fmt.Errorf("URL longer than %d bytes", maxURL)
		}
		rest = tail
	}
	return parseURL(b.String())
}

// partOf tells what comes after the beginning of a URL.
func partOf(s string) part {
	_, hier, ok := strings.Cut(s, "://")
	i := strings.IndexAny(hier, "/?")
	switch {
	case !ok, i < 0:
		return authority
	case strings.Contains(hier[i:], "?"):
		return query
	}
	return path
}

// escape keeps a value from being more than a part of a host's name, of a path
// or of a query.
func escape(value string, where part) (string, error) {
	const unreserved = "-._~/"
	allowed := unreserved + "!$'()*+,;=:@&" // of RFC 3986, for a path
	switch where {
	case anywhere:
		return value, nil
	case authority:
		if i := strings.IndexFunc(value, func(r rune) bool { return !isAlphanumeric(r) && r != '-' && r != '.' }); i >= 0 {
			return "", fmt.Errorf("value %q cannot be a part of a host", cut(value))
		}
		return value, nil
	case query:
		allowed = unreserved + ":@,"
	}
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; isAlphanumeric(rune(c)) || strings.IndexByte(allowed, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String(), nil
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// parseURL accepts absolute http and https URLs without credentials in them:
// what is on a page is no secret. There is no use for a fragment.
func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	var ue *url.Error
	switch {
	case errors.As(err, &ue):
		return nil, ue.Err
	case err != nil:
		return nil, err
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("not an http or https URL")
	case u.Hostname() == "":
		return nil, errors.New("URL without a host")
	case u.User != nil:
		return nil, errors.New("URL with credentials")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}
