// SPDX-License-Identifier: Apache-2.0

package podplan

import (
	"slices"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/entrypoint"
	"github.com/rkt/rkt/v2/pkg/isolator"
)

// askedBy tells who has asked for an isolator that is on or off. If the image
// has, nobody else had to.
func askedBy(items []isolator.Item, name string) Origin {
	o := FromDefault
	for _, item := range items {
		switch {
		case string(item.Name) != name || string(item.Value) == "false":
		case item.Origin == isolator.FromImage:
			return FromImage
		default:
			o = FromUser
		}
	}
	return o
}

// own is the image's own app section; one without values stands for none.
func (a *App) own() *appc.App {
	if a.Image.App == nil {
		return &appc.App{}
	}
	return a.Image.App
}

// from tells where a value comes from: not set is the default's, what the image
// has too is the image's.
func from(set, images bool) Origin {
	switch {
	case !set:
		return FromDefault
	case images:
		return FromImage
	}
	return FromUser
}

// ExecOrigin tells where program and arguments come from. If a person has added
// arguments, the program is the image's.
func (a *App) ExecOrigin() (program, arguments Origin) {
	own := a.own().Exec
	program = from(true, len(own) > 0 && own[0] == a.App.Exec[0])
	arguments = from(len(a.App.Exec) > 1, slices.Equal(own, a.App.Exec))
	return program, arguments
}

// UserOrigin tells where the user comes from.
func (a *App) UserOrigin() Origin { return from(a.App.User != "", a.App.User == a.own().User) }

// GroupOrigin tells where the group comes from.
func (a *App) GroupOrigin() Origin { return from(a.App.Group != "", a.App.Group == a.own().Group) }

// GroupsOrigin tells where the supplementary groups come from.
func (a *App) GroupsOrigin() Origin {
	return from(len(a.App.SupplementaryGIDs) > 0, slices.Equal(a.App.SupplementaryGIDs, a.own().SupplementaryGIDs))
}

// WorkDirOrigin tells where the working directory comes from.
func (a *App) WorkDirOrigin() Origin {
	return from(a.App.WorkingDirectory != "", a.App.WorkingDirectory == a.own().WorkingDirectory)
}

// ReadOnlyOrigin tells why the root file system is read-only or not: an image
// has no say in it.
func (a *App) ReadOnlyOrigin() Origin { return from(a.Runtime.ReadOnlyRootFS, false) }

// StreamOrigin tells where the mode of a standard stream comes from.
func (a *App) StreamOrigin(fd int) Origin {
	names := [...]string{entrypoint.AnnotationStdin, entrypoint.AnnotationStdout, entrypoint.AnnotationStderr}
	_, given := a.Runtime.Annotations.Get(names[fd])
	return from(given || a.Streams[fd] == StreamInteractive, false)
}
