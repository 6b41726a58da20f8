"""What nats.py offers, used as its documentation says, against whatever server NATS_URL names. One line a case on stdout:
"ok name" or "FAIL name: why". "RESTART" asks the caller to kill the server with SIGKILL and start it again."""
import asyncio
import hashlib
import os
import sys
import traceback

import nats
from nats.errors import NoRespondersError, TimeoutError as NatsTimeout
from nats.js import api
from nats.js.errors import APIError, BadRequestError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.errors import NotFoundError, ObjectNotFoundError

CASES = []


def case(fn):
    CASES.append(fn)
    return fn


def same(got, want, what):
    assert got == want, "%s: got %r, want %r" % (what, got, want)


async def fails(coroutine, kind, text=""):
    try:
        await coroutine
    except kind as e:
        assert text in str(e), "%r does not say %r" % (e, text)
        return e
    raise AssertionError("it worked, %s expected" % kind)


class Client:
    def __init__(self):
        self.back = asyncio.Event()
        self.nc = self.js = None

    async def connect(self):
        async def reconnected():
            self.back.set()

        async def silent(_):  # refused connections while the server is away
            pass
        self.nc = await nats.connect(os.environ["NATS_URL"], max_reconnect_attempts=-1, reconnect_time_wait=0.02,
                                     reconnected_cb=reconnected, error_cb=silent)
        self.js = self.nc.jetstream(timeout=10)
        return self

    async def filled(self, name, count, **config):
        await self.js.add_stream(name=name, subjects=[name + ".*"], **config)
        for i in range(count):
            await self.js.publish("%s.%d" % (name, i % 3), b"%d" % i)


@case
async def core(c):
    """core publish, subscribe, headers, queue groups"""
    sub = await c.nc.subscribe("core.*.x")
    await c.nc.publish("core.a.x", b"hello", reply="back", headers={"Kind": "a"})
    m = await sub.next_msg(5)
    same((m.data, m.reply, m.headers), (b"hello", "back", {"Kind": "a"}), "message")
    hits, done = [0, 0], asyncio.Event()

    def worker(i):
        async def hit(_):
            hits[i] += 1
            if sum(hits) == 100:
                done.set()
        return hit
    subs = [await c.nc.subscribe("job", queue="q", cb=worker(i)) for i in range(2)]
    for _ in range(100):
        await c.nc.publish("job", b"")
    await asyncio.wait_for(done.wait(), 5)
    assert all(hits), hits
    for s in subs:
        await s.unsubscribe()


@case
async def requests(c):
    """core request, no responders"""
    async def answer(m):
        await m.respond(b"<" + m.data + b">")
    sub = await c.nc.subscribe("svc", cb=answer)
    same((await c.nc.request("svc", b"q", timeout=5)).data, b"<q>", "answer")
    await sub.unsubscribe()
    await c.nc.flush()
    await fails(c.nc.request("svc", b"q", timeout=5), NoRespondersError)


@case
async def streams(c):
    """stream: create, info, update, list, purge, delete"""
    si = await c.js.add_stream(name="S", subjects=["s.>"], max_msgs=1000)
    same((si.config.name, si.config.subjects, si.state.messages), ("S", ["s.>"], 0), "created")
    await fails(c.js.add_stream(name="S", subjects=["t.>"]), BadRequestError, "already in use")
    si = await c.js.update_stream(name="S", subjects=["s.>"], max_msgs=500)
    same(si.config.max_msgs, 500, "updated")
    for i in range(10):
        await c.js.publish("s.odd" if i % 2 else "s.even", b"%d" % i)
    si = await c.js.stream_info("S", subjects_filter=">")
    same((si.state.messages, si.state.subjects), (10, {"s.even": 5, "s.odd": 5}), "state")
    assert "S" in [s.config.name for s in await c.js.streams_info()]
    same(await c.js.find_stream_name_by_subject("s.even"), "S", "find")
    m = await c.js.get_msg("S", 3)
    same((m.subject, m.data, m.seq), ("s.even", b"2", 3), "get")
    same((await c.js.get_last_msg("S", "s.odd")).seq, 10, "last")
    same((await c.js.get_msg("S", seq=3, subject="s.odd", next=True)).seq, 4, "next")
    assert await c.js.delete_msg("S", 3)
    await fails(c.js.get_msg("S", 3), NotFoundError)
    assert await c.js.purge_stream("S", subject="s.odd")
    same((await c.js.stream_info("S")).state.messages, 4, "after purge of a subject")
    assert await c.js.purge_stream("S", keep=1)
    same((await c.js.stream_info("S")).state.messages, 1, "after purge with keep")
    assert await c.js.delete_stream("S")
    await fails(c.js.stream_info("S"), NotFoundError)


