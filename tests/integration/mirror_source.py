#!/usr/bin/env python3
"""Mirrors and sources, over the wire, with kills in the middle.

  mirror_source.py                  against a fresh server of ours
  mirror_source.py --exe OTHER      the same against another server (what needs our own words is left out)"""
import base64
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natscli  # noqa: E402
import natsraw  # noqa: E402
import server  # noqa: E402
from checks import until  # noqa: E402

OURS = "--exe" not in sys.argv


def create(c, name, **cfg):
    a = c.api("STREAM.CREATE." + name, dict(cfg, name=name))
    assert "error" not in a, (name, a["error"])
    return a


def update(c, name, **cfg):
    return c.api("STREAM.UPDATE." + name, dict(cfg, name=name))


def info(c, name):
    return c.api("STREAM.INFO." + name)


def state(c, name):
    s = info(c, name)["state"]
    return {k: s.get(k, 0) for k in ("messages", "bytes", "first_seq", "last_seq", "num_deleted")}


def get(c, stream, seq):
    return c.api("STREAM.MSG.GET." + stream, {"seq": seq}).get("message")


def publish(c, subject, data="x", hdr=None):
    a = c.request(subject, data, hdr).json()
    assert "error" not in a, a
    return a["seq"]


def flood(c, subject, first, count):
    """Publishes count messages and waits for all their acks; returns the last sequence."""
    inbox, sid = c.new_inbox()
    for i in range(first, first + count):
        c.pub(subject % (i % 7), "message %d" % i, inbox)
    last = 0
    for _ in range(count):
        a = c.next(sid, 20).json()
        assert "error" not in a, a
        last = max(last, a["seq"])
    c.unsub(sid)
    return last


def same(c, origin, copy):
    return until("%s is a copy of %s" % (copy, origin), lambda: state(c, origin) == state(c, copy))


# --- mirrors --------------------------------------------------------------------------------------------------

def mirror_copies(srv):
    with natsraw.Conn(port=srv.port) as c:
        create(c, "O", subjects=["o.>"])
        for i in range(5):
            publish(c, "o.%d" % i, "x%d" % i, {"Foo": "bar", "Nats-Msg-Id": "m%d" % i})
        c.api("STREAM.MSG.DELETE.O", {"seq": 2})
        a = create(c, "M", mirror={"name": "O"})
        assert a["config"]["mirror"] == {"name": "O"} and "subjects" not in a["config"], a
        assert a["mirror"] == {"name": "O", "lag": 0, "active": -1}, a
        same(c, "O", "M")
        for seq in (1, 2, 3, 4, 5):
            assert get(c, "M", seq) == get(c, "O", seq), seq
        # what comes later follows, with headers and time; deletes and purges do not
        assert publish(c, "o.late", "y", {"A": "b"}) == 6
        same(c, "O", "M")
        assert get(c, "M", 6) == get(c, "O", 6)
        m = info(c, "M")["mirror"]
        assert m["lag"] == 0 and m["active"] >= 0 and "error" not in m, m
        c.api("STREAM.PURGE.O")
        assert publish(c, "o.a") == 7
        until("the message behind the purge", lambda: state(c, "M")["last_seq"] == 7)
        assert state(c, "M")["messages"] == 6
        # the origin's consumer is nobody's business
        assert info(c, "O")["state"]["consumer_count"] == 0
        assert c.api("CONSUMER.LIST.O")["total"] == 0
        # nobody publishes into a mirror
        assert c.request("M", b"x").status() == (503, "")
        # a mirror of what was emptied starts where the origin goes on
        c.api("STREAM.PURGE.O")
        create(c, "P", mirror={"name": "O"})
        until("the empty mirror's position", lambda: state(c, "P")["last_seq"] == 7)
        assert state(c, "P")["first_seq"] == 8
        for name in ("M", "P", "O"):
            c.api("STREAM.DELETE." + name)


def mirror_starts(srv):
    with natsraw.Conn(port=srv.port) as c:
        create(c, "O", subjects=["o.>"])
        flood(c, "o.%d", 0, 30)
        until("a later millisecond", lambda: info(c, "O")["ts"][:23] > get(c, "O", 30)["time"][:23])
        flood(c, "o.%d", 30, 20)
        t = get(c, "O", 31)["time"]
        for name, cfg, first, count in (("A", {"opt_start_seq": 40}, 40, 11), ("B", {"opt_start_time": t}, 31, 20),
                                        ("C", {"filter_subject": "o.3"}, 4, 7)):
            create(c, name, mirror=dict(cfg, name="O"))
            until("mirror " + name, lambda: state(c, name)["messages"] == count)
            assert state(c, name)["first_seq"] == first, state(c, name)
        assert info(c, "C")["mirror"]["filter_subject"] == "o.3"
        assert [get(c, "C", s) is not None for s in (4, 5, 11)] == [True, False, True]
        for name in ("A", "B", "C", "O"):
            c.api("STREAM.DELETE." + name)


