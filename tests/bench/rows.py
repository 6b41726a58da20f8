"""The rows of `make bench`. A row sets a server up, is run once to warm it, then measured; what it returns: messages moved,
the rate a client saw, latencies where it has them, and how much of a core the load generator took.

`load` is our own generator (load.c), pinned beside the server; `nats bench` is the Go client's."""
import json
import os
import re
import subprocess
import tempfile
import time

import natsraw


class Row:
    def __init__(self, title, run, against="", peer_conf="", served=None):
        self.title, self.run, self.against, self.peer_conf, self.served = title, run, against, peer_conf, served


class Ctx:
    """One server under load."""

    def __init__(self, port, cli, load, scale, pin):
        self.port, self.cli, self.load_exe, self.scale, self.pin = port, cli, load, scale, pin

    def n(self, messages):
        return max(64, int(messages * self.scale))

    def start(self, mode, **opts):
        cmd = self.pin + [self.load_exe, mode, "--port", str(self.port)]
        for k, v in opts.items():
            cmd += ["--" + k, str(v)]
        return subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @staticmethod
    def end(p, what):
        out, err = p.communicate(timeout=300)
        if p.returncode != 0:
            raise RuntimeError("%s: %s" % (what, err.strip()))
        return json.loads(out.strip().splitlines()[-1])

    def load(self, mode, **opts):
        return self.end(self.start(mode, **opts), "load " + mode)

    def nats(self, *args):
        p = subprocess.run(self.pin + [self.cli, "-s", "nats://127.0.0.1:%d" % self.port, *args], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=300)
        if p.returncode != 0:
            raise RuntimeError("nats %s: %s" % (" ".join(args), p.stdout[-400:]))
        return p.stdout

    def bench(self, what, *args):
        """`nats bench ...`; the aggregated rate when there is one."""
        before = os.times()
        began = time.monotonic()
        out = self.nats("bench", *args, "--no-progress")
        took = time.monotonic() - began
        after = os.times()
        found = re.findall(r"stats: ([\d,]+) msgs/sec", out)
        if not found:
            raise RuntimeError("no figure of %s in:\n%s" % (what, out))
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return {"msgs_per_s": float(found[-1].replace(",", "")), "load_core": cpu / took}

    def stream(self, name="BENCH", subjects=("bench.>",), **cfg):
        with natsraw.Conn(port=self.port, timeout=30) as c:
            try:
                c.api("STREAM.DELETE." + name)
            except natsraw.ApiError:
                pass
            c.api("STREAM.CREATE." + name, json.dumps(dict(name=name, subjects=list(subjects), **cfg)))


def core(pubs, subs, size, messages):
    def run(c):
        n = c.n(messages)
        n -= n % pubs
        listeners = c.start("sub", conns=subs, msgs=n, size=size)
        if listeners.stdout.readline().strip() != "ready":
            raise RuntimeError("load sub: " + listeners.stderr.read())
        talkers = c.start("pub", conns=pubs, msgs=n, size=size)
        sent = c.end(talkers, "load pub")
        got = c.end(listeners, "load sub")
        return {"msgs": n * (1 + subs), "msgs_per_s": got["msgs_per_s"],
                "load_core": max(got["load_core"], sent["load_core"])}
    return run


def request_reply(conns, messages):
    def run(c):
        n = c.n(messages)
        answers = c.start("rep", conns=1, msgs=n, size=16, subject="bench.rr")
        answers.stdout.readline()
        got = c.load("req", conns=conns, msgs=n, size=16, subject="bench.rr")
        c.end(answers, "load rep")
        return {"msgs": n, **got}
    return run


