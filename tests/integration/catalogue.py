#!/usr/bin/env python3
"""The catalogue's two copies, meta.db and meta.<n>.log, damaged or replaced under a stopped server. A damaged one is set
aside whole in quarantine/, made anew, and said loudly: log, /healthz, stream info, jsadmin check. A foreign or an empty
one is a refusal that names the file and what to do; nothing is changed by it."""
import glob
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import traceback
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

JSADMIN = os.path.abspath(os.environ.get("JSADMIN", os.path.join(server.ROOT, "build/bin/jsadmin")))


def digests(store):
    out = {}
    for top, _, names in os.walk(store):
        for name in names:
            if name != "LOCK":
                with open(os.path.join(top, name), "rb") as f:
                    out[os.path.relpath(os.path.join(top, name), store)] = hashlib.sha256(f.read()).hexdigest()
    return out


def fill(store, stream="S"):
    with server.Server(store=store) as srv:
        c = natsraw.Conn(port=srv.port)
        assert "error" not in c.api("STREAM.CREATE." + stream, {"name": stream, "subjects": ["s.>"]})
        assert "error" not in c.api("CONSUMER.CREATE.%s.d" % stream,
                                    {"stream_name": stream, "config": {"durable_name": "d", "ack_policy": "explicit"}})
        for i in range(20):
            assert c.request("s.a", b"%d" % i).json()["seq"] == i + 1
        assert srv.stop() == 0


class Case:
    """A copy of the stopped store, and paths in it."""

    def __init__(self, folder, original):
        self.store = os.path.join(folder, "case")
        shutil.rmtree(self.store, ignore_errors=True)
        shutil.copytree(original, self.store)
        self.root = os.path.join(self.store, "millrace")
        self.meta = os.path.join(self.root, "meta.db")
        self.log = glob.glob(self.root + "/meta.*.log")[0]

    def check(self):
        p = subprocess.run([JSADMIN, "--json", "check", self.store], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True)
        return p.returncode, p.stdout


def flip_page(path, off):
    with open(path, "r+b") as f:
        f.seek(off)
        old = f.read(64)
        f.seek(off)
        f.write(bytes(b ^ 0x55 for b in old))


def refused(case, *words):
    """The server does not start, says why and what to do, and touches nothing."""
    before = digests(case.store)
    p = subprocess.run([server.binary(), "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", case.store], timeout=20,
                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert p.returncode == 1, p.stdout
    last = p.stdout.strip().splitlines()[-1]
    assert "[FTL]" in last, p.stdout
    for word in words:
        assert word in last, (word, last)
    assert "nothing was changed" in last, last
    assert digests(case.store) == before, "a refused start changed the store"


def served(case, moved, said):
    """The server starts and has everything; `moved` (digest) lies in quarantine; `said` is said in all places."""
    code, text = case.check()
    assert code == 3, text
    with server.Server(store=case.store, args=["-m", "-1"]) as srv:
        c = natsraw.Conn(port=srv.port)
        info = c.api("STREAM.INFO.S")
        assert info["state"]["messages"] == 20 and info["state"]["consumer_count"] == 1, info
        for seq in (1, 20):
            assert "error" not in c.api("STREAM.MSG.GET.S", {"seq": seq})
        assert any(re.search(said, line) for line in srv.log().splitlines() if "[WRN]" in line), srv.log()
        assert info["millrace"].get("store_incidents", 0) > 0, info["millrace"]
        port = int(re.search(r"Starting http monitor on [^ ]*:(\d+)", srv.log()).group(1))
        with urllib.request.urlopen("http://127.0.0.1:%d/healthz?details=1" % port, timeout=10) as r:
            health = json.loads(r.read())
        assert health["status"] == "ok" and re.search(said, json.dumps(health["damage"])), health
        assert c.request("s.a", b"on").json()["seq"] == 21
        assert srv.stop() == 0
    if moved:
        kept = {d for name, d in digests(case.store).items() if name.startswith("millrace/quarantine/")}
        assert moved in kept, "the damaged file is not in quarantine/ as it was"
    code, text = case.check()
    assert code == 0, text  # it is whole again
    with server.Server(store=case.store) as srv:
        assert "error" not in natsraw.Conn(port=srv.port).api("STREAM.INFO.S")


def test_meta_empty(f, original, other):
    case = Case(f, original)
    open(case.meta, "w").close()
    refused(case, "meta.db is empty", "move meta.db away")
    os.rename(case.meta, os.path.join(f, "away"))
    served(case, None, "meta.db is missing; rebuilt from the row log")


def test_meta_of_another_store(f, original, other):
    case = Case(f, original)
    shutil.copy(os.path.join(other, "millrace", "meta.db"), case.meta)
    refused(case, "meta.db belongs to another store", "move meta.db away")


def test_meta_of_another_program(f, original, other):
    case = Case(f, original)
    os.remove(case.meta)
    db = sqlite3.connect(case.meta)
    db.execute("create table t(a)")
    db.commit()
    db.close()
    refused(case, "meta.db is another program's database", "move meta.db away")


def test_log_of_another_store(f, original, other):
    case = Case(f, original)
    shutil.copy(glob.glob(other + "/millrace/meta.*.log")[0], case.log)
    refused(case, os.path.basename(case.log), "belongs to another store", "move")


def test_both_gone(f, original, other):
    case = Case(f, original)
    os.remove(case.meta)
    os.remove(case.log)
    refused(case, "both copies of the catalogue", "is there")


def test_identity_gone(f, original, other):
    case = Case(f, original)
    os.remove(os.path.join(case.root, "STORE"))
    os.remove(os.path.join(case.root, "STORE.2"))
    refused(case, "STORE")


def test_meta_cut(f, original, other):
    case = Case(f, original)
    size = os.path.getsize(case.meta)
    os.truncate(case.meta, size // 2 + 100)
    moved = digests(case.store)["millrace/meta.db"]
    served(case, moved, "meta.db.*set aside, rebuilt from the row log")


def test_meta_page(f, original, other):
    case = Case(f, original)
    flip_page(case.meta, 4096 + 1000)
    moved = digests(case.store)["millrace/meta.db"]
    served(case, moved, "meta.db.*set aside, rebuilt from the row log")


def test_log_header(f, original, other):
    case = Case(f, original)
    flip_page(case.log, 100)
    moved = digests(case.store)["millrace/" + os.path.basename(case.log)]
    served(case, moved, r"meta\.\d+\.log.*set aside, dumped anew from meta.db")


def test_log_cut(f, original, other):
    case = Case(f, original)
    os.truncate(case.log, 4096)
    moved = digests(case.store)["millrace/" + os.path.basename(case.log)]
    served(case, moved, r"meta\.\d+\.log.*set aside, dumped anew from meta.db")


def main():
    folder = server.scratch()
    original, other = os.path.join(folder, "original"), os.path.join(folder, "other")
    fill(original)
    fill(other)
    passed = failed = 0
    for name, test in [(n, t) for n, t in sorted(globals().items()) if n.startswith("test_")]:
        try:
            test(folder, original, other)
            passed += 1
        except Exception:  # noqa: BLE001 the next one still says something
            failed += 1
            print("FAIL %s\n%s" % (name, traceback.format_exc()))
    shutil.rmtree(folder, ignore_errors=True)
    print("%d passed, %d failed" % (passed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
