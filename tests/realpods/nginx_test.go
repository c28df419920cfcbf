// SPDX-License-Identifier: Apache-2.0

//go:build functional

package realpods

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// nginxConf serves the shared volume and hands /api/ to the backend.
const nginxConf = `user www-data;
worker_processes 1;
error_log stderr warn;
pid /run/nginx.pid;
events { worker_connections 64; }
http {
	access_log /dev/stdout;
	server {
		listen 127.0.0.1:80;
		location / { root /srv/shared; }
		location /api/ { proxy_pass http://127.0.0.1:9000; }
	}
}
`

// TestNginxAndBackend: Debian's nginx before a Go program, one pod, no network
// but loopback, an empty volume shared.
func TestNginxAndBackend(t *testing.T) {
	eachFlavor(t, func(r *run) {
		conf := filepath.Join(r.TempDir(), "nginx.conf")
		r.must(os.WriteFile(conf, []byte(nginxConf), 0o644))
		nginx := r.h.Fetch("oci:" + harness.NginxLayout(r))
		p := r.start("backend listens",
			"--volume=shared,kind=empty", "--volume=conf,kind=host,readOnly=true,source="+conf,
			nginx, "--name=web", "--mount=volume=shared,target=/srv/shared", "--mount=volume=conf,target=/etc/nginx/nginx.conf", "---",
			r.backend(), "--name=app", "--mount=volume=shared,target=/data", "--", "serve", "127.0.0.1:9000", "/data", "---",
		)
		r.want("page of the shared volume", p.enter("app", "/backend", "get", "http://127.0.0.1/page.txt"), "written by app")
		r.want("answer of the backend through nginx", p.enter("app", "/backend", "get", "http://127.0.0.1/api/hello?name=rkt"), "hello rkt from app")
		r.want("the file in nginx", p.enter("web", "/bin/cat", "/srv/shared/page.txt"), "written by app")
		workers := p.enter("web", "/bin/sh", "-c", `for p in /proc/[0-9]*; do read -r name <$p/comm; [ "$name" = nginx ] && grep -H ^Uid: $p/status; done; true`)
		if strings.Count(workers, "Uid:") != 2 || !strings.Contains(workers, "\t33\t") {
			r.Errorf("want a master and a worker of user 33 (www-data): %q", workers)
		}
		if _, err := os.Stat("/run/nginx.pid"); err == nil {
			r.Errorf("nginx wrote to the host's /run")
		}
		res := p.stop()
		if !strings.Contains(harness.AppOutput(res.Stdout, "app"), "backend stops") {
			r.Errorf("the backend did not stop in order: %s", res)
		}
		if !strings.Contains(harness.AppOutput(res.Stdout, "web"), "GET /page.txt") {
			r.Errorf("no access log of nginx in the output: %s", res)
		}
		r.h.OK("rm", p.uuid)
	})
}
