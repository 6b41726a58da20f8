#!/bin/sh
# All lint rules over the tree; each is a small script under tools/lint/ and has samples in tests/lint/, then the format. Last line:
# N passed, N failed (rules). `lint.sh ROOT` looks at another tree.
set -u
cd "$(dirname "$0")/.." || exit 2
root=${1:-.}
passed=0
failed=0
for rule in layers banned sizes text readmes untested; do
    if python3 -B "tools/lint/$rule.py" "$root"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
done
if [ "$root" = . ]; then # other trees are the samples of tests/lint, which are not formatted
    if sh tools/format.sh; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
