// SPDX-License-Identifier: Apache-2.0

package mds

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/rkt/rkt/v2/pkg/atomicfile"
)

// DefaultPort is the TCP port that pods find the service on.
const DefaultPort = 18112

// Endpoint is how the service answers pods.
type Endpoint struct {
	Port uint16
	TLS  bool
}

// tlsWord follows the port in the record of an endpoint with TLS.
const tlsWord = " tls"

// String is the record: the port, and whether it speaks TLS.
func (e Endpoint) String() string {
	s := strconv.Itoa(int(e.Port))
	if e.TLS {
		s += tlsWord
	}
	return s
}

// ParseEndpoint reads what String wrote.
func ParseEndpoint(s string) (Endpoint, error) {
	digits, tls := strings.CutSuffix(s, tlsWord)
	port, err := strconv.ParseUint(digits, 10, 16)
	e := Endpoint{Port: uint16(port), TLS: tls}
	if err != nil || port == 0 || e.String() != s {
		return Endpoint{}, fmt.Errorf("no port of a metadata service: %q", s)
	}
	return e, nil
}

// URL is AC_METADATA_URL of a pod that reaches the service at host.
func (e Endpoint) URL(host netip.Addr, token string) string {
	scheme := "http"
	if e.TLS {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s/%s", scheme, netip.AddrPortFrom(host, e.Port), token)
}

// Record makes the endpoint known to those who start pods.
func (d Dir) Record(e Endpoint) error {
	return atomicfile.WriteNoSync(d.endpoint(), []byte(e.String()+"\n"), 0o644)
}

// Endpoint is what the service recorded last, by default DefaultPort.
func (d Dir) Endpoint() (Endpoint, error) {
	f, err := os.Open(d.endpoint())
	if errors.Is(err, fs.ErrNotExist) {
		return Endpoint{Port: DefaultPort}, nil
	}
	if err != nil {
		return Endpoint{}, err
	}
	defer func() { _ = f.Close() }()
	const most = 64
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return Endpoint{}, err
	}
	e, err := ParseEndpoint(strings.TrimSuffix(string(data), "\n"))
	if err != nil {
		return Endpoint{}, fmt.Errorf("%s: %w", d.endpoint(), err)
	}
	return e, nil
}
