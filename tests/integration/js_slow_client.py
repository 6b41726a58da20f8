#!/usr/bin/env python3
"""A client that reads slowly is not cut off by its consumers: delivery rests while its buffer is full, and everything
arrives, pushed and pulled."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

COUNT, SIZE = 150, 1000000  # twice the pending limit of a connection


def receive(d, sid):
    for _ in range(COUNT):
        m = d.next(sid, 30)
        assert len(m.data) == SIZE, m.hdr
    assert not d.errors, d.errors


def main():
    srv = server.Server()
    try:
        c = natsraw.Conn(port=srv.port, timeout=30)
        d = natsraw.Conn(port=srv.port, timeout=30)
        assert "error" not in c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "storage": "memory"})
        for _ in range(COUNT):
            c.pub("s.a", b"z" * SIZE)
        c.ping()
        sid = d.sub("box")
        d.ping()
        push = {"name": "p", "deliver_subject": "box", "ack_policy": "none", "inactive_threshold": 60000000000}
        assert "error" not in c.api("CONSUMER.CREATE.S.p", {"stream_name": "S", "config": push})
        c.ping()
        receive(d, sid)
        c.api("CONSUMER.CREATE.S.q", {"stream_name": "S", "config": {"durable_name": "q", "ack_policy": "explicit"}})
        inbox, sid = d.new_inbox()
        d.pub("$JS.API.CONSUMER.MSG.NEXT.S.q", '{"batch":%d,"expires":60000000000}' % COUNT, inbox)
        receive(d, sid)
        print("ok")
    finally:
        srv.stop()


if __name__ == "__main__":
    main()
