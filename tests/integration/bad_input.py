#!/usr/bin/env python3
"""Bad input: over the wire, in configs, and as store directories. Each is answered with a clear message that names what and
where; at start-up the exit code is not zero; nothing that was stored is lost, and a store that is refused is not altered by
a byte."""
import base64
import hashlib
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

DIR = tempfile.mkdtemp(dir=os.environ.get("TEST_DIR"))
EXE = server.binary()
MESSAGES = 20


def same(got, want, what):
    assert got == want, "%s: got %r, want %r" % (what, got, want)


def path(*names):
    return os.path.join(DIR, *names)


# --- a store with something in it ------------------------------------------------------------------------------------------

def fill(c):
    c.api("STREAM.CREATE.S", json.dumps({"name": "S", "subjects": ["s.*"]}))
    c.api("CONSUMER.DURABLE.CREATE.S.d", json.dumps({"stream_name": "S", "config": {"durable_name": "d", "ack_policy": "explicit"}}))
    for i in range(MESSAGES):
        same(c.request("s.x", "message %d" % i).json()["seq"], i + 1, "PubAck")


def intact(c):
    for i in range(MESSAGES):
        got = c.api("STREAM.MSG.GET.S", json.dumps({"seq": i + 1}))["message"]
        same(base64.b64decode(got["data"]), b"message %d" % i, "message %d" % (i + 1))
    info = c.api("STREAM.INFO.S")
    same((info["state"]["messages"], info["state"]["consumer_count"]), (MESSAGES, 1), "state")
    same(c.api("CONSUMER.INFO.S.d")["num_pending"], MESSAGES, "pending")


def make_store(name):
    with server.Server(store=path(name)) as s:
        with natsraw.Conn(port=s.port) as c:
            fill(c)
        same(s.stop(), 0, "exit")
    return path(name)


def hashes(root):
    """Every file below, with its content. LOCK holds the pid of whoever asked for it last."""
    out = {}
    for folder, _, files in os.walk(root):
        for f in files:
            p = os.path.join(folder, f)
            if f != "LOCK":
                with open(p, "rb") as fh:
                    out[os.path.relpath(p, root)] = hashlib.sha256(fh.read()).hexdigest()
    return out


def start(*args, user=None, exe=EXE, seconds=20):
    p = subprocess.run([exe, "-a", "127.0.0.1", "-p", "-1", *args], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=seconds, cwd=DIR, user=user, extra_groups=[] if user is not None else None)
    return p.returncode, p.stdout + p.stderr


def refused(store, *texts, **kw):
    """The server will not start on it, says each text, and alters nothing."""
    before = hashes(store) if os.path.isdir(store) else None
    code, out = start("-js", "-sd", store, **kw)
    assert code != 0, "it started on %s: %s" % (store, out)
    fatal = [line for line in out.splitlines() if "[FTL]" in line]
    assert len(fatal) == 1, out
    for text in ("Can't start JetStream: ", store, *texts):
        assert text in fatal[0], "%r is not in %r" % (text, fatal[0])
    if before is not None:
        same(hashes(store), before, "files of the refused store")


def opens_again(store):
    with server.Server(store=store) as s, natsraw.Conn(port=s.port) as c:
        intact(c)


# --- store directories ---------------------------------------------------------------------------------------------------

def store_is_a_file():
    """a store directory that is a file, or lies in one, or holds a file where ours goes"""
    for name in ("file", "holder/millrace"):
        os.makedirs(os.path.dirname(path(name)), exist_ok=True)
        with open(path(name), "w", encoding="ascii") as f:
            f.write("precious")
    refused(path("file"), "Not a directory")
    refused(path("file", "below"), "Not a directory")
    refused(path("holder"), "Not a directory")
    for name in ("file", "holder/millrace"):
        with open(path(name), encoding="ascii") as f:
            same(f.read(), "precious", name)


