// SPDX-License-Identifier: Apache-2.0

package stage0

import (
	"context"
	"fmt"
	"io"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/store/treestore"
)

// ImageStore is what stage0 needs of the image store.
type ImageStore interface {
	// Resolve finds the image with an abbreviated ID.
	Resolve(idPrefix string) (appc.ImageID, error)
	Manifest(id appc.ImageID) (*appc.ImageManifest, error)
}

// TreeStore is what stage0 needs of the tree store.
type TreeStore interface {
	// Render makes sure that the tree of an image is there and unharmed.
	Render(ctx context.Context, key appc.ImageID) (treestore.Tree, error)
	// Get returns a rendered tree by its ID.
	Get(ctx context.Context, id string) (treestore.Tree, error)
	// CopyTo copies a tree to dst, adding shift to all owners, which must be
	// below count unless that is 0.
	CopyTo(ctx context.Context, t treestore.Tree, dst string, shift, count uint32) error
	// CheckOwners returns an error if an owner in a tree is not below count.
	CheckOwners(ctx context.Context, t treestore.Tree, count uint32) error
}

// Env is what every verb gets from the command.
type Env struct {
	DataDir string // real path
	Images  ImageStore
	Trees   TreeStore
	Stdout  io.Writer // results, and the output of stage1's programs
	Stderr  io.Writer // the output of stage1's programs
	Debug   bool

	// Say reports one record to the person, on standard error under the prefix
	// of the command. It must be safe for concurrent use. Nil: nobody listens.
	Say func(msg string)
	// Trace reports one step, shown with --debug under the prefix "stage0: ".
	Trace func(msg string)
}

func (e *Env) say(format string, args ...any) {
	if e.Say != nil {
		e.Say(fmt.Sprintf(format, args...))
	}
}

func (e *Env) trace(format string, args ...any) {
	if e.Trace != nil {
		e.Trace(fmt.Sprintf(format, args...))
	}
}

func (e *Env) stdout() io.Writer {
	if e.Stdout == nil {
		return io.Discard
	}
	return e.Stdout
}

func (e *Env) stderr() io.Writer {
	if e.Stderr == nil {
		return io.Discard
	}
	return e.Stderr
}
