#!/usr/bin/env python3
"""jsadmin as a person meets it: what wrong words get, help, the folders it accepts, tables on a terminal of 80 columns and of 60 with
no, one and fifty streams, the same as JSON, the progress bar of a large object."""
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

JSADMIN = os.path.abspath(os.environ.get("JSADMIN", os.path.join(server.ROOT, "build/bin/jsadmin")))


def jsadmin(*args, code=0, cwd=None):
    p = subprocess.run([JSADMIN, *args], capture_output=True, text=True, cwd=cwd, stdin=subprocess.DEVNULL)
    assert p.returncode == code, "jsadmin %s ended with %d:\n%s%s" % (" ".join(args), p.returncode, p.stdout, p.stderr)
    return p.stdout, p.stderr


def on_terminal(columns, *args):
    """(exit code, what a terminal of that width shows)"""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    p = subprocess.Popen([JSADMIN, *args], stdin=subprocess.DEVNULL, stdout=child, stderr=child)
    os.close(child)
    out = b""
    try:
        while True:
            out += os.read(parent, 65536)
    except OSError:  # the last writer is gone
        pass
    os.close(parent)
    return p.wait(), out.decode().replace("\r\n", "\n")


def stream(c, name):
    r = c.api("STREAM.CREATE.%s" % name, json.dumps({"name": name, "subjects": [name + ".>"], "storage": "file"}).encode())
    assert "error" not in r, r


def wrong_words():
    store = server.scratch()
    server.Server(store=store).stop()
    for args, says in ((["frob", store], 'no command "frob"'), (["info"], "takes one store directory"),
                       (["info", store, store], "takes one store directory"), (["verify"], "takes one archive"),
                       (["info", store, "--to", "x"], "info does not take --to"), (["--bogus"], "unrecognized option"),
                       (["backup", store], "backup needs --to"), (["restore", store], "restore needs --from"),
                       (["restore", store, "--from", "x", "--as-stream", "a.b"], '"a.b" cannot be the name'),
                       (["restore", store, "--from", "x", "--as-account", ""], 'cannot be the name of an account'),
                       (["info", store, "--to", "x"], "info --help tells more"),
                       (["kv", "edit", store, "B", "--storage", "file"], "kv edit does not take --storage"),
                       (["kv", "update", store, "B", "k", "v"], "kv update needs --revision"),
                       (["kv", "frob"], 'no command "kv frob"'), (["kv", "ls"], "too few arguments for kv ls"),
                       (["object", "ls", store, "B", "x"], "too many arguments for object ls"),
                       (["object", "--bogus"], "unrecognized option")):
        out, err = jsadmin(*args, code=2)
        assert out == "" and says in err and err.count("\n") <= 2, (args, err)
    commands = ("info", "check", "compact", "quarantine", "backup", "verify", "restore")
    for args in (["--help"], ["kv", "--help"], ["object", "-h"], *([c, "--help"] for c in commands)):
        out, err = jsadmin(*args)
        assert out.startswith("usage: jsadmin") and err == "" and max(map(len, out.splitlines())) <= 100, out
        assert args[0] not in commands or out.startswith("usage: jsadmin [--json] %s " % args[0]), out
    for args, says in ((["backup", store, "--to", store + "/a", "--account", "NONE"], 'no stream of account "NONE"'),
                       (["kv", "ls", "nats://u:secret@127.0.0.1:1"], "could not connect to 127.0.0.1:1: "),
                       (["--json", "verify", store + "/none"], "could not open")):
        out, err = jsadmin(*args, code=1)
        assert out == "" and says in err and "secret" not in err and err.count("\n") == 1, (args, out, err)
    assert jsadmin("--json", "kv", "ls", store)[0] == '{"buckets":[]}\n'
    assert re.fullmatch(r"jsadmin of Millrace \d+\.\d+\.\d+\n", jsadmin("--version")[0])
    for args in ([], ["kv"]):
        assert jsadmin(*args, code=2)[1].startswith("usage: jsadmin")


def full_disk():
    """What cannot be printed is not done."""
    store = server.scratch()
    server.Server(store=store).stop()
    for args in (["--help"], ["info", store], ["--json", "check", store], ["kv", "ls", store]):
        with open("/dev/full", "w") as full:
            p = subprocess.run([JSADMIN, *args], stdout=full, stderr=subprocess.PIPE, text=True)
        assert p.returncode == 1 and "could not write what was found: No space left" in p.stderr, (args, p)


