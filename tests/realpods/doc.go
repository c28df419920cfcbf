// SPDX-License-Identifier: Apache-2.0

// Package realpods holds the tests that run what people run: pods of Debian's
// nginx and PostgreSQL, and of several apps of which one fails. The images are
// made by debootstrap once and kept in the cache of the harness. They are
// behind the build tag "functional".
package realpods
