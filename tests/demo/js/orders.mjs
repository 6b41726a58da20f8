// The main job with unmodified nats.js clients: receive, process and complete orders on the stream ORDERS while somebody
// kills the server. Told by environment: PORT, RECORDS (file, one order a record, separated by NUL); by lines on stdin: how
// many orders may be submitted by now. Speaks JSON lines on stdout: {"progress":...} fifty times a second, {"summary":...} at
// the end.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { connect } from "@nats-io/transport-node";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";

const orders = readFileSync(process.env.RECORDS, "utf8").split("\0").filter((r) => r.length > 0);
const total = orders.length;
const options = {
  servers: `127.0.0.1:${process.env.PORT}`,
  maxReconnectAttempts: -1,
  reconnectTimeWait: 50,
  reconnectJitter: 20,
  pingInterval: 5000,
};
const stats = { received: 0, processed: 0, completed: 0, monitored: 0, redelivered: 0, afterConfirm: 0, unconfirmed: 0, retries: 0,
                reconnects: 0 };
const say = (o) => process.stdout.write(JSON.stringify(o) + "\n");

async function client(name) {
  const nc = await connect({ ...options, name });
  (async () => {
    for await (const s of nc.status()) {
      if (s.type === "reconnect") stats.reconnects++;
    }
  })();
  return nc;
}

// Publishes until it is acknowledged. The message id makes the repeats harmless.
async function publish(js, subject, data, msgID) {
  for (;;) {
    try {
      await js.publish(subject, data, { msgID, timeout: 2000 });
      return;
    } catch (err) {
      stats.retries++;
      await new Promise((r) => setTimeout(r, 20));
    }
  }
}

async function setUp(nc) {
  const jsm = await jetstreamManager(nc);
  await jsm.streams.add({ name: "ORDERS", subjects: ["ORDERS.*"], duplicate_window: 600e9 });
  const pull = { ack_policy: AckPolicy.Explicit, ack_wait: 5e9, max_ack_pending: 2000 };
  await jsm.consumers.add("ORDERS", { ...pull, durable_name: "NEW", filter_subject: "ORDERS.received" });
  await jsm.consumers.add("ORDERS", { ...pull, durable_name: "DISPATCH", filter_subject: "ORDERS.processed" });
  await jsm.consumers.add("ORDERS", { durable_name: "MONITOR", deliver_subject: "monitor.orders",
                                      ack_policy: AckPolicy.None, deliver_policy: DeliverPolicy.All });
}

let allowed = 0;
let waiting = [];
createInterface({ input: process.stdin }).on("line", (line) => {
  allowed = Number(line);
  waiting.forEach((go) => go());
  waiting = [];
});

async function submit(nc) {
  const js = jetstream(nc);
  let next = 0;
  const lane = async () => {
    while (next < total) {
      if (next >= allowed) {
        await new Promise((go) => waiting.push(go));
        continue;
      }
      const id = next++;
      await publish(js, "ORDERS.received", `${id}\n${orders[id]}`, `${id}:received`);
      stats.received++;
    }
  };
  await Promise.all(Array.from({ length: 64 }, lane));
}

// Takes orders of one stage, publishes them as the next, and confirms: an order whose ack was confirmed must never come
// again.
async function work(nc, consumer, next, count) {
  const js = jetstream(nc);
  const confirmed = new Set();
  const handled = new Set();
  let finished;
  const done = new Promise((r) => (finished = r));
  const handle = async (m) => {
    const body = m.string();
    const id = body.slice(0, body.indexOf("\n"));
    if (confirmed.has(id)) {
      stats.afterConfirm++;
      say({ violation: `order ${id} came again on ${consumer} after its ack was confirmed` });
    }
    if (m.info.deliveryCount > 1) stats.redelivered++;
    await publish(js, `ORDERS.${next}`, body, `${id}:${next}`);
    if (!handled.has(id)) {
      handled.add(id);
      stats[count]++;
    }
    // Without a confirmation (the server died in between) the ack may hold or not: then the order may come again.
    if (await m.ackAck({ timeout: 2000 }).catch(() => false)) confirmed.add(id);
    else stats.unconfirmed++;
    if (handled.size === total) finished();
  };
  const take = async () => {
    while (handled.size < total) {
      try {
        const c = await js.consumers.get("ORDERS", consumer);
        const messages = await c.consume({ max_messages: 500, expires: 5000, idle_heartbeat: 1000 });
        done.then(() => messages.stop());
        for await (const m of messages) {
          handle(m).catch(() => {});
        }
      } catch (err) {
        await new Promise((r) => setTimeout(r, 50));
      }
    }
  };
  take();
  await done;
}

const nc = await client("setup");
await setUp(nc);
const monitor = await client("monitor");
monitor.subscribe("monitor.orders", { callback: () => stats.monitored++ });
// A first connection is not tried again by the client: all stand before the first kill.
const submitter = await client("submit");
const taker = await client("new");
const dispatcher = await client("dispatch");
say({ ready: total });
const timer = setInterval(() => say({ progress: stats }), 20);
await Promise.all([
  submit(submitter),
  work(taker, "NEW", "processed", "processed"),
  work(dispatcher, "DISPATCH", "completed", "completed"),
]);
clearInterval(timer);
say({ summary: stats });
process.exit(0);
