#!/usr/bin/env python3
"""Synchronous publishing between two bounds: ours, a real nats-server that does not sync, and a program that does nothing but
read, write a page durably, and answer (floor.c), all under the same load of 16 clients, in turn.

    floor.py [--runs 3] [--msgs 30000] [--clients 16]
    floor.py --objects [--runs 3]

With --objects: 1 GiB in messages of 128 KiB at both servers, and what the disk takes of a program that has no client and no CPU
to spend: 1 GiB of new files, each piece on disk before the next is written.

What no server can beat on this machine is the best of the floor's lines; a target above it is out of reach here."""
import argparse
import json
import mmap
import os
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.path.insert(0, HERE)
import rows  # noqa: E402
import server  # noqa: E402

PROGS = os.environ.get("PROGS", os.path.join(server.ROOT, "build/release/tests/bench"))
FLOORS = (("sockets only, no disk", 0), ("write on the loop", -1), ("1 write in flight", 1), ("2 writes in flight", 2),
          ("4 writes in flight", 4))


def load(port, pin, args):
    cmd = pin + [os.path.join(PROGS, "load"), "sync", "--port", str(port), "--conns", str(args.clients), "--msgs", str(args.msgs)]
    out = subprocess.run(cmd, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
    return json.loads(out.strip().splitlines()[-1])["msgs_per_s"]


def floor(writers, pins, args):
    where = server.scratch()
    cmd = pins[0] + [os.path.join(PROGS, "floor"), "--file", os.path.join(where, "pages"), "--writers", str(writers)]
    with subprocess.Popen(cmd, stdout=subprocess.PIPE, text=True) as p:
        try:
            return load(int(p.stdout.readline()), pins[1], args)
        finally:
            p.kill()
            shutil.rmtree(where, ignore_errors=True)


def served(exe, pins, args):
    s = server.Server(exe=exe, store=server.scratch(), prefix=pins[0])
    try:
        rows.Ctx(s.port, "", "", 1, []).stream()
        return load(s.port, pins[1], args)
    finally:
        s.proc.kill()
        s.proc.wait()
        shutil.rmtree(s.store, ignore_errors=True)


def object_put(exe, pins):
    s = server.Server(exe=exe, store=server.scratch(), prefix=pins[0])
    try:
        c = rows.Ctx(s.port, "", os.path.join(PROGS, "load"), 1, pins[1])
        return rows.obj_c("put", 1024)(c)["msgs_per_s"]
    finally:
        s.proc.kill()
        s.proc.wait()
        shutil.rmtree(s.store, ignore_errors=True)


def bare_put(step):
    """MiB/s of 16 new files of 64 MiB, written past the page cache in synced pieces of `step` bytes."""
    where = server.scratch()
    piece = mmap.mmap(-1, step)
    piece.write(os.urandom(step))
    began = time.monotonic()
    try:
        for no in range(16):
            fd = os.open(os.path.join(where, "bare%d" % no), os.O_WRONLY | os.O_CREAT | os.O_DIRECT | os.O_DSYNC, 0o600)
            for at in range(0, 64 << 20, step):
                if os.pwrite(fd, piece, at) != step:
                    raise OSError("short write")
            os.close(fd)
        return 1024 / (time.monotonic() - began)
    finally:
        shutil.rmtree(where, ignore_errors=True)


def objects(args, theirs, pins):
    what = [("ours, durable", lambda: object_put(server.binary(), pins)), ("nats-server, lazy", lambda: object_put(theirs, pins))]
    what += [("disk alone, pieces of %d MiB" % (n >> 20), lambda n=n: bare_put(n)) for n in (2 << 20, 4 << 20, 16 << 20)]
    seen = {title: [] for title, _ in what}
    for _ in range(args.runs):
        for title, measure in what:
            seen[title].append(measure())
    print("%-30s %10s   %s" % ("object put, 1 GiB", "MiB/s", "lowest to highest of %d" % args.runs))
    for title, rates in seen.items():
        print("%-30s %10s   %d to %d" % (title, format(round(statistics.median(rates)), ","), min(rates), max(rates)))


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=3)
    ap.add_argument("--msgs", type=int, default=30000)
    ap.add_argument("--clients", type=int, default=16)
    ap.add_argument("--objects", action="store_true")
    args = ap.parse_args()
    peer = subprocess.run(["sh", os.path.join(server.ROOT, "tools/peer.sh")], stdout=subprocess.PIPE, text=True)
    if peer.returncode != 0:
        sys.exit("the peer cannot be built here; nothing was measured")
    theirs = os.path.join(peer.stdout.strip().splitlines()[-1], "nats-server")
    cores = sorted(os.sched_getaffinity(0))
    ways = [("any core", ([], []))]
    if len(cores) > 1:
        ways.append(("server on one core", (["taskset", "-c", str(cores[0])], ["taskset", "-c", ",".join(map(str, cores[1:]))])))
    if args.objects:
        objects(args, theirs, ways[-1][1])
        return 0
    print("%-26s %-20s %10s   %s" % ("", "", "msgs/s", "lowest to highest of %d" % args.runs))
    for way, pins in ways:
        what = [("ours, durable", lambda p=pins: served(server.binary(), p, args)),
                ("nats-server, lazy", lambda p=pins: served(theirs, p, args))]
        what += [(title, lambda w=w, p=pins: floor(w, p, args)) for title, w in FLOORS]
        seen = {title: [] for title, _ in what}
        for _ in range(args.runs):
            for title, measure in what:
                seen[title].append(measure())
        for title, rates in seen.items():
            print("%-26s %-20s %10s   %d to %d" % (title, way, format(round(statistics.median(rates)), ","), min(rates), max(rates)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
