#!/usr/bin/env python3
"""JetStream limits of server and accounts (`jetstream { }` of the file and of each account): what each refuses, with which
error, and what INFO says. Compared with tests/integration/js/limits_of_accounts.txt.

  js_limits.py              run against servers of ours
  PEER=/path/to/nats-server js_limits.py --record   write the kept lines anew, from that server"""
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


def main():
    record = "--record" in sys.argv
    lines = []
    for limits, account in CASES:
        lines += one(limits, account, os.environ.get("PEER") if record else None)
    if record:
        with open(os.path.join(HERE, "js", "limits_of_accounts.txt"), "w") as f:
            f.write("\n".join(lines) + "\n")
        return 0
    return 0 if js_transcript.compare("limits_of_accounts", lines) else 1


if __name__ == "__main__":
    sys.exit(main())
