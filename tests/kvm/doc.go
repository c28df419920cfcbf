// SPDX-License-Identifier: Apache-2.0

// Package kvm runs pods under stage1-kvm (build tag kvm, "make kvm"). Where the
// machines are emulated in software a start takes seconds, so the tests start
// few pods and look at many things in each.
package kvm
