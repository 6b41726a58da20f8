#!/bin/sh
# fuzz.sh <seconds> [part of a target's name]: builds every tests/fuzz/fuzz_*.c with libFuzzer, ASan and UBSan and runs
# each for so long. New inputs go to build/fuzz/corpus/<name>; the kept corpus, tests/fuzz/corpus/<name>, is read, never
# written. A crashing input is left in build/fuzz and its path printed. Last line: N passed, N failed.
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

passed=0
failed=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    name=${name#fuzz_}
    case $name in *"$only"*) ;; *) continue ;; esac
    program=build/fuzz/tests/fuzz/fuzz_$name
    kept=tests/fuzz/corpus/$name
    found=build/fuzz/corpus/$name
    mkdir -p "$found" "$kept"
    if [ "$mode" = keep ]; then
        python3 tools/corpus_min.py "$program" "$kept" "$found"
        continue
    fi
    options=
    [ -f "tests/fuzz/$name.dict" ] && options="-dict=tests/fuzz/$name.dict"
    if "$program" -max_total_time="$mode" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 $options \
        -artifact_prefix="build/fuzz/$name-" "$found" "$kept" >"build/fuzz/$name.log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "build/fuzz/$name.log")
        echo "ok   fuzz $name: ${runs:-?} inputs in $mode s"
        passed=$((passed + 1))
    else
        echo "FAIL fuzz $name; log build/fuzz/$name.log"
        tail -30 "build/fuzz/$name.log"
        failed=$((failed + 1))
    fi
done
[ "$mode" = keep ] || echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
