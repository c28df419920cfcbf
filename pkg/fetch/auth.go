// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"encoding/base64"
	"net/http"
	"time"

	"github.com/rkt/rkt/v2/pkg/config"
)

// authorize adds the configured credentials for the request's host, over https
// only.
func (r *run) authorize(req *http.Request) {
	if req.URL.Scheme != "https" {
		// Credentials written into the URL itself do not go out in the clear either.
		req.URL.User = nil
		return
	}
	if r.Auth == nil {
		return
	}
	entry, ok := r.Auth.AuthFor(req.URL)
	if !ok {
		return
	}
	switch entry.Type {
	case config.AuthBasic:
		text := entry.Basic.User + ":" + entry.Basic.Password
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(text)))
	case config.AuthOAuth:
		req.Header.Set("Authorization", "Bearer "+entry.Token)
	case config.AuthAWS:
		signAWS(req, entry.AWS, time.Now())
	}
}
