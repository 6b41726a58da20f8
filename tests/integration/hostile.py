#!/usr/bin/env python3
"""Requests nobody sane sends: numbers at the ends of their range, floods beyond a bound. The server answers, stays up,
stays quick and loses nothing."""
import base64
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

I64 = 2**63 - 1


def ok(answer):
    assert "error" not in answer, answer
    return answer


def pull(c, consumer, body, timeout=2):
    return c.request("$JS.API.CONSUMER.MSG.NEXT.S." + consumer, json.dumps(body), timeout=timeout)


def first_sequences(c):
    for seq in (2**62 + 1, 2**63, 2**64 - 1):
        a = c.api("STREAM.CREATE.F", {"name": "F", "subjects": ["f.>"], "first_seq": seq})
        assert a["error"]["err_code"] == 10052, a
    ok(c.api("STREAM.CREATE.F", {"name": "F", "subjects": ["f.>"], "first_seq": 2**62}))
    assert c.request("f.a", b"x").json()["seq"] == 2**62
    assert c.request("f.a", b"x").json()["seq"] == 2**62 + 1


def ages(c):
    """An age that ends after the end of time keeps everything."""
    ok(c.api("STREAM.CREATE.A", {"name": "A", "subjects": ["a.>"], "max_age": I64}))
    for _ in range(3):
        c.request("a.a", b"x")
    c.none(c.new_inbox()[1], 0.4)  # expiry has had its turn
    assert c.api("STREAM.INFO.A")["state"]["messages"] == 3


def numbers(c):
    for seq in ("18446744073709551616", "99999999999999999999999999", "-9223372036854775809"):
        a = c.request("$JS.API.STREAM.PURGE.S", '{"seq":%s}' % seq).json()
        assert a["error"]["err_code"] == 10025, a
    assert c.api("STREAM.INFO.S")["state"]["messages"] == 1
    assert "error" not in c.request("$JS.API.STREAM.PURGE.S", '{"filter":"18446744073709551616"}').json()


def several(c, body):
    """Sequences of a batched direct get, and how it ends."""
    inbox, sid = c.new_inbox()
    c.pub("$JS.API.DIRECT.GET.B", json.dumps(body), inbox)
    out = []
    while True:
        m = c.next(sid)
        if m.status():
            return out, m.status()[0], m.headers().get("Nats-Num-Pending")
        out.append(int(m.headers()["Nats-Sequence"]))


def batches(c):
    """A batch of less than nothing: of last messages all, of others none."""
    ok(c.api("STREAM.CREATE.B", {"name": "B", "subjects": ["b.>"], "allow_direct": True}))
    for i in range(5):
        c.request("b.%d" % i, b"x")
    for batch in (-1, -2**31, -2**63):
        assert several(c, {"multi_last": ["b.>"], "batch": batch}) == ([1, 2, 3, 4, 5], 204, "0")
        assert several(c, {"multi_last": ["b.>"], "batch": batch, "seq": 3}) == ([3, 4, 5], 204, "0")
        assert several(c, {"seq": 1, "batch": batch}) == ([], 204, "5")
    assert several(c, {"multi_last": ["b.>"], "batch": 2**63 - 1}) == ([1, 2, 3, 4, 5], 204, "0")
    assert several(c, {"multi_last": ["b.>"], "max_bytes": -1}) == ([1], 204, "4")
    assert several(c, {"seq": 1, "batch": 2, "max_bytes": -5}) == ([1], 204, "4")


def durations(c):
    ok(c.api("CONSUMER.CREATE.S.i", {"stream_name": "S", "config": {"name": "i", "inactive_threshold": I64}}))
    ok(c.api("CONSUMER.CREATE.S.d", {"stream_name": "S", "config": {"durable_name": "d", "filter_subject": "none"}}))
    m = pull(c, "d", {"idle_heartbeat": 2**62 + 5, "expires": I64})
    assert m.status()[0] == 400, m
    inbox, sid = c.new_inbox()
    c.pub("$JS.API.CONSUMER.MSG.NEXT.S.d", '{"idle_heartbeat":-1000000000,"expires":300000000}', inbox)
    assert c.next(sid).status()[0] == 408, "no heartbeats for a negative period"


