// What jnats offers, used as its documentation says, against whatever server NATS_URL names. One line a case on stdout:
// "ok name" or "FAIL name: why". "RESTART" asks the caller to kill the server with SIGKILL and start it again.

import io.nats.client.*;
import io.nats.client.api.*;
import io.nats.client.impl.Headers;
import io.nats.client.impl.NatsMessage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.AtomicInteger;

public class Client {
  interface Case {
    void run() throws Exception;
  }

  static final BlockingQueue<Boolean> back = new LinkedBlockingQueue<>();
  static final Duration wait = Duration.ofSeconds(10);
  static Connection nc;
  static JetStream js;
  static JetStreamManagement jsm;
  static int passed, failed;

  static void same(Object got, Object want, String what) {
    if (!Objects.equals(got, want)) throw new IllegalStateException(what + ": got " + got + ", want " + want);
  }

  static void fails(Case c, String text, String what) throws Exception {
    try {
      c.run();
    } catch (Exception e) {
      if (String.valueOf(e.getMessage()).contains(text)) return;
      throw new IllegalStateException(what + ": \"" + e.getMessage() + "\" does not say \"" + text + "\"");
    }
    throw new IllegalStateException(what + ": it worked");
  }

  static byte[] bytes(Object o) {
    return String.valueOf(o).getBytes(StandardCharsets.UTF_8);
  }

  static String text(Message m) {
    return new String(m.getData(), StandardCharsets.UTF_8);
  }

  static Options options() {
    return new Options.Builder().server(System.getenv("NATS_URL")).maxReconnects(-1).reconnectWait(Duration.ofMillis(20))
        .reconnectJitter(Duration.ofMillis(1)).errorListener(new ErrorListener() {})
        .connectionListener((c, e) -> {
          // RECONNECTED comes before the subscriptions are sent again.
          if (e == ConnectionListener.Events.RESUBSCRIBED) back.add(true);
        }).build();
  }

  static void filled(String name, int count) throws Exception {
    jsm.addStream(StreamConfiguration.builder().name(name).subjects(name + ".*").build());
    for (int i = 0; i < count; i++) js.publish(name + "." + i % 3, bytes(i));
  }

  static void core() throws Exception {
    Subscription sub = nc.subscribe("core.*.x");
    Headers h = new Headers().add("Kind", "a", "b");
    nc.publish(NatsMessage.builder().subject("core.a.x").replyTo("back").headers(h).data("hello").build());
    Message m = sub.nextMessage(wait);
    same(List.of(text(m), m.getReplyTo(), m.getHeaders().get("Kind")), List.of("hello", "back", List.of("a", "b")), "message");
    AtomicInteger[] hits = {new AtomicInteger(), new AtomicInteger()};
    CountDownLatch done = new CountDownLatch(200);
    for (AtomicInteger n : hits) {
      nc.createDispatcher(x -> {
        n.incrementAndGet();
        done.countDown();
      }).subscribe("job", "q");
    }
    nc.flush(wait);
    for (int i = 0; i < 200; i++) nc.publish("job", null);
    same(done.await(10, TimeUnit.SECONDS), true, "200 jobs");
    same(hits[0].get() > 0 && hits[1].get() > 0, true, "both worked");
  }

  static void requests() throws Exception {
    Dispatcher d = nc.createDispatcher(m -> nc.publish(m.getReplyTo(), bytes("re " + text(m))));
    d.subscribe("svc");
    same(text(nc.request("svc", bytes("q"), wait)), "re q", "answer");
    nc.closeDispatcher(d);
    nc.flush(wait);
    try {
      nc.request("svc", bytes("q")).get(10, TimeUnit.SECONDS);
      throw new IllegalStateException("no responders: it worked");
    } catch (ExecutionException | CancellationException e) {
      // as it should be
    }
    Subscription most = nc.subscribe("max").unsubscribe(2);
    for (int i = 0; i < 3; i++) nc.publish("max", null);
    nc.flush(wait);
    same(most.nextMessage(wait) != null && most.nextMessage(wait) != null && !most.isActive(), true, "auto unsubscribe");
  }

