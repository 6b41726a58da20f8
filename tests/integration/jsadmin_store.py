#!/usr/bin/env python3
"""jsadmin on what a server left: compact makes a store smaller and changes nothing a client can see."""
import json
import os
import shutil
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


def info(store):
    streams = json.loads(jsadmin("--json", "info", store)[0])["streams"]
    return {(s["account"], s["name"]): s for s in streams}


def facts(s):
    return {k: s[k] for k in ("messages", "bytes", "first_seq", "last_seq", "subjects", "deleted", "consumers")}


def backup_and_restore():
    with server.Server() as s:
        c = connect(s)
        create(c, "ORDERS", "o.>")
        create(c, "EMPTY", "e.>", description="nothing in it")
        sent = publish(c, "o", 500)
        for i in (1, 2, 3, 77, 200, 500):
            c.api("STREAM.MSG.DELETE.ORDERS", json.dumps({"seq": i, "no_erase": True}).encode())
        r = c.api("CONSUMER.DURABLE.CREATE.ORDERS.C", json.dumps(
            {"stream_name": "ORDERS", "config": {"durable_name": "C", "ack_policy": "explicit", "ack_wait": 3600 * 10**9,
                                                 "filter_subject": "o.4"}}).encode())
        assert "error" not in r, r
        inbox, sid = c.new_inbox()
        c.pub("$JS.API.CONSUMER.MSG.NEXT.ORDERS.C", b"10", reply=inbox)
        got = [c.next(sid) for _ in range(10)]
        for m in got[:4] + [got[6]]:
            c.request(m.reply, b"+ACK")
        s.stop()
        before = info(s.store)
        archive = s.store + ".archive"
        out = json.loads(jsadmin("--json", "backup", s.store, "--to", archive)[0])
        assert out["streams_count"] == 2 and out["messages"] == 494 and out["consumers_count"] == 1, out
        jsadmin("backup", s.store, "--to", archive, code=1)  # it is there already
        jsadmin("backup", s.store, "--to", archive, "--replace", "--stream", "ORDERS")
        jsadmin("backup", s.store, "--to", archive + "2", "--stream", "NONE", code=1)
        jsadmin("backup", s.store, "--to", archive, "--replace")
        listed = json.loads(jsadmin("--json", "verify", archive)[0])
        assert [x["name"] for x in listed["streams"]] == ["EMPTY", "ORDERS"], listed

        # Into a new store, as they were.
        fresh = server.scratch()
        jsadmin("restore", fresh, "--from", archive)
        after = info(fresh)
        assert {k: facts(v) for k, v in after.items()} == {k: facts(v) for k, v in before.items()}, (before, after)
        jsadmin("check", fresh)
        # Beside what is there: refused, as a whole; replaced when asked for; under other names.
        _, text = jsadmin("restore", fresh, "--from", archive, code=1)
        assert "is there already" in text, text
        jsadmin("restore", fresh, "--from", archive, "--stream", "ORDERS", "--as-stream", "COPY", "--as-account", "OTHER")
        _, text = jsadmin("restore", fresh, "--from", archive, "--stream", "ORDERS", "--as-stream", "COPY2", code=1)
        assert "same subjects" in text, text
        jsadmin("restore", fresh, "--from", archive, "--replace")
        again = info(fresh)
        assert sorted(again) == [("$G", "EMPTY"), ("$G", "ORDERS"), ("OTHER", "COPY")], sorted(again)
        assert facts(again["OTHER", "COPY"]) == facts(before["$G", "ORDERS"])
        assert {k: facts(again[k]) for k in before} == {k: facts(v) for k, v in before.items()}
        refused(archive, fresh, again)
        with server.Server(store=fresh) as t:
            c = connect(t)
            for i in range(1, 501):
                assert get(c, "ORDERS", i) == (None if i in (1, 2, 3, 77, 200, 500) else sent[i - 1]), i
            state = c.api("STREAM.INFO.ORDERS")
            assert state["config"]["subjects"] == ["o.>"], state
            cons = c.api("CONSUMER.INFO.ORDERS.C")
            assert cons["num_ack_pending"] == 5 and cons["ack_floor"]["consumer_seq"] == 4, cons
            inbox, sid = c.new_inbox()
            c.pub("$JS.API.CONSUMER.MSG.NEXT.ORDERS.C", b"1", reply=inbox)
            nxt = c.next(sid)
            assert nxt.data == sent[[i for i in range(1, 501) if i % 10 == 4][10] - 1], nxt
            ack = c.request("o.1", b"new").json()
            assert ack == {"stream": "ORDERS", "seq": 501}, ack