def origin_comes_later(srv):
    with natsraw.Conn(port=srv.port) as c:
        create(c, "M", mirror={"name": "LATE"})
        e = until("the error", lambda: info(c, "M")["mirror"].get("error"))
        assert e == {"code": 404, "err_code": 10059, "description": "stream not found"}, e
        create(c, "LATE", subjects=["late"])
        publish(c, "late")
        same(c, "LATE", "M")
        assert "error" not in info(c, "M")["mirror"]
        c.api("STREAM.DELETE.LATE")
        until("the error again", lambda: info(c, "M")["mirror"].get("error"))
        assert state(c, "M")["messages"] == 1
        c.api("STREAM.DELETE.M")


def promotion(srv):
    with natsraw.Conn(port=srv.port) as c:
        create(c, "O", subjects=["o.>"])
        create(c, "OTHER", subjects=["other"])
        flood(c, "o.%d", 0, 10)
        create(c, "M", mirror={"name": "O"})
        same(c, "O", "M")
        for cfg in (dict(mirror={"name": "OTHER"}), dict(mirror={"name": "O", "filter_subject": "o.1"})):
            assert update(c, "M", **cfg)["error"]["err_code"] == 10055, cfg
        assert update(c, "M", subjects=["m"], mirror={"name": "O"})["error"]["err_code"] == 10034
        assert "error" not in update(c, "M", mirror={"name": "O"}, description="still one")
        a = update(c, "M", subjects=["m.>"])
        assert "mirror" not in a and "mirror" not in a["config"] and a["config"]["subjects"] == ["m.>"], a
        assert a["config"]["duplicate_window"] == 120000000000
        assert publish(c, "m.1") == 11
        publish(c, "o.1")
        publish(c, "o.2")
        assert publish(c, "m.2") == 12
        assert state(c, "M")["messages"] == 12
        assert update(c, "M", subjects=["m.>"], mirror={"name": "O"})["error"]["err_code"] in (10034, 10055)
        for name in ("M", "O", "OTHER"):
            c.api("STREAM.DELETE." + name)


def mirror_direct(srv):
    with natsraw.Conn(port=srv.port) as c:
        create(c, "O", subjects=["o.>"], allow_direct=True)
        publish(c, "o.a", "one")
        a = create(c, "M", mirror={"name": "O"})
        assert a["config"]["mirror_direct"] is True
        same(c, "O", "M")
        for _ in range(20):  # one of the two answers
            m = c.request("$JS.API.DIRECT.GET.O.o.a", b"")
            assert m.data == b"one" and m.headers()["Nats-Sequence"] == "1", m
        assert update(c, "M", subjects=["mm"], mirror_direct=True)["config"]["mirror_direct"] is True
        for name in ("M", "O"):
            c.api("STREAM.DELETE." + name)


# --- sources --------------------------------------------------------------------------------------------------

def headers(m):
    block = base64.b64decode(m.get("hdrs", "")).decode()
    return [line for line in block.split("\r\n")[1:] if line]


