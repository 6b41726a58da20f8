#!/usr/bin/env python3
"""Restart after SIGKILL of a store with many messages: from exec to the first PubAck, then random gets by sequence and by
last subject, checked. Prints one JSON line.

    restart.py [--messages 5000000] [--subjects 10000] [--size 128] [--runs 5] [--gets 1000]"""
import argparse
import base64
import json
import os
import random
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402


def body(n, size):
    return (b"%012d" % n).ljust(size, b".")


def fill(c, args):
    """Publishes with a bounded number of acks outstanding."""
    sid = c.sub("_INBOX.f")
    sent = acked = 0
    while acked < args.messages:
        out = []
        while sent < args.messages and sent - acked < 20000 and len(out) < 2000:
            out.append(b"PUB r.%d _INBOX.f %d\r\n%s\r\n" % (sent % args.subjects, args.size, body(sent, args.size)))
            sent += 1
        c.send(b"".join(out))
        while acked < sent and (sent - acked >= 20000 or sent == args.messages):
            c.next(sid, timeout=60)
            acked += 1


def half_way(c, args):
    """A durable consumer that has acknowledged half of the stream."""
    c.api("CONSUMER.DURABLE.CREATE.R.HALF", json.dumps({"stream_name": "R", "config": {
        "durable_name": "HALF", "ack_policy": "all", "max_ack_pending": -1}}))
    sid = c.sub("_INBOX.h")
    left, last = args.messages // 2, None
    while left > 0:
        n = min(left, 10000)
        c.pub("$JS.API.CONSUMER.MSG.NEXT.R.HALF", json.dumps({"batch": n, "expires": 30 * 10**9}), reply="_INBOX.h")
        for _ in range(n):
            last = c.next(sid, timeout=30)
        left -= n
        c.request(last.reply, b"+ACK")


def gets(c, args, rng):
    wrong = 0
    for _ in range(args.gets // 2):
        seq = rng.randrange(1, args.messages + 1)
        m = c.api("STREAM.MSG.GET.R", json.dumps({"seq": seq}))["message"]
        wrong += base64.b64decode(m["data"]) != body(seq - 1, args.size)
        subject = rng.randrange(args.subjects)
        m = c.api("STREAM.MSG.GET.R", json.dumps({"last_by_subj": "r.%d" % subject}))["message"]
        newest = (args.messages - 1 - subject) // args.subjects * args.subjects + subject
        wrong += base64.b64decode(m["data"]) != body(newest, args.size)
    return wrong


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--messages", type=int, default=5000000)
    ap.add_argument("--subjects", type=int, default=10000)
    ap.add_argument("--size", type=int, default=128)
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--gets", type=int, default=1000)
    args = ap.parse_args()
    rng = random.Random(1)
    with server.Server() as s:
        with natsraw.Conn(port=s.port, timeout=60) as c:
            c.api("STREAM.CREATE.R", json.dumps({"name": "R", "subjects": ["r.*"]}))
            c.api("STREAM.CREATE.PROBE", json.dumps({"name": "PROBE", "subjects": ["probe"]}))
            began = time.monotonic()
            fill(c, args)
            filled = time.monotonic() - began
            half_way(c, args)
        times = []
        for _ in range(args.runs):
            s.kill()
            began = time.monotonic()
            s.start(wait=False)
            while True:
                try:
                    with natsraw.Conn(port=s.port, timeout=20) as c:
                        c.request("probe", b"x")
                    break
                except (OSError, natsraw.Closed):
                    os.sched_yield()
            times.append(time.monotonic() - began)
        with natsraw.Conn(port=s.port, timeout=60) as c:
            wrong = gets(c, args, rng)
            info = c.api("STREAM.INFO.R")["state"]
            half = c.api("CONSUMER.INFO.R.HALF")
        with open("/proc/%d/status" % s.server_pid()) as f:
            rss = [line.split()[1] for line in f if line.startswith("VmRSS")][0]
        ok = (wrong == 0 and info["messages"] == args.messages and
              half["ack_floor"]["stream_seq"] == args.messages // 2 and
              half["num_pending"] == args.messages - args.messages // 2)
        s.stop()
    print(json.dumps({"bench": "restart", "messages": args.messages, "subjects": args.subjects, "bytes": args.size,
                      "fill_s": round(filled, 2), "first_puback_s_median": round(statistics.median(times), 3),
                      "first_puback_s": [round(t, 3) for t in times], "gets": args.gets, "wrong": wrong,
                      "rss_kib": int(rss), "right": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
