#!/usr/bin/env python3
"""jsadmin on what a server left: compact makes a store smaller and changes nothing a client can see."""
import json
import os
import subprocess
import sys
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

JSADMIN = os.path.abspath(os.environ.get("JSADMIN", os.path.join(server.ROOT, "build/bin/jsadmin")))
COUNT = 3000


def jsadmin(*args, code=0):
    p = subprocess.run([JSADMIN, *args], capture_output=True, text=True)
    if p.returncode != code:
        raise AssertionError("jsadmin %s ended with %d:\n%s%s" % (" ".join(args), p.returncode, p.stdout, p.stderr))
    return p.stdout, p.stderr


def payload(i):
    return (b"%d " % i) * 40 + os.urandom(200)


def create(c, name, subject, **more):
    cfg = {"name": name, "subjects": [subject], "retention": "limits", "storage": "file", "num_replicas": 1,
           "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "discard": "old"}
    cfg.update(more)
    r = c.api("STREAM.CREATE.%s" % name, json.dumps(cfg).encode())
    assert "error" not in r, r


def publish(c, prefix, count):
    sent = []
    for i in range(1, count + 1):
        data = payload(i)
        c.pub("%s.%d" % (prefix, i % 10), data, reply=c.inbox_for_acks)
        sent.append(data)
    for _ in range(count):
        c.next(c.acks_sid, timeout=20)
    return sent


def connect(s):
    c = natsraw.Conn(port=s.port)
    c.inbox_for_acks, c.acks_sid = c.new_inbox()
    return c


def get(c, stream, seq):
    import base64
    r = c.api("STREAM.MSG.GET.%s" % stream, json.dumps({"seq": seq}).encode())
    return base64.b64decode(r["message"].get("data", "")) if "message" in r else None


def compact():
    with server.Server() as s:
        c = connect(s)
        create(c, "ORDERS", "o.>")
        sent = publish(c, "o", COUNT)
        s.restart(kill=False)
        c = connect(s)
        for i in range(1, COUNT + 1):
            if i % 3:
                c.api("STREAM.MSG.DELETE.ORDERS", json.dumps({"seq": i, "no_erase": True}).encode())
        s.stop()
        before = json.loads(jsadmin("--json", "info", s.store)[0])["streams"][0]
        out = json.loads(jsadmin("--json", "compact", s.store)[0])
        assert out["segments_rewritten"] >= 1 and out["segments_damaged"] == 0, out
        assert out["bytes_after"] < out["bytes_before"] * 0.6, out
        assert out["bytes_before"] >= before["segment_bytes"], (out, before)
        again, _ = jsadmin("compact", s.store)
        assert "Rewritten     0 of" in again, again
        jsadmin("check", s.store)
        after = json.loads(jsadmin("--json", "info", s.store)[0])["streams"][0]
        for k in ("messages", "bytes", "first_seq", "last_seq", "subjects", "deleted"):
            assert before[k] == after[k], (k, before, after)
        s.start()
        c = connect(s)
        for i in range(1, COUNT + 1, 7):
            assert get(c, "ORDERS", i) == (None if i % 3 else sent[i - 1]), i
        jsadmin("compact", s.store, code=1)  # somebody has the store


def main():
    for test in (compact,):
        try:
            test()
        except Exception:  # noqa: BLE001
            traceback.print_exc()
            print("FAIL %s" % test.__name__)
            return 1
        print("ok   %s" % test.__name__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
