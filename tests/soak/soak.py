#!/usr/bin/env python3
"""Hours of mixed load on one store, while the server is killed, restarted and its disk fills up (`make soak HOURS=n`).
README.md says what runs and what is judged.

    soak.py [--hours 0.5] [--seed n] [--json build/soak.json] [--disk MiB] [--keep]"""
import argparse
import collections
import json
import multiprocessing
import multiprocessing.connection
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import actor  # noqa: E402
import loads_buckets as buckets  # noqa: E402
import loads_core as core  # noqa: E402
import loads_streams as streams  # noqa: E402
import report  # noqa: E402
import server  # noqa: E402

LOADS = [streams.Sync, streams.Async, streams.Age, streams.Batch, streams.Memory, streams.Work, streams.Interest, buckets.Kv,
         buckets.Ttl, buckets.Objects, core.Core, core.Slow, core.Churn, core.Ddl]
READY_SECONDS = 300
MAX_PENDING = 8 << 20
HOLE_SECONDS = 3
SERIOUS = re.compile(r"\[FTL\]|ASSERT|assert|damage|poison|corrupt")


class World:
    """What the loads know of the run."""

    def __init__(self, seed, folder):
        self.seed, self.folder, self.port = seed, folder, 0
        self.starts = multiprocessing.Value("q", 0)
        self.max_pending = MAX_PENDING

    def ledger(self, name):
        os.makedirs(os.path.join(self.folder, "ledger"), exist_ok=True)
        return os.path.join(self.folder, "ledger", name)

    def restarted_since(self, load):
        seen, load.seen_starts = getattr(load, "seen_starts", 0), self.starts.value
        return seen != load.seen_starts


class Disk:
    """The file system below the store: a small one, so that it can be filled by a file beside the store."""

    def __init__(self, folder, mib):
        self.where = os.path.join(folder, "disk")
        self.ballast = os.path.join(self.where, "filler")
        self.kind = None
        os.makedirs(self.where)
        if os.environ.get("SOAK_NAMESPACE") != "1":
            return
        image = os.path.join(folder, "image")
        with open(image, "wb") as f:
            f.truncate(mib << 20)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        if shutil.which("mkfs.ext4") and subprocess.call(["mkfs.ext4", "-q", "-m", "0", image], **quiet) == 0 and \
                subprocess.call(["mount", "-o", "loop", image, self.where], **quiet) == 0:
            self.kind = "ext4 of %d MiB on a loop device" % mib
        elif subprocess.call(["mount", "-t", "tmpfs", "-o", "size=%dm" % mib, "tmpfs", self.where], **quiet) == 0:
            self.kind = "tmpfs of %d MiB" % mib

    def fill(self, leave):
        s = os.statvfs(self.where)
        size = s.f_bavail * s.f_frsize - leave
        with open(self.ballast, "ab") as f:
            while size > 0:
                try:
                    os.posix_fallocate(f.fileno(), f.tell(), min(size, 64 << 20))
                    f.seek(0, os.SEEK_END)
                    size -= 64 << 20
                except OSError:
                    size //= 2  # the server takes its share meanwhile
                    if size < 4096:
                        break

    def free(self):
        if os.path.exists(self.ballast):
            os.remove(self.ballast)