def folders():
    """The folder given to the server, or the one it prints; held by a server; no store at all."""
    with server.Server() as s:
        _, err = jsadmin("info", s.store, code=1)
        assert "stop the server first" in err and "pid=%d" % s.proc.pid in err, err
        s.stop()
        inner = os.path.join(s.store, "millrace")
        want = jsadmin("info", s.store)[0]
        for path, cwd in ((s.store + "/", None), (inner, None), (inner + "/", None), ("millrace", s.store)):
            got = jsadmin("info", path, cwd=cwd)[0]
            assert got.splitlines()[1:] == want.splitlines()[1:], got
        jsadmin("kv", "ls", inner)
        jsadmin("backup", s.store, "--to", s.store + "/a")
        assert "0 streams, 0 consumers, 0 messages" in jsadmin("verify", s.store + "/a")[0]
        jsadmin("restore", inner, "--from", s.store + "/a")
        assert not os.path.exists(os.path.join(inner, "millrace"))
    empty = server.scratch()
    assert 'no folder "millrace" in it' in jsadmin("info", empty, code=1)[1]
    os.mkdir(os.path.join(empty, "millrace"))
    jsadmin("info", os.path.join(empty, "millrace"), code=1)


def fits(columns, out):
    wide = [line for line in out.splitlines() if len(line) > columns]
    assert not wide, wide


def tables():
    with server.Server() as s:
        s.stop()
        assert "No streams." in on_terminal(80, "info", s.store)[1]
        assert json.loads(jsadmin("--json", "info", s.store)[0])["streams"] == []
        for count in (1, 50):
            s.start()
            c = natsraw.Conn(port=s.port)
            for i in range(1 if count == 1 else 2, count + 1):
                stream(c, "S%d" % i)
                assert c.request("S%d.a" % i, b"x" * i).json()["seq"] == 1
                r = c.api("CONSUMER.DURABLE.CREATE.S%d.C" % i, json.dumps(
                    {"stream_name": "S%d" % i, "config": {"durable_name": "C", "ack_policy": "explicit"}}).encode())
                assert "error" not in r, r
            s.stop()
            for columns in (60, 80):
                for command in ("info", "check"):
                    code, out = on_terminal(columns, command, s.store)
                    assert code == 0, out
                    if columns == 80:
                        fits(columns, "\n".join(line for line in out.splitlines() if line[:1] in "╭│├╰"))
            out = on_terminal(80, "info", s.store)[1]
            assert out.count("│ S") == 2 * count + 3 and "Left out here: " in out, out  # and three heads
            out = jsadmin("info", s.store)[0]  # no terminal: all of it
            assert "│ Account │" in out and "Left out" not in out, out
            doc = json.loads(jsadmin("--json", "info", s.store)[0])["streams"]
            assert len(doc) == count and all(x["messages"] == 1 and len(x["consumers"]) == 1 for x in doc), doc
            assert json.loads(jsadmin("--json", "check", s.store)[0])["clean"] is True


def bars():
    """A bar on a terminal, with its end; none with --json or without a terminal."""
    with server.Server() as s:
        url = "nats://127.0.0.1:%d" % s.port
        folder = server.scratch()
        os.mkdir(os.path.join(folder, "a folder with a name of some length"))
        large = os.path.join(folder, "a folder with a name of some length", "large")
        with open(large, "wb") as f:
            f.write(os.urandom(1 << 20) * 12)
        jsadmin("object", "add", url, "B")
        for command in (["put", url, "B", large], ["get", url, "B", "large", "--output", large + ".2"]):
            code, out = on_terminal(80, "object", *command)
            assert code == 0 and "100 %" in out and "#" * 40 in out, out
            assert out.count("100 %") == 1, out
            assert max(len(x) for x in re.split(r"[\r\n]", out) if "%" in x) < 80, out
        code, out = on_terminal(80, "object", "put", url, "B", large, "--name", "again", "--json")
        assert code == 0 and json.loads(out)["size"] == 12 << 20, out
        out, err = jsadmin("object", "put", url, "B", large)
        assert err == "", err


def main():
    passed = failed = 0
    for test in (wrong_words, full_disk, folders, tables, bars):
        try:
            test()
            passed += 1
        except Exception:  # told with its place, and the next one runs
            failed += 1
            print("FAIL " + test.__name__)
            traceback.print_exc(file=sys.stdout)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
