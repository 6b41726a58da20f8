#!/usr/bin/env python3
"""Payloads of every size: 1 B, around 64 KiB, 1, 8 and 64 MiB are stored in file and memory streams and read back by get,
direct get, pull and push, before and after kill -9; one byte more than max_payload is refused and changes nothing."""
import base64
import hashlib
import json
import os
import random
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
SIZES = [0, 1, 63 * KIB, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 65 * KIB, MIB, 8 * MIB, 64 * MIB]
MEMORY_SIZES = [1, 65 * KIB, 8 * MIB]
HEADER = {"Kind": "large or small"}
NOISE = random.Random(7).randbytes(64 * MIB)  # nothing that compresses


def body(size):
    return NOISE[size % 1000:][:size] if size <= 32 * MIB else NOISE[:size]


DIGESTS = {size: hashlib.sha256(body(size)).hexdigest() for size in SIZES}


def same(got, want, what):
    assert got == want, "%s: got %r, want %r" % (what, got, want)


def check(data, size, how):
    same((len(data), hashlib.sha256(data).hexdigest()), (size, DIGESTS[size]), "%d bytes by %s" % (size, how))


def store(c):
    c.api("STREAM.CREATE.P", json.dumps({"name": "P", "subjects": ["p.*"], "allow_direct": True}))
    c.api("STREAM.CREATE.M", json.dumps({"name": "M", "subjects": ["m.*"], "storage": "memory"}))
    for i, size in enumerate(SIZES):
        same(c.request("p.%d" % size, body(size), HEADER, timeout=60).json(), {"stream": "P", "seq": i + 1}, "PubAck")
    for i, size in enumerate(MEMORY_SIZES):
        same(c.request("m.%d" % size, body(size), timeout=60).json(), {"stream": "M", "seq": i + 1}, "PubAck")


def by_get(c):
    for i, size in enumerate(SIZES):
        # As base64 in JSON the largest is more than max_payload: what is asked for is delivered all the same.
        got = c.api("STREAM.MSG.GET.P", json.dumps({"seq": i + 1}), timeout=60)["message"]
        check(base64.b64decode(got.get("data", "")), size, "get")
        same(b"Kind: large or small" in base64.b64decode(got["hdrs"]), True, "headers")
        m = c.request("$JS.API.DIRECT.GET.P", json.dumps({"seq": i + 1}), timeout=60)
        same((m.headers()["Nats-Sequence"], m.headers()["Kind"]), (str(i + 1), HEADER["Kind"]), "direct get")
        check(m.data, size, "direct get")


def by_pull(c, name):
    c.api("CONSUMER.CREATE.P." + name, json.dumps({"stream_name": "P", "config": {"name": name, "ack_policy": "explicit"}}))
    inbox, sid = c.new_inbox()
    for i, size in enumerate(SIZES):
        c.pub("$JS.API.CONSUMER.MSG.NEXT.P." + name, json.dumps({"batch": 1, "expires": 60 * 10**9}), inbox)
        m = c.next(sid, timeout=60)
        check(m.data, size, "pull")
        same(m.headers()["Kind"], HEADER["Kind"], "headers")
        c.request(m.reply, "+ACK", timeout=60)
    c.api("CONSUMER.DELETE.P." + name)


def by_push(c, stream, name, sizes):
    inbox, sid = c.new_inbox()
    c.api("CONSUMER.CREATE.%s.%s" % (stream, name), json.dumps({"stream_name": stream, "config": {
        "name": name, "ack_policy": "none", "deliver_subject": inbox, "flow_control": True, "idle_heartbeat": 10 * 10**9}}))
    for size in sizes:
        m = c.next(sid, timeout=60)
        while m.status():  # a heartbeat, or flow control that wants an answer
            if m.reply:
                c.pub(m.reply)
            m = c.next(sid, timeout=60)
        check(m.data, size, "push")
    c.api("CONSUMER.DELETE.%s.%s" % (stream, name))


def read_all(c, turn):
    by_get(c)
    by_pull(c, "pull%d" % turn)
    by_push(c, "P", "push%d" % turn, SIZES)


def too_large(s, limit):
    """One byte more than max_payload: an error that says so, the connection ends, the stream is as before."""
    with natsraw.Conn(port=s.port, timeout=60) as c:
        try:
            c.send(b"PUB p.x _INBOX.x %d\r\n" % (limit + 1))
            c.next()
        except natsraw.Closed as e:
            assert "Maximum Payload Violation" in str(e), e
        else:
            raise AssertionError("it was taken")


def main():
    folder = server.scratch()
    config = os.path.join(folder, "payloads.conf")
    # Room for the largest with its headers; what a client may have pending must be more than one message.
    limit = 64 * MIB + KIB
    with open(config, "w", encoding="ascii") as f:
        f.write("max_payload: %d\nmax_pending: 512MB\n" % limit)
    passed = failed = 0
    with server.Server(store=os.path.join(folder, "store"), config=config) as s:
        def step(fn, *args):
            nonlocal passed, failed
            try:
                with natsraw.Conn(port=s.port, timeout=60) as c:
                    fn(c, *args)
                passed += 1
            except Exception:  # told with its place, and the next one runs
                failed += 1
                print("FAIL", fn.__name__, args, flush=True)
                traceback.print_exc(file=sys.stdout)
        step(store)
        step(read_all, 1)
        step(by_push, "M", "m1", MEMORY_SIZES)
        step(lambda c: too_large(s, limit))
        s.restart(kill=True)
        step(read_all, 2)
        step(lambda c: same(c.request("p.last", "x").json()["seq"], len(SIZES) + 1, "PubAck after the kill"))
        step(lambda c: same(c.api("STREAM.INFO.M")["state"]["messages"], 0, "memory after the kill"))
        s.restart(kill=False)
        step(read_all, 3)
        if failed:
            print(s.log()[-2000:])
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
