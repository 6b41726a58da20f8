#!/usr/bin/env python3
"""Measures Millrace beside a real nats-server: the same unmodified load generator (`nats bench`) with the same flags, the two
servers in turn on the same disk, medians of --runs. One JSON line a row; a table at the end.

    bench.py [--runs 5] [--row part-of-a-name] [--messages-scale 1.0]

Server CPU is user + system time of the server process over the run, per million messages. Syncs are counted by our journal;
the peer does not say. Durability stands beside each figure: ours acknowledges after the sync, the peer's default syncs every
two minutes."""
import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pid):
    with open("/proc/%d/stat" % pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def rss_kib(pid):
    with open("/proc/%d/status" % pid) as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def io_written(pid):
    with open("/proc/%d/io" % pid) as f:
        return int(re.search(r"write_bytes: (\d+)", f.read()).group(1))


class Bench:
    def __init__(self, peer, scale):
        self.peer, self.scale = peer, scale
        self.cli = os.path.join(peer, "nats")

    def nats(self, port, *args):
        p = subprocess.run([self.cli, "-s", "nats://127.0.0.1:%d" % port, *args], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=300)
        if p.returncode != 0:
            sys.exit("nats %s: %s" % (" ".join(args), p.stdout))
        return p.stdout

    @staticmethod
    def rate(text, what):
        """The aggregated figure when there is one, else the single one."""
        found = re.findall(what + r"(?: aggregated)? stats: ([\d,]+) msgs/sec", text)
        if not found:
            sys.exit("no figure in:\n" + text)
        return float(found[-1].replace(",", ""))

    def stream(self, port):
        with natsraw.Conn(port=port, timeout=30) as c:
            try:
                c.api("STREAM.DELETE.BENCH")
            except natsraw.ApiError:
                pass
            c.api("STREAM.CREATE.BENCH", json.dumps({"name": "BENCH", "subjects": ["bench.>"]}))

    def js_async(self, port):
        n = int(400000 * self.scale)
        self.stream(port)
        out = self.nats(port, "bench", "js", "pub", "async", "bench.x", "--stream", "BENCH", "--msgs", str(n), "--size", "128",
                        "--batch", "1000", "--no-progress")
        return n, self.rate(out, "asynchronous publisher")

    def js_sync16(self, port):
        n = int(40000 * self.scale)
        self.stream(port)
        out = self.nats(port, "bench", "js", "pub", "sync", "bench.x", "--stream", "BENCH", "--msgs", str(n), "--size", "128",
                        "--clients", "16", "--no-progress")
        return n, self.rate(out, "synchronous publisher")

    def core(self, port):
        n = int(3000000 * self.scale)
        sub = subprocess.Popen([self.cli, "-s", "nats://127.0.0.1:%d" % port, "bench", "sub", "core.x", "--msgs", str(n),
                                "--size", "16", "--no-progress"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for_subscriber(port)
        self.nats(port, "bench", "pub", "core.x", "--msgs", str(n), "--size", "16", "--no-progress")
        out, _ = sub.communicate(timeout=120)
        return n, self.rate(out, "subscriber")


def wait_for_subscriber(port):
    """Until a publish to the subject is no longer answered with "no responders"."""
    with natsraw.Conn(port=port) as c:
        while True:
            sid = c.sub("_INBOX.w")
            c.pub("core.x", b"", reply="_INBOX.w")
            c.ping()
            if not any(m.sid == sid for m in c.inbox):
                return
            c.inbox.clear()
            c.unsub(sid)


ROWS = [
    ("core 1:1 16 B", "core", "msgs/s, CPU"),
    ("async publish 128 B, 1 client", "js_async", "ours durable, theirs lazy"),
    ("sync publish 128 B, 16 clients", "js_sync16", "ours durable, theirs lazy"),
]


def measure(bench, name, exe):
    with server.Server(exe=exe) as s:
        pid = s.proc.pid
        getattr(bench, name)(s.port)  # warm
        cpu, written = cpu_s(pid), io_written(pid)
        n, rate = getattr(bench, name)(s.port)
        out = {"msgs_per_s": rate, "cpu_s_per_million": (cpu_s(pid) - cpu) / n * 1e6,
               "bytes_written": io_written(pid) - written, "rss_kib": rss_kib(pid)}
        s.stop()
    shutil.rmtree(s.store, ignore_errors=True)
    return out


def idle_rss(exe):
    with server.Server(exe=exe) as s:
        with natsraw.Conn(port=s.port) as c:
            c.ping()
        got = rss_kib(s.proc.pid)
        s.stop()
    shutil.rmtree(s.store, ignore_errors=True)
    return got


def median(samples, key):
    return statistics.median(x[key] for x in samples)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--row", default="")
    ap.add_argument("--messages-scale", type=float, default=1.0)
    args = ap.parse_args()
    peer = subprocess.run(["sh", os.path.join(server.ROOT, "tools/peer.sh")], stdout=subprocess.PIPE, text=True)
    if peer.returncode != 0:
        sys.exit("the peer cannot be built here; nothing was measured")
    peer = peer.stdout.strip()
    theirs = os.path.join(peer, "nats-server")
    version = subprocess.run([theirs, "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
    if "illrace" in version:
        sys.exit("the peer is our own binary; nothing was measured")
    commit = subprocess.run(["git", "-C", server.ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE,
                            text=True).stdout.strip()
    print("%s; %s, %d cores; commit %s; %s" % (version, platform.processor() or platform.machine(), os.cpu_count(), commit,
                                               time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())))
    bench = Bench(peer, args.messages_scale)
    table = []
    for title, name, mode in ROWS:
        if args.row not in title and args.row != name:
            continue
        ours_all, theirs_all = [], []
        for _ in range(args.runs):
            ours_all.append(measure(bench, name, server.binary()))
            theirs_all.append(measure(bench, name, theirs))
        row = {"row": title, "mode": mode, "runs": args.runs, "commit": commit, "peer": version}
        for key in ("msgs_per_s", "cpu_s_per_million", "bytes_written", "rss_kib"):
            row["ours_" + key] = round(median(ours_all, key), 3)
            row["theirs_" + key] = round(median(theirs_all, key), 3)
        row["ours_spread"] = [round(min(x["msgs_per_s"] for x in ours_all)), round(max(x["msgs_per_s"] for x in ours_all))]
        row["theirs_spread"] = [round(min(x["msgs_per_s"] for x in theirs_all)),
                                round(max(x["msgs_per_s"] for x in theirs_all))]
        row["ratio"] = round(row["ours_msgs_per_s"] / row["theirs_msgs_per_s"], 2)
        row["cpu_ratio"] = round(row["ours_cpu_s_per_million"] / max(row["theirs_cpu_s_per_million"], 1e-9), 2)
        print(json.dumps(row), flush=True)
        table.append(row)
    if args.row in "idle memory":
        ours, other = idle_rss(server.binary()), idle_rss(theirs)
        print(json.dumps({"row": "idle memory, JetStream on", "ours_rss_kib": ours, "theirs_rss_kib": other}))
        print("\nidle memory with JetStream on: ours %.1f MiB, theirs %.1f MiB" % (ours / 1024, other / 1024))
    print("\n%-32s %12s %12s %6s %10s %10s %6s  %s" % ("", "ours msg/s", "theirs", "ratio", "CPU s/M", "theirs", "ratio", ""))
    for r in table:
        print("%-32s %12s %12s %5.2fx %10.2f %10.2f %5.2fx  %s" %
              (r["row"], format(round(r["ours_msgs_per_s"]), ","), format(round(r["theirs_msgs_per_s"]), ","), r["ratio"],
               r["ours_cpu_s_per_million"], r["theirs_cpu_s_per_million"], r["cpu_ratio"], r["mode"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
