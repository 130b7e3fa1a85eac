#!/bin/bash
# Runs every C test of a build directory, each under a time limit, then the end-to-end tests against its daemon.
#
#   tests/run.sh BUILD TEST...      TEST: a cmocka program under BUILD
#
# The last line is "N passed, N failed" (and ", N skipped"): cmocka tests and pytest tests together. The status is 0
# only when nothing failed. A program that crashes, hangs, or reports nothing counts as one failure.
set -uo pipefail
cd "$(dirname "$0")/.."

build=$1
shift
SCALE=${ADAPTERD_TIMEOUT_SCALE:-1}
PYTHON=${PYTHON:-/usr/bin/python3}
PROGRAM_SECONDS=$((300 * SCALE))
PYTEST_SECONDS=$((1500 * SCALE))
passed=0 failed=0 skipped=0
log=$build/test.log

# The sum of the numbers before `test(s)` in lines that begin with [  $1  ].
cmocka_count() {
    awk -v word="$1" '$0 ~ "^\\[ +" word " +\\]" && match($0, /[0-9]+ test\(s\)/) {
        sum += substr($0, RSTART, RLENGTH) + 0 } END { print sum + 0 }' "$log"
}

pytest_count() { # words...
    local sum=0 word n
    for word; do
        n=$(grep -E ' in [0-9.]+s' "$log" | tail -1 | grep -oE "[0-9]+ $word\\b" | grep -oE '[0-9]+')
        sum=$((sum + ${n:-0}))
    done
    echo "$sum"
}

# Counts of one run into the sums; a bad status without a counted failure is one.
add() { # name, status, passed, failed, skipped, seconds
    local bad=$4
    if [ "$2" != 0 ] && [ "$bad" = 0 ]; then
        bad=1
    fi
    if [ "$2" = 0 ] && [ $(($3 + $5)) = 0 ]; then
        bad=1
        echo "$1 reported no test"
    fi
    passed=$((passed + $3)) failed=$((failed + bad)) skipped=$((skipped + $5))
    printf '%-46s %4d passed, %d failed, %d skipped  %3d s\n' "$1" "$3" "$bad" "$5" "$6"
    if [ "$bad" != 0 ]; then
        [ "$2" = 124 ] && echo "$1 ran into its time limit"
        tail -60 "$log" | sed 's/^/    /'
    fi
}

for test; do
    begin=$SECONDS
    timeout -k 5 "$PROGRAM_SECONDS" "$test" >"$log" 2>&1 </dev/null
    status=$?
    # Skipped tests appear in a list of their own; why they were skipped stands in the log.
    add "${test#"$build"/}" $status "$(cmocka_count PASSED)" "$(cmocka_count FAILED)" "$(cmocka_count SKIPPED)" \
        $((SECONDS - begin))
    grep -hE '^skipped: ' "$log" | sort -u
done

if [ -z "${NO_E2E:-}" ]; then
    begin=$SECONDS
    ADAPTERD_BUILD=$build PYTHONDONTWRITEBYTECODE=1 timeout -k 5 "$PYTEST_SECONDS" \
        "$PYTHON" -m pytest --tb=short -rs --color=no tests/e2e >"$log" 2>&1 </dev/null
    status=$?
    add tests/e2e $status "$(pytest_count passed)" "$(pytest_count failed error errors)" \
        "$(pytest_count skipped)" $((SECONDS - begin))
    grep -hE '^SKIPPED' "$log"
fi

echo "$passed passed, $failed failed$([ $skipped = 0 ] || echo ", $skipped skipped")"
[ $failed = 0 ]
