#!/usr/bin/env python3
"""Signals and --signal on a running server: reload of users, accounts, limits, logging and files; what a reload refuses;
lame duck mode. Texts and effects as nats-server 2.14.5 has them, where it has them (PEER=/path/to/nats-server runs it there)."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import server  # noqa: E402

PEER = os.environ.get("PEER")
EXE = PEER or server.binary()
DIR = tempfile.mkdtemp(prefix="reload-", dir=os.environ.get("TEST_DIR"))


def write(name, text):
    path = os.path.join(DIR, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


class Client:
    """One connection, read line by line."""

    def __init__(self, s, **login):
        self.sock = socket.create_connection(("127.0.0.1", s.port), 10)
        self.file = self.sock.makefile("rb")
        self.info = json.loads(self.file.readline()[5:])
        self.send("CONNECT " + json.dumps(dict({"verbose": False, "protocol": 1, "headers": True, "no_responders": True}, **login)))

    def send(self, text):
        self.sock.sendall(text.encode() + b"\r\n")
        return self

    def line(self):
        """The next line but INFO and PING; "" at the end, also where the server cut the connection."""
        while True:
            try:
                text = self.file.readline().decode().strip()
            except ConnectionResetError:
                return ""
            if not text.startswith(("INFO", "PING")):
                return text

    def pong(self):
        """PONG, or what comes in its place."""
        try:
            self.send("PING")
        except OSError:
            pass
        return self.line()

    def ask(self, subject, body, raw=False):
        """The answer's JSON, or as text ("503": nobody is there)."""
        self.send("SUB in 9\r\nUNSUB 9 1\r\nPUB %s in %d\r\n%s" % (subject, len(body), body))
        head = self.line().split()
        text = self.file.read(int(head[-1]) + 2)
        if head[0] == "HMSG" and text.startswith(b"NATS/1.0 503"):
            return "503"
        return text.decode().rstrip("\r\n") if raw else json.loads(text)

    def api(self, what, body=""):
        return self.ask("$JS.API." + what, body)


def start(text, jetstream=False):
    return server.Server(config=write("s.conf", text), jetstream=jetstream, exe=EXE)


def reload(s, text, expect="Reloaded server configuration"):
    """HUP; waits for the line, and returns what was logged since."""
    before = len(s.log())
    write("s.conf", text)
    os.kill(s.server_pid(), signal.SIGHUP)
    s.wait_log(expect, since=before)
    return s.log()[before:]


def users():
    login = lambda u, p: {"user": u, "pass": p}
    with start("authorization { users: [{user: a, password: a}, {user: b, password: b}] }\n") as s:
        a, b = Client(s, **login("a", "a")), Client(s, **login("b", "b"))
        assert (a.pong(), b.pong()) == ("PONG", "PONG")
        log = reload(s, "authorization { users: [{user: a, password: a}, {user: b, password: new}, {user: c, password: c}] }\n")
        assert "Reloaded: authorization users" in log, log
        assert a.pong() == "PONG"
        assert b.line() == "-ERR 'Authorization Violation'" and b.line() == ""
        assert Client(s, **login("b", "b")).pong() == "-ERR 'Authorization Violation'"
        assert Client(s, **login("b", "new")).pong() == Client(s, **login("c", "c")).pong() == "PONG"
        # A file that does not parse, or asks for what cannot change, leaves everything as it was.
        log = reload(s, "authorization {", "Failed to reload server configuration: ")
        log = reload(s, "server_name: x\nauthorization { users: [{user: z, password: z}] }\n", "Failed to reload")
        assert re.search(r"config reload not supported for ServerName: old=\S*, new=x\n", log), log
        assert a.pong() == Client(s, **login("c", "c")).pong() == "PONG"
        reload(s, "debug: false\n")  # nobody is asked any more
        assert Client(s).pong() == "PONG"
        assert PEER or a.pong() == "PONG"  # nats-server cuts it
    with start("debug: false\n") as s:
        open_door, silent = Client(s), socket.create_connection(("127.0.0.1", s.port), 10)
        assert open_door.pong() == "PONG"
        reload(s, "authorization { token: t }\n")
        assert open_door.line() == "-ERR 'Authorization Violation'"
        assert Client(s, auth_token="t").pong() == "PONG" and Client(s).info["auth_required"]
        silent.close()
        reload(s, "authorization { token: other }\n")
        assert Client(s, auth_token="t").pong() == "-ERR 'Authorization Violation'"