def told(c):
    """What was asked for is told as it was asked; what a batch's request needed is not stored with it."""
    for body, want in (({"batch": -5}, ("-5", "0")), ({"batch": 0, "max_bytes": -7}, ("0", "-7")), ({"max_bytes": 9}, ("0", "9"))):
        h = pull(c, "d", dict(body, expires=10**7)).headers()
        assert (h["Nats-Pending-Messages"], h["Nats-Pending-Bytes"]) == want, h
    ok(c.api("STREAM.CREATE.T", {"name": "T", "subjects": ["t"], "allow_atomic": True}))
    for last in ({}, {"Nats-Batch-Commit": "1"}):
        seq = {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": str(1 + len(last)), "Nats-Required-Api-Level": "2"}
        a = c.request("t", b"x", hdr=dict(seq, **last))
    assert ok(a.json())["batch"] == "b", a
    for seq in (1, 2):
        m = c.api("STREAM.MSG.GET.T", {"seq": seq})["message"]
        assert b"Api-Level" not in base64.b64decode(m["hdrs"]), m
    w = {"stream_name": "W", "pedantic": True, "config": {"name": "w", "ack_policy": "explicit", "backoff": [30 * 10**9], "deliver_policy": "new",
                                                          "sourcing": True}}
    ok(c.api("STREAM.CREATE.W", {"name": "W", "subjects": ["w"], "retention": "workqueue"}))
    ok(c.api("CONSUMER.CREATE.W.w", w))
    w["config"]["backoff"] = [10**9]
    assert c.api("CONSUMER.CREATE.W.w", w)["error"]["err_code"] == 10157


def pull_flood(port, c):
    """Requests beyond max_waiting are refused without going through the queue for each."""
    ok(c.api("CONSUMER.CREATE.S.f", {"stream_name": "S", "config": {
        "durable_name": "f", "max_waiting": 5000, "filter_subject": "none"}}))
    body = b'{"batch":1,"expires":60000000000}'
    with natsraw.Conn(port=port, timeout=60) as x:
        x.sub("in.>")
        line = b"PUB $JS.API.CONSUMER.MSG.NEXT.S.f in.%d %d\r\n" + body + b"\r\n"
        start = time.monotonic()
        x.send(b"".join(line % (i, len(body)) for i in range(30000)))
        x.ping()
        assert sum(m.status() == (409, "Exceeded MaxWaiting") for m in x.inbox) == 25000
        assert time.monotonic() - start < 20, "a refusal costs the length of the queue"
    c.ping()
    assert pull(c, "f", {"no_wait": True}).status()[0] == 404, "requests of a client that went away make room"


def rss_mib(srv):
    with open("/proc/%d/status" % srv.server_pid()) as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1]) // 1024


def api_bytes(srv):
    """Waiting API requests are bounded in bytes too: those beyond are told so, and memory stays."""
    with natsraw.Conn(port=srv.port, timeout=60) as x:
        x.sub("in")
        before, most = rss_mib(srv), 0
        for i in range(200):  # each waits for the disk, and holds back what follows
            x.pub("$JS.API.STREAM.CREATE.T%d" % i, '{"name":"T%d","subjects":["t%d"]}' % (i, i), "in")
        big = b"PUB $JS.API.STREAM.CREATE.X in 1000000\r\n" + b" " * 1000000 + b"\r\n"
        for _ in range(600):
            x.send(big)
            most = max(most, rss_mib(srv) - before)
        answers = [x.next().json() for _ in range(800)]
        assert sum("error" not in a for a in answers) == 200
        assert most < 250 or "asan" in server.binary(), "%d MiB of requests" % most


def main():
    srv = server.Server()
    try:
        c = natsraw.Conn(port=srv.port, timeout=30)
        first_sequences(c)
        ages(c)
        ok(c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>", "none"]}))
        c.request("s.a", b"x")
        numbers(c)
        batches(c)
        durations(c)
        told(c)
        pull_flood(srv.port, c)
        api_bytes(srv)
        print("ok")
    finally:
        srv.stop()


if __name__ == "__main__":
    main()
