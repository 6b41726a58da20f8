/* A store that a later version has written, as far as the broker alone can tell: what it does not
 * know of a config takes the stream offline, everything else is served, and nothing is touched. */
#include "tests/lib/js_fixture.h"

#include "broker/js_offline.h"

struct changed {
    int calls;
    enum st st;
};

static void on_stream(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    struct changed *c = arg;
    (void)s;
    (void)err;
    c->calls++;
    c->st = st;
}

static void on_cons(void *arg, enum st st, struct store_cons *s, const struct err *err)
{
    struct changed *c = arg;
    (void)s;
    (void)err;
    c->calls++;
    c->st = st;
}

static void settle(struct jsf *f, struct changed *c)
{
    for (int i = 0; i < JSF_STEPS_MAX && c->calls == 0; i++) {
        jsf_step(f);
    }
    assert_int_equal(c->calls, 1);
    assert_int_equal(c->st, ST_OK);
}

static void set(uint8_t **p, size_t *n, const char *json)
{
    base_free(*p);
    *p = json != NULL ? (uint8_t *)base_strdup(json) : NULL;
    *n = json != NULL ? strlen(json) : 0;
}

/* What the broker keeps of the stream, or of its consumer, is this from now on, on disk too. */
static void write_stream(struct jsf *f, const char *stream, const char *json)
{
    struct changed c = {0};
    struct stream_cfg cfg;
    struct store_stream *ss = f->store->ops->stream_find(f->store, "$G", stream);
    stream_cfg_copy(&cfg, f->store->ops->stream_cfg(ss));
    set(&cfg.opaque, &cfg.opaque_len, json);
    f->store->ops->stream_update(f->store, ss, &cfg, on_stream, &c);
    stream_cfg_fini(&cfg);
    settle(f, &c);
}

static void write_consumer(struct jsf *f, const char *stream, const char *name, const char *json)
{
    struct changed c = {0};
    struct cons_cfg cfg;
    struct store_stream *ss = f->store->ops->stream_find(f->store, "$G", stream);
    struct store_cons *sc = f->store->ops->cons_find(ss, name);
    cons_cfg_copy(&cfg, f->store->ops->cons_cfg(sc));
    set(&cfg.opaque, &cfg.opaque_len, json);
    f->store->ops->cons_update(sc, &cfg, on_cons, &c);
    cons_cfg_fini(&cfg);
    settle(f, &c);
}

static void make(struct jsf *f, const char *name)
{
    char subject[64], body[256];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.CREATE.%s", name);
    (void)snprintf(body, sizeof body, "{\"name\":\"%s\",\"subjects\":[\"%s.>\"]}", name, name);
    jsf_has(jsf_request(f, subject, body), "\"did_create\":true");
    for (int i = 0; i < 2; i++) {
        (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.CREATE.%s.c%d", name, i);
        (void)snprintf(body, sizeof body,
                       "{\"stream_name\":\"%s\",\"config\":{\"name\":\"c%d\",\"durable_name\":"
                       "\"c%d\",\"ack_policy\":\"explicit\"}}",
                       name, i, i);
        jsf_has(jsf_request(f, subject, body), "\"stream_name\"");
        (void)snprintf(subject, sizeof subject, "%s.x", name);
        jsf_has(jsf_request(f, subject, "hello"), "\"seq\"");
    }
}

/* What is said of the stream and its consumers, but for the time of asking. */
static char *look(struct jsf *f, const char *name)
{
    static const char *const asks[][2] = {
        {"STREAM.INFO.", ""}, {"CONSUMER.INFO.", ".c0"}, {"CONSUMER.INFO.", ".c1"}};
    char subject[64], all[8192];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        (void)snprintf(subject, sizeof subject, "$JS.API.%s%s%s", asks[i][0], name, asks[i][1]);
        (void)jsf_request(f, subject, "");
        assert_null(strstr(f->got, "\"error\""));
        char *ts = strstr(f->got, ",\"ts\":\"");
        if (ts != NULL) {
            *ts = '\0';
        }
        n += (size_t)snprintf(all + n, sizeof all - n, "%s\n", f->got);
        assert_true(n < sizeof all);
    }
    return base_strdup(all);
}

static void restart(struct jsf *f)
{
    jsf_stop(f);
    jsf_start(f);
}

