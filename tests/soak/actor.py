"""What all loads of the soak share: a process of its own, a connection that comes back after a kill, pacing, latencies
in bounded memory, and the ledger of what was acknowledged.

A load is a process, so that one that waits or verifies delays no other and latencies are not those of Python's lock. It
says what it saw over a pipe: ("report", {...}) when asked, ("broken", text) when a promise was not kept. After every
loss of the connection it makes its streams' clients anew and verifies the whole ledger before it goes on."""
import collections
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402

ANSWER_SECONDS = 200  # the longest any answer may take; a machine that is stopped for a minute is no lost answer
REFUSED = {10023, 10047, 10077, 10167}  # full disk, full window: "not stored", to be tried again
KEPT_MAX = 4096  # latencies of one operation in one sample
LEDGER_FILE_MAX = 8 << 20


class Broken(Exception):
    """A promise of the server was not kept."""


class Refused(Exception):
    """The server said that it stores nothing now."""


def body(stream, n, size):
    """The payload of message n: it says who it is, so that what is served can be checked without keeping it."""
    head = b"%s %d %d " % (stream.encode(), n, size)
    if len(head) >= size:
        return head
    return (head + hashlib.blake2b(head).digest() * (size // 64 + 1))[:size]


def number(stream, data):
    """The n of a payload whose every byte is right."""
    f = data.split(b" ", 3)
    if len(f) < 4 or f[0] != stream.encode() or body(stream, int(f[1]), int(f[2])) != data:
        raise Broken("%s: bytes that were never written: %r" % (stream, data[:80]))
    return int(f[1])


def stream_seq(reply):
    return int(reply.split(".")[5])


class Latencies:
    """Seconds of operations since the last report; at most KEPT_MAX of each kind, a uniform choice."""

    def __init__(self):
        self.kept, self.seen = {}, collections.Counter()

    def add(self, what, seconds):
        kept = self.kept.setdefault(what, [])
        self.seen[what] += 1
        if len(kept) < KEPT_MAX:
            kept.append(seconds)
        else:
            i = random.randrange(self.seen[what])
            if i < KEPT_MAX:
                kept[i] = seconds

    def take(self):
        out = {}
        for what, kept in self.kept.items():
            kept.sort()
            out[what] = (self.seen[what], kept[len(kept) // 2], kept[min(len(kept) - 1, len(kept) * 99 // 100)], kept[-1])
        self.kept, self.seen = {}, collections.Counter()
        return out


class Ledger:
    """What was acknowledged: sequence -> number, and the same as lines of a file for a reader after the fact (two files
    at most). What the stream's limits have removed is struck out by trim()."""

    def __init__(self, path):
        self.path, self.by_seq, self.file = path, {}, open(path, "w")

    def add(self, seq, n):
        had = self.by_seq.get(seq)
        if had is not None and had != n:
            raise Broken("sequence %d was given to %d and to %d" % (seq, had, n))
        self.by_seq[seq] = n
        self.file.write("%d %d %.3f\n" % (seq, n, time.time()))
        if self.file.tell() > LEDGER_FILE_MAX:
            self.file.close()
            os.replace(self.path, self.path + ".old")
            self.file = open(self.path, "w")

    def flush(self):
        self.file.flush()

    def trim(self, first_seq):
        for seq in [s for s in self.by_seq if s < first_seq]:
            del self.by_seq[seq]


class Load(multiprocessing.Process):
    """One load. A subclass has `name`, `rate` (steps a second), attach(c), step(c), verify(c)."""

    rate = 10.0
    VERIFY_SECONDS = 150  # without a loss of the connection, the ledger is verified this often

    def __init__(self, world):
        super().__init__(daemon=True)
        self.world = world
        self.pipe, self.far = multiprocessing.Pipe()
        self.lat = Latencies()
        self.counts = collections.Counter()
        self.ending = False
        self.lost_in_a_row, self.lost_since = 0, 0

    # --- the process

    def run(self):
        self.pipe.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver says when to end
        os.nice(19)
        self.rng = random.Random("%d %s" % (self.world.seed, self.name))
        try:
            self.begin()
            while not self.ending:
                self.life()
            self.far.send(("done", self.report()))
        except (Broken, AssertionError) as e:
            self.far.send(("broken", "%s: %s" % (self.name, e or traceback.format_exc())))
        except (EOFError, BrokenPipeError, KeyboardInterrupt):
            pass
        except Exception:
            self.far.send(("broken", "%s: %s" % (self.name, traceback.format_exc())))

    def life(self):
        """One connection, from its making to its loss."""
        connected = False
        try:
            with natsraw.Conn(port=self.world.port, timeout=ANSWER_SECONDS) as c:
                connected = True
                self.attach(c)
                self.check_all(c)
                self.lost_in_a_row, self.lost_since = 0, self.world.starts.value
                while not self.ending:
                    self.work(c)
                self.check_all(c, last=True)
        except (natsraw.Closed, OSError) as e:
            if isinstance(e, TimeoutError):
                raise Broken("no answer within %d s: %s" % (ANSWER_SECONDS, traceback.format_exc()))
            if self.ending:
                raise Broken("the connection was lost in the last check: %s" % e)
            self.counts["connections lost"] += 1
            self.lost_in_a_row += connected
            if self.lost_in_a_row > 5 * (self.world.starts.value - self.lost_since + 1):
                raise Broken("the server lives and closes the connection again and again: %s" % e)
            self.detached()
            self.listen(0.05)
        except Refused:
            self.counts["refused"] += 1
            self.detached()
            self.listen(0.5)

    def check_all(self, c, last=False):
        start = time.monotonic()
        self.verify(c, last)
        self.counts["verified"] += 1
        self.verified = time.monotonic()
        self.counts["verify ms"] += int((self.verified - start) * 1000)

    def work(self, c):
        start = time.monotonic()
        try:
            self.step(c)
        except Refused:
            self.counts["refused"] += 1
            self.listen(0.25)
        if start - self.verified > self.VERIFY_SECONDS:
            self.check_all(c)
        self.listen(max(0.0, 1 / self.rate - (time.monotonic() - start)))

    def listen(self, seconds):
        """Rests for so long, or until the driver wants something."""
        end = time.monotonic() + seconds
        while self.far.poll(max(0.0, end - time.monotonic())):
            what = self.far.recv()
            if what == "end":
                self.ending = True
                return
            self.far.send(("report", self.report()))

    def report(self):
        with open("/proc/self/statm") as f:
            rss = int(f.read().split()[1]) * 4096
        return {"lat": self.lat.take(), "counts": dict(self.counts), "rss": rss}

    def begin(self):
        pass

    def detached(self):
        pass

    # --- what steps are made of

    def timed(self, what, start):
        self.lat.add(what, time.monotonic() - start)

    def answer(self, m):
        """The JSON of an answer; Refused, or Broken for an error that nothing explains."""
        if not m.data:
            raise Broken("no answer but %r" % m)
        a = m.json()
        if "error" in a:
            if a["error"].get("err_code") in REFUSED:
                raise Refused(a["error"])
            raise Broken("%s" % a["error"])
        return a

    def api(self, c, what, data=b""):
        return self.answer(c.request("$JS.API." + what, data))

    def stream(self, c, name, **config):
        config.update(name=name)
        return self.api(c, "STREAM.CREATE." + name, config)

    def consumer(self, c, stream, name, **config):
        config.update(durable_name=name, ack_policy=config.get("ack_policy", "explicit"))
        return self.api(c, "CONSUMER.CREATE.%s.%s" % (stream, name), {"stream_name": stream, "config": config})

    def read_stream(self, c, name, filter_subject=None):
        """(state, [message]) of all that a stream holds, through an ordered consumer."""
        reader = "r%d" % time.monotonic_ns()
        inbox, sid = c.new_inbox()
        config = {"name": reader, "deliver_subject": inbox, "ack_policy": "none", "deliver_policy": "all",
                  "mem_storage": True, "inactive_threshold": 30 * 10**9, "max_deliver": 1}
        if filter_subject:
            config["filter_subject"] = filter_subject
        state = self.api(c, "STREAM.INFO." + name)["state"]
        made = self.api(c, "CONSUMER.CREATE.%s.%s" % (name, reader), {"stream_name": name, "config": config})
        out, left, consumer_seq = [], made["num_pending"], 0
        while left:
            try:
                m = c.next(sid, 2)
            except TimeoutError:  # what was left may have expired in between
                left = self.api(c, "CONSUMER.INFO.%s.%s" % (name, reader))["num_pending"]
                continue
            f = m.reply.split(".")
            consumer_seq += 1
            if int(f[6]) != consumer_seq:
                raise Broken("%s: reader got delivery %s, not %d" % (name, f[6], consumer_seq))
            out.append(m)
            left = int(f[8])
        c.request("$JS.API.CONSUMER.DELETE.%s.%s" % (name, reader))
        c.unsub(sid)
        return state, out


def dumps(x):
    return json.dumps(x, separators=(",", ":"))
