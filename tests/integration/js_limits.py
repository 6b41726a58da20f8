#!/usr/bin/env python3
"""JetStream limits of server and accounts (`jetstream { }` of the file and of each account): what each refuses, with which
error, and what INFO says. Compared with tests/integration/js/limits_of_accounts.txt.

  js_limits.py              run against servers of ours
  PEER=/path/to/nats-server js_limits.py --record   write the kept lines anew, from that server"""
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402
import js_transcript  # noqa: E402

CONF = """
listen: 127.0.0.1:-1
jetstream {
  store_dir: "%s"
  %s
}
accounts {
  A: { users: [{user: a, password: a}], jetstream: %s }
  B: { users: [{user: b, password: b}], jetstream: enabled }
  C: { users: [{user: c, password: c}] }
}
no_auth_user: a
"""

CASES = (("max_file: 1MB, max_mem: 1MB", "enabled"), ("max_file: 20MB, max_mem: 1MB", "{max_file: 10KB, max_mem: 5KB}"),
         ("", "{max_streams: 2, max_consumers: 3}"), ("", "{max_bytes_required: true}"),
         ("", "{disk_max_stream_bytes: 2000, memory_max_stream_bytes: 500, max_ack_pending: 100}"),
         ('limits {max_ack_pending: 50, max_request_batch: 20, duplicate_window: "1m"}', "enabled"),
         ("max_file: 1MB", "{max_store: 5KB, max_memory: 2KB, max_streams: -1, max_consumers: 2}"))


def info(r):
    a = r.api("INFO", quiet=True)
    a.get("api", {}).pop("level", None)
    a.get("api", {}).pop("total", None)
    a.get("api", {}).pop("errors", None)
    r.say("info", a.get("error") or a)


def stream(r, name, verb="CREATE", **cfg):
    body = {"name": name, "subjects": [name.lower() + ".>"]}
    body.update(cfg)
    r.say(verb, name, cfg, r.api("STREAM.%s.%s" % (verb, name), body, quiet=True).get("error", "ok"))


def publish(r, subject):
    got = []
    for _ in range(12):
        m = r.c.request(subject, b"x" * 1000)
        if not m.data:
            r.say(subject, "nobody")
            return
        a = m.json()
        got.append(a.get("seq") or a["error"]["err_code"])
    r.say(subject, got)


def scenario(r, connect):
    info(r)
    for name, cfg in (("S1", {}), ("S2", {"max_bytes": 1000}), ("S3", {"storage": "memory"}),
                      ("S4", {"storage": "memory", "max_bytes": 1000}), ("S5", {"max_bytes": 10 ** 6}),
                      ("S6", {"max_bytes": 10 ** 9}), ("S7", {"storage": "memory", "max_bytes": 10 ** 9})):
        stream(r, name, **cfg)
    for name in ("S1", "S2"):
        r.say(name, [r.consumer(name, "c%d" % i).get("error", "ok") for i in range(4)])
    for name in ("big", "c0"):
        a = r.consumer("S1", name, max_ack_pending=5000)
        r.say(name, a.get("error") or a["config"]["max_ack_pending"])
    r.say("batch", r.consumer("S1", "batch", max_batch=21).get("error", "ok"))
    r.say("consumers", r.api("CONSUMER.NAMES.S1", quiet=True)["consumers"])
    publish(r, "s1.a")
    publish(r, "s3.a")
    for cfg in ({"max_bytes": 5000}, {"max_bytes": 10 ** 9}, {}):
        stream(r, "S2", "UPDATE", **cfg)
    info(r)
    for user in "bc":
        r.c = connect(user)
        info(r)
        r.say(user, r.api("STREAM.NAMES", quiet=True))
        stream(r, "T1")
        stream(r, "T2", max_bytes=10 ** 6)


def one(limits, account, exe):
    store = server.scratch()
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as f:
        f.write(CONF % (store, limits, account))
    srv = server.Server(store=store, config=f.name, jetstream=False, exe=exe)

    def connect(user):
        return natsraw.Conn(port=srv.port, connect={"user": user, "pass": user})

    try:
        r = js_transcript.Run("127.0.0.1", srv.port)
        r.say("---", limits, account)
        r.c.close()
        r.c = connect("a")
        scenario(r, connect)
        return r.lines
    finally:
        srv.stop()
        os.unlink(f.name)


def exact():
    """Ours: bytes are counted as they are stored, also within one turn of the loop."""
    store = server.scratch()
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as f:
        f.write(CONF % (store, "", "{max_file: 10KB, max_mem: 10KB}"))
    srv = server.Server(store=store, config=f.name, jetstream=False)
    try:
        c = natsraw.Conn(port=srv.port, connect={"user": "a", "pass": "a"})

        def answers(subjects, headers=None):
            inbox, sid = c.new_inbox()
            block = b"" if headers is None else headers
            frames = b""
            for s in subjects:
                if block:
                    frames += b"HPUB %s %s %d %d\r\n%s%s\r\n" % (s, inbox.encode(), len(block), len(block) + 1000,
                                                               block, b"x" * 1000)
                else:
                    frames += b"PUB %s %s 1000\r\n%s\r\n" % (s, inbox.encode(), b"x" * 1000)
            c.sock.sendall(frames)
            got = [c.next(sid, timeout=20).json() for _ in subjects]
            return [a["error"]["err_code"] if "error" in a else a["seq"] for a in got]

        for storage in ("file", "memory"):
            name = storage.upper()
            r = c.api("STREAM.CREATE." + name, json.dumps({"name": name, "subjects": [storage + ".>"], "storage": storage,
                                                           "max_msgs_per_subject": 1}).encode())
            assert "error" not in r, r
            one = storage.encode() + b".k"
            # each takes the place of the one before: never more than two messages
            assert answers([one] * 40) == list(range(1, 41))
            # a duplicate takes no room
            got = answers([one] * 40, b"NATS/1.0\r\nNats-Msg-Id: same\r\n\r\n")
            assert got == [41] * 40, got
            got = answers([storage.encode() + b".%d" % i for i in range(30)])
            taken = [a for a in got if a != 10002]  # what is refused is answered first
            used = c.api("STREAM.INFO." + name)["state"]
            assert taken == list(range(42, 42 + len(taken))) and len(got) == 30, got
            each = (used["bytes"]) // used["messages"]
            assert 10240 - each - 100 < used["bytes"] <= 10240, used
            c.api("STREAM.PURGE." + name)
            assert answers([one]) == [42 + len(taken)]
        c.close()
    finally:
        srv.stop()
        os.unlink(f.name)


def main():
    record = "--record" in sys.argv
    lines = []
    for limits, account in CASES:
        lines += one(limits, account, os.environ.get("PEER") if record else None)
    if record:
        with open(os.path.join(HERE, "js", "limits_of_accounts.txt"), "w") as f:
            f.write("\n".join(lines) + "\n")
        return 0
    exact()
    return 0 if js_transcript.compare("limits_of_accounts", lines) else 1


if __name__ == "__main__":
    sys.exit(main())
