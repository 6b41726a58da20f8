#!/usr/bin/env python3
"""feature_flags { js_ack_fc_v2: true }: ack and flow control subjects carry domain and account; both forms are taken.
The subjects were learnt at nats-server 2.14.5."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import checks  # noqa: E402
import natsraw  # noqa: E402
import server  # noqa: E402
from checks import check  # noqa: E402

CONFIG = """
feature_flags { js_ack_fc_v2: true }
accounts { AA: { jetstream: enabled, users: [{user: a, password: a}] }, BB: { jetstream: enabled, users: [{user: b, password: b}] } }
"""
HASH = {"a": "Q1HWrJw7", "b": "4gkn6Ldy"}  # of AA and BB


def status(c, subject, body=b"+WPI"):
    m = c.request(subject, body, timeout=2)
    return m.status()[0] if m.hdr else "answered"


def one(c, user):
    head = "$JS.ACK._.%s." % HASH[user]
    c.api("STREAM.CREATE.S", json.dumps({"name": "S", "subjects": ["s.>"]}))
    for _ in range(3):
        c.request("s.a", b"x" * 100)
    c.api("CONSUMER.CREATE.S.c", json.dumps({"stream_name": "S", "config": {"name": "c", "durable_name": "c", "ack_policy": "explicit"}}))
    m = c.request("$JS.API.CONSUMER.MSG.NEXT.S.c", b"1")
    check("reply", m.reply.startswith(head + "S.c.1.1.1."), True)
    tail = m.reply[len(head):]
    for subject, want in ((m.reply, "answered"), (m.reply + ".more", "answered"), ("$JS.ACK." + tail, "answered"),
                          ("$JS.ACK.hub.%s.%s" % (HASH[user], tail), 503), ("$JS.ACK._.other123." + tail, 503)):
        check(subject, status(c, subject), want)
    check("ack", status(c, m.reply, b""), "answered")
    check("floor", c.api("CONSUMER.INFO.S.c")["ack_floor"]["stream_seq"], 1)
    sid = c.sub("dlv")
    c.api("CONSUMER.CREATE.S.f", json.dumps({"stream_name": "S", "config": {
        "name": "f", "ack_policy": "flow_control", "deliver_subject": "dlv", "max_ack_pending": 2}}))
    m = c.next(sid)
    while not m.hdr:
        m = c.next(sid)
    check("flow control", m.reply.rsplit(".", 1)[0], "$JS.FC._.%s.S.f" % HASH[user])
    hdr = {"Nats-Last-Consumer": "2", "Nats-Last-Stream": "2"}
    c.pub(m.reply.replace("._.", ".hub."), b"", hdr=hdr)
    c.ping()
    check("an answer for another domain", c.api("CONSUMER.INFO.S.f")["ack_floor"]["stream_seq"], 0)
    c.pub(m.reply, b"", hdr=hdr)
    c.ping()
    check("an answer", c.api("CONSUMER.INFO.S.f")["ack_floor"]["stream_seq"], 2)


def main():
    store = server.scratch()
    path = store + ".conf"
    with open(path, "w") as f:
        f.write(CONFIG)
    with server.Server(store=store, config=path) as srv:
        for user in "ab":
            with natsraw.Conn(port=srv.port, connect={"user": user, "pass": user}) as c:
                one(c, user)
    print("%d failed" % checks.failed)
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
