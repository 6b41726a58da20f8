#!/usr/bin/env python3
"""Client libraries against nats-server and against ours, row by row: what each offers, used as its documentation says.

    interop.py [--peer nats-server] [client...]     (go, js, py, rust, java, c)

The programs of tests/clients and of this folder run on a fresh nats-server first: what fails there is the program's fault (exit
code 2). Then on ours, with SIGKILL and a new start where a program asks for it. The table at the end says "ok", "FAIL", "-"
(the program has no such case) or "left out" (no toolchain or packages); rows that need a configured server say "not served" with
the error our server gives."""
import argparse
import filecmp
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import server  # noqa: E402

spec = importlib.util.spec_from_file_location("clients", os.path.join(HERE, "..", "integration", "clients.py"))
clients = importlib.util.module_from_spec(spec)
spec.loader.exec_module(clients)

CACHE = os.path.join(server.ROOT, "build", "interop")
RUN_SECONDS_MAX = 120
ROWS = [
    ("core publish, subscribe", r"core publish"), ("headers", r"core publish.*headers"), ("request-reply", r"core request"),
    ("queue groups", r"core .*queue groups"), ("streams", r"stream:"), ("publish: ids, expectations", r"publish:"),
    ("pull consumers", r"pull consumer"), ("push consumers", r"push consumer"), ("durable consumers", r"pu(ll|sh) consumer.*durable"),
    ("ephemeral consumers", r"pu(ll|sh) consumer.*ephemeral"), ("ordered consumers", r".*ordered"), ("acks, redelivery", r"acks"),
    ("retention", r"workqueue"), ("KV: CAS, history", r"kv"), ("KV: watch", r"kv.*watch"), ("KV: key TTL, markers", r"kv.*TTL"),
    ("KV: republish, mirror...", r"kv.*(republish|compression)"), ("objects", r"object store"), ("object links", r"object.*link"),
    ("reconnect across kill -9", r"reconnect"), ("drain", r"drain"),
]
FEATURES = ["TLS", "nkey", "JWT", "WebSocket", "lame duck"]
SERVED = ["lame duck"]  # these must work at ours; the others may say "not served"


def prepare_rust(folder):
    cargo = clients.tool("cargo")
    source = os.path.join(HERE, "rust")
    os.makedirs(os.path.join(folder, "src"), exist_ok=True)
    for name in ("Cargo.toml", "src/main.rs"):
        new, kept = os.path.join(source, name), os.path.join(folder, name)
        if not os.path.exists(kept) or not filecmp.cmp(new, kept, shallow=False):
            shutil.copy(new, kept)  # cargo goes by the time of the copy
    clients.step([cargo, "build", "-q"], folder, "cargo build")
    return [os.path.join(folder, "target", "debug", "client")]


def prepare_java(folder):
    java, javac = clients.tool("java"), clients.tool("javac")
    pom = os.path.join(HERE, "java", "pom.xml")
    lib = os.path.join(folder, "lib")

    def fetch():
        shutil.copy(pom, folder)
        clients.step([clients.tool("mvn"), "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=" + lib], folder, "mvn")
    clients.once(folder, pom, fetch)
    classes = os.path.join(folder, "classes")
    path = os.path.join(lib, "*")
    clients.step([javac, "-cp", path, "-d", classes, os.path.join(HERE, "java", "src", "main", "java", "Client.java")], folder, "javac")
    return [java, "-cp", classes + ":" + path, "Client"]


def prepare_features(folder):
    os.makedirs(folder, exist_ok=True)
    exe = os.path.join(folder, "features")
    clients.step([clients.tool("go"), "build", "-o", exe, "."], os.path.join(HERE, "go"), "go build")
    return exe


PREPARE = {
    "go": clients.prepare_go, "js": clients.prepare_js, "py": clients.prepare_py, "rust": prepare_rust, "java": prepare_java,
    "c": clients.prepare_c,
}


def drive(command, exe):
    """Runs one program on a fresh server; returns {case: "ok" or why not}."""
    results = {}
    with server.Server(exe=exe) as s:
        env = dict(os.environ, NATS_URL="nats://127.0.0.1:%d" % s.port)
        if exe == server.binary():
            env["ACKS_HOLD"] = "1"  # a confirmed ack is on disk: kill -9 gives nothing again
        p = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True)
        timer = threading.Timer(RUN_SECONDS_MAX, p.kill)
        timer.start()
        ended = False
        for line in p.stdout:
            if line == "RESTART\n":
                s.restart(kill=True)
            elif line.startswith("ok "):
                results[line[3:].strip()] = "ok"
            elif line.startswith("FAIL "):
                name, _, why = line[5:].strip().partition(": ")
                m = re.match(r"((?:stream|publish|pull consumer|push consumer|acks|kv|object store): .*?): (.*)", line[5:].strip())
                name, why = m.groups() if m else (name, why)
                results[name] = why or "failed"
            elif re.search(r"\d+ passed, \d+ failed$", line.strip()):
                ended = True
            else:
                print("    " + line.rstrip()[:300])
        p.wait()
        timer.cancel()
        if not ended:
            results["the program's end"] = "it ended with %d before its last line" % p.returncode
        if s.proc.poll() is not None:
            results["the server's end"] = "the server is gone:\n" + s.log()[-2000:]
    return results


