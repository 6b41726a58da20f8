#!/usr/bin/env python3
"""Measures Millrace beside a real nats-server: the same load with the same flags, the two servers in turn on the same disk,
server on one core and load on the others, warmed alike, medians of --runs.

    bench.py [--runs 5] [--row part-of-a-title] [--scale 1.0] [--json FILE]

Server CPU is user + system time of the process, per million messages moved. Syncs are counted by our journal; the peer does not
say. Ours acknowledges what is on disk; the peer by its default before (synced every two minutes): "theirs lazy".

A goal counts as met (m) where the ratio of rates reaches it, or, when the load generator used over 90 % of its core, where our
CPU per message is at most 0.6 of theirs; and where memory has a goal (M), our peak is within it. Exit code 3: the peer is not
v2.14.5, so the ratios are of an old peer."""
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
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
sys.path.insert(0, HERE)
import natsraw  # noqa: E402
import rows  # noqa: E402
import server  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")
WANTED = "v2.14.5"


def proc(pid, name):
    with open("/proc/%d/%s" % (pid, name)) as f:
        return f.read()


def cpu_s(pid):
    fields = proc(pid, "stat").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_kib(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", proc(pid, "status")).group(1))


def rss_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", proc(pid, "status")).group(1))


def written(pid):
    return int(re.search(r"write_bytes: (\d+)", proc(pid, "io")).group(1))


def syncs(s):
    """Of our journal; None of a peer."""
    m = re.search(r"Starting http monitor on [^ ]*:(\d+)", s.log())
    if m is None:
        return None
    with urllib.request.urlopen("http://127.0.0.1:%s/jsz" % m.group(1), timeout=5) as f:
        return json.load(f).get("millrace", {}).get("journal", {}).get("syncs")


class Bench:
    def __init__(self, args, peer):
        self.args, self.cli = args, os.path.join(peer, "nats")
        self.theirs = os.path.join(peer, "nats-server")
        self.load = os.path.abspath(os.environ.get("LOAD", os.path.join(server.ROOT, "build/release/tests/bench/load")))
        cores = sorted(os.sched_getaffinity(0))
        self.pins = (["taskset", "-c", str(cores[0])], ["taskset", "-c", ",".join(map(str, cores[1:]))]) if len(cores) > 1 else ([], [])

    def server(self, exe, conf):
        store = server.scratch()
        config = None
        if conf:
            config = store + ".conf"
            with open(config, "w") as f:
                f.write(conf)
        return server.Server(exe=exe, store=store, config=config, prefix=self.pins[0], args=["-m", "-1"])

    def measure(self, row, exe, conf):
        s = self.server(exe, conf)
        try:
            c = rows.Ctx(s.port, self.cli, self.load, self.args.scale, self.pins[1], s)
            small = rows.Ctx(s.port, self.cli, self.load, self.args.scale / 10, self.pins[1], s)
            began = {}

            def mark():
                pid = s.proc.pid  # taskset becomes the server
                began.update(pid=pid, cpu=cpu_s(pid), wrote=written(pid), syncs=syncs(s))
                return peak_kib(pid)

            c.mark = small.mark = mark
            row.run(small)
            mark()
            got = row.run(c)
            pid = s.proc.pid
            if pid != began["pid"]:  # counted from the row's own restart
                began.update(cpu=0, wrote=0, syncs=0 if began["syncs"] is not None else None)
            got["cpu_s_per_million"] = (cpu_s(pid) - began["cpu"]) / got["msgs"] * 1e6
            got["bytes_written"] = written(pid) - began["wrote"]
            got["syncs"] = syncs(s) - began["syncs"] if began["syncs"] is not None else None
            got["peak_kib"] = peak_kib(pid)
            return got
        finally:
            s.proc.kill()
            s.proc.wait()
            shutil.rmtree(s.store, ignore_errors=True)

    def memory(self, exe):
        """Resident KiB idle; bytes per connection, per subscription, per subject of a stream."""
        s = self.server(exe, "")
        pid = s.proc.pid
        try:
            with natsraw.Conn(port=s.port) as c:
                c.ping()
            out = {"idle_kib": rss_kib(pid)}
            conns = [natsraw.Conn(port=s.port) for _ in range(1000)]
            for c in conns:
                c.ping()
            out["conn_bytes"] = (rss_kib(pid) - out["idle_kib"]) * 1024 / len(conns)
            before = rss_kib(pid)
            for i in range(100000):
                conns[0].send(b"SUB a.%d.b.%d %d\r\n" % (i % 317, i, i + 1))
            conns[0].ping(timeout=60)
            out["sub_bytes"] = (rss_kib(pid) - before) * 1024 / 100000
            for c in conns:
                c.close()
            c = rows.Ctx(s.port, self.cli, self.load, 1, self.pins[1])
            c.stream(subjects=("many.>",))
            before = rss_kib(pid)
            c.load("async", conns=1, msgs=200000, size=16, subject="many", subjects=200000)
            out["subject_bytes"] = (rss_kib(pid) - before) * 1024 / 200000
            return out
        finally:
            s.proc.kill()
            s.proc.wait()
            shutil.rmtree(s.store, ignore_errors=True)


def median(samples, key):
    values = [x[key] for x in samples if x.get(key) is not None]
    return round(statistics.median(values), 3) if values else None


def compare(bench, row, result):
    ours, theirs = [], []
    for _ in range(bench.args.runs):
        ours.append(bench.measure(row, server.binary(), ""))
        theirs.append(bench.measure(row, bench.theirs, row.peer_conf))
    for key in ("msgs_per_s", "cpu_s_per_million", "bytes_written", "peak_kib", "loaded_kib", "p50_us", "p99_us", "p999_us", "load_core",
                "syncs", "share"):
        result["ours_" + key], result["theirs_" + key] = median(ours, key), median(theirs, key)
    for who, samples in (("ours", ours), ("theirs", theirs)):
        result[who + "_spread"] = [round(min(x["msgs_per_s"] for x in samples)), round(max(x["msgs_per_s"] for x in samples))]
    result["ratio"] = round(result["ours_msgs_per_s"] / result["theirs_msgs_per_s"], 2)
    cpu = result["theirs_cpu_s_per_million"]
    result["cpu_ratio"] = round(result["ours_cpu_s_per_million"] / cpu, 2) if cpu else None
    bound = result["ours_load_core"] > 0.9
    result["goal"], result["memory_goal"] = row.goal, row.memory
    result["memory_ratio"] = round(result["ours_peak_kib"] / result["theirs_peak_kib"], 2)
    result["met"] = result["ratio"] >= row.goal or (bound and result["cpu_ratio"] is not None and result["cpu_ratio"] <= 0.6)
    result["memory_met"] = row.memory is None or result["memory_ratio"] <= row.memory
    return result


def number(v):
    return format(round(v), ",") if v >= 1000 else "%.1f" % v


MODES = {"": "-", rows.LAZY: "durable / lazy", rows.ALWAYS: "durable / always"}


def line(r):
    if r.get("not_served"):
        return "%-42s %s" % (r["row"], r["not_served"])
    tail = ""
    if r["ours_p50_us"] is not None:
        tail = "  %d/%d/%d against %d/%d/%d us" % tuple(r[w + k] for w in ("ours_", "theirs_") for k in ("p50_us", "p99_us", "p999_us"))
    if r["ours_share"] is not None:
        tail += "  %.2fx of the rate without the limit against %.2fx" % (r["ours_share"], r["theirs_share"])
    if r["ours_loaded_kib"] is not None:
        tail += "  peak of the load alone %d against %d MiB" % (r["ours_loaded_kib"] / 1024, r["theirs_loaded_kib"] / 1024)
    goal = "old peer" if r["old_peer"] else "%.1fx%s%s" % (r["goal"], "m" if r["met"] else " ", "M" if r["memory_goal"] and r["memory_met"] else " ")
    return "%-42s %11s %11s %6.2fx %6s %8.2f %8.2f %5.2fx %4d%% %5d %5d %7d %7d %6s  %-16s%s" % (
        r["row"], number(r["ours_msgs_per_s"]), number(r["theirs_msgs_per_s"]), r["ratio"], goal,
        r["ours_cpu_s_per_million"], r["theirs_cpu_s_per_million"], r["cpu_ratio"] or 0, 100 * r["ours_load_core"],
        r["ours_peak_kib"] / 1024, r["theirs_peak_kib"] / 1024, r["ours_bytes_written"] / (1 << 20), r["theirs_bytes_written"] / (1 << 20),
        "-" if r["ours_syncs"] is None else "%d" % r["ours_syncs"], MODES[r["against"]], tail)


HEAD = ("%-42s %11s %11s %7s %6s %8s %8s %6s %5s %5s %5s %7s %7s %6s  %-16s  %s" % (
    "", "ours msg/s", "theirs", "ratio", "goal", "CPU s/M", "theirs", "ratio", "load", "peak", "MiB", "written", "MiB", "syncs", "ours / theirs",
    "p50/p99/p99.9"))


def peer_folder():
    """Where nats-server is; Debian's where ours of the wanted version cannot be built."""
    for how in ([], ["old"]):
        p = subprocess.run(["sh", os.path.join(server.ROOT, "tools/peer.sh"), *how], stdout=subprocess.PIPE, text=True)
        if p.returncode == 0:
            return p.stdout.strip().splitlines()[-1]
    sys.exit("no nats-server can be built or had here; nothing was measured")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--row", default="")
    ap.add_argument("--scale", type=float, default=1.0)
    ap.add_argument("--json", default="")
    ap.add_argument("--large", action="store_true", help="the large rows too, which otherwise run by name only")
    args = ap.parse_args()
    bench = Bench(args, peer_folder())
    version = subprocess.run([bench.theirs, "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
    if "illrace" in version:
        sys.exit("the peer is our own binary; nothing was measured")
    old = WANTED not in version
    if old:
        print("OLD PEER: %s instead of %s, which cannot be built here; these ratios say nothing about today's" % (version, WANTED))
    commit = subprocess.run(["git", "-C", server.ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE,
                            text=True).stdout.strip()
    facts = {"peer": version, "machine": platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(), "commit": commit,
             "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "runs": args.runs, "old_peer": old}
    print("%s; %s, %d cores, Linux %s; commit %s; %s; medians of %d" % (
        version, facts["machine"], facts["cores"], facts["kernel"], commit, facts["date"], args.runs))
    print("ours: durable, acknowledged when on disk; m: met, M: memory too (bench.py --help); MiB and syncs: of the measured "
          "run\n" + HEAD, flush=True)
    table, failed = [], 0
    for row in rows.rows():
        if args.row.lower() not in row.title.lower() or (row.large and not args.large and not args.row):
            continue
        result = {"row": row.title, "against": row.against, "durability": "durable", "old_peer": old}
        if row.run is None:
            result["not_served"] = row.served
        else:
            try:
                compare(bench, row, result)
            except (RuntimeError, TimeoutError, OSError, subprocess.TimeoutExpired) as e:
                result["not_served"] = "FAILED: %s" % str(e)[:200]
                failed += 1
        table.append(result)
        print(line(result), flush=True)
    if args.row.lower() in "memory":
        ours, theirs = bench.memory(server.binary()), bench.memory(bench.theirs)
        table.append({"row": "memory", "ours": ours, "theirs": theirs})
        print("\nmemory: idle with JetStream %.1f against %.1f MiB; a connection %.0f against %.0f bytes, a subscription %.0f against "
              "%.0f, a stream's subject %.0f against %.0f" % (ours["idle_kib"] / 1024, theirs["idle_kib"] / 1024, ours["conn_bytes"],
                                                             theirs["conn_bytes"], ours["sub_bytes"], theirs["sub_bytes"],
                                                             ours["subject_bytes"], theirs["subject_bytes"]))
    if args.json:
        with open(args.json, "w") as f:
            json.dump({**facts, "rows": table}, f, indent=1)
    return 3 if old else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
