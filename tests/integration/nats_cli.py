#!/usr/bin/env python3
"""The nats command-line client, unmodified: its stream, consumer, key-value, object and plain messaging commands, in the
order in which a person would use them. Each line must work and show what stands beside it.

    nats_cli.py [--exe server]      (NATS_SERVER is the same)"""
import argparse
import os
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natscli  # noqa: E402
import server  # noqa: E402

# (what is typed, what must be shown ...); "!" in front: the command must fail.
LINES = (
    ("nats rtt", "127.0.0.1"),
    ("nats account info", "JetStream Account Information"),
    ("nats stream ls", "No Streams defined"),
    ("nats stream add S --subjects 's.>' --storage file --retention limits --discard old --max-msgs=1000 --max-bytes=1MB "
     "--max-age=1h --max-msg-size=-1 --max-msgs-per-subject=-1 --dupe-window=2m --replicas 1 --no-allow-rollup --deny-delete "
     "--no-deny-purge --defaults", "Stream S was created", "1,000"),
    ("!nats stream add S --subjects 't.>' --defaults", "already in use"),
    ("!nats stream add S2 --subjects 's.x' --defaults", "overlap"),
    ("nats pub s.one 'message {{.Count}}' --count 10", "Published"),
    ("nats pub s.two hello -H Kind:greeting --jetstream", "Sequence: 11"),
    ("nats request s.three ask", "\"seq\":12"),
    ("nats stream ls", "S", "12"),
    ("nats stream info S", "Messages: 12", "Last Sequence: 12"),
    ("nats stream state S", "12"),
    ("nats stream subjects S", "s.one", "10"),
    ("nats stream report", "S", "File"),
    ("nats stream find --subject s.one", "S"),
    ("nats stream get S 11", "hello", "Kind: greeting"),
    ("nats stream get S --last-for s.one", "message 10"),
    ("nats stream edit S --max-msgs=500 -f", "500"),
    ("nats stream copy S COPY --subjects 'copy.>'", "Subjects: copy.>"),
    ("!nats stream rmm S 1 -f", "not permitted"),
    ("nats stream rm COPY -f",),
    ("nats stream gaps S --force", "No deleted messages"),
    ("nats consumer add S pull --pull --ack explicit --deliver all --replay instant --filter s.one --max-deliver=-1 "
     "--max-pending=100 --wait=30s --no-headers-only --backoff=none --defaults", "pull", "Pull Mode: true"),
    ("nats consumer add S push --target deliver.here --ack none --deliver last --replay instant --heartbeat=-1 "
     "--deliver-group= --defaults", "Delivery Subject: deliver.here"),
    ("nats consumer ls S", "pull"),
    ("nats consumer info S pull", "Unprocessed Messages: 10"),
    ("nats consumer next S pull --count 3 --ack", "message 1", "message 3"),
    ("nats consumer next S pull --no-ack", "message 4"),
    ("nats consumer state S pull", "Outstanding Acks: 1"),
    ("nats consumer report S", "pull"),
    ("nats consumer edit S pull --max-pending=50 -f", "50"),
    ("nats consumer copy S pull again", "again"),
    ("nats consumer find S --pull", "pull"),
    ("nats consumer rm S again -f",),
    ("nats consumer rm S push -f",),
    ("!nats consumer info S push", "could not select Consumer"),
    ("nats stream purge S -f --subject s.one", "Messages: 2"),
    ("nats stream seal S -f", "Sealed: true"),
    ("!nats pub s.one late --jetstream", "sealed"),
    ("nats stream rm S -f",),
    ("!nats stream info S", "could not pick a Stream"),
    ("nats kv add conf --history 3 --storage file --ttl 1h", "conf"),
    ("nats kv put conf color red", "red"),
    ("nats kv create conf size 1", "1"),
    ("!nats kv create conf size 2", "wrong last sequence"),
    ("nats kv update conf size 2 2", "2"),
    ("!nats kv update conf size 3 2", "wrong last sequence"),
    ("nats kv get conf color --raw", "red"),
    ("nats kv put conf color blue", "blue"),
    ("nats kv history conf color", "red", "blue"),
    ("nats kv revert conf color 1 --force", "red"),
    ("nats kv ls", "conf"),
    ("nats kv ls conf", "color", "size"),
    ("nats kv info conf", "conf", "History Kept: 3"),
    ("nats kv del conf size -f",),
    ("!nats kv get conf size", "not found"),
    ("nats kv purge conf color -f",),
    ("nats kv edit conf --history 4", "4"),
    ("nats kv compact conf -f",),
    ("nats kv del conf -f",),
    ("nats kv add opt --marker-ttl 5m --compress --max-value-size 100 --republish-source '>' --republish-destination 'copy.>'",
     "opt"),
    ("nats kv info opt", "Limit Marker TTL: 5m0s", "Per-Key TTL Supported: true", "Compressed: true", "Maximum Value Size: 100 B"),
    ("nats kv create opt short 1 --ttl 1h", "1"),
    ("nats stream get KV_opt 1", "Nats-TTL: 1h0m0s"),
    ("nats kv put opt gone x", "x"),
    ("nats kv purge opt gone --ttl 1h -f",),
    ("nats stream get KV_opt 3", "KV-Operation: PURGE", "Nats-TTL: 1h0m0s"),
    ("!nats kv put opt big %s" % ("x" * 200), "message size exceeds"),
    ("nats kv add twin --mirror opt", "twin"),
    ("nats kv add taker --source opt", "taker"),
    ("nats stream info KV_twin", "Mirror: KV_opt"),
    ("nats stream info KV_taker", "Sources: KV_opt"),
    ("nats kv del taker -f",),
    ("nats kv del twin -f",),
    ("nats kv del opt -f",),
    ("nats object add files", "files"),
    ("head -c 3000000 /dev/urandom > \"$HOME/big\" && nats object put files \"$HOME/big\" --name big --no-progress -f", "big"),
    ("echo hi | nats object put files --name small --no-progress", "small"),
    ("nats object get files big -O \"$HOME/back\" --no-progress -f && cmp \"$HOME/big\" \"$HOME/back\"", ""),
    ("nats object info files big", "big"),
    ("nats object ls", "files"),
    ("nats object ls files", "big", "small"),
    ("nats object del files big -f",),
    ("!nats object get files big -O \"$HOME/no\" --no-progress", "not found"),
    ("nats object seal files -f", ""),
    ("nats object del files -f",),
    ("nats stream ls -a", "No Streams defined"),
    # bench makes its own stream with atomic batches, which are not served yet: one is made for it
    ("nats stream add B --subjects bench --defaults", "Stream B was created"),
    ("nats bench js pub sync bench --msgs 200 --size 128 --stream B --clients 1 --no-progress", "stats"),
    ("nats bench js pub async bench --msgs 2000 --size 128 --stream B --clients 1 --no-progress", "stats"),
    ("nats bench js consume --msgs 2200 --stream B --clients 2 --no-progress", "stats"),
    ("nats bench js ordered --msgs 2200 --stream B --clients 1 --no-progress", "stats"),
    ("nats bench pub x --msgs 10000 --size 16 --no-progress", "stats"),
)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--exe", default=os.environ.get("NATS_SERVER") or server.binary())
    args = ap.parse_args()
    path, why = natscli.find()
    if path is None:
        print(why)
        return 77
    passed = failed = 0
    with server.Server(exe=args.exe) as s:
        cli = natscli.Cli(path, "nats://127.0.0.1:%d" % s.port, server.scratch())
        for line, *shown in LINES:
            fails = line.startswith("!")
            try:
                out = cli.sh(line.lstrip("!"), code=1 if fails else 0)
                for text in shown:
                    assert text in out, "%s: no %r in\n%s" % (line, text, out)
                passed += 1
            except Exception:  # told, and the next one runs
                failed += 1
                print("FAIL " + line)
                print(traceback.format_exc(limit=1).split("\n", 3)[-1])
        if s.stop() != 0 or failed:
            print(s.log()[-2000:])
            failed = max(failed, 1)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
