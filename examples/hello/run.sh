#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs the example: run.sh RKT BUILD-DIRECTORY. Needs root. Leaves nothing behind.
# The environment variable PORT is the port of the host, 8080 without it.
set -eu
if [ "$(id -u)" != 0 ]; then
	echo "run.sh: a pod needs root: sudo make run" >&2
	exit 1
fi
port=${PORT:-8080}
hello=$2/layout/rootfs/bin/hello image=$2/hello.aci
work=$(mktemp -d "$2/run.XXXXXX")
rkt=("$1" "--dir=$work/data" "--local-config=$work/etc" --insecure-options=image)
say() { printf '\n$ %s\n' "$*"; }
show() {
	say "rkt" "$@"
	"${rkt[@]}" "$@"
}
finish() {
	status=$?
	if [ -s "$work/uuid" ]; then
		"${rkt[@]}" stop --force --uuid-file="$work/uuid" >/dev/null 2>&1 || true
	fi
	wait || true
	"${rkt[@]}" gc --grace-period=0s --expire-prepared=0s >/dev/null || status=1
	"${rkt[@]}" image gc --grace-period=0s >/dev/null 2>&1 || status=1
	rm -rf "$work"
	exit $status
}
trap finish EXIT

say "rkt run --port=www:$port $image &"
"${rkt[@]}" run --uuid-file-save="$work/uuid" --port="www:$port" "$image" >"$work/out" 2>"$work/err" &
for ((i = 0; i < 300; i++)); do
	line=$(head -n 1 "$work/out") # what the app has printed
	if [ -n "$line" ] || ! kill -0 $! 2>/dev/null; then
		break
	fi
	sleep 0.1
done
cat "$work/err" >&2
printf '%s\n' "$line"
if [ -z "$line" ]; then
	echo "run.sh: the server did not start" >&2
	exit 1
fi
url=http://127.0.0.1:$port/
show list
say "hello -get $url"
"$hello" -get "$url"
show logs "$(cat "$work/uuid")"
show stop --uuid-file="$work/uuid"
show status --wait=10s --uuid-file="$work/uuid"
show gc --grace-period=0s