/* Every request about it is refused with the same reason. */
static void all_refused(struct jsf *f, const char *want)
{
    static const char *const asks[][2] = {
        {"STREAM.INFO.S", ""},
        {"STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"S.>\"]}"},
        {"STREAM.UPDATE.S", "{\"name\":\"S\",\"subjects\":[\"S.>\"],\"max_msgs\":1}"},
        {"STREAM.PURGE.S", ""},
        {"STREAM.MSG.GET.S", "{\"seq\":1}"},
        {"STREAM.MSG.DELETE.S", "{\"seq\":1}"},
        {"STREAM.SNAPSHOT.S", "{\"deliver_subject\":\"inbox.s\"}"},
        {"CONSUMER.CREATE.S.d",
         "{\"stream_name\":\"S\",\"config\":{\"name\":\"d\",\"durable_name\":\"d\"}}"},
        {"CONSUMER.LIST.S", ""},
        {"CONSUMER.NAMES.S", ""},
        {"CONSUMER.INFO.S.c1", ""},
        {"CONSUMER.DELETE.S.c1", ""},
        {"CONSUMER.PAUSE.S.c1", ""},
        {"CONSUMER.RESET.S.c1", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        char subject[64];
        (void)snprintf(subject, sizeof subject, "$JS.API.%s", asks[i][0]);
        jsf_has(jsf_request(f, subject, asks[i][1]), want);
    }
}

static void publish_unheard(struct jsf *f)
{
    struct brk_msg m = {.subject = BRK_STR("S.x"),
                        .reply = BRK_STR("inbox.r"),
                        .payload = (const uint8_t *)"x",
                        .payload_len = 1};
    unsigned before = f->n;
    (void)brk_publish(f->server->global, &m);
    jsf_has(jsf_request(f, "U.x", "x"), "\"stream\":\"U\",\"seq\":"); /* was served before */
    assert_int_equal(f->n, before + 1);
}

static void stream_of_a_later_version(void **state)
{
    struct jsf *f = *state;
    make(f, "S");
    make(f, "U");
    char *before = look(f, "S");
    write_stream(f, "S", "{\"sources\":[],\"sources_v2\":[{\"name\":\"U\"}]}");
    restart(f);
    all_refused(f,
                "\"error\":{\"code\":500,\"err_code\":10194,\"description\":\"stream is offline: "
                "decoding error: json: unknown field \\\"sources_v2\\\"\"}");
    jsf_has(jsf_request(f, "$JS.API.STREAM.NAMES", ""), "\"streams\":[\"S\",\"U\"]");
    jsf_has(jsf_request(f, "$JS.API.STREAM.LIST", ""),
            "],\"missing\":[\"S\"],\"offline\":{\"S\":\"decoding error: json: unknown field "
            "\\\"sources_v2\\\"\"}}");
    assert_null(strstr(f->got, "\"config\":{\"name\":\"S\""));
    jsf_has(f->got, "\"config\":{\"name\":\"U\"");
    publish_unheard(f);
    write_stream(f, "S", NULL); /* as if the later version came back */
    restart(f);
    char *after = look(f, "S");
    assert_string_equal(after, before);
    jsf_has(jsf_request(f, "S.x", "x"), "\"seq\":3}");
    base_free(before);
    base_free(after);
}

static void consumer_of_a_later_version(void **state)
{
    struct jsf *f = *state;
    make(f, "S");
    make(f, "U");
    char *before = look(f, "S");
    write_consumer(f, "S", "c0", "{\"later\":1}");
    restart(f);
    all_refused(f,
                "\"error\":{\"code\":500,\"err_code\":10194,\"description\":\"stream is offline: "
                "stopped - unsupported consumer \\\"c0\\\"\"}");
    jsf_has(jsf_request(f, "$JS.API.CONSUMER.INFO.S.c0", ""),
            "\"error\":{\"code\":500,\"err_code\":10195,\"description\":\"consumer is offline: "
            "decoding error: ");
    publish_unheard(f);
    write_consumer(f, "S", "c0", NULL);
    restart(f);
    char *after = look(f, "S");
    assert_string_equal(after, before);
    base_free(before);
    base_free(after);
}

static void can_be_deleted(void **state)
{
    struct jsf *f = *state;
    make(f, "S");
    make(f, "U");
    write_stream(f, "S", "{\"later\":true}");
    restart(f);
    jsf_has(jsf_request(f, "$JS.API.STREAM.DELETE.S", ""), "\"success\":true");
    make(f, "S");
    restart(f);
    jsf_has(jsf_request(f, "$JS.API.STREAM.NAMES", ""), "\"streams\":[\"S\",\"U\"]");
    jsf_has(jsf_request(f, "$JS.API.STREAM.INFO.S", ""), "\"messages\":2,");
}

/* All that this version itself keeps there is known to it; what it cannot read at all is as none.
 */
static void known(void **state)
{
    (void)state;
    static const char *const rows[] = {
        "{\"consumer_limits\":{\"inactive_threshold\":1,\"max_ack_pending\":2}}",
        "{\"placement\":{\"cluster\":\"x\",\"tags\":[\"y\"]}}",
        "{\"mirror\":{\"name\":\"O\",\"opt_start_seq\":3,\"filter_subject\":\"a\",\"external\":"
        "{\"api\":\"a\",\"deliver\":\"d\"}}}",
        "{\"sources\":[{\"name\":\"O\",\"opt_start_time\":\"2020-01-01T00:00:00Z\","
        "\"subject_transforms\":[{\"src\":\"a\",\"dest\":\"b\"}],\"consumer\":{\"name\":\"n\","
        "\"deliver_subject\":\"d\"}}]}",
        "{\"subject_transform\":{\"src\":\"a\",\"dest\":\"b\"},\"republish\":{\"src\":\"a\","
        "\"dest\":\"b\",\"headers_only\":true}}",
        "{\"placement\"",
        "[]",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_cfg c = {.opaque = (uint8_t *)base_strdup(rows[i]),
                               .opaque_len = strlen(rows[i])};
        char *why = js_offline_stream_reason(&c);
        if (why != NULL) {
            fail_msg("%s: %s", rows[i], why);
        }
        base_free(c.opaque);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(stream_of_a_later_version, jsf_setup, jsf_teardown),
        cmocka_unit_test_setup_teardown(consumer_of_a_later_version, jsf_setup, jsf_teardown),
        cmocka_unit_test_setup_teardown(can_be_deleted, jsf_setup, jsf_teardown),
        cmocka_unit_test(known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
