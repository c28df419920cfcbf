// SPDX-License-Identifier: Apache-2.0

package appargs

import (
	"slices"
	"strings"

	"github.com/rkt/rkt/v2/pkg/appc"
	"github.com/rkt/rkt/v2/pkg/isolator"
)

// SysctlFlag is the value of --sysctl, which may be repeated: NAME=VALUE of
// kernel parameters of the pod's namespaces. Of one name the last value counts.
type SysctlFlag []isolator.KernelParameter

// Set adds a parameter, which must be one that belongs to a namespace.
func (f *SysctlFlag) Set(value string) error {
	k, err := isolator.ParseSysctl(value)
	if err != nil {
		return err
	}
	*f = append(slices.DeleteFunc(*f, func(o isolator.KernelParameter) bool { return o.Name == k.Name }), k)
	return nil
}

// String lists what was set.
func (f *SysctlFlag) String() string {
	var all []string
	for _, k := range *f {
		all = append(all, k.Name+"="+k.Value)
	}
	return strings.Join(all, ",")
}

// Type is how help shows the value.
func (f *SysctlFlag) Type() string { return "string" }

// Isolators are those of the pod that the flag makes.
func (f *SysctlFlag) Isolators() (appc.Isolators, error) {
	if len(*f) == 0 {
		return nil, nil
	}
	i, err := isolator.SysctlIsolator(*f)
	return appc.Isolators{i}, err
}
