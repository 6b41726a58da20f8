/* JetStream above a fake store, through the server's internal client: order of requests, overload,
 * back-pressure, acks, pull, push, inactivity, end. No sockets, no disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "broker/internal.h"
#include "broker/js.h"
#include "broker/server.h"
#include "engine/base/base.h"
#include "engine/base/env.h"
#include "tests/lib/fake_store.h"

#define GOT_MAX 64

struct got {
    char subject[128], reply[256], hdr[512], data[2048];
};

struct fixture {
    struct env *env;
    struct brk_opts opts;
    struct brk_server *server;
    struct store *store;
    struct js *js;
    struct brk_sub *inbox;
    struct got got[GOT_MAX];
    size_t n;
};

static void ring(void *arg)
{
    brk_loop_wake(((struct fixture *)arg)->server->loop);
}

static void copy(char *to, size_t size, const void *p, size_t n)
{
    n = n < size - 1 ? n : size - 1;
    if (n > 0) {
        memcpy(to, p, n);
    }
    to[n] = '\0';
}

static void on_inbox(void *arg, const struct brk_msg *m)
{
    struct fixture *f = arg;
    assert_true(f->n < GOT_MAX);
    struct got *g = &f->got[f->n++];
    copy(g->subject, sizeof g->subject, m->subject.p, m->subject.n);
    copy(g->reply, sizeof g->reply, m->reply.p, m->reply.n);
    copy(g->hdr, sizeof g->hdr, m->hdr, m->hdr_len);
    copy(g->data, sizeof g->data, m->payload, m->payload_len);
}

static struct fixture *setup(int64_t queue_limit)
{
    struct err err = {0};
    struct fixture *f = base_calloc(1, sizeof *f);
    f->env = env_real_create();
    brk_opts_init(&f->opts);
    f->opts.js.enabled = true;
    f->opts.js.strict = true;
    f->opts.js.request_queue_limit = queue_limit;
    brk_opts_set_str(&f->opts.server_name, "test");
    assert_int_equal(brk_server_create(&f->opts, f->env, &f->server, &err), ST_OK);
    f->store = fake_store_create(f->env, ring, f);
    struct js_deps deps = {.loop = f->server->loop,
                           .store = f->store,
                           .env = f->env,
                           .opts = &f->opts.js,
                           .server_name = "test"};
    f->js = js_create(&deps);
    js_start(f->js, brk_account_first(f->server));
    f->inbox =
        brk_isub_create(f->server->global, BRK_STR("inbox.>"), (struct brk_str){0}, on_inbox, f);
    return f;
}

static void teardown(struct fixture *f)
{
    brk_isub_destroy(f->inbox);
    js_destroy(f->js);
    fake_store_destroy(f->store);
    brk_server_destroy(f->server);
    brk_opts_fini(&f->opts);
    env_real_destroy(f->env);
    base_free(f);
}

/* Turns the loop until n messages are in the inbox; the clock bounds it. */
static void wait_for(struct fixture *f, size_t n)
{
    int64_t end = env_boot_ns(f->env) + 10 * NS_PER_S;
    while (f->n < n && env_boot_ns(f->env) < end) {
        (void)brk_loop_poll(f->server->loop);
    }
    assert_int_equal(f->n, n);
}

static void settle(struct fixture *f, int64_t ms)
{
    int64_t end = env_boot_ns(f->env) + ms * NS_PER_MS;
    while (env_boot_ns(f->env) < end) {
        (void)brk_loop_poll(f->server->loop);
    }
}

static void publish(struct fixture *f, const char *subject, const char *reply, const char *data)
{
    struct brk_msg m = {.subject = {subject, strlen(subject)},
                        .reply = {reply, strlen(reply)},
                        .payload = (const uint8_t *)data,
                        .payload_len = strlen(data)};
    (void)brk_publish(f->server->global, &m);
}

static const char *request(struct fixture *f, const char *subject, const char *data)
{
    f->n = 0;
    publish(f, subject, "inbox.r", data);
    wait_for(f, 1);
    return f->got[0].data;
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no %s in %s", part, text);
    }
}

static void make_stream(struct fixture *f)
{
    has(request(f, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.>\"]}"),
        "\"did_create\":true");
}

static void make_consumer(struct fixture *f, const char *more)
{
    char body[512];
    (void)snprintf(
        body, sizeof body,
        "{\"stream_name\":\"S\",\"config\":{\"name\":\"c\",\"ack_policy\":\"explicit\"%s}}", more);
    has(request(f, "$JS.API.CONSUMER.CREATE.S.c", body), "\"stream_name\":\"S\"");
}

