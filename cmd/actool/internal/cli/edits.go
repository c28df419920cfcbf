// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// manifestEdits are the flags of patch-manifest that change single fields, as
// they were typed; empty means unchanged.
type manifestEdits struct {
	name, exec, user, group, supplementaryGroups  string
	capability, revokeCapability                  string
	mounts, ports, isolators                      string
	seccompMode, seccompSet                       string
	replaceMounts, replacePorts, replaceIsolators bool
}

func (e *manifestEdits) bind(fs *flag.FlagSet) {
	fs.StringVar(&e.name, "name", "", "replace the image name by `NAME`")
	fs.StringVar(&e.exec, "exec", "", "replace the command line by `CMDLINE`, split at single blanks; quotes mean nothing")
	fs.StringVar(&e.user, "user", "", "replace the user by `USER`")
	fs.StringVar(&e.group, "group", "", "replace the group by `GROUP`")
	fs.StringVar(&e.supplementaryGroups, "supplementary-groups", "", "replace the supplementary groups by `GID,GID`")
	fs.StringVar(&e.capability, "capability", "", "retain only the capabilities `CAP,CAP`")
	fs.StringVar(&e.revokeCapability, "revoke-capability", "", "remove the capabilities `CAP,CAP`")
	fs.StringVar(&e.mounts, "mounts", "", "add the mount points `NAME,path=PATH[,readOnly=BOOL][:...]`")
	fs.StringVar(&e.ports, "ports", "", "add the ports `NAME,protocol=PROTO,port=N[,count=N][,socketActivated=BOOL][:...]`")
	fs.StringVar(&e.isolators, "isolators", "", "add the isolators `NAME,request=QUANTITY,limit=QUANTITY[:...]`")
	fs.StringVar(&e.seccompMode, "seccomp-mode", "", "replace the seccomp isolator: `remove|retain[,errno=ERRNO]`; needs --seccomp-set")
	fs.StringVar(&e.seccompSet, "seccomp-set", "", "the system calls `NAME,NAME` for --seccomp-mode")
	fs.BoolVar(&e.replaceMounts, "replace-mounts", false, "drop the mount points that the manifest has")
	fs.BoolVar(&e.replacePorts, "replace-ports", false, "drop the ports that the manifest has")
	fs.BoolVar(&e.replaceIsolators, "replace-isolators", false, "drop the isolators that the manifest has")
}

// any tells whether a flag was given.
func (e *manifestEdits) any() bool { return *e != manifestEdits{} }

// conflictWithManifest tells whether a flag was given that --manifest excludes.
func (e *manifestEdits) conflictWithManifest() bool {
	return e.name != "" || e.exec != "" || e.user != "" || e.group != "" || e.capability != "" || e.mounts != ""
}

// apply edits a manifest as it is stored. Without flags it is not changed.
func (e *manifestEdits) apply(raw []byte) ([]byte, error) {
	m, err := appc.ParseImageManifest(raw)
	if err != nil {
		return nil, err
	}
	if !e.any() {
		return raw, nil
	}
	return e.edit(m)
}

func (e *manifestEdits) edit(m *appc.ImageManifest) ([]byte, error) {
	if e.name != "" {
		name, err := appc.NewIdentifier(e.name)
		if err != nil {
			return nil, fmt.Errorf("image name %q: %w", e.name, err)
		}
		m.Name = name
	}
	ofApp := *e
	ofApp.name = ""
	if !ofApp.any() {
		return m.Marshal()
	}
	if m.App == nil {
		if e.exec == "" {
			return nil, errors.New("no app in the supplied manifest and no exec command provided")
		}
		m.App = &appc.App{}
	}
	if err := e.editApp(m.App); err != nil {
		return nil, err
	}
	return m.Marshal()
}

func (e *manifestEdits) editApp(app *appc.App) error {
	if e.exec != "" {
		app.Exec = strings.Split(e.exec, " ")
	}
	if e.user != "" {
		app.User = e.user
	}
	if e.group != "" {
		app.Group = e.group
	}
	for _, edit := range []func(*appc.App) error{
		e.editGroups, e.editMounts, e.editPorts, e.editIsolators, e.editCapabilities, e.editSeccomp,
	} {
		if err := edit(app); err != nil {
			return err
		}
	}
	return nil
}

func (e *manifestEdits) editGroups(app *appc.App) error {
	if e.supplementaryGroups == "" {
		return nil
	}
	var gids []int
	for s := range strings.SplitSeq(e.supplementaryGroups, ",") {
		gid, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return fmt.Errorf("invalid supplementary group %q", s)
		}
		gids = append(gids, int(gid))
	}
	app.SupplementaryGIDs = gids
	return nil
}

func (e *manifestEdits) editMounts(app *appc.App) error {
	if e.replaceMounts {
		app.MountPoints = nil
	}
	mounts, err := parseMounts(e.mounts)
	if err != nil {
		return err
	}
	app.MountPoints = append(app.MountPoints, mounts...)
	return nil
}

func (e *manifestEdits) editPorts(app *appc.App) error {
	if e.replacePorts {
		app.Ports = nil
	}
	ports, err := parsePorts(e.ports)
	if err != nil {
		return err
	}
	app.Ports = append(app.Ports, ports...)
	return nil
}

func (e *manifestEdits) editIsolators(app *appc.App) error {
	if e.replaceIsolators {
		app.Isolators = nil
	}
	isolators, err := parseIsolators(e.isolators)
	if err != nil {
		return err
	}
	app.Isolators = append(app.Isolators, isolators...)
	return nil
}

func (e *manifestEdits) editCapabilities(app *appc.App) error {
	name, list := appc.Identifier(appc.LinuxCapabilitiesRetainSet), e.capability
	switch {
	case e.capability != "" && e.revokeCapability != "":
		return errors.New("conflicting capabilities isolators provided")
	case e.revokeCapability != "":
		name, list = appc.LinuxCapabilitiesRemoveSet, e.revokeCapability
	case e.capability == "":
		return nil
	}
	isolator, err := appc.NewIsolator(name, appc.LinuxCapabilities{Set: strings.Split(list, ",")})
	if err != nil {
		return err
	}
	app.Isolators = setIsolator(app.Isolators, isolator, appc.LinuxCapabilitiesRetainSet, appc.LinuxCapabilitiesRemoveSet)
	return nil
}

func (e *manifestEdits) editSeccomp(app *appc.App) error {
	switch {
	case e.seccompMode == "" && e.seccompSet == "":
		return nil
	case e.seccompMode == "":
		return errors.New("--seccomp-set specified without --seccomp-mode")
	case e.seccompSet == "":
		return errors.New("--seccomp-mode specified without --seccomp-set")
	}
	isolator, err := parseSeccomp(e.seccompMode, e.seccompSet)
	if err != nil {
		return err
	}
	app.Isolators = setIsolator(app.Isolators, isolator, appc.LinuxSeccompRetainSet, appc.LinuxSeccompRemoveSet)
	return nil
}

// setIsolator drops the isolators called names and appends a new one.
func setIsolator(list appc.Isolators, isolator appc.Isolator, names ...appc.Identifier) appc.Isolators {
	list = slices.DeleteFunc(list, func(i appc.Isolator) bool { return slices.Contains(names, i.Name) })
	return append(list, isolator)
}
