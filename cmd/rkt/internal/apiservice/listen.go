// SPDX-License-Identifier: Apache-2.0

package apiservice

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rkt/rkt/v2/pkg/hint"
)

// DefaultAddress is where the service listens unless told otherwise.
const DefaultAddress = "localhost:15441"

const unixPrefix = "unix://"

// LoadTLS reads certificates. Without clientCA clients need none; all empty is
// no TLS.
func LoadTLS(cert, key, clientCA string) (*tls.Config, error) {
	if cert == "" && key == "" && clientCA == "" {
		return nil, nil //nolint:nilnil // clear text
	}
	if cert == "" || key == "" {
		return nil, hint.With(errors.New("TLS needs a certificate and its key"), "give both --tls-cert and --tls-key")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("cannot load TLS certificate %q: %w", cert, err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(clientCA)
	if err != nil {
		return nil, fmt.Errorf("cannot load CA of clients: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("cannot load CA of clients: no certificate in %q", clientCA)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c, nil
}

// Listen opens the socket at addr, HOST:PORT or unix:///PATH.
func Listen(ctx context.Context, addr string, c *tls.Config) (net.Listener, error) {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return listenUnix(ctx, path)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, hint.With(fmt.Errorf("invalid address %q: %w", addr, err), "give HOST:PORT or unix:///PATH")
	}
	if host == "" && !asksClients(c) {
		return nil, notLoopback(addr)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	// Not the name is asked but what it has led to.
	if checkListener(l, c) != nil {
		_ = l.Close()
		return nil, notLoopback(addr)
	}
	return l, nil
}

func asksClients(c *tls.Config) bool {
	return c != nil && c.ClientAuth == tls.RequireAndVerifyClientCert
}

func notLoopback(addr string) error {
	return hint.With(fmt.Errorf("refusing to listen on %s: others than this host could read everything about its pods", addr),
		"listen on a loopback address or a unix socket, or have clients show certificates: --tls-cert, --tls-key and --tls-client-ca")
}

func checkListener(l net.Listener, c *tls.Config) error {
	if l.Addr().Network() == "unix" || asksClients(c) {
		return nil
	}
	a, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil || !a.Addr().Unmap().IsLoopback() {
		return notLoopback(l.Addr().String())
	}
	return nil
}

// listenUnix opens a socket of mode 0660 that belongs to group rkt, if there is
// one. What a service that was killed has left is replaced.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("path of socket %q is not absolute", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	old := unix.Umask(0o177) // nobody else until the group is right
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, err
	}
	if err := shareSocket(path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func shareSocket(path string) error {
	if g, err := user.LookupGroup("rkt"); err == nil && os.Geteuid() == 0 {
		gid, err := strconv.Atoi(g.Gid)
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, 0o660) //nolint:gosec // for the group
}

// removeStale removes a socket on which nobody listens.
func removeStale(ctx context.Context, path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if st.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s exists and is no socket", path)
	}
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("another service listens on %s", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// Activated takes over the sockets that systemd has passed (sd_listen_fds(3))
// and unsets the variables. None is no error.
func Activated(c *tls.Config) ([]net.Listener, error) {
	pid, n := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	count, err := strconv.Atoi(n)
	if err != nil || count < 1 || count > 64 || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	var listeners []net.Listener
	for fd := 3; fd < 3+count; fd++ {
		unix.CloseOnExec(fd)
		f := os.NewFile(uintptr(fd), "socket "+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		_ = f.Close()
		if err == nil {
			listeners = append(listeners, l)
			err = checkListener(l, c)
		}
		if err != nil {
			for _, l := range listeners {
				_ = l.Close()
			}
			return nil, fmt.Errorf("socket %d that systemd has passed: %w", fd, err)
		}
	}
	return listeners, nil
}
