#!/usr/bin/env python3
"""Key-value buckets with TTLs as clients make them (nats.go: LimitMarkerTTL, KeyTTL): the API level says that they are
served, a key goes when its time has come, and its place is taken by a marker that goes too."""
import base64
import os
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

SECOND = 1000000000


def last(c, key):
    a = c.api("STREAM.MSG.GET.KV_B", {"last_by_subj": "$KV.B." + key})
    if "error" in a:
        return a["error"]["err_code"]
    m = a["message"]
    return base64.b64decode(m.get("hdrs", "")).decode(), base64.b64decode(m.get("data", "")).decode()


def main():
    srv = server.Server()
    try:
        with natsraw.Conn(port=srv.port) as c:
            assert c.api("INFO")["api"]["level"] >= 1
            a = c.api("STREAM.CREATE.KV_B", {
                "name": "KV_B", "subjects": ["$KV.B.>"], "max_msgs_per_subject": 5, "discard": "new",
                "allow_rollup_hdrs": True, "deny_delete": True, "allow_direct": True, "allow_msg_ttl": True,
                "subject_delete_marker_ttl": SECOND})
            assert "error" not in a, a
            inbox, sid = c.new_inbox()
            c.api("CONSUMER.CREATE.KV_B.w", {"stream_name": "KV_B", "config": {
                "name": "w", "ack_policy": "none", "deliver_subject": inbox}})
            c.request("$KV.B.a", "1", {"Nats-TTL": "1", "Nats-Expected-Last-Subject-Sequence": "0"})
            c.request("$KV.B.b", "2")
            assert [c.next(sid, 5).subject for _ in range(2)] == ["$KV.B.a", "$KV.B.b"]
            marker = c.next(sid, 5)
            assert marker.subject == "$KV.B.a" and marker.headers()["Nats-Marker-Reason"] == "MaxAge", marker
            # a key that is gone can be created anew: the marker counts as its last revision
            got = last(c, "a")
            assert got[1] == "" and "Nats-TTL: 1s" in got[0], got
            end = time.monotonic() + 10
            while last(c, "a") != 10037 and time.monotonic() < end:
                c.ping()
            assert last(c, "a") == 10037 and last(c, "b")[1] == "2"
    finally:
        srv.stop()
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
