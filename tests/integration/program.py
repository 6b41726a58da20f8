#!/usr/bin/env python3
"""The program seen from outside: flags, exit codes, start-up lines, signals, files it writes, bad config files. Each
message is compared word by word where nats-server writes the same one."""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(os.environ.get("MILLRACE", "build/bin/millrace"))
DIR = os.environ.get("TEST_DIR") or tempfile.mkdtemp(prefix="millrace-test-")
STAMP = re.compile(r"^\[\d+\] \d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{6} \[(FTL|ERR|WRN|INF|DBG|TRC)\] ")


def path(name, text=None):
    p = os.path.join(DIR, name)
    if text is not None:
        with open(p, "w", encoding="utf-8") as f:
            f.write(text)
    return p


def run(*args):
    p = subprocess.run([BIN, *args], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, cwd=DIR)
    return p.returncode, p.stdout, p.stderr


class Server:
    """A running server whose log is read line by line; it leaves nothing behind."""

    def __init__(self, *args, log=None):
        self.lines = []
        self.child = subprocess.Popen([BIN, *args], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                      cwd=DIR)
        self.ready = log is not None or self.wait_for("Server is ready")

    def wait_for(self, text, seconds=20):
        """Reads lines until one holds the text. False at the end of the log."""
        timer = signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            for line in self.child.stderr:
                self.lines.append(line.rstrip("\n"))
                if text in line:
                    return True
            return False
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def stop(self, sig=signal.SIGTERM):
        self.child.send_signal(sig)
        rest = self.child.stderr.read()
        self.lines += rest.splitlines()
        return self.child.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.child.stderr.close()

    def port(self):
        return int(next(l for l in self.lines if "Listening for client" in l).rsplit(":", 1)[1])

    def texts(self):
        return [STAMP.sub("", l) for l in self.lines]