class Server:
    """The server under test, with what the driver needs of its log and of /proc."""

    def __init__(self, world, disk, folder):
        self.world, self.folder, self.port = world, folder, 0
        self.store = os.path.join(disk.where, "store")
        self.lines = collections.Counter()
        self.serious = []
        self.life = 0

    def start(self):
        self.life += 1
        self.log_path = os.path.join(self.folder, "server.log.%d" % self.life)
        conf = os.path.join(self.folder, "server.conf")
        with open(conf, "w") as f:
            f.write('host: "127.0.0.1"\nport: %d\nhttp: "127.0.0.1:-1"\nmax_pending: %d\nwrite_deadline: "5s"\n'
                    'jetstream { store_dir: "%s" }\n' % (self.port or -1, MAX_PENDING, self.store))
        self.world.starts.value += 1
        begin = time.monotonic()
        with open(self.log_path, "wb") as log:
            self.proc = subprocess.Popen([server.binary(), "-c", conf], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         start_new_session=True)
        with server.Growth(self.log_path, self.proc.pid) as growth:
            while "Server is ready" not in self.log():
                if self.proc.poll() is not None or time.monotonic() - begin > READY_SECONDS:
                    raise actor.Broken("the server did not start: %s\n%s" % (self.proc.poll(), self.log()[-3000:]))
                growth.wait(1)
        self.port = int(re.search(r"Listening for client connections on [^ ]*:(\d+)", self.log()).group(1))
        self.http = int(re.search(r"http monitor on [^ ]*:(\d+)", self.log()).group(1))
        return time.monotonic() - begin

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def stop(self, sig):
        self.proc.send_signal(sig)
        code = self.proc.wait(READY_SECONDS)
        if sig == signal.SIGTERM and code != 0:
            raise actor.Broken("SIGTERM: exit code %s\n%s" % (code, self.log()[-3000:]))
        self.read_log()

    def read_log(self):
        """Keeps warnings and errors by their words, and the file only when it holds something serious."""
        serious = []
        with open(self.log_path, errors="replace") as f:
            for line in f:
                if SERIOUS.search(line):
                    serious.append(line.strip())
                if re.search(r"\[(ERR|WRN|FTL)\]|quarantine", line) and "cid:" not in line:
                    words = re.sub(r"[0-9a-f]{8,}|\d+", "N", line.split("[", 2)[-1].strip())
                    if len(self.lines) < 200 or words in self.lines:
                        self.lines[words] += 1
        self.serious += serious[:20]
        if not serious:
            os.remove(self.log_path)

    def get(self, path):
        """An answer of the monitor; None where there is none."""
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d%s" % (self.http, path), timeout=60) as r:
                return json.load(r)
        except urllib.error.HTTPError as e:
            return {"status": "unavailable", "error": e.read().decode(errors="replace")[:300]}
        except OSError:
            return None

    def sample(self):
        pid = self.proc.pid
        row = collections.Counter()
        try:
            with open("/proc/%d/statm" % pid) as f:
                row["rss"] = int(f.read().split()[1]) * 4096
            row["fds"] = len(os.listdir("/proc/%d/fd" % pid))
            row["threads"] = len(os.listdir("/proc/%d/task" % pid))
        except OSError:
            return {}
        root = os.path.join(self.store, "millrace")
        for base, _, names in os.walk(root):
            top = os.path.relpath(base, root).split("/")[0]
            for name in names:
                kind = {"journal": "journal", "s": "segments", "quarantine": "quarantine"}.get(
                    top, "ballast" if name == "ballast" else "catalogue")
                try:
                    row[kind] += os.stat(os.path.join(base, name)).st_blocks * 512
                    row["files"] += 1
                except OSError:
                    pass
        row["quarantine"] += 0
        return dict(row)


def timeline(rng, seconds, full):
    """[(seconds, what)] of four like cycles: a third of storms (kills, stops, a full disk with a kill in it), then calm, with
    a full disk of its own. Each quarter of the run holds one cycle, so that quarters can be compared."""
    out, cycle = [], seconds / 4
    mean, rest = max(4.0, min(25.0, cycle / 12)), max(3.0, min(20.0, cycle / 20))
    for i in range(4):
        base = i * cycle
        t = base + rng.expovariate(1 / mean)
        while t < base + cycle * 0.33:
            out.append((t, "term" if rng.random() < 0.25 else "kill"))
            t += 2 + rng.expovariate(1 / mean)
        if not full:
            continue
        if cycle >= 60 or i == 2:
            t = base + cycle * 0.2
            out += [(t, "full"), (t + rest * rng.uniform(0.2, 0.7), "kill"), (t + rest, "free")]
        if cycle >= 60 or i == 1:
            t = base + cycle * 0.7
            while t + rest < base + cycle * 0.95:
                out += [(t, rng.choice(["full", "low"])), (t + rest, "free")]
                t += 600
    return sorted(out)


