#!/usr/bin/env python3
"""Consumers on the wire, beyond what js_transcript.py asks: acks of every form, what goes while it is pending, pause,
priority groups, reset, acks by flow control, pace, metrics. The same transcripts (tests/integration/js/c_*.txt), the same
arguments: see js_transcript.py. All of them were recorded at nats-server 2.14.5 (`--at HOST:PORT --record`)."""
import datetime
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import js_transcript as jt  # noqa: E402

MS = 1000000
S = 1000 * MS


def iso(ahead_s):
    t = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=ahead_s)
    return t.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def tidy(text):
    """Beyond what js_transcript blanks: pin ids, what is left of a pause, times an ack took, flow control replies."""
    text = re.sub(r"(Nats-Pin-Id: |pinned_client_id\": ?\"|pinned_id\": ?\")[A-Za-z0-9]{22}", r"\1PIN", text)
    text = re.sub(r'"(pause_remaining|ack_time)": ?\d+', r'"\1":N', text)
    text = re.sub(r'"server": ?"N[A-Z2-7]{55}"', '"server":"ID"', text)
    text = re.sub(r'"(id|rtt)": ?\d+', r'"\1":N', text)
    text = re.sub(r"(\$JS\.FC\.\w+\.\w+\.)\w+", r"\1X", text)
    return text


