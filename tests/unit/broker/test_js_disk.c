/* Requests that meet a failing or a slow disk: JetStream above the engine on a simulated disk. Each
 * is refused with its own error, and after a restart on a disk that works everything is as it was.
 */
#include "tests/lib/testlib.h"

#include <stdio.h>
#include <string.h>

#include "broker/internal.h"
#include "broker/js.h"
#include "broker/json_out.h"
#include "broker/server.h"
#include "engine/base/env_sim.h"
#include "engine/base/log.h"
#include "engine/eng.h"

#define STEPS_MAX 2000000

struct fixture {
    struct env *env; /* of the loop */
    struct env_sim *sim;
    struct brk_opts opts;
    struct brk_server *server;
    struct store *store;
    struct js *js;
    struct brk_sub *inbox;
    char got[4096]; /* the last answer */
    unsigned n, too_many;
};

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg, (void)level, (void)line, (void)len;
}

static void ring(void *arg)
{
    brk_loop_wake(((struct fixture *)arg)->server->loop);
}

static void on_inbox(void *arg, const struct brk_msg *m)
{
    struct fixture *f = arg;
    (void)snprintf(f->got, sizeof f->got, "%.*s", (int)m->payload_len, (const char *)m->payload);
    static const char status[] = "NATS/1.0 429 Too Many Requests\r\n\r\n";
    if (m->hdr_len == sizeof status - 1 && memcmp(m->hdr, status, m->hdr_len) == 0) {
        assert_string_equal(f->got, "{\"error\":{\"code\":429,\"err_code\":10167,\"description\":"
                                    "\"too many requests\"},\"stream\":\"S\",\"seq\":0}");
        f->too_many++;
    }
    f->n++;
}

static void start(struct fixture *f)
{
    struct err err = {0};
    assert_int_equal(brk_server_create(&f->opts, f->env, &f->server, &err), ST_OK);
    struct eng_opts o = {.store_dir = "/data",
                         .max_file_bytes = UINT64_MAX,
                         .max_mem_bytes = UINT64_MAX,
                         .doorbell = ring,
                         .doorbell_arg = f,
                         .journal_file_min_bytes = 64 * KIB,
                         .journal_file_max_bytes = 256 * KIB,
                         .journal_window_bytes = MIB};
    TEST_OK(eng_open(env_sim_env(f->sim), &o, &f->store, &err), &err);
    struct js_deps deps = {.loop = f->server->loop,
                           .store = f->store,
                           .env = env_sim_env(f->sim),
                           .opts = &f->opts.js,
                           .server_name = "test"};
    f->js = js_create(&deps);
    js_start(f->js, brk_account_first(f->server));
    f->inbox =
        brk_isub_create(f->server->global, BRK_STR("inbox.>"), (struct brk_str){0}, on_inbox, f);
}

/* The process dies; what the disk holds stays. */
static void stop(struct fixture *f)
{
    brk_isub_destroy(f->inbox);
    js_destroy(f->js);
    eng_abandon(f->store);
    env_sim_process_crash(f->sim);
    env_sim_faults_clear(f->sim);
    brk_server_destroy(f->server);
}

static int setup(void **state)
{
    struct fixture *f = base_calloc(1, sizeof *f);
    log_set_sink(quiet, NULL);
    f->env = env_real_create();
    f->sim = env_sim_create(7);
    env_sim_set_real_ns(f->sim, 1700000000 * NS_PER_S);
    brk_opts_init(&f->opts);
    f->opts.js.enabled = true;
    f->opts.js.strict = true;
    start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    stop(f);
    brk_opts_fini(&f->opts);
    env_sim_destroy(f->sim);
    env_real_destroy(f->env);
    base_free(f);
    log_set_sink(NULL, NULL);
    return 0;
}

static const char *request(struct fixture *f, const char *subject, const char *data)
{
    struct brk_msg m = {.subject = {subject, strlen(subject)},
                        .reply = BRK_STR("inbox.r"),
                        .payload = (const uint8_t *)data,
                        .payload_len = strlen(data)};
    unsigned before = f->n;
    (void)brk_publish(f->server->global, &m);
    for (int i = 0; i < STEPS_MAX && f->n == before; i++) {
        (void)env_sim_step_one(f->sim);
        ring(f);
        (void)brk_loop_poll(f->server->loop);
    }
    if (f->n != before + 1) {
        fail_msg("%u answers to %s", f->n - before, subject);
    }
    return f->got;
}

static void has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no %s in %s", part, text);
    }
}

/* As MSG.GET says it: a member of an object. */
static char *base64(const char *p, size_t n)
{
    struct json_out j = {0};
    size_t len;
    json_out_val_base64(&j, p, n);
    json_out_raw(&j, "", 1);
    return json_out_take(&j, &len);
}

static void make(struct fixture *f)
{
    has(request(f, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.>\"]}"),
        "\"did_create\":true");
    has(request(f, "$JS.API.CONSUMER.CREATE.S.c",
                "{\"stream_name\":\"S\",\"config\":{\"name\":\"c\",\"durable_name\":\"c\","
                "\"ack_policy\":\"explicit\"}}"),
        "\"name\":\"c\"");
    for (int i = 0; i < 5; i++) {
        has(request(f, "s.a", "x"), "\"seq\":");
    }
}

