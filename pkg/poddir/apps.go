// SPDX-License-Identifier: Apache-2.0

package poddir

import "path/filepath"

// AppInfoDir is what is kept of an app, outside the trees.
func AppInfoDir(app string) string { return filepath.Join(AppsInfo, app) }

// AppInfoUnfinished is there while an app is being added to a mutable pod: what
// else there is of the app may be a part only, and can be thrown away.
func AppInfoUnfinished(app string) string { return filepath.Join(AppsInfo, app, "unfinished") }

// AppInfoMount is an empty directory on which "app add", and nobody else, sees
// the app's overlay before it moves into the pod.
func AppInfoMount(app string) string { return filepath.Join(AppsInfo, app, "mount") }

// Paths of one app below the root of stage1, beside those of names.go.
const (
	profilesDir = "rkt/apps"
	iottymuxDir = "rkt/iottymux"
)

// AppProfileFile is the profile that the app is started with, inside the pod.
func AppProfileFile(app string) string { return filepath.Join(profilesDir, app+".json") }

// AppStreams is the directory of an app's streams, to which one can attach.
func AppStreams(app string) string { return filepath.Join(iottymuxDir, app) }

// AppState lists everything below the root of stage1 that belongs to one app of
// a mutable pod and is no part of its tree, in the order in which it goes.
func AppState(app string) []string {
	return []string{
		AppStarted(app), AppStatus(app), AppExitFile(app), AppCreated(app),
		AppStreams(app), AppProfileFile(app), AppEnv(app),
	}
}
