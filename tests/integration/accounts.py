#!/usr/bin/env python3
"""Two accounts of one config, side by side with the same stream names, subjects, inboxes and API requests: neither sees the
other on the wire, in answers, over monitoring, or on disk. A third has no JetStream; a system account looks on."""
import base64
import json
import os
import re
import subprocess
import sys
import traceback
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

CONFIG = """
accounts {
  A { users: [ {user: a, password: pa}, {user: a2, password: pa2} ], jetstream: enabled }
  B { users: [ {user: b, password: "$2b$04$abcdefghijklmnopqrstuu7OdQ2J.QyGvXEuQDqm7CoWUI1hCuV1W"} ], jetstream: enabled }
  C { users: [ {user: c, password: pc} ] }
  SYS { users: [ {user: s, password: ps} ] }
}
system_account: SYS
http: "127.0.0.1:-1"
"""  # the password of b is "pb"
PASSWORDS = {"a": "pa", "a2": "pa2", "b": "pb", "c": "pc", "s": "ps"}


def same(got, want, what):
    assert got == want, "%s: got %r, want %r" % (what, got, want)


class World:
    def __init__(self):
        self.dir = server.scratch()
        self.config = os.path.join(self.dir, "accounts.conf")
        with open(self.config, "w", encoding="ascii") as f:
            f.write(CONFIG)
        self.s = server.Server(store=os.path.join(self.dir, "store"), config=self.config)

    def conn(self, user, **kw):
        return natsraw.Conn(port=self.s.port, connect={"user": user, "pass": PASSWORDS[user], **kw})


def wire(w):
    """core messages, requests, queue groups and no-responders stay inside"""
    with w.conn("a") as a, w.conn("a2") as a2, w.conn("b") as b, w.conn("c") as c, w.conn("s") as s:
        subs = {}
        for name, conn in (("a2", a2), ("b", b), ("c", c), ("s", s)):
            subs[name] = (conn, conn.sub(">"))
            conn.sub("work", "q")
            conn.ping()
        a.pub("x.y", "from a", reply="_INBOX.same")
        a.pub("work", "from a")
        a.pub("_INBOX.same", "from a")
        a.ping()
        got = [a2.next() for _ in range(4)]
        same(sorted(m.subject for m in got), ["_INBOX.same", "work", "work", "x.y"], "in the same account")
        for name in ("b", "c", "s"):
            conn, _ = subs[name]
            conn.ping()
            same([m for m in conn.inbox if not m.subject.startswith("$SYS")], [], "messages seen by " + name)
        same(b.none(subs["b"][1]), True, "nothing late")
        # Somebody answers svc in B only: a request of A finds nobody.
        b.sub("svc")
        b.ping()
        a2.unsub(subs["a2"][1])
        a2.ping()
        same(a.request("svc").status()[0], 503, "request of a")


def inboxes(w):
    """the same inbox and request subjects at the same time"""
    with w.conn("a") as a, w.conn("b") as b, w.conn("a2") as ra, w.conn("b") as rb:
        for r, text in ((ra, "answer of a"), (rb, "answer of b")):
            r.sub("svc.same")
            r.ping()
        for c in (a, b):
            c.sub("_INBOX.the.same")
            c.pub("svc.same", reply="_INBOX.the.same")
            c.ping()
        for r, text in ((ra, "answer of a"), (rb, "answer of b")):
            m = r.next()
            same(m.reply, "_INBOX.the.same", "reply")
            r.pub(m.reply, text)
            r.ping()
        for c, text in ((a, b"answer of a"), (b, b"answer of b")):
            same(c.next().data, text, "answer")
            c.ping()
            same(c.inbox, [], "and nothing else")