def feature(row, exe, folder, program):
    """Runs one row that needs a configured server; returns "ok" or why not."""
    conf = os.path.join(folder, row + ".conf")
    try:
        s = server.Server(exe=exe, jetstream=False, config=conf if os.path.exists(conf) else None)
    except (RuntimeError, TimeoutError) as e:
        return "not served: " + [line for line in str(e).splitlines() if line.strip()][-1].replace(folder, "...")
    with s:
        url = "%s://127.0.0.1:%d" % ("tls" if row == "TLS" else "nats", s.port)
        if row == "WebSocket":
            m = re.search(r"websocket clients on ws://[^ ]*:(\d+)", s.log())
            if not m:
                return "not served: the server listens for no WebSocket clients"
            url = "ws://127.0.0.1:" + m.group(1)
        p = subprocess.Popen([program, "check", row, folder], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                             env=dict(os.environ, NATS_URL=url))
        timer = threading.Timer(30, p.kill)
        timer.start()
        last = ""
        for line in p.stdout:
            last = line.strip()
            if last == "READY":
                os.kill(s.proc.pid, signal.SIGUSR2)
        p.wait()
        timer.cancel()
        return "ok" if last == "ok" else "not served: " + last


def features(peer, ours):
    """Both servers' outcomes of the rows of FEATURES."""
    program = prepare_features(os.path.join(CACHE, "features"))
    out = {}
    with tempfile.TemporaryDirectory(prefix="interop-") as folder:
        clients.step([program, "gen", folder], folder, "features gen")
        for row in FEATURES:
            out[row] = (feature(row, peer, folder, program), feature(row, ours, folder, program))
    return out


def cell(results, pattern):
    found = [why for name, why in results.items() if re.match(pattern, name)]
    return "-" if not found else "ok" if all(w == "ok" for w in found) else "FAIL"


def show(rows, columns):
    widths = [max(len(r[i]) for r in [columns] + rows) for i in range(len(columns))]
    for r in [columns] + rows:
        print("  ".join(c.ljust(w) for c, w in zip(r, widths)).rstrip())


def run_client(name, peer, ours):
    """Returns (results at the peer, at ours), or why the client is left out."""
    start = time.monotonic()
    folder = os.path.join(clients.CACHE if name in clients.PREPARE else CACHE, name)
    try:
        command = PREPARE[name](folder)
    except clients.Missing as e:
        return str(e)
    ready = time.monotonic()
    print("%s: at nats-server" % name, flush=True)
    theirs = drive(command, peer)
    print("%s: at ours" % name, flush=True)
    mine = drive(command, ours)
    print("%s: %d cases, %.0f s (%.0f s to prepare)" % (name, len(mine), time.monotonic() - ready, ready - start), flush=True)
    return theirs, mine


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--peer", required=True)
    ap.add_argument("clients", nargs="*")
    args = ap.parse_args()
    ours, names = server.binary(), args.clients or list(PREPARE)
    all_results = {name: run_client(name, args.peer, ours) for name in names}
    wrong, bad, good, left_out = [], [], 0, []
    for name, r in all_results.items():
        if isinstance(r, str):
            left_out.append("%s left out: %s" % (name, r))
            continue
        wrong += ["%s at nats-server: %s: %s" % (name, n, w) for n, w in r[0].items() if w != "ok"]
        bad += ["%s at ours: %s: %s" % (name, n, w) for n, w in r[1].items() if w != "ok"]
        bad += ["%s at ours: %s: it was not run" % (name, n) for n in r[0] if n not in r[1]]
        good += sum(1 for w in r[1].values() if w == "ok")
    print()
    table = [[row] + ["left out" if isinstance(r, str) else cell(r[1], pattern) for r in all_results.values()]
             for row, pattern in ROWS]
    show(table, ["at ours"] + list(all_results))
    if not args.clients or "go" in args.clients:
        print()
        try:
            for row, (theirs, mine) in features(args.peer, ours).items():
                print("%-10s %s" % (row, mine))
                wrong += [] if theirs == "ok" else ["%s at nats-server: %s" % (row, theirs)]
                good += mine == "ok"
                bad += ["%s at ours: %s" % (row, mine)] if row in SERVED and mine != "ok" else []
        except clients.Missing as e:
            left_out.append("TLS, nkey, JWT, WebSocket and lame duck left out: %s" % e)
    for line in left_out + wrong + bad:
        print(line[:1000])
    print("interop: %d passed, %d failed" % (good, len(bad) + len(wrong)))
    return 2 if wrong else 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
