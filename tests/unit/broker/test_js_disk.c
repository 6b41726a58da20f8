/* Requests that meet a failing or a slow disk: JetStream above the engine on a simulated disk. Each
 * is refused with its own error, and after a restart on a disk that works everything is as it was.
 */
#include "tests/lib/js_fixture.h"

#include "broker/json_out.h"

/* As MSG.GET says it: a member of an object. */
static char *base64(const char *p, size_t n)
{
    struct json_out j = {0};
    size_t len;
    json_out_val_base64(&j, p, n);
    json_out_raw(&j, "", 1);
    return json_out_take(&j, &len);
}

static void make(struct jsf *f)
{
    jsf_has(jsf_request(f, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.>\"]}"),
            "\"did_create\":true");
    jsf_has(jsf_request(f, "$JS.API.CONSUMER.CREATE.S.c",
                        "{\"stream_name\":\"S\",\"config\":{\"name\":\"c\",\"durable_name\":\"c\","
                        "\"ack_policy\":\"explicit\"}}"),
            "\"name\":\"c\"");
    for (int i = 0; i < 5; i++) {
        jsf_has(jsf_request(f, "s.a", "x"), "\"seq\":");
    }
}

static const char *const asks[] = {"$JS.API.STREAM.INFO.S", "$JS.API.CONSUMER.INFO.S.c",
                                   "$JS.API.STREAM.NAMES", "$JS.API.CONSUMER.NAMES.S"};

/* What INFO says of stream and consumer, without what is the process's own. */
static void look(struct jsf *f, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        char *text = base_strdup(jsf_request(f, asks[i], ""));
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
    struct jsf *f = *state;
    static char before[16384], after[16384];
    make(f);
    look(f, before, sizeof before);
    struct env_sim_fault fault = {.kinds = ENV_SIM_BIT(ENV_SIM_WRITE)};
    env_sim_fault(f->sim, &fault);
    jsf_has(jsf_request(f, subject, body), want);
    assert_true(env_sim_fault_hits(f->sim) > 0);
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) { /* what memory holds is not told */
        jsf_has(jsf_request(f, asks[i], ""), "\"err_code\":10051,");
    }
    jsf_has(jsf_request(f, subject, body), "\"error\"");
    jsf_stop(f);
    jsf_start(f);
    look(f, after, sizeof after);
    assert_string_equal(after, before);
    jsf_has(jsf_request(f, "s.a", "x"), "\"seq\":6}");
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
    struct jsf *f = *state;
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
    for (int i = 0; i < JSF_STEPS_MAX && f->n < before + SENT; i++) {
        jsf_step(f);
    }
    assert_int_equal(f->n, before + SENT);
    assert_int_equal(f->too_many, refused); /* everybody is told once, and all others are stored */
    unsigned stored = SENT - refused;
    (void)snprintf(want, sizeof want, "\"seq\":%u}", 5 + stored);
    jsf_has(f->got, want);
    (void)snprintf(want, sizeof want, "\"messages\":%u,", 5 + stored);
    jsf_has(jsf_request(f, "$JS.API.STREAM.INFO.S", ""), want);
    for (unsigned i = 0; i < stored; i += stored / 16) { /* the first ones, in their order */
        (void)snprintf(text, sizeof text, "{\"seq\":%u}", 6 + i);
        size_t n = (size_t)snprintf(want, sizeof want, "%u", i);
        char *b64 = base64(want, n);
        jsf_has(jsf_request(f, "$JS.API.STREAM.MSG.GET.S", text), b64);
        base_free(b64);
    }
    jsf_has(jsf_request(f, "s.b", "x"), "\"seq\":");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pause_fails, jsf_setup, jsf_teardown),
        cmocka_unit_test_setup_teardown(delete_fails, jsf_setup, jsf_teardown),
        cmocka_unit_test_setup_teardown(purge_fails, jsf_setup, jsf_teardown),
        cmocka_unit_test_setup_teardown(create_fails, jsf_setup, jsf_teardown),
        cmocka_unit_test_setup_teardown(update_fails, jsf_setup, jsf_teardown),
        cmocka_unit_test_setup_teardown(message_delete_fails, jsf_setup, jsf_teardown),
        cmocka_unit_test_setup_teardown(publish_fails, jsf_setup, jsf_teardown),
        cmocka_unit_test_setup_teardown(too_many, jsf_setup, jsf_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
