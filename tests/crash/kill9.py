#!/usr/bin/env python3
"""Kills the server with SIGKILL again and again while a client publishes, and checks after each restart that nothing
acknowledged is missing, that nothing was stored twice, and that order held. What was acknowledged goes to a promise file
first. SIGKILL keeps the page cache, so this is a restart test; the disk's part is shown by sync_order.py and the crash sweep.

    KILLS=100 (default 10), MR_SEED=n"""
import json
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

WINDOW = 200


class Publisher(threading.Thread):
    """Publishes p-<n> with message ids, WINDOW outstanding; promises (seq, n) for every PubAck."""

    def __init__(self, port, first, promises):
        super().__init__()
        self.port, self.next_n, self.promises = port, first, promises
        self.acked = 0

    def run(self):
        try:
            self.publish()
        except (natsraw.Closed, TimeoutError, OSError):
            pass

    def publish(self):
        with natsraw.Conn(port=self.port, timeout=10) as c:
            inbox = "_INBOX.k"
            sid = c.sub(inbox + ".*")
            outstanding = 0
            while True:
                out = []
                while outstanding < WINDOW:
                    n = self.next_n
                    self.next_n += 1
                    body = b"p-%d " % n + b"x" * (n * 7919 % 1500)
                    hdr = b"NATS/1.0\r\nNats-Msg-Id: id-%d\r\n\r\n" % n
                    out.append(b"HPUB k.%d %s.%d %d %d\r\n%s%s\r\n" %
                               (n % 11, inbox.encode(), n, len(hdr), len(hdr) + len(body), hdr, body))
                    outstanding += 1
                c.send(b"".join(out))
                while outstanding > WINDOW // 2:
                    m = c.next(sid)
                    ack = json.loads(m.data)
                    assert "error" not in ack, ack
                    n = int(m.subject.rsplit(".", 1)[1])
                    self.promises.write("%d %d\n" % (ack["seq"], n))
                    self.promises.flush()
                    self.acked += 1
                    outstanding -= 1


def read_all(port):
    """Every stored message: [(seq, n)]."""
    out = []
    with natsraw.Conn(port=port, timeout=20) as c:
        state = c.api("STREAM.INFO.K")["state"]
        name = "R%d" % time.monotonic_ns()
        inbox = "_INBOX.r"
        sid = c.sub(inbox)
        c.api("CONSUMER.CREATE.K.%s" % name, json.dumps({
            "stream_name": "K", "config": {"name": name, "deliver_subject": inbox, "ack_policy": "none",
                                           "deliver_policy": "all", "mem_storage": True}}))
        for _ in range(state["messages"]):
            m = c.next(sid)
            out.append((int(m.reply.split(".")[5]), int(m.data.split(b" ", 1)[0][2:])))
        c.api("CONSUMER.DELETE.K.%s" % name)
    return state, out


def check(port, promises_path):
    state, stored = read_all(port)
    with open(promises_path) as f:
        promised = [tuple(map(int, line.split())) for line in f if line.endswith("\n")]
    by_seq = dict(stored)
    missing = [p for p in promised if by_seq.get(p[0]) != p[1]]
    assert not missing, "acknowledged but missing or changed: %s ..." % missing[:5]
    assert len({n for _, n in stored}) == len(stored), "a message was stored twice"
    seqs = [s for s, _ in stored]
    assert seqs == sorted(seqs), "out of order"
    assert state["last_seq"] == (seqs[-1] if seqs else 0), (state, seqs[-1:])
    return len(stored), len(promised), max(n for _, n in stored) + 1 if stored else 0


def main():
    kills = int(os.environ.get("KILLS", "10"))
    seed = int(os.environ.get("MR_SEED", str(time.time_ns() % 1000000)))
    rng = random.Random(seed)
    print("seed %d, %d kills" % (seed, kills))
    promises_path = os.path.join(server.scratch(), "promises")
    with server.Server() as s, open(promises_path, "a") as promises:
        with natsraw.Conn(port=s.port) as c:
            c.api("STREAM.CREATE.K", json.dumps({"name": "K", "subjects": ["k.*"], "max_bytes": -1}))
        first = 0
        for i in range(kills):
            p = Publisher(s.port, first, promises)
            target = rng.randrange(50, 3000)
            p.start()
            while p.acked < target and p.is_alive():
                os.sched_yield()
            s.kill()
            p.join()
            s.start()
            stored, promised, first = check(s.port, promises_path)
            first = max(first, p.next_n)
        assert s.stop() == 0
        s.start()
        stored, promised, _ = check(s.port, promises_path)
        print("%d kills: %d acknowledged, %d stored, nothing missing" % (kills, promised, stored))
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
