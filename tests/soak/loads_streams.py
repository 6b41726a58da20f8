"""Loads on streams: synchronous, asynchronous, by age, atomic batches, memory, work queue and interest."""
import time

from actor import Broken, Ledger, Load, Refused, body, number, stream_seq

LOGICAL_EXTRA = 500  # what a message may count for beyond its payload


class Publisher(Load):
    """A limits stream with a ledger: what is in its range is there, byte for byte, in order, once; and nothing was
    removed but what max_bytes asks for."""

    max_bytes, size_max, config = 16 << 20, 4096, {}

    def begin(self):
        self.next_n, self.retry = 1, []
        self.ledger = Ledger(self.world.ledger(self.name))

    def attach(self, c):
        self.stream(c, self.name, subjects=[self.name + ".>"], max_bytes=self.max_bytes,
                    **dict({"duplicate_window": 120 * 10**9}, **self.config))
        self.inbox = "_INBOX.%s.%d" % (self.name, time.monotonic_ns())
        self.sid = c.sub(self.inbox + ".*")

    def take(self, count):
        """Numbers to publish: those nobody answered first."""
        out, self.retry = self.retry[:count], self.retry[count:]
        while len(out) < count:
            out.append(self.next_n)
            self.next_n += 1
        return out

    def size(self, n):
        return 16 + n * 7919 % self.size_max

    def publish(self, c, numbers):
        """Publishes all, then waits for all answers; without an answer, or refused, a number is tried again with its id."""
        numbers, sent = list(numbers), {}
        waiting = dict.fromkeys(numbers)
        refused = False
        try:
            for n in numbers:
                sent[n] = time.monotonic()
                c.pub("%s.%d" % (self.name, n % 17), body(self.name, n, self.size(n)), "%s.%d" % (self.inbox, n),
                      {"Nats-Msg-Id": "%s-%d" % (self.name, n)})
            while waiting:
                m = c.next(self.sid)
                n = int(m.subject.rsplit(".", 1)[1])
                if n not in waiting:
                    raise Broken("an answer for %d, which waits for none: %r" % (n, m))
                try:
                    a = self.answer(m)
                except Refused:
                    refused = True
                    self.retry.append(n)
                    del waiting[n]
                    continue
                del waiting[n]
                self.timed("publish " + self.name, sent[n])
                self.counts["acknowledged"] += 1
                self.ledger.add(a["seq"], n)
        finally:
            self.retry = sorted(set(self.retry) | set(waiting))
            self.ledger.flush()
        if refused:
            raise Refused()

    def verify(self, c, last):
        state, msgs = self.read_stream(c, self.name)
        self.compare(state, [(stream_seq(m.reply), number(self.name, m.data)) for m in msgs])

    def compare(self, state, stored):
        seqs, by_seq = [s for s, _ in stored], dict(stored)
        if seqs != sorted(seqs):
            raise Broken("out of order")
        twice = len(stored) - len({n for _, n in stored})
        if twice:
            raise Broken("%d messages are stored twice" % twice)
        first = state["first_seq"]
        self.justified(state)
        missing = [(s, n) for s, n in self.ledger.by_seq.items() if s >= first and by_seq.get(s) != n]
        if missing:
            raise Broken("acknowledged, not there: %s of %d; stored %d, state %s" % (missing[:5], len(missing), len(stored), state))
        if len(seqs) != state["messages"] or (seqs and (seqs[0], seqs[-1]) != (first, state["last_seq"])):
            raise Broken("state %s, but read %d: %s..%s" % (state, len(seqs), seqs[:1], seqs[-1:]))
        self.ledger.trim(first)
        self.counts["compared"] += len(stored)

    def justified(self, state):
        if state["first_seq"] > 1 and state["bytes"] < self.max_bytes - self.size_max - LOGICAL_EXTRA:
            raise Broken("removed more than max_bytes asks for: %s" % state)


