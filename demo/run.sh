#!/bin/bash
# Starts adapterd with the demo's base model, takes the tour, and serves until Ctrl-C.
#
# Environment: BUILD, the build directory (build); DEMO_LISTEN, the address (127.0.0.1:8080).
# The data are made anew in BUILD/demo at each start.
set -euo pipefail
cd "$(dirname "$0")/.."

build=${BUILD:-build}
listen=${DEMO_LISTEN:-127.0.0.1:8080}
data=$build/demo
daemon=

fail() {
    echo "demo: $*" >&2
    exit 1
}

stop() {
    trap '' INT TERM
    if [ -n "$daemon" ] && kill -TERM "$daemon" 2>/dev/null; then
        wait "$daemon" && echo "adapterd stopped." || echo "adapterd ended with status $?; its log is $data/log" >&2
    fi
}

if (exec 3<>"/dev/tcp/${listen%:*}/${listen##*:}") 2>/dev/null; then
    fail "$listen is in use, perhaps by another adapterd. Stop that one, or take another port:" \
        "DEMO_LISTEN=127.0.0.1:8081 make run"
fi

rm -rf "$data"
mkdir -p "$data"
for name in $(compgen -e ADAPTERD_); do unset "$name"; done # the demo's settings are those of this script

trap stop EXIT
trap 'exit 0' INT TERM
set -m # a process group of its own: Ctrl-C reaches this script, which then stops the daemon
"$build/adapterd" --model demo/base --data "$data/data" --listen "$listen" >"$data/address" 2>"$data/log" </dev/null &
daemon=$!
set +m

for _ in $(seq 600); do
    grep -q '^listening on ' "$data/address" && break
    kill -0 "$daemon" 2>/dev/null || { sed 's/^/  /' "$data/log" >&2; daemon=; fail "adapterd did not start"; }
    sleep 0.1
done
url=$(sed -n 's/^listening on //p' "$data/address")
[ -n "$url" ] || fail "adapterd was not ready in 60 s; its log is $data/log"

echo "adapterd serves demo/base on $url"
ADAPTERD_URL=$url ADMIN_KEY_FILE=$data/data/admin.key KEYS=$data ADAPTERCTL=$build/adapterctl demo/tour.sh
printf 'Train a fourth behaviour, in about half a minute:\n\n  ADAPTERD_URL=%s %s/adapterctl --key-file %s/acme.key train demo/train/train.jsonl --valid demo/train/valid.jsonl \\\n    --name next-step --rank 8 --epochs 5 --learning-rate 4e-3\n\n' "$url" "$build" "$data"
echo "The console is at $url/console."
echo "The admin key is in $data/data/admin.key, the log in $data/log. Ctrl-C stops."

wait "$daemon" || true
[ -z "$daemon" ] || fail "adapterd ended by itself; its log is $data/log"