def sources(srv):
    with natsraw.Conn(port=srv.port) as c:
        create(c, "A", subjects=["a.>"], allow_rollup_hdrs=True)
        create(c, "B", subjects=["b.>"])
        a = create(c, "S", sources=[{"name": "A"}, {"name": "B", "filter_subject": "b.1"}, {"name": "B", "filter_subject": "b.2"}],
                   subjects=["own"])
        assert "duplicate_window" not in a["config"] and len(a["config"]["sources"]) == 3, a["config"]
        assert {"name": "B", "lag": 0, "active": -1, "filter_subject": "b.1"} in a["sources"], a["sources"]
        publish(c, "a.x", "1", {"Nats-Expected-Stream": "A", "Foo": "1", "Nats-Msg-Id": "m"})
        until("A", lambda: state(c, "S")["messages"] == 1)
        publish(c, "a.y", "2", {"Nats-Stream-Source": "Q 7 > > q", "Bar": "1"})
        until("A", lambda: state(c, "S")["messages"] == 2)
        publish(c, "own", "3")
        publish(c, "a.x", "4", {"Nats-Rollup": "sub"})
        until("A", lambda: state(c, "S")["messages"] == 4)
        for i in (1, 2, 3):
            publish(c, "b.%d" % i, "b%d" % i)
        until("B", lambda: state(c, "S")["messages"] == 6)
        assert headers(get(c, "S", 1)) == ["Foo: 1", "Nats-Msg-Id: m", "Nats-Stream-Source: A 1 > > a.x"]
        assert headers(get(c, "S", 2)) == ["Bar: 1", "Nats-Stream-Source: A 2 > > a.y"]
        assert headers(get(c, "S", 3)) == []
        assert headers(get(c, "S", 4)) == ["Nats-Rollup: sub", "Nats-Stream-Source: A 3 > > a.x"]
        both = {headers(get(c, "S", s))[0] for s in (5, 6)}
        assert both == {"Nats-Stream-Source: B 1 b.1 > b.1", "Nats-Stream-Source: B 2 b.2 > b.2"}, both
        # a source that is taken away stops; taken up again it goes on where it was
        assert "error" not in update(c, "S", sources=[{"name": "A"}], subjects=["own"])
        publish(c, "b.1", "later")
        publish(c, "a.z", "z")
        until("A alone", lambda: state(c, "S")["messages"] == 7)
        c.api("STREAM.PURGE.S")
        assert "error" not in update(c, "S", sources=[{"name": "A"}, {"name": "B", "filter_subject": "b.1"}], subjects=["own"])
        until("B again", lambda: state(c, "S")["messages"] == 1)
        assert headers(get(c, "S", 8)) == ["Nats-Stream-Source: B 4 b.1 > b.1"]
        # of a copy of a copy the header names the next
        create(c, "T", sources=[{"name": "S", "opt_start_seq": 8}], allow_rollup_hdrs=True)
        until("T", lambda: state(c, "T")["messages"] == 1)
        assert headers(get(c, "T", 1)) == ["Nats-Stream-Source: S 8 > > b.1"]
        for name in ("T", "S", "A", "B"):
            c.api("STREAM.DELETE." + name)


def work_queue(srv):
    """Of a work queue what is copied goes, and not before it is stored."""
    with natsraw.Conn(port=srv.port) as c:
        create(c, "W", subjects=["w.>"], retention="workqueue")
        create(c, "I", subjects=["i.>"], retention="interest")
        create(c, "S", sources=[{"name": "W"}, {"name": "I"}])
        until("both", lambda: all(info(c, n)["state"]["consumer_count"] == 1 for n in ("W", "I")))
        names = c.api("CONSUMER.NAMES.W")["consumers"]
        assert len(names) == 1 and names[0].startswith("JS_SRC_"), names
        k = c.api("CONSUMER.INFO.W." + names[0])["config"]
        assert k["ack_policy"] == "flow_control" and k["durable_name"] == names[0] and k["sourcing"] is True, k
        flood(c, "w.%d", 0, 500)
        flood(c, "i.%d", 0, 500)
        until("all copied", lambda: state(c, "S")["messages"] == 1000)
        until("all gone", lambda: state(c, "W")["messages"] == 0 and state(c, "I")["messages"] == 0)
    srv.restart()
    with natsraw.Conn(port=srv.port) as c:
        for i in range(2000):
            c.pub("w.%d" % (i % 7), "x")
        c.ping()
        srv.restart()
    with natsraw.Conn(port=srv.port) as c:
        flood(c, "w.%d", 0, 100)
        last = info(c, "W")["state"]["last_seq"]
        until("the rest", lambda: state(c, "S")["messages"] == 500 + last)
        until("gone too", lambda: state(c, "W")["messages"] == 0)
        assert c.api("CONSUMER.NAMES.W")["consumers"] == names
        for name in ("S", "W", "I"):
            c.api("STREAM.DELETE." + name)


def transforms(srv):
    with natsraw.Conn(port=srv.port) as c:
        create(c, "O", subjects=["o.>"])
        create(c, "T1", sources=[{"name": "O", "subject_transforms": [{"src": "o.a", "dest": "p"}, {"src": "o.b", "dest": ""}]}])
        a = create(c, "T2", mirror={"name": "O", "subject_transforms": [
            {"src": "o.a", "dest": "p"}, {"src": "o.b.*", "dest": "q.{{wildcard(1)}}"}]})
        assert a["mirror"]["subject_transforms"][0] == {"src": "o.a", "dest": "p"}, a["mirror"]
        create(c, "T3", sources=[{"name": "O", "subject_transforms": [{"src": "o.>", "dest": "p.>"}]}])
        for s in ("o.a", "o.b", "o.b.x", "o.c"):
            publish(c, s)
        until("all", lambda: [state(c, s)["messages"] for s in ("T1", "T2", "T3")] == [2, 2, 4])

        def shown(s):
            return [(m["subject"], (headers(m) or [""])[0]) for m in (get(c, s, i) for i in range(1, 5)) if m]
        h = "Nats-Stream-Source: O "
        assert shown("T1") == [("p", h + "1 o.a\fo.b p\f> o.a"), ("o.b", h + "2 o.a\fo.b p\f> o.b")], shown("T1")
        assert shown("T2") == [("p", ""), ("q.x", "")] and state(c, "T2")["last_seq"] == 3, shown("T2")
        assert shown("T3") == [("p." + s, h + "%d o.> p.> o.%s" % (i + 1, s)) for i, s in enumerate(("a", "b", "b.x", "c"))]
        for name in ("T1", "T2", "T3", "O"):
            c.api("STREAM.DELETE." + name)