def store_in_use():
    """a store that another process has, which goes on serving"""
    store = make_store("used")
    with server.Server(store=store) as s, natsraw.Conn(port=s.port) as c:
        code, out = start("-js", "-sd", store)
        assert code != 0 and "Can't start JetStream" in out and store in out, out
        assert "held by process pid=%d" % s.proc.pid in out, out
        same(c.request("s.y", "still here").json()["seq"], MESSAGES + 1, "PubAck")
        c.api("STREAM.MSG.DELETE.S", json.dumps({"seq": MESSAGES + 1}))
        intact(c)
    opens_again(store)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def store_of_a_newer_version():
    """a store written by a newer version (STORE with a good checksum)"""
    store = make_store("newer")
    for names in (("STORE",), ("STORE.2",), ("STORE", "STORE.2")):
        kept = path("kept")
        shutil.copytree(store, kept)
        for name in names:
            p = os.path.join(kept, "millrace", name)
            with open(p, "r+b") as f:
                page = bytearray(f.read())
                page[8:12] = (99).to_bytes(4, "little")
                page[4092:] = crc32c(page[:4092]).to_bytes(4, "little")
                f.seek(0)
                f.write(page)
        refused(kept, names[0], "version=99", "knows version 1 only")
        shutil.rmtree(kept)
    opens_again(store)


def store_of_another_server():
    """parts of another server's store: meta.db, row log, journal, STORE; another program's database; no STORE at all"""
    ours, theirs = make_store("ours"), make_store("theirs")

    def swapped(*names):
        mixed = path("mixed")
        shutil.rmtree(mixed, ignore_errors=True)
        shutil.copytree(ours, mixed)
        for name in names:
            shutil.copy(os.path.join(theirs, "millrace", name), os.path.join(mixed, "millrace", name))
        return mixed
    refused(swapped("meta.db"), "meta.db belongs to another store")
    refused(swapped("meta.db", "meta.1.log"), "belongs to another store")
    refused(swapped("STORE", "STORE.2"), "belongs to another store")
    refused(swapped("STORE.2"), "STORE and STORE.2 belong to different stores")
    folder = os.path.join(ours, "millrace", "journal", "0")
    for name in os.listdir(folder):
        if name.endswith(".jnl"):
            refused(swapped(os.path.join("journal", "0", name)), name, "belongs to another store")
    mixed = swapped()
    with open(os.path.join(mixed, "millrace", "meta.db"), "r+b") as f:
        f.seek(68)  # SQLite's application id: one damaged byte makes no stranger of it
        byte = f.read(1)
        f.seek(68)
        f.write(bytes([byte[0] ^ 4]))
    code, out = start_and_stop(mixed)  # rebuilt, said, and everything is there
    assert code == 0 and "[WRN]" in out and "meta.db" in out, out
    opens_again(mixed)
    import sqlite3
    mixed = swapped()
    os.unlink(os.path.join(mixed, "millrace", "meta.db"))
    with sqlite3.connect(os.path.join(mixed, "millrace", "meta.db")) as db:
        db.execute("create table their_own(x)")
    db.close()
    refused(mixed, "meta.db is another program's database")
    mixed = swapped()
    for name in ("STORE", "STORE.2"):
        os.unlink(os.path.join(mixed, "millrace", name))
    refused(mixed, "STORE and STORE.2 are missing, but there is data")
    mixed = swapped()
    for name in ("meta.db", "meta.1.log"):
        with open(os.path.join(mixed, "millrace", name), "wb") as f:
            f.write(b"not a catalogue " * 1000)
    refused(mixed, "both copies of the catalogue are damaged")
    opens_again(ours)
    opens_again(theirs)


def start_and_stop(store):
    with server.Server(store=store) as s:
        return s.stop(), s.log()


