#!/usr/bin/env python3
"""Reads the table "Known, not served yet" of broker/README.md and tries every row: the answer must be the one that stands
there."""
import json
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

VALUES = {"placement": {"cluster": "x"},
          "subject_transform": {"src": "a", "dest": "b"}, "republish": {"src": ">", "dest": "r.>"},
          "num_replicas": 3}


def rows():
    with open(os.path.join(HERE, "..", "..", "broker", "README.md")) as f:
        for line in f:
            m = re.match(r"\| (field|policy|subject|header|level|member) \| (.*?) \| (.*?) \| (\d+) `(.*)` \|$", line)
            if m:
                yield m.groups()


def answer(c, kind, name, where):
    if kind in ("field", "policy"):
        key, _, value = name.partition(" ")
        cfg = {key: value or VALUES.get(key, True)}
        if where.startswith("STREAM"):
            cfg.update(name="T", subjects=["t.>"])
            return c.api("STREAM.CREATE.T", cfg)["error"]
        cfg.update(name="c", ack_policy=cfg.get("ack_policy", "none"))
        return c.api("CONSUMER.CREATE.S.c", {"stream_name": "S", "config": cfg})["error"]
    if kind == "subject":
        return c.api(name)["error"]
    if kind == "level":
        key, _, value = name.partition(": ")
        return c.request("$JS.API.STREAM.INFO.S", b"", {key: value}).json()["error"]
    if kind == "header":
        key, _, value = name.partition(": ")
        return c.request("s.a", b"x", {key: value}).json()["error"]
    body = {"batch": {"batch": 2, "seq": 1}, "multi_last": {"multi_last": ["s.>"]},
            "start_time": {"start_time": "2020-01-01T00:00:00Z", "batch": 0}}[name]
    code, text = c.request("$JS.API.DIRECT.GET.S", json.dumps(body)).status()
    return {"code": code, "err_code": code, "description": text}


def main():
    srv = server.Server()
    failed = tried = 0
    try:
        with natsraw.Conn(port=srv.port) as c:
            c.api("STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "allow_direct": True})
            for kind, name, where, code, text in rows():
                tried += 1
                e = answer(c, kind, name, where)
                if (e["err_code"], e["description"]) != (int(code), text):
                    failed += 1
                    print("FAIL", kind, name, "->", e)
    finally:
        srv.stop()
    print("%d rows, %d failed" % (tried, failed))
    return 1 if failed or tried == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
