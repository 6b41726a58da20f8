"""Loads on buckets, as clients make them: key-value with history, compare-and-set and a watcher, keys with a time to
live, and objects with their digests."""
import base64
import hashlib
import json
import time

from actor import Broken, Load, Refused, body, dumps, number, stream_seq

WRONG_LAST = 10071


class Kv(Load):
    """Each key holds what was last acknowledged, or the one write whose answer was lost; a watcher sees the same."""

    name, rate, KEYS = "KV", 40.0, 150

    def begin(self):
        self.model = {}  # key -> (revision, n or None when deleted)
        self.maybe = {}  # key -> n of a write without an answer
        self.next_n = 1

    def attach(self, c):
        self.stream(c, "KV_S", subjects=["$KV.S.>"], max_msgs_per_subject=5, discard="new", allow_rollup_hdrs=True,
                    deny_delete=True, allow_direct=True, max_bytes=16 << 20)
        self.settle(c)
        self.watched, self.watch_seq = {}, 0
        inbox, self.watch_sid = c.new_inbox()
        name = "w%d" % time.monotonic_ns()
        a = self.api(c, "CONSUMER.CREATE.KV_S.%s.$KV.S.>" % name, {"stream_name": "KV_S", "config": {
            "name": name, "deliver_subject": inbox, "deliver_policy": "last_per_subject", "ack_policy": "none",
            "filter_subject": "$KV.S.>", "max_deliver": 1, "mem_storage": True, "idle_heartbeat": 5 * 10**9,
            "flow_control": True, "inactive_threshold": 20 * 10**9}})
        self.counts["watchers"] += 1
        for _ in range(a["num_pending"]):
            self.watch(c, c.next(self.watch_sid))

    def settle(self, c):
        """A write whose answer was lost happened or did not."""
        for key, n in list(self.maybe.items()):
            rev, got = self.get(c, key)
            if got == n and (rev, got) != self.model.get(key, (0, None)):  # a lost delete of a key that never was leaves none
                self.model[key] = (rev, got)
            del self.maybe[key]

    def watch(self, c, m):
        status = m.status()
        if status:
            if m.reply:  # flow control wants an answer
                c.pub(m.reply)
            return
        seq = stream_seq(m.reply)
        if seq <= self.watch_seq:
            raise Broken("the watcher saw %d after %d" % (seq, self.watch_seq))
        self.watch_seq = seq
        gone = b"KV-Operation" in m.hdr
        self.watched[m.subject[6:]] = (seq, None if gone else number("KV", m.data))

    def get(self, c, key):
        start = time.monotonic()
        m = c.request("$JS.API.DIRECT.GET.KV_S.$KV.S." + key)
        self.timed("kv get", start)
        if m.status():
            if m.status()[0] != 404:
                raise Broken("get %s: %r" % (key, m))
            return 0, None
        return int(m.headers()["Nats-Sequence"]), None if b"KV-Operation" in m.hdr else number("KV", m.data)

    def put(self, c, key, hdr=None, gone=None):
        n = None if gone else self.next_n
        self.next_n += 1
        start = time.monotonic()
        hdr = dict(hdr or {}, **({"KV-Operation": gone} if gone else {}))
        if gone == "PURGE":
            hdr["Nats-Rollup"] = "sub"
        self.maybe[key] = n
        m = c.request("$KV.S." + key, b"" if gone else body("KV", n, 20 + n * 31 % 2000), hdr)
        self.timed("kv put", start)
        self.maybe.pop(key)  # answered, whatever it says
        a = m.json()
        if a.get("error", {}).get("err_code") == WRONG_LAST:
            return False
        self.model[key] = (self.answer(m)["seq"], n)
        return True

    def step(self, c):
        key = "k%d" % self.rng.randrange(self.KEYS)
        dice = self.rng.random()
        rev, n = self.model.get(key, (0, None))
        if dice < 0.25:
            self.same(key, self.get(c, key))
        elif dice < 0.45:
            right = self.rng.random() < 0.7
            if self.put(c, key, {"Nats-Expected-Last-Subject-Sequence": str(rev if right else rev + 1)}) != right:
                raise Broken("%s: revision %d, compare-and-set %s" % (key, rev, "refused" if right else "taken"))
        elif dice < 0.52:
            self.put(c, key, gone="DEL" if dice < 0.49 else "PURGE")
        else:
            self.put(c, key)
        for m in [m for m in c.inbox if m.sid == self.watch_sid]:
            self.watch(c, m)
        c.inbox = [m for m in c.inbox if m.sid != self.watch_sid]

    def same(self, key, got):
        want = self.model.get(key, (0, None))
        if got != want:
            raise Broken("%s holds %s, acknowledged was %s" % (key, got, want))

    def verify(self, c, last):
        for key in list(self.model):
            self.same(key, self.get(c, key))
        end = time.monotonic() + 60
        newest = max((rev for rev, _ in self.model.values()), default=0)
        while self.watch_seq < newest:
            if time.monotonic() > end:
                raise Broken("the watcher stands at %d, the bucket at %d" % (self.watch_seq, newest))
            try:
                self.watch(c, c.next(self.watch_sid, 1))
            except TimeoutError:
                pass
        wrong = [(k, self.watched.get(k), v) for k, v in self.model.items() if self.watched.get(k) != v]
        if wrong:
            raise Broken("the watcher has %s" % wrong[:3])
        self.counts["compared"] += len(self.model)


