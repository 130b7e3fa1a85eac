#!/bin/bash
# Builds the image and uses it as its users do: demo, upload, infer, stop, start again on the same volume, a model of
# one's own; with a read-only root, no capabilities and no root user.
#
# With a Docker engine at hand it is used as it is. Without one, as root on Debian, an engine of its own is started
# (docker.io, vfs storage, no networks) with a base image from debootstrap, in a temporary directory that is removed.
# BASE_IMAGE names another base image, KEEP=1 keeps the engine's directory for a next run with WORK=that directory.
set -euo pipefail
cd "$(dirname "$0")/.."

image=adapterd-test-$$ volume=adapterd-test-$$ name=adapterd-test-$$
port=${DOCKER_TEST_PORT:-18080}
url=http://127.0.0.1:$port
work= engine=
base=${BASE_IMAGE:-debian:12-slim}
build_options=() run_options=(-p "127.0.0.1:$port:8080")

say() { echo "docker-test: $*"; }
fail() {
    say "$*" >&2
    docker logs "$name" 2>&1 | tail -20 >&2 || true
    exit 1
}

cleanup() {
    docker rm -fv "$name" >/dev/null 2>&1
    docker volume rm "$volume" >/dev/null 2>&1
    docker rmi "$image" >/dev/null 2>&1
    if [ -n "$engine" ]; then
        kill "$engine" && wait "$engine" 2>/dev/null
        umount "$work"/exec/netns/* 2>/dev/null
        if [ -n "${KEEP:-}" ]; then say "kept $work"; else rm -rf "$work"; fi
    fi
}
trap 'set +e; cleanup' EXIT
trap 'exit 1' INT TERM

start_engine() {
    [ "$(id -u)" = 0 ] || { say "no Docker engine answers, and only root can start one" >&2; exit 1; }
    scripts/deps.sh docker
    work=${WORK:-$(mktemp -d /var/tmp/adapterd-docker.XXXXXX)}
    unset DOCKER_CONTEXT
    export DOCKER_HOST=unix://$work/socket DOCKER_BUILDKIT=0
    say "starting an engine of our own in $work"
    dockerd --storage-driver vfs --iptables=false --bridge=none -H "$DOCKER_HOST" --data-root "$work/data" \
        --exec-root "$work/exec" --pidfile "$work/pid" >"$work/log" 2>&1 &
    engine=$!
    for _ in $(seq 150); do
        docker version >/dev/null 2>&1 && break
        kill -0 "$engine" 2>/dev/null || { tail -20 "$work/log" >&2; engine=; say "dockerd ended" >&2; exit 1; }
        sleep 0.2
    done
    if ! docker image inspect "$base" >/dev/null 2>&1; then
        say "making $base with debootstrap"
        debootstrap --variant=minbase bookworm "$work/root" http://deb.debian.org/debian >"$work/debootstrap.log"
        tar -C "$work/root" -c . | docker import - "$base" >/dev/null
        rm -rf "$work/root"
    fi
    build_options=(--network host)
    run_options=(--network host -e "ADAPTERD_LISTEN=127.0.0.1:$port" -e "ADAPTERD_URL=$url")
}

start() { # what lies at /data (empty: a volume of the container's own), more options
    local data=()
    [ -z "$1" ] || data=(-v "$1:/data")
    shift
    docker run -d --name "$name" --read-only --cap-drop ALL --security-opt no-new-privileges --health-interval 1s \
        "${run_options[@]}" "${data[@]}" "$@" "$image" >/dev/null
    local state
    for _ in $(seq 120); do
        state=$(docker inspect -f '{{.State.Status}} {{.State.Health.Status}}' "$name")
        [ "$state" = "running healthy" ] && return
        [ "${state% *}" = running ] || fail "the container ended: $state"
        sleep 0.5
    done
    fail "not healthy in 60 s: $state"
}

stop() {
    local begin=$SECONDS
    docker stop -t 40 "$name" >/dev/null
    [ $((SECONDS - begin)) -lt 20 ] || fail "stopping took $((SECONDS - begin)) s"
    local status
    status=$(docker inspect -f '{{.State.ExitCode}}' "$name")
    [ "$status" = 0 ] || fail "exit status $status after SIGTERM"
    docker rm -v "$name" >/dev/null
}

ctl() { docker exec "$name" adapterctl --key-file "$@"; }

masked() { # over HTTP, from outside
    local key
    key=$(docker exec "$name" cat /data/demo/acme.key)
    curl -sS --fail-with-body "$url/infer" -H "Authorization: Bearer $key" --json '{"adapter": "mask", "messages":
        [{"role": "user", "content": "Hi, This is Rosa Horvat. The courier never delivered my bicycle. Order R44920. Call me at 555-9380."}]}'
}

expect() { # what, text, pattern
    case $2 in *"$3"*) say "$1: good" ;; *) fail "$1: expected \"$3\" in: $2" ;; esac
}

scripts/deps.sh run
docker version >/dev/null 2>&1 || start_engine
say "building the image on $base"
docker build "${build_options[@]}" --build-arg "BASE_IMAGE=$base" -t "$image" . >"${work:-/tmp}/docker-build.log" 2>&1 ||
    { tail -40 "${work:-/tmp}/docker-build.log" >&2; fail "docker build failed"; }

start "$volume"
expect "not root" "$(docker exec "$name" id -u)" 10001
expect "the root file system is read-only" "$(docker exec "$name" sh -c 'echo x 2>&1 > /x' 2>&1 || true)" "Read-only"
expect "the demo uploads and infers" "$(docker exec "$name" adapterd-demo)" "[PHONE]"
before=$(masked)
expect "HTTP from outside" "$before" '"finish_reason":"stop"'
stop
say "stopped by SIGTERM with status 0"

start "$volume"
text() { sed 's/.*"text":"\([^"]*\)".*/\1/'; }
expect "after a restart on the same volume" "$(masked | text)" "$(text <<<"$before")"
expect "its adapters" "$(ctl /data/demo/globex.key adapters list)" "ticket"
stop

start "" -v "$PWD/tests/fixtures/models/llama:/model:ro" -e ADAPTERD_MODEL=/model
expect "a model of one's own" "$(docker exec "$name" adapterctl status)" "llama"
stop
say "passed"
