#!/bin/bash
# Kills the daemon, and a process that uses the registry alone, KILLS times each in the middle of changes, and checks after each
# kill that nothing that was acknowledged is lost, torn or came back. In pieces of 500 kills with seeds of their own. And a tenth
# as often a daemon that trains: each kind of job must come to the same bits.
#
#   tests/torture.sh BUILD [KILLS] [SEED]       SEED: of the first piece (the time); a failure names the one to repeat
set -euo pipefail
cd "$(dirname "$0")/.."

build=$1 kills=${2:-10000} seed=${3:-$(date +%s)}
PIECE=500
PYTHON=${PYTHON:-/usr/bin/python3}
log=$build/torture.log
done=0 changes=0

while [ "$done" -lt "$kills" ]; do
    count=$((kills - done < PIECE ? kills - done : PIECE))
    if ! ADAPTERD_BUILD=$build ADAPTERD_KILLS=$count ADAPTERD_KILL_SEED=$seed PYTHONDONTWRITEBYTECODE=1 "$PYTHON" -m pytest -q -s \
        --color=no tests/e2e/operations/test_kill.py -k kills_in_the_middle >"$log" 2>&1; then
        tail -60 "$log"
        echo "daemon: FAILED after $done kills: ADAPTERD_KILLS=$count ADAPTERD_KILL_SEED=$seed"
        exit 1
    fi
    changes=$((changes + $(grep -oE '[0-9]+ acknowledged changes, nothing lost, torn' "$log" | tail -1 | grep -oE '^[0-9]+')))
    done=$((done + count)) seed=$((seed + 1))
    echo "daemon: $done kills, $changes acknowledged changes, 0 lost, torn or resurrected"
done

done=0 kills_of_jobs=$(((kills + 9) / 10)) ended=0
while [ "$done" -lt "$kills_of_jobs" ]; do
    count=$((kills_of_jobs - done < PIECE / 5 ? kills_of_jobs - done : PIECE / 5))
    if ! ADAPTERD_BUILD=$build ADAPTERD_JOB_KILLS=$count ADAPTERD_KILL_SEED=$seed PYTHONDONTWRITEBYTECODE=1 "$PYTHON" -m pytest -q -s \
        --color=no tests/e2e/training/test_same_bits.py -k killed_at_any_moment >"$log" 2>&1; then
        tail -60 "$log"
        echo "jobs: FAILED after $done kills: ADAPTERD_JOB_KILLS=$count ADAPTERD_KILL_SEED=$seed"
        exit 1
    fi
    ended=$((ended + $(grep -oE '[0-9]+ jobs ended' "$log" | grep -oE '^[0-9]+')))
    done=$((done + count)) seed=$((seed + 1))
    echo "jobs: $done kills, $ended jobs ended, 1 digest of each kind"
done

REGISTRY_KILLS=$kills REGISTRY_SEED=$seed "$build/tests/fault/registry_crash_test" >"$log" 2>&1 || {
    tail -40 "$log"
    echo "registry: FAILED: REGISTRY_KILLS=$kills REGISTRY_SEED=$seed"
    exit 1
}
echo "registry: $kills kills, 0 lost, torn or resurrected"
