"""The rows of `make bench`. A row sets a server up, is run once to warm it, then measured; what it returns: messages moved,
the rate a client saw, latencies where it has them, and how much of a core the load generator took.

`load` and `reader` are our own generators (load.c, reader.c), pinned beside the server; `nats bench` is the Go client's. Large
rows (a GiB, a million keys, ten million messages) run when they are asked for by name, or with LARGE=1."""
import json
import os
import re
import subprocess
import tempfile
import time

import natsraw


class Row:
    """goal: the ratio of rates that counts as met; memory: what our peak may be of theirs, where that is asked for."""

    def __init__(self, title, run, against="", peer_conf="", served=None, large=False, goal=1.0, memory=None):
        self.title, self.run, self.against, self.peer_conf, self.served = title, run, against, peer_conf, served
        self.large, self.goal, self.memory = large, goal, memory


class Ctx:
    """One server under load."""

    def __init__(self, port, cli, load, scale, pin, server=None):
        self.port, self.cli, self.load_exe, self.scale, self.pin = port, cli, load, scale, pin
        self.server = server
        self.mark = None  # a call: CPU, bytes and syncs count from here on; gives the peak so far, in KiB

    def n(self, messages):
        return max(64, int(messages * self.scale))

    def start(self, mode, exe="load", **opts):
        cmd = self.pin + [os.path.join(os.path.dirname(self.load_exe), exe), mode, "--port", str(self.port)]
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

    def reader(self, mode, **opts):
        return self.end(self.start(mode, exe="reader", **opts), "reader " + mode)

    def nats(self, *args):
        if not os.path.exists(self.cli):
            raise RuntimeError("the nats CLI is not here")
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
        window = max(1, min(1000, (64 << 20) // (size * conns)))  # in all below the 128 MiB that nats-server lets wait
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


def pushed(stream, filter_subject, **cfg):
    """What the clients' ordered consumers, watches and object reads ask for."""
    return {"request": "$JS.API.CONSUMER.CREATE." + stream, "body": json.dumps({"stream_name": stream, "config": dict(
        deliver_subject="%d", filter_subject=filter_subject, ack_policy="none", max_deliver=1, mem_storage=True, num_replicas=1,
        flow_control=True, idle_heartbeat=5000000000, replay_policy="instant", **{"deliver_policy": "all", **cfg})})}


def ordered_push(messages):
    def run(c):
        n = c.n(messages)
        c.stream()
        c.load("async", conns=1, msgs=n, size=128)
        return c.reader("push", msgs=n, **pushed("BENCH", "bench.>"))
    return run


def pulling(messages, conns, **cfg):
    """As nats.go's Consume: 500 in flight, asked for again at half; ordered consumers of the newer API are of this kind too."""
    acks = cfg.get("ack_policy") == "explicit"

    def run(c):
        n = c.n(messages)
        c.stream()
        c.load("async", conns=1, msgs=n, size=128)
        with natsraw.Conn(port=c.port, timeout=30) as r:
            r.api("CONSUMER.CREATE.BENCH.pull", json.dumps({"stream_name": "BENCH", "config": dict(
                name="pull", deliver_policy="all", replay_policy="instant", **cfg)}))
        return c.reader("pull", conns=conns, msgs=n, request="$JS.API.CONSUMER.MSG.NEXT.BENCH.pull", ack=int(acks))
    return run


def bucket(c, name="KV_BENCHKV", keys=0):
    """As the clients make a bucket with one value a key; with `keys`, each is put once."""
    c.stream(name=name, subjects=("$KV.BENCHKV.>",), max_msgs_per_subject=1, discard="new", allow_rollup_hdrs=True, deny_delete=True,
             allow_direct=True, duplicate_window=120000000000)
    if keys > 0:
        c.load("async", conns=4, msgs=keys, size=128, subject="$KV.BENCHKV", subjects=keys)


def kv_put(conns, messages):
    def run(c):
        bucket(c)
        return c.load("sync", conns=conns, msgs=c.n(messages), size=128, subject="$KV.BENCHKV", subjects=10000)
    return run


def kv_get(conns, messages, keys):
    def run(c):
        keys_n = c.n(keys)
        bucket(c, keys=keys_n)
        return c.reader("get", conns=conns, msgs=c.n(messages), subject="$JS.API.DIRECT.GET.KV_BENCHKV.$KV.BENCHKV", subjects=keys_n)
    return run


def kv_watch(keys, headers_only, restarted):
    """restarted: of a bucket at rest; the peak is that of what is read, not of what was written. Else the bucket is loaded in the
    same life of the server, and the peak is that of both; rate and CPU are of the reading alone either way."""
    def run(c):
        n, more = c.n(keys), {}
        bucket(c, keys=n)
        if restarted:
            c.server.restart(kill=False)  # on the same port
        else:
            more["loaded_kib"] = c.mark()
        return {**c.reader("push", msgs=n, **pushed("KV_BENCHKV", "$KV.BENCHKV.>", deliver_policy="last_per_subject",
                                                    headers_only=headers_only)), **more}
    return run


def obj_c(kind, mebibytes):
    """The chunks of an object as the clients write and read them, without their digest, of bytes that do not compress; messages
    are MiB."""
    def run(c):
        n = c.n(mebibytes * 8)
        c.stream(name="OBJ_BENCHOBJ", subjects=("$O.BENCHOBJ.C.>", "$O.BENCHOBJ.M.>"), discard="new", allow_rollup_hdrs=True,
                 allow_direct=True)
        got = c.load("async", conns=1, msgs=n, size=131072, window=512, random=1, subject="$O.BENCHOBJ.C.nuid")
        if kind == "get":
            got = c.reader("push", msgs=n, **pushed("OBJ_BENCHOBJ", "$O.BENCHOBJ.C.nuid"))
        return {**got, "msgs": n / 8, "msgs_per_s": got["msgs_per_s"] / 8}
    return run


def creation(messages, one_in):
    """Consumers whose filter matches one subject of `one_in`: the first half names it, the second half is a wildcard."""
    def run(c):
        subjects = c.n(one_in)
        n = c.n(messages) // subjects * subjects
        c.stream(subjects=("many.>",))
        c.load("async", conns=4, msgs=n, size=128, subject="many.x", subjects=subjects)
        took = []
        with natsraw.Conn(port=c.port, timeout=60) as r:
            for i in range(20):
                subject = "many.%s.%d" % ("x" if i < 10 else "*", i * 997 % subjects)
                body = json.dumps({"stream_name": "BENCH", "config": {
                    "name": "c%d" % i, "filter_subject": subject, "ack_policy": "explicit", "deliver_policy": "all"}})
                began = time.monotonic()
                info = r.api("CONSUMER.CREATE.BENCH.c%d.%s" % (i, subject), body)
                took.append((time.monotonic() - began) * 1e6)
                if info["num_pending"] != n // subjects:
                    raise RuntimeError("num_pending %d, not %d" % (info["num_pending"], n // subjects))
        took.sort()
        return {"msgs": len(took), "msgs_per_s": len(took) / sum(took) * 1e6, "load_core": 0, "p50_us": took[10], "p99_us": took[18],
                "p999_us": took[19]}
    return run


def pipelined(r, n, request, waiting=64):
    """Seconds for n API requests with so many in flight on one connection."""
    inbox, sid = r.new_inbox()
    sent = 0
    began = time.monotonic()
    for answered in range(n):
        while sent < n and sent - answered < waiting:
            r.pub("$JS.API." + request(sent)[0], request(sent)[1], reply=inbox)
            sent += 1
        m = r.next(sid, 60)
        if b'"error"' in m.data:
            raise RuntimeError(m.data[:300])
    return time.monotonic() - began


def watcher(i, deliver):
    """A client's watch of one key, as kv.Watch makes it."""
    name, key = "w%d" % i, "$KV.BENCHKV.%d" % i
    return "CONSUMER.CREATE.KV_BENCHKV.%s.%s" % (name, key), json.dumps({"stream_name": "KV_BENCHKV", "config": {
        "name": name, "deliver_subject": "%s.%d" % (deliver, i), "deliver_policy": "last_per_subject", "ack_policy": "none",
        "filter_subject": key, "max_deliver": 1, "mem_storage": True, "inactive_threshold": 300000000000}}).encode()


def watches(n):
    """Watchers made, and taken away again, 64 requests in flight."""
    def run(c):
        bucket(c)
        with natsraw.Conn(port=c.port, timeout=60) as r:
            r.sub("watch.>")
            c.mark()
            took = pipelined(r, c.n(n), lambda i: watcher(i, "watch"))
            took += pipelined(r, c.n(n), lambda i: ("CONSUMER.DELETE.KV_BENCHKV.w%d" % i, b""))
        return {"msgs": 2 * c.n(n), "msgs_per_s": 2 * c.n(n) / took, "load_core": 0}
    return run


def watched(messages, watchers):
    """Puts into a bucket with so many watchers, one key each: what they cost the puts that concern few of them."""
    def run(c):
        bucket(c)
        with natsraw.Conn(port=c.port, timeout=60) as r:
            r.sub("watch.>")
            pipelined(r, watchers, lambda i: watcher(i, "watch"))
            c.mark()
            return c.load("async", conns=4, msgs=c.n(messages), size=128, subject="$KV.BENCHKV", subjects=20 * watchers)
    return run


def limited(messages, subjects):
    """Publishes under max_msgs_per_subject=1; `share`: of the rate the same server has without the limit."""
    def run(c):
        n, rate = c.n(messages), {}
        for limit in (-1, 1):
            c.stream(subjects=("many.>",), max_msgs_per_subject=limit)
            rate[limit] = c.load("async", conns=4, msgs=n, size=128, subject="many", subjects=c.n(subjects))
        return {**rate[1], "msgs": 2 * n, "share": rate[1]["msgs_per_s"] / rate[-1]["msgs_per_s"]}
    return run


def first_puback(c):
    """Seconds from the server's start to the ack of a publish that is tried over and over."""
    began = time.monotonic()
    c.server.start(wait=False)
    while True:
        try:
            with natsraw.Conn(port=c.port, timeout=60) as r:
                r.request("probe", b"x")
            return time.monotonic() - began
        except (OSError, natsraw.Closed):
            if c.server.proc.poll() is not None:
                raise RuntimeError("the server did not start again: " + c.server.log()[-400:])
            os.sched_yield()


def restart(messages, subjects):
    """Starts after SIGKILL, on a store with a durable consumer; the rate is starts a second."""
    def run(c):
        n = c.n(messages)
        c.stream(subjects=("many.>",))
        c.stream(name="PROBE", subjects=("probe",))
        c.load("async", conns=4, msgs=n, size=128, subject="many", subjects=c.n(subjects))
        with natsraw.Conn(port=c.port, timeout=30) as r:
            r.api("CONSUMER.CREATE.BENCH.half", json.dumps({"stream_name": "BENCH", "config": {
                "durable_name": "half", "ack_policy": "explicit"}}))
        took = []
        for _ in range(3):
            c.server.kill()
            took.append(first_puback(c))
        with natsraw.Conn(port=c.port, timeout=60) as r:
            if r.api("STREAM.INFO.BENCH")["state"]["messages"] != n:
                raise RuntimeError("messages are missing after SIGKILL")
        took = sorted(t * 1e6 for t in took)
        # CPU is told per million of "msgs": of one start, here
        return {"msgs": 1000000, "msgs_per_s": 1e6 / took[1], "load_core": 0, "p50_us": took[1], "p99_us": took[2], "p999_us": took[2]}
    return run


LAZY, ALWAYS = "theirs lazy", "theirs sync always"
SYNC_CONF = 'jetstream { sync_interval: "always" }\n'


def reading_rows():
    none = {"ack_policy": "none", "mem_storage": True, "inactive_threshold": 300000000000, "max_deliver": 1}
    each = {"ack_policy": "explicit", "ack_wait": 30000000000, "durable_name": "pull"}
    out = [
        Row("ordered read by push, 128 B", ordered_push(2000000), goal=1.5),
        Row("ordered read by pull, 128 B", pulling(1000000, 1, **none), goal=1.5),
        Row("pull with explicit acks, 128 B, 4 clients", pulling(400000, 4, **each), goal=1.5),
        Row("KV put, 128 B, 16 clients", kv_put(16, 40000), LAZY, goal=1.5),
        Row("KV put, 128 B, 16 clients", kv_put(16, 10000), ALWAYS, SYNC_CONF, goal=1.5),
        Row("KV get, 128 B, 1 client", kv_get(1, 50000, 100000), goal=1.5),
        Row("KV get, 128 B, 16 clients", kv_get(16, 400000, 100000), goal=1.5),
        Row("KV get, 128 B, 16 clients, 1,000,000 keys", kv_get(16, 400000, 1000000), large=True, goal=1.5),
        Row("KV watchers made and deleted, 64 in flight", watches(5000)),
        Row("KV put async, 5,000 watchers of a key each", watched(200000, 5000), LAZY),
        Row("publish, 1 message a subject of 100,000", limited(1000000, 100000), LAZY),
        Row("KV keys of 1,000,000, restarted", kv_watch(1000000, True, True), large=True, goal=2.0, memory=0.5),
        Row("KV keys of 1,000,000, load counted", kv_watch(1000000, True, False), large=True, goal=2.0, memory=0.5),
        Row("KV watch of 1,000,000, restarted", kv_watch(1000000, False, True), large=True, goal=2.0, memory=0.5),
        Row("KV watch of 1,000,000, load counted", kv_watch(1000000, False, False), large=True, goal=2.0, memory=0.5),
        Row("consumer for 1 in 100,000 of 10 million", creation(10000000, 100000), large=True),
    ]
    for kind in ("put", "get"):
        out.append(Row("object %s, 1 GiB (MiB/s)" % kind, obj_c(kind, 1024), LAZY if kind == "put" else "", large=True, goal=1.5))
    out.append(Row("object put, 1 GiB (MiB/s)", obj_c("put", 1024), ALWAYS, SYNC_CONF, large=True, goal=1.5))
    return out


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
    out += reading_rows()
    out.append(Row("restart after SIGKILL, 1,000,000 messages", restart(1000000, 10000)))
    out.append(Row("restart after SIGKILL, 5,000,000 messages", restart(5000000, 10000), large=True))
    for what in ("leaf node", "cluster of 3", "TLS", "WebSocket"):
        out.append(Row(what, None, served="not served"))
    return out
