#!/bin/sh
# Starts the release build with JetStream and says how to talk to it: run.sh [store folder] [port]. Ctrl-C stops it.
set -u
store=${1:-}
port=${2:-}
[ -n "$store" ] || store=${HOME:?set HOME or give STORE=folder}/millrace-store
[ -n "$port" ] || port=4222
bin=$(dirname "$0")/../build/bin/millrace

mkdir -p "$store" || exit 1
cat <<TEXT
Millrace listens on nats://127.0.0.1:$port (this machine only) and keeps its data in $store/millrace.
A first stream, with the nats command-line client, in another terminal:
  nats -s nats://127.0.0.1:$port stream add ORDERS --subjects 'ORDERS.*' --defaults
  nats -s nats://127.0.0.1:$port pub ORDERS.received 'two coffees' --jetstream
  nats -s nats://127.0.0.1:$port stream get ORDERS 1
Every NATS client library works too. Other folder or port: make run STORE=folder PORT=n. Ctrl-C stops the server;
then build/bin/jsadmin info $store says what it keeps.

TEXT
exec "$bin" -js -sd "$store" -a 127.0.0.1 -p "$port"
