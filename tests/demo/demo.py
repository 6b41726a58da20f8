#!/usr/bin/env python3
"""The main job on real input (`make demo`): orders are the package records of this machine's own package index, one message
each. Unmodified clients receive, process and complete them on a stream ORDERS while the server is killed with SIGKILL and
restarted. At the end each stage must hold each order exactly once, no order whose ack was confirmed may have come again, and
jsadmin must find the store sound.

    demo.py [--client js|go] [--kills 20] [--orders 20000] [--seed n]"""
import argparse
import collections
import glob
import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import natsraw  # noqa: E402
import server  # noqa: E402


def package_records(limit):
    """Package records as the machine has them: the apt lists, else the status of what is installed."""
    paths = sorted(glob.glob("/var/lib/apt/lists/*_Packages")) or ["/var/lib/dpkg/status"]
    out = []
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as f:
            for record in f.read().split("\n\n"):
                if record.strip():
                    out.append(record.strip())
                if len(out) == limit:
                    return out
    # Fewer records than orders asked for: go round again, so that bodies stay real text.
    return [out[i % len(out)] for i in range(limit)] if out else sys.exit("no package records on this machine")


def client_command(kind):
    if kind == "js":
        # Packages lie under build/, beside a copy of the program: that is where node looks for them.
        folder = os.path.join(server.ROOT, "build", "demo-js")
        os.makedirs(folder, exist_ok=True)
        for name in ("package.json", "orders.mjs"):
            shutil.copy(os.path.join(HERE, "js", name), folder)
        if not os.path.isdir(os.path.join(folder, "node_modules")):
            print("fetching the nats.js client (npm)", flush=True)
            subprocess.run(["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"], cwd=folder,
                           check=True)
        return ["node", os.path.join(folder, "orders.mjs")]
    folder = os.path.join(HERE, "go")
    exe = os.path.join(server.ROOT, "build", "demo-go")
    print("building the nats.go client", flush=True)
    subprocess.run(["go", "build", "-o", exe, "."], cwd=folder, check=True)
    return [exe]


class Client(threading.Thread):
    """Runs the client and keeps what it says."""

    def __init__(self, command, env):
        super().__init__(daemon=True)
        self.proc = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        self.stats, self.summary, self.violations = {}, None, []
        self.ready = threading.Event()

    def allow(self, orders):
        """So many orders may be submitted by now."""
        try:
            self.proc.stdin.write("%d\n" % orders)
            self.proc.stdin.flush()
        except OSError:  # it has ended; the summary, or its absence, tells
            pass

    def run(self):
        for line in self.proc.stdout:
            said = json.loads(line)
            if "progress" in said:
                self.stats = said["progress"]
            if "summary" in said:
                self.stats = self.summary = said["summary"]
            if "violation" in said:
                self.violations.append(said["violation"])
            if "ready" in said:
                self.ready.set()
        self.ready.set()


def bar(stats, orders, kills, killed):
    share = stats.get("completed", 0) / orders
    full = int(share * 30)
    return "\r[%s%s] %3d%%  received %6d  processed %6d  completed %6d  kills %d/%d  redelivered %d " % (
        "█" * full, "·" * (30 - full), share * 100, stats.get("received", 0), stats.get("processed", 0),
        stats.get("completed", 0), killed, kills, stats.get("redelivered", 0))