def publish(mode, conns, size, messages, streams=1):
    def run(c):
        n = c.n(messages)
        window = max(1, min(1000, (8 << 20) // size))
        if streams == 1:
            c.stream()
            return c.load(mode, conns=conns, msgs=n, size=size, window=window)
        with natsraw.Conn(port=c.port, timeout=60) as r:
            for i in range(streams):
                r.api("STREAM.CREATE.B%d" % i, json.dumps({"name": "B%d" % i, "subjects": ["many.%d" % i]}))
        return c.load(mode, conns=conns, msgs=n, size=size, window=window, subject="many", subjects=streams)
    return run


def reading(kind, messages, *more):
    def run(c):
        n = c.n(messages)
        c.stream()
        c.load("async", conns=1, msgs=n, size=128)
        got = c.bench(kind, "js", *more, "--stream", "BENCH", "--msgs", str(n))
        return {"msgs": n, **got}
    return run


def kv(kind, messages):
    def run(c):
        n = c.n(messages)
        try:
            c.nats("kv", "add", "BENCHKV")
        except RuntimeError:
            pass
        if kind == "get":
            c.bench("kv put", "kv", "put", "--bucket", "BENCHKV", "--msgs", str(n), "--size", "128")
        if kind == "watch":
            c.bench("kv put", "kv", "put", "--bucket", "BENCHKV", "--msgs", str(n), "--size", "128")
            began = time.monotonic()
            listed = len(c.nats("kv", "ls", "BENCHKV").splitlines())
            took = time.monotonic() - began
            return {"msgs": listed, "msgs_per_s": listed / took, "load_core": 0}
        got = c.bench("kv " + kind, "kv", kind, "--bucket", "BENCHKV", "--msgs", str(n),
                      *(["--size", "128"] if kind == "put" else []))
        return {"msgs": n, **got}
    return run


def obj(kind, mebibytes):
    def run(c):
        size = max(1, int(mebibytes * c.scale))
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "o")
            with open(path, "wb") as f:
                for _ in range(size):
                    f.write(os.urandom(1 << 20))
            try:
                c.nats("object", "add", "BENCHOBJ")
            except RuntimeError:
                pass
            began = time.monotonic()
            c.nats("object", "put", "BENCHOBJ", path, "--name", "o", "--force", "--no-progress")
            took = time.monotonic() - began
            if kind == "get":
                began = time.monotonic()
                c.nats("object", "get", "BENCHOBJ", "o", "-O", path + ".2", "--force", "--no-progress")
                took = time.monotonic() - began
        return {"msgs": size, "msgs_per_s": size / took, "load_core": 0}
    return run


LAZY, ALWAYS = "theirs lazy", "theirs sync always"
SYNC_CONF = 'jetstream { sync_interval: "always" }\n'


def rows():
    out = []
    for pubs, subs in ((1, 1), (1, 8), (8, 1), (8, 8)):
        for size, label, n in ((16, "16 B", 1600000), (128, "128 B", 1200000), (4096, "4 KiB", 200000), (65536, "64 KiB", 16000)):
            out.append(Row("core %d:%d %s" % (pubs, subs, label), core(pubs, subs, size, n // (subs if subs > 1 else 1))))
    for conns in (1, 16):
        out.append(Row("request-reply, %d waiting" % conns, request_reply(conns, 40000 if conns == 1 else 100000)))
    for mode in ("async", "sync"):
        for conns in (1, 16):
            for size, label, n in ((128, "128 B", 400000), (1024, "1 KiB", 200000), (131072, "128 KiB", 4000)):
                if mode == "sync":
                    n = n // 40 if conns == 1 else n // 10 if size < 100000 else 2000
                for against, conf in ((LAZY, ""), (ALWAYS, SYNC_CONF)):
                    title = "%s publish %s, %d client%s" % (mode, label, conns, "s" if conns > 1 else "")
                    slow = 20 if conf and mode == "async" else 4 if conf else 1
                    out.append(Row(title, publish(mode, conns, size, max(200, n // slow)), against, conf))
    out.append(Row("async publish 128 B, 1,000 streams", publish("async", 16, 128, 200000, streams=1000), LAZY))
    out.append(Row("ordered consumer, 128 B", reading("ordered", 400000, "ordered")))
    out.append(Row("pull consume, 128 B, explicit acks", reading("consume", 200000, "consume", "--acks", "explicit")))
    out.append(Row("pull consume, 128 B, no acks", reading("consume", 300000, "consume", "--acks", "none")))
    out.append(Row("pull fetch, 128 B, explicit acks", reading("fetch", 100000, "fetch", "--acks", "explicit")))
    for kind, n in (("put", 10000), ("get", 20000), ("watch", 20000)):
        out.append(Row("key-value %s, 128 B" % kind, kv(kind, n), LAZY if kind == "put" else ""))
    for kind in ("put", "get"):
        out.append(Row("object %s, 64 MiB (MiB/s)" % kind, obj(kind, 64), LAZY if kind == "put" else ""))
    for what in ("leaf node", "cluster of 3", "TLS", "WebSocket"):
        out.append(Row(what, None, served="not served"))
    return out
