// SPDX-License-Identifier: Apache-2.0

// Package functional holds the tests that run the built rkt as root on real
// input: images of busybox, Debian and redis, Debian's docker-registry and an
// in-process one, umoci as the reference for unpacking. They are behind the
// build tag "functional"; "make functional" builds what they need and runs
// them. A test leaves no mount, process, cgroup or file.
package functional
