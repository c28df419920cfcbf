// SPDX-License-Identifier: Apache-2.0

//go:build functional

package realpods

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rkt/rkt/v2/tests/harness"
)

// The server's programs lie where Debian puts them, below its version.
const (
	initAndRun = `set -e; PATH=$(echo /usr/lib/postgresql/*/bin):$PATH; cd /tmp
[ -s /data/pg/PG_VERSION ] || initdb -D /data/pg --auth=trust --no-sync >/dev/null
exec postgres -D /data/pg -c listen_addresses= -c unix_socket_directories=/tmp -c fsync=off`
	psql = "psql -h /tmp -d postgres -v ON_ERROR_STOP=1 -At -c "
)

// TestPostgres: the data of PostgreSQL on a host volume survives the pod.
func TestPostgres(t *testing.T) {
	eachFlavor(t, func(r *run) {
		image := r.h.Fetch("oci:" + harness.PostgresLayout(r))
		data := filepath.Join(r.TempDir(), "data")
		r.must(os.Mkdir(data, 0o777))
		r.must(os.Chmod(data, 0o777)) // whoever postgres is in the image
		start := func() pod {
			return r.start("database system is ready to accept connections", "--volume=data,kind=host,source="+data, image, "--name=db",
				"--mount=volume=data,target=/data", "--exec=/bin/sh", "--", "-c", initAndRun)
		}
		sql := func(p pod, statement string) string {
			return p.enter("db", "/bin/sh", "-c", psql+`"`+statement+`"`)
		}
		first := start()
		sql(first, "create table words (n int primary key, word text)")
		sql(first, "insert into words select n, 'word ' || n from generate_series(1, 1000) n")
		r.want("rows", sql(first, "select count(*), max(word) from words"), "1000|word 999")
		first.stop()
		r.h.OK("rm", first.uuid)
		second := start()
		r.want("rows after stop, rm and a new pod", sql(second, "select count(*), max(word) from words"), "1000|word 999")
		sql(second, "delete from words where n > 10")
		second.stop()
		third := start()
		r.want("rows in the third pod", sql(third, "select count(*) from words"), "10")
		third.stop()
		if first.uuid == second.uuid || second.uuid == third.uuid {
			r.Errorf("not three pods: %s %s %s", first.uuid, second.uuid, third.uuid)
		}
	})
}
