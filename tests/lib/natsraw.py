"""A NATS client of a few dozen lines on a raw socket, for byte-level checks. Standard library only.

It works the same against any server that speaks the protocol, so a test can run against ours and against another one
and compare. Every wait has a timeout; nothing sleeps."""
import json
import socket
import time


class Msg:
    def __init__(self, subject, sid, reply, hdr, data):
        self.subject, self.sid, self.reply, self.hdr, self.data = subject, sid, reply, hdr, data

    def json(self):
        return json.loads(self.data)

    def status(self):
        """(code, text) of an inline status, or None."""
        line = self.hdr.split(b"\r\n", 1)[0]
        if not line.startswith(b"NATS/1.0 "):
            return None
        code, _, text = line[9:].partition(b" ")
        return int(code), text.decode()

    def headers(self):
        out = {}
        for line in self.hdr.split(b"\r\n")[1:]:
            if line:
                k, _, v = line.partition(b":")
                out[k.decode()] = v.strip().decode()
        return out

    def __repr__(self):
        return "Msg(%r reply=%r hdr=%r data=%r)" % (self.subject, self.reply, self.hdr, self.data)


class Closed(Exception):
    pass


class Conn:
    """One connection. `connect` holds extra CONNECT options (user, pass, ...)."""

    def __init__(self, host="127.0.0.1", port=4222, timeout=20.0, connect=None):
        self.timeout = timeout
        self.sock = socket.create_connection((host, port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.inbox = []  # messages read while waiting for others
        self.errors = []  # -ERR lines
        self.next_sid = 1
        self.nonce = "%x" % time.monotonic_ns()
        line = self._line(time.monotonic() + timeout)
        self.info = json.loads(line[5:])
        opts = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1,
                "lang": "raw", "version": "1", "name": "natsraw"}
        opts.update(connect or {})
        # In one piece: a server that refuses the login closes, and a PING that came after that would reset the connection
        # and take the reason with it.
        self.ping(first=b"CONNECT " + json.dumps(opts).encode() + b"\r\n")

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    def _fill(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        self.sock.settimeout(left)
        try:
            got = self.sock.recv(1 << 16)
        except socket.timeout:
            raise TimeoutError("no answer in time")
        if not got:
            raise Closed("connection closed; errors: %s" % self.errors)
        self.buf += got

    def _line(self, deadline):
        while b"\r\n" not in self.buf:
            self._fill(deadline)
        line, self.buf = self.buf.split(b"\r\n", 1)
        return line

    def _bytes(self, n, deadline):
        have = min(n, len(self.buf))
        if have == n:
            out, self.buf = self.buf[:n], self.buf[n:]
            return out
        out = bytearray(n)  # a large message is read in place
        view = memoryview(out)
        view[:have] = self.buf
        self.buf = b""
        while have < n:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("no answer in time")
            self.sock.settimeout(left)
            try:
                got = self.sock.recv_into(view[have:])
            except socket.timeout:
                raise TimeoutError("no answer in time")
            if not got:
                raise Closed("connection closed; errors: %s" % self.errors)
            have += got
        return bytes(out)

    def _op(self, deadline):
        """Reads one protocol line; returns a Msg, 'PONG', or None."""
        line = self._line(deadline)
        verb = line.split(b" ", 1)[0].upper()
        if verb == b"PING":
            self.send(b"PONG\r\n")
        elif verb == b"PONG":
            return "PONG"
        elif verb == b"-ERR":
            self.errors.append(line.decode())
        elif verb in (b"MSG", b"HMSG"):
            f = line.decode().split()
            hlen = 0
            if verb == b"HMSG":
                total, hlen = int(f[-1]), int(f[-2])
                f = f[:-2]
            else:
                total = int(f[-1])
                f = f[:-1]
            body = self._bytes(total + 2, deadline)[:-2]
            return Msg(f[1], int(f[2]), f[3] if len(f) > 3 else "", body[:hlen], body[hlen:])
        return None

    def ping(self, timeout=None, first=b""):
        """Round trip: everything sent before has been processed."""
        deadline = time.monotonic() + (timeout or self.timeout)
        self.send(first + b"PING\r\n")
        while True:
            got = self._op(deadline)
            if got == "PONG":
                return
            if got is not None:
                self.inbox.append(got)

    def sub(self, subject, queue=""):
        sid = self.next_sid
        self.next_sid += 1
        self.send(("SUB %s %s %d\r\n" % (subject, queue, sid)).replace("  ", " ").encode())
        return sid

    def unsub(self, sid, max_msgs=0):
        self.send(("UNSUB %d %d\r\n" % (sid, max_msgs) if max_msgs else "UNSUB %d\r\n" % sid).encode())

    def pub(self, subject, data=b"", reply="", hdr=None):
        if isinstance(data, str):
            data = data.encode()
        if hdr:
            h = b"NATS/1.0\r\n" + b"".join(("%s: %s\r\n" % kv).encode() for kv in hdr.items()) + b"\r\n"
            self.send(("HPUB %s %s %d %d\r\n" % (subject, reply, len(h), len(h) + len(data))).replace("  ", " ").encode()
                      + h + data + b"\r\n")
        else:
            self.send(("PUB %s %s %d\r\n" % (subject, reply, len(data))).replace("  ", " ").encode() + data + b"\r\n")

    def next(self, sid=None, timeout=None):
        """The next message (of a subscription)."""
        for i, m in enumerate(self.inbox):
            if sid is None or m.sid == sid:
                return self.inbox.pop(i)
        deadline = time.monotonic() + (timeout or self.timeout)
        while True:
            got = self._op(deadline)
            if isinstance(got, Msg):
                if sid is None or got.sid == sid:
                    return got
                self.inbox.append(got)

    def none(self, sid, timeout=0.2):
        """True when no message comes within `timeout`."""
        try:
            m = self.next(sid, timeout)
        except TimeoutError:
            return True
        self.inbox.append(m)
        return False

    def new_inbox(self):
        inbox = "_INBOX.%s.%d" % (self.nonce, self.next_sid)
        return inbox, self.sub(inbox)

    def request(self, subject, data=b"", hdr=None, timeout=None):
        if isinstance(data, dict):
            data = json.dumps(data)
        inbox, sid = self.new_inbox()
        self.unsub(sid, 1)
        self.pub(subject, data, inbox, hdr)
        return self.next(sid, timeout)

    def api(self, what, data=b"", timeout=None):
        """A JetStream API request; the answer as parsed JSON."""
        return self.request("$JS.API." + what, data, timeout=timeout).json()
