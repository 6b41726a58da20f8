#!/usr/bin/env python3
"""One flipped bit at a time in the store of the real server: 200 messages, 3 streams, 4 consumers, after a kill with the
idle group written and after a clean stop. Each time a random bit in the used bytes of a random file is flipped in a
copy, and the server is started on it: it starts, no stream and no consumer is missing, no wrong byte is served, nothing
removed comes back, at most one message (journal) or one block (segment) is lost and nothing by a flip elsewhere; a loss
stands in the log, in the stream's info, in /healthz and in what `jsadmin check` says.

    FLIPS=300 (default 30)   SEED=1   ONLY=n: that one flip alone, its store is kept   (make flips-real)"""
import base64
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

FLIPS = int(os.environ.get("FLIPS", "30"))
SEED = int(os.environ.get("SEED", "1"))
ONLY = int(os.environ.get("ONLY", "-1"))
JSADMIN = os.path.abspath(os.environ.get("JSADMIN", os.path.join(server.ROOT, "build/bin/jsadmin")))
PAGE = 4096
STREAMS = {
    "LOG": {"subjects": ["log.>"]},
    "WORK": {"subjects": ["work.*"], "retention": "workqueue"},
    "LAST": {"subjects": ["last.*"], "max_msgs_per_subject": 5},
}
CONSUMERS = [("LOG", "all", {"ack_policy": "all"}), ("LOG", "one", {"ack_policy": "explicit", "ack_wait": 10**12}),
             ("WORK", "w", {"ack_policy": "explicit", "ack_wait": 10**12}), ("LAST", "n", {"ack_policy": "none"})]


class Wrong(Exception):
    pass


def expect(truth, *words):
    if not truth:
        raise Wrong(" ".join(str(w) for w in words))


# --- the store --------------------------------------------------------------------------------------------------------

def publish(c, rnd, count):
    """Mixed messages: one in ten of several KiB, one in three with headers."""
    for i in range(count):
        subject = rnd.choice(["log.a.b", "log.c", "work.x", "work.y", "last.%d" % rnd.randrange(6)])
        size = rnd.randrange(8000, 20000) if rnd.randrange(10) == 0 else rnd.randrange(600)
        hdr = {"Nats-Msg-Id": "%x" % rnd.getrandbits(64), "Note": "n" * rnd.randrange(50)} if i % 3 == 0 else None
        a = c.request(subject, base64.b64encode(rnd.randbytes(size)), hdr=hdr).json()
        expect("seq" in a, a)