def store_not_writable():
    """a store directory, or a file in it, that may not be written"""
    user, exe = None, EXE
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody").pw_uid
        exe = path("millrace")  # the build may lie where nobody may look
        shutil.copy(EXE, exe)
        os.chmod(exe, 0o755)
        for folder in (DIR, os.path.dirname(DIR)):
            if os.stat(folder).st_uid == 0 and folder != "/tmp":
                os.chmod(folder, os.stat(folder).st_mode | 0o055)
    os.mkdir(path("shut"))
    os.chmod(path("shut"), 0o555)
    refused(path("shut"), "ermission denied", user=user, exe=exe)
    same(os.listdir(path("shut")), [], "content")
    os.chmod(path("shut"), 0o755)
    store = make_store("locked")
    for folder, _, files in os.walk(store):
        for f in files:
            os.chmod(os.path.join(folder, f), 0o444)
        os.chmod(folder, 0o555)
    refused(store, "ermission denied", user=user, exe=exe)
    for folder, _, files in os.walk(store):
        os.chmod(folder, 0o755)
        for f in files:
            os.chmod(os.path.join(folder, f), 0o600)
    opens_again(store)


# --- configs -----------------------------------------------------------------------------------------------------------

BAD_CONFIGS = (
    ("port: -1\nfrob: 1\n", r'bad\.conf:2:1: unknown field "frob"'),
    ("jetstream { store_dir: /tmp, frob: 1 }\n", r'bad\.conf:1:\d+: unknown field "frob"'),
    ("port: notaport\n", r"bad\.conf:1:\d+: "),
    ("max_payload: 1QB\n", r"bad\.conf:1:\d+: "),
    ("accounts { A { users: [ {user: a\n", r"bad\.conf:\d+:\d+: "),
    ("listen: [1, 2\n", r"bad\.conf:\d+:\d+: "),
    ("ping_interval: -5parsecs\n", r"bad\.conf:1:\d+: "),
    ("include nowhere.conf\n", r"nowhere\.conf"),
    ("port: $UNSET_VARIABLE_HERE\n", r"bad\.conf:1:\d+: .*UNSET_VARIABLE_HERE"),
    ("tls { cert_file: x }\n", r'bad\.conf:1:1: "tls" is not served yet; remove it to start without TLS'),
    ("cluster { port: -1 }\n", r'bad\.conf:1:1: "cluster" is not served yet'),
    ("authorization { users: [ {user: a, password: b, permissions: { publish: x } } ] }\n", r'bad\.conf:1:\d+: "permissions"'),
    ("accounts { A { jetstream: { max_mem: lots } } }\n", r"bad\.conf:1:\d+: "),
    ("accounts { A { users: [ {user: x, password: y} ] }, B { users: [ {user: x, password: z} ] } }\n", r"x"),
    ("\x00\x01\x02\n", r"bad\.conf:1:\d+: "),
    ("{" * 5000 + "\n", r"bad\.conf:\d+:\d+: "),
)


def configs():
    """configs that are wrong: file, line, column, an exit code, also with -t"""
    for text, want in BAD_CONFIGS:
        with open(path("bad.conf"), "w", encoding="utf-8") as f:
            f.write(text)
        for extra in ((), ("-t",)):
            code, out = start("-c", "bad.conf", *extra)
            assert code != 0 and re.search(want, out), "%r%s: exit %s, %r" % (text[:80], extra, code, out[-400:])
    code, out = start("-c", path("nowhere.conf"))
    assert code != 0 and "nowhere.conf" in out, out
    code, out = start("-c", DIR)
    assert code != 0 and DIR in out, out


# --- the wire -----------------------------------------------------------------------------------------------------------

def answers(port, data):
    """What a connection says to these bytes until it closes or answers our PING."""
    with socket.create_connection(("127.0.0.1", port), 10) as c:
        got = b""
        while not got.endswith(b"\r\n"):
            got += c.recv(65536)
        try:
            c.sendall(data + b"PING\r\n")
        except OSError:
            pass
        got = b""
        while b"PONG" not in got:
            try:
                more = c.recv(65536)
            except ConnectionResetError:
                break
            if not more:
                return got.decode(), True
            got += more
        return got.decode("utf-8", "replace"), False


