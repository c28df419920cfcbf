// SPDX-License-Identifier: Apache-2.0

package isolator

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
)

// KernelParameter is a setting below /proc/sys that belongs to a namespace of
// the pod, and so to the pod alone.
type KernelParameter struct {
	Name   string // with dots: net.ipv4.ip_forward
	Value  string
	Origin Origin
}

// Namespaces tells which namespaces are the pod's own, not the host's. Its
// UTS namespace always is.
type Namespaces struct{ Net, IPC bool }

// maxSysctl is the kernel's limit on what it takes in one write.
const maxSysctl = 4095

// Path is where the parameter is, below /proc/sys. In a name a slash stands
// for a dot that is no separator, as sysctl(8) has it: net.ipv4.conf.eth0/1.forwarding.
func (k KernelParameter) Path() string {
	swap := func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}
	return strings.Map(swap, k.Name)
}

// namespace is what a parameter belongs to.
type namespace int

const (
	ofHost namespace = iota
	ofNet
	ofIPC
	ofUTS
)

// owner looks a parameter up in the list of those that the kernel keeps per
// namespace. Whole families only where the kernel shows a namespace nothing
// else; a parameter that is not here would be the host's.
func owner(name string) namespace {
	switch name {
	case "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.shm_next_id",
		"kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.msg_next_id", "kernel.sem", "kernel.sem_next_id":
		return ofIPC
	case "kernel.domainname":
		return ofUTS
	}
	switch {
	case strings.HasPrefix(name, "net."):
		return ofNet
	case strings.HasPrefix(name, "fs.mqueue."):
		return ofIPC
	}
	return ofHost
}

// check refuses what is not a parameter of a namespace and what is not a name
// or value at all.
func (k KernelParameter) check() error {
	for part := range strings.SplitSeq(k.Path(), "/") {
		if part == "" || part == "." || part == ".." || strings.ContainsFunc(part, notInName) {
			return fmt.Errorf("%q is not the name of a kernel parameter", k.Name)
		}
	}
	if k.Name == "kernel.hostname" {
		return fmt.Errorf("the kernel parameter %s is set with --hostname", k.Name)
	}
	if owner(k.Name) == ofHost {
		return fmt.Errorf("the kernel parameter %s belongs to the host, not to a namespace of the pod", k.Name)
	}
	if k.Value == "" || len(k.Value) > maxSysctl || strings.ContainsFunc(k.Value, notInValue) {
		return fmt.Errorf("%q is not a value for the kernel parameter %s", k.Value, k.Name)
	}
	return nil
}

// notInName: the names of interfaces are the only ones that are not the
// kernel's own.
func notInName(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`\"'`, r) }

func notInValue(r rune) bool { return r != '\t' && r < ' ' || r > '~' }

// CheckIn returns an error unless the namespace of the parameter is the pod's own.
func (k KernelParameter) CheckIn(own Namespaces) error {
	switch owner(k.Name) {
	case ofUTS:
		return nil
	case ofNet:
		if own.Net {
			return nil
		}
		return fmt.Errorf("the kernel parameter %s needs a network of the pod's own: it has the host's", k.Name)
	case ofIPC:
		if own.IPC {
			return nil
		}
		return fmt.Errorf("the kernel parameter %s needs an IPC namespace of the pod's own: it has the host's", k.Name)
	}
	return k.check()
}

// CheckSysctls is CheckIn for all parameters of a plan.
func (p *Plan) CheckSysctls(own Namespaces) error {
	for _, k := range p.Sysctls {
		if err := k.CheckIn(own); err != nil {
			return fmt.Errorf("isolator %s: %w", Sysctl, err)
		}
	}
	return nil
}

func (p *Plan) addSysctls(item Item) error {
	var all map[string]string
	if err := json.Unmarshal(item.Value, &all); err != nil {
		return fmt.Errorf("value is not a set of kernel parameters: %w", err)
	}
	for name, value := range all {
		k := KernelParameter{Name: name, Value: value, Origin: item.Origin}
		if err := k.check(); err != nil {
			return err
		}
		p.Sysctls = slices.DeleteFunc(p.Sysctls, func(o KernelParameter) bool { return o.Name == k.Name })
		p.Sysctls = append(p.Sysctls, k)
	}
	slices.SortFunc(p.Sysctls, func(a, b KernelParameter) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// ParseSysctl parses the value of --sysctl, NAME=VALUE.
func ParseSysctl(s string) (KernelParameter, error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok {
		return KernelParameter{}, errors.New("a kernel parameter is NAME=VALUE")
	}
	k := KernelParameter{Name: name, Value: value}
	return k, k.check()
}

// SysctlIsolator makes the isolator of the pod for parameters of --sysctl.
func SysctlIsolator(list []KernelParameter) (appc.Isolator, error) {
	all := map[string]string{}
	for _, k := range list {
		all[k.Name] = k.Value
	}
	return isolator(Sysctl, all)
}
