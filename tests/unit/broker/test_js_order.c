/* Requests of one account that come together: in which order they show, what they wait for, and
 * that changes share a group commit. JetStream above the engine on a simulated disk. */
#include "tests/lib/js_fixture.h"

#include <stdlib.h>

enum { MOST = 64 };

/* Answers by the request's place in what was sent. */
struct answers {
    char text[MOST][1024];
    unsigned n;
    struct brk_sub *sub;
};

static struct answers a;

static void on_answer(void *arg, const struct brk_msg *m)
{
    (void)arg;
    unsigned i = (unsigned)strtoul(m->subject.p + strlen("order."), NULL, 10);
    assert_true(i < MOST && a.text[i][0] == '\0');
    (void)snprintf(a.text[i], sizeof a.text[i], "%.*s", (int)m->payload_len,
                   (const char *)m->payload);
    a.n++;
}

static void send(struct jsf *f, unsigned i, const char *subject, const char *data)
{
    char reply[32];
    (void)snprintf(reply, sizeof reply, "order.%u", i);
    struct brk_msg m = {.subject = {subject, strlen(subject)},
                        .reply = {reply, strlen(reply)},
                        .payload = (const uint8_t *)data,
                        .payload_len = strlen(data)};
    (void)brk_publish(f->server->global, &m);
}

/* The server's turns while the disk stands still. */
static void turns(struct jsf *f)
{
    for (int i = 0; i < 200; i++) {
        jsf_ring(f);
        (void)brk_loop_poll(f->server->loop);
    }
}

static void finish(struct jsf *f, unsigned n)
{
    for (int i = 0; i < JSF_STEPS_MAX && a.n < n; i++) {
        jsf_step(f);
    }
    assert_int_equal(a.n, n);
}

static void listen(struct jsf *f)
{
    memset(&a, 0, sizeof a);
    a.sub = brk_isub_create(f->server->global, BRK_STR("order.*"), (struct brk_str){0}, on_answer,
                            NULL);
}

static void silence(void)
{
    brk_isub_destroy(a.sub);
    a.sub = NULL;
}

static int teardown(void **state)
{
    if (a.sub != NULL) { /* a test that failed half-way */
        silence();
    }
    return jsf_teardown(state);
}

struct ask {
    const char *subject, *body;
};

/* All of them at once. Nothing may be answered before the disk has moved. */
static void together(struct jsf *f, const struct ask *q, unsigned n)
{
    listen(f);
    for (unsigned i = 0; i < n; i++) {
        send(f, i, q[i].subject, q[i].body);
    }
    turns(f);
    assert_int_equal(a.n, 0);
    finish(f, n);
    silence();
}

static void stream(struct jsf *f, const char *more)
{
    char body[256];
    (void)snprintf(body, sizeof body, "{\"name\":\"S\",\"subjects\":[\"s.>\"]%s}", more);
    jsf_has(jsf_request(f, "$JS.API.STREAM.CREATE.S", body), "\"did_create\":true");
}

static void fill(struct jsf *f, unsigned n)
{
    char subject[32];
    for (unsigned i = 1; i <= n; i++) {
        (void)snprintf(subject, sizeof subject, "s.%u", i);
        jsf_has(jsf_request(f, subject, "x"), "\"seq\":");
    }
}

static uint64_t groups(struct jsf *f)
{
    static struct eng_info info;
    eng_info_get(f->store, &info);
    return info.groups;
}

#define CREATE(name, more)                                                                         \
    {                                                                                              \
        "$JS.API.CONSUMER.CREATE.S." name,                                                         \
            "{\"stream_name\":\"S\",\"config\":{\"name\":\"" name "\",\"durable_name\":\"" name    \
            "\",\"ack_policy\":\"explicit\"" more "}}"                                             \
    }

/* --- messages --------------------------------------------------------------------------------- */

static void deletes_share_a_commit(void **state)
{
    struct jsf *f = *state;
    enum { N = 20 };
    static char body[N][32];
    struct ask q[N + 2];
    stream(f, "");
    fill(f, N);
    for (unsigned i = 0; i < N; i++) {
        (void)snprintf(body[i], sizeof body[i], "{\"seq\":%u,\"no_erase\":true}", i + 1);
        q[i] = (struct ask){"$JS.API.STREAM.MSG.DELETE.S", body[i]};
    }
    q[N] = (struct ask){"$JS.API.STREAM.INFO.S", ""};
    q[N + 1] = q[0]; /* once more */
    uint64_t before = groups(f);
    together(f, q, N + 2);
    assert_true(groups(f) - before <= 2);
    for (unsigned i = 0; i < N; i++) {
        jsf_has(a.text[i], "\"success\":true");
    }
    jsf_has(a.text[N], "\"messages\":0,");
    jsf_has(a.text[N + 1], "\"description\":\"no message found\"");
}

