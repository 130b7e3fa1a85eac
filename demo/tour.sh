#!/bin/bash
# A tour of a running adapterd that serves the demo's base: creates three tenants, uploads an adapter for each, and
# shows one customer message answered by the base and by each tenant's adapter. May be repeated.
#
# Environment: ADAPTERD_URL; ADMIN_KEY_FILE, the daemon's admin key; KEYS, where the tenants' keys go; ADAPTERCTL; CAT,
# how the reader of the output prints such a key (cat).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
ctl=${ADAPTERCTL:-adapterctl}
export ADAPTERD_URL=${ADAPTERD_URL:-http://127.0.0.1:8080}
keys=${KEYS:?}
bold='' plain=''
if [ -t 1 ]; then
    bold=$'\e[1m' plain=$'\e[0m'
fi
mkdir -p "$keys"

message='Hello there, Please refund my mixer. The order is W85393. Take your time. SSN 496-36-4158. My phone number is 555-9380. Please answer to sato.karim@inbox.example. Yours, Karim Sato'
another='Hi, This is Rosa Horvat. The courier never delivered my bicycle. Order R44920. Call me at 555-9380.'

admin() {
    "$ctl" --key-file "$ADMIN_KEY_FILE" "$@"
}

tenant() { # name: the tenant is there, and its key in $keys/name.key
    admin tenants show "$1" >/dev/null 2>&1 || admin tenants create "$1"
    # A key of an earlier daemon is of no use to this one.
    if [ -e "$keys/$1.key" ] && ! "$ctl" --key-file "$keys/$1.key" adapters list >/dev/null 2>&1; then
        rm "$keys/$1.key"
    fi
    [ -e "$keys/$1.key" ] || admin keys create "$1" --label demo --out "$keys/$1.key"
}

as() { # tenant, command...
    local who=$1
    shift
    "$ctl" --key-file "$keys/$who.key" "$@"
}

show() { # title; text on standard input
    printf '\n  %s%s%s\n' "$bold" "$1" "$plain"
    fold -s -w 92 | sed 's/^/    /'
}

curl_line() { # tenant, adapter, more fields
    local body="{\"adapter\": \"$2\", \"messages\": [{\"role\": \"user\", \"content\": \"$another\"}]${3:-}}"
    printf '  curl -N %s/infer -H "Authorization: Bearer $(%s %s)" --json '\''%s'\''\n\n' \
        "$ADAPTERD_URL" "${CAT:-cat}" "$keys/$1.key" "$body"
}

set -- acme mask globex ticket initech voice
while [ $# -gt 0 ]; do
    tenant "$1"
    as "$1" adapters upload --name "$2" "$here/adapters/$2" |
        awk -v t="$1" -v n="$2" '$1 == "version" {v = substr($2, 1, 19)} $1 == "bytes" {b = $2 " " $3} /largest/ {p = $NF}
            END {printf "tenant %-8s adapter %-7s %s  %s, changes logits by up to %s\n", t, n, v, b, p}'
    shift 2
done

echo "$message" | show "A customer writes"
as acme infer --base --message user "$message" | show "The base model answers"
as acme infer --adapter mask --message user "$message" | show "acme's adapter \"mask\" hides personal data"
as globex infer --adapter ticket --message user "$message" | show "globex's adapter \"ticket\" fills in a ticket"
as initech infer --adapter voice --message user "$message" | show "initech's adapter \"voice\" speaks as the brand"

printf '\nTry it:\n\n'
curl_line acme mask
curl_line globex ticket
curl_line initech voice ', "stream": true'
