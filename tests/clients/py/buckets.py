"""Buckets through nats-py, unmodified: `buckets.py write BUCKET` fills a key-value and an object bucket of that name,
`buckets.py read BUCKET` checks what tests/integration/buckets.py expects to stand in them, whoever wrote it. NATS_URL names
the server; one line `ok what` or `FAIL what` per check."""
import asyncio
import hashlib
import os
import sys

import nats
from nats.js import api
from nats.js.errors import KeyDeletedError, KeyNotFoundError, KeyWrongLastSequenceError, NotFoundError

LARGE = bytes((i * 31 + (i >> 8)) & 255 for i in range(1000003))
BIG = b"b" * 100000
failed = 0


def check(what, got, want):
    global failed
    if got == want:
        print("ok " + what)
    else:
        failed += 1
        print("FAIL %s: %.300r, not %.300r" % (what, got, want))


async def write(js, bucket):
    kv = await js.create_key_value(bucket=bucket, history=5, description="by nats-py")
    await kv.put("color", b"red")
    await kv.put("color", b"blue")
    rev = await kv.create("size.of", b"1")
    await kv.update("size.of", b"2", rev)
    await kv.put("gone", b"x")
    await kv.delete("gone")
    await kv.put("wiped", b"x")
    await kv.purge("wiped")
    await kv.put("bin", b"\x00\xff\x01")
    await kv.put("big", BIG)
    obs = await js.create_object_store(bucket=bucket)
    await obs.put("small", b"0123456789")
    await obs.put("large", LARGE)
    await obs.put("empty", b"")
    # nats-py 2.16.0 refuses every rename
    await obs.put("new näme", b"renamed")
    await obs.update_meta("new näme", api.ObjectMeta(name="new näme", description="d"))
    await obs.put("dropped", b"x" * 200000)
    await obs.delete("dropped")


async def history(kv, key):
    return [(e.operation or "PUT", e.value or b"") for e in await kv.history(key)]


async def value(kv, key):
    try:
        return (await kv.get(key)).value
    except (KeyNotFoundError, KeyDeletedError):
        return None


async def watched(kv):
    seen = []
    watcher = await kv.watchall()
    async for e in watcher:
        if e is None:
            break
        seen.append((e.key, e.operation or "PUT"))
    await watcher.stop()
    return sorted(seen)


async def read_kv(js, bucket):
    kv = await js.key_value(bucket)
    check("keys", sorted(await kv.keys()), ["big", "bin", "color", "size.of"])
    check("value", await value(kv, "color"), b"blue")
    check("binary value", await value(kv, "bin"), b"\x00\xff\x01")
    check("big value", await value(kv, "big"), BIG)
    check("deleted key", await value(kv, "gone"), None)
    check("history", await history(kv, "color"), [("PUT", b"red"), ("PUT", b"blue")])
    check("history with a delete", await history(kv, "gone"), [("PUT", b"x"), ("DEL", b"")])
    check("history with a purge", await history(kv, "wiped"), [("PURGE", b"")])
    check("watch", await watched(kv), [("big", "PUT"), ("bin", "PUT"), ("color", "PUT"), ("gone", "DEL"), ("size.of", "PUT"),
                                       ("wiped", "PURGE")])
    entry = await kv.get("size.of")
    try:
        await kv.update("size.of", b"3", entry.revision - 1)
        check("stale update", "taken", "refused")
    except KeyWrongLastSequenceError:
        check("stale update", "refused", "refused")
    check("update", await kv.update("size.of", entry.value, entry.revision) > entry.revision, True)
    check("create over a marker", await kv.create("gone", b"y") > 0, True)
    await kv.delete("gone")
    status = await kv.status()
    check("status", (status.history, status.bucket), (5, bucket))


async def read_objects(js, bucket):
    obs = await js.object_store(bucket)
    names = sorted(i.name for i in await obs.list() if not i.deleted)
    check("objects", [n for n in names if n != "link"], ["empty", "large", "new näme", "small"])
    for name, data in (("small", b"0123456789"), ("large", LARGE), ("new näme", b"renamed")):
        got = await obs.get(name)
        check("object " + name, hashlib.sha256(got.data or b"").hexdigest(), hashlib.sha256(data).hexdigest())
    info = await obs.get_info("empty")
    check("empty object", (info.size, info.chunks), (0, 0))
    check("its digest", info.digest, "SHA-256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=")
    check("description", (await obs.get_info("new näme")).description, "d")
    for name in ("dropped", "old name"):
        try:
            await obs.get(name)
            check(name, "there", "gone")
        except NotFoundError:
            check(name, "gone", "gone")
    if "link" in names:
        linked = await obs.get("link")
        check("link", linked.data, b"0123456789")


async def main():
    nc = await nats.connect(os.environ["NATS_URL"])
    js = nc.jetstream()
    what, bucket = sys.argv[1:3]
    if what == "write":
        await write(js, bucket)
        check("written", True, True)
    else:
        await read_kv(js, bucket)
        await read_objects(js, bucket)
    await nc.close()


asyncio.run(main())
sys.exit(1 if failed else 0)