def counters(srv):
    """What comes from several sources is added up, also over kills; what is no counter is passed over."""
    with natsraw.Conn(port=srv.port) as c:
        for n in ("a", "b"):
            create(c, n.upper(), subjects=[n + ".>"], allow_msg_counter=True)
        create(c, "N", subjects=["n.>"])
        create(c, "S", subjects=["s.>"], allow_msg_counter=True, sources=[
            {"name": "A", "subject_transforms": [{"src": "a.>", "dest": "s.>"}]},
            {"name": "B", "subject_transforms": [{"src": "b.>", "dest": "s.>"}]}, {"name": "N"}])

        def total(want):
            def at():
                m = c.api("STREAM.MSG.GET.S", {"last_by_subj": "s.x"}).get("message")
                return m if m and json.loads(base64.b64decode(m["data"])) == {"val": want} else None
            return until("the sum " + want, at)
        for subject, incr, want in (("a.x", "5", "5"), ("a.x", "+2", "7"), ("b.x", "10", "17"), ("s.x", "1", "18"),
                                    ("a.x", "-3", "15"), ("b.x", "99999999999999999999", "100000000000000000014")):
            publish(c, subject, "", {"Nats-Incr": incr})
            m = total(want)
        assert sorted(headers(m)) == [
            'Nats-Counter-Sources: {"A":{"a.x":"4"},"B":{"b.x":"100000000000000000009"}}', "Nats-Incr: 99999999999999999999",
            "Nats-Stream-Source: B 2 b.> s.> b.x"], headers(m)
        publish(c, "n.x", "no counter")
        publish(c, "a.x", "", {"Nats-Incr": "1"})
        total("100000000000000000015")
        publish(c, "n.x", "", None)
        for _ in range(200):
            c.pub("a.x", "", hdr={"Nats-Incr": "1"})
            c.pub("b.x", "", hdr={"Nats-Incr": "-1"})
        c.ping()
    srv.restart()
    with natsraw.Conn(port=srv.port) as c:
        def val(s, subject):
            m = c.api("STREAM.MSG.GET." + s, {"last_by_subj": subject})["message"]
            return int(json.loads(base64.b64decode(m["data"]))["val"])
        publish(c, "a.x", "", {"Nats-Incr": "7"})
        until("the sum of both and the own one",
              lambda: val("S", "s.x") == val("A", "a.x") + val("B", "b.x") + 1)
        assert c.api("STREAM.INFO.S", {"subjects_filter": "n.>"})["state"].get("subjects") is None
        for name in ("S", "A", "B", "N"):
            c.api("STREAM.DELETE." + name)


def given_consumer(srv):
    """A consumer of the origin that somebody made (ADR-60)."""
    with natsraw.Conn(port=srv.port) as c:
        create(c, "W", subjects=["w.>"], retention="workqueue")
        k = {"name": "d", "durable_name": "d", "ack_policy": "flow_control", "deliver_subject": "dd", "flow_control": True,
             "idle_heartbeat": 1000000000}
        a = c.api("CONSUMER.CREATE.W.d", {"stream_name": "W", "config": k})
        assert "error" not in a, a
        flood(c, "w.%d", 0, 50)
        create(c, "S", sources=[{"name": "W", "consumer": {"name": "d", "deliver_subject": "dd"}}])
        until("copied", lambda: state(c, "S")["messages"] == 50)
        until("acknowledged", lambda: state(c, "W")["messages"] == 0)
        flood(c, "w.%d", 0, 50)
    srv.restart()
    with natsraw.Conn(port=srv.port) as c:
        flood(c, "w.%d", 0, 50)
        until("copied", lambda: state(c, "S")["messages"] == 150)
        until("acknowledged", lambda: state(c, "W")["messages"] == 0)
        c.api("STREAM.DELETE.S")
        assert c.api("CONSUMER.NAMES.W")["consumers"] == ["d"]  # not ours to delete
        create(c, "L", subjects=["l"])
        publish(c, "l")
        c.api("CONSUMER.CREATE.L.n", {"stream_name": "L", "config": dict(k, name="n", durable_name="n", ack_policy="none",
                                                                         deliver_subject="nn")})
        create(c, "M", mirror={"name": "L", "consumer": {"name": "n", "deliver_subject": "nn"}})
        e = until("the error", lambda: info(c, "M")["mirror"].get("error"))
        assert e["err_code"] == 10214 and state(c, "M")["messages"] == 0, e
        c.api("STREAM.DELETE.M")
        create(c, "M", sources=[{"name": "L", "consumer": {"name": "n", "deliver_subject": "nn"}}])
        e = until("the error", lambda: info(c, "M")["sources"][0].get("error"))
        assert e["err_code"] == 10217 and state(c, "M")["messages"] == 0, e
        assert state(c, "L")["messages"] == 1 and c.api("CONSUMER.NAMES.L")["consumers"] == ["n"]
        for name in ("M", "L", "W"):
            c.api("STREAM.DELETE." + name)


