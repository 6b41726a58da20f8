#!/bin/sh
# Builds the peer and the driver (both cached under build/) and runs the driver with the arguments given. Exits with 3 where the
# peer or the driver cannot be built: nothing was compared then, and nothing may be claimed.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root" || exit 2
peer=$(sh tools/peer.sh) || { echo "conformance: no nats-server can be built here; nothing was compared"; exit 3; }
driver=$root/build/conformance/driver
mkdir -p "$root/build/conformance"
(cd tests/conformance && GOFLAGS=-buildvcs=false go build -o "$driver" .) ||
    { echo "conformance: the driver cannot be built here; nothing was compared"; exit 3; }
exec "$driver" -peer "$peer/nats-server" -ours "${MILLRACE:-build/bin/millrace}" "$@"
