// SPDX-License-Identifier: Apache-2.0

package front

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	envCommand     = "CNI_COMMAND"
	envContainerID = "CNI_CONTAINERID"
	envNetNS       = "CNI_NETNS"
	envArgs        = "CNI_ARGS"
	envPath        = "CNI_PATH"
)

// environment is a list of NAME=VALUE. The last of a name counts, as it does
// for os/exec.
type environment []string

func (e environment) get(name string) string {
	for _, pair := range slices.Backward(e) {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value
		}
	}
	return ""
}

func (e environment) with(name, value string) environment {
	return append(slices.Clip(e), name+"="+value)
}

// upstreamEnv is the environment of an upstream plugin that is going to execute
// the given IPAM plugin. If it would find our front, it is led to the upstream
// program, since the configuration is normalised already.
func upstreamEnv(name, ipam string, env environment) (environment, error) {
	path := env.get(envPath)
	dir, ours := findIPAM(ipam, path)
	args, err := mainArgs(argsOf{plugin: name, ipam: ipam, ours: ours || ipam == "", command: env.get(envCommand)}, env.get(envArgs))
	if err != nil {
		return nil, err
	}
	if ours {
		env = env.with(envPath, filepath.Join(dir, Upstream)+string(filepath.ListSeparator)+path)
	}
	return env.with(envArgs, args), nil
}

// findIPAM tells whether the first plugin of that name is the shipped one, and
// where it lies.
func findIPAM(ipam, path string) (dir string, ours bool) {
	if ipam == Flannel || !IsPlugin(ipam) {
		return "", false
	}
	for _, dir := range filepath.SplitList(path) {
		fi, err := os.Stat(filepath.Join(dir, ipam))
		if err != nil || !fi.Mode().IsRegular() {
			continue
		}
		s, ours := findShipped(filepath.Join(dir, ipam))
		return s.dir, ours
	}
	return "", false
}