ONE = "accounts { A { jetstream: enabled, users: [{user: a, password: a}] }\n B { users: [{user: b, password: b}] } }\n"
TWO = "accounts { A { jetstream { max_streams: 1 }, users: [{user: a, password: a}] }\n" \
      " B { jetstream: enabled, users: [{user: b, password: b}] }\n C { users: [{user: c, password: c}] } }\n"


def accounts():
    with start(ONE, jetstream=True) as s:
        a, b = Client(s, user="a", **{"pass": "a"}), Client(s, user="b", **{"pass": "b"})
        make = lambda c, name: c.api("STREAM.CREATE." + name, json.dumps({"name": name, "subjects": [name]}))
        assert "config" in make(a, "S1"), "no stream"
        assert b.api("INFO")["error"]["err_code"] == 10039
        reload(s, TWO)
        assert make(a, "S2")["error"]["err_code"] == 10027  # max_streams
        assert "config" in make(b, "S1")
        c = Client(s, user="c", **{"pass": "c"})
        assert c.api("INFO")["error"]["err_code"] == 10039
        c.send("SUB x 1")
        assert c.pong() == "PONG"
        reload(s, TWO.replace("user: c", "user: d"))
        assert c.line() in ("-ERR 'Authorization Violation'", "")


def switched_off():
    """JetStream of one account goes off and comes back, with what its file streams held; the other account notices nothing."""
    on = TWO.replace("{ max_streams: 1 }", ": enabled")
    off = on.replace("B { jetstream: enabled,", "B {")
    with start(on, jetstream=True) as s:
        a, b = Client(s, user="a", **{"pass": "a"}), Client(s, user="b", **{"pass": "b"})
        waiting, push = Client(s, user="b", **{"pass": "b"}), Client(s, user="b", **{"pass": "b"})
        for c in (a, b):
            assert "config" in c.api("STREAM.CREATE.S", json.dumps({"name": "S", "subjects": ["s"], "allow_direct": True}))
            assert "config" in c.api("STREAM.CREATE.M", json.dumps({"name": "M", "mirror": {"name": "S"}}))
            for name, cfg in (("c", {"durable_name": "c", "ack_policy": "explicit"}), ("p", {"deliver_subject": "dlv"})):
                assert "config" in c.api("CONSUMER.CREATE.S." + name, json.dumps({"stream_name": "S", "config": dict(cfg, name=name)}))
        push.send("SUB dlv 1")
        for seq in (1, 2, 3):
            assert a.ask("s", "x")["seq"] == b.ask("s", "x")["seq"] == seq
        assert b.ask("$JS.API.CONSUMER.MSG.NEXT.S.c", "1", raw=True) == "x"
        waiting.send("SUB w 1\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.c w 33\r\n{\"batch\":9,\"expires\":30000000000}")
        assert waiting.line().startswith("MSG s 1 $JS.ACK.S.c.1.2.2.")
        for _ in range(2):
            reload(s, off)
            e = b.api("STREAM.INFO.S")["error"]
            while e["err_code"] != 10039:
                e = b.api("STREAM.INFO.S")["error"]
            assert b.api("INFO")["error"]["err_code"] == 10039
            assert b.ask("s", "lost", raw=True) == b.ask("$JS.API.DIRECT.GET.S", '{"seq":1}', raw=True) == "503"
            assert a.ask("s", "x")["seq"] > 3
            reload(s, on)
            st = b.api("STREAM.INFO.S")["state"]
            assert st["consumer_count"] == 2 and st["last_seq"] == st["messages"] >= 3, st
        assert b.api("CONSUMER.INFO.S.c")["num_ack_pending"] == 3
        assert b.ask("s", "again")["seq"] == 4
        assert b.ask("$JS.API.CONSUMER.MSG.NEXT.S.c", "1", raw=True) == "again"
        push.send("PING")
        while "again" not in push.line():
            pass
        end = time.monotonic() + 20
        while b.api("STREAM.INFO.M")["state"]["messages"] != 4:
            assert time.monotonic() < end
        assert a.api("STREAM.INFO.S")["state"]["messages"] == 5


