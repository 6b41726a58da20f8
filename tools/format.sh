#!/bin/sh
# Shows what clang-format would change (exit 1 when something); format.sh 1 changes it. Other people's lines included:
# a commit that formats does nothing else.
set -u
cd "$(dirname "$0")/.." || exit 2
if ! command -v clang-format >/dev/null 2>&1; then
    sh tools/setup.sh ci || exit 2
fi
# The samples of the lint rules are wrong on purpose.
files=$(git ls-files --cached --others --exclude-standard '*.c' '*.h' ':!tests/lint/samples' | while read -r f; do [ -f "$f" ] && echo "$f"; done)
if [ "${1:-}" = 1 ]; then
    for _ in 1 2; do # a comment it breaks may need a second look
        echo "$files" | xargs -P "$(nproc)" -n 16 clang-format -i
    done
    exit
fi
bad=$(echo "$files" | xargs -P "$(nproc)" -n 16 clang-format --dry-run 2>&1 |
    grep -E 'warning: code should be' | cut -d: -f1 | sort -u)
for f in $bad; do
    echo "$f: clang-format would change $(clang-format "$f" | diff "$f" - | grep -c '^>') lines"
done
echo "format: $(echo "$bad" | grep -c .) files differ"
[ -z "$bad" ]