static void purges_share_a_commit(void **state)
{
    struct jsf *f = *state;
    static const struct ask q[] = {
        {"$JS.API.STREAM.PURGE.S", "{\"filter\":\"s.2\"}"},
        {"$JS.API.STREAM.PURGE.S", "{\"filter\":\"s.3\"}"},
        {"$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.3\"}"},
        {"$JS.API.STREAM.PURGE.S", "{\"seq\":5}"},
        {"$JS.API.STREAM.PURGE.S", ""},
        {"$JS.API.STREAM.INFO.S", ""},
    };
    stream(f, "");
    fill(f, 6);
    uint64_t before = groups(f);
    together(f, q, ARRAY_LEN(q));
    assert_true(groups(f) - before <= 3);
    jsf_has(a.text[0], "\"purged\":1");
    jsf_has(a.text[1], "\"purged\":1");
    jsf_has(a.text[2], "\"err_code\":10037,");
    jsf_has(a.text[3], "\"purged\":2"); /* 1 and 4 */
    jsf_has(a.text[4], "\"purged\":2");
    jsf_has(a.text[5], "\"messages\":0,");
    jsf_has(a.text[5], "\"first_seq\":7,");
}

/* Why a message is not there is said as of the request, not of what came behind it. */
static void misses_are_worded_in_order(void **state)
{
    struct jsf *f = *state;
    static const struct ask q[] = {
        {"$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2,\"no_erase\":true}"},
        {"$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2,\"no_erase\":true}"},
        {"$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":1,\"no_erase\":true}"},
        {"$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2,\"no_erase\":true}"},
        {"$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":9,\"no_erase\":true}"},
    };
    stream(f, "");
    fill(f, 4);
    together(f, q, ARRAY_LEN(q));
    jsf_has(a.text[0], "\"success\":true");
    jsf_has(a.text[1], "\"err_code\":10043,\"description\":\"sequence 2 not found\"");
    jsf_has(a.text[2], "\"success\":true");
    jsf_has(a.text[3], "\"description\":\"no message found\"");
    jsf_has(a.text[4], "\"description\":\"stream store EOF\"");
}

/* The whole comes back when the disk never took it: nobody was told otherwise. */
static void what_was_not_answered_may_be_undone(void **state)
{
    struct jsf *f = *state;
    stream(f, "");
    fill(f, 3);
    listen(f);
    send(f, 0, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2,\"no_erase\":true}");
    send(f, 1, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":2}");
    send(f, 2, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2,\"no_erase\":true}");
    turns(f);
    assert_int_equal(a.n, 0);
    silence();
    jsf_stop(f);
    jsf_start(f);
    jsf_has(jsf_request(f, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":2}"), "\"subject\":\"s.2\"");
}

/* --- consumers -------------------------------------------------------------------------------- */

static void consumers_are_made_side_by_side(void **state)
{
    struct jsf *f = *state;
    static const struct ask q[] = {
        CREATE("a", ""),
        CREATE("b", ""),
        CREATE("a", ""), /* there already, and the same */
        CREATE("c", ""),
        CREATE("b", ",\"max_deliver\":3"),
        {"$JS.API.CONSUMER.NAMES.S", ""},
        {"$JS.API.CONSUMER.INFO.S.c", ""},
    };
    stream(f, "");
    together(f, q, ARRAY_LEN(q));
    for (unsigned i = 0; i < 5; i++) {
        jsf_has(a.text[i], "\"stream_name\":\"S\"");
    }
    jsf_has(a.text[4], "\"max_deliver\":3");
    jsf_has(a.text[5], "\"consumers\":[\"a\",\"b\",\"c\"]");
    jsf_has(a.text[6], "\"name\":\"c\"");
}