def streams(w):
    """the same stream, consumer and bucket names, each with its own messages"""
    with w.conn("a") as a, w.conn("b") as b:
        for c, n in ((a, 3), (b, 5)):
            same(c.api("STREAM.NAMES")["streams"] or [], [], "names before")
            got = c.api("STREAM.CREATE.ORDERS", json.dumps({"name": "ORDERS", "subjects": ["orders.*"]}))
            same(got["config"]["name"], "ORDERS", "created")
            c.api("STREAM.CREATE.KV_conf", json.dumps({"name": "KV_conf", "subjects": ["$KV.conf.>"], "allow_rollup_hdrs": True,
                                                       "max_msgs_per_subject": 1}))
            c.api("CONSUMER.DURABLE.CREATE.ORDERS.d", json.dumps({"stream_name": "ORDERS", "config": {
                "durable_name": "d", "ack_policy": "explicit"}}))
            for i in range(n):
                hdr = {"Nats-Msg-Id": "id%d" % i}  # ids of one account are no duplicates in the other
                same(c.request("orders.x", "%s %d" % (c.info["client_id"], i), hdr).json(), {"stream": "ORDERS", "seq": i + 1},
                     "PubAck")
            c.request("$KV.conf.k", "value of %d" % n)
        for c, n in ((a, 3), (b, 5)):
            same(sorted(c.api("STREAM.NAMES")["streams"]), ["KV_conf", "ORDERS"], "names")
            same(len(c.api("STREAM.LIST")["streams"]), 2, "list")
            same(c.api("STREAM.INFO.ORDERS")["state"]["messages"], n, "messages")
            same(c.api("INFO")["streams"], 2, "account info")
            got = c.api("STREAM.MSG.GET.KV_conf", json.dumps({"last_by_subj": "$KV.conf.k"}))["message"]
            same(base64.b64decode(got["data"]), b"value of %d" % n, "value")
            inbox, sid = c.new_inbox()
            c.pub("$JS.API.CONSUMER.MSG.NEXT.ORDERS.d", json.dumps({"batch": 10, "no_wait": True}), inbox)
            got = []
            while True:
                m = c.next(sid)
                if m.status():
                    break
                got.append(m.data.decode())
            same(got, ["%s %d" % (c.info["client_id"], i) for i in range(n)], "own messages only")


def acks_and_events(w):
    """an ack subject, a delivery subject and an event of the other account mean nothing"""
    with w.conn("a") as a, w.conn("b") as b:
        events = b.sub("$JS.EVENT.ADVISORY.*.*.>")  # made and deleted streams and consumers; B does neither here
        heard = b.sub("deliver.here")
        b.ping()
        a.api("CONSUMER.CREATE.ORDERS.p", json.dumps({"stream_name": "ORDERS", "config": {
            "name": "p", "deliver_subject": "deliver.here", "ack_policy": "explicit"}}))
        mine = a.sub("deliver.here")
        m = a.next(mine)
        before = b.api("CONSUMER.INFO.ORDERS.d")
        b.pub(m.reply, "+ACK")  # the reply subject of a message of A, from B
        b.pub("$JS.ACK.ORDERS.d.1.1.1.0.0", "+ACK")  # B's own first message: this one counts
        b.ping()
        same(a.api("CONSUMER.INFO.ORDERS.p")["num_ack_pending"], 3, "pending of A")
        after = b.api("CONSUMER.INFO.ORDERS.d")
        same(after["num_ack_pending"], before["num_ack_pending"] - 1, "pending of B")
        same(a.api("CONSUMER.INFO.ORDERS.d")["num_ack_pending"], 3, "pending of A's d")
        a.api("CONSUMER.DELETE.ORDERS.p")
        a.api("STREAM.CREATE.T", json.dumps({"name": "T", "subjects": ["t"]}))
        a.api("STREAM.DELETE.T")
        b.ping()
        same(b.none(heard) and b.none(events), True, "nothing of A heard in B")
        same([m for m in b.inbox if m.sid in (events, heard)], [], "nothing of A heard in B")


def side_by_side(w):
    """API requests of both under way at the same time get their own answers"""
    with w.conn("a") as a, w.conn("b") as b:
        for c in (a, b):
            c.sub("_INBOX.m.*")
        for i in range(50):
            for c in (a, b):
                c.pub("$JS.API.STREAM.CREATE.M%d" % i, json.dumps({"name": "M%d" % i, "subjects": ["m.%d" % i],
                                                                   "description": c.nonce}), reply="_INBOX.m.%d" % i)
        for c in (a, b):
            got = [c.next() for _ in range(50)]
            same({m.subject: m.json()["config"]["description"] for m in got},
                 {"_INBOX.m.%d" % i: c.nonce for i in range(50)}, "answers")
        for i in range(50):
            for c in (a, b):
                same(c.api("STREAM.INFO.M%d" % i)["config"]["description"], c.nonce, "description")
                if i % 2:
                    same(c.api("STREAM.DELETE.M%d" % i)["success"], True, "deleted")
        for c in (a, b):
            same(c.api("STREAM.NAMES")["total"], 2 + 25, "left")