def refused(archive, store, want):
    """Cut short, or one bit changed, anywhere: named, and nothing happens to the store."""
    with open(archive, "rb") as f:
        whole = f.read()
    bad = archive + ".bad"
    places = [0, 1, 63, 128, 129, 500, len(whole) // 3, len(whole) // 2, len(whole) - 65, len(whole) - 64, len(whole) - 1]
    for n in places:
        with open(bad, "wb") as f:
            f.write(whole[:n])
        _, text = jsadmin("restore", store, "--from", bad, "--replace", code=3 if n >= 128 else 1)
        assert bad in text and ("at %d" % n in text or "cut short" in text or "no archive" in text), text
    for n in range(0, len(whole), max(1, len(whole) // 150)):
        with open(bad, "wb") as f:
            f.write(whole[:n] + bytes([whole[n] ^ 1 << n % 8]) + whole[n + 1:])
        p = subprocess.run([JSADMIN, "verify", bad], capture_output=True, text=True)
        assert p.returncode in (1, 3) and bad in p.stderr, (n, p)
    assert info(store) == want


def quarantine():
    with server.Server() as s:
        c = connect(s)
        create(c, "ORDERS", "o.>")
        publish(c, "o", 10)
        s.stop()
        assert jsadmin("quarantine", s.store)[0] == "Nothing is in quarantine.\n"
        os.makedirs(os.path.join(s.store, "millrace", "s", "00000001"), exist_ok=True)
        with open(os.path.join(s.store, "millrace", "s", "00000001", "99.0.seg"), "wb") as f:
            f.write(b"not a segment" * 100)
        s.start()
        s.stop()
        found = json.loads(jsadmin("--json", "check", s.store)[0])
        assert found["quarantine_files"] == 1 and found["quarantine_bytes"] == 1300 and found["clean"], found
        assert "Quarantine    1 file," in jsadmin("check", s.store)[0]
        listed = json.loads(jsadmin("--json", "quarantine", s.store)[0])
        assert listed["files"][0]["name"].startswith("s-00000001-99.0.seg.") and not listed["removed"], listed
        assert listed["files"][0]["set_aside"].startswith("20"), listed
        assert "99.0.seg" in jsadmin("quarantine", s.store)[0]
        assert "1 file, 1.3 KiB, removed" in jsadmin("quarantine", s.store, "--empty")[0]
        assert json.loads(jsadmin("--json", "quarantine", s.store)[0])["files"] == []


def accounts_into_one():
    """Streams of several accounts that --as-account would make one, or of one name: refused, and none is restored."""
    store = server.scratch()
    with open(store + ".conf", "w", encoding="ascii") as f:
        f.write("accounts { A { jetstream: enabled, users: [{user: a, password: p}] }, "
                "B { jetstream: enabled, users: [{user: b, password: p}] } }")
    archive = store + ".archive"
    for second, subject, why in (("S", "b.>", 'two streams of the archive would be "S"'),
                                 ("T", "a.*", '"S" and "T" would share subjects'), ("T", "b.>", None)):
        with server.Server(store=store, config=store + ".conf") as s:
            for user, name, subj in (("a", "S", "a.>"), ("b", second, subject)):
                with natsraw.Conn(port=s.port, connect={"user": user, "pass": "p"}) as c:
                    create(c, name, subj)
                    c.request(subj[:2] + "x", user)
            s.stop()
        jsadmin("backup", store, "--to", archive, "--replace")
        fresh = server.scratch()
        for more in ((), ("--replace",)):
            if why is not None:
                _, text = jsadmin("restore", fresh, "--from", archive, "--as-account", "C", *more, code=1)
                assert why in text, text
                assert info(fresh) == {}, info(fresh)
            else:
                jsadmin("restore", fresh, "--from", archive, "--as-account", "C", *more)
                assert sorted(info(fresh)) == [("C", "S"), ("C", "T")], info(fresh)
        jsadmin("restore", fresh, "--from", archive, "--as-account", "", code=2)
        jsadmin("restore", fresh, "--from", archive, "--as-account", "\001import", code=2)
        shutil.rmtree(store)


def main():
    for test in (compact, backup_and_restore, accounts_into_one, quarantine):
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
