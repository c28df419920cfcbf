// SPDX-License-Identifier: Apache-2.0

// Package program finds the program of an app inside its root, and says why
// one cannot be executed.
//
// Source: spec apps.md 1.2, stage1-flavors.md A.13.
package program

import (
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/inroot"
)

// Find returns the absolute path of a program in the root: an absolute name
// as it is, one with a slash below the working directory, a bare one from the
// first directory of the colon list that has an executable regular file of
// that name. Links are followed inside the root, but the path of the link is
// returned.
func Find(root *inroot.Root, name, workDir, pathList string) (string, error) {
	switch {
	case strings.HasPrefix(name, "/"):
		return name, nil
	case strings.Contains(name, "/"):
		return below(workDir, name), nil
	}
	for dir := range strings.SplitSeq(pathList, ":") {
		if !strings.HasPrefix(dir, "/") {
			dir = below(workDir, dir)
		}
		candidate := path.Join(dir, name)
		if st, err := root.Stat(candidate); err == nil && executable(st) {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("unable to find %q in %q", name, pathList)
}

// SearchList is where bare names are searched: the PATH that image or user
// gave, else the working directory, /bin and /usr/bin.
func SearchList(envPath string, given bool, workDir string) string {
	if given && envPath != "" {
		return envPath
	}
	return workDir + ":/bin:/usr/bin"
}

// below joins without cleaning: ".." behind a link is the kernel's to resolve.
func below(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

func executable(st unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0
}