def without_jetstream(w):
    """an account without JetStream has none; logins that are wrong get in nowhere"""
    with w.conn("c") as c:
        got = c.request("$JS.API.INFO").json()["error"]
        same((got["code"], got["err_code"]), (503, 10039), "INFO of C")
        same(c.request("orders.x", "x").status()[0], 503, "publish of C")
    for user, password in (("a", "pb"), ("b", "pa"), ("nobody", "pa"), ("", "")):
        try:
            natsraw.Conn(port=w.s.port, connect={"user": user, "pass": password}).close()
        except natsraw.Closed as e:
            assert "Authorization Violation" in str(e), e
        else:
            raise AssertionError("%r got in" % user)


def monitoring(w):
    """/connz and /jsz of one account tell nothing of the other"""
    base = "http://" + re.search(r"Starting http monitor on (127\.0\.0\.1:\d+)", w.s.log()).group(1)
    with w.conn("a", name="client-of-a") as a, w.conn("b", name="client-of-b") as b:
        a.sub("interest.of.a")
        b.sub("interest.of.b")
        a.ping()
        b.ping()
        for own, other, n in (("A", "B", 3), ("B", "A", 5)):
            with urllib.request.urlopen(base + "/connz?auth=1&subs=detail&acc=" + own, timeout=10) as f:
                text = f.read().decode()
            z = json.loads(text)
            same([(c["account"], c["name"]) for c in z["connections"]], [(own, "client-of-" + own.lower())], "connz of " + own)
            assert "of.%s" % own.lower() in text and "of.%s" % other.lower() not in text, text
            with urllib.request.urlopen(base + "/jsz?streams=1&consumers=1&config=1&acc=" + own, timeout=10) as f:
                z = json.loads(f.read())
            same([d["name"] for d in z["account_details"]], [own], "jsz of " + own)
            streams = {d["name"]: d for d in z["account_details"][0]["stream_detail"]}
            same((len(streams), streams["ORDERS"]["state"]["messages"]), (27, n), "streams of %s in jsz" % own)
            same([c["name"] for c in streams["ORDERS"]["consumer_detail"]], ["d"], "consumers of %s in jsz" % own)


def after_restart(w):
    """all of it holds after kill -9"""
    w.s.restart(kill=True)
    for user, n in (("a", 3), ("b", 5)):
        with w.conn(user) as c:
            same(c.api("STREAM.INFO.ORDERS")["state"]["messages"], n, "messages of " + user)
            same(c.api("STREAM.NAMES")["total"], 27, "streams of " + user)
            first = c.api("STREAM.MSG.GET.ORDERS", json.dumps({"seq": n}))
            assert "message" in first, first
            over = c.api("STREAM.MSG.GET.ORDERS", json.dumps({"seq": 4}))
            same("message" in over, n == 5, "message 4 seen by " + user)


def on_disk(w):
    """on disk every stream belongs to one account, and no byte of one lies under the other"""
    w.s.stop()
    jsadmin = os.path.abspath(os.environ.get("JSADMIN", os.path.join(server.ROOT, "build/bin/jsadmin")))
    p = subprocess.run([jsadmin, "--json", "info", w.s.store], capture_output=True, text=True, check=True)
    streams = json.loads(p.stdout)["streams"]
    for account, n in (("A", 3), ("B", 5)):
        own = [s for s in streams if s["account"] == account]
        same(len(own), 27, "streams of " + account)
        same([s["messages"] for s in own if s["name"] == "ORDERS"], [n], "ORDERS of " + account)
    same({s["account"] for s in streams}, {"A", "B"}, "accounts on disk")
    p = subprocess.run([jsadmin, "check", w.s.store], capture_output=True, text=True)
    same(p.returncode, 0, "check: " + p.stdout)


def main():
    w = World()
    passed = failed = 0
    for test in (wire, inboxes, streams, acks_and_events, side_by_side, without_jetstream, monitoring, after_restart, on_disk):
        try:
            test(w)
            passed += 1
        except Exception:  # told with its place, and the next one runs
            failed += 1
            print("FAIL %s" % test.__doc__)
            traceback.print_exc(file=sys.stdout)
    if failed:
        print(w.s.log()[-3000:])
    w.s.__exit__()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