def sources_killed(srv):
    """Two origins, one of them twice, under kills: each message is there once, in order."""
    with natsraw.Conn(port=srv.port) as c:
        create(c, "A", subjects=["a.>"])
        create(c, "B", subjects=["b.>"])
        create(c, "S", sources=[{"name": "A"}, {"name": "B", "filter_subject": "b.1"}, {"name": "B", "filter_subject": "b.2"}])
    for n in range(4):
        with natsraw.Conn(port=srv.port) as c:
            flood(c, "a.%d", 0, 1500)
            flood(c, "b.%d", 0, 1500)
            if n == 1:
                c.api("STREAM.PURGE.S", {"keep": 1})
            for i in range(300):
                c.pub("a.%d" % (i % 7), "x")
                c.pub("b.%d" % (i % 7), "x")
            c.ping()
        srv.restart(kill=n != 3)
    with natsraw.Conn(port=srv.port) as c:
        want = {"A > >": list(range(1, info(c, "A")["state"]["last_seq"] + 1))}
        for f in ("b.1", "b.2"):
            sub = c.sub("all." + f)
            n = c.api("CONSUMER.CREATE.B", {"stream_name": "B", "config": {
                "ack_policy": "none", "deliver_subject": "all." + f, "filter_subject": f}})["num_pending"]
            want["B %s >" % f] = [int(c.next(sub, 20).reply.split(".")[5]) for _ in range(n)]
        total = sum(len(v) for v in want.values())
        until("all of it", lambda: info(c, "S")["state"]["last_seq"] == total)
        sub = c.sub("all.s")
        n = c.api("CONSUMER.CREATE.S", {"stream_name": "S", "config": {
            "ack_policy": "none", "deliver_subject": "all.s"}})["num_pending"]
        got = {k: [] for k in want}
        for _ in range(n):
            name, seq, f, dest, _ = c.next(sub, 20).headers()["Nats-Stream-Source"].split(" ")
            got["%s %s %s" % (name, f, dest)].append(int(seq))
        for k, seqs in got.items():
            # what the purge left is the tail of all, without a hole, each once
            assert seqs == want[k][len(want[k]) - len(seqs):], (k, len(seqs), len(want[k]))
        for name in ("S", "A", "B"):
            c.api("STREAM.DELETE." + name)


