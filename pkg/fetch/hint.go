// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"crypto/tls"
	"errors"
	"net/http"

	"github.com/rkt/rkt/v2/pkg/hint"
)

// hint adds to an error of the registry what the user can do about it.
func (g *registryConn) hint(err error) error {
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return hint.With(err, "add the certificate of the registry's authority to those of the system, "+
			"or accept any with --insecure-options=tls")
	case !isDenied(err):
		return err
	case g.scheme == "http":
		return hint.With(err, "let %s speak https: credentials are not sent in the clear", g.host)
	case g.anonymous:
		return hint.With(err, "if the image exists, give credentials for %s with a configuration file of kind dockerAuth "+
			"or with docker login; none were found", g.host)
	}
	return hint.With(err, "check the credentials for %s: what was found gives no access to %s", g.host, g.repo)
}

func isDenied(err error) bool {
	var code *codeError
	return errors.Is(err, errTokenRefused) ||
		errors.As(err, &code) && (code.Code == http.StatusUnauthorized || code.Code == http.StatusForbidden)
}