def limits():
    with start("debug: false\n") as s:
        first, second = Client(s), Client(s)
        assert (first.pong(), second.pong()) == ("PONG", "PONG")
        log = reload(s, "max_connections: 1\nmax_payload: 100\nmax_control_line: 8192\nping_interval: 5s\nping_max: 7\n"
                        "write_deadline: 3s\n")
        for text in ("Closed 1 connections to fall within max_connections", "max_connections = 1", "ping_interval = 5s",
                     "ping_max = 7", "max_control_line = 8192", "max_payload = 100", "write_deadline = 3s"):
            assert text in log, (text, log)
        ends = [c.pong() for c in (first, second)]
        assert sorted(ends) == ["-ERR 'maximum connections exceeded'", "PONG"], ends
        stays = (first, second)[ends.index("PONG")]
        stays.send("SUB %s 1" % ("x" * 6000))  # longer than the line that was allowed at the start
        assert stays.pong() == "PONG"
        stays.send("PUB x 101")
        assert stays.line() == "-ERR 'Maximum Payload Violation'"


def logging_and_files():
    other, pid, ports = (os.path.join(DIR, n) for n in ("other.log", "new.pid", "ports"))
    os.makedirs(ports)
    with start("debug: false\n") as s:
        reload(s, 'debug: true\npid_file: "%s"\nports_file_dir: "%s"\n' % (pid, ports))
        Client(s).pong()
        s.wait_log("Client connection created")
        with open(pid) as f:
            assert int(f.read()) == s.server_pid()
        assert len(os.listdir(ports)) == 1, os.listdir(ports)
        if PEER:
            return
        write("s.conf", 'log_file: "%s"\nlogtime: false\n' % other)
        done = subprocess.run([EXE, "--signal", "reload=" + pid], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done
        end = time.monotonic() + 20
        while not os.path.exists(other) or "Reloaded server configuration" not in open(other).read():
            assert time.monotonic() < end
        assert re.match(r"\[\d+\] \[INF\] ", open(other).readline()), "time is still written"
        assert os.listdir(ports) == [] and s.stop() == 0


def signal_flag():
    def run(text):
        p = subprocess.run([EXE, "--signal", text], capture_output=True, text=True)
        return p.returncode, p.stderr.strip().replace("nats-server: \n", "nats-server: ")
    assert run("foo=1") == (1, 'nats-server: unknown signal "foo"')
    assert run("reload=nowhere") == (1, "nats-server: invalid pid: nowhere")
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert run("reload=%d" % gone.pid) == (1, 'nats-server: signal "reload" %d: no such process' % gone.pid)
    with start("debug: false\n") as s:
        assert run("quit=%d" % s.server_pid()) == (0, "")
        assert s.proc.wait(20) == 0 and 'Trapped "interrupt" signal' in s.log()


def lame_duck():
    conf = "lame_duck_duration: 30s\nlame_duck_grace_period: 100ms\n"
    with start(conf) as s:
        clients, old = [Client(s) for _ in range(3)], Client(s, protocol=0)
        assert [c.pong() for c in clients + [old]] == ["PONG"] * 4
        os.kill(s.server_pid(), signal.SIGUSR2)
        for c in clients:
            while True:
                line = c.file.readline()
                if line.startswith(b"INFO") and json.loads(line[5:]).get("ldm"):
                    break
                assert line, "no INFO with ldm"
        try:
            socket.create_connection(("127.0.0.1", s.port), 10)
            raise AssertionError("it still listens")
        except ConnectionRefusedError:
            pass
        assert [c.line() for c in clients + [old]] == [""] * 4
        assert s.proc.wait(20) == 0
        assert "Entering lame duck mode, stop accepting new clients" in s.log()
        assert s.log().index("Closing existing clients") < s.log().index("Initiating Shutdown...")
    with start("lame_duck_duration: 40s\n") as s:  # nobody is there; TERM would end it sooner
        os.kill(s.server_pid(), signal.SIGUSR2)
        assert s.proc.wait(20) == 0
    with start("lame_duck_duration: 40s\n") as s:
        c = Client(s)
        assert c.pong() == "PONG"
        os.kill(s.server_pid(), signal.SIGUSR2)
        s.wait_log("Entering lame duck mode")
        assert s.stop() == 0


def empty_file():
    with start("# nothing\n") as s:
        assert "config has no values or is empty" in s.log(), s.log()
        assert Client(s).pong() == "PONG"


def main():
    tests = [users, accounts, switched_off, limits, logging_and_files, signal_flag, lame_duck, empty_file]
    for test in [t for t in tests if not sys.argv[1:] or t.__name__ in sys.argv[1:]]:
        test()
    print("%d passed, 0 failed" % len(tests))


main()