static const char *const asks[] = {"$JS.API.STREAM.INFO.S", "$JS.API.CONSUMER.INFO.S.c",
                                   "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.NAMES.S"};

/* What INFO says of stream and consumer, without what is the process's own. */
static void look(struct fixture *f, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        char *text = base_strdup(request(f, asks[i], ""));
        char *ts = strstr(text, ",\"ts\":\"");
        if (ts != NULL) { /* when it was asked */
            *ts = '\0';
        }
        n += (size_t)snprintf(out + n, size - n, "%s\n", text);
        assert_true(n < size);
        base_free(text);
    }
}

/* The request gets `want` from a disk that takes no writes; then, and after a restart, nothing has
 * changed. */
static void refused(void **state, const char *subject, const char *body, const char *want)
{
    struct fixture *f = *state;
    static char before[16384], after[16384];
    make(f);
    look(f, before, sizeof before);
    struct env_sim_fault fault = {.kinds = ENV_SIM_BIT(ENV_SIM_WRITE)};
    env_sim_fault(f->sim, &fault);
    has(request(f, subject, body), want);
    assert_true(env_sim_fault_hits(f->sim) > 0);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) { /* what memory holds is not told */
        has(request(f, asks[i], ""), "\"err_code\":10051,");
    }
    has(request(f, subject, body), "\"error\"");
    stop(f);
    start(f);
    look(f, after, sizeof after);
    assert_string_equal(after, before);
    has(request(f, "s.a", "x"), "\"seq\":6}");
}

static void pause_fails(void **state)
{
    refused(state, "$JS.API.CONSUMER.PAUSE.S.c", "{\"pause_until\":\"2060-01-01T00:00:00Z\"}",
            "\"err_code\":10104,\"description\":\"error creating store for consumer: ");
}

/* A deletion at nats-server cannot fail. */
static void delete_fails(void **state)
{
    refused(state, "$JS.API.STREAM.DELETE.S", "", "\"err_code\":10050,");
}

static void purge_fails(void **state)
{
    refused(state, "$JS.API.STREAM.PURGE.S", "", "\"err_code\":10110,");
}

static void create_fails(void **state)
{
    refused(state, "$JS.API.CONSUMER.CREATE.S.d",
            "{\"stream_name\":\"S\",\"config\":{\"name\":\"d\",\"durable_name\":\"d\"}}",
            "\"err_code\":10012,");
}

static void update_fails(void **state)
{
    refused(state, "$JS.API.STREAM.UPDATE.S",
            "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"max_msgs\":1}", "\"err_code\":10069,");
}

static void message_delete_fails(void **state)
{
    refused(state, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2}", "\"err_code\":10057,");
}

static void publish_fails(void **state)
{
    refused(state, "s.b", "x", "\"err_code\":10077,");
}

/* A disk that stands still, and publishes that do not wait for their acks: what does not fit is
 * refused at once, the rest is stored in order when the disk goes on. */
static void too_many(void **state)
{
    struct fixture *f = *state;
    enum { SENT = 150000 };
    char text[64], want[64];
    make(f);
    unsigned before = f->n;
    for (int i = 0; i < SENT; i++) {
        int n = snprintf(text, sizeof text, "%d", i);
        struct brk_msg m = {.subject = BRK_STR("s.b"),
                            .reply = BRK_STR("inbox.r"),
                            .payload = (const uint8_t *)text,
                            .payload_len = (size_t)n};
        (void)brk_publish(f->server->global, &m);
    }
    unsigned refused = f->too_many;
    assert_true(refused > 0);
    assert_int_equal(f->n, before + refused);
    for (int i = 0; i < STEPS_MAX && f->n < before + SENT; i++) {
        (void)env_sim_step_one(f->sim);
        ring(f);
        (void)brk_loop_poll(f->server->loop);
    }
    assert_int_equal(f->n, before + SENT);
    assert_int_equal(f->too_many, refused); /* everybody is told once, and all others are stored */
    unsigned stored = SENT - refused;
    (void)snprintf(want, sizeof want, "\"seq\":%u}", 5 + stored);
    has(f->got, want);
    (void)snprintf(want, sizeof want, "\"messages\":%u,", 5 + stored);
    has(request(f, "$JS.API.STREAM.INFO.S", ""), want);
    for (unsigned i = 0; i < stored; i += stored / 16) { /* the first ones, in their order */
        (void)snprintf(text, sizeof text, "{\"seq\":%u}", 6 + i);
        size_t n = (size_t)snprintf(want, sizeof want, "%u", i);
        char *b64 = base64(want, n);
        has(request(f, "$JS.API.STREAM.MSG.GET.S", text), b64);
        base_free(b64);
    }
    has(request(f, "s.b", "x"), "\"seq\":");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pause_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(delete_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(purge_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(create_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(update_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(message_delete_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(publish_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(too_many, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
