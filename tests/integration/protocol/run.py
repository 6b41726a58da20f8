"""Runs byte scripts against a server: send these bytes, expect these.

    python3 tests/integration/protocol/run.py [--server PROGRAM] [--list] [name...]

Each *.script in this folder is run against build/bin/millrace (or --server), and, where the environment variable
NATS_SERVER names a real nats-server, against that too: the same script has to pass on both. Standard library only.

A script's lines (bytes are written with Python's escapes; %{text*n} stands for n times text):

    # comment
    config: max_payload: 100        a line of the server's config file; all of them come first
    A> PING\\r\\n                     connection A (opened when first named; its INFO is read) sends these bytes
    A< PONG\\r\\n                     the next bytes on A are exactly these
    A<any x | y                     the next bytes are x and y in either order (| with a space on each side)
    A<info "auth_required":true     A's INFO line contains this; !text: does not contain
    A<re PING\\r\\n                   the next line matches this regular expression
    A closed                        the server closes A, without another byte
    A quiet                         nothing else was sent: a PING is answered by PONG at once
    A open                          opens A (to be followed by closed, or for INFO)
    A end                           the client closes A
    wait A 3                        reads nothing, waits at most 3 s until A has something to read
    log: text                       the server's log holds this text by now or soon (log-ours: only ours)
    only: millrace | upstream       the whole script is for that server only
"""
import glob
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
TIMEOUT_S = 10.0


class Failure(Exception):
    pass


def bytes_of(text):
    text = re.sub(r"%\{(.*?)\*(\d+)\}", lambda m: m.group(1) * int(m.group(2)), text)
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


class Conn:
    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""
        self.info = self.line()

    def more(self):
        try:
            got = self.sock.recv(1 << 16)
        except socket.timeout:
            raise Failure("timed out; unread: %r" % self.buf[:300])
        except ConnectionError:
            got = b""
        self.buf += got
        return got != b""

    def line(self):
        while b"\n" not in self.buf:
            if not self.more():
                raise Failure("closed while a line was expected; got %r" % self.buf)
        line, _, self.buf = self.buf.partition(b"\n")
        return line + b"\n"

    def take(self, n):
        while len(self.buf) < n and self.more():
            pass
        got, self.buf = self.buf[:n], self.buf[n:]
        return got

    def expect(self, want):
        got = self.take(len(want))
        if got != want:
            raise Failure("expected %r\n         got      %r" % (want[:400], (got + self.buf)[:400]))

    def expect_any(self, wants):
        left = list(wants)
        while left:
            for w in sorted(left, key=len, reverse=True):
                while len(self.buf) < len(w) and w.startswith(self.buf) and self.more():
                    pass
                if self.buf.startswith(w):
                    self.buf = self.buf[len(w):]
                    left.remove(w)
                    break
            else:
                raise Failure("expected one of %r, got %r" % (left, self.buf[:400]))

    def closed(self):
        while self.more():
            pass
        if self.buf:
            raise Failure("expected the end, got %r" % self.buf[:400])


