/* Origins of mirrors and sources: what they need of the account's other streams. The rules of one
 * config alone stand in tests/integration/js. */
#include "tests/lib/testlib.h"

#include <stdio.h>
#include <string.h>

#include "broker/js_config.h"
#include "broker/js_origin.h"

static const struct js_limits limits = {.strict = true};

struct account {
    struct js_stream_req v[12];
    size_t n;
};

static void add(struct account *a, const char *text)
{
    struct js_stream_req *r = &a->v[a->n++];
    struct api_error e = {0};
    js_stream_req_init(r);
    assert_true(js_stream_req_parse(r, text, strlen(text), &limits, &e));
    if (!js_stream_req_check(r, &limits, &e)) {
        fail_msg("%s: %s", text, e.text);
    }
}

static const struct stream_cfg *find(void *arg, const char *name)
{
    struct account *a = arg;
    for (size_t i = 0; i < a->n; i++) {
        if (strcmp(a->v[i].cfg.name, name) == 0) {
            return &a->v[i].cfg;
        }
    }
    return NULL;
}

static void account_fini(struct account *a)
{
    while (a->n > 0) {
        js_stream_req_fini(&a->v[--a->n]);
    }
}

/* The verdict about the stream that was added last; 0: good. */
static int verdict(struct account *a, char words[256])
{
    struct api_error e = {0};
    struct js_stream_req *r = &a->v[a->n - 1];
    bool ok = js_origins_check_others(&r->origins, &r->cfg, r->pedantic, find, a, &e);
    assert_int_equal(ok, e.err_code == 0);
    (void)snprintf(words, 256, "%.255s", e.text);
    return (int)e.err_code;
}

static void check(const char *other, const char *third, const char *self, int want)
{
    struct account a = {0};
    char words[256];
    if (other != NULL) {
        add(&a, other);
    }
    if (third != NULL) {
        add(&a, third);
    }
    add(&a, self);
    int got = verdict(&a, words);
    if (got != want) {
        fail_msg("%s: %d %s, not %d", self, got, words, want);
    }
    account_fini(&a);
}

static void cycles(void **state)
{
    (void)state;
    static const char of_s[] =
        "{\"name\":\"O\",\"subjects\":[\"o\"],\"sources\":[{\"name\":\"S\"}]}";
    static const char of_o[] =
        "{\"name\":\"T\",\"subjects\":[\"t\"],\"sources\":[{\"name\":\"O\"}]}";
    static const char plain[] = "{\"name\":\"O\",\"subjects\":[\"o\"]}";
    static const char mirror[] = "{\"name\":\"S\",\"mirror\":{\"name\":\"O\"}}";
    static const char far[] =
        "{\"name\":\"S\",\"subjects\":[\"s\"],\"sources\":[{\"name\":\"T\"}]}";
    check(plain, NULL, mirror, 0);
    check(NULL, NULL, mirror, 0); /* of a stream that is not there yet */
    check(of_s, NULL, mirror, 10052);
    check(of_s, of_o, far, 10052); /* S of T of O of S */
    check(plain, of_o, far, 0);
    /* another account's: whoever asks there sees to it */
    check(of_s, NULL,
          "{\"name\":\"S\",\"mirror\":{\"name\":\"O\",\"external\":{\"api\":\"$JS.x.API\","
          "\"deliver\":\"d\"}}}",
          0);
}

/* A stream may read from itself what its own subjects do not catch. */
static void of_itself(void **state)
{
    (void)state;
    check(NULL, NULL, "{\"name\":\"S\",\"subjects\":[\"s\"],\"sources\":[{\"name\":\"S\"}]}",
          10052);
    check(NULL, NULL,
          "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"sources\":[{\"name\":\"S\",\"filter_subject\":"
          "\"s.a\"}]}",
          10052);
    check(NULL, NULL,
          "{\"name\":\"S\",\"subjects\":[\"s.>\"],\"sources\":[{\"name\":\"S\",\"filter_subject\":"
          "\"t\"}]}",
          0);
    check(NULL, NULL, "{\"name\":\"S\",\"mirror\":{\"name\":\"S\"}}", 10052);
    check(NULL, NULL, "{\"name\":\"S\",\"sources\":[{\"name\":\"S\",\"filter_subject\":\"a\"}]}",
          0);
    static const char back[] =
        "{\"name\":\"S\",\"subjects\":[\"s\"],\"sources\":[{\"name\":\"O\"}]}";
    check("{\"name\":\"O\",\"subjects\":[\"o\"],\"sources\":[{\"name\":\"S\",\"filter_subject\":"
          "\"s\"}]}",
          NULL, back, 0);
    check("{\"name\":\"O\",\"subjects\":[\"o\"],\"sources\":[{\"name\":\"S\",\"filter_subject\":"
          "\"o\"}]}",
          NULL, back, 10052);
}

