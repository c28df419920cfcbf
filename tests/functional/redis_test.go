// SPDX-License-Identifier: Apache-2.0

//go:build functional

package functional

import (
	"bufio"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rkt/rkt/v2/tests/harness"
)

// TestRedis runs Debian's redis-server under fly, talks to it and stops it.
func TestRedis(t *testing.T) {
	h := overHTTP(newHost(t))
	image := harness.SkopeoPush(t, harness.RedisLayout(t), harness.DockerRegistry(t), "redis")
	addr := harness.FreeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "uuid")
	p := h.Start("run", "--uuid-file-save="+file, "--net=host", image, "--", "--bind", "127.0.0.1", "--port", port, "--daemonize", "no")
	harness.WaitTCP(t, addr)
	for range 3 {
		if got := ping(t, addr); got != "+PONG" {
			t.Errorf("PING answered %q", got)
		}
	}
	h.OK("stop", "--uuid-file="+file)
	if r := p.Wait(); r.Status != 0 {
		t.Errorf("redis stopped by rkt stop: %s", r)
	}
	if _, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		t.Errorf("somebody still listens on %s", addr)
	}
	h.OK("status", "--wait=30s", "--uuid-file="+file)
	h.OK("rm", "--uuid-file="+file)
}

func ping(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(c, "PING\r\n"); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}
