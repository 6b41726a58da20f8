// What nats.js offers, used as its documentation says, against whatever server NATS_URL names. One line a case on stdout:
// "ok name" or "FAIL name: why". "RESTART" asks the caller to kill the server with SIGKILL and start it again.
import { connect, deferred, headers, nanos } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { Objm } from "@nats-io/obj";
import { createHash } from "node:crypto";

const options = { servers: process.env.NATS_URL, maxReconnectAttempts: -1, reconnectTimeWait: 20, reconnectJitter: 10, timeout: 10000 };
let failed = 0;
let passed = 0;

function must(condition, what) {
  if (!condition) throw new Error(what);
}
function same(got, want, what) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`${what}: got ${g}, want ${w}`);
}
async function fails(promise, text, what) {
  try {
    await promise;
  } catch (err) {
    const told = `${err.code ?? ""} ${err.message} ${err.cause?.message ?? ""}`;
    must(told.includes(text), `${what}: "${told}" does not say "${text}"`);
    return err;
  }
  throw new Error(`${what}: it worked`);
}
function within(promise, what, ms = 10000) {
  let timer;
  const late = new Promise((_, no) => (timer = setTimeout(() => no(new Error(`${what}: nothing within ${ms} ms`)), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
async function until(what, fn, ms = 10000) {
  for (const end = Date.now() + ms; !await fn();) {
    if (Date.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((go) => setTimeout(go, 20));
  }
}
async function check(name, fn) {
  if (process.env.ONLY && !name.includes(process.env.ONLY)) return;
  try {
    await within(fn(), name, 25000);
    passed++;
    console.log(`ok ${name}`);
  } catch (err) {
    failed++;
    console.log(`FAIL ${name}: ${err.stack ?? err}`.replaceAll("\n", " | "));
  }
}
async function take(iterator, count, what) {
  const got = [];
  await within((async () => {
    for await (const m of iterator) {
      got.push(m);
      if (got.length === count) break;
    }
  })(), `${what}: ${count} messages`);
  return got;
}

const nc = await connect(options);
const js = jetstream(nc);
const jsm = await jetstreamManager(nc);
const text = (m) => new TextDecoder().decode(m.data);

await check("core publish, subscribe, wildcards, headers", async () => {
  const one = nc.subscribe("core.*.x", { max: 1 });
  const all = nc.subscribe("core.>", { max: 2 });
  const h = headers();
  h.append("Kind", "a");
  h.append("Kind", "b");
  nc.publish("core.a.x", "hello", { headers: h, reply: "back" });
  nc.publish("core.b", "");
  const [m] = await take(one, 1, "core.*.x");
  same([text(m), m.reply, m.headers.values("Kind")], ["hello", "back", ["a", "b"]], "message");
  same((await take(all, 2, "core.>")).map((x) => x.subject), ["core.a.x", "core.b"], "subjects");
});

await check("core request, no responders, queue groups, max", async () => {
  const serve = nc.subscribe("svc.echo", { callback: (_, m) => m.respond(`<${text(m)}>`) });
  same(text(await nc.request("svc.echo", "q")), "<q>", "answer");
  serve.unsubscribe();
  await nc.flush();
  const err = await fails(nc.request("svc.echo", "q"), "", "request nobody serves");
  must(err.isNoResponders?.() || err.cause?.name === "NoRespondersError" || err.name === "NoRespondersError", `not no-responders: ${err}`);
  const other = await connect(options);
  const hits = [0, 0];
  const done = deferred();
  const hit = (i) => () => ++hits[i] && hits[0] + hits[1] === 200 && done.resolve();
  nc.subscribe("job", { queue: "workers", callback: hit(0) });
  other.subscribe("job", { queue: "workers", callback: hit(1) });
  await nc.flush();
  await other.flush();
  for (let i = 0; i < 200; i++) nc.publish("job");
  await within(done, "200 jobs");
  await nc.flush();
  await other.flush();
  must(hits[0] + hits[1] === 200 && hits[0] > 0 && hits[1] > 0, `queue group got ${hits}`);
  await other.close();
});

await check("payload above max_payload is refused", async () => {
  const big = new Uint8Array(nc.info.max_payload + 1);
  await fails((async () => nc.publish("big", big))(), "max_payload", "publish");
});

await check("stream: create, info, update, list, purge, delete", async () => {
  await jsm.getAccountInfo();
  let si = await jsm.streams.add({ name: "S", subjects: ["s.>"], description: "one", max_msgs: 1000 });
  same([si.config.name, si.config.subjects, si.state.messages], ["S", ["s.>"], 0], "created");
  await fails(jsm.streams.add({ name: "S", subjects: ["t.>"] }), "already in use", "second config");
  await fails(jsm.streams.add({ name: "S2", subjects: ["s.a"] }), "overlap", "overlap");
  si = await jsm.streams.update("S", { subjects: ["s.>", "s2.>"], max_msgs: 500 });
  same([si.config.max_msgs, si.config.subjects.length], [500, 2], "updated");
  for (let i = 0; i < 10; i++) await js.publish(i % 2 ? "s.odd" : "s.even", `${i}`);
  si = await jsm.streams.info("S", { subjects_filter: ">" });
  same([si.state.messages, si.state.first_seq, si.state.last_seq, si.state.subjects], [10, 1, 10, { "s.even": 5, "s.odd": 5 }], "state");
  same((await jsm.streams.names().next()).includes("S"), true, "names");
  same((await jsm.streams.list().next()).map((s) => s.config.name).includes("S"), true, "list");
  same(await jsm.streams.find("s.even"), "S", "find");
  const m = await jsm.streams.getMessage("S", { seq: 3 });
  same([m.subject, m.string(), m.seq], ["s.even", "2", 3], "get");
  same((await jsm.streams.getMessage("S", { last_by_subj: "s.odd" })).seq, 10, "last by subject");
  same((await jsm.streams.getMessage("S", { next_by_subj: "s.odd", seq: 3 })).seq, 4, "next by subject");
  must(await jsm.streams.deleteMessage("S", 3), "delete message");
  same(await jsm.streams.getMessage("S", { seq: 3 }), null, "get deleted");
  si = await jsm.streams.info("S", { deleted_details: true });
  same(si.state.deleted, [3], "deleted");
  same((await jsm.streams.purge("S", { filter: "s.odd" })).purged, 5, "purge filter");
  same((await jsm.streams.purge("S", { keep: 1 })).purged, 3, "purge keep");
  same((await jsm.streams.purge("S")).purged, 1, "purge");
  same((await jsm.streams.info("S")).state.messages, 0, "empty");
  must(await jsm.streams.delete("S"), "delete");
  await fails(jsm.streams.info("S"), "not found", "info of deleted");
});

await check("publish: message id, expectations, limits", async () => {
  await jsm.streams.add({ name: "P", subjects: ["p.*"], max_msg_size: 1000, allow_direct: true });
  same([(await js.publish("p.a", "1", { msgID: "one" })).seq], [1], "seq");
  const again = await js.publish("p.a", "1", { msgID: "one" });
  same([again.seq, again.duplicate, again.stream], [1, true, "P"], "duplicate");
  await fails(js.publish("p.a", "x", { expect: { lastSequence: 7 } }), "wrong last sequence: 1", "last sequence");
  await fails(js.publish("p.a", "x", { expect: { lastMsgID: "two" } }), "wrong last msg ID: one", "last message id");
  await fails(js.publish("p.a", "x", { expect: { streamName: "Q" } }), "expected stream does not match", "stream name");
  await fails(js.publish("p.b", "x", { expect: { lastSubjectSequence: 9 } }), "wrong last sequence: 0", "subject sequence");
  await fails(js.publish("p.b", new Uint8Array(2000)), "message size exceeds maximum allowed", "too large");
  await fails(js.publish("nobody.here", "x"), "", "no stream");
  const ack = await js.publish("p.b", "y", { expect: { lastSequence: 1, lastMsgID: "one", streamName: "P", lastSubjectSequence: 0 } });
  same(ack.seq, 2, "all expectations met");
  const direct = await jsm.direct.getMessage("P", { last_by_subj: "p.b" });
  same([direct.string(), direct.seq], ["y", 2], "direct get");
  const acks = await Promise.all(Array.from({ length: 500 }, (_, i) => js.publish("p.c", `${i}`)));
  same(acks.map((a) => a.seq), acks.map((_, i) => i + 3), "500 at once, in order");
});

async function filled(name, count, config = {}) {
  await jsm.streams.add({ name, subjects: [`${name}.*`], ...config });
  await Promise.all(Array.from({ length: count }, (_, i) => js.publish(`${name}.${i % 3}`, `${i}`)));
}

await check("pull consumer: durable, next, fetch, consume", async () => {
  await filled("PULL", 60);
  const ci = await jsm.consumers.add("PULL", { durable_name: "d", ack_policy: AckPolicy.Explicit, filter_subject: "PULL.1" });
  same([ci.name, ci.num_pending, ci.config.durable_name], ["d", 20, "d"], "created");
  const c = await js.consumers.get("PULL", "d");
  const first = await c.next({ expires: 5000 });
  same([first.string(), first.seq, first.info.pending, first.info.deliveryCount, first.info.stream], ["1", 2, 19, 1, "PULL"], "next");
  must(await first.ackAck(), "double ack");
  const batch = await take(await c.fetch({ max_messages: 9, expires: 5000 }), 9, "fetch");
  batch.forEach((m) => m.ack());
  const messages = await c.consume({ max_messages: 5 });
  for (const m of await take(messages, 10, "consume")) m.ack();
  messages.stop();
  const left = await c.fetch({ max_messages: 5, expires: 1000 });
  let more = 0;
  for await (const _ of left) more++;
  same(more, 0, "nothing left");
  await nc.flush();
  const info = await c.info();
  same([info.num_pending, info.num_ack_pending, info.ack_floor.stream_seq], [0, 0, 59], "info");
  const eph = await jsm.consumers.add("PULL", { ack_policy: AckPolicy.None, deliver_policy: DeliverPolicy.LastPerSubject, filter_subjects: ["PULL.0", "PULL.2"] });
  must(eph.name.length > 0 && eph.config.durable_name === undefined, "ephemeral name");
  same((await take(await (await js.consumers.get("PULL", eph.name)).fetch({ max_messages: 2, expires: 5000 }), 2, "last")).map((m) => m.seq), [58, 60], "last per subject");
  same((await jsm.consumers.list("PULL").next()).length, 2, "list");
  must(await jsm.consumers.delete("PULL", "d"), "delete");
  await fails(jsm.consumers.info("PULL", "d"), "not found", "info of deleted");
});

await check("ordered consumer", async () => {
  await filled("ORD", 300);
  const c = await js.consumers.get("ORD", { filter_subjects: ["ORD.1"] });
  const got = await take(await c.consume({ max_messages: 20 }), 100, "ordered");
  same(got.map((m) => m.string()), got.map((_, i) => `${i * 3 + 1}`), "in order");
  const push = await js.consumers.getPushConsumer("ORD");
  const all = await take(await push.consume(), 300, "ordered push");
  same(all.map((m) => m.seq), all.map((_, i) => i + 1), "in order, pushed");
});

await check("push consumer: durable, queue group, flow control", async () => {
  await filled("PUSH", 500);
  await jsm.consumers.add("PUSH", { durable_name: "p", deliver_subject: "to.p", ack_policy: AckPolicy.Explicit, idle_heartbeat: nanos(500), flow_control: true });
  const c = await js.consumers.getPushConsumer("PUSH", "p");
  const messages = await c.consume();
  const got = await take(messages, 500, "pushed");
  got.slice(0, -1).forEach((m) => m.ack());
  must(await got.at(-1).ackAck(), "double ack");
  same((await c.info()).ack_floor.stream_seq, 500, "floor");
  await jsm.consumers.add("PUSH", { durable_name: "q", deliver_subject: "to.q", deliver_group: "g", ack_policy: AckPolicy.Explicit });
  let count = 0;
  const done = deferred();
  for (let i = 0; i < 2; i++) {
    nc.subscribe("to.q", { queue: "g", callback: (_, m) => (m.respond("+ACK"), ++count === 500 && done.resolve()) });
  }
  await within(done, "500 by queue");
});

await check("acks: nak, delay, term, in progress, redelivery, max deliver", async () => {
  await filled("ACK", 4);
  await jsm.consumers.add("ACK", { durable_name: "a", ack_policy: AckPolicy.Explicit, ack_wait: nanos(700), max_deliver: 3 });
  const c = await js.consumers.get("ACK", "a");
  const [m1, m2, m3, m4] = await take(await c.fetch({ max_messages: 4, expires: 5000 }), 4, "first delivery");
  m1.nak();
  m2.nak(300);
  m3.term("not wanted");
  must(await m4.ackAck(), "double ack");
  const r1 = await c.next({ expires: 5000 });
  same([r1.seq, r1.info.deliveryCount, r1.redelivered], [1, 2, true], "after nak");
  const r2 = await c.next({ expires: 5000 });
  same([r2.seq, r2.info.deliveryCount], [2, 2], "after nak with delay");
  // In progress: not given again though ack_wait passes twice, while the one beside it comes a third time and no more.
  const busy = setInterval(() => r1.working(), 200);
  const r3 = await c.next({ expires: 5000 });
  same([r3.seq, r3.info.deliveryCount], [2, 3], "after ack_wait");
  same(await c.next({ expires: 1500 }), null, "in progress, and at max_deliver");
  clearInterval(busy);
  must(await r1.ackAck(), "ack after in progress");
  const info = await c.info();
  same([info.num_pending, info.delivered.stream_seq], [0, 4], "info");
});

await check("kv: put, get, create, update, delete, purge, history, keys, watch", async () => {
  const kv = await new Kvm(nc).create("conf", { history: 5 });
  const seen = [];
  const watch = await kv.watch();
  const watched = (async () => {
    for await (const e of watch) {
      seen.push(`${e.key}:${e.operation}:${e.string()}`);
      if (seen.length === 7) break;
    }
  })();
  same(await kv.put("a", "1"), 1, "put");
  same(await kv.put("a", "2"), 2, "put again");
  const e = await kv.get("a");
  same([e.string(), e.revision, e.operation], ["2", 2, "PUT"], "get");
  same((await kv.get("a", { revision: 1 })).string(), "1", "get revision");
  same(await kv.get("zz"), null, "get nothing");
  same(await kv.create("b", "x"), 3, "create");
  await fails(kv.create("b", "y"), "wrong last sequence", "create again");
  same(await kv.update("b", "y", 3), 4, "update");
  await fails(kv.update("b", "z", 3), "wrong last sequence", "update of an old revision");
  await kv.delete("b");
  same((await kv.get("b")).operation, "DEL", "get deleted");
  same(await kv.create("b", "again"), 6, "create after delete");
  const history = await kv.history({ key: "a" });
  const revisions = [];
  for await (const h of history) revisions.push(h.revision);
  same(revisions, [1, 2], "history");
  const keys = [];
  for await (const k of await kv.keys()) keys.push(k);
  same(keys.sort(), ["a", "b"], "keys");
  await kv.purge("a");
  await within(watched, "watch");
  same(seen, ["a:PUT:1", "a:PUT:2", "b:PUT:x", "b:PUT:y", "b:DEL:", "b:PUT:again", "a:PURGE:"], "watched");
  const status = await kv.status();
  same([status.bucket, status.history, status.values], ["conf", 5, 5], "status");
  must(await kv.destroy(), "destroy");
});

await check("kv: key TTL, limit markers, purge TTL, bucket TTL", async () => {
  const kvm = new Kvm(nc);
  const kv = await kvm.create("ttl", { history: 5, markerTTL: 1000 });
  const seen = [];
  const watch = await kv.watch();
  const marked = (async () => {
    for await (const e of watch) {
      seen.push(`${e.key}:${e.operation}:${e.string()}`);
      if (seen.at(-1) === "a:PURGE:") break;
    }
  })();
  same(await kv.create("a", "1", "1s"), 1, "create with a TTL");
  await kv.put("b", "2");
  await kv.purge("b", { ttl: "1s" });
  await within(marked, "the marker of the key");
  same(seen.slice(0, 3), ["a:PUT:1", "b:PUT:2", "b:PURGE:"], "watched");
  must(await kv.create("a", "again") > 3, "create over the marker");
  same((await kv.status()).markerTTL, 1000, "limit marker TTL");
  const old = await kvm.create("aged", { ttl: 1000 });
  await old.put("x", "1");
  await until("the bucket's TTL", async () => (await old.get("x")) === null);
  must(await kv.destroy() && await old.destroy(), "destroy");
});

await check("kv: compression, republish, watch options, mirror, sources", async () => {
  const kvm = new Kvm(nc);
  const copies = nc.subscribe("copy.>", { max: 1 });
  const kv = await kvm.create("opt", { description: "d", history: 3, maxValueSize: 100, compression: true,
    republish: { src: ">", dest: "copy.>" } });
  await kv.put("x.1", "a");
  await kv.put("x.1", "b");
  await kv.put("x.2", "c");
  await kv.put("y", "d");
  await kv.delete("x.2");
  same((await take(copies, 1, "republished")).map((m) => [m.subject, text(m), m.headers.get("Nats-Sequence")]),
    [["copy.$KV.opt.x.1", "a", "1"]], "republished");
  await fails(kv.put("big", new Uint8Array(200)), "message size exceeds", "a value too large");
  const initial = async (opts) => (await take(await kv.watch(opts.watch), opts.count, "watch")).map((e) => `${e.key}:${e.operation}:${e.string()}@${e.revision}`);
  same(await initial({ count: 3 }), ["x.1:PUT:b@2", "y:PUT:d@4", "x.2:DEL:@5"], "watch all");
  same(await initial({ watch: { key: "x.*", include: "history" }, count: 4 }), ["x.1:PUT:a@1", "x.1:PUT:b@2", "x.2:PUT:c@3", "x.2:DEL:@5"], "history");
  same(await initial({ watch: { ignoreDeletes: true }, count: 2 }), ["x.1:PUT:b@2", "y:PUT:d@4"], "without deletes");
  same(await initial({ watch: { headers_only: true }, count: 3 }), ["x.1:PUT:@2", "y:PUT:@4", "x.2:DEL:@5"], "headers only");
  same(await initial({ watch: { resumeFromRevision: 3 }, count: 3 }), ["x.2:PUT:c@3", "y:PUT:d@4", "x.2:DEL:@5"], "from a revision");
  same(await initial({ watch: { key: ["x.1", "y"] }, count: 2 }), ["x.1:PUT:b@2", "y:PUT:d@4"], "two filters");
  const taker = await kvm.create("taker", { sources: [{ name: "opt" }] });
  await until("the copy in the taker", async () => (await taker.get("y"))?.string() === "d");
  // nats.js 3.4.0 cannot put through a mirror.
  const mirror = await kvm.create("mirror", { mirror: { name: "opt" } });
  const copied = () => jsm.streams.getMessage("KV_mirror", { last_by_subj: "$KV.opt.y" });
  await until("the copy in the mirror", async () => (await copied())?.string() === "d");
  const status = await kv.status();
  same([status.compression, status.history, status.description], [true, 3, "d"], "status");
  must(await taker.destroy() && await mirror.destroy() && await kv.destroy(), "destroy");
});

await check("object store: links, rename, seal", async () => {
  const objm = new Objm(nc);
  const os = await objm.create("oo", { description: "d", compression: true, metadata: { who: "me" } });
  const other = await objm.create("other", { storage: "memory" });
  const ten = new TextEncoder().encode("0123456789");
  const info = await os.putBlob({ name: "two", options: { max_chunk_size: 3 }, metadata: { m: "n" } }, ten);
  same([info.size, info.chunks, info.metadata.m], [10, 4, "n"], "info");
  await other.link("link", info);
  same(Buffer.from(await other.getBlob("link")).toString(), "0123456789", "linked object");
  await other.linkStore("whole", os);
  same((await other.info("whole")).options.link.bucket, "oo", "link to a bucket");
  await os.update("two", { name: "due", description: "dieci" });
  same([await os.info("two"), (await os.info("due")).description], [null, "dieci"], "renamed");
  same(Buffer.from(await os.getBlob("due")).toString(), "0123456789", "renamed object");
  const status = await os.seal();
  same([status.sealed, status.compression, status.metadata.who], [true, true, "me"], "sealed");
  await fails(os.putBlob({ name: "more" }, ten), "", "put into a sealed store");
  must(await os.destroy() && await other.destroy(), "destroy");
});

await check("object store: put 5 MB, get, info, list, delete, watch", async () => {
  const os = await new Objm(nc).create("files");
  const watch = await os.watch({ includeHistory: true });
  const seen = [];
  const watched = (async () => {
    for await (const i of watch) {
      seen.push(`${i.name}:${i.deleted === true}`);
      if (seen.length === 3) break;
    }
  })();
  const data = new Uint8Array(5 << 20);
  for (let i = 0; i < data.length; i++) data[i] = (i * 31 + (i >> 11)) & 255;
  const put = await os.putBlob({ name: "big", description: "five", options: { max_chunk_size: 128 * 1024 } }, data);
  same([put.size, put.chunks, put.digest], [data.length, 40, `SHA-256=${createHash("sha256").update(data).digest("base64").replaceAll("+", "-").replaceAll("/", "_")}`], "put");
  const got = await os.getBlob("big");
  must(Buffer.compare(Buffer.from(got), Buffer.from(data)) === 0, "the bytes differ");
  await os.putBlob({ name: "small" }, new TextEncoder().encode("hi"));
  same([(await os.info("small")).size, await os.info("none")], [2, null], "info");
  same((await os.list()).map((i) => i.name).sort(), ["big", "small"], "list");
  await os.delete("big");
  same(await os.getBlob("big"), null, "get deleted");
  await within(watched, "watch");
  same(seen, ["big:false", "small:false", "big:true"], "watched");
  same((await jsm.streams.info("OBJ_files")).state.messages, 3, "chunks of the deleted are gone");
  must(await os.destroy(), "destroy");
});

await check("workqueue and interest retention", async () => {
  await filled("WQ", 5, { retention: RetentionPolicy.Workqueue });
  await jsm.consumers.add("WQ", { durable_name: "w", ack_policy: AckPolicy.Explicit });
  await fails(jsm.consumers.add("WQ", { durable_name: "w2", ack_policy: AckPolicy.Explicit }), "workqueue", "second consumer");
  const c = await js.consumers.get("WQ", "w");
  for (const m of await take(await c.fetch({ max_messages: 5, expires: 5000 }), 5, "work")) must(await m.ackAck(), "ack");
  same((await jsm.streams.info("WQ")).state.messages, 0, "all taken");
  await filled("INT", 3, { retention: RetentionPolicy.Interest });
  same((await jsm.streams.info("INT")).state.messages, 0, "nobody interested");
});

await check("drain", async () => {
  const other = await connect(options);
  let count = 0;
  const sub = other.subscribe("drain.me", { callback: () => count++ });
  await other.flush();
  for (let i = 0; i < 1000; i++) nc.publish("drain.me", "x");
  await nc.flush();
  await sub.drain();
  same(count, 1000, "all delivered before the drain ended");
  await other.drain();
  must(other.isClosed(), "closed");
});

await check("reconnect after kill -9", async () => {
  await jsm.streams.add({ name: "R", subjects: ["r"] });
  for (let i = 0; i < 50; i++) await js.publish("r", `${i}`);
  await jsm.consumers.add("R", { durable_name: "r", ack_policy: AckPolicy.Explicit, ack_wait: nanos(60000) });
  const c = await js.consumers.get("R", "r");
  for (const m of await take(await c.fetch({ max_messages: 20, expires: 5000 }), 20, "before")) must(await m.ackAck(), "double ack");
  const sub = nc.subscribe("after");
  const back = deferred();
  (async () => {
    for await (const s of nc.status()) if (s.type === "reconnect") back.resolve();
  })();
  console.log("RESTART");
  await within(back, "reconnect", 20000);
  nc.publish("after", "hello");
  same((await take(sub, 1, "subscription")).map(text), ["hello"], "subscription after reconnect");
  same((await js.publish("r", "50")).seq, 51, "publish after reconnect");
  const rest = await take(await c.fetch({ max_messages: 31, expires: 10000 }), 31, "after");
  // A server that confirms acks before they are on disk may give some of the first twenty again.
  if (process.env.ACKS_HOLD) same(rest.map((m) => m.string()), rest.map((_, i) => `${i + 20}`), "exactly the rest");
});

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
