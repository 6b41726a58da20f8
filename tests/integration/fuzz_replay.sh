#!/bin/sh
# Every fuzz target takes its kept corpus without complaint, in whatever build is tested (under ASan, that is the point).
set -u
cd "$(dirname "$0")/../.." || exit 1
programs=${FUZZ_PROGRAMS:-build/release/tests/fuzz}
log=${TEST_DIR:-build}/fuzz_replay.log
passed=0
failed=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    corpus=tests/fuzz/corpus/${name#fuzz_}
    [ -d "$corpus" ] || continue
    if find "$corpus" -type f -exec "$programs/$name" {} + >"$log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "$name:"
        tail -30 "$log"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