class Sync(Publisher):
    name, rate, max_bytes, size_max = "SYNC", 60.0, 12 << 20, 8000

    def step(self, c):
        self.publish(c, self.take(1))


class Async(Publisher):
    name, rate, max_bytes, size_max = "ASYNC", 6.0, 24 << 20, 1500

    def step(self, c):
        self.publish(c, self.take(100))


class Memory(Publisher):
    """A memory stream is empty after a restart, and no sequence is given twice."""

    name, rate, config = "MEM", 5.0, {"storage": "memory"}
    max_bytes, size_max = 4 << 20, 2000

    def step(self, c):
        self.publish(c, self.take(20))

    def detached(self):
        self.lost = True

    def begin(self):
        super().begin()
        self.lost, self.high = False, 0

    def publish(self, c, numbers):
        super().publish(c, numbers)
        self.high = max(self.ledger.by_seq, default=self.high)

    def verify(self, c, last):
        if self.lost and self.world.restarted_since(self):
            state = self.api(c, "STREAM.INFO.MEM")["state"]
            if state["last_seq"] < self.high:
                raise Broken("sequences are given again: %s, was at %d" % (state, self.high))
            self.ledger.by_seq.clear()
            self.retry = []
        self.lost = False
        super().verify(c, last)

    def justified(self, state):
        pass  # after a restart it begins anywhere


