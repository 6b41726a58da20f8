"""Loads that store nothing for long: core publishing, a client that stops reading, connections that come and go, streams
and consumers that come and go."""
import socket
import time

from actor import ANSWER_SECONDS, Broken, Load, body, natsraw, number

NOT_FOUND = {10059, 10014}


class Core(Load):
    """Publish, subscribe and request-reply: order is kept, nothing is lost while the connection lives."""

    name, rate = "CORE", 20.0

    def begin(self):
        self.next_n = 1

    def attach(self, c):
        self.sid, self.service = c.sub("core.>"), c.sub("service")

    def step(self, c):
        start, first = time.monotonic(), self.next_n
        for _ in range(50):
            c.pub("core.%d" % (self.next_n % 9), body("CORE", self.next_n, 100))
            self.next_n += 1
        for n in range(first, self.next_n):
            got = number("CORE", c.next(self.sid).data)
            if got != n:
                raise Broken("got %d, not %d" % (got, n))
        self.timed("core 50", start)
        inbox, sid = c.new_inbox()
        start = time.monotonic()
        c.pub("service", b"?", inbox)
        c.pub(c.next(self.service).reply, b"!")
        c.next(sid)
        c.unsub(sid)
        self.timed("request", start)
        self.counts["core messages"] += 52

    def verify(self, c, last):
        pass


class Slow(Load):
    """A subscriber that stops reading is cut off; the publisher beside it is not held up."""

    name, rate = "SLOW", 4.0

    def attach(self, c):
        self.reader = None

    def detached(self):
        if self.reader:
            self.reader.close()

    def step(self, c):
        if not self.reader:
            self.reader = natsraw.Conn(port=self.world.port, timeout=ANSWER_SECONDS)
            self.reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            self.reader.sub("slow.>")
            self.reader.ping()
            self.sent = 0
        for _ in range(16):
            c.pub("slow.a", b"s" * 65536)
        start = time.monotonic()
        c.ping()
        self.timed("ping beside a slow reader", start)
        self.sent += 16 * 65536
        if self.sent > self.world.max_pending + (24 << 20):  # what the kernel holds comes on top
            self.cut_off()

    def cut_off(self):
        """Reads what was left in the sockets; the end must come."""
        self.reader.sock.settimeout(60)
        try:
            while self.reader.sock.recv(1 << 20):
                pass
        except ConnectionError:
            pass
        except socket.timeout:
            raise Broken("a client that did not read %d bytes was not cut off" % self.sent)
        self.reader.close()
        self.reader = None
        self.counts["slow readers cut off"] += 1

    def verify(self, c, last):
        pass


class Churn(Load):
    """Connections of all kinds come and go: proper ones, half ones, and ones that speak another language."""

    name, rate = "CHURN", 8.0

    def attach(self, c):
        pass

    def step(self, c):
        kind, port = self.rng.randrange(5), self.world.port
        if kind < 3:
            start = time.monotonic()
            d = natsraw.Conn(port=port, timeout=ANSWER_SECONDS)
            self.timed("connect", start)
            for i in range(20):
                d.sub("churn.%d.*" % i)
            d.pub("churn.1.x", b"hello")
            if kind:
                d.next()
            d.close()
        else:
            with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as s:
                s.settimeout(ANSWER_SECONDS)
                if kind == 4:
                    s.recv(4096)
                    s.sendall(self.rng.randbytes(self.rng.randrange(1, 5000)))
        self.counts["connections"] += 1

    def verify(self, c, last):
        pass


class Ddl(Load):
    """Streams and consumers are made, filled, purged, changed and deleted; ephemeral consumers are forgotten."""

    name, rate = "DDL", 3.0

    def attach(self, c):
        self.live = {}
        for name in self.api(c, "STREAM.NAMES", {"subject": "ddl.>"}).get("streams") or []:
            self.api(c, "STREAM.DELETE." + name)

    def step(self, c):
        slot = self.rng.randrange(6)
        name = "DDL%d" % slot
        if slot not in self.live:
            start = time.monotonic()
            self.stream(c, name, subjects=["ddl.%d.>" % slot], storage="memory" if slot == 5 else "file",
                        allow_direct=True, max_msgs=200)
            self.timed("stream create", start)
            self.live[slot] = 0
            return
        dice = self.rng.randrange(5)
        if dice == 0:
            self.publish(c, slot)
        elif dice == 1:
            config = {"name": "e%d" % time.monotonic_ns(), "ack_policy": "explicit", "inactive_threshold": 3 * 10**9}
            self.api(c, "CONSUMER.CREATE.%s.%s" % (name, config["name"]), {"stream_name": name, "config": config})
        elif dice == 2:
            self.api(c, "STREAM.PURGE." + name, {"filter": "ddl.%d.1" % slot})
        elif dice == 3:
            self.api(c, "STREAM.UPDATE." + name, {"name": name, "subjects": ["ddl.%d.>" % slot], "allow_direct": True,
                                                  "storage": "memory" if slot == 5 else "file", "max_msgs": 200,
                                                  "description": "d%d" % self.rng.randrange(100)})
        else:
            start = time.monotonic()
            self.api(c, "STREAM.DELETE." + name)
            self.timed("stream delete", start)
            del self.live[slot]
            self.counts["streams deleted"] += 1

    def publish(self, c, slot):
        inbox, sid = c.new_inbox()
        for i in range(60):
            c.pub("ddl.%d.%d" % (slot, i % 4), body("DDL", i, 1000), inbox)
        for _ in range(60):
            self.answer(c.next(sid))
        c.unsub(sid)

    def verify(self, c, last):
        pass
