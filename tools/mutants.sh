#!/bin/sh
# Shows that the tests notice: each patch of tests/mutants/ breaks one promise of the engine, or of the broker above it, in one line. It is applied to a
# scratch copy, the simulation is built and run; a mutant that passes everything is a hole in the tests.
#
#   tools/mutants.sh [part of a name]      the last line is "N passed, N failed"; a mutant that was caught has passed
set -u
cd "$(dirname "$0")/.." || exit 2
part=${1:-}
work=$(mktemp -d "${TMPDIR:-/tmp}/millrace-mutants.XXXXXX") || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
tar cf - --exclude=./build --exclude=./.git . | tar xf - -C "$work"
mkdir -p "$work/build"
if [ -d build/release ]; then # objects of the same sources: only what a mutant touches is compiled again
    cp -a build/release "$work/build/release"
fi
cd "$work" || exit 2
sim=build/release/tests/sim

# What each test runs. A patch names the one that is tried first: "Caught by: tests/sim/crash_sweep".
command_of() {
    case $1 in
    model_walk) echo "$sim/model_walk --steps 5000" ;;
    crash_sweep) echo "$sim/crash_sweep --count 6000" ;;
    crash_sweep_long) echo "$sim/crash_sweep --count 40000 --seed 5000" ;;
    disk_faults) echo "$sim/disk_faults --stride 10" ;;
    bit_flips) echo "$sim/bit_flips --count 3000" ;;
    *) echo "build/release/$1" ;;
    esac
}
all="model_walk crash_sweep disk_faults bit_flips tests/sim/test_journal_crash tests/sim/test_journal_flips crash_sweep_long"

units=
for patch in tests/mutants/*.patch; do
    units="$units $(sed -n '1s|^Caught by: \(tests/.*/test_[^ ]*\)|build/release/\1|p' "$patch")"
done
units=$(echo "$units build/release/tests/sim/test_journal_crash build/release/tests/sim/test_journal_flips" | tr ' ' '\n' | sort -u)

build() {
    # shellcheck disable=SC2086 # a list of targets
    make -s --no-print-directory sim-progs $units >build.log 2>&1
}

if ! build; then
    tail -20 build.log
    echo "mutants: the tree does not build"
    exit 2
fi
caught=0
missed=0
for test in $all; do # what fails without a mutant proves nothing
    if ! timeout 300 $(command_of "$test") >test.log 2>&1 </dev/null; then
        tail -3 test.log
        echo "mutants: $test fails on the tree as it is"
        exit 2
    fi
done
for patch in tests/mutants/*"$part"*.patch; do
    name=$(basename "$patch" .patch)
    words=$(sed -n 2p "$patch")
    first=$(sed -n '1s|^Caught by: ||p' "$patch")
    case $first in tests/sim/test_*) ;; tests/sim/*) first=${first##*/} ;; esac
    if ! patch -s -p1 --no-backup-if-mismatch <"$patch" >patch.log 2>&1; then
        echo "STALE $name: the patch does not apply any more"
        missed=$((missed + 1))
        find engine broker -name '*.rej' -exec rm -f {} +
        continue
    fi
    began=$(date +%s)
    by=
    if ! build; then
        by="the compiler"
        tail -3 build.log
        missed=$((missed + 1)) # a mutant has to be legal C
        echo "STALE $name: it does not compile"
    else
        for test in $first $all; do
            if ! timeout 300 $(command_of "$test") >test.log 2>&1 </dev/null; then
                by=$test
                break
            fi
        done
        took=$(($(date +%s) - began))
        if [ -n "$by" ]; then
            caught=$((caught + 1))
            echo "ok    $name: caught by $by in ${took} s: $(grep -m1 -E 'FAIL|signal|assert|ASSERT|ERROR' test.log | cut -c1-150)"
        else
            missed=$((missed + 1))
            echo "MISS  $name: $words"
        fi
    fi
    patch -s -R -p1 --no-backup-if-mismatch <"$patch" >patch.log 2>&1
done
echo "mutants: $caught passed, $missed failed"
test "$missed" = 0