  static void streams() throws Exception {
    StreamConfiguration cfg = StreamConfiguration.builder().name("S").subjects("s.>").maxMessages(1000).build();
    jsm.addStream(cfg);
    fails(() -> jsm.addStream(StreamConfiguration.builder().name("S").subjects("t.>").build()), "10058", "name in use");
    fails(() -> jsm.addStream(StreamConfiguration.builder().name("S2").subjects("s.a").build()), "10065", "overlap");
    jsm.updateStream(StreamConfiguration.builder(cfg).maxMessages(500).build());
    for (int i = 0; i < 10; i++) js.publish("s." + (i % 2 == 0 ? "even" : "odd"), bytes(i));
    StreamInfo info = jsm.getStreamInfo("S", StreamInfoOptions.allSubjects());
    same(List.of(info.getStreamState().getMsgCount(), info.getStreamState().getSubjectCount(), info.getConfiguration().getMaxMsgs()),
        List.of(10L, 2L, 500L), "info");
    MessageInfo m = jsm.getMessage("S", 3);
    same(List.of(m.getSubject(), new String(m.getData())), List.of("s.even", "2"), "get");
    same(jsm.getLastMessage("S", "s.odd").getSeq(), 10L, "last");
    same(jsm.getNextMessage("S", 3, "s.odd").getSeq(), 4L, "next for subject");
    jsm.deleteMessage("S", 3);
    fails(() -> jsm.getMessage("S", 3), "10037", "get deleted");
    jsm.purgeStream("S", PurgeOptions.subject("s.odd"));
    jsm.purgeStream("S", PurgeOptions.builder().keep(1).build());
    same(jsm.getStreamInfo("S").getStreamState().getMsgCount(), 1L, "after purges");
    same(jsm.getStreamNames("s.even"), List.of("S"), "name by subject");
    same(jsm.getStreams().stream().anyMatch(s -> s.getConfiguration().getName().equals("S")), true, "list");
    same(jsm.getAccountStatistics().getStreams() > 0, true, "account");
    jsm.deleteStream("S");
    fails(() -> jsm.getStreamInfo("S"), "10059", "info of deleted");
  }

  static void publish() throws Exception {
    jsm.addStream(StreamConfiguration.builder().name("P").subjects("p.*").allowDirect(true).maximumMessageSize(1000).build());
    PublishOptions one = PublishOptions.builder().messageId("one").build();
    PublishAck a = js.publish("p.a", bytes("1"), one), b = js.publish("p.a", bytes("1"), one);
    same(List.of(a.getSeqno(), a.isDuplicate(), b.getSeqno(), b.isDuplicate()), List.of(1L, false, 1L, true), "duplicate");
    fails(() -> js.publish("p.b", null, PublishOptions.builder().expectedLastSequence(9).build()), "10071", "last sequence");
    fails(() -> js.publish("p.b", null, PublishOptions.builder().expectedLastMsgId("two").build()), "10070", "last id");
    fails(() -> js.publish("p.b", null, PublishOptions.builder().expectedStream("Q").build()), "10060", "stream");
    fails(() -> js.publish("p.b", null, PublishOptions.builder().expectedLastSubjectSequence(4).build()), "10071", "subject sequence");
    fails(() -> js.publish("p.b", new byte[2000]), "10054", "too large");
    same(js.publish("p.b", bytes("y"), PublishOptions.builder().expectedLastSequence(1).expectedLastMsgId("one").expectedStream("P")
        .expectedLastSubjectSequence(0).build()).getSeqno(), 2L, "all expectations met");
    same(jsm.getLastMessage("P", "p.b").getSeq(), 2L, "direct get");
    List<CompletableFuture<PublishAck>> acks = new ArrayList<>();
    for (int i = 0; i < 1000; i++) acks.add(js.publishAsync("p.c", bytes(i)));
    for (int i = 0; i < 1000; i++) same(acks.get(i).get(10, TimeUnit.SECONDS).getSeqno(), i + 3L, "sequence");
  }

