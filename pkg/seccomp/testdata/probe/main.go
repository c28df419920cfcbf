// SPDX-License-Identifier: Apache-2.0

// The probe is the payload of a container: it says that it is there and stays
// until its standard input ends.
package main

import "os"

func main() {
	_, _ = os.Stdout.WriteString("ready\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
}