@case
async def publish(c):
    """publish: message id, expectations, direct get"""
    await c.js.add_stream(name="P", subjects=["p.*"], allow_direct=True)
    same((await c.js.publish("p.a", b"1", headers={"Nats-Msg-Id": "one"})).seq, 1, "first")
    again = await c.js.publish("p.a", b"1", headers={"Nats-Msg-Id": "one"})
    same((again.seq, again.duplicate), (1, True), "again")

    def expect(**h):
        return c.js.publish("p.b", b"x", headers={"Nats-Expected-" + k.replace("_", "-"): v for k, v in h.items()})
    for header, code in (({"Last_Sequence": "9"}, 10071), ({"Last_Msg_Id": "two"}, 10070), ({"Stream": "Q"}, 10060),
                         ({"Last_Subject_Sequence": "4"}, 10071)):
        e = await fails(expect(**header), APIError)
        same(e.err_code, code, str(header))
    same((await expect(Last_Sequence="1", Last_Msg_Id="one", Stream="P", Last_Subject_Sequence="0")).seq, 2, "all met")
    m = await c.js.get_msg("P", subject="p.b", direct=True)
    same((m.data, m.seq), (b"x", 2), "direct get")
    futures = [await c.js.publish_async("p.c", b"%d" % i) for i in range(500)]
    same([(await f).seq for f in futures], list(range(3, 503)), "500 at once")


@case
async def pull(c):
    """pull consumer: durable, fetch, double ack, ephemeral"""
    await c.filled("PULL", 60)
    sub = await c.js.pull_subscribe("PULL.1", durable="d", stream="PULL")
    batch = await sub.fetch(10, timeout=5)
    same([m.data for m in batch], [b"%d" % (3 * i + 1) for i in range(10)], "first ten")
    same((batch[0].metadata.num_pending, batch[0].metadata.sequence.stream), (19, 2), "metadata")
    for m in batch:
        await m.ack_sync(timeout=5)
    for m in await sub.fetch(10, timeout=5):
        await m.ack()
    await fails(sub.fetch(1, timeout=0.3), NatsTimeout)
    info = await sub.consumer_info()
    same((info.num_pending, info.num_ack_pending, info.ack_floor.stream_seq), (0, 0, 59), "info")
    eph = await c.js.pull_subscribe("PULL.0", stream="PULL")
    same((await eph.fetch(1, timeout=5))[0].data, b"0", "ephemeral")
    same(len(await c.js.consumers_info("PULL")), 2, "list")
    assert await c.js.delete_consumer("PULL", "d")
    await fails(c.js.consumer_info("PULL", "d"), NotFoundError)


@case
async def push(c):
    """push consumer: durable, ephemeral, queue group, ordered"""
    await c.filled("PUSH", 200)
    sub = await c.js.subscribe("PUSH.*", durable="p", manual_ack=True, flow_control=True, idle_heartbeat=0.5)
    for i in range(200):
        m = await sub.next_msg(5)
        same(m.data, b"%d" % i, "pushed")
        await m.ack()
    await c.nc.flush()
    same((await sub.consumer_info()).ack_floor.stream_seq, 200, "floor")
    got = []
    done = asyncio.Event()

    async def hit(m):
        got.append(m.data)
        if len(got) == 200:
            done.set()
    for _ in range(2):
        await c.js.subscribe("PUSH.*", queue="g", durable="g", cb=hit)
    await asyncio.wait_for(done.wait(), 10)
    same(sorted(map(int, got)), list(range(200)), "queue group")
    ordered = await c.js.subscribe("PUSH.2", ordered_consumer=True)
    for i in range(66):
        same((await ordered.next_msg(5)).data, b"%d" % (3 * i + 2), "ordered")


