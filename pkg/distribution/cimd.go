// SPDX-License-Identifier: Apache-2.0

package distribution

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// ParseCIMD parses a cimd URI.
func ParseCIMD(s string) (Point, error) {
	scheme, _, ok := strings.Cut(s, ":")
	if !ok || !strings.EqualFold(scheme, "cimd") {
		return nil, fmt.Errorf("unsupported scheme: %q", scheme)
	}
	return parseCIMD(s)
}

func parseCIMD(s string) (Point, error) {
	parts := strings.SplitN(s, ":", 4)
	if len(parts) != 4 {
		return nil, fmt.Errorf("malformed distribution uri: %q", s)
	}
	kind, data := parts[1], parts[3]
	number, ok := strings.CutPrefix(parts[2], "v=")
	if !ok {
		return nil, fmt.Errorf("malformed distribution version: %s", parts[2])
	}
	version, err := strconv.ParseUint(number, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("malformed distribution version: %s", parts[2])
	}
	if version != 0 {
		return nil, fmt.Errorf("unsupported version %d of distribution uri: %q", version, s)
	}
	if data == "" {
		return nil, fmt.Errorf("malformed distribution uri: %q", s)
	}
	p, err := parseData(kind, data)
	if err != nil {
		return nil, fmt.Errorf("distribution uri %q: %w", s, err)
	}
	return p, nil
}

func parseData(kind, data string) (Point, error) {
	switch kind {
	case typeAppc, typeACIArchive, typeDocker, typeOCILayout, typeOCIArchive, typeDockerArchive:
	default:
		return nil, fmt.Errorf("unknown distribution type: %q", kind)
	}
	if kind == typeDocker {
		return parseDocker(data, data)
	}
	data, rawQuery, _ := strings.Cut(data, "?")
	text, err := url.QueryUnescape(data)
	if err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, err
	}
	switch kind {
	case typeAppc:
		return appcFromQuery(text, query)
	case typeACIArchive:
		return parseURL(text)
	}
	path, err := filePath(text)
	if err != nil {
		return nil, err
	}
	switch kind {
	case typeOCILayout:
		l, err := layoutFromQuery(path, query)
		return orNil(l, err)
	case typeOCIArchive:
		l, err := layoutFromQuery(path, query)
		return orNil(OCIArchive(l), err)
	default:
		ref := query.Get("ref")
		return orNil(DockerArchive{Path: path, Ref: ref}, checkArchiveRef(ref))
	}
}

func appcFromQuery(name string, query url.Values) (Point, error) {
	id, err := appc.NewIdentifier(name)
	if err != nil {
		return nil, err
	}
	a := Appc{Name: id}
	labels := make([]string, 0, len(query))
	for label := range query {
		labels = append(labels, label)
	}
	slices.Sort(labels)
	for _, label := range labels {
		for _, value := range query[label] {
			if err := a.add(label, value); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

func layoutFromQuery(path string, query url.Values) (OCILayout, error) {
	l := OCILayout{Path: path, Ref: query.Get("ref"), Digest: query.Get("digest")}
	if l.Digest != "" && !digestPattern().MatchString(l.Digest) {
		return OCILayout{}, fmt.Errorf("invalid digest %q", l.Digest)
	}
	return l, nil
}

func filePath(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	if u.Scheme != "file" || u.Host != "" || !filepath.IsAbs(u.Path) {
		return "", fmt.Errorf("%q is not the URL of a local file", s)
	}
	return filepath.Clean(u.Path), nil
}
