// SPDX-License-Identifier: Apache-2.0

package appc

import (
	"fmt"
	"runtime"
	"slices"
)

// platform is an operating system with the architectures known for it.
type platform struct {
	os   string
	arch []string
}

// knownPlatforms lists what the labels of a valid image may say.
func knownPlatforms() []platform {
	return []platform{
		{"linux", []string{"amd64", "i386", "aarch64", "aarch64_be", "armv6l", "armv7l", "armv7b", "ppc64", "ppc64le", "s390x"}},
		{"freebsd", []string{"amd64", "i386", "arm"}},
		{"darwin", []string{"x86_64", "i386"}},
	}
}

// runnablePlatforms lists what rkt can be asked to run.
func runnablePlatforms() []platform {
	return []platform{
		{"linux", []string{"amd64", "i386", "aarch64", "aarch64_be", "armv6l", "armv7l", "armv7b", "ppc64le"}},
	}
}

// IsValidOSArch checks a pair of "os" and "arch" labels against the values
// that the specification knows.
func IsValidOSArch(os, arch string) error { return checkPlatform(knownPlatforms(), os, arch) }

// RunnableOSArch checks a pair of "os" and "arch" labels against the values
// that rkt can run.
func RunnableOSArch(os, arch string) error { return checkPlatform(runnablePlatforms(), os, arch) }

func checkPlatform(platforms []platform, os, arch string) error {
	p, err := findOS(platforms, os)
	if err != nil {
		return err
	}
	if !slices.Contains(p.arch, arch) {
		return fmt.Errorf("bad arch %q for %s (must be one of: %v)", arch, os, p.arch)
	}
	return nil
}

func validOS(os string) error {
	_, err := findOS(knownPlatforms(), os)
	return err
}

func findOS(platforms []platform, os string) (platform, error) {
	names := make([]string, 0, len(platforms))
	for _, p := range platforms {
		if p.os == os {
			return p, nil
		}
		names = append(names, p.os)
	}
	return platform{}, fmt.Errorf("bad os %q (must be one of: %v)", os, names)
}

// HostLabels returns the values of the labels "os" and "arch" of this machine.
func HostLabels() (os, arch string) { return OSArch(runtime.GOOS, runtime.GOARCH) }

// OSArch turns the names Go has for a platform into those of the labels. Names
// it does not know are returned as they are.
func OSArch(goos, goarch string) (os, arch string) {
	switch {
	case goarch == "386":
		return goos, "i386"
	case goos == "darwin" && goarch == "amd64":
		return goos, "x86_64"
	case goos != "linux":
		return goos, goarch
	case goarch == "arm64":
		return goos, "aarch64"
	case goarch == "arm64be":
		return goos, "aarch64_be"
	case goarch == "arm":
		return goos, "armv7l"
	case goarch == "armbe":
		return goos, "armv7b"
	}
	return goos, goarch
}