class Age(Publisher):
    """max_age and max_msgs_per_subject: what is younger and among the last of its subject is there; the rest goes."""

    name, rate, seconds, per_subject = "AGE", 4.0, 20.0, 40
    max_bytes, size_max = 64 << 20, 1000
    config = {"max_age": int(20e9), "max_msgs_per_subject": 40, "duplicate_window": int(20e9)}
    VERIFY_SECONDS = 30

    def begin(self):
        super().begin()
        self.times = {}

    def step(self, c):
        before = time.time()
        numbers = self.take(20)
        try:
            self.publish(c, numbers)
        finally:
            for n in numbers:
                self.times.setdefault(n, before)  # a try without an answer may have stored it

    def verify(self, c, last):
        subjects = {}
        for seq, n in sorted(self.ledger.by_seq.items()):
            subjects.setdefault(n % 17, []).append((seq, n))
        state, msgs = self.read_stream(c, self.name)
        now = time.time()
        stored = {stream_seq(m.reply): number(self.name, m.data) for m in msgs}
        for numbers in subjects.values():
            # Room for messages that were stored without an answer, and pushed others out.
            for seq, n in numbers[-self.per_subject // 2:]:
                if now - self.times.get(n, 0) < self.seconds - 1 and stored.get(seq) != n:
                    raise Broken("young and not there: %d of %.1f s; %s" % (n, now - self.times[n], state))
        if len(stored) > self.per_subject * 17:
            raise Broken("more than max_msgs_per_subject allows: %s" % state)
        young = {n for n, t in self.times.items() if now - t < 2 * self.seconds}
        self.times = {n: self.times[n] for n in young}
        for seq in [s for s, n in self.ledger.by_seq.items() if n not in young]:
            del self.ledger.by_seq[seq]
        self.counts["compared"] += len(stored)


class Batch(Publisher):
    """Atomic batches: after a kill each is there whole or not at all."""

    name, rate, max_bytes, size_max = "BATCH", 3.0, 12 << 20, 3000
    config = {"allow_atomic": True}

    def begin(self):
        super().begin()
        self.made, self.next_batch = {}, 1

    def step(self, c):
        count, first = self.rng.randrange(2, 60), self.next_n
        self.next_n += count
        batch, self.next_batch = self.next_batch, self.next_batch + 1
        start = time.monotonic()
        reply = "%s.%d" % (self.inbox, batch)
        for i in range(count):
            hdr = {"Nats-Batch-Id": "b%d-%s" % (batch, self.inbox[-6:]), "Nats-Batch-Sequence": str(i + 1),
                   "Of": "%d,%d,%d" % (batch, i, count)}
            if i == count - 1:
                hdr["Nats-Batch-Commit"] = "1"
            c.pub("%s.%d" % (self.name, i), body(self.name, first + i, self.size(first + i)), reply if i == count - 1 else "", hdr)
        a = self.answer(c.next(self.sid))
        self.timed("atomic batch", start)
        if a.get("count") != count:
            raise Broken("batch of %d: %s" % (count, a))
        self.counts["acknowledged"] += count
        for i in range(count):
            self.ledger.add(a["seq"] - count + 1 + i, first + i)
        self.ledger.flush()

    def verify(self, c, last):
        state, msgs = self.read_stream(c, self.name)
        groups = {}
        for m in msgs:
            batch, i, count = map(int, m.headers()["Of"].split(","))
            groups.setdefault((batch, count), []).append(i)
        oldest = min(groups, default=None)
        for (batch, count), members in groups.items():
            # max_bytes takes the front of the oldest one
            if members != list(range(count)) and ((batch, count) != oldest or members != list(range(count - len(members), count))):
                raise Broken("batch %d of %d is there in part: %s" % (batch, count, members))
        self.compare(state, [(stream_seq(m.reply), number(self.name, m.data)) for m in msgs])


class Queue(Publisher):
    """Work queue or interest: each consumer gets everything; what it confirmed never comes again, and in the end
    nothing is left."""

    max_bytes, size_max, lag_max, ack_wait_s = -1, 3000, 1500, 8
    pulls, pushes = ["a"], []

    def begin(self):
        super().begin()
        self.next_ack = 0
        self.open = {k: {} for k in self.pulls + self.pushes}  # acknowledged, not yet confirmed
        self.floor = {k: 0 for k in self.open}  # every number up to here is confirmed
        self.above = {k: set() for k in self.open}

    def attach(self, c):
        super().attach(c)
        self.sids, self.acks = {}, []
        for k in self.pulls:
            self.consumer(c, self.name, k, ack_wait=int(self.ack_wait_s * 1e9), max_ack_pending=5000)
        for k in self.pushes:
            box = "deliver.%s.%s" % (self.name, k)
            self.sids[k] = c.sub(box)
            self.consumer(c, self.name, k, ack_wait=int(self.ack_wait_s * 1e9), max_ack_pending=200, deliver_subject=box)
        self.ack_inbox = "_INBOX.K%s.%d" % (self.name, time.monotonic_ns())
        self.ack_sid = c.sub(self.ack_inbox + ".*")

    def confirmed(self, k, n):
        return n <= self.floor[k] or n in self.above[k]

    def confirm(self, k, n):
        self.open[k].pop(n, None)
        self.above[k].add(n)
        while self.floor[k] + 1 in self.above[k]:
            self.floor[k] += 1
            self.above[k].remove(self.floor[k])

    def step(self, c):
        if max(len(o) for o in self.open.values()) < self.lag_max:
            before = set(self.ledger.by_seq)
            try:
                self.publish(c, self.take(20))
            except Refused:
                self.counts["refused"] += 1
            finally:
                for seq in set(self.ledger.by_seq) - before:
                    n = self.ledger.by_seq.pop(seq)
                    for k in self.open:
                        if not self.confirmed(k, n):
                            self.open[k][n] = seq
        for k in self.pulls:
            self.ack(c, k, self.fetch(c, k, 30))
        for k in self.pushes:
            self.ack(c, k, self.arrived(c, k))

    def fetch(self, c, k, count):
        start = time.monotonic()
        inbox, sid = c.new_inbox()
        c.pub("$JS.API.CONSUMER.MSG.NEXT.%s.%s" % (self.name, k), b'{"batch":%d,"no_wait":true}' % count, inbox)
        out = []
        while len(out) < count:
            m = c.next(sid)
            if m.status():
                break
            out.append(m)
        c.unsub(sid)
        self.timed("pull 30", start)
        return out

    def arrived(self, c, k):
        c.ping()
        out = [m for m in c.inbox if m.sid == self.sids[k]]
        c.inbox = [m for m in c.inbox if m.sid != self.sids[k]]
        return out

    def ack(self, c, k, msgs):
        sent = {}
        for m in msgs:
            n = number(self.name, m.data)
            if self.confirmed(k, n):
                raise Broken("%s: %d comes again after its ack was confirmed (%s)" % (k, n, m.reply))
            dice = self.rng.random()
            if dice < 0.03:
                c.pub(m.reply, b"-NAK")
            elif dice > 0.005 + 0.03:  # the rest is left to ack_wait
                self.next_ack += 1
                sent[self.next_ack] = n, time.monotonic()
                c.pub(m.reply, b"+ACK", "%s.%d" % (self.ack_inbox, self.next_ack))
        for _ in range(len(sent)):
            m = c.next(self.ack_sid)
            if m.data or m.status():
                raise Broken("an ack was answered with %r" % m)
            n, start = sent[int(m.subject.rsplit(".", 1)[1])]
            self.timed("confirmed ack", start)
            self.confirm(k, n)
            self.counts["confirmed"] += 1
        # A second copy that was sent before the answer is no redelivery after it.
        c.inbox = [m for m in c.inbox if m.sid != self.sids.get(k) or not self.confirmed(k, number(self.name, m.data))]

    def verify(self, c, last):
        """What is acknowledged and not confirmed stands in the stream; at the end everything is drained."""
        state, msgs = self.read_all(c)
        stored = {}
        for m in msgs:
            n = number(self.name, m.data)
            if n in stored:
                raise Broken("%d is stored twice" % n)
            stored[n] = stream_seq(m.reply)
        for k, waiting in self.open.items():
            gone = [n for n in waiting if n not in stored]
            if gone and not self.unsure(k, gone):
                raise Broken("%s: acknowledged and gone before it was acked: %s of %d; %s" % (k, gone[:5], len(gone), state))
        self.counts["compared"] += len(stored)
        if last:
            self.drain(c)

    def unsure(self, k, gone):
        """An ack may have been taken although its answer was lost with the connection."""
        if len(gone) > 64:
            return False
        for n in gone:
            self.counts["acked unanswered"] += 1
            self.confirm(k, n)
        return True

    def read_all(self, c):
        """A work queue has no second reader: its messages are got one by one, through the direct API."""
        state = self.api(c, "STREAM.INFO." + self.name)["state"]
        if not state["messages"]:
            return state, []
        inbox, sid = c.new_inbox()
        out, seq = [], state["first_seq"]
        while True:
            c.pub("$JS.API.DIRECT.GET." + self.name, b'{"seq":%d,"batch":500,"next_by_subj":">"}' % seq, inbox)
            while True:
                m = c.next(sid)
                if m.status():
                    break
                seq = int(m.headers()["Nats-Sequence"]) + 1
                m.reply = ".....%d" % (seq - 1)
                out.append(m)
            if m.status()[0] != 204 or m.headers().get("Nats-Num-Pending", "0") == "0":
                break
        c.unsub(sid)
        return state, out

    config = {"allow_direct": True, "retention": "workqueue"}

    def drain(self, c):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            for k in self.pulls:
                self.ack(c, k, self.fetch(c, k, 100))
            for k in self.pushes:
                self.ack(c, k, self.arrived(c, k))
            state = self.api(c, "STREAM.INFO." + self.name)["state"]
            if not state["messages"]:
                left = {k: len(o) for k, o in self.open.items() if o}
                if left:
                    raise Broken("the stream is empty, not confirmed are %s" % left)
                return
            c.none(-1, 0.2)
        raise Broken("not drained: %s" % state)


class Work(Queue):
    name, rate = "WORK", 6.0


class Interest(Queue):
    name, rate, pulls, pushes = "INT", 5.0, ["a"], ["p"]
    config = {"allow_direct": True, "retention": "interest"}
