#!/bin/sh
# fuzz_cov.sh <target> <source>...: replays the corpora of one fuzz target in a coverage build and prints, for each source
# file, the share of lines that ran, and the numbers of those that did not.
set -eu
cd "$(dirname "$0")/.."
name=$1
shift
make --no-print-directory -s MODE=cov "build/cov/tests/fuzz/fuzz_$name" >/dev/null
find build/cov -name '*.gcda' -delete
found=build/fuzz/corpus/$name
files=$(find "tests/fuzz/corpus/$name" $( [ -d "$found" ] && echo "$found" ) -type f)
echo "$files" | xargs "build/cov/tests/fuzz/fuzz_$name" >/dev/null
for source in "$@"; do
    gcov -t "build/cov/${source%.c}.o" 2>/dev/null | awk -v f="$source" '
        /Source:/ { here = index($0, f) > 0 }
        here && /^ *#####:/ { split($0, p, ":"); miss++; lines = lines (lines ? "," : "") p[2] + 0 }
        here && /^ *[0-9]+\*?:/ { hit++ }
        END { printf "%s: %.1f %% of %d lines; not run: %s\n", f, 100 * hit / (hit + miss), hit + miss, lines ? lines : "none" }'
done