def protocol(s):
    """malformed protocol lines and oversized payloads"""
    connect = b"CONNECT {\"verbose\":false,\"pedantic\":true}\r\n"
    for data, error, closes in (
            (b"GARBAGE in\r\n", "Unknown Protocol Operation", True),
            (b"\x00\xff\xfe\r\n", "Unknown Protocol Operation", True),
            (connect + b"PUB s.x 2000000\r\n", "Maximum Payload Violation", True),
            (connect + b"PUB s.x 99999999999999999999\r\n", None, True),
            (connect + b"PUB s.x -1\r\n", None, True),
            (connect + b"PUB s.x five\r\nhello\r\n", None, True),
            (connect + b"PUB s.x 3\r\nlonger than three\r\n", "Unknown Protocol Operation", True),
            (connect + b"HPUB s.x 20 10\r\n" + b"x" * 10 + b"\r\n", None, True),
            (connect + b"SUB\r\n", "Unknown Protocol Operation", True),
            (connect + b"SUB a..b 1\r\n", "Invalid Subject", False),
            (connect + b"PUB s..x 0\r\n\r\n", "Invalid Publish Subject", False),
            (b"CONNECT {\"verbose\":\r\n", None, True),
            (b"SUB " + b"a" * 5000 + b" 1\r\n", "maximum control line exceeded", True)):
        said = len(s.log())
        got, closed = answers(s.port, data)
        if error is None:  # closed without a word, as nats-server does; the log says it
            assert got == "" and "[ERR] 127.0.0.1:" in s.log()[said:], "%r: %r %r" % (data[:60], got, s.log()[said:])
        else:
            assert "-ERR '" + error in got, "%r: %r" % (data[:60], got)
        same(closed, closes, "closed after %r (%r)" % (data[:60], got))


def api(s):
    """wrong JSON and unknown fields in requests"""
    with natsraw.Conn(port=s.port) as c:
        for body in ("{", "[]", "\"text\"", "{\"name\":\"T\",}", "{\"name\":\"T\"} x", "{\"name\": T}", "{\"name\":\"T\\q\"}",
                     b"{\"name\":\"\xff\"}", "{\"name\":\"T\",\"max_msgs\":\"many\"}", "{\"name\":\"T\",\"subjects\":\"t\"}",
                     "{\"name\":\"T\",\"max_msgs\":1e400}", "[" * 100000, "{\"name\":\"T\",\"frob\":1}"):
            got = c.api("STREAM.CREATE.T", body)
            same((got["error"]["code"], got["error"]["err_code"]), (400, 10025), "answer to %r: %r" % (body[:40], got))
        assert "frob" in got["error"]["description"], got
        got = c.api("CONSUMER.CREATE.S.t", "{\"stream_name\":\"S\",\"config\":{\"frob\":1}}")
        same(got["error"]["err_code"], 10025, str(got))
        for what, body, code in (("STREAM.MSG.GET.S", "{\"seq\":\"x\"}", 10025), ("STREAM.PURGE.S", "{\"keep\":-1}", 10025),
                                 ("STREAM.MSG.DELETE.S", "{\"seq\":0}", 10057), ("STREAM.MSG.GET.S", "", 10003),
                                 ("STREAM.CREATE.S", "{\"name\":\"S\",\"placement\":{\"cluster\":\"x\"}}", 10058)):
            got = c.api(what, body)
            assert "error" in got and code == got["error"]["err_code"], "%s %s: %r" % (what, body, got)
        same(c.api("STREAM.NAMES")["streams"], ["S"], "streams")
        intact(c)


def over_the_wire():
    """bad lines, sizes and JSON leave the stream as it was, before and after kill -9"""
    with server.Server(store=path("wire")) as s:
        with natsraw.Conn(port=s.port) as c:
            fill(c)
            for test in (protocol, api):
                test(s)
                intact(c)
        s.restart(kill=True)
        with natsraw.Conn(port=s.port) as c:
            intact(c)


def main():
    passed = failed = 0
    for test in (store_is_a_file, store_in_use, store_of_a_newer_version, store_of_another_server, store_not_writable, configs,
                 over_the_wire):
        try:
            test()
            passed += 1
        except Exception:  # told with its place, and the next one runs
            failed += 1
            print("FAIL " + test.__doc__)
            traceback.print_exc(file=sys.stdout)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


sys.exit(main())
