// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/distribution"
)

// authFile is what the files of docker and podman have in common.
type authFile struct {
	Auths       map[string]authEntry `json:"auths"`
	CredHelpers map[string]string    `json:"credHelpers"`
	CredsStore  string               `json:"credsStore"`

	path string
	uid  uint32 // owner
}

type authEntry struct {
	Auth          string `json:"auth"` // base64 of user:password
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// registryCredentials finds what to show to a registry for one repository: the
// first source that has something wins. The zero value means nothing was found.
func (r *run) registryCredentials(ctx context.Context, host, repo string) (authn.AuthConfig, error) {
	if r.Auth != nil {
		if b, ok := r.Auth.DockerAuthFor(host); ok {
			return authn.AuthConfig{Username: b.User, Password: b.Password}, nil
		}
	}
	for _, path := range r.authFiles() {
		f, err := readAuthFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return authn.AuthConfig{}, err
		}
		config, err := f.find(ctx, host, repo)
		if err != nil || config != (authn.AuthConfig{}) {
			return config, err
		}
	}
	return authn.AuthConfig{}, nil
}

// authFiles lists where credentials of the user may be, in order.
func (r *run) authFiles() []string {
	if r.Getenv == nil {
		return nil
	}
	var files []string
	add := func(dir string, path ...string) {
		if dir != "" {
			files = append(files, filepath.Join(append([]string{dir}, path...)...))
		}
	}
	add(r.Getenv("REGISTRY_AUTH_FILE"))
	add(r.Getenv("XDG_RUNTIME_DIR"), "containers", "auth.json")
	home := r.Getenv("HOME")
	add(home, ".config", "containers", "auth.json")
	if dir := r.Getenv("DOCKER_CONFIG"); dir != "" {
		add(dir, "config.json")
	} else {
		add(home, ".docker", "config.json")
	}
	add(home, legacyAuthFile)
	return files
}

// legacyAuthFile is what docker before 1.7 wrote: only the entries.
const legacyAuthFile = ".dockercfg"

// CheckCredentials reads the files with credentials of the user, so that a
// broken one is found before anything is fetched.
func (f *Fetcher) CheckCredentials() error {
	for _, path := range (&run{Fetcher: f}).authFiles() {
		if _, err := readAuthFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func readAuthFile(path string) (*authFile, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	data, err := readCapped(f, maxAuthFile)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	a := &authFile{path: path, uid: st.Uid}
	if len(strings.TrimSpace(string(data))) == 0 {
		return a, nil
	}
	var into any = a
	if filepath.Base(path) == legacyAuthFile {
		into = &a.Auths
	}
	if err := json.Unmarshal(data, into); err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	return a, nil
}

// find looks for a helper of the host, then for an entry, the one with the
// longest path first, then asks the helper for everything.
func (a *authFile) find(ctx context.Context, host, repo string) (authn.AuthConfig, error) {
	if helper, server := a.helperFor(host); helper != "" {
		return a.ask(ctx, helper, server)
	}
	if key := a.longestKey(host, repo); key != "" {
		config, err := a.Auths[key].config()
		if err != nil {
			return authn.AuthConfig{}, fmt.Errorf("%s: entry for %q: %w", a.path, key, err)
		}
		return config, nil
	}
	if a.CredsStore != "" {
		return a.ask(ctx, a.CredsStore, serverName(host))
	}
	return authn.AuthConfig{}, nil
}

func (a *authFile) helperFor(host string) (helper, server string) {
	for key, helper := range a.CredHelpers {
		if normalizeKey(key) == host {
			return helper, key
		}
	}
	return "", ""
}

// hubServer is the name under which docker stores credentials for Docker Hub.
const hubServer = "https://index.docker.io/v1/"

func serverName(host string) string {
	if host == distribution.Hub {
		return hubServer
	}
	return host
}

// longestKey finds the entry for host/repo or the longest path above it that
// has something in it: docker leaves empty entries behind for its helpers.
func (a *authFile) longestKey(host, repo string) string {
	found, length := "", 0
	for key, entry := range a.Auths {
		n := normalizeKey(key)
		if entry == (authEntry{}) || !coversPath(n, host+"/"+repo) {
			continue
		}
		if len(n) > length || len(n) == length && key < found {
			found, length = key, len(n)
		}
	}
	return found
}

func coversPath(key, path string) bool {
	rest, ok := strings.CutPrefix(path, key)
	return ok && key != "" && (rest == "" || rest[0] == '/')
}

// normalizeKey reduces a key to host or host/path. Old files have URLs.
func normalizeKey(key string) string {
	_, withoutScheme, isURL := strings.Cut(key, "://")
	if isURL {
		key = withoutScheme
	}
	key = strings.TrimSuffix(key, "/")
	if isURL {
		key = strings.TrimSuffix(strings.TrimSuffix(key, "/v1"), "/v2")
	}
	host, path, hasPath := strings.Cut(key, "/")
	key = distribution.NormalizeHost(host)
	if hasPath {
		key += "/" + path
	}
	return key
}

func (e authEntry) config() (authn.AuthConfig, error) {
	config := authn.AuthConfig{IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
	if e.Auth == "" {
		return config, nil
	}
	text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(strings.TrimSpace(e.Auth), "="))
	if err != nil {
		return authn.AuthConfig{}, errors.New("auth is not base64")
	}
	// docker pads with NUL.
	user, password, ok := strings.Cut(strings.TrimRight(string(text), "\x00"), ":")
	if !ok {
		return authn.AuthConfig{}, errors.New("auth is not base64 of user:password")
	}
	config.Username, config.Password = user, password
	return config, nil
}