static void test_requests_keep_their_order(void **state)
{
    (void)state;
    struct fixture *f = setup(0);
    publish(f, "$JS.API.STREAM.CREATE.S", "inbox.1", "{\"name\":\"S\",\"subjects\":[\"s.>\"]}");
    publish(f, "$JS.API.STREAM.INFO.S", "inbox.2", "");
    publish(f, "$JS.API.CONSUMER.CREATE.S.c", "inbox.3",
            "{\"stream_name\":\"S\",\"config\":{\"name\":\"c\"}}");
    publish(f, "$JS.API.CONSUMER.INFO.S.c", "inbox.4", "");
    publish(f, "$JS.API.STREAM.DELETE.S", "inbox.5", "");
    publish(f, "$JS.API.STREAM.INFO.S", "inbox.6", "");
    wait_for(f, 6);
    for (unsigned i = 0; i < 6; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "inbox.%u", i + 1);
        assert_string_equal(f->got[i].subject, name);
    }
    has(f->got[1].data, "\"state\"");
    has(f->got[3].data, "\"num_pending\"");
    has(f->got[4].data, "\"success\":true");
    has(f->got[5].data, "10059");
    teardown(f);
}

static void test_overload(void **state)
{
    (void)state;
    struct fixture *f = setup(2);
    struct brk_sub *adv =
        brk_isub_create(f->server->global, BRK_STR("$JS.EVENT.ADVISORY.API.LIMIT_REACHED"),
                        (struct brk_str){0}, on_inbox, f);
    for (unsigned i = 0; i < 5; i++) {
        publish(f, "$JS.API.INFO", "inbox.r", "");
    }
    assert_int_equal(f->n, 3); /* refused at once */
    has(f->got[0].data, "io.nats.jetstream.api.v1.system_overloaded");
    has(f->got[0].data, "10023");
    wait_for(f, 6);
    has(f->got[3].data, "account_info_response");
    has(f->got[5].data, "\"dropped\":3");
    brk_isub_destroy(adv);
    teardown(f);
}

/* What one account asks for leaves room for the requests of another. */
static void test_overload_of_one_account(void **state)
{
    (void)state;
    struct fixture *f = setup(8);
    struct brk_account *other = brk_account_get(f->server, BRK_STR("OTHER"));
    other->jetstream = true;
    js_enable_account(f->js, other);
    struct brk_sub *inbox =
        brk_isub_create(other, BRK_STR("inbox.>"), (struct brk_str){0}, on_inbox, f);
    for (unsigned i = 0; i < 10; i++) {
        publish(f, "$JS.API.INFO", "inbox.r", "");
    }
    assert_int_equal(f->n, 4); /* refused: six of eight places are taken */
    struct brk_msg m = {.subject = BRK_STR("$JS.API.INFO"), .reply = BRK_STR("inbox.o")};
    (void)brk_publish(other, &m);
    (void)brk_publish(other, &m);
    assert_int_equal(f->n, 4);
    (void)brk_publish(other, &m);
    assert_int_equal(f->n, 5); /* all eight are */
    wait_for(f, 13);
    brk_isub_destroy(inbox);
    teardown(f);
}

static void test_full_journal(void **state)
{
    (void)state;
    struct fixture *f = setup(0);
    make_stream(f);
    f->n = 0;
    fake_store_full(f->store, 3);
    for (unsigned i = 1; i <= 5; i++) {
        char reply[16];
        (void)snprintf(reply, sizeof reply, "inbox.%u", i);
        publish(f, "s.a", reply, "x");
    }
    wait_for(f, 5);
    for (unsigned i = 1; i <= 5; i++) { /* all stored, in order */
        char want[64];
        (void)snprintf(want, sizeof want, "{\"stream\":\"S\",\"seq\":%u}", i);
        assert_string_equal(f->got[i - 1].data, want);
    }
    teardown(f);
}

static void test_pull_and_acks(void **state)
{
    (void)state;
    struct fixture *f = setup(0);
    make_stream(f);
    make_consumer(f, "");
    f->n = 0;
    publish(f, "$JS.API.CONSUMER.MSG.NEXT.S.c", "inbox.p", "{\"batch\":2,\"expires\":5000000000}");
    publish(f, "s.a", "", "one");
    publish(f, "s.b", "", "two");
    wait_for(f, 2);
    assert_string_equal(f->got[0].data, "one");
    assert_memory_equal(f->got[0].reply, "$JS.ACK.S.c.1.1.1.", 18);
    char ack[256];
    copy(ack, sizeof ack, f->got[1].reply, strlen(f->got[1].reply));
    f->n = 0;
    publish(f, ack, "inbox.a", "");
    wait_for(f, 1);
    assert_string_equal(f->got[0].data, "");
    has(request(f, "$JS.API.CONSUMER.INFO.S.c", ""), "\"num_ack_pending\":1");
    f->n = 0;
    publish(f, "$JS.API.CONSUMER.MSG.NEXT.S.c", "inbox.p", "{\"batch\":2,\"no_wait\":true}");
    wait_for(f, 1);
    assert_string_equal(f->got[0].hdr, "NATS/1.0 404 No Messages\r\n\r\n");
    /* an ack with a longer subject, as newer servers may hand out */
    f->n = 0;
    publish(f, "$JS.ACK._.szMpdrwD.S.c.1.1.1.5.0", "inbox.a", "+ACK");
    wait_for(f, 1);
    has(request(f, "$JS.API.CONSUMER.INFO.S.c", ""), "\"num_ack_pending\":0");
    teardown(f);
}

