#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# setup-data-dir.sh [DATADIR]: the groups of rkt, and its data directory
# (default /var/lib/rkt), /etc/rkt and /run/rkt with their modes. Run it again at will.
set -eu

datadir=${1:-/var/lib/rkt}

if [ "$(id -u)" -ne 0 ]; then
	echo "This script must be run as root"
	exit 1
fi

have() { command -v "$1" >/dev/null 2>&1; }

# shipped KIND is the file rkt.conf of the packages, of the kind sysusers.d or tmpfiles.d.
shipped() {
	for dir in /usr/lib /usr/local/lib; do
		if [ -f "$dir/$1/rkt.conf" ]; then
			echo "$dir/$1/rkt.conf"
			return
		fi
	done
}

sysusers=$(shipped sysusers.d)
if [ -n "$sysusers" ] && have systemd-sysusers; then
	systemd-sysusers "$sysusers"
else
	groupadd --force --system rkt-admin
	groupadd --force --system rkt
fi

# The tmpfiles file knows the default path only.
tmpfiles=$(shipped tmpfiles.d)
if [ "$datadir" = /var/lib/rkt ] && [ -n "$tmpfiles" ] && have systemd-tmpfiles; then
	systemd-tmpfiles --create "$tmpfiles"
	exit 0
fi

# directory MODE GROUP PATH creates PATH, or mends it. Members of the group can
# replace some of these: what is changed is the directory we are in, after it
# proved to be the one that was meant and not where a link leads.
directory() {
	if [ ! -e "$3" ] && [ ! -L "$3" ]; then
		mkdir -m 0700 -- "$3"
	fi
	(
		cd -P -- "$3"
		if [ "$(pwd -P)" != "$3" ]; then
			echo "setup-data-dir.sh: $3 is a link to $(pwd -P): remove the link" >&2
			exit 1
		fi
		chgrp "$2" .
		chmod "$1" .
	)
}

mkdir -p -- "$datadir"
datadir=$(cd -P -- "$datadir" && pwd -P)

while read -r mode path; do
	directory "$mode" rkt "$datadir${path:+/$path}"
done <<END
2750
2750 tmp
2750 locks
2770 cas
2770 cas/blob
2770 cas/imageManifest
2770 cas/imagelocks
2770 cas/db
2770 cas/tmp
2700 cas/tree
2700 cas/treeinfo
2700 cas/unpack
2700 cas/treestorelocks
2750 pods
2750 pods/embryo
2750 pods/prepare
2750 pods/prepared
2750 pods/run
2750 pods/exited-garbage
2750 pods/garbage
END

directory 2775 rkt-admin /etc/rkt
directory 2775 rkt-admin /etc/rkt/pods.d
directory 0755 root /run/rkt