class Run:
    def __init__(self, args, folder):
        self.args, self.folder, self.seconds = args, folder, args.hours * 3600
        self.rng = random.Random(args.seed)
        self.world = World(args.seed, folder)
        self.disk = Disk(folder, args.disk)
        self.server = Server(self.world, self.disk, folder)
        self.samples = report.Samples(self.seconds)
        self.every = max(1.0, min(self.seconds / 40, self.seconds / 2000 if self.seconds > 10000 else 5.0))
        self.events = collections.Counter()
        self.broken, self.counts, self.latest = [], {}, {}
        self.rough_until, self.is_full, self.driver_rss, self.hole_seconds = 0.0, False, 0, 0.0

    def now(self):
        return time.monotonic() - self.begin

    def go(self):
        if not self.disk.kind:
            print("*** NO FULL DISK in this run: mounting a small file system needs root and unshare; nothing about full disks "
                  "is shown by it ***")
        self.server.start()
        self.world.port = self.server.port
        self.begin = self.life_begin = time.monotonic()
        signal.signal(signal.SIGINT, self.enough)
        self.loads = [kind(self.world) for kind in LOADS if not self.args.only or kind.name in self.args.only]
        for load in self.loads:
            load.start()
            load.far.close()
        try:
            self.main()
            if not self.broken:
                self.finish()
        finally:
            for load in self.loads:
                load.kill()

    def enough(self, *_):
        """SIGINT: the run ends here, and what was seen is judged."""
        self.seconds = self.samples.seconds = self.now()

    def main(self):
        todo = timeline(self.rng, self.seconds, self.disk.kind is not None)
        next_sample, next_minute = self.every, 60
        while self.now() < self.seconds and not self.broken:
            due = min(next_sample, next_minute, self.seconds, todo[0][0] if todo else self.seconds)
            self.hear(max(0.0, due - self.now()))
            while todo and todo[0][0] <= self.now() and not self.broken:
                self.happen(todo.pop(0)[1])
            if self.now() >= next_sample:
                self.sample()
                next_sample = self.now() + self.every
            if self.now() >= next_minute:
                self.progress()
                next_minute += 60 * (1 + int((self.now() - next_minute) / 60))
            if self.server.proc.poll() is not None:
                self.broken.append("the server went by itself: %s\n%s" % (self.server.proc.returncode, self.server.log()[-3000:]))

    def hear(self, seconds):
        """Takes in what loads say, for so long. Where the machine (or somebody) stopped us for seconds, the plan is put off by
        as much: it is not made up for in one burst."""
        due = self.now() + seconds
        self.listen(due)
        late = self.now() - due
        if late > HOLE_SECONDS:
            self.begin += late
            self.rough_until = max(self.rough_until, self.now() + report.CALM_SECONDS)
            self.events["hole"] += 1
            self.hole_seconds += late

    def listen(self, end):
        while True:
            pipes = {load.pipe: load for load in self.loads if not load.pipe.closed}
            ready = multiprocessing.connection.wait(list(pipes), max(0.0, end - self.now()))
            for pipe in ready:
                self.take(pipes[pipe])
            if not ready or self.broken or self.now() >= end:
                return

    def take(self, load):
        try:
            what, said = load.pipe.recv()
        except EOFError:
            load.pipe.close()
            if load.name not in self.latest or not self.latest[load.name].get("done"):
                self.broken.append("%s ended without a word" % load.name)
            return
        if what == "broken":
            self.broken.append(said)
            return
        said["done"] = what == "done"
        self.latest[load.name] = said
        self.counts[load.name] = said["counts"]

    def happen(self, what):
        self.rough_until = self.now() + report.CALM_SECONDS
        if what == "free":
            self.disk.free()
            self.is_full = False
            return
        self.events[what] += 1
        if what in ("full", "low"):
            self.disk.fill(0 if what == "full" else self.args.disk << 16)  # low: a sixteenth is left
            self.is_full = True
            return
        self.restart(signal.SIGKILL if what == "kill" else signal.SIGTERM)

    def restart(self, sig):
        self.samples.lives.append((self.life_begin - self.begin, self.now()))
        try:
            self.server.stop(sig)
            took = self.server.start()
        except (actor.Broken, subprocess.TimeoutExpired) as e:
            self.broken.append(str(e))
            return
        self.life_begin = time.monotonic()
        self.rough_until = self.now() + report.CALM_SECONDS
        self.samples.restarts.append((self.now(), took))

    def yardstick(self):
        """Seconds that a 4 KiB write and its sync take, beside the store; median of five."""
        path = os.path.join(self.disk.where, "yardstick")
        if not os.path.exists(path):
            with open(path, "wb") as f:
                f.write(b"y" * 4096)
        took, fd = [], os.open(path, os.O_RDWR)
        try:
            for _ in range(5):
                begin = time.monotonic()
                os.pwrite(fd, b"y" * 4096, 0)
                os.fdatasync(fd)
                took.append(time.monotonic() - begin)
        finally:
            os.close(fd)
        return sorted(took)[2]

    def sample(self):
        for load in self.loads:
            if not load.pipe.closed:
                load.pipe.send("report")
        self.hear(0.2)
        row = self.server.sample()
        if not row or self.broken:
            return
        window = ((self.server.get("/jsz") or {}).get("millrace", {}).get("journal", {})).get("window_used_bytes")
        if window is not None:
            row["net"] = max(0, row["rss"] - window)
        row.update(t=self.now(), calm=self.now() > self.rough_until and not self.is_full, yardstick=self.yardstick())
        for said in self.latest.values():
            for what, (count, p50, p99, _) in said["lat"].items():
                if count >= 5:
                    row["p50 " + what], row["p99 " + what] = p50, p99
        self.driver_rss = max(self.driver_rss, sum(said["rss"] for said in self.latest.values()))
        for said in self.latest.values():
            said["lat"] = {}
        self.samples.add(row)

    def total(self, what):
        return sum(c.get(what, 0) for c in self.counts.values())

    def progress(self):
        row = self.samples.rows[-1] if self.samples.rows else {}
        health = self.server.get("/healthz?details=1") or {}
        jsz = (self.server.get("/jsz") or {}).get("millrace", {})
        print("%5d s  %d kills, %d stops, %d full disks; %d acknowledged, %d confirmed, %d compared, %d refused; rss %d MiB, "
              "%d files, quarantine %.1f MiB, window %.0f MiB, health %s" % (
                  self.now(), self.events["kill"], self.events["term"], self.events["full"] + self.events["low"],
                  self.total("acknowledged"), self.total("confirmed"), self.total("compared"), self.total("refused"),
                  row.get("rss", 0) >> 20, row.get("files", 0), row.get("quarantine", 0) / (1 << 20),
                  jsz.get("journal", {}).get("window_used_bytes", 0) / (1 << 20), health.get("status")), flush=True)
        if jsz.get("damaged_streams"):
            self.broken.append("damaged streams: %s" % jsz)

    def finish(self):
        """All loads check their ledgers a last time; then the store is looked at while nobody has it."""
        self.disk.free()
        self.is_full = False
        self.samples.lives.append((self.life_begin - self.begin, self.now()))
        for load in self.loads:
            load.pipe.send("end")
        end = self.now() + max(120, self.seconds / 4)
        while not self.broken and any(not self.latest.get(load.name, {}).get("done") for load in self.loads):
            if self.now() > end:
                self.broken.append("not done: %s" % [k.name for k in self.loads if not self.latest.get(k.name, {}).get("done")])
            self.hear(1.0)
        if self.broken:
            return
        self.server.stop(signal.SIGTERM)
        jsadmin = os.environ.get("JSADMIN") or os.path.join(os.path.dirname(server.binary()), "jsadmin")
        if os.path.exists(jsadmin):
            got = subprocess.run([jsadmin, "check", self.server.store], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if got.returncode != 0:
                self.broken.append("jsadmin check: %s" % got.stdout.decode()[-2000:])


def commit():
    got = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return got.stdout.decode().strip() or "unknown"


def result(run):
    lines = run.samples.all_lines()
    judged = run.seconds >= report.JUDGED_SECONDS
    grew = [line[1] for line in lines if line[7] == "GREW"]
    print(report.table(lines))
    for name, counts in sorted(run.counts.items()):
        print("%-6s %s" % (name, ", ".join("%s %d" % kv for kv in sorted(counts.items()))))
    for words, count in run.server.lines.most_common(25):
        print("log %5d x %s" % (count, words[:180]))
    for line in run.server.serious[:20]:
        print("SERIOUS %s" % line)
    for text in run.broken:
        print("BROKEN %s" % text)
    print("%d s, %d kills, %d clean stops, %d full disks (%s), driver's own memory %d MiB at most" % (
        run.now(), run.events["kill"], run.events["term"], run.events["full"] + run.events["low"],
        run.disk.kind or "NONE: no small file system could be mounted", run.driver_rss >> 20))
    if run.events["hole"]:
        print("stood still %d times, for %d s in all, and was put off by that" % (run.events["hole"], run.hole_seconds))
    print("acknowledged %d, confirmed acks %d, compared with the ledgers %d: %s" % (
        run.total("acknowledged"), run.total("confirmed"), run.total("compared"),
        "LOST OR WRONG" if run.broken else "nothing lost"))
    print("growth: %s" % ("; ".join(grew) if grew else "none") + ("" if judged else " (shown, not judged: less than %d s)"
                                                                % report.JUDGED_SECONDS))
    bad = bool(run.broken) or bool(run.server.serious) or (judged and bool(grew))
    with open(run.args.json, "w") as f:
        json.dump({"seed": run.args.seed, "hours": run.args.hours, "commit": commit(), "machine": platform.platform(),
                   "cores": os.cpu_count(), "disk": run.disk.kind, "passed": not bad, "broken": run.broken,
                   "serious": run.server.serious, "events": dict(run.events), "counts": run.counts,
                   "restarts_s": run.samples.restarts, "lines": [list(line) for line in lines],
                   "tolerance": report.TOLERANCE, "samples": run.samples.rows}, f)
    return bad


def in_namespace():
    """Mounts of our own, which go with us."""
    if os.geteuid() == 0 and os.environ.get("SOAK_NAMESPACE") is None:
        own = ["unshare", "-m", "--propagation", "private"]
        works = shutil.which("unshare") and subprocess.call(own + ["true"], stderr=subprocess.DEVNULL) == 0
        os.environ["SOAK_NAMESPACE"] = "1" if works else "0"
        if works:
            os.execvp(own[0], own + [sys.executable] + sys.argv)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--hours", type=float, default=0.5)
    p.add_argument("--seed", type=int, default=None)
    p.add_argument("--json", default=os.path.join(server.ROOT, "build", "soak.json"))
    p.add_argument("--disk", type=int, default=1536)
    p.add_argument("--only", nargs="*", default=[], help="names of loads")
    p.add_argument("--keep", action="store_true", help="keep ledgers and logs")
    args = p.parse_args()
    in_namespace()
    if args.seed is None:
        args.seed = int(time.time())
    os.makedirs(os.path.dirname(args.json), exist_ok=True)
    folder = os.path.join(os.path.dirname(os.path.abspath(args.json)), "soak-%d" % os.getpid())
    os.makedirs(folder)
    print("soak: seed %d, %.0f s; again: make soak HOURS=%g SOAK_SEED=%d" % (
        args.seed, args.hours * 3600, args.hours, args.seed), flush=True)
    run = Run(args, folder)
    print("disk: %s" % run.disk.kind, flush=True)
    bad = True
    try:
        run.go()
        bad = result(run)
    finally:
        if run.server.life and run.server.proc.poll() is None:
            run.server.proc.kill()
            run.server.proc.wait()
        if run.disk.kind:
            if bad:  # what a failure left behind, as far as it is small
                subprocess.call(["cp", "-a", run.server.store, os.path.join(folder, "store-kept")])
            subprocess.call(["umount", "-l", run.disk.where])
        if not bad and not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            image = os.path.join(folder, "image")
            if os.path.exists(image):
                os.remove(image)
            print("kept: %s" % folder)
    print("%d passed, %d failed" % (not bad, bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
