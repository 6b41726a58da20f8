#!/bin/sh
# Builds the peer and the load generator that benchmarks and comparisons use, from the Go registry, into build/peer (cached):
# nats-server and the nats CLI. Prints the folder. Fails when Go is not here or the module cannot be had.
#
# peer.sh old: Debian's nats-server instead, years older and without the CLI, unpacked (not installed) into build/peer-old: for
# whoever cannot have the other; figures beside it say so.
set -e
server=github.com/nats-io/nats-server/v2@v2.14.5
cli=github.com/nats-io/natscli@v0.3.0
build=$(cd "$(dirname "$0")/.." && pwd)/build
if [ "${1:-}" = old ]; then
  dir=$build/peer-old
  if [ ! -x "$dir/nats-server" ]; then
    mkdir -p "$dir/deb"
    (cd "$dir/deb" && { apt-get download -q nats-server || { apt-get update -q && apt-get download -q nats-server; }; } &&
      dpkg -x nats-server_*.deb .) >&2
    mv "$(find "$dir/deb" -name nats-server -type f -perm -u+x | head -n 1)" "$dir/nats-server"
    rm -rf "$dir/deb"
  fi
  echo "$dir"
  exit 0
fi
dir=$build/peer
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