REFUSED = [
    (dict(mirror={"name": "O"}, subjects=["x"]), 400, 10034, "stream mirrors can not contain subjects"),
    (dict(mirror={"name": ""}), 400, 10142, "mirrored stream name is invalid"),
    (dict(mirror={}), 400, 10142, "mirrored stream name is invalid"),
    (dict(mirror={"name": "a.b"}), 400, 10142, "mirrored stream name is invalid"),
    (dict(mirror={"name": "X"}), 500, 10052, "detected cycle"),
    (dict(mirror={"name": "O"}, first_seq=5), 400, 10143, "stream mirrors can not have first sequence configured"),
    (dict(mirror={"name": "SMALL"}, max_msg_size=5), 400, 10030, "stream mirror must have max message size >= source"),
    (dict(mirror={"name": "O", "filter_subject": "o..a"}), 500, 10049,
     "subject filter 'o..a' for the mirror invalid subject"),
    (dict(mirror={"name": "O", "filter_subject": "o.a", "subject_transforms": [{"src": "o.>", "dest": "p.>"}]}), 400, 10150,
     "mirror with multiple subject transforms cannot also have a single subject filter"),
    (dict(mirror={"name": "O", "subject_transforms": [{"src": "o.*", "dest": "p.{{wildcard(2)}}"}]}), 400, 10154,
     "mirror transform: invalid mapping destination: wildcard index out of range in {{wildcard(2)}}: [2]"),
    (dict(mirror={"name": "O", "subject_transforms": [{"src": "o..", "dest": "p"}]}), 400, 10151,
     "mirror transform source: invalid subject o.."),
    (dict(mirror={"name": "O", "subject_transforms": [{"src": "o.>", "dest": "p.>"}, {"src": "o.a", "dest": "q"}]}), 400, 10152,
     "mirror subject filters can not overlap"),
    (dict(sources=[{"name": "O", "subject_transforms": [{"src": "o.>", "dest": "p.>"}, {"src": "o.a", "dest": "q"}]}]), 400,
     10147, "source filters can not overlap"),
    (dict(sources=[{"name": "O", "subject_transforms": [{"src": "o.>", "dest": "p.>"}, {"src": "o..", "dest": "z"}]}]), 400,
     10145, "source transform source: invalid subject o.."),
    (dict(sources=[{"name": "O", "subject_transforms": [{"src": "o.>", "dest": "p"}]}]), 400, 10146,
     "source transform: invalid subject"),
    (dict(sources=[{"name": "O", "filter_subject": "o.a", "subject_transforms": [{"src": "o.>", "dest": "p.>"}]}]), 400, 10144,
     "source with multiple subject transforms cannot also have a single subject filter"),
    (dict(mirror={"name": "O", "consumer": {"name": "d"}}), 400, 10213, "stream mirror consumer config is invalid"),
    (dict(mirror={"name": "O", "opt_start_seq": 3, "consumer": {"name": "d", "deliver_subject": "dd"}}), 400, 10213,
     "stream mirror consumer config is invalid"),
    (dict(sources=[{"name": "O", "consumer": {"name": "d", "deliver_subject": "d.>"}}]), 400, 10215,
     "stream source consumer config is invalid"),
    (dict(mirror={"name": "O"}, allow_atomic=True), 400, 10198, "stream mirrors can not also use atomic publishing"),
    (dict(mirror={"name": "O", "external": {"api": "$JS.API", "deliver": "dd"}}), 400, 10021,
     "stream external api prefix $JS.API must not overlap with $JS.API"),
    (dict(mirror={"name": "O", "external": {"api": "$JS..API", "deliver": "dd"}}), 500, 10052,
     "stream external api prefix \"$JS..API\" must be a valid subject without wildcards"),
    (dict(mirror={"name": "O", "external": {"api": "$JS.x.API", "deliver": "d.>"}}), 400, 10024,
     "stream external delivery prefix d.> must not contain wildcards"),
    (dict(mirror={"name": "O"}, sealed=True), 500, 10052, "stream configuration for create can not be sealed"),
    (dict(mirror={"name": "O"}, num_replicas=3), 500, 10074, "replicas > 1 not supported in non-clustered mode"),
    (dict(mirror={"name": "O", "bogus": 1}), 400, 10025, 'invalid JSON: json: unknown field "bogus"'),
    (dict(mirror="O"), 400, 10025, "invalid JSON: json: cannot unmarshal string into Go struct field "
     "StreamConfigRequest.StreamConfig.mirror of type server.StreamSource"),
    (dict(mirror={"name": 5}), 400, 10025, "invalid JSON: json: cannot unmarshal number into Go struct field "
     "StreamSource.StreamConfig.mirror.name of type string"),
    (dict(mirror={"name": "O"}, sources=[{"name": "O"}]), 400, 10031, "stream mirrors can not also contain other sources"),
    (dict(sources=[{}]), 400, 10141, "sourced stream name is invalid"),
    (dict(sources=[{"name": "O"}, {"name": "O"}]), 400, 10140, "duplicate source configuration detected"),
    (dict(sources=[{"name": "O", "opt_start_seq": 2}, {"name": "O", "opt_start_seq": 3}]), 400, 10140,
     "duplicate source configuration detected"),
    (dict(sources=[{"name": "O", "filter_subject": "z..z"}]), 500, 10049,
     "subject filter 'z..z' for the source: invalid subject"),
    (dict(sources=[{"name": "SMALL"}], max_msg_size=5), 400, 10046, "stream source must have max message size >= target"),
    (dict(sources=[{"name": "X"}]), 500, 10052, "detected cycle"),
    (dict(sources={"name": "O"}), 400, 10025, "invalid JSON: json: cannot unmarshal object into Go struct field "
     "StreamConfigRequest.StreamConfig.sources of type []*server.StreamSource"),
    (dict(sources=["O"]), 400, 10025, "invalid JSON: json: cannot unmarshal string into Go struct field "
     "StreamConfigRequest.StreamConfig.sources of type server.StreamSource"),
    (dict(subjects=["q"], mirror_direct=True), 500, 10052, "stream has no mirror but does have mirror direct"),
]