def drive(s, client, args, rng):
    """Kills at random moments while the job runs, spread over its progress: after the k-th kill the client may go two shares
    further, and the next kill comes within the first of them, so the job cannot end before the last. Returns the kills."""
    killed = 0
    tty = sys.stdout.isatty()
    shares = args.kills + 2
    due = [(k + 0.9 * rng.random()) / shares for k in range(args.kills)]
    client.allow(args.orders * 2 // shares + 1)
    last, end = 0, time.monotonic() + args.timeout
    while client.is_alive() and client.summary is None:
        if time.monotonic() > end:
            client.proc.kill()
            sys.exit("\nthe job did not end within %d s" % args.timeout)
        client.join(0.01)
        # Progress over both publishing and completing, so that kills hit every stage.
        done = (client.stats.get("received", 0) + client.stats.get("completed", 0)) / (2 * args.orders)
        if killed < args.kills and done >= due[killed]:
            client.join(rng.random() * 0.1)
            s.restart(kill=True)
            killed += 1
            client.allow(args.orders * (killed + 2) // shares + 1)
        if time.monotonic() - last > (0.2 if tty else 5):
            print(bar(client.stats, args.orders, args.kills, killed), end="" if tty else "\n", flush=True)
            last = time.monotonic()
    print(bar(client.stats, args.orders, args.kills, killed))
    return killed


def verify(port, orders):
    """Reads the stream with a client that shares no code with the job: each stage holds each order exactly once."""
    seen = collections.defaultdict(collections.Counter)
    with natsraw.Conn(port=port, timeout=30) as c:
        n = c.api("STREAM.INFO.ORDERS")["state"]["messages"]
        sid = c.sub("_INBOX.verify")
        c.api("CONSUMER.CREATE.ORDERS", json.dumps({"stream_name": "ORDERS", "config": {
            "deliver_subject": "_INBOX.verify", "ack_policy": "none", "deliver_policy": "all", "mem_storage": True}}))
        for _ in range(n):
            m = c.next(sid)
            seen[m.subject][int(m.data.split(b"\n", 1)[0])] += 1
    problems = []
    for stage in ("received", "processed", "completed"):
        counts = seen["ORDERS." + stage]
        twice = sum(1 for v in counts.values() if v > 1)
        if len(counts) != orders or twice:
            problems.append("stage %s holds %d of %d orders, %d of them more than once" % (stage, len(counts), orders, twice))
    return problems


def check_store(store):
    exe = os.path.abspath(os.environ.get("JSADMIN", os.path.join(server.ROOT, "build/bin/jsadmin")))
    p = subprocess.run([exe, "check", store], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(p.stdout)
    return p.returncode == 0


def complaints(store):
    """Lines of the servers' logs that tell of damage or errors: a kill is no reason for either."""
    out = []
    for path in sorted(glob.glob(store + ".log.*")):
        with open(path, errors="replace") as f:
            out += [line.strip() for line in f if " [ERR] " in line or " [FTL] " in line or "damage" in line]
    return out


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--client", choices=("js", "go"), default="js")
    ap.add_argument("--kills", type=int, default=20)
    ap.add_argument("--orders", type=int, default=20000)
    ap.add_argument("--timeout", type=int, default=600)
    ap.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    args = ap.parse_args()
    rng = random.Random(args.seed)
    records = package_records(args.orders)
    folder = server.scratch(keep=True)
    path = os.path.join(folder, "records")
    with open(path, "w") as f:
        f.write("\0".join(records))
    command = client_command(args.client)
    print("%d orders (%.1f MB of package records), client %s, %d kills, seed %d" %
          (len(records), sum(map(len, records)) / 1e6, args.client, args.kills, args.seed), flush=True)
    start = time.monotonic()
    with server.Server(store=os.path.join(folder, "store")) as s:
        client = Client(command, dict(os.environ, PORT=str(s.port), RECORDS=path))
        client.start()
        client.ready.wait(60)
        killed = drive(s, client, args, rng)
        client.proc.wait(30)
        client.join(5)
        problems = verify(s.port, len(records)) if client.summary else ["the client ended without a summary"]
        if s.stop() != 0:
            problems.append("the server did not stop cleanly")
    problems += client.violations
    problems += complaints(s.store)[:10]
    if killed != args.kills:
        problems.append("only %d of %d kills happened" % (killed, args.kills))
    if not check_store(s.store):
        problems.append("jsadmin check found damage")
    took = time.monotonic() - start
    print("%d orders through three stages in %.1f s with %d kills: %d redeliveries, %d publishes repeated, %d reconnects, "
          "%d acks without an answer, %d deliveries after a confirmed ack" %
          (len(records), took, killed, client.stats.get("redelivered", 0), client.stats.get("retries", 0),
           client.stats.get("reconnects", 0), client.stats.get("unconfirmed", 0), client.stats.get("afterConfirm", 0)))
    for p in problems:
        print("FAIL:", p)
    if problems:
        print("the store and the server's logs are kept in", folder)
    else:
        shutil.rmtree(folder)
    if not problems:
        print("each stage holds each order exactly once; the store is sound")
    print("%d passed, %d failed" % (0 if problems else 1, 1 if problems else 0))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
