#!/usr/bin/env python3
"""A client that reads slowly is not cut off by its consumers: delivery rests while its buffer is full, and everything
arrives, pushed and pulled; also where max_pending is no larger than what usually waits for a client."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

COUNT, SIZE = 150, 1000000  # twice the pending limit of a connection


def receive(d, sid, count, size):
    for _ in range(count):
        m = d.next(sid, 30)
        assert len(m.data) == size, m.hdr
    assert not d.errors, d.errors


def run(count, size, max_pending):
    store = server.scratch()
    with open(store + ".conf", "w") as f:
        f.write("max_payload: 1048576\nmax_pending: %d\n" % max_pending)
    srv = server.Server(store=store, config=store + ".conf")
    try:
        c = natsraw.Conn(port=srv.port, timeout=30)
        d = natsraw.Conn(port=srv.port, timeout=30)
        assert "error" not in c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "storage": "memory"})
        for _ in range(count):
            c.pub("s.a", b"z" * size)
        c.ping()
        sid = d.sub("box")
        d.ping()
        push = {"name": "p", "deliver_subject": "box", "ack_policy": "none", "inactive_threshold": 60000000000}
        assert "error" not in c.api("CONSUMER.CREATE.S.p", {"stream_name": "S", "config": push})
        c.ping()
        receive(d, sid, count, size)
        c.api("CONSUMER.CREATE.S.q", {"stream_name": "S", "config": {
            "durable_name": "q", "ack_policy": "explicit", "max_ack_pending": -1}})
        inbox, sid = d.new_inbox()
        d.pub("$JS.API.CONSUMER.MSG.NEXT.S.q", '{"batch":%d,"expires":60000000000}' % count, inbox)
        receive(d, sid, count, size)
    finally:
        srv.stop()


def main():
    run(COUNT, SIZE, 64 << 20)
    run(26000, 900, 4 << 20)
    print("ok")


if __name__ == "__main__":
    main()
