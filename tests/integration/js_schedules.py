#!/usr/bin/env python3
"""Schedules and TTLs survive the death of the server: what came due meanwhile happens after the start, once."""
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402


def subjects(c):
    a = c.api("STREAM.INFO.S", {"subjects_filter": ">"})
    return a["state"].get("subjects", {})


def put(c, subject, data, **headers):
    a = c.request(subject, data, {k.replace("_", "-"): v for k, v in headers.items()}).json()
    assert "error" not in a, a


def main():
    srv = server.Server()
    try:
        with natsraw.Conn(port=srv.port) as c:
            c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "allow_msg_schedules": True,
                                      "allow_msg_ttl": True, "subject_delete_marker_ttl": 60000000000,
                                      "max_msgs_per_subject": 10})
            soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
            put(c, "s.at", "one", Nats_Schedule="@at " + soon, Nats_Schedule_Target="s.t.at")
            put(c, "s.far", "x", Nats_Schedule="@at 2130-01-01T00:00:00Z", Nats_Schedule_Target="s.t.far")
            put(c, "s.every", "many", Nats_Schedule="@every 1s", Nats_Schedule_Target="s.t.every")
            put(c, "s.keep", "x", Nats_TTL="100")
        srv.restart()
        with natsraw.Conn(port=srv.port) as c:
            inbox, sid = c.new_inbox()
            c.api("CONSUMER.CREATE.S.w", {"stream_name": "S", "config": {
                "name": "w", "ack_policy": "none", "deliver_subject": inbox, "filter_subject": "s.t.>"}})
            got = {}
            end = time.monotonic() + 15
            while (got.get("s.t.at", 0) < 1 or got.get("s.t.every", 0) < 3) and time.monotonic() < end:
                m = c.next(sid, 5)
                got[m.subject] = got.get(m.subject, 0) + 1
            assert got.get("s.t.at") == 1 and got.get("s.t.every", 0) >= 3, got
            now = subjects(c)
            assert "s.at" not in now and "s.every" in now and "s.far" in now and "s.keep" in now, now
            assert "s.t.far" not in now, now
    finally:
        srv.stop()
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
