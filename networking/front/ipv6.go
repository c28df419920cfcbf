// SPDX-License-Identifier: Apache-2.0

package front

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// hasIPv6 tells whether the host has IPv6 that a pod can use: the kernel has it,
// nobody disabled it, and an interface other than lo has an address that is
// global or unique local.
func hasIPv6(proc string) (bool, error) {
	for _, which := range []string{"all", "default"} {
		disabled, err := readSysctl(filepath.Join(proc, "sys/net/ipv6/conf", which, "disable_ipv6"))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if disabled == "1" {
			return false, nil
		}
	}
	table, err := os.ReadFile(filepath.Join(proc, "net/if_inet6"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return globalAddress(table), err
}

// globalAddress looks for an address that is neither of lo nor of a scope
// smaller than global. A line is address, index, length, scope, flags, name.
func globalAddress(table []byte) bool {
	for s := bufio.NewScanner(bytes.NewReader(table)); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) == 6 && f[3] == "00" && f[5] != "lo" {
			return true
		}
	}
	return false
}

// keepRouterAdvertisements is to be called before the host becomes an IPv6
// router, when it would forget the routes that routers told it: interfaces
// that listen to routers will do so as a router as well. sys is /proc/sys.
func keepRouterAdvertisements(sys string) error {
	conf := filepath.Join(sys, "net/ipv6/conf")
	if forwarding, err := readSysctl(filepath.Join(conf, "all/forwarding")); err != nil || forwarding == "1" {
		return err
	}
	interfaces, err := os.ReadDir(conf)
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range interfaces {
		switch i.Name() {
		case "all", "default", "lo":
			continue
		}
		// An interface may go while we look.
		if err := listenAsRouter(filepath.Join(conf, i.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keep router advertisements of %s: %w", i.Name(), err)
		}
	}
	return nil
}

func listenAsRouter(dir string) error {
	accept, err := readSysctl(filepath.Join(dir, "accept_ra"))
	if err != nil || accept != "1" {
		return err
	}
	forwarding, err := readSysctl(filepath.Join(dir, "forwarding"))
	if err != nil || forwarding != "0" {
		return err
	}
	return writeSysctl(filepath.Join(dir, "accept_ra"), "2")
}

func writeSysctl(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

func readSysctl(path string) (string, error) {
	value, err := os.ReadFile(path)
	return strings.TrimSpace(string(value)), err
}