def work(c, stream, consumer, count, acks):
    """Fetches messages and acknowledges some of them."""
    inbox, sid = c.new_inbox()
    c.pub("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (stream, consumer), json.dumps({"batch": count, "no_wait": True}), inbox)
    got = []
    while len(got) < count:
        m = c.next(sid)
        if m.status():
            break
        got.append(m)
    c.unsub(sid)
    for m in got[:acks]:
        expect(c.request(m.reply, b"+ACK").data == b"", "an ack was not confirmed")


def remove(c, stream):
    state = c.api("STREAM.INFO." + stream)["state"]
    expect(c.api("STREAM.MSG.DELETE." + stream, {"seq": state["last_seq"] - 2}).get("success"), "no delete")


def build(folder):
    """The stores to damage, as (name, folder): killed and stopped."""
    rnd = random.Random(4711)
    with server.Server(store=os.path.join(folder, "first")) as srv:
        c = natsraw.Conn(port=srv.port)
        for name, cfg in STREAMS.items():
            expect("error" not in c.api("STREAM.CREATE." + name, dict(cfg, name=name)))
        for stream, name, cfg in CONSUMERS:
            made = c.api("CONSUMER.CREATE.%s.%s" % (stream, name),
                         {"stream_name": stream, "config": dict(cfg, durable_name=name)})
            expect("error" not in made, made)
        publish(c, rnd, 110)
        work(c, "LOG", "one", 20, 12)
        work(c, "WORK", "w", 10, 6)
        remove(c, "LOG")
        expect(srv.stop() == 0, "the server did not stop well")  # all of it goes to segments
        srv.start()
        c = natsraw.Conn(port=srv.port)
        publish(c, rnd, 110)
        work(c, "LOG", "all", 15, 15)
        work(c, "LOG", "one", 9, 7)
        work(c, "WORK", "w", 5, 4)
        work(c, "LAST", "n", 5, 0)
        remove(c, "LOG")
        remove(c, "WORK")
        truth = picture(c)
        settled(srv.store)
        srv.kill()
        shutil.copytree(srv.store, os.path.join(folder, "killed"))
        srv.start()
        expect(srv.stop() == 0, "the server did not stop well")
        shutil.copytree(srv.store, os.path.join(folder, "stopped"))
    return truth


def settled(store):
    """Waits for the idle group: the last group of the journal has the flag IDLE."""
    folder = os.path.join(store, "millrace", "journal", "0")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for name in sorted((n for n in os.listdir(folder) if n.endswith(".jnl")), reverse=True):
            with open(os.path.join(folder, name), "rb") as f:
                data = f.read()
            groups = [at for at in range(PAGE, len(data), PAGE) if data[at:at + 4] == b"MRG1"]
            if groups:  # a file that waits for its first group has none
                if struct.unpack_from("<H", data, groups[-1] + 56)[0] & 1:
                    return
                break
    raise Wrong("no idle group is written")


# --- what a server shows ----------------------------------------------------------------------------------------------

def messages(c, stream, last):
    """{sequence: (subject, headers, payload, time)}, asked for in one go."""
    inbox = "_INBOX.%s.m" % c.nonce
    sid = c.sub(inbox + ".*")
    out = {}
    for seq in range(1, last + 1):
        c.pub("$JS.API.STREAM.MSG.GET." + stream, json.dumps({"seq": seq}), "%s.%d" % (inbox, seq))
    for _ in range(last):
        m = c.next(sid)
        body = m.json()
        if "message" in body:
            b = body["message"]
            seq = int(m.subject.rsplit(".", 1)[1])
            expect(b["seq"] == seq, "asked for", seq, "got", b["seq"])
            out[seq] = (b["subject"], b.get("hdrs"), b.get("data"), b["time"])
        else:
            expect(body["error"]["err_code"] in (10037, 10051, 10057), stream, body)
    c.unsub(sid)
    return out


def picture(c):
    out = {}
    for name in STREAMS:
        info = c.api("STREAM.INFO." + name, {"deleted_details": True})
        expect("error" not in info, name, info)
        conss = {i["name"]: i for i in c.api("CONSUMER.LIST." + name)["consumers"]}
        out[name] = {"info": info, "messages": messages(c, name, info["state"]["last_seq"]), "consumers": conss}
    return out


def get(port, path):
    with urllib.request.urlopen("http://127.0.0.1:%d%s" % (port, path), timeout=10) as r:
        return json.loads(r.read())


# --- one flip ---------------------------------------------------------------------------------------------------------

def used_pages(path):
    """Offsets of the pages that are not all zero."""
    with open(path, "rb") as f:
        data = f.read()
    return [(at, min(PAGE, len(data) - at)) for at in range(0, len(data), PAGE) if data[at:at + PAGE].strip(b"\0")]


def files_of(store):
    out = []
    for top, _, names in os.walk(os.path.join(store, "millrace")):
        for name in names:
            path = os.path.join(top, name)
            if name in ("LOCK", "ballast") or name.startswith("spare-"):
                continue
            pages = used_pages(path)
            if pages:
                out.append((os.path.relpath(path, store), pages))
    return sorted(out)


def blocks_of(path):
    """(first, last sequence) of each data block of a segment."""
    with open(path, "rb") as f:
        data = f.read()
    heads = [at for at in range(PAGE, len(data) - 127, 8) if data[at:at + 4] == b"MBLK" and data[at + 8] == 1]
    return [(struct.unpack_from("<Q", data, at + 32)[0],
             struct.unpack_from("<Q", data, at + 32)[0] + struct.unpack_from("<I", data, at + 48)[0]) for at in heads]


def check_stream(name, was, now):
    """The sequences that are lost."""
    drop = ("created", "ts", "cluster")
    expect(was["info"]["config"] == now["info"]["config"], name, "has another config:", now["info"]["config"])
    expect(was["info"]["created"] == now["info"]["created"], name, "was created at another time")
    expect(now["info"]["state"]["last_seq"] >= was["info"]["state"]["last_seq"], name, "goes back:", now["info"])
    for seq, m in now["messages"].items():
        expect(seq in was["messages"], name, seq, "was removed and is back")
        expect(was["messages"][seq] == m, name, seq, "is another message:", str(m)[:200])
    for key, info in was["consumers"].items():
        expect(key in now["consumers"], "consumer", name, key, "is missing")
        other = now["consumers"][key]
        expect({k: v for k, v in info["config"].items() if k not in drop} ==
               {k: v for k, v in other["config"].items() if k not in drop}, name, key, "has another config")
        for place in ("delivered", "ack_floor"):
            expect(other[place]["stream_seq"] <= info[place]["stream_seq"], name, key, "is beyond", info[place], other)
    return sorted(set(was["messages"]) - set(now["messages"]))


def jsadmin_check(store):
    """(exit code, the document)."""
    p = subprocess.run([JSADMIN, "--json", "check", store], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    expect(p.returncode in (0, 3), "jsadmin check: exit %d: %s%s" % (p.returncode, p.stdout, p.stderr))
    return p.returncode, p.stdout


def check_loss(rel, original, lost, srv, port):
    """A loss is small, in one place, and told everywhere."""
    name, seqs = next(iter(lost.items()))
    expect(len(lost) == 1, "several streams lost messages:", lost)
    if rel.endswith(".jnl"):
        expect(len(seqs) == 1, "several messages of the journal are lost:", lost)
    else:
        expect(rel.endswith(".seg"), "lost messages:", lost)
        expect(any(lo <= seqs[0] and seqs[-1] <= hi for lo, hi in blocks_of(os.path.join(original, rel))),
               "more than a block is lost:", lost)
    expect(re.search(r"\[(WRN|ERR)\]", srv.log()), "the loss is not in the log")
    with natsraw.Conn(port=srv.port) as c:
        expect(c.api("STREAM.INFO." + name)["millrace"]["damaged"], "the loss is not in the info of", name)
    health = get(port, "/healthz?details=1")
    expect(health["status"] == "ok" and "damage" in health.get("warning", ""), "the loss is not in /healthz:", health)
    expect(any(name in json.dumps(d) for d in health["damage"]), "/healthz does not name", name, health)


def check_flip(folder, original, rel, truth):
    """Starts the server on the damaged copy. Returns the number of messages that are lost."""
    store = os.path.join(folder, "s")
    before, said = jsadmin_check(store)
    with server.Server(store=store, args=["-m", "-1"]) as srv:
        port = int(re.search(r"Starting http monitor on [^ ]*:(\d+)", srv.log()).group(1))
        with natsraw.Conn(port=srv.port, timeout=20) as c:
            now = picture(c)
            lost = {name: gone for name in STREAMS if (gone := check_stream(name, truth[name], now[name]))}
            for name in STREAMS:  # it goes on behind everything that was
                a = c.request({"LOG": "log.z", "WORK": "work.z", "LAST": "last.z"}[name], b"on").json()
                expect(a.get("seq", 0) > truth[name]["info"]["state"]["last_seq"], name, "does not go on:", a)
        if lost:
            check_loss(rel, original, lost, srv, port)
            expect(before == 3, "jsadmin check said nothing before the start:", said)
        srv.kill()
    after, said = jsadmin_check(store)
    expect(after == 3 or not lost, "jsadmin check says nothing after the start:", said)
    return sum(map(len, lost.values())), before == 3


def run(folder):
    truth = build(folder)
    stores = {name: files_of(os.path.join(folder, name)) for name in ("killed", "stopped")}
    total = sum(len(t["messages"]) for t in truth.values())
    rnd = random.Random(SEED)
    failed = losses = told = 0
    for i in range(FLIPS):
        kind = rnd.choice(sorted(stores))
        rel, pages = rnd.choice(stores[kind])
        at, size = rnd.choice(pages)
        off, bit = at + rnd.randrange(size), rnd.randrange(8)
        if ONLY not in (-1, i):
            continue
        original, copy = os.path.join(folder, kind), os.path.join(folder, "s")
        shutil.rmtree(copy, ignore_errors=True)
        subprocess.run(["cp", "-r", "--sparse=always", original, copy], check=True)
        with open(os.path.join(copy, rel), "r+b") as f:
            f.seek(off)
            byte = f.read(1)[0]
            f.seek(off)
            f.write(bytes([byte ^ 1 << bit]))
        try:
            lost, seen = check_flip(folder, original, rel, truth)
            losses += lost > 0
            told += seen
        except (Wrong, RuntimeError, OSError, natsraw.Closed) as e:
            failed += 1
            print("FAIL flip %d (SEED=%d ONLY=%d): %s store, %s, offset %d, bit %d: %s" %
                  (i, SEED, i, kind, rel, off, bit, e))
    print("%d messages, %d flips: %d cost messages, jsadmin check told of %d" % (total, FLIPS, losses, told))
    print("%d passed, %d failed" % (FLIPS - failed, failed))
    return failed != 0


def main():
    folder = server.scratch()
    try:
        return run(folder)
    finally:
        if ONLY == -1:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print("the store is in", folder)


if __name__ == "__main__":
    sys.exit(main())