class Ttl(Load):
    """A bucket whose keys live for some seconds, half of them with a time of their own: the young are there, the old go."""

    name, rate, SECONDS = "TTL", 15.0, 12

    def begin(self):
        self.put_at, self.next_n = {}, 1

    def attach(self, c):
        self.stream(c, "KV_T", subjects=["$KV.T.>"], max_msgs_per_subject=1, discard="new", allow_rollup_hdrs=True,
                    deny_delete=True, allow_direct=True, allow_msg_ttl=True, subject_delete_marker_ttl=2 * 10**9,
                    max_age=30 * 10**9)

    def step(self, c):
        n = self.next_n
        self.next_n += 1
        key, start = "k%d" % n, time.time()
        hdr = {"Nats-TTL": "%ds" % self.SECONDS} if n % 2 else None
        self.answer(c.request("$KV.T." + key, body("TTL", n, 300), hdr))
        self.put_at[n] = start
        young = [k for k, t in self.put_at.items() if time.time() - t < self.SECONDS - 1]
        if young:
            n = self.rng.choice(young)
            m = c.request("$JS.API.DIRECT.GET.KV_T.$KV.T.k%d" % n)
            gone = m.status() or b"Nats-Marker-Reason" in m.hdr
            # asked while it was young, answered when?
            if gone and time.time() - self.put_at[n] < self.SECONDS:
                raise Broken("key k%d of %.1f s: %r" % (n, time.time() - self.put_at[n], m))
            if not gone:
                number("TTL", m.data)

    def verify(self, c, last):
        now = time.time()
        self.put_at = {n: t for n, t in self.put_at.items() if now - t < 90}
        state = self.api(c, "STREAM.INFO.KV_T")["state"]
        if state["messages"] > 15 * 150:
            raise Broken("keys do not go: %s" % state)


class Objects(Load):
    """Objects of many chunks: the digest of what is read is that of what was put; an old version leaves no chunks."""

    name, rate, NAMES, CHUNK = "OBJ", 1.0, 8, 128 << 10

    def begin(self):
        self.model, self.maybe, self.old = {}, {}, []
        self.nuid = 0

    def attach(self, c):
        self.stream(c, "OBJ_S", subjects=["$O.S.C.>", "$O.S.M.>"], allow_rollup_hdrs=True, allow_direct=True, discard="new",
                    max_bytes=64 << 20)

    def meta_subject(self, name):
        return "$O.S.M." + base64.urlsafe_b64encode(name.encode()).decode()

    def step(self, c):
        for nuid in list(self.old):  # of a put that was cut short
            self.purge(c, nuid)
            self.old.remove(nuid)
        name = "object-%d" % self.rng.randrange(self.NAMES)
        if self.model.get(name) and self.rng.random() < 0.4:
            self.read(c, name)
        else:
            self.put(c, name)

    def purge(self, c, nuid):
        self.api(c, "STREAM.PURGE.OBJ_S", {"filter": "$O.S.C." + nuid})

    def put(self, c, name):
        start = time.monotonic()
        self.nuid += 1
        nuid, had = "n%d-%d" % (self.nuid, time.monotonic_ns()), self.model.get(name)
        self.old.append(nuid)
        data = self.rng.randbytes(self.rng.randrange(1000, 8 * self.CHUNK))
        inbox, sid = c.new_inbox()
        chunks = range(0, len(data), self.CHUNK)
        for i in chunks:
            c.pub("$O.S.C." + nuid, data[i:i + self.CHUNK], inbox)
        refused = 0
        for _ in chunks:
            try:
                self.answer(c.next(sid))
            except Refused:
                refused += 1
        c.unsub(sid)
        if refused:
            raise Refused()
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
        meta = dumps({"name": name, "bucket": "S", "nuid": nuid, "size": len(data), "chunks": len(chunks),
                      "digest": "SHA-256=" + digest})
        self.maybe[name] = (nuid, digest, len(data))
        self.answer(c.request(self.meta_subject(name), meta, {"Nats-Rollup": "sub"}))
        self.model[name] = self.maybe.pop(name)
        self.old.remove(nuid)
        if had:
            self.old.append(had[0])
            self.purge(c, had[0])
            self.old.remove(had[0])
        self.timed("object put", start)
        self.counts["objects put"] += 1

    def read(self, c, name):
        start = time.monotonic()
        nuid, digest, size = self.model[name]
        m = c.request("$JS.API.DIRECT.GET.OBJ_S." + self.meta_subject(name))
        if m.status() or m.json()["nuid"] != nuid:
            raise Broken("meta of %s: %r, acknowledged was %s" % (name, m, nuid))
        _, msgs = self.read_stream(c, "OBJ_S", "$O.S.C." + nuid)
        h = hashlib.sha256()
        for m in msgs:
            h.update(m.data)
        if base64.urlsafe_b64encode(h.digest()).decode() != digest:
            raise Broken("%s: digest differs, %d of %d bytes" % (name, sum(len(m.data) for m in msgs), size))
        self.timed("object get", start)
        self.counts["objects read"] += 1

    def verify(self, c, last):
        for name, (nuid, digest, size) in list(self.maybe.items()):
            m = c.request("$JS.API.DIRECT.GET.OBJ_S." + self.meta_subject(name))
            if not m.status() and m.json()["nuid"] == nuid:
                if name in self.model:
                    self.old.append(self.model[name][0])
                self.model[name] = (nuid, digest, size)
                self.old.remove(nuid)
            del self.maybe[name]
        for name in self.model:
            self.read(c, name)
