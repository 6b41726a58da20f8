#!/usr/bin/env python3
"""What belongs to API level 4: metadata, copiers on a work queue, where copiers begin, answers to flow control that nobody takes,
ACCOUNT.PURGE in the system account, time zones of schedules. Expected values are nats-server 2.14.5's; PEER=/path/to/nats-server
runs the same against one."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

CONF = """accounts { A { jetstream: enabled, users: [{user: a, password: a}] }, B { users: [{user: b, password: b}] },
SYS { users: [{user: s, password: s}] } }
system_account: SYS
"""
failed = passed = 0


def same(what, have, want):
    global failed, passed
    if have == want:
        passed += 1
    else:
        failed += 1
        print("FAIL %s\n  have %s\n  want %s" % (what, have, want))


def code(answer):
    return answer.get("error", {}).get("err_code", "ok")


def metadata(c):
    info = c.api("STREAM.CREATE.M", {"name": "M", "subjects": ["m.>"]})["config"]["metadata"]
    level, ver = info["_nats.level"], info["_nats.ver"]
    same("version", (level, ver), (str(c.info["api_lvl"]), c.info["version"]))

    def needs(r):
        m = r["config"]["metadata"]
        same("what we are", (m.get("_nats.level"), m.get("_nats.ver")), (level, ver))
        return m["_nats.req.level"]

    for cfg, want in (({}, "0"), ({"allow_msg_ttl": True}, "1"), ({"subject_delete_marker_ttl": 10 ** 9, "allow_msg_ttl": True}, "1"),
                      ({"allow_atomic": True}, "2"), ({"allow_msg_counter": True}, "2"), ({"allow_msg_schedules": True}, "2"),
                      ({"persist_mode": "async"}, "2"), ({"allow_batched": True}, "4")):
        same("stream %s" % cfg, needs(c.api("STREAM.CREATE.X", dict(cfg, name="X", subjects=["x.>"]))), want)
        c.api("STREAM.DELETE.X")
    for cfg, want in (({}, "0"), ({"pause_until": "2050-01-01T00:00:00Z"}, "1"),
                      ({"priority_groups": ["a"], "priority_policy": "overflow"}, "1"),
                      ({"ack_policy": "flow_control", "deliver_subject": "q", "flow_control": True, "idle_heartbeat": 10 ** 9,
                        "max_ack_pending": 9}, "4")):
        cfg = dict({"durable_name": "c", "ack_policy": "explicit"}, **cfg)
        same("consumer %s" % cfg, needs(c.api("CONSUMER.CREATE.M.c", {"stream_name": "M", "config": cfg})), want)
        c.api("CONSUMER.DELETE.M.c")
    mine = {"_nats.level": "9", "_nats.req.level": "9", "_nats.ver": "x", "_nats.own": "1", "a": "b"}
    full = {"_nats.level": level, "_nats.own": "1", "_nats.req.level": "0", "_nats.ver": ver, "a": "b"}
    r = c.api("STREAM.UPDATE.M", {"name": "M", "subjects": ["m.>"], "metadata": mine})
    same("a client's own", list(r["config"]["metadata"].items()), list(full.items()))
    r = c.api("STREAM.CREATE.M", {"name": "M", "subjects": ["m.>"], "metadata": {"_nats.own": "1", "a": "b"}})
    same("the same without them", code(r), "ok")
    same("in a list", c.api("STREAM.LIST")["streams"][0]["config"]["metadata"],
         {"_nats.own": "1", "_nats.req.level": "0", "a": "b"})
    for n, want in ((131055, "ok"), (131056, 10052)):
        r = c.api("STREAM.UPDATE.M", {"name": "M", "subjects": ["m.>"], "metadata": {"a": "x" * n}})
        same("metadata of %d bytes" % n, code(r), want)
    for value, want in (("4", "ok"), ("5", 10185), ("-1", "ok"), ("", "ok"), ("+4", "ok"), ("04", "ok"), ("4 ", 10185), ("x", 10185)):
        r = c.request("$JS.API.STREAM.INFO.M", b"", {"Nats-Required-Api-Level": value}).json()
        same("required level %r" % value, code(r), want)
    c.api("STREAM.DELETE.M")


def pull(c, stream, name, n):
    inbox, sid = c.new_inbox()
    c.pub("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, name), json.dumps({"batch": n, "no_wait": True}), inbox)
    return [c.next(sid) for _ in range(n)]


def work_queue(c):
    c.api("STREAM.CREATE.W", {"name": "W", "subjects": ["w.>"], "retention": "workqueue"})

    def make(name, **cfg):
        return code(c.api("CONSUMER.CREATE.W." + name, {"stream_name": "W", "config": dict(cfg, durable_name=name, ack_policy="explicit")}))

    def left():
        return c.api("STREAM.INFO.W")["state"]["messages"]

    same("consumers", [make("s", sourcing=True), make("p"), make("t", sourcing=True), make("q"), make("r", filter_subject="w.1")],
         ["ok", "ok", "ok", 10099, 10100])
    c.api("CONSUMER.DELETE.W.t")
    for _ in range(3):
        c.request("w.1", b"x")
    s, p = pull(c, "W", "s", 3), pull(c, "W", "p", 3)
    seen = []
    for m in (s[0], p[0], p[1], s[2]):
        c.request(m.reply, b"+ACK")
        seen.append(left())
    c.api("CONSUMER.DELETE.W.s")
    c.request(p[2].reply, b"+ACK")
    same("what stays", seen + [left()], [3, 2, 2, 2, 1])
    c.api("STREAM.DELETE.W")


def copiers_begin(c):
    c.api("STREAM.CREATE.O", {"name": "O", "subjects": ["o.>"]})
    for _ in range(5):
        c.request("o.1", b"x")
    for direct, want in ((True, 5), (False, 19)):
        r = c.api("CONSUMER.CREATE.O.c", {"stream_name": "O", "config": {
            "name": "c", "deliver_subject": "d", "ack_policy": "none", "max_deliver": 1, "deliver_policy": "by_start_sequence",
            "opt_start_seq": 20, "direct": direct}})
        same("begins, direct %s" % direct, r.get("delivered", r).get("stream_seq"), want)
        c.api("CONSUMER.DELETE.O." + r["name"])
    c.api("STREAM.DELETE.O")


def flow_control(c):
    c.api("STREAM.CREATE.F", {"name": "F", "subjects": ["f.>"]})
    c.api("CONSUMER.CREATE.F.f", {"stream_name": "F", "config": {
        "durable_name": "f", "ack_policy": "explicit", "deliver_subject": "ff", "flow_control": True, "idle_heartbeat": 10 ** 9}})
    c.api("CONSUMER.CREATE.F.p", {"stream_name": "F", "config": {"durable_name": "p", "ack_policy": "explicit"}})
    for what in ("F.p.x", "F.no.x", "NO.no.x", "x"):
        same("$JS.FC." + what, c.request("$JS.FC." + what).status(), (503, ""))
    inbox, sid = c.new_inbox()
    c.pub("$JS.FC.F.f.x", b"", inbox)
    same("$JS.FC.F.f.x", c.none(sid), True)
    c.api("STREAM.DELETE.F")


def first_seq(c):
    def first(**cfg):
        return c.api("STREAM.CREATE.E", dict(cfg, name="E", subjects=["e.>"]))["state"]["first_seq"]
    same("nothing yet", first(), 0)
    c.api("STREAM.PURGE.E")
    same("purged", c.api("STREAM.INFO.E")["state"]["first_seq"], 1)
    for body, want in (({"filter": "e.a"}, 0), ({"keep": 1}, 0), ({"seq": 1}, 0), ({"seq": 5}, 5), ({"filter": ">"}, 1)):
        c.api("STREAM.DELETE.E")
        first()
        c.api("STREAM.PURGE.E", body)
        same("purged %s" % body, c.api("STREAM.INFO.E")["state"]["first_seq"], want)
    c.api("STREAM.DELETE.E")
    same("first_seq 1", first(first_seq=1), 1)
    c.api("STREAM.DELETE.E")


def zones(c):
    c.api("STREAM.CREATE.Z", {"name": "Z", "subjects": ["z.>"], "allow_msg_schedules": True})

    def put(zone, pattern="0 30 5 * * *"):
        h = {"Nats-Schedule": pattern, "Nats-Schedule-Target": "z.t", "Nats-Schedule-Time-Zone": zone}
        return code(c.request("z.s", b"x", {k: v for k, v in h.items() if v is not None}).json())
    for zone in ("UTC", "Europe/Berlin", "America/New_York", "Local", "Etc/GMT+5", "US/Pacific"):
        same("zone " + zone, put(zone), "ok")
    for zone in ("", "utc", "europe/berlin", "+01:00", "../etc/passwd", "Europe", "/Europe/Berlin", "Bad/Zone", "zone.tab"):
        same("zone " + zone, put(zone), 10223)
    same("@every in a zone", put("Europe/Berlin", "@every 5s"), 10189)
    same("a zone and no schedule", [put("Bad", None), put("UTC", None)], [10223, "ok"])
    c.request("z.every", b"x", {"Nats-Schedule": "* * * * * *", "Nats-Schedule-Target": "z.out",
                                "Nats-Schedule-Time-Zone": "Asia/Kolkata"})
    inbox, sid = c.new_inbox()
    c.api("CONSUMER.CREATE.Z.c", {"stream_name": "Z", "config": {
        "name": "c", "ack_policy": "none", "deliver_subject": inbox, "filter_subject": "z.out"}})
    same("next", c.next(sid, 10).headers()["Nats-Schedule-Next"][-6:], "+05:30")
    c.api("STREAM.DELETE.Z")


def system(srv, a):
    with natsraw.Conn(port=srv.port, connect={"user": "s", "pass": "s"}) as s:
        for what, kind in (("INFO", "account_info_response"), ("STREAM.NAMES", "system_response"), ("NO.SUCH", "system_response")):
            r = s.api(what)
            same(what, (r["type"].rsplit(".", 1)[1], code(r)), (kind, 10039))
        a.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
        a.api("STREAM.CREATE.T", {"name": "T", "subjects": ["t.>"]})
        done = {"type": "io.nats.jetstream.api.v1.account_purge_response", "initiated": True}
        same("purge of nothing", [s.api("ACCOUNT.PURGE." + n) for n in ("NONE", "B", "SYS")], [done] * 3)
        same("all there", a.api("STREAM.NAMES")["total"], 2)
        same("purge", s.api("ACCOUNT.PURGE.A"), done)
        same("all gone", a.api("STREAM.NAMES")["total"], 0)


def main():
    store = server.scratch()
    conf = store + ".conf"
    with open(conf, "w") as f:
        f.write(CONF)
    srv = server.Server(store=store, config=conf, exe=os.environ.get("PEER"))
    try:
        with natsraw.Conn(port=srv.port, connect={"user": "a", "pass": "a"}) as c:
            for part in (metadata, work_queue, copiers_begin, flow_control, first_seq, zones):
                part(c)
            system(srv, c)
    finally:
        srv.stop()
        os.unlink(conf)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
