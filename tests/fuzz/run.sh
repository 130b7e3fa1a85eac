#!/bin/bash
# Runs targets that are linked to libFuzzer, one after the other, each for so many seconds, from the corpora that collect.py
# makes and from what was found before (BUILD/fuzz/found). An input that breaks one is left in
# BUILD/fuzz/broken; the status is 1 then.
#
#   tests/fuzz/run.sh BUILD SECONDS TARGET...
set -uo pipefail
cd "$(dirname "$0")/../.."

build=$1 seconds=$2
shift 2
fuzz=$build/fuzz
broken=0
mkdir -p "$fuzz/broken"
"${PYTHON:-/usr/bin/python3}" tests/fuzz/collect.py "$fuzz/corpus" || exit 1
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

dictionary() { # target
    case $1 in
    adapter_pattern | tokenizer_pattern) echo regex ;;
    adapter_config) echo adapter ;;
    model_config) echo model ;;
    chat_config) echo json ;;
    grammar) echo schema ;;
    *) echo "$1" ;;
    esac
}

for target; do
    log=$fuzz/$target.log words=tests/fuzz/dictionaries/$(dictionary "$target").dict
    mkdir -p "$fuzz/found/$target" "$fuzz/corpus/$target"
    "$build/tests/fuzz/${target}_fuzz" "$fuzz/found/$target" "$fuzz/corpus/$target" -max_total_time="$seconds" -max_len=65536 \
        -timeout=30 -rss_limit_mb=4096 -print_final_stats=1 -artifact_prefix="$fuzz/broken/$target-" \
        $([ -e "$words" ] && echo "-dict=$words") >"$log" 2>&1
    status=$?
    runs=$(grep -oE 'number_of_executed_units: [0-9]+' "$log" | grep -oE '[0-9]+')
    edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -1 | grep -oE '[0-9]+')
    printf '%-18s %10s executions  %6s edges  %s\n' "$target" "${runs:-?}" "${edges:-?}" "$([ $status = 0 ] || echo BROKEN)"
    if [ $status != 0 ]; then
        broken=1
        grep -vE '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|INITED|RELOAD)' "$log" | tail -60 | sed 's/^/    /'
    fi
done
exit $broken