class Server:
    def __init__(self, program, config):
        self.dir = tempfile.mkdtemp(prefix="millrace-protocol-")
        self.conf = os.path.join(self.dir, "server.conf")
        with open(self.conf, "w") as f:
            f.write("listen: 127.0.0.1:-1\n" + "".join(c + "\n" for c in config))
        self.proc = subprocess.Popen([program, "-c", self.conf, "-D"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.log = b""
        self.cond = threading.Condition()
        self.thread = threading.Thread(target=self.read_log, daemon=True)
        self.thread.start()
        self.wait_log(b"Server is ready")
        self.port = int(re.search(rb"Listening for client connections on \S+:(\d+)", self.log).group(1))

    def read_log(self):
        for line in self.proc.stderr:
            with self.cond:
                self.log += line
                self.cond.notify_all()
        with self.cond:
            self.log += b"\n<end of log>"
            self.cond.notify_all()

    def wait_log(self, text):
        with self.cond:
            ok = self.cond.wait_for(lambda: text in self.log or b"<end of log>" in self.log, TIMEOUT_S)
            if not ok or text not in self.log:
                raise Failure("the log never said %r:\n%s" % (text, self.log.decode(errors="replace")[-2000:]))

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        try:
            rc = self.proc.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            rc = self.proc.wait()
        self.thread.join(TIMEOUT_S)
        os.remove(self.conf)
        os.rmdir(self.dir)
        if rc not in (0, 1) or b"Sanitizer" in self.log:
            raise Failure("server ended with %d:\n%s" % (rc, self.log.decode(errors="replace")[-4000:]))


def parse(path):
    config, steps, only = [], [], None
    with open(path, encoding="latin-1") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            if line.startswith("config:"):
                config.append(line[7:].strip())
            elif line.startswith("only:"):
                only = line[5:].strip()
            else:
                steps.append((number, line))
    return config, steps, only


def step(server, conns, line, ours):
    m = re.match(r"log(-ours)?: (.*)$", line)
    if m:
        if ours or not m.group(1):
            server.wait_log(m.group(2).encode())
        return
    m = re.match(r"wait (\w+) (\d+)$", line)
    if m:
        if not conns[m.group(1)].buf and not select.select([conns[m.group(1)].sock], [], [], int(m.group(2)))[0]:
            raise Failure("nothing came")
        return
    m = re.match(r"(\w+)(<any|<info|<re|<|>| closed| quiet| open| end)(?: (.*))?$", line)
    if not m:
        raise Failure("what does this mean?")
    name, verb, text = m.group(1), m.group(2).strip(), m.group(3) or ""
    if name not in conns:
        conns[name] = Conn(server.port)
    c = conns[name]
    if verb == ">":
        c.sock.sendall(bytes_of(text))
    elif verb == "<":
        c.expect(bytes_of(text))
    elif verb == "<any":
        c.expect_any([bytes_of(t) for t in text.split(" | ")])
    elif verb == "<re":
        got = c.line()
        if not re.fullmatch(bytes_of(text), got):
            raise Failure("expected a line like %r, got %r" % (text, got))
    elif verb == "<info":
        unwanted = text.startswith("!")
        if (text.lstrip("!").encode() in c.info) == unwanted:
            raise Failure("INFO is %r" % c.info)
    elif verb == "closed":
        c.closed()
    elif verb == "end":
        c.sock.close()
    elif verb == "quiet":
        c.sock.sendall(b"PING\r\n")
        c.expect(b"PONG\r\n")


def run_script(program, path, ours):
    config, steps, only = parse(path)
    if only and only != ("millrace" if ours else "upstream"):
        return False
    conns = {}
    server = Server(program, config)
    try:
        for number, line in steps:
            try:
                step(server, conns, line, ours)
            except Failure as e:
                raise Failure("%s:%d: %s\n         %s" % (os.path.basename(path), number, line[:200], e))
            except OSError as e:
                raise Failure("%s:%d: %s\n         %s" % (os.path.basename(path), number, line[:200], e))
    finally:
        for c in conns.values():
            c.sock.close()
        server.stop()
    return True


def main(argv):
    program = os.path.join(ROOT, "build", "bin", "millrace")
    names = []
    listing = False
    while argv:
        a = argv.pop(0)
        if a == "--server":
            program = argv.pop(0)
        elif a == "--list":
            listing = True
        else:
            names.append(a)
    scripts = sorted(p for p in glob.glob(os.path.join(HERE, "*.script"))
                     if not names or any(n in os.path.basename(p) for n in names))
    if listing:
        print("\n".join(os.path.basename(s) for s in scripts))
        return 0
    servers = [("millrace", program, True)]
    if os.environ.get("NATS_SERVER"):
        servers.append(("upstream", os.environ["NATS_SERVER"], False))
    passed = failed = 0
    for label, prog, ours in servers:
        for s in scripts:
            started = time.monotonic()
            try:
                if not run_script(prog, s, ours):
                    continue
                passed += 1
                print("ok   %-8s %s (%.2f s)" % (label, os.path.basename(s), time.monotonic() - started))
            except Failure as e:
                failed += 1
                print("FAIL %-8s %s" % (label, e))
    print("protocol: %d passed, %d failed" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
