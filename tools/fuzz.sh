#!/bin/sh
# fuzz.sh <seconds> [part of a target's name]: builds every tests/fuzz/fuzz_*.c with libFuzzer, ASan and UBSan and runs
# each for so long. New inputs go to build/fuzz/corpus/<name>; the kept corpus, tests/fuzz/corpus/<name>, is read, never
# written. A crashing input is left in build/fuzz and its path printed. Last line: N passed, N failed. FUZZ_SEED=n makes
# libFuzzer draw the same inputs each time (as far as the time reaches); without it each run draws others.
#
# fuzz.sh keep <name>: merges what was found into the kept corpus: few inputs that reach every edge.
set -u
cd "$(dirname "$0")/.." || exit 2
command -v clang >/dev/null 2>&1 || sh tools/setup.sh ci || exit 2
mode=$1
only=${2:-}
targets=
for source in tests/fuzz/fuzz_*.c; do
    case $source in *"fuzz_"*"$only"*) targets="$targets build/fuzz/${source%.c}" ;; esac
done
mkdir -p build/fuzz
make --no-print-directory -s MODE=fuzz $targets >build/fuzz/build.log 2>&1 || { tail -30 build/fuzz/build.log; exit 1; }

# run <name>: one target for so long; its verdict is the first line of its file.
run() {
    options=
    [ -f "tests/fuzz/$1.dict" ] && options="-dict=tests/fuzz/$1.dict"
    if "build/fuzz/tests/fuzz/fuzz_$1" -max_total_time="$mode" -seed="${FUZZ_SEED:-0}" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1 $options \
        -artifact_prefix="build/fuzz/$1-" "build/fuzz/corpus/$1" "tests/fuzz/corpus/$1" >"build/fuzz/$1.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$1.log")
        echo "ok   fuzz $1: ${runs:-?} inputs in $mode s"
    else
        echo "FAIL fuzz $1; log build/fuzz/$1.log"
        tail -30 "build/fuzz/$1.log"
    fi >"build/fuzz/$1.verdict"
}

# verdicts <name...>: waits for those that run, prints and counts them.
passed=0
failed=0
verdicts() {
    wait
    for name in "$@"; do
        cat "build/fuzz/$name.verdict"
        case $(head -n 1 "build/fuzz/$name.verdict") in ok*) passed=$((passed + 1)) ;; *) failed=$((failed + 1)) ;; esac
    done
}

jobs=$(nproc 2>/dev/null || echo 1) # a core each, two at a time
running=
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    case $name in *"$only"*) ;; *) continue ;; esac
    mkdir -p "build/fuzz/corpus/$name" "tests/fuzz/corpus/$name"
    if [ "$mode" = keep ]; then
        python3 tools/corpus_min.py "build/fuzz/tests/fuzz/fuzz_$name" "tests/fuzz/corpus/$name" "build/fuzz/corpus/$name"
        continue
    fi
    run "$name" &
    if [ -n "$running" ] || [ "$jobs" -lt 2 ]; then
        verdicts $running "$name"
        running=
    else
        running=$name
    fi
done
[ "$mode" = keep ] && exit 0
verdicts $running
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