/* Ways that meet: nats-server 2.14.5's verdicts, which depend on the order. C1 copies C0, C2 copies
 * C1 and so on, D1 copies C0, D2 copies D1, M mirrors a part of C0, F copies a part. */
static void meeting(void **state)
{
    (void)state;
    static const char *const have[] = {
        "{\"name\":\"C0\",\"subjects\":[\"c.>\"]}",
        "{\"name\":\"C1\",\"sources\":[{\"name\":\"C0\"}]}",
        "{\"name\":\"C2\",\"sources\":[{\"name\":\"C1\"}]}",
        "{\"name\":\"C3\",\"sources\":[{\"name\":\"C2\"}]}",
        "{\"name\":\"D1\",\"sources\":[{\"name\":\"C0\"}]}",
        "{\"name\":\"D2\",\"sources\":[{\"name\":\"D1\"}]}",
        "{\"name\":\"M\",\"mirror\":{\"name\":\"C0\",\"filter_subject\":\"c.1\"}}",
        "{\"name\":\"F\",\"sources\":[{\"name\":\"C0\",\"filter_subject\":\"c.1\"}]}",
        "{\"name\":\"X\",\"sources\":[{\"name\":\"GONE\"}]}",
    };
    static const struct {
        const char *first, *second;
        int want;
    } rows[] = {
        {"C0", "C1", 10052}, {"C1", "C0", 0},     {"C0", "C2", 10052}, {"C2", "C0", 10052},
        {"C2", "C1", 0},     {"C1", "C2", 10052}, {"C3", "C1", 10052}, {"C3", "C2", 0},
        {"C1", "D1", 0},     {"C1", "D2", 10052}, {"C2", "D1", 0},     {"C2", "D2", 0},
        {"C3", "D1", 10052}, {"C3", "D2", 0},     {"C0", "M", 10052},  {"M", "C0", 0},
        {"C0", "F", 0},      {"F", "C0", 0},      {"GONE", "X", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct account a = {0};
        char self[128], words[256];
        for (size_t k = 0; k < ARRAY_LEN(have); k++) {
            add(&a, have[k]);
        }
        (void)snprintf(self, sizeof self,
                       "{\"name\":\"S\",\"sources\":[{\"name\":\"%s\"},{\"name\":\"%s\"}]}",
                       rows[i].first, rows[i].second);
        add(&a, self);
        int got = verdict(&a, words);
        if (got != rows[i].want) {
            fail_msg("[%s, %s]: %d, not %d", rows[i].first, rows[i].second, got, rows[i].want);
        }
        account_fini(&a);
    }
}

static void sizes(void **state)
{
    (void)state;
    static const char big[] = "{\"name\":\"O\",\"subjects\":[\"o\"],\"max_msg_size\":100}";
    check(big, NULL, "{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"max_msg_size\":99}", 10030);
    check(big, NULL, "{\"name\":\"S\",\"sources\":[{\"name\":\"O\"}],\"max_msg_size\":99}", 10046);
    check(big, NULL, "{\"name\":\"S\",\"mirror\":{\"name\":\"O\"},\"max_msg_size\":100}", 0);
    check(big, NULL, "{\"name\":\"S\",\"mirror\":{\"name\":\"O\"}}", 0);
}

/* A cycle of others ends the search. */
static void endless(void **state)
{
    (void)state;
    struct account a = {0};
    char words[256];
    add(&a, "{\"name\":\"A\",\"subjects\":[\"a\"],\"sources\":[{\"name\":\"B\"}]}");
    add(&a, "{\"name\":\"B\",\"subjects\":[\"b\"],\"sources\":[{\"name\":\"A\"}]}");
    add(&a, "{\"name\":\"S\",\"mirror\":{\"name\":\"A\"}}"); /* A and B are a cycle of their own */
    assert_int_equal(verdict(&a, words), 10052);
    account_fini(&a);
}

/* Bytes that this version cannot read are as none. */
static void unreadable(void **state)
{
    (void)state;
    static const char *const rows[] = {"{\"mirror\":5}", "{\"sources\"",
                                       "{\"sources\":[{\"name\":1}]}"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct stream_cfg c = {.opaque = (uint8_t *)base_strdup(rows[i]),
                               .opaque_len = strlen(rows[i])};
        struct js_origins o;
        js_origins_read(&c, &o);
        assert_int_equal(o.mirror.n + o.sources.n, 0);
        js_origins_fini(&o);
        base_free(c.opaque);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cycles), cmocka_unit_test(meeting), cmocka_unit_test(of_itself),
        cmocka_unit_test(sizes),  cmocka_unit_test(endless), cmocka_unit_test(unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
