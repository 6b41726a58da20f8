#!/usr/bin/env python3
"""Unmodified client libraries against the real binary: the programs of tests/clients, each on a fresh server, with the server
killed by SIGKILL and started again where a program asks for it.

    clients.py [--exe server] [client...]     (js, py, go, c; NATS_SERVER is the same as --exe)

Against another server the same programs show that they ask for nothing of their own. Packages are fetched once, into
build/clients; a client whose toolchain or packages cannot be had is named and left out, but one must run."""
import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import server  # noqa: E402

SOURCE = os.path.join(server.ROOT, "tests", "clients")
CACHE = os.path.join(server.ROOT, "build", "clients")
RUN_SECONDS_MAX = 100


class Missing(Exception):
    """The toolchain or the packages of a client are not to be had; says which."""


def tool(name):
    path = shutil.which(name)
    if not path:
        raise Missing("no %s on this machine" % name)
    return path


def step(command, cwd, what):
    p = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if p.returncode:
        raise Missing("%s failed: %s" % (what, " | ".join(p.stdout.strip().splitlines()[-4:])))


def once(folder, manifest, fetch):
    """Runs fetch when the manifest is not the one whose packages lie in the folder."""
    with open(manifest, "rb") as f:
        want = hashlib.sha256(f.read()).hexdigest()
    mark = os.path.join(folder, "fetched")
    try:
        with open(mark, encoding="ascii") as f:
            if f.read() == want:
                return
    except FileNotFoundError:
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    fetch()
    with open(mark, "w", encoding="ascii") as f:
        f.write(want)


def prepare_js(folder):
    npm, node = tool("npm"), tool("node")
    manifest = os.path.join(SOURCE, "js", "package.json")

    def fetch():
        shutil.copy(manifest, folder)
        step([npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"], folder, "npm install")
    once(folder, manifest, fetch)
    # Packages are looked for beside the program.
    shutil.copy(os.path.join(SOURCE, "js", "client.mjs"), folder)
    return [node, os.path.join(folder, "client.mjs")]


def prepare_py(folder):
    manifest = os.path.join(SOURCE, "py", "requirements.txt")
    python = os.path.join(folder, "venv", "bin", "python")

    def fetch():
        step([sys.executable, "-m", "venv", os.path.join(folder, "venv")], folder, "python -m venv")
        step([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", manifest], folder, "pip install")
    once(folder, manifest, fetch)
    return [python, os.path.join(SOURCE, "py", "client.py")]


def prepare_go(folder):
    os.makedirs(folder, exist_ok=True)
    exe = os.path.join(folder, "client")
    step([tool("go"), "build", "-o", exe, "."], os.path.join(SOURCE, "go"), "go build")
    return [exe]


def prepare_c(folder):
    os.makedirs(folder, exist_ok=True)
    source, exe = os.path.join(SOURCE, "c", "client.c"), os.path.join(folder, "client")
    step([tool("gcc"), "-O1", "-g", "-std=gnu17", "-Wall", "-Wextra", "-o", exe, source, "-lnats", "-lpthread"], folder,
         "gcc with libnats")
    return [exe]


PREPARE = {"js": prepare_js, "py": prepare_py, "go": prepare_go, "c": prepare_c}


def drive(name, command, args):
    """Runs one client program; returns (passed, failed)."""
    passed = failed = 0
    with server.Server(exe=args.exe) as s:
        env = dict(os.environ, NATS_URL="nats://127.0.0.1:%d" % s.port)
        if not args.other:
            env["ACKS_HOLD"] = "1"  # a confirmed ack is on disk: kill -9 gives nothing again
        client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env,
                                  text=True)
        timer = threading.Timer(RUN_SECONDS_MAX, client.kill)
        timer.start()
        ended = False
        for line in client.stdout:
            if line == "RESTART\n":
                s.restart(kill=True)
            elif line.startswith("ok "):
                passed += 1
            elif line.startswith("FAIL "):
                failed += 1
                print("%s: %s" % (name, line), end="")
            elif line.rstrip().endswith("%d passed, %d failed" % (passed, failed)):
                ended = True
            else:
                print("%s: %s" % (name, line), end="")
        client.wait()
        timer.cancel()
        if not ended or (client.returncode != 0 and not failed):
            print("%s: ended with %d before its last line" % (name, client.returncode))
            failed += 1
        if failed:
            print("the server's log:\n" + s.log()[-3000:])
        elif s.stop() != 0:
            print("%s: the server did not stop cleanly:\n%s" % (name, s.log()[-3000:]))
            failed += 1
    return passed, failed


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--exe", default=os.environ.get("NATS_SERVER"))
    ap.add_argument("clients", nargs="*", default=list(PREPARE))
    args = ap.parse_args()
    args.other = args.exe is not None
    args.exe = args.exe or server.binary()
    passed = failed = ran = 0
    for name in args.clients:
        start = time.monotonic()
        try:
            command = PREPARE[name](os.path.join(CACHE, name))
        except Missing as e:
            print("client %s left out: %s" % (name, e), flush=True)
            continue
        ready = time.monotonic()
        good, bad = drive(name, command, args)
        ran += 1
        passed += good
        failed += bad
        print("client %s: %d passed, %d failed, %.1f s (%.1f s to prepare)" %
              (name, good, bad, time.monotonic() - ready, ready - start), flush=True)
    if not ran:
        print("no client library could be had")
        failed += 1
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