ODD_ANSWERS = [  # what answers where a consumer was asked for, and the error that is shown of it
    ("{\"error\":{}}", {"code": 0}),
    ("{\"error\":{\"code\":5}}", {"code": 5}),
    ("{\"error\":{\"err_code\":10059,\"description\":\"e\"}}", {"code": 0, "err_code": 10059, "description": "e"}),
    ("{\"error\":{},\"config\":{\"name\":\"x\"},\"name\":\"x\"}", {"code": 0}),
    ("{\"error\":null}", {"code": 500, "err_code": 10045, "description": "invalid consumer create response"}),
    ("{}", {"code": 500, "err_code": 10045, "description": "invalid consumer create response"}),
    ("{\"config\":{},\"name\":\"x\"}", {"code": 500, "err_code": 10045, "description": "malformed subject"}),
    ("{\"error\":{\"code\":400},\"config\":{}}", {"code": 400}),
]


def odd_answers(srv):
    with natsraw.Conn(port=srv.port) as c, natsraw.Conn(port=srv.port) as origin:
        sid = origin.sub("odd.CONSUMER.CREATE.>")
        origin.ping()
        for text, want in ODD_ANSWERS:
            create(c, "ODD", sources=[{"name": "O", "external": {"api": "odd", "deliver": "odd.d"}}])
            origin.pub(origin.next(sid, 10).reply, text)
            until("an error shows", lambda: "error" in info(c, "ODD")["sources"][0])
            got = info(c, "ODD")["sources"][0]["error"]
            assert got == want, (text, got, want)
            c.api("STREAM.DELETE.ODD")
            while not origin.none(sid, 0.05):
                origin.next(sid)


def refusals(srv):
    with natsraw.Conn(port=srv.port) as c:
        create(c, "O", subjects=["o.>"])
        create(c, "SMALL", subjects=["small"], max_msg_size=10)
        before = c.api("STREAM.NAMES")["streams"]
        for cfg, code, err_code, text in REFUSED:
            e = c.api("STREAM.CREATE.X", dict(cfg, name="X")).get("error")
            want = {"code": code, "err_code": err_code, "description": text}
            assert e == want, "%s\n  got  %s\n  want %s" % (cfg, e, want)
        assert c.api("STREAM.NAMES")["streams"] == before
        for name in ("O", "SMALL"):
            c.api("STREAM.DELETE." + name)


def killed(srv):
    """Origin and mirror in one server that is killed again and again while messages come: at the end every message is
    there once, at its sequence."""
    total, per_round = 0, 4000
    with natsraw.Conn(port=srv.port) as c:
        create(c, "O", subjects=["o.>"])
        create(c, "M", mirror={"name": "O"})
        create(c, "F", mirror={"name": "O", "filter_subject": "o.3"})
    for n in range(4):
        with natsraw.Conn(port=srv.port) as c:
            if n == 2:
                until("17 is copied", lambda: state(c, "M")["last_seq"] >= 17)
                c.api("STREAM.MSG.DELETE.O", {"seq": 17})  # is copied already: stays there
            flood(c, "o.%d", total, per_round)
            total += per_round
            # in the middle, not at the end: the mirror lies behind by what this kill catches
            for i in range(500):
                c.pub("o.%d" % ((total + i) % 7), "message %d" % (total + i))
            c.ping()
        srv.restart(kill=n != 3)
        with natsraw.Conn(port=srv.port) as c:
            total = info(c, "O")["state"]["last_seq"]
    with natsraw.Conn(port=srv.port) as c:
        last = info(c, "O")["state"]["last_seq"]
        until("the mirror is complete", lambda: state(c, "M")["last_seq"] == last)
        m = state(c, "M")
        assert m["first_seq"] == 1 and m["messages"] == last and m["num_deleted"] == 0, m
        sub = c.sub("all.o")
        c.api("CONSUMER.CREATE.O.all", {"stream_name": "O", "config": {
            "name": "all", "ack_policy": "none", "deliver_subject": "all.o"}})
        mid = c.sub("all.m")
        c.api("CONSUMER.CREATE.M.all", {"stream_name": "M", "config": {
            "name": "all", "ack_policy": "none", "deliver_subject": "all.m"}})
        want = {}
        for _ in range(last - 1):
            x = c.next(sub, 20)
            want[int(x.reply.split(".")[5])] = (x.subject, x.data, x.reply.split(".")[7])
        third = 0
        for i in range(last):
            x = c.next(mid, 20)
            seq = int(x.reply.split(".")[5])
            assert seq == i + 1, (seq, i)
            assert seq == 17 or want[seq] == (x.subject, x.data, x.reply.split(".")[7]), seq
            third += x.subject == "o.3"
        until("the filtered one", lambda: state(c, "F")["messages"] == third)
        for name in ("F", "M", "O"):
            c.api("STREAM.DELETE." + name)


