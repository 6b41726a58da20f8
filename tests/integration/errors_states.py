#!/usr/bin/env python3
"""API errors that want more than requests to one server as it was started (tests/conformance/errors.tsv names them): an origin
that answers nonsense, a stream that goes while consumers are made. Each is refused with its code, and what was there stays."""
import json
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402
from checks import until  # noqa: E402

WAIT_S = 20


def same(what, got, want):
    assert got == want, "%s: %r, not %r" % (what, got, want)


def state(c, name):
    s = c.api("STREAM.INFO." + name)["state"]
    return {k: s[k] for k in ("messages", "bytes", "first_seq", "last_seq")}


# --- 10029, 10045: an origin that answers nonsense ------------------------------------------------------------

def origin_of(c, name):
    i = c.api("STREAM.INFO." + name)
    return i["mirror"] if "mirror" in i else i["sources"][0]


class Origin:
    """Sits behind x.api: takes the consumer requests of M and N."""

    def __init__(self, c):
        self.c, self.sid, self.asked, self.deliver = c, c.sub("x.api.>"), {}, {}

    def note(self, m):
        if ".CONSUMER.CREATE.O" in m.subject:
            whom = "M" if b"MIRROR" in m.data else "N"
            self.asked[whom], self.deliver[whom] = m, m.json()["config"]["deliver_subject"]

    def answer(self, whom, body):
        """Answers the newest request of the stream `whom` with body; None: with what JetStream says to it."""
        self.c.ping()
        while not self.c.none(self.sid, 0.001):
            self.note(self.c.next(self.sid))
        while whom not in self.asked:
            self.note(self.c.next(self.sid, WAIT_S))
        m = self.asked.pop(whom)
        if body is None:
            self.c.pub("$JS.API" + m.subject[len("x.api"):], m.data, m.reply, m.headers())
        else:
            self.c.pub(m.reply, body)


    def lose(self, whom):
        """A message of the consumer that comes far too early: some were lost, so it asks for another consumer."""
        self.c.pub(self.deliver[whom], b"early", "$JS.ACK.O.c.1.99.99.%d.0" % time.time_ns())


def strange_origin():
    """M and N copy O through an API prefix behind which this script sits."""
    external = {"name": "O", "external": {"api": "x.api", "deliver": "x.d"}}
    with server.Server() as srv:
        with natsraw.Conn(port=srv.port) as c:
            origin = Origin(c)
            c.api("STREAM.CREATE.O", {"name": "O", "subjects": ["o.>"]})
            for i in range(3):
                c.request("o.%d" % i, b"before")
            for name, cfg in (("M", {"mirror": external}), ("N", {"sources": [external]})):
                a = c.api("STREAM.CREATE." + name, dict(cfg, name=name))
                assert "error" not in a, a
                origin.answer(name, None)
                until(name + " has all", lambda: state(c, name)["messages"] == 3)
            kept = {name: state(c, name) for name in "MN"}
            for name in "MN":
                origin.lose(name)
            for body in (b"{}", b'{"name":"c","config":null}'):
                for name, code in (("M", 10029), ("N", 10045)):
                    origin.answer(name, body)
                    same("%s after %s" % (name, body), until("the error", lambda: origin_of(c, name).get("error")),
                         {"code": 500, "err_code": code, "description": "invalid consumer create response"})
                    same(name, state(c, name), kept[name])
                c.request("o.3", b"after")
            origin.answer("M", b"nonsense")
            until("10025", lambda: origin_of(c, "M").get("error") == {"code": 400, "err_code": 10025,
                                                                     "description": "invalid JSON: {err}"})
            same("M", state(c, "M"), kept["M"])
            for name in "MN":
                origin.answer(name, None)
                until(name + " goes on", lambda: state(c, name)["messages"] == 5)
                until(name + " has no error", lambda: "error" not in origin_of(c, name))
                held = [[c.api("STREAM.MSG.GET." + s, {"seq": i})["message"]["data"] for i in range(1, 6)] for s in (name, "O")]
                same(name + " holds what O holds", held[0], held[1])


# --- 10096: consumers made while the stream goes --------------------------------------------------------------

def stream_goes():
    """nats-server works at several requests at once: a create that has found its stream and finds it closed then gets 10096. Ours
    does what changes something one after another: each create comes before the deletion or finds no stream, 10059."""
    rounds, each = 30, 20
    with server.Server() as srv:
        conns = [natsraw.Conn(port=srv.port) for _ in range(4)]
        c, codes = conns[0], {}
        assert "error" not in c.api("STREAM.CREATE.T", {"name": "T", "subjects": ["t.>"]})
        for i in range(rounds):
            a = c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
            assert "error" not in a and a["state"]["consumer_count"] == 0, a
            c.request("s.x", b"x")
            c.request("t.x", b"x")
            inboxes = [k.new_inbox() for k in conns]
            for n in range(each):
                for k, conn in enumerate(conns):
                    cfg = {"name": "c%d-%d" % (k, n), "durable_name": "c%d-%d" % (k, n), "ack_policy": "explicit"}
                    conn.pub("$JS.API.CONSUMER.CREATE.S." + cfg["name"], json.dumps({"stream_name": "S", "config": cfg}), inboxes[k][0])
                if n == each // 2:
                    c.pub("$JS.API.STREAM.DELETE.S", b"", inboxes[0][0])
            for k, conn in enumerate(conns):
                for _ in range(each + (1 if k == 0 else 0)):
                    a = conn.next(inboxes[k][1], WAIT_S).json()
                    code = a.get("error", {}).get("err_code")
                    codes[code] = codes.get(code, 0) + 1
                    if a["type"].endswith("stream_delete_response"):
                        assert a == {"type": a["type"], "success": True}, a
            same("streams", c.api("STREAM.NAMES")["streams"], ["T"])
            same("T", state(c, "T")["messages"], i + 1)
        same("codes", set(codes), {None, 10059})
        srv.restart()
        with natsraw.Conn(port=srv.port) as again:
            same("streams", again.api("STREAM.NAMES")["streams"], ["T"])
            same("T", state(again, "T")["messages"], rounds)


ALL = [strange_origin, stream_goes]

if __name__ == "__main__":
    for test in ALL:
        test()
    print("%d passed, 0 failed" % len(ALL))
