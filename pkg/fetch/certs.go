// SPDX-License-Identifier: Apache-2.0

package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/rkt/rkt/v2/pkg/distribution"
)

// SystemCertDirs are the directories that podman and docker look into.
func SystemCertDirs() []string { return []string{"/etc/containers/certs.d", "/etc/docker/certs.d"} }

// hostTransports has a transport for each host that is spoken to: what is
// configured for one, client certificates above all, is of no concern to those
// it redirects to.
type hostTransports struct {
	run      *run
	insecure string // host whose certificate is not checked, if any

	mu     sync.Mutex
	byHost map[string]*http.Transport
}

func (t *hostTransports) RoundTrip(req *http.Request) (*http.Response, error) {
	inner, err := t.transport(req.URL)
	if err != nil {
		return nil, err
	}
	return inner.RoundTrip(req)
}

func (t *hostTransports) transport(u *url.URL) (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if inner, ok := t.byHost[u.Host]; ok {
		return inner, nil
	}
	inner := t.run.newTransport()
	if t.insecure != "" && u.Host == t.insecure {
		inner.TLSClientConfig.InsecureSkipVerify = true
	}
	if u.Scheme == "https" {
		if err := t.run.addCertificates(inner.TLSClientConfig, u.Host); err != nil {
			return nil, fmt.Errorf("certificates for %s: %w", u.Host, err)
		}
	}
	if t.byHost == nil {
		t.byHost = map[string]*http.Transport{}
	}
	t.byHost[u.Host] = inner
	return inner, nil
}

// CloseIdleConnections closes those of all hosts.
func (t *hostTransports) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, inner := range t.byHost {
		inner.CloseIdleConnections()
	}
}

// addCertificates uses the first directory DIR/HOST[:PORT] there is: *.crt are
// authorities beside the system's, *.cert with *.key is shown to the server.
func (r *run) addCertificates(c *tls.Config, host string) error {
	for _, dir := range r.CertDirs {
		for _, name := range certNames(host) {
			path := filepath.Join(dir, name)
			entries, err := os.ReadDir(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			r.debug("using the certificates in %s", path)
			return addCertificatesOf(c, path, entries)
		}
	}
	return nil
}

// certNames are the names the directory of a host may have.
func certNames(host string) []string {
	names := []string{host}
	if host == distribution.Hub {
		names = append(names, "docker.io", "index.docker.io")
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" || !filepath.IsLocal(name) || strings.Contains(name, "/") })
}

func addCertificatesOf(c *tls.Config, dir string, entries []fs.DirEntry) error {
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		base := strings.TrimSuffix(e.Name(), filepath.Ext(e.Name()))
		var err error
		switch filepath.Ext(e.Name()) {
		case ".crt":
			err = addAuthority(c, path)
		case ".cert":
			if !has(base + ".key") {
				return fmt.Errorf("missing key %s.key for client certificate %s", base, path)
			}
			err = addClientCertificate(c, path, filepath.Join(dir, base+".key"))
		case ".key":
			if !has(base + ".cert") {
				return fmt.Errorf("missing client certificate %s.cert for key %s", base, path)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func addAuthority(c *tls.Config, path string) error {
	data, err := readCertificate(path)
	if err != nil {
		return err
	}
	if c.RootCAs == nil {
		if c.RootCAs, err = x509.SystemCertPool(); err != nil {
			return err
		}
	}
	if !c.RootCAs.AppendCertsFromPEM(data) {
		return fmt.Errorf("%s: no certificate found", path)
	}
	return nil
}

func addClientCertificate(c *tls.Config, cert, key string) error {
	certData, err := readCertificate(cert)
	if err != nil {
		return err
	}
	keyData, err := readCertificate(key)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certData, keyData)
	if err != nil {
		return fmt.Errorf("%s: %w", cert, err)
	}
	c.Certificates = append(c.Certificates, pair)
	return nil
}

func readCertificate(path string) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := readCapped(f, maxCertFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}