static void test_waiting_when_the_consumer_goes(void **state)
{
    (void)state;
    struct fixture *f = setup(0);
    make_stream(f);
    make_consumer(f, "");
    f->n = 0;
    publish(f, "$JS.API.CONSUMER.MSG.NEXT.S.c", "inbox.p", "{\"batch\":2,\"expires\":5000000000}");
    publish(f, "$JS.API.STREAM.DELETE.S", "inbox.d", "");
    wait_for(f, 2);
    assert_string_equal(f->got[0].hdr, "NATS/1.0 409 Consumer Deleted\r\n\r\n");
    has(f->got[1].data, "\"success\":true");
    teardown(f);
}

static void test_push_follows_interest(void **state)
{
    (void)state;
    struct fixture *f = setup(0);
    make_stream(f);
    make_consumer(f, ",\"deliver_subject\":\"box\",\"durable_name\":\"c\"");
    publish(f, "s.a", "", "one");
    settle(f, 30);
    has(request(f, "$JS.API.CONSUMER.INFO.S.c", ""), "\"num_pending\":1");
    f->n = 0;
    struct brk_sub *box =
        brk_isub_create(f->server->global, BRK_STR("box"), (struct brk_str){0}, on_inbox, f);
    wait_for(f, 1);
    assert_string_equal(f->got[0].subject, "s.a");
    brk_isub_destroy(box);
    settle(f, 10);
    publish(f, "s.a", "", "two");
    settle(f, 30);
    has(request(f, "$JS.API.CONSUMER.INFO.S.c", ""), "\"num_pending\":1");
    teardown(f);
}

static void test_inactive_ephemeral_goes(void **state)
{
    (void)state;
    struct fixture *f = setup(0);
    make_stream(f);
    make_consumer(f, ",\"inactive_threshold\":50000000");
    settle(f, 300);
    has(request(f, "$JS.API.CONSUMER.INFO.S.c", ""), "10014");
    teardown(f);
}

static void test_flow_control_stalls(void **state)
{
    (void)state;
    struct fixture *f = setup(0);
    make_stream(f);
    struct brk_sub *box =
        brk_isub_create(f->server->global, BRK_STR("box"), (struct brk_str){0}, on_inbox, f);
    make_consumer(
        f, ",\"deliver_subject\":\"box\",\"ack_policy\":\"none\",\"flow_control\":true,\"idle_"
           "heartbeat\":100000000");
    char *big = base_malloc(400001);
    memset(big, 'z', 400000);
    big[400000] = '\0';
    f->n = 0;
    for (unsigned i = 0; i < 12; i++) {
        publish(f, "s.a", "", big);
    }
    settle(f, 350);
    unsigned messages = 0;
    const char *ask = NULL;
    bool stalled = false;
    for (size_t i = 0; i < f->n; i++) {
        messages += f->got[i].data[0] == 'z' ? 1 : 0;
        ask = strstr(f->got[i].hdr, "FlowControl Request") != NULL ? f->got[i].reply : ask;
        stalled = stalled || strstr(f->got[i].hdr, "Nats-Consumer-Stalled: $JS.FC.S.c.") != NULL;
    }
    assert_true(messages < 12); /* 2 MiB are out */
    assert_true(stalled);
    assert_non_null(ask);
    char fc[256];
    copy(fc, sizeof fc, ask, strlen(ask));
    f->n = 0;
    publish(f, fc, "", "");
    settle(f, 150);
    assert_true(f->n > 0);
    base_free(big);
    brk_isub_destroy(box);
    teardown(f);
}

static void test_end_with_work_left(void **state)
{
    (void)state;
    struct fixture *f = setup(0);
    make_stream(f);
    make_consumer(f, "");
    publish(f, "$JS.API.CONSUMER.MSG.NEXT.S.c", "inbox.p", "{\"batch\":2,\"expires\":5000000000}");
    publish(f, "$JS.API.STREAM.NAMES", "inbox.n", "");
    publish(f, "s.a", "inbox.a", "x"); /* stored, its answer still to come */
    fake_store_full(f->store, 100);
    publish(f, "s.a", "inbox.a", "x");
    (void)brk_loop_poll(f->server->loop);
    publish(f, "$JS.API.STREAM.PURGE.S", "inbox.p", "");
    publish(f, "s.a", "inbox.b", "x");
    (void)brk_loop_poll(f->server->loop);
    teardown(f); /* the sanitizers look for leaks */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_keep_their_order),
        cmocka_unit_test(test_overload),
        cmocka_unit_test(test_overload_of_one_account),
        cmocka_unit_test(test_full_journal),
        cmocka_unit_test(test_pull_and_acks),
        cmocka_unit_test(test_waiting_when_the_consumer_goes),
        cmocka_unit_test(test_push_follows_interest),
        cmocka_unit_test(test_inactive_ephemeral_goes),
        cmocka_unit_test(test_flow_control_stalls),
        cmocka_unit_test(test_end_with_work_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