  static void pull() throws Exception {
    filled("PULL", 60);
    StreamContext s = nc.getStreamContext("PULL");
    ConsumerContext c = s.createOrUpdateConsumer(ConsumerConfiguration.builder().durable("d").filterSubject("PULL.1").build());
    Message m = c.next(wait);
    same(List.of(text(m), m.metaData().pendingCount(), m.metaData().streamSequence()), List.of("1", 19L, 2L), "next");
    m.ackSync(wait);
    List<String> got = new ArrayList<>();
    try (FetchConsumer f = c.fetchMessages(5)) {
      for (Message x = f.nextMessage(); x != null; x = f.nextMessage()) {
        got.add(text(x));
        x.ackSync(wait);
      }
    }
    same(got, List.of("4", "7", "10", "13", "16"), "fetch");
    BlockingQueue<Message> many = new LinkedBlockingQueue<>();
    try (MessageConsumer mc = c.consume(ConsumeOptions.builder().batchSize(3).build(), x -> {
      x.ack();
      many.add(x);
    })) {
      for (int i = 6; i < 20; i++) same(text(many.poll(10, TimeUnit.SECONDS)), "" + (i * 3 + 1), "consume");
    }
    JetStreamSubscription old = js.subscribe("PULL.0", PullSubscribeOptions.builder().durable("old").stream("PULL").build());
    same(old.fetch(7, wait).size(), 7, "older pull");
    ConsumerContext eph = s.createOrUpdateConsumer(ConsumerConfiguration.builder().filterSubjects("PULL.0", "PULL.2")
        .deliverPolicy(DeliverPolicy.LastPerSubject).build());
    try (IterableConsumer it = eph.iterate()) {
      same(text(it.nextMessage(wait)), "57", "ephemeral, last per subject");
      same(text(it.nextMessage(wait)), "59", "ephemeral, last per subject");
    }
    jsm.deleteConsumer("PULL", "d");
    fails(() -> jsm.getConsumerInfo("PULL", "d"), "10014", "info of deleted");
  }

  static void ordered() throws Exception {
    filled("ORD", 300);
    OrderedConsumerContext c = nc.getStreamContext("ORD").createOrderedConsumer(new OrderedConsumerConfiguration().filterSubject("ORD.1"));
    try (IterableConsumer it = c.iterate()) {
      for (int i = 0; i < 100; i++) same(text(it.nextMessage(wait)), "" + (i * 3 + 1), "in order");
    }
    JetStreamSubscription sub = js.subscribe("ORD.*", PushSubscribeOptions.builder().ordered(true).stream("ORD").build());
    for (int i = 0; i < 300; i++) same(text(sub.nextMessage(wait)), "" + i, "in order, pushed");
    sub.unsubscribe();
  }

  static void push() throws Exception {
    filled("PUSH", 300);
    ConsumerConfiguration cfg = ConsumerConfiguration.builder().durable("p").deliverSubject("to.p").flowControl(500).build();
    JetStreamSubscription sub = js.subscribe("PUSH.*", PushSubscribeOptions.builder().stream("PUSH").configuration(cfg).build());
    for (int i = 0; i < 300; i++) {
      Message m = sub.nextMessage(wait);
      same(text(m), "" + i, "pushed");
      m.ackSync(wait);
    }
    same(jsm.getConsumerInfo("PUSH", "p").getAckFloor().getStreamSequence(), 300L, "floor");
    CountDownLatch done = new CountDownLatch(300);
    for (int i = 0; i < 2; i++) {
      js.subscribe("PUSH.*", "g", nc.createDispatcher(), m -> done.countDown(), true,
          PushSubscribeOptions.builder().stream("PUSH").durable("q").build());
    }
    same(done.await(10, TimeUnit.SECONDS), true, "300 by queue");
    sub = js.subscribe("PUSH.1", PushSubscribeOptions.builder().stream("PUSH")
        .configuration(ConsumerConfiguration.builder().ackPolicy(AckPolicy.None).startSequence(291)
            .deliverPolicy(DeliverPolicy.ByStartSequence).build()).build());
    same(text(sub.nextMessage(wait)), "292", "ephemeral, by start sequence");
  }

