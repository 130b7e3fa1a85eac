#!/bin/bash
# Makes sure that what building, running and testing need is there; installs Debian packages where it is not.
#
#   scripts/deps.sh SET...      SET: build, run, test, console, ci, fuzz, docker
#
# Asks for the things themselves (a program, a library that pkg-config finds, a Python module), not for packages, so
# that any system that has them will do. Quick, and changes nothing, when all is there. Installs only as root, with
# apt-get; otherwise it lists what is missing and ends with status 1.
set -euo pipefail

PYTHON=${PYTHON:-/usr/bin/python3}

# One need a line: set, kind, what, Debian package.
needs() {
    cat <<'END'
build command gcc gcc
build command make make
build command pkg-config pkg-config
build header stdio.h libc6-dev
build library libmicrohttpd libmicrohttpd-dev
build library jansson libjansson-dev
build library sqlite3 libsqlite3-dev
build library libpcre2-8 libpcre2-dev
build library libutf8proc libutf8proc-dev
build library nettle nettle-dev
build library openblas libopenblas-dev
build library libcurl libcurl4-openssl-dev
run command curl curl
test library cmocka libcmocka-dev
test python pytest python3-pytest
test python jsonschema python3-jsonschema
console command chromium chromium
console command chromedriver chromium-driver
console python selenium python3-selenium
ci command clang clang
ci command qemu-x86_64-static qemu-user-static
fuzz command clang clang
fuzz runtime fuzzer libclang-rt-dev
docker command docker docker.io
docker command dockerd docker.io
docker command debootstrap debootstrap
END
}

present() { # kind, what
    case $1 in
    command) command -v "$2" >/dev/null || [ -x "/usr/sbin/$2" ] ;;
    header) [ -e "/usr/include/$2" ] || [ -e /usr/include/*-linux-*/"$2" ] ;;
    library) command -v pkg-config >/dev/null && pkg-config --exists "$2" ;;
    runtime) command -v clang >/dev/null && [ -e "$(clang --print-runtime-dir)/libclang_rt.$2-$(uname -m).a" ] ;;
    python) [ -x "$PYTHON" ] && "$PYTHON" -c "import $2" 2>/dev/null ;;
    esac
}

missing() { # sets; prints packages
    local set kind what package
    needs | while read -r set kind what package; do
        case " $* " in *" $set "*) present "$kind" "$what" || echo "$package" ;; esac
    done | sort -u
}

packages=$(missing "$@" | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "missing: $packages(names of Debian packages; install what this system calls them)" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "missing packages; as root: apt-get install --no-install-recommends $packages" >&2
    exit 1
fi

echo "installing $packages"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if ! { apt-get update && apt-get install -y --no-install-recommends $packages; } >"$log" 2>&1; then
    tail -20 "$log" >&2
    echo "apt-get could not install: $packages" >&2
    exit 1
fi
left=$(missing "$@" | tr '\n' ' ')
if [ -n "$left" ]; then
    echo "installed, and still not found: $left" >&2
    exit 1
fi
