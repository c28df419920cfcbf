// SPDX-License-Identifier: Apache-2.0

// Package poddir owns every file name in and around a pod directory, and the
// pod UUID that names it. stage0 and stage1 meet here and in package
// entrypoint, and nowhere else (design: "the contract between the stages").
//
// Source: spec pods.md 2, 5 and stage1.md 2.2, 4.2.
package poddir