def until(condition, seconds=20):
    """Polls a condition that only the file system knows; no fixed rest."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("timed out")
        os.sched_yield()


def version_and_help():
    assert run("-v") == run("--version") == run("version")
    code, out, err = run("-v")
    first, second = out.splitlines()
    assert (code, err) == (0, "") and re.fullmatch(r"nats-server: v2\.\d+\.\d+", first), out
    assert re.fullmatch(r"millrace: v\d+\.\d+\.\d+", second), out
    code, out, err = run("-h")
    assert code == 0 and err == "" and out.startswith("\nUsage: nats-server [options]\n"), out


def bad_flags():
    for args, text in (("-foo", "flag provided but not defined: -foo\n"),
                       ("-p=x", 'invalid value "x" for flag -p: parse error\n')):
        code, out, err = run(args)
        assert code != 0 and err == text and "Usage:" in out, (args, code, err)
    assert run("bar") == (1, "", 'nats-server: unrecognized command: "bar"\n')
    assert run("--tls") == (1, "", "nats-server: flag --tls is not served yet\n")


def config_check():
    path("ok.conf", "port: -1\nprof_port: 5\nmax_payload: 2MB\n")
    code, out, err = run("-c", "ok.conf", "-t")
    assert code == 0 and err.endswith("nats-server: configuration file ok.conf is valid\n"), err
    assert '"prof_port" at ok.conf:2:1' in err, err
    path("unknown.conf", "port: -1\n  frob: 1\n")
    assert run("-c", "unknown.conf", "-t") == (1, "", 'nats-server: unknown.conf:2:3: unknown field "frob"\n')
    path("tls.conf", "\n\n  tls {\n  }\n")
    want = 'nats-server: tls.conf:3:3: "tls" is not served yet; remove it to start without TLS\n'
    assert run("-c", "tls.conf", "-t") == run("-c", "tls.conf") == (1, "", want)
    code, _, err = run("-c", "nowhere.conf")
    assert code == 1 and "nowhere.conf" in err and err.startswith("nats-server: "), err
    path("a.conf", "include b.conf\n")
    path("b.conf", "port: -1\nmax_payload: [\n")
    code, _, err = run("-c", "a.conf", "-t")
    assert code == 1 and "b.conf:2:14: unexpected end of file" in err, err
    code, _, err = run("-t")
    assert code == 1 and "must specify [-c, --config] option to check configuration file syntax" in err, err
    path("auth.conf", "authorization { users: [{user: a, password: b}] }\nno_auth_user: zz\n")
    code, _, err = run("-c", "auth.conf")
    assert code == 1 and 'no_auth_user: "zz" not present as user' in err, err


def start_and_stop():
    for sig, word in ((signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupt")):
        with Server("-a", "127.0.0.1", "-p", "-1") as s:
            assert s.ready, s.lines
            with socket.create_connection(("127.0.0.1", s.port()), 10) as c:
                assert c.recv(5) == b"INFO "
            assert s.stop(sig) == 0
            assert all(STAMP.match(l) for l in s.lines), s.lines
            texts = s.texts()
            order = ["Starting nats-server", "  Version:", "  Name:", "  ID:", "Listening for client connections on",
                     "Server is ready", f'Trapped "{word}" signal', "Initiating Shutdown...", "Server Exiting.."]
            at = [next(i for i, t in enumerate(texts) if t.startswith(o)) for o in order]
            assert at == sorted(at), texts


def signals_that_do_not_stop():
    with Server("-a", "127.0.0.1", "-p", "-1") as s:
        for sig, text in ((signal.SIGHUP, "can only reload config when a file is provided"),
                          (signal.SIGUSR1, "File log re-open ignored, not a file logger")):
            s.child.send_signal(sig)
            assert s.wait_for(text), s.lines
        with socket.create_connection(("127.0.0.1", s.port()), 10) as c:
            assert c.recv(5) == b"INFO "
        assert s.stop() == 0


def log_file_pid_and_ports():
    log, pid = path("server.log"), path("server.pid")
    read = lambda p: open(p, encoding="utf-8").read()
    with Server("-a", "127.0.0.1", "-p", "-1", "-l", log, "-P", pid, "--ports_file_dir", DIR, log=log) as s:
        until(lambda: os.path.exists(log) and "Server is ready" in read(log))
        assert int(read(pid)) == s.child.pid
        ports = path(f"millrace_{s.child.pid}.ports")
        port = int(re.search(r"connections on 127.0.0.1:(\d+)", read(log))[1])
        assert json.loads(read(ports)) == {"nats": [f"nats://127.0.0.1:{port}"]}
        os.rename(log, log + ".1")
        s.child.send_signal(signal.SIGUSR1)
        until(lambda: os.path.exists(log) and "File log re-opened" in read(log))
        assert s.stop() == 0
        assert "Server Exiting.." in read(log) and "Server Exiting.." not in read(log + ".1")
        assert not os.path.exists(ports)


def relative_store():
    """A relative store folder that is not there yet lies on the disk the server stands on."""
    with Server("-a", "127.0.0.1", "-p", "-1", "-js", "-sd", "fresh_store") as s:
        assert s.ready, s.lines
        shown = next(l for l in s.texts() if "Max Storage" in l)
        assert not re.search(r"Max Storage: +0 B", shown), shown
        assert s.stop() == 0
    assert os.path.isdir(os.path.join(DIR, "fresh_store", "millrace"))


def flags_win_over_the_file():
    path("f.conf", 'listen: "127.0.0.1:1"\nserver_name: file\nlogtime: false\nserver_tags: [a]\n')
    with Server("-c", "f.conf", "-p", "-1", "-n", "flag") as s:
        assert s.ready and s.port() > 1, s.lines
        assert any(l.endswith("  Name:     flag") for l in s.lines), s.lines
        assert re.fullmatch(r"\[\d+\] \[INF\] Starting nats-server", s.lines[0]), s.lines
        warned = [l for l in s.lines if "[WRN]" in l]
        assert len(warned) == 1 and '"server_tags" at f.conf:4:1' in warned[0], s.lines
        assert s.stop() == 0


def start_failures():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = run("-a", "127.0.0.1", "-p", str(port))
        assert code == 1 and "[FTL] Error listening on port: 127.0.0.1:%d" % port in err, err
    code, _, err = run("-p", "-1", "-a", "127.0.0.1", "-P", path("no/such/folder/pid"))
    assert code == 1 and "[FTL] Could not write pidfile: " in err, err
    code, _, err = run("-p", "-1", "-l", path("no/such/folder/log"))
    assert code == 1 and "error opening file: " in err, err
    code, _, err = run("-p", "-1", "-js", "-sd", path("file", "not a folder"))
    assert code == 1 and "[FTL] Can't start JetStream" in err, err


def main():
    def late(*unused):
        raise AssertionError("timed out")
    signal.signal(signal.SIGALRM, late)
    passed = failed = 0
    for test in (version_and_help, bad_flags, config_check, start_and_stop, signals_that_do_not_stop,
                 log_file_pid_and_ports, relative_store, flags_win_over_the_file, start_failures):
        try:
            test()
            passed += 1
        except Exception as e:  # told with its place, and the next one runs
            failed += 1
            import traceback
            traceback.print_exc(file=sys.stdout)
            print(f"{test.__name__}: {e!r}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
