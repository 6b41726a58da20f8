#!/bin/sh
# Builds the peer and the load generator that benchmarks and comparisons use, from the Go registry, into build/peer (cached):
# nats-server and the nats CLI. Prints the folder. Fails when Go is not here or the module cannot be had.
set -e
server=github.com/nats-io/nats-server/v2@v2.14.5
cli=github.com/nats-io/natscli@v0.3.0
dir=$(cd "$(dirname "$0")/.." && pwd)/build/peer
mkdir -p "$dir"
command -v go >/dev/null || { echo "peer.sh: Go is not installed" >&2; exit 1; }
if [ ! -x "$dir/nats-server" ]; then
  echo "building $server" >&2
  GOBIN="$dir" go install "$server" >&2
fi
if [ ! -x "$dir/nats" ]; then
  echo "building $cli" >&2
  tmp=$(mktemp -d)
  (cd "$tmp" && go mod init bench >/dev/null 2>&1 && go get "${cli%@*}/nats@${cli#*@}" >/dev/null 2>&1 && \
   go build -o "$dir/nats" github.com/nats-io/natscli/nats) >&2
  rm -rf "$tmp"
fi
echo "$dir"
