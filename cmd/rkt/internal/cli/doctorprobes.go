// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/networking/firewall"
	"github.com/rkt/rkt/v2/networking/netconf"
	"github.com/rkt/rkt/v2/pkg/config"
	"github.com/rkt/rkt/v2/pkg/doctor"
)

// probes are those about what other packages know.
func (d *Deps) probes() []doctor.Probe {
	return []doctor.Probe{
		{Name: "configuration", Run: d.probeConfig},
		{Name: "store", Run: d.probeStore},
		{Name: "networks", Run: d.probeNetworks},
		{Name: "firewall", Run: d.probeFirewall},
		{Name: "trusted keys", Run: d.probeKeys},
		{Name: "declared pods", Run: d.probeUnits},
	}
}

func (d *Deps) probeConfig(context.Context, *doctor.Host) doctor.Result {
	c, err := config.Load(d.configDirs())
	switch {
	case errors.Is(err, fs.ErrPermission):
		return doctor.Unseen(err)
	case err != nil:
		return problems(doctor.Fail, []string{err.Error()}, "correct the files: commands that need them fail")
	case len(c.Warnings) > 0:
		return problems(doctor.Warn, c.Warnings, "correct the files")
	}
	return doctor.Good("valid")
}

// probeStore compares the names of files and reads records; it opens no index,
// which could be repaired by that, and verifies no digest.
func (d *Deps) probeStore(_ context.Context, h *doctor.Host) doctor.Result {
	cas := filepath.Join(h.DataDir, "cas")
	records, err := filepath.Glob(filepath.Join(cas, "image", "sha512", "*", "*"))
	if err != nil {
		return doctor.Unseen(err)
	}
	if _, err := os.ReadDir(filepath.Join(cas, "image")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return doctor.Unseen(err)
	}
	var wrong []string
	for _, path := range records {
		if err := checkRecord(cas, path); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if moved, _ := filepath.Glob(filepath.Join(cas, "db", "broken-*")); len(moved) > 0 {
		wrong = append(wrong, fmt.Sprintf("%d index(es) moved aside", len(moved)))
	}
	if len(records) > 0 {
		if f, err := os.Open(filepath.Join(cas, "db", "ql.db")); err == nil {
			_ = f.Close()
		} else if errors.Is(err, fs.ErrPermission) {
			return doctor.Unseen(err)
		} else {
			wrong = append(wrong, "the index cannot be opened; it is made anew at the next use")
		}
	}
	if len(wrong) > 0 {
		return problems(doctor.Warn, wrong, `run "rkt image fsck", which also verifies all digests`)
	}
	return doctor.Good("%d image(s); digests are verified by rkt image fsck", len(records))
}

// checkRecord reads one record: it has to be JSON, and its manifest to be there.
func checkRecord(cas, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !json.Valid(data) {
		return fmt.Errorf("the record %s is damaged", filepath.Base(path))
	}
	manifest := filepath.Join(cas, "imageManifest", "sha512", filepath.Base(filepath.Dir(path)), filepath.Base(path))
	if _, err := os.Stat(manifest); err != nil {
		return fmt.Errorf("manifest of image %s: %w", filepath.Base(path), err)
	}
	return nil
}

func (d *Deps) probeNetworks(context.Context, *doctor.Host) doctor.Result {
	dirs := []netconf.Dir{{Path: "/etc/cni/net.d", Kind: netconf.CNI}}
	for _, dir := range d.configDirs().Rising() {
		dirs = append(dirs, netconf.Dir{Path: filepath.Join(dir, "net.d"), Kind: netconf.User})
	}
	set := netconf.Load(dirs)
	var wrong []string
	for _, b := range set.Broken {
		wrong = append(wrong, b.String())
	}
	if len(wrong) > 0 {
		return problems(doctor.Warn, wrong, "correct the files: pods that ask for these networks do not start")
	}
	for _, m := range set.Messages {
		wrong = append(wrong, m.Text)
	}
	if len(wrong) > 0 {
		return problems(doctor.Warn, wrong, "leave one network of each name")
	}
	return doctor.Good("configurations are valid")
}

// probeFirewall tries the firewall in a network namespace of its own, which
// goes with the thread: that of the host stays as it is.
func (d *Deps) probeFirewall(context.Context, *doctor.Host) doctor.Result {
	if d.EUID() != 0 {
		return doctor.Unseen(fmt.Errorf("only root can tell: %w", fs.ErrPermission))
	}
	type answer struct {
		name string
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- answer{err: fmt.Errorf("make a network namespace: %w", err)}
			return
		}
		b, err := firewall.Open()
		if err != nil {
			done <- answer{err: err}
			return
		}
		done <- answer{name: b.Name()}
	}()
	a := <-done
	if a.err != nil {
		return problems(doctor.Warn, []string{a.err.Error()}, "load the kernel module nf_tables or install the package iptables: pods have no way out of their networks, and ports cannot be forwarded")
	}
	return doctor.Good("%s", a.name)
}

func (d *Deps) probeKeys(_ context.Context, h *doctor.Host) doctor.Result {
	keys, err := d.keystore().List(h.Now)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return doctor.Unseen(err)
	case err != nil:
		return problems(doctor.Fail, []string{err.Error()}, "correct the directory trustedkeys: no signature can be verified")
	case len(keys) == 0:
		return doctor.Result{Verdict: doctor.Warn, Found: "none", Todo: `trust the keys of those whose images you run: "rkt trust --prefix=PREFIX"`}
	}
	return doctor.Good("%d", len(keys))
}

func (d *Deps) probeUnits(context.Context, *doctor.Host) doctor.Result {
	findings, n, err := d.verifyUnits(nil)
	if err != nil {
		return doctor.Unseen(err)
	}
	var wrong []string
	for _, f := range findings {
		if f.Verdict == findingFail {
			wrong = append(wrong, strings.TrimPrefix(fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text), ":"))
		}
	}
	if len(wrong) > 0 {
		return problems(doctor.Warn, wrong, `see "rkt unit verify": these pods do not start`)
	}
	return doctor.Good("%d, without mistakes", n)
}
