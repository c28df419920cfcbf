// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"context"
	"io"
	"net"
	"net/http"
)

// ConnectTo is a proxy that knows the method CONNECT alone (RFC 9110 9.3.6) and
// leads every connection to one address, whatever host it is for.
func ConnectTo(address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodConnect {
			http.Error(w, "nothing is in the clear here", http.StatusForbidden)
			return
		}
		to, err := (&net.Dialer{}).DialContext(context.WithoutCancel(req.Context()), "tcp", address)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		from, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			_ = to.Close()
			return
		}
		// Not before: what the client sends at once would be read by the server.
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() {
			_, _ = io.Copy(to, from)
			_ = to.Close()
		}()
		_, _ = io.Copy(from, to)
		_ = from.Close()
	})
}
