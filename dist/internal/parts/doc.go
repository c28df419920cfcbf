// SPDX-License-Identifier: Apache-2.0

// Package parts tells what programs and stage1 images are made of that is not
// rkt's own: Go modules, read from the programs themselves, and Debian
// packages, read from the image. What it says is what is shipped, not what a
// list in the sources claims.
package parts