class Run:
    """js_transcript's Run, with what these scenarios need."""

    def __init__(self, r):
        self.r, self.c = r, r.c
        plain = r.say
        r.say = lambda *parts: plain(tidy(" ".join(str(p) for p in parts)))

    def __getattr__(self, name):
        return getattr(self.r, name)

    def make(self, name, **cfg):
        self.api("STREAM.DELETE." + name, quiet=True)
        self.stream(name, **cfg)

    def cons(self, stream, name, **cfg):
        a = self.consumer(stream, name, **cfg)
        if "error" in a:
            self.say("consumer", cfg, "->", a["error"]["err_code"], a["error"]["description"])
        return a

    def publish(self, subject, n=1, data="x", hdr=None):
        for _ in range(n):
            self.c.request(subject, data, hdr)

    def ask(self, stream, name, body):
        """Sends a pull request; the answers stay in the connection's inbox."""
        inbox, sid = self.c.new_inbox()
        self.c.pub("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, name), jt.json.dumps(body), inbox)
        self.c.ping()
        return sid

    def get(self, stream, name, n):
        """n messages, not answered."""
        sid = self.ask(stream, name, {"batch": n, "expires": 2 * S})
        return [self.c.next(sid, 3) for _ in range(n)]

    def shown(self, label, sid, n, wait=1.5):
        """The next n messages of a subscription."""
        for _ in range(n):
            self.show("   " + label, self.c.next(sid, wait))

    def silent(self, label, sid):
        self.say("  ", label, "silent", self.c.none(sid, 0.1))

    def answer(self, m, body):
        """Answers a delivered message; shows whether that was answered in turn."""
        self.show("ack %s %s" % (".".join(m.reply.split(".")[3:7]), body), self.try_request(m.reply, body, timeout=0.25))

    def numbers(self, stream, name, label=""):
        a = self.api("CONSUMER.INFO.%s.%s" % (stream, name), quiet=True)
        if "error" in a:
            self.say(label, a["error"]["description"])
            return
        d, f = a["delivered"], a["ack_floor"]
        more = {k: a[k] for k in ("paused", "priority_groups", "push_bound") if k in a}
        self.say(label, "delivered %d/%d floor %d/%d" % (d["consumer_seq"], d["stream_seq"], f["consumer_seq"],
                                                         f["stream_seq"]),
                 [a[k] for k in ("num_ack_pending", "num_redelivered", "num_waiting", "num_pending")],
                 jt.json.dumps(more) if more else "")

    def told(self, sid, label, wait=0.15):
        """Advisories that came, in order of stream sequence."""
        got = []
        while True:
            try:
                got.append(self.c.next(sid, wait).json())
            except TimeoutError:
                break
        for a in sorted(got, key=lambda a: (a.get("consumer"), a.get("stream_seq", 0))):
            self.say("  ", label, jt.json.dumps(a).replace(": ", ":").replace(", ", ","))


def c_gone(r):
    """What was delivered and not acknowledged goes from the stream: numbers, floors, advisories."""
    sid = r.c.sub("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
    for how, cfg in (("rollup", {}), ("purge", {}), ("purge seq", {}), ("purge filter", {}), ("delete", {}),
                     ("max_msgs", {"max_msgs": 6}), ("max_msgs_per_subject", {"max_msgs_per_subject": 3}),
                     ("max_age", {"max_age": 600 * MS}), ("marker", {"max_age": S, "allow_msg_ttl": True, "subject_delete_marker_ttl": S})):
        r.make("A", allow_rollup_hdrs=True, **cfg)
        r.cons("A", "c")
        r.publish("a.x", 3)
        r.publish("a.y", 3)
        got = r.get("A", "c", 4)
        r.say("==", how)
        r.numbers("A", "c", "before")
        if how == "rollup":
            r.publish("a.x", hdr={"Nats-Rollup": "sub"})
        elif how == "delete":
            r.api("STREAM.MSG.DELETE.A", {"seq": 2}, quiet=True)
        elif how == "max_msgs":
            r.publish("a.z", 2)
        elif how == "max_msgs_per_subject":
            r.publish("a.x", 2)
        elif how in ("max_age", "marker"):
            end = time.monotonic() + 10
            while r.api("STREAM.INFO.A", quiet=True)["state"]["messages"] and time.monotonic() < end:
                r.c.none(sid, 0.05)
        else:
            body = {"purge": {}, "purge seq": {"seq": 3}, "purge filter": {"filter": "a.x"}}[how]
            r.api("STREAM.PURGE.A", body, quiet=True)
        r.told(sid, "terminated")
        r.numbers("A", "c", "after")
        for i, body in ((3, ""), (1, ""), (0, "-NAK")):
            r.answer(got[i], body)
            r.numbers("A", "c")


def c_acks(r):
    """Every form of an ack, and acks of what is not pending."""
    terms = r.c.sub("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
    naks = r.c.sub("$JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.>")
    r.make("N")
    r.publish("n.a", 12)
    for body in ('-NAK {"delay": 60000000000}', '-NAK {"delay":"60s"}', "-NAK 60s", "-NAK 1m0.5s", "-NAK 60000000000",
                 '-NAK {"delay": -5}', '-NAK {"delay":60000000000,"x":1}', '-NAK{"delay":60000000000}', "-NAK {}",
                 '-NAK {"delay":60000000000', "-NAKx", "-NAK", "-nak", "+ACK", "+ack", "+ACKx", "+OK", "+OKx", " +ACK",
                 "garbage", "+WPI", "+WPIx", "+TERM", "+TERMx y", ""):
        r.cons("N", "n", max_ack_pending=1, ack_wait=60 * S)
        m = r.get("N", "n", 1)[0]
        r.answer(m, body)
        sid = r.ask("N", "n", {"batch": 1, "expires": 100 * MS})
        m = r.c.next(sid, 2)
        r.say("   then", m.reply.split(".")[3:7] if m.reply else m.status())
        r.api("CONSUMER.DELETE.N.n", quiet=True)
    r.told(terms, "terminated")
    r.c.inbox = [m for m in r.c.inbox if m.sid != naks]
    r.cons("N", "t", max_deliver=2, ack_wait=60 * S)
    got = r.get("N", "t", 3)
    head = got[0].reply.rsplit(".", 5)[0]
    for body in ("+TERM", '+TERM  because <x> "q" ', "-NAK", "+WPI", ""):
        for seq in (9, 900, 0):
            m = got[0]
            m.reply = "%s.1.%d.%d.1.0" % (head, seq, seq)
            r.answer(m, body)
    r.told(terms, "terminated")
    r.told(naks, "naked")
    r.answer(got[1], "+TERM")
    r.answer(got[1], "+TERM")
    r.answer(got[1], "-NAK")
    r.answer(got[2], "-NAK")
    r.told(terms, "terminated")
    r.told(naks, "naked")
    r.numbers("N", "t")
    for tail in ("1.1.1.1.1.1", "1.1.1.1"):
        r.show("ack " + tail, r.try_request("%s.%s" % (head, tail), "", timeout=0.25))
    for subject in ("$JS.ACK._.abcdefgh.N.t.1.1.1.1.0", "$JS.ACK._.szMpdrwD.N.t.1.1.1.1.0",
                    "$JS.ACK._.szMpdrwD.N.t.1.3.3.1.0.more", "$JS.ACK.hub.szMpdrwD.N.t.1.1.1.1.0"):
        r.show("ack " + subject, r.try_request(subject, "", timeout=0.25))
    r.numbers("N", "t")


def c_pause(r):
    r.make("P")
    r.publish("p.a", 6)
    r.cons("P", "k")
    sid = r.c.sub("$JS.EVENT.ADVISORY.CONSUMER.>")
    for body in ("", "{}", '{"pause_until":"abc"}', '{"pause_until":5}', '{"foo":1}'):
        r.api("CONSUMER.PAUSE.P.k", body)
    for until in (iso(3600), "2040-01-01T00:00:00Z", "2040-01-01T00:00:00Z", iso(-3600), "0001-01-01T00:00:00Z"):
        r.api("CONSUMER.PAUSE.P.k", {"pause_until": until}, quiet=True)
        r.told(sid, "advisory")
    r.api("CONSUMER.PAUSE.P.none", {})
    r.api("CONSUMER.PAUSE.NONE.k", {})
    r.api("CONSUMER.PAUSE.P.k", '{"pause_until":"%s"}' % iso(0.7))
    r.api("CONSUMER.INFO.P.k")
    r.told(sid, "advisory")
    waiting = r.ask("P", "k", {"batch": 2, "expires": 5 * S})
    r.silent("paused", waiting)
    r.shown("went on", waiting, 2)
    r.told(sid, "advisory")
    got = r.get("P", "k", 1)
    r.api("CONSUMER.PAUSE.P.k", {"pause_until": iso(3600)}, quiet=True)
    r.answer(got[0], "")
    r.numbers("P", "k", "acked while paused")
    r.api("CONSUMER.PAUSE.P.k", {}, quiet=True)
    r.told(sid, "advisory")
    r.cons("P", "u", pause_until=iso(3600))
    r.told(sid, "advisory")
    r.cons("P", "u", description="d")
    r.told(sid, "advisory")
    r.numbers("P", "u", "an update does not end it")
    push = r.c.sub("dlv")
    r.cons("P", "h", deliver_subject="dlv", idle_heartbeat=100 * MS, pause_until=iso(3600))
    m = r.c.next(push, 2)
    r.show("heartbeat while paused", m)
    r.api("CONSUMER.PAUSE.P.h", {}, quiet=True)
    while not m.data:
        m = r.c.next(push, 2)
    r.show("went on", m)


def c_priority(r):
    r.make("G")
    r.publish("g.a", 10)
    r.cons("G", "plain")
    for name, policy in (("ov", "overflow"), ("pin", "pinned_client"), ("pr", "prioritized")):
        r.cons("G", name, priority_groups=["A"], priority_policy=policy)
    for name in ("plain", "ov", "pin", "pr"):
        for body in ({}, {"group": "A"}, {"group": "B"}, {"group": ""}, {"group": "A", "id": "x", "batch": 2},
                     {"group": "A", "min_pending": 1000}, {"group": "A", "min_ack_pending": 1000},
                     {"group": "A", "priority": 3}, {"group": "A", "priority": 10}, {"group": "A", "priority": -1},
                     {"priority": 3}, {"min_pending": 1}, {"group": "A", "min_pending": -1}):
            r.pull("G", name, dict({"batch": 1, "no_wait": True}, **body), wait=0.1)
            if name == "pin":
                r.api("CONSUMER.UNPIN.G.pin", {"group": "A"}, quiet=True)
    r.say("== overflow")
    r.cons("G", "o", priority_groups=["A"], priority_policy="overflow")
    many = r.ask("G", "o", {"batch": 20, "group": "A", "min_pending": 5, "expires": 20 * S})
    r.shown("min_pending 5", many, 6)
    r.silent("min_pending 5", many)
    r.numbers("G", "o")
    r.shown("min_ack_pending 4", r.ask("G", "o", {"batch": 2, "group": "A", "min_ack_pending": 4, "expires": 2 * S}), 2)
    r.silent("min_ack_pending 99", r.ask("G", "o", {"batch": 1, "group": "A", "min_ack_pending": 99, "expires": 20 * S}))
    r.publish("g.a", 8)
    r.shown("min_pending 5", many, 6)
    r.silent("min_pending 5", many)
    r.numbers("G", "o")
    r.say("== prioritized")
    r.cons("G", "p", priority_groups=["A"], priority_policy="prioritized", deliver_policy="new")
    sids = [(p, r.ask("G", "p", {"batch": 2, "group": "A", "priority": p, "expires": 20 * S})) for p in (5, 1, 1, 0)]
    r.publish("g.a", 8)
    for p, sid in sids:
        r.shown("priority %d" % p, sid, 2)


def c_pinned(r):
    r.make("G")
    r.publish("g.a", 9)
    r.cons("G", "pin", priority_groups=["A"], priority_policy="pinned_client", priority_timeout=700 * MS)
    sid = r.c.sub("$JS.EVENT.ADVISORY.CONSUMER.>")
    want = {"batch": 2, "group": "A", "expires": 20 * S}
    a, b = r.ask("G", "pin", want), r.ask("G", "pin", want)
    m = r.c.next(a, 2)
    pin = m.headers()["Nats-Pin-Id"]
    r.show("a", m)
    r.shown("a", a, 1)
    r.silent("b", b)
    r.told(sid, "advisory")
    r.numbers("G", "pin")
    r.shown("a by its id", r.ask("G", "pin", dict(want, id=pin)), 2)
    r.shown("another id", r.ask("G", "pin", dict(want, id="nope")), 1)
    r.shown("no id, no wait", r.ask("G", "pin", {"batch": 1, "group": "A", "no_wait": True}), 1)
    r.shown("b when a is silent", b, 2)
    r.told(sid, "advisory", wait=1.0)
    r.numbers("G", "pin")
    r.shown("the old id", r.ask("G", "pin", dict(want, id=pin)), 1)
    for body in ("", "{}", {"group": "B"}, {"group": ""}, '{"x":1}', {"group": "A"}):
        r.api("CONSUMER.UNPIN.G.pin", body)
    r.told(sid, "advisory")
    r.api("CONSUMER.UNPIN.G.none", {"group": "A"})
    r.api("CONSUMER.UNPIN.NONE.pin", {"group": "A"})
    x, y = r.ask("G", "pin", dict(want, batch=1)), r.ask("G", "pin", dict(want, batch=1))
    r.shown("x", x, 1)
    r.silent("y", y)
    r.api("CONSUMER.UNPIN.G.pin", {"group": "A"})
    r.shown("y when x is unpinned", y, 1)
    r.told(sid, "advisory", wait=1.0)
    r.cons("G", "gone", priority_groups=["A"], priority_policy="pinned_client", priority_timeout=700 * MS)
    p, q = r.ask("G", "gone", want), r.ask("G", "gone", want)
    m = r.c.next(p, 2)
    r.shown("p", p, 1)
    again = r.ask("G", "gone", dict(want, batch=20, id=m.headers()["Nats-Pin-Id"]))
    r.shown("p again", again, 7)
    r.c.unsub(again)
    r.publish("g.a", 2)
    r.silent("q, though p's inbox is gone", q)
    r.shown("q when p is silent", q, 2)


def c_reset(r):
    r.make("R")
    r.publish("r.a", 5)
    r.publish("r.b", 5)
    for name, cfg in (("all", {}), ("filter", {"filter_subject": "r.b"}), ("ackall", {"ack_policy": "all"}),
                      ("seq", {"deliver_policy": "by_start_sequence", "opt_start_seq": 4}), ("new", {"deliver_policy": "new"}),
                      ("none", {"ack_policy": "none"}), ("last", {"deliver_policy": "last"}),
                      ("time", {"deliver_policy": "by_start_time", "opt_start_time": "2020-01-01T00:00:00Z"})):
        r.cons("R", name, **cfg)
        r.say("==", name)
        if name != "new":
            got = r.get("R", name, 1 if name == "last" else 3)
            if name == "all":
                r.answer(got[0], "")
                r.answer(got[2], "")
        r.numbers("R", name, "pulled")
        for body in ("", {"seq": 0}, {"seq": 1}, {"seq": 3}, {"seq": 5}, {"seq": 11}, {"seq": 20}, {}):
            a = r.api("CONSUMER.RESET.R." + name, body, quiet=True)
            r.say(body, a["error"] if "error" in a else a["reset_seq"])
            r.numbers("R", name)
    r.api("CONSUMER.RESET.R.all", {"seq": 3})
    for body in ("{", {"seq": -1}, {"seq": "a"}, {"x": 1}):
        r.api("CONSUMER.RESET.R.all", body, quiet=not isinstance(body, dict) or "x" in body)
    got = r.get("R", "all", 3)
    r.say([m.reply.split(".")[4:7] for m in got])
    r.api("CONSUMER.RESET.R.all", {"seq": 4}, quiet=True)
    r.answer(got[1], "")
    r.numbers("R", "all", "an ack from before")
    r.say("== interest")
    r.make("I", retention="interest")
    r.cons("I", "c")
    r.cons("I", "d")
    r.publish("i.a", 5)
    for name in "cd":
        for m in r.get("I", name, 3):
            r.c.request(m.reply, b"")
    for m in r.get("I", "d", 2):
        r.c.request(m.reply, b"")
    r.numbers("I", "c")
    r.api("CONSUMER.RESET.I.c", {"seq": 2}, quiet=True)
    r.numbers("I", "c")
    jt.brief(r, "STREAM.INFO.I")


def c_flow(r):
    """ack_policy flow_control: answers to flow control acknowledge."""
    r.make("F")
    r.publish("f.a", 12)
    push = r.c.sub("fd")
    r.api("CONSUMER.CREATE.F.k", {"stream_name": "F", "config": {"name": "k", "ack_policy": "flow_control", "deliver_subject": "fd",
                                                               "max_ack_pending": 4, "inactive_threshold": 60 * S}})

    def answer_next(n, **hdr):
        for _ in range(n):
            m = r.c.next(push, 3)
            if m.reply.startswith("$JS.FC"):
                break
            r.show("  ", m)
        assert m.reply.startswith("$JS.FC"), m
        r.show("  ", m)
        r.c.pub(m.reply, b"", hdr={k.replace("_", "-"): v for k, v in hdr.items()})
        r.c.ping()
        r.say("answered", hdr)

    answer_next(5, Nats_Last_Consumer="2", Nats_Last_Stream="2")
    answer_next(3, Nats_Last_Consumer="6", Nats_Last_Stream="6")
    r.numbers("F", "k")
    answer_next(5, Nats_Last_Consumer="10", Nats_Last_Stream="10")
    r.show("an ack of the usual kind", r.try_request("$JS.ACK.F.k.1.12.12.1.0", b"", timeout=0.25))


def c_pace(r):
    """replay_policy original and rate_limit_bps: in tenths of seconds, coarsely."""
    r.make("R")
    nothing = r.c.sub("nothing.comes")
    for gap in (0, 0.2, 0, 0.3):
        r.c.none(nothing, gap or 0.001)
        r.publish("r.a")
    for cfg in ({}, {"deliver_subject": "rd"}):
        sid = r.c.sub("rd") if cfg else None
        t = time.monotonic()
        r.cons("R", "push" if cfg else "pull", replay_policy="original", **cfg)
        sid = sid or r.ask("R", "pull", {"batch": 9, "expires": 20 * S})
        at = []
        for _ in range(4):
            r.c.next(sid, 3)
            at.append(time.monotonic() - t)
        r.say("replayed", at[0] < 0.1, 0.15 < at[1] < 0.4, at[2] - at[1] < 0.1, 0.4 < at[3] < 0.8)
        t = time.monotonic()
        r.publish("r.a")
        r.c.next(sid, 3)
        r.say("then at once", time.monotonic() - t < 0.1)
    r.make("L", max_msg_size=1200)
    r.publish("l.a", 8, "y" * 1000)
    sid = r.c.sub("ld")
    t = time.monotonic()
    r.cons("L", "rl", deliver_subject="ld", rate_limit_bps=80000)
    at = [r.c.next(sid, 3) and time.monotonic() - t for _ in range(8)]
    r.say("80 kbit/s", at[0] < 0.1, 0.5 < at[7] < 1.1)


def c_samples(r):
    r.make("M")
    r.publish("m.a", 6)
    sid = r.c.sub("$JS.EVENT.METRIC.>")
    for freq in ("100", "100%", "0", "0%", "abc", "101", "-1", "", "1.5", "+5", " 5"):
        a = r.cons("M", "s", sample_freq=freq)
        if "error" not in a:
            r.say(freq, a["config"].get("sample_freq"))
            r.api("CONSUMER.DELETE.M.s", quiet=True)
    r.cons("M", "s", sample_freq="100%")
    got = r.get("M", "s", 5)
    for m, body in zip((got[0], got[0], got[1], got[2], got[3]), ("", "", "-NAK", "+TERM", "+WPI")):
        r.answer(m, body)
    r.answer(r.get("M", "s", 1)[0], "")
    r.told(sid, "metric")
    r.cons("M", "all", sample_freq="100%", ack_policy="all")
    r.answer(r.get("M", "all", 3)[2], "")
    r.cons("M", "zero", sample_freq="0")
    r.answer(r.get("M", "zero", 1)[0], "")
    r.told(sid, "metric")


def c_queue(r):
    """Who makes a push consumer deliver: plain subscribers, or members of its group."""
    r.make("Q")
    r.publish("q.a", 3)
    sid = r.c.sub("de", "any")
    r.cons("Q", "plain", deliver_subject="de")
    r.silent("a queue subscriber of a consumer without group", sid)
    r.numbers("Q", "plain")
    other = r.c.sub("de")
    r.shown("with a plain one, the plain one", other, 3)
    r.shown("with a plain one, the queue", sid, 3)
    r.numbers("Q", "plain")
    r.c.unsub(other)
    r.c.ping()
    r.numbers("Q", "plain", "the plain one left")
    r.cons("Q", "group", deliver_subject="dg", deliver_group="g")
    plain = r.c.sub("dg")
    r.silent("a plain subscriber of a consumer with group", plain)
    r.numbers("Q", "group")
    sid = r.c.sub("dg", "g")
    r.shown("the group", sid, 3)
    r.numbers("Q", "group")
    a = r.consumer("Q", "group", deliver_subject="dg2", deliver_group="g")
    r.say("moved while bound", a["error"]["err_code"])
    r.c.unsub(sid)
    r.c.ping()
    r.numbers("Q", "group", "the group left")
    for cfg in ({"deliver_group": "x"}, {"deliver_subject": "x", "deliver_group": "a b"},
                {"deliver_subject": "x", "deliver_group": "a*"}):
        r.cons("Q", "odd", **cfg)
        r.api("CONSUMER.DELETE.Q.odd", quiet=True)
    r.cons("Q", "beats", deliver_subject="db", deliver_group="g", flow_control=True, idle_heartbeat=100 * MS, deliver_policy="new")
    r.shown("heartbeat", r.c.sub("db", "g"), 1)


def c_limits(r):
    """What a request may ask for, what a consumer may be configured for."""
    r.make("L")
    r.publish("l.a", 3)
    for ns in (1 * S, 90 * S, 1500 * MS, 5 * MS, 1500000, 3600 * S, 100 * S + 1):
        r.cons("L", "e", max_expires=ns)
        r.pull("L", "e", {"batch": 1, "expires": ns * 2}, wait=0.05)
        r.api("CONSUMER.DELETE.L.e", quiet=True)
    r.cons("L", "m", max_batch=2, max_bytes=100, max_waiting=2)
    for body in ({"batch": 3}, "3", {"batch": 1, "max_bytes": 101}, {"batch": 2, "max_bytes": 40, "no_wait": True},
                 {"batch": 1, "idle_heartbeat": 100 * MS}, {"batch": 1, "idle_heartbeat": 100 * MS, "expires": 150 * MS},
                 {"batch": 1, "foo": 1}, "{", '{"batch":"x"}'):
        r.pull("L", "m", body, wait=0.1)
    r.c.request("$JS.API.STREAM.PURGE.L", b"")
    waiting = [r.ask("L", "m", {"batch": 1, "expires": 60 * S}) for _ in range(2)]
    r.shown("one too many", r.ask("L", "m", {"batch": 1, "expires": 60 * S}), 1)
    r.api("CONSUMER.DELETE.L.m", quiet=True)
    for sid in waiting:
        r.shown("waiting", sid, 1)
    r.make("K", consumer_limits={"max_ack_pending": 50, "inactive_threshold": 60 * S}, max_consumers=2)
    for cfg in ({}, {"max_ack_pending": 51}, {"max_ack_pending": 50}, {"max_ack_pending": -1}, {"inactive_threshold": 61 * S},
                {"inactive_threshold": 60 * S}, {"ack_policy": "none"}):
        a = r.cons("K", "a", **cfg)
        if "error" not in a:
            r.say(cfg, a["config"].get("max_ack_pending"), a["config"].get("inactive_threshold"))
            r.api("CONSUMER.DELETE.K.a", quiet=True)
    for name in "abc":
        r.cons("K", name)
    for filters in (["l.a", "l.*"], ["l.a", "l.a"], ["l.a", ""], ["x.a"], ["l.a", "l.b"], ["l.>", "l.a.b"], ["l.*.x", "l.y.*"]):
        r.cons("L", "f", filter_subjects=filters)
        r.say(filters)
        r.api("CONSUMER.DELETE.L.f", quiet=True)


def c_must_wait(r):
    """Requests that do not wait: what they get when others wait, or when max_ack_pending lets nothing through."""
    r.make("W")
    ahead = {"none": [], "1": [1], "3": [3], "2+2": [2, 2]}
    for there in (0, 1, 3, 4):
        for name, batches in ahead.items():
            for body in ({"batch": 1}, {"batch": 5}, {"batch": 1, "expires": 3600 * S}):
                r.c.request("$JS.API.STREAM.PURGE.W", b"")
                r.publish("w.a", there + 1)  # and one that is pending
                r.cons("W", "m", max_ack_pending=1, ack_wait=3600 * S)
                r.c.next(r.ask("W", "m", {"batch": 1}), 5)
                waiting = [r.ask("W", "m", {"batch": n, "expires": 3600 * S}) for n in batches]
                r.say(there, "messages, before it", name)
                r.pull("W", "m", dict(body, no_wait=True), wait=0.1)
                r.api("CONSUMER.DELETE.W.m", quiet=True)
                for sid in waiting:
                    r.c.unsub(sid)


def c_overflow(r):
    """A message that comes again counts as pending where an overflow group asks for so many."""
    r.make("V")
    for there in (2, 3):
        for least in (1, 2, 3):
            r.c.request("$JS.API.STREAM.PURGE.V", b"")
            r.publish("v.a", there)
            r.cons("V", "o", priority_groups=["g"], priority_policy="overflow", ack_wait=3600 * S)
            m = [r.c.next(sid, 5) for sid in [r.ask("V", "o", {"batch": 2, "group": "g"})] for _ in range(2)][1]
            r.c.request(m.reply, b"-NAK")
            r.say(there, "messages, one comes again, asked for", least)
            r.shown("got", r.ask("V", "o", {"batch": 1, "group": "g", "min_pending": least, "expires": 100 * MS}), 1)
            r.api("CONSUMER.DELETE.V.o", quiet=True)


def c_update(r):
    """The answer to an update that lets more through shows the numbers before any of it is delivered."""
    r.make("U")
    r.publish("u.a", 6)
    dlv = r.c.sub("dlv")
    waiting = None
    for name, cfg in (("push", {"deliver_subject": "dlv"}), ("pull", {})):
        r.cons("U", name, max_ack_pending=2, **cfg)
        if name == "push":
            r.shown(name, dlv, 2)
        else:
            r.get("U", name, 2)
            waiting = r.ask("U", name, {"batch": 10, "expires": 30 * S})
        for most in (3, 5):
            a = r.cons("U", name, max_ack_pending=most, **cfg)
            r.say(name, most, a["delivered"]["stream_seq"], a["num_ack_pending"], a["num_waiting"], a["num_pending"])
            r.shown(name, dlv if name == "push" else waiting, 1 if most == 3 else 2)
        r.numbers("U", name, name)


def c_audit(r):
    """The audit of API requests: which are told of, and how."""
    r.api("STREAM.DELETE.S", quiet=True)
    sid = r.c.sub("$JS.EVENT.ADVISORY.API")
    for what, body in (("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "allow_direct": True}), ("STREAM.INFO.NONE", ""),
                       ("CONSUMER.CREATE.S.c", {"stream_name": "S", "config": {"name": "c"}}), ("CONSUMER.INFO.S.c", ""),
                       ("CONSUMER.MSG.NEXT.S.c", {"batch": 1, "no_wait": True}), ("STREAM.MSG.GET.S", {"seq": 1}),
                       ("DIRECT.GET.S", {"seq": 1}), ("CONSUMER.PAUSE.S.c", {}), ("STREAM.PURGE.S", ""), ("STREAM.CREATE.S", "{"),
                       ("CONSUMER.DELETE.S.c", ""), ("NONE", "")):
        r.try_request(jt.API + what, body, timeout=0.2)
        r.c.ping()
        try:
            a = r.c.next(sid, 0.1).json()
        except TimeoutError:
            r.say(what, "not told")
            continue
        answer = jt.json.loads(a.pop("response"))
        r.say(what, jt.json.dumps(a).replace(": ", ":").replace(", ", ","), answer["type"], answer.get("error"))
    r.api("STREAM.DELETE.S", quiet=True)


def wrapped(fn):
    def run(r):
        fn(Run(r))
    run.__name__ = fn.__name__
    return run


if __name__ == "__main__":
    jt.ALL = [wrapped(f) for f in (c_gone, c_acks, c_pause, c_priority, c_pinned, c_reset, c_flow, c_pace, c_samples, c_queue, c_limits,
                                     c_must_wait, c_overflow, c_update, c_audit)]
    sys.exit(jt.main())
