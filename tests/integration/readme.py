#!/usr/bin/env python3
"""README.md is true: `make run` as it stands there, then the commands of "A first stream" with the nats command-line client,
then jsadmin on what was written. Its folders exist, its files too, and its make targets."""
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import natscli  # noqa: E402
import server  # noqa: E402

with open(os.path.join(server.ROOT, "README.md"), encoding="utf-8") as f:
    README = f.read()
# What the first stream's commands must show, in their order.
SHOWN = ("ORDERS", "Sequence: 1", "NEW", "two coffees", "ORDERS")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def commands(title):
    """The indented lines of a chapter."""
    chapter = re.search(r"^## %s\n(.*?)(?=^## )" % re.escape(title), README, re.M | re.S).group(1)
    return [line.strip() for line in chapter.splitlines() if line.startswith("    ")]


def make_run(store, port):
    """Starts the server as the README says; returns its process when it is ready."""
    line = re.search(r"`make run STORE=\S+ PORT=\d+`", README).group(0).strip("`")
    line = re.sub(r"STORE=\S+", "STORE=" + store, re.sub(r"PORT=\d+", "PORT=%d" % port, line))
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    p = subprocess.Popen(line.split(), cwd=server.ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True)
    out = b""
    while b"Server is ready" not in out:
        more = os.read(p.stdout.fileno(), 65536)
        if not more:
            raise AssertionError("`%s` ended with %s:\n%s" % (line, p.wait(), out.decode()))
        out += more
    return p, out.decode()


def first_stream():
    path, why = natscli.find()
    lines = commands("A first stream")
    assert len(lines) == len(SHOWN) and all(line.startswith("nats ") for line in lines), lines
    folder = tempfile.mkdtemp(dir=os.environ.get("TEST_DIR"))
    store, port = os.path.join(folder, "store"), free_port()
    p, said = make_run(store, port)
    try:
        assert "nats://127.0.0.1:%d" % port in said and store in said, said
        hints = [line.strip() for line in said.splitlines() if line.startswith("  nats ")]
        assert len(hints) == 3, said
        if path is None:
            print("the commands of the client were left out: " + why)
        else:
            cli = natscli.Cli(path, "nats://127.0.0.1:%d" % port, os.path.join(folder, "home"))
            for line, shown in zip(lines, SHOWN):
                out = cli.sh(line)
                assert shown in out, "%s: no %r in\n%s" % (line, shown, out)
            cli.sh("nats stream rm ORDERS -f")
            for line in hints:  # what make run itself prints
                out = cli.sh(line)
            assert "two coffees" in out, out
    finally:
        os.killpg(p.pid, signal.SIGTERM)
        p.stdout.read()
        p.wait(30)
    jsadmin = os.path.join(server.ROOT, "build/bin/jsadmin")
    out = subprocess.run([jsadmin, "info", os.path.join(store, "millrace")], capture_output=True, text=True, check=True).stdout
    assert path is None or "ORDERS" in out, out
    subprocess.run([jsadmin, "check", store], stdout=subprocess.DEVNULL, check=True)


def names():
    """Folders, files and make targets that the README names."""
    for name in re.findall(r"`([\w./-]+/[\w./-]*|[\w.-]+\.md)`", README):
        if not name.startswith(("/", "$", "build/")) and "<" not in name:
            assert os.path.exists(os.path.join(server.ROOT, name)) or \
                any(os.path.exists(os.path.join(server.ROOT, top, name)) for top in ("engine", "broker", "tests")), name
    known = subprocess.run(["make", "-s", "help"], cwd=server.ROOT, capture_output=True, text=True, check=True).stdout
    for target in set(re.findall(r"\bmake ([a-z-]+)", README)):
        assert re.search(r"^  make %s\b" % target, known, re.M) or target == "help", "make " + target
    assert len(README.split("## ")[0].split(". ")) >= 2


def main():
    if server.binary() != os.path.join(server.ROOT, "build", "bin", "millrace"):
        print("`make run` starts the release build; this run tests another")
        return 77
    passed = failed = 0
    for test in (names, first_stream):
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
