// SPDX-License-Identifier: Apache-2.0

// Command client is an app that writes to the sockets of the journal.
package main

import (
	"fmt"
	"net"
	"os"
)

func main() {
	for _, m := range []struct{ socket, text string }{
		{"/dev/log", "<13>app: to dev-log"},
		{"/run/systemd/journal/socket", "MESSAGE=to the native socket\nPRIORITY=5\n"},
	} {
		c, err := net.Dial("unixgram", m.socket)
		if err == nil {
			_, err = c.Write([]byte(m.text))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}
