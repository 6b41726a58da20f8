#!/usr/bin/env python3
"""STREAM.SNAPSHOT and STREAM.RESTORE: chunks, acknowledgements and windows, round trips, what is refused (words and numbers of
nats-server 2.14.5), damaged snapshots; `nats stream backup` and `restore` with the unmodified client, and both ways between a
real nats-server ($NATS_SERVER_PEER or what tools/peer.sh has built) and ours, where they are there."""
import json
import os
import random
import re
import shutil
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natscli  # noqa: E402
import natsraw  # noqa: E402
import server  # noqa: E402


def make(c, name, **more):
    cfg = {"name": name, "subjects": [name + ".>"], "retention": "limits", "storage": "file", "num_replicas": 1,
           "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "discard": "old"}
    cfg.update(more)
    r = c.api("STREAM.CREATE." + name, json.dumps(cfg).encode())
    assert "error" not in r, r
    return r["config"]


def fill(c, name, count, size=200):
    for i in range(1, count + 1):
        hdr = {"Nats-Msg-Id": "id-%d" % i, "X": str(i)} if i % 3 == 0 else None
        m = c.request("%s.%d" % (name, i % 7), (b"%d " % i) * 20 + os.urandom(size), hdr=hdr)
        assert b"seq" in m.data, m


def delete(c, name, *seqs):
    for seq in seqs:
        c.api("STREAM.MSG.DELETE." + name, json.dumps({"seq": seq, "no_erase": True}).encode())


def state(c, name):
    s = c.api("STREAM.INFO." + name)["state"]
    return {k: s.get(k) for k in ("messages", "bytes", "first_seq", "last_seq", "first_ts", "last_ts", "num_deleted",
                                  "num_subjects", "consumer_count")}


def content(c, name):
    last = c.api("STREAM.INFO." + name)["state"]["last_seq"]
    return [c.api("STREAM.MSG.GET." + name, json.dumps({"seq": i}).encode()).get("message") for i in range(1, last + 1)]


def consumer(c, stream, name):
    i = c.api("CONSUMER.INFO.%s.%s" % (stream, name))
    return [i[k] for k in ("num_ack_pending", "num_redelivered", "num_pending")] + \
        [i["delivered"]["consumer_seq"], i["delivered"]["stream_seq"], i["ack_floor"]["consumer_seq"],
         i["ack_floor"]["stream_seq"], i["created"], i["config"]]


def durable(c, stream, name, take, acks, **more):
    cfg = {"durable_name": name, "ack_policy": "explicit", "ack_wait": 3600 * 10**9}
    cfg.update(more)
    r = c.api("CONSUMER.DURABLE.CREATE.%s.%s" % (stream, name), json.dumps({"stream_name": stream, "config": cfg}).encode())
    assert "error" not in r, r
    inbox, sid = c.new_inbox()
    c.pub("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, name), b"%d" % take, reply=inbox)
    got = [c.next(sid) for _ in range(take)]
    for i in acks:
        c.request(got[i].reply, b"+ACK")


def snapshot(c, name, ack=True, **req):
    """(answer, chunks as (reply, size), header of the end, bytes)"""
    inbox, sid = c.new_inbox()
    a = c.api("STREAM.SNAPSHOT." + name, json.dumps(dict(req, deliver_subject=inbox)).encode())
    data, chunks = b"", []
    while "error" not in a:
        m = c.next(sid, timeout=10)
        if not m.data:
            return a, chunks, m.hdr, data
        data += m.data
        chunks.append((m.reply, len(m.data)))
        if ack and m.reply:
            c.pub(m.reply, b"")
    return a, chunks, b"", data


def restore(c, name, config, data, chunk=4096):
    a = c.api("STREAM.RESTORE." + name, json.dumps({"config": config, "state": {}}).encode())
    if "error" in a:
        return a
    assert a["type"] == "io.nats.jetstream.api.v1.stream_restore_response", a
    assert a["deliver_subject"].startswith("$JS.SNAPSHOT.RESTORE.%s." % name), a
    for i in range(0, len(data), chunk):
        m = c.request(a["deliver_subject"], data[i:i + chunk], timeout=20)
        if m.data:
            return m.json()
    return c.request(a["deliver_subject"], b"", timeout=20).json()


def same(got, want):
    for g, w in zip(got, want):
        if isinstance(w, list):
            assert len(g) == len(w), (len(g), len(w))
            for i, (x, y) in enumerate(zip(g, w)):
                assert x == y, (i, x, y)
        assert g == w, (g, w)


def round_trip():
    with server.Server() as s:
        c = natsraw.Conn(port=s.port, timeout=20)
        cfg = make(c, "S", max_msgs=2950)
        fill(c, "S", 3000)
        delete(c, "S", 60, 61, 62, 500)
        durable(c, "S", "A", 10, (0, 1, 5))
        durable(c, "S", "B", 4, (), filter_subject="S.3")
        durable(c, "S", "C", 0, (), deliver_policy="new")
        want = state(c, "S"), content(c, "S"), [consumer(c, "S", n) for n in "ABC"]
        events, sid = [], c.sub("$JS.EVENT.ADVISORY.>")
        a, chunks, end, data = snapshot(c, "S", chunk_size=65536, jsck=True)
        assert a["config"]["name"] == "S" and a["state"]["messages"] == want[0]["messages"], a
        ids = {re.fullmatch(r"\$JS\.SNAPSHOT\.ACK\.S\.(\w+)\.65536\.\d+", r).group(1) for r, _ in chunks[:-1]}
        assert len(chunks) > 3 and len(ids) == 1 and chunks[-1][0] == "" and b" 204" in end, (chunks, end)
        assert all(n == 65536 for _, n in chunks[:-1])
        _, small, end, _ = snapshot(c, "S", no_consumers=True, chunk_size=10**9)
        assert len(small) == 1 and small[0][0] == "" and end == b"", (small, end)
        delete(c, "S", 70, 71)  # what is changed later is not in it
        c.api("STREAM.DELETE.S")
        r = restore(c, "S", cfg, data)
        assert r["type"] == "io.nats.jetstream.api.v1.stream_create_response" and "error" not in r, r
        same((state(c, "S"), content(c, "S"), [consumer(c, "S", n) for n in "ABC"]), want)
        dup = c.request("S.0", b"again", hdr={"Nats-Msg-Id": "id-2997"}).json()
        assert dup.get("duplicate") and dup["seq"] == 2997, dup
        ack = c.request("S.0", b"new").json()
        assert ack["seq"] == 3001, ack
        while True:
            try:
                events.append(c.next(sid, timeout=0.3))
            except TimeoutError:
                break
        kinds = [e.subject[len("$JS.EVENT.ADVISORY."):] for e in events if "STREAM." in e.subject]
        for k in ("STREAM.SNAPSHOT_CREATE.S", "STREAM.SNAPSHOT_COMPLETE.S", "STREAM.RESTORE_CREATE.S", "STREAM.CREATED.S",
                  "STREAM.RESTORE_COMPLETE.S"):
            assert k in kinds, (k, kinds)
        done = [e.json() for e in events if "RESTORE_COMPLETE" in e.subject][0]
        assert done["type"] == "io.nats.jetstream.advisory.v1.restore_complete" and done["bytes"] == len(data), done
        assert done["client"]["acc"] == "$G" and done["start"] <= done["end"], done
        s.restart()  # killed: it is durable
        c = natsraw.Conn(port=s.port, timeout=20)
        assert content(c, "S")[-1] is not None and content(c, "S")[:-1][60:] == want[1][60:]


def odd_streams():
    """Empty, purged, the last message deleted, only the last left, a name of 200 characters."""
    with server.Server() as s:
        c = natsraw.Conn(port=s.port, timeout=20)
        for name, todo in (("E", lambda: None), ("P", lambda: c.api("STREAM.PURGE.P")), ("L", lambda: delete(c, "L", 9, 10)),
                           ("F", lambda: c.api("STREAM.PURGE.F", b'{"seq":10}')), ("N" * 200, lambda: None)):
            cfg = make(c, name)
            if name != "E":
                fill(c, name, 10)
            durable(c, name, "K" * 200, 0, ())
            todo()
            want = state(c, name), content(c, name)
            _, _, _, data = snapshot(c, name)
            c.api("STREAM.DELETE." + name)
            r = restore(c, name, cfg, data)
            assert "error" not in r, (name, r)
            got = state(c, name), content(c, name)
            want[0].pop("last_ts"), got[0].pop("last_ts")  # of a message that is not there any more
            same(got, want)
            assert "error" not in c.api("CONSUMER.INFO.%s.%s" % (name, "K" * 200))


def refused():
    with server.Server() as s:
        c = natsraw.Conn(port=s.port, timeout=20)
        cfg = make(c, "S")
        fill(c, "S", 50)
        make(c, "M", storage="memory")

        def snap(stream, body, number, text):
            a = c.api("STREAM.SNAPSHOT." + stream, body)
            assert (a["error"]["err_code"], a["error"]["description"]) == (number, text), a
        snap("S", b"", 10003, "bad request")
        snap("NONE", b'{"deliver_subject":"x"}', 10059, "stream not found")
        snap("S", b'{"deliver_subject":""}', 10015, "deliver subject not valid")
        snap("S", b'{"deliver_subject":"a.*"}', 10015, "deliver subject not valid")
        assert c.api("STREAM.SNAPSHOT.S", b"{bad")["error"]["err_code"] == 10025
        snap("M", b'{"deliver_subject":"x"}', 10064, "snapshot failed: no impl")
        _, chunks, end, _ = snapshot(c, "S", ack=False, chunk_size=1024, window_size=2048)
        assert len(chunks) == 2 and end.startswith(b"NATS/1.0 408 No Flow Response"), (chunks, end)
        _, _, _, data = snapshot(c, "S")
        sound = content(c, "S")

        def rest(name, config, number, text, d=data):
            a = restore(c, name, config, d)
            assert (a["error"]["err_code"], a["error"]["description"]) == (number, text), a
        rest("S", cfg, 10130, "stream name already in use, cannot restore")
        rest("T", cfg, 10056, "stream name in subject does not match request")
        a = c.api("STREAM.RESTORE.T", b"")
        assert a["error"]["err_code"] == 10003 and a["deliver_subject"] == "", a
        rest("T", dict(cfg, name="T", bogus=1), 10025, 'invalid JSON: json: unknown field "bogus"')
        rest("T", dict(cfg, name="T"), 10065, "subjects overlap with an existing stream")
        rest("T", dict(cfg, name="T", subjects=["T.>"]), 10062, "restore failed: stream names do not match")
        c.api("STREAM.DELETE.S")
        rest("S", cfg, 10062, "restore failed: s2: corrupt input", data[:1000])
        rest("S", cfg, 10062, "restore failed: s2: corrupt input", b"garbage" * 100)
        rest("S", cfg, 10062, "restore failed: s2: corrupt input", b"")
        for i in range(0, len(data), max(1, len(data) // 60)):
            a = restore(c, "S", cfg, data[:i] + bytes([data[i] ^ 16]) + data[i + 1:])
            if "error" in a:
                assert a["error"]["err_code"] == 10062, (i, a)
            else:  # another way to say the same bytes: a copy from elsewhere in a run
                assert content(c, "S") == sound, i
                c.api("STREAM.DELETE.S")
        assert "error" in c.api("STREAM.INFO.S")
        assert "error" not in restore(c, "S", dict(cfg, max_msgs=5, description="new"), data)
        assert state(c, "S")["messages"] == 5
        s.stop()
        files = sum(len(f) for _, _, f in os.walk(os.path.join(s.store, "millrace", "quarantine")))
        assert files == 0


def taken_meanwhile():
    """A stream that is made while another is being restored: the restore ends with upstream's error, and leaves nothing."""
    with server.Server() as s:
        c = natsraw.Conn(port=s.port, timeout=20)
        cfg = make(c, "A")
        fill(c, "A", 5)
        _, _, _, data = snapshot(c, "A")
        c.api("STREAM.DELETE.A")
        for name, subjects, code in (("B", ["A.>"], 10065), ("A", ["z"], 10130)):
            a = c.api("STREAM.RESTORE.A", json.dumps({"config": cfg, "state": {}}).encode())
            make(c, name, subjects=subjects)
            c.request(a["deliver_subject"], data, timeout=20)
            r = c.request(a["deliver_subject"], b"", timeout=20).json()
            assert r["error"]["err_code"] == code, r
            assert c.api("STREAM.NAMES")["streams"] == [name]
            assert state(c, name)["messages"] == 0
            c.api("STREAM.DELETE." + name)
        assert "error" not in restore(c, "A", cfg, data)
        assert state(c, "A")["messages"] == 5


def peer():
    for path in (os.environ.get("NATS_SERVER_PEER"), os.path.join(server.ROOT, "build", "peer", "nats-server")):
        if path and os.access(path, os.X_OK):
            return path
    return None


def tombstones():
    """A snapshot of a real nats-server names thousands of removed messages, in the order of their removal."""
    if not peer():
        return
    gone = list(range(2, 6000, 2))
    random.Random(1).shuffle(gone)
    with server.Server(exe=peer()) as p, server.Server() as s:
        theirs, ours = natsraw.Conn(port=p.port, timeout=20), natsraw.Conn(port=s.port, timeout=20)
        cfg = make(theirs, "S")
        for i in range(1, 6001):
            theirs.request("S.%d" % (i % 7), b"%d" % i)
        delete(theirs, "S", *gone)
        _, _, _, data = snapshot(theirs, "S")
        r = restore(ours, "S", cfg, data)
        assert "error" not in r, r
        same((state(ours, "S"), content(ours, "S")), (state(theirs, "S"), content(theirs, "S")))


def with_the_client():
    """A stream goes from server to server to server."""
    cli, why = natscli.find()
    if cli is None:
        print("     the nats client is not there: %s" % why)
        return
    exes = [None] + ([peer(), None] if peer() else [None])
    home = tempfile.mkdtemp(prefix="home-", dir=os.environ.get("TEST_DIR"))
    before = None
    for n, exe in enumerate(exes):
        with server.Server(exe=exe) as s:
            c = natsraw.Conn(port=s.port, timeout=20)
            sh = natscli.Cli(cli, "nats://127.0.0.1:%d" % s.port, os.path.join(home, str(n))).sh
            if n == 0:
                make(c, "S", compression="s2")
                fill(c, "S", 400, size=20000)
                delete(c, "S", 5, 6, 90)
                durable(c, "S", "A", 10, (0, 1, 5))
            else:
                sh("nats stream restore %s --no-progress" % os.path.join(home, "b%d" % (n - 1)))
            now = state(c, "S"), content(c, "S"), consumer(c, "S", "A")[:7]
            assert before is None or now == before, (n, exe, before[0], now[0], before[2], now[2])
            before = now
            sh("nats stream backup S %s --consumers --check --no-progress" % os.path.join(home, "b%d" % n))
    shutil.rmtree(home)


def main():
    for test in (round_trip, odd_streams, refused, taken_meanwhile, tombstones, with_the_client):
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