def command_line(srv):
    path, why = natscli.find()
    if path is None:
        print("     (left out: %s)" % why)
        return
    cli = natscli.Cli(path, "nats://127.0.0.1:%d" % srv.port, server.scratch())
    cli.sh("nats stream add ORDERS --subjects 'orders.>' --defaults --allow-direct")
    cli.sh("nats pub orders.1 hello --jetstream 2>&1 || nats req orders.1 hello")
    with open(os.path.join(srv.store + ".json"), "w") as f:
        json.dump({"name": "MIRROR", "storage": "file", "num_replicas": 1, "mirror": {"name": "ORDERS"}}, f)
    cli.sh("nats stream add --config '%s.json'" % srv.store)
    with natsraw.Conn(port=srv.port) as c:
        same(c, "ORDERS", "MIRROR")
    out = cli.sh("nats stream info MIRROR")
    assert "Mirror Information" in out and "Stream Name: ORDERS" in out, out
    cli.sh("nats kv add BUCKET --history 3")
    cli.sh("nats kv put BUCKET k one")
    cli.sh("nats kv add COPY --mirror BUCKET")
    with natsraw.Conn(port=srv.port) as c:
        same(c, "KV_BUCKET", "KV_COPY")
    out = cli.sh("nats kv info COPY")
    assert "BUCKET" in out, out
    for name in ("COPY", "BUCKET"):
        cli.sh("nats kv del %s -f" % name)
    for name in ("MIRROR", "ORDERS"):
        cli.sh("nats stream rm %s -f" % name)


def gaps(srv):
    """An origin whose sequences leap: what a copy keeps on both sides of the gap is near together in memory and time."""
    with natsraw.Conn(port=srv.port) as c:
        create(c, "LEAP", subjects=["leap.>"])
        create(c, "LEAPT", mirror={"name": "LEAP"})
        publish(c, "leap.a")
        publish(c, "leap.b")
        same(c, "LEAP", "LEAPT")
        for seq in (2**32, 2**50, 2**61) if OURS else (2**32, 2**50):
            assert c.api("STREAM.PURGE.LEAP", {"seq": seq})["success"]
            publish(c, "leap.a")
            until("what came behind a gap is copied", lambda: state(c, "LEAPT")["last_seq"] == seq)
        s, n = state(c, "LEAPT"), 5 if OURS else 4
        assert (s["messages"], s["first_seq"], s["last_seq"], s["num_deleted"]) == (n, 1, seq, seq - n), s
    if OURS:
        srv.restart()
    with natsraw.Conn(port=srv.port) as c:
        a = c.api("CONSUMER.CREATE.LEAPT.c", {"stream_name": "LEAPT", "config": {"name": "c", "filter_subject": "leap.a"}})
        assert a["num_pending"] == n - 1, a
        assert state(c, "LEAPT")["num_deleted"] == seq - n
        assert c.api("STREAM.PURGE.LEAPT", {"keep": 2})["purged"] == n - 2
        for name in ("LEAPT", "LEAP"):
            assert c.api("STREAM.DELETE." + name)["success"]


ALL = [mirror_copies, gaps, mirror_starts, origin_comes_later, promotion, mirror_direct, sources, transforms, work_queue,
       counters, given_consumer, odd_answers, refusals, killed,
       sources_killed, command_line]


def main():
    exe = None if OURS else sys.argv[sys.argv.index("--exe") + 1]
    names = [a for a in sys.argv[1:] if not a.startswith("--") and a != exe]
    srv = server.Server(exe=exe)
    failed = passed = 0
    try:
        for fn in ALL:
            if names and fn.__name__ not in names:
                continue
            begin = time.monotonic()
            try:
                fn(srv)
                passed += 1
                print("ok   %s (%.1f s)" % (fn.__name__, time.monotonic() - begin))
            except Exception as e:  # noqa: BLE001
                failed += 1
                print("FAIL %s: %s: %s" % (fn.__name__, type(e).__name__, e))
                srv.restart()
                with natsraw.Conn(port=srv.port) as c:
                    for name in c.api("STREAM.NAMES")["streams"] or []:
                        c.api("STREAM.DELETE." + name)
    finally:
        srv.stop()
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
