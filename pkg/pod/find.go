// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/poddir"
)

// Faults of a UUID prefix.
var (
	ErrEmptyPrefix = errors.New("UUID cannot be empty")
	ErrNoMatch     = errors.New("no matches found")
	ErrAmbiguous   = errors.New("ambiguous uuid")
)

type prefixError struct {
	text string
	is   error
}

func (e *prefixError) Error() string { return e.text }
func (e *prefixError) Unwrap() error { return e.is }

// ListedDirs are the state directories in which pods are looked for by
// prefix, and which "list" covers.
func ListedDirs() []string {
	return []string{poddir.Prepare, poddir.Prepared, poddir.Run, poddir.ExitedGarbage}
}

// Resolve finds the one pod whose UUID begins with prefix, in any case. Errors
// are ErrEmptyPrefix, ErrNoMatch and ErrAmbiguous.
func Resolve(ctx context.Context, dataDir, prefix string) (poddir.UUID, error) {
	prefix = strings.ToLower(prefix)
	if prefix == "" {
		return "", ErrEmptyPrefix
	}
	matches, _, err := enumerate(ctx, dataDir, ListedDirs())
	if err != nil {
		return "", err
	}
	matches = slices.DeleteFunc(matches, func(f found) bool {
		return !strings.HasPrefix(f.uuid.String(), prefix)
	})
	switch len(matches) {
	case 0:
		return "", &prefixError{fmt.Sprintf("no matches found for %q", prefix), ErrNoMatch}
	case 1:
		return matches[0].uuid, nil
	}
	return "", &prefixError{fmt.Sprintf("ambiguous uuid, %d matches", len(matches)), ErrAmbiguous}
}

// found is a pod and the index, in the list that was searched, of the state
// directory it was first seen in. It can only be there or further on.
type found struct {
	uuid poddir.UUID
	from int
}

// enumerate returns the pods of the given state directories, sorted, each
// once, and a remark on every entry that is no pod.
func enumerate(ctx context.Context, dataDir string, dirs []string) (pods []found, remarks []string, err error) {
	if err := EnsureDirs(dataDir); err != nil {
		return nil, nil, err
	}
	for i, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		uuids, more, err := readStateDir(filepath.Join(dataDir, poddir.Pods, dir))
		if err != nil {
			return nil, nil, fmt.Errorf("read pods in state directory %s: %w", dir, err)
		}
		for _, uuid := range uuids {
			pods = append(pods, found{uuid, i})
		}
		remarks = append(remarks, more...)
	}
	// Stable, so that of a pod seen twice the first sight is kept.
	slices.SortStableFunc(pods, func(a, b found) int { return strings.Compare(a.uuid.String(), b.uuid.String()) })
	return slices.CompactFunc(pods, func(a, b found) bool { return a.uuid == b.uuid }), remarks, nil
}

func readStateDir(path string) (uuids []poddir.UUID, remarks []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	entries, err := f.ReadDir(-1)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			remarks = append(remarks, fmt.Sprintf("unrecognized entry: %q, ignoring", e.Name()))
			continue
		}
		uuid, err := poddir.ParseUUID(e.Name())
		if err == nil && uuid.String() != e.Name() {
			err = fmt.Errorf("not in canonical form, want %s", uuid)
		}
		if err != nil {
			remarks = append(remarks, fmt.Sprintf("skipping %q: %v", e.Name(), err))
			continue
		}
		uuids = append(uuids, uuid)
	}
	return uuids, remarks, nil
}

// Walk opens the pods of the given state directories in order of their UUIDs
// and calls fn for each, which must not keep the Pod. A pod that moved to
// another directory, or is gone, meanwhile is left out. Entries that are no
// pods are passed to remark. An error of fn ends the walk.
func Walk(ctx context.Context, dataDir string, dirs []string, remark func(string), fn func(*Pod) error) error {
	pods, remarks, err := enumerate(ctx, dataDir, dirs)
	if err != nil {
		return err
	}
	for _, r := range remarks {
		remark(r)
	}
	for _, f := range pods {
		if err := visit(ctx, dataDir, dirs[f.from:], f.uuid, fn); err != nil {
			return err
		}
	}
	return nil
}

func visit(ctx context.Context, dataDir string, dirs []string, uuid poddir.UUID, fn func(*Pod) error) error {
	p, err := openAmong(ctx, dataDir, dirs, uuid)
	if errors.Is(err, ErrNotPresent) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	return fn(p)
}

// openAmong opens a pod if it is in one of dirs, which are in life-cycle order.
func openAmong(ctx context.Context, dataDir string, dirs []string, uuid poddir.UUID) (*Pod, error) {
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p, err := openIn(dataDir, dir, uuid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return p, err
	}
	return nil, &notPresentError{uuid}
}