static void many_share_a_commit(void **state)
{
    struct jsf *f = *state;
    enum { N = 16 };
    static char subject[N][48], body[N][128];
    struct ask q[N];
    stream(f, "");
    for (unsigned i = 0; i < N; i++) {
        (void)snprintf(subject[i], sizeof subject[i], "$JS.API.CONSUMER.CREATE.S.c%u", i);
        (void)snprintf(body[i], sizeof body[i],
                       "{\"stream_name\":\"S\",\"config\":{\"name\":\"c%u\"}}", i);
        q[i] = (struct ask){subject[i], body[i]};
    }
    uint64_t before = groups(f);
    together(f, q, N);
    assert_true(groups(f) - before <= 3);
    for (unsigned i = 0; i < N; i++) {
        jsf_has(a.text[i], "\"created\":");
        (void)snprintf(subject[i], sizeof subject[i], "$JS.API.CONSUMER.DELETE.S.c%u", i);
        q[i] = (struct ask){subject[i], ""};
    }
    before = groups(f);
    together(f, q, N);
    assert_true(groups(f) - before <= 2);
    jsf_has(jsf_request(f, "$JS.API.CONSUMER.NAMES.S", ""), "\"consumers\":[]");
}

static void a_limit_holds(void **state)
{
    struct jsf *f = *state;
    static const struct ask q[] = {CREATE("a", ""), CREATE("b", ""), CREATE("c", "")};
    stream(f, ",\"max_consumers\":2");
    together(f, q, ARRAY_LEN(q));
    jsf_has(a.text[0], "\"name\":\"a\"");
    jsf_has(a.text[1], "\"name\":\"b\"");
    jsf_has(a.text[2], "\"err_code\":10026,");
}

static void a_work_queue_has_one(void **state)
{
    struct jsf *f = *state;
    static const struct ask q[] = {CREATE("a", ",\"filter_subject\":\"s.1\""),
                                   CREATE("b", ",\"filter_subject\":\"s.*\"")};
    stream(f, ",\"retention\":\"workqueue\"");
    together(f, q, ARRAY_LEN(q));
    jsf_has(a.text[0], "\"name\":\"a\"");
    jsf_has(a.text[1], "\"err_code\":10100,");
}

/* Those whose name stands in the body only are made one after the other. */
static void names_in_bodies(void **state)
{
    struct jsf *f = *state;
    static const char x[] = "{\"stream_name\":\"S\",\"config\":{\"name\":\"x\"}}";
    static const struct ask q[] = {{"$JS.API.CONSUMER.CREATE.S", x},
                                   {"$JS.API.CONSUMER.CREATE.S.x", x},
                                   {"$JS.API.CONSUMER.CREATE.S", x}};
    stream(f, "");
    together(f, q, ARRAY_LEN(q));
    for (unsigned i = 0; i < ARRAY_LEN(q); i++) {
        jsf_has(a.text[i], "\"name\":\"x\"");
    }
}

static void deleted_and_made_again(void **state)
{
    struct jsf *f = *state;
    static const struct ask q[] = {
        {"$JS.API.CONSUMER.DELETE.S.a", ""}, {"$JS.API.CONSUMER.INFO.S.a", ""},
        {"$JS.API.CONSUMER.DELETE.S.a", ""}, CREATE("a", ",\"max_deliver\":7"),
        {"$JS.API.CONSUMER.INFO.S.a", ""},   {"$JS.API.STREAM.DELETE.S", ""},
        {"$JS.API.CONSUMER.INFO.S.a", ""}};
    static const struct ask one = CREATE("a", "");
    stream(f, "");
    jsf_has(jsf_request(f, one.subject, one.body), "\"name\":\"a\"");
    together(f, q, ARRAY_LEN(q));
    jsf_has(a.text[0], "\"success\":true");
    jsf_has(a.text[1], "\"err_code\":10014,");
    jsf_has(a.text[2], "\"err_code\":10014,");
    jsf_has(a.text[3], "\"max_deliver\":7");
    jsf_has(a.text[4], "\"max_deliver\":7");
    jsf_has(a.text[5], "\"success\":true");
    jsf_has(a.text[6], "\"err_code\":10059,");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, jsf_setup, teardown)
    const struct CMUnitTest tests[] = {
        T(deletes_share_a_commit),
        T(purges_share_a_commit),
        T(misses_are_worded_in_order),
        T(what_was_not_answered_may_be_undone),
        T(consumers_are_made_side_by_side),
        T(many_share_a_commit),
        T(a_limit_holds),
        T(a_work_queue_has_one),
        T(names_in_bodies),
        T(deleted_and_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
