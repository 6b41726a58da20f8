#!/bin/sh
# Shows what clang-format would change (exit 1 when something); format.sh 1 changes it. Other people's lines included:
# a commit that formats does nothing else.
set -u
cd "$(dirname "$0")/.." || exit 2
if ! command -v clang-format >/dev/null 2>&1; then
    sh tools/setup.sh ci || exit 2
fi
files=$(git ls-files --cached --others --exclude-standard '*.c' '*.h' | while read -r f; do [ -f "$f" ] && echo "$f"; done)
bad=0
for f in $files; do
    if [ "${1:-}" = 1 ]; then
        clang-format -i "$f"
    elif ! clang-format "$f" | cmp -s - "$f"; then
        echo "$f: clang-format would change $(clang-format "$f" | diff "$f" - | grep -c '^>') lines"
        bad=$((bad + 1))
    fi
done
[ "${1:-}" = 1 ] || echo "format: $bad files differ"
[ "$bad" = 0 ]
