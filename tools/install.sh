#!/bin/sh
# install.sh <bin folder> <alias: 1 or empty> program...: copies the programs; with alias, nats-server beside them.
set -eu
dir=$1
alias=$2
shift 2
mkdir -p "$dir"
for p in "$@"; do
    install -m 0755 "$p" "$dir/"
    echo "installed $dir/$(basename "$p")"
done
if [ "$alias" = 1 ]; then
    if [ -e "$dir/nats-server" ] && [ ! -L "$dir/nats-server" ]; then
        echo "$dir/nats-server is there and is not ours; not replaced" >&2
        exit 1
    fi
    ln -sf millrace "$dir/nats-server"
    echo "installed $dir/nats-server -> millrace"
fi
