#!/bin/sh
# The main job on real input, small: with nats.js where node is, else with nats.go. The whole of it is `make demo`.
cd "$(dirname "$0")/../.." || exit 1
if command -v npm >/dev/null && command -v node >/dev/null; then
    client=js
elif command -v go >/dev/null; then
    client=go
else
    echo "neither node nor go on this machine"
    exit 77
fi
exec python3 tests/demo/demo.py --client "$client" --orders 2000 --kills 3