@case
async def acks(c):
    """acks: nak, delay, term, in progress, max deliver"""
    await c.filled("ACK", 4)
    config = api.ConsumerConfig(ack_wait=0.7, max_deliver=3)
    sub = await c.js.pull_subscribe("ACK.*", durable="a", stream="ACK", config=config)
    m1, m2, m3, m4 = await sub.fetch(4, timeout=5)
    await m1.nak()
    await m2.nak(delay=0.3)
    await m3.term()
    await m4.ack_sync(timeout=5)
    r1, = await sub.fetch(1, timeout=5)
    same((r1.metadata.sequence.stream, r1.metadata.num_delivered), (1, 2), "after nak")
    r2, = await sub.fetch(1, timeout=5)
    same((r2.metadata.sequence.stream, r2.metadata.num_delivered), (2, 2), "after nak with delay")

    async def look(times):
        """What comes next while r1 is worked on: a look that ends empty is followed by a beat."""
        for _ in range(times):
            await r1.in_progress()
            try:
                m, = await sub.fetch(1, timeout=0.2)
                return m
            except NatsTimeout:
                pass
    r3 = await look(25)
    same((r3.metadata.sequence.stream, r3.metadata.num_delivered), (2, 3), "after ack_wait")
    same(await look(8), None, "nothing while there are beats")
    await r1.ack_sync(timeout=5)


@case
async def key_value(c):
    """kv: put, get, create, update, delete, purge, history, keys, watch"""
    kv = await c.js.create_key_value(bucket="conf", history=5)
    watcher = await kv.watchall()
    same(await watcher.updates(), None, "nothing at first")
    same(await kv.put("a", b"1"), 1, "put")
    same(await kv.put("a", b"2"), 2, "put again")
    e = await kv.get("a")
    same((e.value, e.revision), (b"2", 2), "get")
    same((await kv.get("a", revision=1)).value, b"1", "get revision")
    await fails(kv.get("zz"), KeyNotFoundError)
    same(await kv.create("b", b"x"), 3, "create")
    await fails(kv.create("b", b"y"), KeyWrongLastSequenceError)
    same(await kv.update("b", b"y", 3), 4, "update")
    await fails(kv.update("b", b"z", 3), KeyWrongLastSequenceError)
    await kv.delete("b")
    await fails(kv.get("b"), KeyNotFoundError)
    same(await kv.create("b", b"again"), 6, "create after delete")
    same([h.revision for h in await kv.history("a")], [1, 2], "history")
    same(sorted(await kv.keys()), ["a", "b"], "keys")
    await kv.purge("a")
    seen = [await watcher.updates() for _ in range(7)]
    same([(w.key, w.operation, w.value) for w in seen],
         [("a", None, b"1"), ("a", None, b"2"), ("b", None, b"x"), ("b", None, b"y"), ("b", "DEL", b""),
          ("b", None, b"again"), ("a", "PURGE", b"")], "watched")
    await watcher.stop()
    status = await kv.status()
    same((status.values, status.history), (5, 5), "status")
    assert await c.js.delete_key_value("conf")


async def until(what, fn):
    """Asks the server again until fn says yes, within ten seconds."""
    end = asyncio.get_running_loop().time() + 10
    while not await fn():
        assert asyncio.get_running_loop().time() < end, what + ": not within 10 s"


async def gone(kv, key):
    try:
        await kv.get(key)
        return False
    except KeyNotFoundError:
        return True


@case
async def kv_ttl(c):
    """kv: key TTL, limit markers, purge TTL, bucket TTL"""
    kv = await c.js.create_key_value(bucket="ttl", history=5, limit_marker_ttl=1)
    watcher = await kv.watchall()
    same(await watcher.updates(), None, "nothing at first")
    same(await kv.create("a", b"1", msg_ttl=1), 1, "create with a TTL")
    await kv.put("b", b"2")
    await kv.purge("b", msg_ttl=1)
    seen = [await watcher.updates(timeout=10) for _ in range(4)]
    same([(e.key, e.operation) for e in seen[:3]], [("a", None), ("b", None), ("b", "PURGE")], "watched")
    await until("the key's end", lambda: gone(kv, "a"))
    assert await kv.create("a", b"again") > 3, "create over the marker"
    same((await kv.status()).marker_ttl, 1, "limit marker TTL")
    await watcher.stop()
    old = await c.js.create_key_value(bucket="aged", ttl=1)
    await old.put("x", b"1")
    await until("the bucket's TTL", lambda: gone(old, "x"))
    assert await c.js.delete_key_value("ttl") and await c.js.delete_key_value("aged")


