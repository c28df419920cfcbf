// SPDX-License-Identifier: Apache-2.0

// Package networking sets up and tears down the networks of a pod through CNI
// plugins, and keeps the records that later commands go by.
package networking
