// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// App is an app as the command line describes it: an image and what is to
// differ from it. The zero value of each field leaves the image's in place.
type App struct {
	Image             appc.ImageID // key or full ID; resolved
	Name              string       // default: from the image name
	Exec              string       // replaces the whole exec list
	Args              []string     // appended to exec
	ReplaceArgs       bool         // Args take the place of what exec has behind the program
	User              string
	Group             string
	SupplementaryGIDs []int // nil: the image's
	WorkingDir        string
	ReadOnlyRootFS    *bool
	Environment       appc.Environment
	Mounts            []appc.Mount
	Isolators         []appc.Isolator // from flags, merged by MergeIsolators
	Annotations       appc.Annotations
	UserAnnotations   map[string]string // nil: the image's
	UserLabels        map[string]string // nil: the image's
	Stdin             string            // stream modes, empty: no annotation
	Stdout            string
	Stderr            string
}

// Annotations of an app that carry stream modes.
const (
	StdinAnnotation  = "coreos.com/rkt/stage2/stdin"
	StdoutAnnotation = "coreos.com/rkt/stage2/stdout"
	StderrAnnotation = "coreos.com/rkt/stage2/stderr"
)

// Image is a resolved image.
type Image struct {
	ID       appc.ImageID
	Manifest *appc.ImageManifest
}

// AppName is the name of an app: given, or the last component of the image
// name made an AC name.
func AppName(given string, image appc.Identifier) (appc.Name, error) {
	if given != "" {
		name, err := appc.NewName(given)
		if err != nil {
			return "", fmt.Errorf("app name %q: %w", given, err)
		}
		return name, nil
	}
	last := image.String()
	if i := strings.LastIndexByte(last, '/'); i >= 0 {
		last = last[i+1:]
	}
	name, err := appc.SanitizeName(last)
	if err != nil {
		return "", fmt.Errorf("app name from image name %q: %w (try --name=NAME)", image, err)
	}
	return name, nil
}

// runtimeApp makes the pod manifest's entry for one app.
func (c *Config) runtimeApp(a *App, img Image) (appc.RuntimeApp, error) {
	name, err := AppName(a.Name, img.Manifest.Name)
	if err != nil {
		return appc.RuntimeApp{}, err
	}
	app, err := c.section(a, img)
	if err != nil {
		return appc.RuntimeApp{}, err
	}
	imageName := img.Manifest.Name
	ra := appc.RuntimeApp{
		Name:        name,
		Image:       appc.RuntimeImage{Name: &imageName, ID: img.ID.Key(), Labels: img.Manifest.Labels},
		App:         app,
		Mounts:      mergeMounts(a.Mounts, c.Mounts),
		Annotations: appAnnotations(a),
	}
	if a.ReadOnlyRootFS != nil {
		ra.ReadOnlyRootFS = *a.ReadOnlyRootFS
	}
	return ra, nil
}

// section is the image's app section with the overrides applied.
func (c *Config) section(a *App, img Image) (*appc.App, error) {
	var app appc.App
	switch {
	case img.Manifest.App != nil:
		app = *img.Manifest.App
		app.Exec = slices.Clone(app.Exec)
	case a.Exec != "":
		app.User, app.Group = strconv.Itoa(c.UID), strconv.Itoa(c.GID)
	default:
		return nil, fmt.Errorf("error: image %s has no app section and --exec argument is not provided", img.ID.Key())
	}
	if a.Exec != "" {
		app.Exec = []string{a.Exec}
	}
	if a.ReplaceArgs && len(a.Args) > 0 && len(app.Exec) > 1 {
		app.Exec = app.Exec[:1]
	}
	app.Exec = append(app.Exec, a.Args...)
	if len(app.Exec) == 0 {
		return nil, emptyExec(img.Manifest.Name.String())
	}
	app.Environment = c.environment(app.Environment, a.Environment)
	app.Isolators = MergeIsolators(app.Isolators, a.Isolators)
	a.identity(&app)
	return &app, nil
}

func emptyExec(image string) error {
	return fmt.Errorf("image %q has an empty \"exec\" (try --exec=BINARY)", image)
}

func (a *App) identity(app *appc.App) {
	if a.User != "" {
		app.User = a.User
	}
	if a.Group != "" {
		app.Group = a.Group
	}
	if a.SupplementaryGIDs != nil {
		app.SupplementaryGIDs = a.SupplementaryGIDs
	}
	if a.WorkingDir != "" {
		app.WorkingDirectory = a.WorkingDir
	}
	if a.UserAnnotations != nil {
		app.UserAnnotations = a.UserAnnotations
	}
	if a.UserLabels != nil {
		app.UserLabels = a.UserLabels
	}
}

// environment merges the sources of variables, lowest first: inherited ones
// (which only fill gaps), the image's, --set-env-file, --set-env, --environment.
func (c *Config) environment(image, own appc.Environment) appc.Environment {
	env := slices.Clone(image)
	for _, kv := range c.InheritEnv {
		name, value, ok := strings.Cut(kv, "=")
		// A shell may export names that no manifest can hold (BASH_FUNC_x%%).
		if !ok || !appc.ValidEnvironmentName(name) {
			continue
		}
		if _, set := env.Get(name); !set {
			env.Set(name, value)
		}
	}
	for _, source := range []appc.Environment{c.SetEnvFile, c.SetEnv, own} {
		for _, v := range source {
			env.Set(v.Name, v.Value)
		}
	}
	return env
}

func appAnnotations(a *App) appc.Annotations {
	out := slices.Clone(a.Annotations)
	for _, s := range []struct {
		name appc.Identifier
		mode string
	}{{StdinAnnotation, a.Stdin}, {StdoutAnnotation, a.Stdout}, {StderrAnnotation, a.Stderr}} {
		if s.mode != "" {
			out.Set(s.name, s.mode)
		}
	}
	return out
}

// ErrNoApps is returned for a pod without apps where one is needed.
var ErrNoApps = errors.New("pod must contain at least one application")