@case
async def kv_options(c):
    """kv: republish, watch options"""
    sub = await c.nc.subscribe("copy.>")
    kv = await c.js.create_key_value(bucket="opt", history=3, max_value_size=100,
                                     republish=api.RePublish(src=">", dest="copy.>"))
    for key, value in (("x.1", b"a"), ("x.1", b"b"), ("x.2", b"c"), ("y", b"d")):
        await kv.put(key, value)
    await kv.delete("x.2")
    m = await sub.next_msg(timeout=5)
    same((m.subject, m.data, m.headers["Nats-Sequence"]), ("copy.$KV.opt.x.1", b"a", "1"), "republished")
    await fails(kv.put("big", bytes(200)), APIError, "message size exceeds")

    async def initial(keys, **options):
        watcher, got = await kv.watch(keys, **options), []
        while (e := await watcher.updates(timeout=5)) is not None:
            got.append((e.key, e.operation, e.value or b"", e.revision))
        await watcher.stop()
        return got
    latest = [("x.1", None, b"b", 2), ("y", None, b"d", 4), ("x.2", "DEL", b"", 5)]
    same(await initial(">"), latest, "watch all")
    same(await initial("x.*", include_history=True),
         [("x.1", None, b"a", 1), ("x.1", None, b"b", 2), ("x.2", None, b"c", 3), ("x.2", "DEL", b"", 5)], "history")
    same(await initial(">", ignore_deletes=True), latest[:2], "without deletes")
    same(await initial(">", meta_only=True), [(k, o, b"", r) for k, o, _, r in latest], "headers only")
    assert await c.js.delete_key_value("opt")


@case
async def objects(c):
    """object store: put 5 MB, get, info, list, delete, watch"""
    store = await c.js.create_object_store("files")
    watcher = await store.watch(include_history=True)
    same(await watcher.updates(), None, "nothing at first")
    data = bytes(bytearray((i * 31 + (i >> 11)) & 255 for i in range(5 << 20)))
    info = await store.put("big", data)
    same((info.size, info.chunks), (len(data), 40), "put")
    got = await store.get("big")
    same(hashlib.sha256(got.data).digest(), hashlib.sha256(data).digest(), "bytes")
    await store.put("small", b"hi")
    same((await store.get_info("small")).size, 2, "info")
    same(sorted(i.name for i in await store.list()), ["big", "small"], "list")
    await store.delete("big")
    await fails(store.get("big"), ObjectNotFoundError)
    same([(i.name, bool(i.deleted)) for i in [await watcher.updates() for _ in range(3)]],
         [("big", False), ("small", False), ("big", True)], "watched")
    await watcher.stop()
    assert await c.js.delete_object_store("files")


@case
async def drain(c):
    """drain"""
    other = await Client().connect()
    count = [0]

    async def hit(_):
        count[0] += 1
    await other.nc.subscribe("drain.me", cb=hit)
    await other.nc.flush()
    for _ in range(1000):
        await c.nc.publish("drain.me", b"x")
    await c.nc.flush()
    await other.nc.flush()
    await other.nc.drain()
    same((count[0], other.nc.is_closed), (1000, True), "drained")


@case
async def reconnect(c):
    """reconnect after kill -9"""
    await c.js.add_stream(name="R", subjects=["r"])
    for i in range(50):
        await c.js.publish("r", b"%d" % i)
    pulled = await c.js.pull_subscribe("r", durable="r", stream="R", config=api.ConsumerConfig(ack_wait=60))
    for m in await pulled.fetch(20, timeout=5):
        await m.ack_sync(timeout=5)
    sub = await c.nc.subscribe("after")
    c.back.clear()
    print("RESTART", flush=True)
    await asyncio.wait_for(c.back.wait(), 20)
    await c.nc.publish("after", b"hello")
    same((await sub.next_msg(5)).data, b"hello", "subscription after reconnect")
    same((await c.js.publish("r", b"50")).seq, 51, "publish after reconnect")
    rest = await pulled.fetch(31, timeout=10)
    # A server that confirms acks before they are on disk may give some of the first twenty again.
    if os.environ.get("ACKS_HOLD"):
        same([m.data for m in rest], [b"%d" % i for i in range(20, 51)], "exactly the rest")


async def main():
    c = await Client().connect()
    failed = 0
    for fn in CASES:
        try:
            await asyncio.wait_for(fn(c), 25)
            print("ok " + fn.__doc__, flush=True)
        except Exception:
            failed += 1
            print("FAIL %s: %s" % (fn.__doc__, traceback.format_exc().strip().replace("\n", " | ")), flush=True)
    print("%d passed, %d failed" % (len(CASES) - failed, failed))
    return 1 if failed else 0


sys.exit(asyncio.run(main()))