  static void acks() throws Exception {
    filled("ACK", 4);
    ConsumerContext c = nc.getStreamContext("ACK").createOrUpdateConsumer(ConsumerConfiguration.builder().durable("a")
        .ackWait(Duration.ofMillis(700)).maxDeliver(3).build());
    List<Message> m = new ArrayList<>();
    for (int i = 0; i < 4; i++) m.add(c.next(wait));
    m.get(0).nak();
    m.get(1).term();
    m.get(2).ackSync(wait);
    m.get(3).inProgress();
    Message again = c.next(wait);
    same(List.of(text(again), again.metaData().deliveredCount()), List.of("0", 2L), "after nak");
    again.nakWithDelay(Duration.ofMillis(100));
    for (int i = 0; i < 2; i++) {
      again = c.next(wait);
      again.ackSync(wait);
    }
    same(jsm.getConsumerInfo("ACK", "a").getNumAckPending(), 0L, "all settled");
  }

  static void keyValue() throws Exception {
    nc.keyValueManagement().create(KeyValueConfiguration.builder().name("KV").maxHistoryPerKey(5).build());
    KeyValue kv = nc.keyValue("KV");
    BlockingQueue<String> seen = new LinkedBlockingQueue<>();
    KeyValueWatcher watcher = new KeyValueWatcher() {
      public void watch(KeyValueEntry e) {
        seen.add(e.getKey() + " " + e.getOperation() + " " + (e.getValue() == null ? "" : e.getValueAsString()));
      }

      public void endOfData() {}
    };
    try (var w = kv.watchAll(watcher)) {
      long first = kv.put("a", "1");
      same(kv.get("a").getValueAsString(), "1", "get");
      fails(() -> kv.create("a", bytes("x")), "10071", "create of what is there");
      long second = kv.update("a", "2", first);
      fails(() -> kv.update("a", "3", first), "10071", "update with an old revision");
      same(kv.get("a").getRevision(), second, "revision");
      kv.create("b", bytes("1"));
      kv.delete("a");
      same(kv.get("a"), null, "deleted");
      for (String want : List.of("a PUT 1", "a PUT 2", "b PUT 1", "a DELETE ")) same(seen.poll(10, TimeUnit.SECONDS), want, "watch");
    }
    same(kv.history("a").size(), 3, "history");
    same(kv.keys(), List.of("b"), "keys");
    kv.purge("a");
    same(kv.history("a").size(), 1, "history after purge");
    kv.purgeDeletes(KeyValuePurgeOptions.builder().deleteMarkersNoThreshold().build());
    same(kv.getStatus().getEntryCount(), 1L, "after purge of deletes");
    nc.keyValueManagement().delete("KV");
  }

  static void objects() throws Exception {
    nc.objectStoreManagement().create(ObjectStoreConfiguration.builder("OBJ").build());
    ObjectStore os = nc.objectStore("OBJ");
    byte[] data = new byte[3_000_000];
    new Random(1).nextBytes(data);
    same(os.put(ObjectMeta.objectName("big"), new ByteArrayInputStream(data)).getSize(), (long) data.length, "size");
    ByteArrayOutputStream got = new ByteArrayOutputStream();
    os.get("big", got);
    same(Arrays.equals(got.toByteArray(), data), true, "content");
    os.put("small", bytes("x"));
    same(os.getList().size(), 2, "list");
    os.addLink("link", os.getInfo("big"));
    os.delete("small");
    same(os.getInfo("small"), null, "deleted");
    same(os.seal().isSealed(), true, "seal");
    nc.objectStoreManagement().delete("OBJ");
  }

