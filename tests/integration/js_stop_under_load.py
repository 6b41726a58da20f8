#!/usr/bin/env python3
"""SIGTERM while publishes and requests are under way: the server ends with 0, and everything that was acknowledged is
there after the next start. Waiting pull requests are told."""
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

ROUNDS = 5


def one_round(srv, n):
    c = natsraw.Conn(port=srv.port)
    inbox, sid = c.new_inbox()
    wait, wait_sid = c.new_inbox()
    c.pub("$JS.API.CONSUMER.MSG.NEXT.S.idle", '{"batch":1,"expires":60000000000}', wait)
    c.ping()
    for i in range(500):
        c.pub("s.a", b"x" * 100, inbox)
        if i % 20 == 0:
            c.pub("$JS.API.STREAM.INFO.S", b"", inbox)
            c.pub("$JS.API.CONSUMER.CREATE.S.c%d-%d" % (n, i),
                  '{"stream_name":"S","config":{"durable_name":"c%d-%d"}}' % (n, i), inbox)
    last = 0
    for _ in range(40 * n + 10):  # some answers, then the signal
        m = c.next(sid)
        if m.data.startswith(b'{"stream":"S","seq":'):
            last = m.json()["seq"]
    os.kill(srv.server_pid(), signal.SIGTERM)
    told = b""
    try:
        while True:
            m = c.next(None, 10)
            if m.sid == wait_sid:
                told = m.hdr
            elif m.data.startswith(b'{"stream":"S","seq":'):
                last = m.json()["seq"]
    except (natsraw.Closed, ConnectionError):
        pass
    assert srv.proc.wait(20) == 0, srv.log()
    assert b"409 Server Shutdown" in told, told
    return last


def main():
    srv = server.Server()
    try:
        with natsraw.Conn(port=srv.port) as c:
            c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"]})
            c.api("CONSUMER.CREATE.S.idle", {"stream_name": "S", "config": {"durable_name": "idle",
                                                                           "filter_subject": "s.none"}})
        for n in range(ROUNDS):
            acked = one_round(srv, n)
            srv.start()
            with natsraw.Conn(port=srv.port) as c:
                have = c.api("STREAM.INFO.S")["state"]["last_seq"]
            assert have >= acked, (have, acked)
        print("ok", ROUNDS, "rounds")
    finally:
        srv.stop()


if __name__ == "__main__":
    main()
