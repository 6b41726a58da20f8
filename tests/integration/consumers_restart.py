#!/usr/bin/env python3
"""What consumers keep over a kill and a stop: pause, priority groups (not who is pinned), a reset, acks by flow control, and
positions beyond the stream's end. Everything asked for was answered before the kill."""
import datetime
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import checks  # noqa: E402
import natsraw  # noqa: E402
import server  # noqa: E402
from checks import check  # noqa: E402

S = 1000000000


def ahead(seconds):
    t = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return t.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def consumer(c, name, **cfg):
    body = dict({"name": name, "durable_name": name, "ack_policy": "explicit"}, **cfg)
    a = c.api("CONSUMER.CREATE.S." + name, json.dumps({"stream_name": "S", "config": body}))
    assert "error" not in a, a
    return a


def numbers(c, name):
    a = c.api("CONSUMER.INFO.S." + name)
    return (a["delivered"]["consumer_seq"], a["delivered"]["stream_seq"], a["ack_floor"]["stream_seq"], a["num_ack_pending"],
            a["num_pending"])


def pull(c, name, **body):
    return c.request("$JS.API.CONSUMER.MSG.NEXT.S." + name, json.dumps(dict({"batch": 1}, **body)), timeout=3)


def before(c, until):
    c.api("STREAM.CREATE.S", json.dumps({"name": "S", "subjects": ["s.>"]}))
    for _ in range(10):
        c.request("s.a", b"x")
    consumer(c, "paused")
    check("pause", c.api("CONSUMER.PAUSE.S.paused", json.dumps({"pause_until": until}))["paused"], True)
    consumer(c, "pin", priority_groups=["A"], priority_policy="pinned_client", priority_timeout=60 * S)
    pin = pull(c, "pin", group="A").headers()["Nats-Pin-Id"]
    consumer(c, "reset")
    for _ in range(6):
        c.request(pull(c, "reset").reply, b"")
    check("reset", c.api("CONSUMER.RESET.S.reset", json.dumps({"seq": 4}))["reset_seq"], 4)
    consumer(c, "beyond")
    check("beyond", c.api("CONSUMER.RESET.S.beyond", json.dumps({"seq": 50}))["reset_seq"], 50)
    sid = c.sub("dlv")
    consumer(c, "flow", ack_policy="flow_control", deliver_subject="dlv", max_ack_pending=4)
    m = c.next(sid)
    while not m.hdr:
        m = c.next(sid)
    c.pub(m.reply, b"", hdr={"Nats-Last-Consumer": "3", "Nats-Last-Stream": "3"})
    while m.data[:1] != b"x" or ".7." not in m.reply:  # the seventh comes when three are acknowledged
        m = c.next(sid)
    c.unsub(sid)
    c.api("STREAM.UPDATE.S", json.dumps({"name": "S", "subjects": ["s.>"], "description": "after all that"}))
    return pin


def after(c, pin, kill):
    a = c.api("CONSUMER.INFO.S.paused")
    check("still paused", (a.get("paused"), a["pause_remaining"] > 3000 * S), (True, True))
    check("paused gives nothing", pull(c, "paused", expires=S // 10).status()[0], 408)
    check("goes on", c.api("CONSUMER.PAUSE.S.paused")["paused"], False)
    check("gives", pull(c, "paused", expires=S).data, b"x")
    a = c.api("CONSUMER.INFO.S.pin")
    check("groups", (a["config"]["priority_groups"], a["config"]["priority_policy"]), (["A"], "pinned_client"))
    check("nobody is pinned", "pinned_client_id" in a["priority_groups"][0], False)
    check("the old pin", pull(c, "pin", group="A", id=pin, expires=S).status(), (423, "Nats-Wrong-Pin-Id"))
    check("a new one", pull(c, "pin", group="A", expires=S).headers()["Nats-Pin-Id"] != pin, True)
    check("reset", numbers(c, "reset"), (0, 3, 3, 0, 7))
    check("first after the reset", pull(c, "reset").reply.split(".")[4:7], ["1", "4", "1"])
    check("beyond", numbers(c, "beyond"), (0, 49, 49, 0, 0))
    # nobody is told when such an ack is durable: a kill may take the last 50 ms of them
    check("flow control", kill or numbers(c, "flow")[2] >= 3, True)


def main():
    for kill in (True, False):
        with server.Server() as srv:
            with natsraw.Conn(port=srv.port) as c:
                pin = before(c, ahead(3600))
            srv.restart(kill=kill)
            with natsraw.Conn(port=srv.port) as c:
                after(c, pin, kill)
    print("%d failed" % checks.failed)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