  static void drain() throws Exception {
    Connection other = Nats.connect(options());
    AtomicInteger count = new AtomicInteger();
    other.createDispatcher(m -> count.incrementAndGet()).subscribe("drain.me");
    other.flush(wait);
    for (int i = 0; i < 1000; i++) nc.publish("drain.me", bytes("x"));
    nc.flush(wait);
    same(other.drain(wait).get(10, TimeUnit.SECONDS), true, "drained");
    same(count.get(), 1000, "all delivered before the drain ended");
  }

  // About one run in ten, at either server, jnats gives up the first request after a reconnect (why was not found). A client tries
  // again; the message id makes that harmless.
  static PublishAck again(String subject, byte[] data) throws Exception {
    PublishOptions once = PublishOptions.builder().messageId("once").build();
    for (int i = 0; ; i++) {
      try {
        return js.publish(subject, data, once);
      } catch (java.io.IOException e) {
        if (i == 5) throw e;
      }
    }
  }

  static void reconnect() throws Exception {
    jsm.addStream(StreamConfiguration.builder().name("R").subjects("r").build());
    for (int i = 0; i < 50; i++) js.publish("r", bytes(i));
    ConsumerContext c = nc.getStreamContext("R").createOrUpdateConsumer(ConsumerConfiguration.builder().durable("r")
        .ackWait(Duration.ofMinutes(1)).build());
    for (int i = 0; i < 20; i++) c.next(wait).ackSync(wait);
    Subscription sub = nc.subscribe("after");
    back.clear();
    System.out.println("RESTART");
    same(back.poll(20, TimeUnit.SECONDS), true, "reconnect");
    nc.publish("after", bytes("hello"));
    same(text(sub.nextMessage(wait)), "hello", "subscription after reconnect");
    same(again("r", bytes(50)).getSeqno(), 51L, "publish after reconnect");
    List<String> rest = new ArrayList<>(), want = new ArrayList<>();
    for (int i = 20; i < 51; i++) {
      want.add("" + i);
      rest.add(text(c.next(wait)));
    }
    // A server that confirms acks before they are on disk may give some of the first twenty again.
    if (System.getenv("ACKS_HOLD") != null) same(rest, want, "exactly the rest");
  }

  static void check(ExecutorService pool, String name, Case c) {
    try {
      pool.submit(() -> {
        c.run();
        return null;
      }).get(25, TimeUnit.SECONDS);
      passed++;
      System.out.println("ok " + name);
    } catch (Exception e) {
      failed++;
      Throwable why = e instanceof ExecutionException ? e.getCause() : e;
      System.out.println("FAIL " + name + ": " + String.valueOf(why).replace("\n", " | "));
    }
  }

  public static void main(String[] args) throws Exception {
    nc = Nats.connect(options());
    js = nc.jetStream();
    jsm = nc.jetStreamManagement();
    ExecutorService pool = Executors.newCachedThreadPool();
    check(pool, "core publish, subscribe, headers, queue groups", Client::core);
    check(pool, "core request, no responders, max", Client::requests);
    check(pool, "stream: create, info, update, list, purge, delete", Client::streams);
    check(pool, "publish: message id, expectations, direct get", Client::publish);
    check(pool, "pull consumer: durable, ephemeral, next, fetch, consume", Client::pull);
    check(pool, "ordered consumer, pulled and pushed", Client::ordered);
    check(pool, "push consumer: durable, ephemeral, queue group", Client::push);
    check(pool, "acks: nak, delay, term, in progress", Client::acks);
    check(pool, "kv: put, get, create, update, delete, purge, history, keys, watch", Client::keyValue);
    check(pool, "object store: put 3 MB, get, info, list, link, delete, seal", Client::objects);
    check(pool, "drain", Client::drain);
    check(pool, "reconnect after kill -9", Client::reconnect);
    System.out.println(passed + " passed, " + failed + " failed");
    System.exit(failed > 0 ? 1 : 0);
  }
}
