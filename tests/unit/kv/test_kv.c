/* kv/ over an engine: every call, on the simulated world and on a real directory, and the bytes
 * that stand in the stream. */
#include "tests/lib/testlib.h"

#include <stdio.h>

#include "kv/kv_sync.h"
#include "tests/lib/drivefix.h"

struct world {
    struct drivefix f;
    struct kv_home home;
};

static void world_init(struct world *w, bool real)
{
    drivefix_init(&w->f, real, test_seed());
    w->home = (struct kv_home){w->f.store, w->f.env, "$G"};
}

static void world_fini(struct world *w)
{
    drivefix_settle(&w->f);
    drivefix_fini(&w->f);
}

static struct kv *make(struct world *w, const char *bucket, uint32_t history)
{
    struct kv_config c = {.bucket = bucket, .history = history};
    struct kv *kv;
    struct err err = {0};
    TEST_OK(kv_sync_create(&w->f.drive, &w->home, &c, &kv, &err), &err);
    return kv;
}

static uint64_t put(struct world *w, struct kv *kv, const char *key, const char *value)
{
    uint64_t rev = 0;
    struct err err = {0};
    TEST_OK(kv_sync_put(&w->f.drive, kv, key, value, strlen(value), &rev, &err), &err);
    return rev;
}

static void expect(struct world *w, struct kv *kv, const char *key, const char *value)
{
    struct kv_value v;
    struct err err = {0};
    TEST_OK(kv_sync_get(&w->f.drive, kv, key, 0, &v, &err), &err);
    assert_string_equal((char *)v.value, value);
    assert_string_equal(v.key, key);
    assert_int_equal(v.value_len, strlen(value));
    kv_value_fini(&v);
}

static enum st get_st(struct world *w, struct kv *kv, const char *key, uint64_t rev)
{
    struct kv_value v;
    struct err err = {0};
    enum st st = kv_sync_get(&w->f.drive, kv, key, rev, &v, &err);
    assert_true(st == ST_OK || err.msg[0] != 0);
    kv_value_fini(&v);
    return st;
}

/* Entries as text: "key=value@revision(op) ". */
struct text {
    char s[4096];
    size_t n;
    int initial;
};

static void add(void *arg, const struct kv_entry *e)
{
    static const char *const op[] = {"", "!DEL", "!PURGE"};
    struct text *t = arg;
    t->n += (size_t)snprintf(t->s + t->n, sizeof t->s - t->n, "%s=%.*s@%llu%s ", e->key,
                             (int)e->value_len, e->value == NULL ? "" : (const char *)e->value,
                             (unsigned long long)e->revision, op[e->op]);
}

static void add_initial(void *arg)
{
    struct text *t = arg;
    t->initial++;
    t->n += (size_t)snprintf(t->s + t->n, sizeof t->s - t->n, "| ");
}

static void history(struct world *w, struct kv *kv, const char *key, const char *want)
{
    struct text t = {0};
    struct err err = {0};
    TEST_OK(kv_sync_history(&w->f.drive, kv, key, add, &t, &err), &err);
    assert_string_equal(t.s, want);
}

static void keys(struct world *w, struct kv *kv, const char *filter, const char *want)
{
    struct text t = {0};
    struct err err = {0};
    uint64_t n;
    TEST_OK(kv_sync_keys(&w->f.drive, kv, &filter, filter != NULL, add, &t, &n, &err), &err);
    assert_string_equal(t.s, want);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_names(void **state)
{
    (void)state;
    assert_true(kv_bucket_valid("A-b_9"));
    assert_false(kv_bucket_valid(""));
    assert_false(kv_bucket_valid("a.b"));
    assert_false(kv_bucket_valid("a b"));
    char longest[KV_BUCKET_BYTES_MAX + 2];
    memset(longest, 'x', sizeof longest);
    longest[KV_BUCKET_BYTES_MAX + 1] = 0;
    assert_false(kv_bucket_valid(longest));
    longest[KV_BUCKET_BYTES_MAX] = 0;
    assert_true(kv_bucket_valid(longest));
    static const char *const good[] = {"a", "a.b", "-/_=.x", "A1", "a/b=c"};
    static const char *const bad[] = {"",   ".a",  "a.",       "a..b", "a b",
                                      "a*", "a.>", "\xc3\xa4", "a\n"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(kv_key_valid(good[i]));
        assert_true(kv_filter_valid(good[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(kv_key_valid(bad[i]));
    }
    assert_true(kv_filter_valid("a.*.b"));
    assert_true(kv_filter_valid("a.>"));
    assert_true(kv_filter_valid(">"));
    assert_true(kv_filter_valid("*"));
    assert_false(kv_filter_valid("a*"));
    assert_false(kv_filter_valid("a.>.b"));
    assert_false(kv_filter_valid("a>"));
    assert_false(kv_filter_valid(""));
}

static void basics(bool real)
{
    struct world w;
    struct err err = {0};
    uint64_t rev;
    world_init(&w, real);
    struct kv *kv = make(&w, "B", 3);
    assert_int_equal(put(&w, kv, "a", "1"), 1);
    assert_int_equal(put(&w, kv, "b.c", "2"), 2);
    assert_int_equal(put(&w, kv, "a", "3"), 3);
    expect(&w, kv, "a", "3");
    expect(&w, kv, "b.c", "2");
    assert_int_equal(put(&w, kv, "empty", ""), 4);
    expect(&w, kv, "empty", "");
    TEST_ST(get_st(&w, kv, "a", 1), ST_OK);
    TEST_ST(get_st(&w, kv, "a", 2), ST_NOTFOUND);
    TEST_ST(get_st(&w, kv, "a", 99), ST_NOTFOUND);
    TEST_ST(get_st(&w, kv, "zz", 0), ST_NOTFOUND);
    TEST_ST(get_st(&w, kv, "a.>", 0), ST_INVALID);

    /* compare and set */
    TEST_OK(kv_sync_update(&w.f.drive, kv, "a", "4", 1, 3, &rev, &err), &err);
    assert_int_equal(rev, 5);
    TEST_ST(kv_sync_update(&w.f.drive, kv, "a", "5", 1, 3, &rev, &err), ST_MISMATCH);
    assert_non_null(strstr(err.msg, "revision 5"));
    TEST_ST(kv_sync_update(&w.f.drive, kv, "a", "5", 1, 0, &rev, &err), ST_MISMATCH);
    TEST_ST(kv_sync_create_key(&w.f.drive, kv, "a", "5", 1, 0, &rev, &err), ST_EXISTS);
    TEST_OK(kv_sync_create_key(&w.f.drive, kv, "new", "n", 1, 0, &rev, &err), &err);
    assert_int_equal(rev, 6);

    /* delete, and create over the marker */
    TEST_ST(kv_sync_delete(&w.f.drive, kv, "a", 3, &rev, &err), ST_MISMATCH);
    TEST_OK(kv_sync_delete(&w.f.drive, kv, "a", 5, &rev, &err), &err);
    assert_int_equal(rev, 7);
    TEST_ST(get_st(&w, kv, "a", 0), ST_NOTFOUND);
    TEST_ST(get_st(&w, kv, "a", 5), ST_OK);
    history(&w, kv, "a", "a=3@3 a=4@5 a=@7!DEL ");
    keys(&w, kv, NULL, "b.c=@2 empty=@4 new=@6 ");
    TEST_OK(kv_sync_create_key(&w.f.drive, kv, "a", "again", 5, 0, &rev, &err), &err);
    assert_int_equal(rev, 8);
    history(&w, kv, "a", "a=4@5 a=@7!DEL a=again@8 ");
    TEST_OK(kv_sync_purge(&w.f.drive, kv, "a", 0, 0, &rev, &err), &err);
    history(&w, kv, "a", "a=@9!PURGE ");
    keys(&w, kv, "b.*", "b.c=@2 ");
    TEST_ST(kv_sync_history(&w.f.drive, kv, "none", add, &(struct text){0}, &err), ST_NOTFOUND);

    /* what is there stays */
    kv_close(kv);
    drivefix_settle(&w.f);
    drivefix_restart(&w.f, true);
    w.home.store = w.f.store;
    TEST_OK(kv_open(&w.home, "B", &kv, &err), &err);
    keys(&w, kv, NULL, "b.c=@2 empty=@4 new=@6 ");
    expect(&w, kv, "new", "n");
    kv_close(kv);
    world_fini(&w);
}

static void test_basics_sim(void **state)
{
    (void)state;
    basics(false);
}

static void test_basics_real(void **state)
{
    (void)state;
    basics(true);
}

static void test_buckets(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    world_init(&w, false);
    struct kv *a, *x;
    struct store_kv meta[] = {{(char *)(uintptr_t) "owner", (char *)(uintptr_t) "me"}};
    struct kv_config c = {.bucket = "A",
                          .description = "first",
                          .history = 5,
                          .ttl_ns = 60 * NS_PER_S,
                          .max_bytes = 100000,
                          .max_value_bytes = 100,
                          .compression = true,
                          .metadata = meta,
                          .nmetadata = 1};
    TEST_OK(kv_sync_create(&w.f.drive, &w.home, &c, &a, &err), &err);
    TEST_ST(kv_sync_create(&w.f.drive, &w.home, &c, &x, &err), ST_EXISTS);
    assert_null(x);
    struct kv *b = make(&w, "B", 0);

    const struct stream_cfg *s =
        w.f.store->ops->stream_cfg(w.f.store->ops->stream_find(w.f.store, "$G", "KV_A"));
    assert_string_equal(s->subjects[0], "$KV.A.>");
    assert_int_equal(s->max_msgs_per_subject, 5);
    assert_int_equal(s->duplicates_ns, 60 * NS_PER_S);
    assert_int_equal(s->discard, DISCARD_NEW);
    assert_true(s->allow_rollup && s->deny_delete && s->allow_direct && !s->deny_purge);
    assert_int_equal(s->max_msgs, -1);

    struct kv_status st;
    put(&w, a, "k", "v");
    TEST_OK(kv_sync_status(&w.f.drive, a, &st, &err), &err);
    assert_string_equal(st.bucket, "A");
    assert_string_equal(st.description, "first");
    assert_int_equal(st.values, 1);
    assert_int_equal(st.keys, 1);
    assert_int_equal(st.history, 5);
    assert_int_equal(st.max_value_bytes, 100);
    assert_true(st.compression);
    assert_int_equal(st.nmetadata, 1);
    assert_string_equal(kv_next_bucket(&w.home, NULL), "A");
    assert_string_equal(kv_next_bucket(&w.home, "A"), "B");
    assert_null(kv_next_bucket(&w.home, "B"));

    char big[200] = {0};
    uint64_t rev;
    TEST_ST(kv_sync_put(&w.f.drive, a, "k", big, 101, &rev, &err), ST_TOOBIG);
    c.history = 2;
    c.description = NULL;
    c.max_value_bytes = 0;
    TEST_OK(kv_sync_update_config(&w.f.drive, a, &c, &err), &err);
    TEST_OK(kv_sync_put(&w.f.drive, a, "k", big, 101, &rev, &err), &err);
    TEST_OK(kv_sync_status(&w.f.drive, a, &st, &err), &err);
    assert_null(st.description);
    assert_int_equal(st.history, 2);

    c.history = 65;
    TEST_ST(kv_sync_update_config(&w.f.drive, a, &c, &err), ST_INVALID);
    c = (struct kv_config){.bucket = "bad.name"};
    TEST_ST(kv_sync_create(&w.f.drive, &w.home, &c, &x, &err), ST_INVALID);
    TEST_ST(kv_open(&w.home, "none", &x, &err), ST_NOTFOUND);
    kv_close(a);
    kv_close(b);
    TEST_OK(kv_sync_delete_bucket(&w.f.drive, &w.home, "A", &err), &err);
    TEST_ST(kv_sync_delete_bucket(&w.f.drive, &w.home, "A", &err), ST_NOTFOUND);
    assert_string_equal(kv_next_bucket(&w.home, NULL), "B");
    world_fini(&w);
}

static void watch_failed(void *arg, enum st st, const struct err *err)
{
    (void)arg;
    (void)st;
    fail_msg("%s", err != NULL ? err->msg : "watch failed");
}

static struct kv_watch *watch(struct kv *kv, const struct kv_watch_opts *o, struct text *t)
{
    struct kv_watch_events ev = {t, add, add_initial, watch_failed};
    struct kv_watch *x;
    struct err err = {0};
    TEST_OK(kv_watch(kv, o, &ev, &x, &err), &err);
    return x;
}

static void test_watch(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    uint64_t rev;
    world_init(&w, false);
    struct kv *kv = make(&w, "W", 10);
    put(&w, kv, "a", "1");
    put(&w, kv, "b", "2");
    put(&w, kv, "a", "3");
    TEST_OK(kv_sync_delete(&w.f.drive, kv, "b", 0, &rev, &err), &err);
    static const char *const only_b[] = {"b"}, *const two[] = {"a", "c.*"};
    struct kv_watch_opts o[] = {{0},
                                {.include_history = true},
                                {.updates_only = true},
                                {.ignore_deletes = true},
                                {.meta_only = true},
                                {.from_revision = 3},
                                {.filters = only_b, .nfilters = 1},
                                {.filters = two, .nfilters = 2}};
    static const char *const want[] = {"a=3@3 b=@4!DEL | c.d=5@5 a=@6!PURGE ",
                                       "a=1@1 b=2@2 a=3@3 b=@4!DEL | c.d=5@5 a=@6!PURGE ",
                                       "| c.d=5@5 a=@6!PURGE ",
                                       "a=3@3 | c.d=5@5 ",
                                       "a=@3 b=@4!DEL | c.d=@5 a=@6!PURGE ",
                                       "a=3@3 b=@4!DEL | c.d=5@5 a=@6!PURGE ",
                                       "b=@4!DEL | ",
                                       "a=3@3 | c.d=5@5 a=@6!PURGE "};
    struct text t[ARRAY_LEN(o)] = {0};
    struct kv_watch *x[ARRAY_LEN(o)];
    for (size_t i = 0; i < ARRAY_LEN(o); i++) {
        x[i] = watch(kv, &o[i], &t[i]);
    }
    drivefix_settle(&w.f);
    put(&w, kv, "c.d", "5");
    TEST_OK(kv_sync_purge(&w.f.drive, kv, "a", 0, 0, &rev, &err), &err);
    drivefix_settle(&w.f);
    for (size_t i = 0; i < ARRAY_LEN(o); i++) {
        assert_string_equal(t[i].s, want[i]);
        assert_int_equal(t[i].initial, 1);
    }
    struct stream_state st;
    struct store_stream *s = w.f.store->ops->stream_find(w.f.store, "$G", "KV_W");
    w.f.store->ops->stream_state(s, &st);
    assert_int_equal(st.nconsumers, ARRAY_LEN(o));
    for (size_t i = 0; i < ARRAY_LEN(o) / 2; i++) {
        kv_watch_close(x[i]);
    }
    drivefix_settle(&w.f);
    w.f.store->ops->stream_state(s, &st);
    assert_int_equal(st.nconsumers, ARRAY_LEN(o) / 2);

    struct kv_watch_events ev = {&t[0], add, NULL, NULL};
    static const char *const wrong[] = {"a.>", "a.b"};
    struct kv_watch_opts bad[] = {{.include_history = true, .updates_only = true},
                                  {.filters = wrong, .nfilters = 2},
                                  {.filters = (const char *const[]){"a*b"}, .nfilters = 1}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        TEST_ST(kv_watch(kv, &bad[i], &ev, &x[0], &err), ST_INVALID);
        assert_null(x[0]);
    }
    kv_close(kv); /* closes the others */
    drivefix_settle(&w.f);
    w.f.store->ops->stream_state(s, &st);
    assert_int_equal(st.nconsumers, 0);
    world_fini(&w);
}

/* Nothing comes while a watch is paused, nothing is missing afterwards. */
static void test_watch_pause(void **state)
{
    (void)state;
    struct world w;
    struct text t = {0};
    world_init(&w, false);
    struct kv *kv = make(&w, "P", 10);
    struct kv_watch *x = watch(kv, &(struct kv_watch_opts){0}, &t);
    drivefix_settle(&w.f);
    put(&w, kv, "a", "1");
    drivefix_settle(&w.f);
    assert_string_equal(t.s, "| a=1@1 ");
    kv_watch_pause(x);
    put(&w, kv, "b", "2");
    put(&w, kv, "c", "3");
    drivefix_settle(&w.f);
    assert_string_equal(t.s, "| a=1@1 ");
    kv_watch_resume(x);
    drivefix_settle(&w.f);
    assert_string_equal(t.s, "| a=1@1 b=2@2 c=3@3 ");
    kv_watch_pause(x);
    put(&w, kv, "d", "4");
    kv_close(kv); /* also a paused one */
    drivefix_settle(&w.f);
    assert_string_equal(t.s, "| a=1@1 b=2@2 c=3@3 ");
    world_fini(&w);
}

/* Many keys through a small journal window: full windows and checkpoints under way. */
static void test_many(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    uint64_t n = 0, rev;
    char key[32], value[512];
    world_init(&w, false);
    struct kv *kv = make(&w, "M", 1);
    memset(value, 'v', sizeof value);
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof key, "k.%d.%d", i % 10, i);
        TEST_OK(kv_sync_put(&w.f.drive, kv, key, value, sizeof value, &rev, &err), &err);
        if (i % 3 == 0) {
            TEST_OK(kv_sync_delete(&w.f.drive, kv, key, rev, &rev, &err), &err);
        }
    }
    TEST_OK(kv_sync_keys(&w.f.drive, kv, NULL, 0, NULL, NULL, &n, &err), &err);
    assert_int_equal(n, 2000);
    TEST_OK(kv_sync_keys(&w.f.drive, kv, (const char *const[]){"k.1.>"}, 1, NULL, NULL, &n, &err),
            &err);
    assert_int_equal(n, 200);
    TEST_OK(kv_sync_purge_deletes(&w.f.drive, kv, 0, &n, &err), &err);
    assert_int_equal(n, 1000);
    struct kv_status st;
    TEST_OK(kv_sync_status(&w.f.drive, kv, &st, &err), &err);
    assert_int_equal(st.values, 2000);
    kv_close(kv);
    world_fini(&w);
}

/* A marker on what would be a wildcard: no client's key, but anybody can publish it. */
static void test_wildcard_keys(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    uint64_t n = 0, rev;
    world_init(&w, false);
    struct kv *kv = make(&w, "M", 1);
    struct store_stream *s = w.f.store->ops->stream_find(w.f.store, "$G", "KV_M");
    put(&w, kv, "a", "1");
    put(&w, kv, "b.c", "2");
    put(&w, kv, "gone", "3");
    TEST_OK(kv_sync_delete(&w.f.drive, kv, "gone", 0, &rev, &err), &err);
    static const char *const key[] = {"$KV.M.*", "$KV.M.>", "$KV.M.b.*", "$KV.M.*.>"};
    static const char hdr[] = "NATS/1.0\r\nKV-Operation: DEL\r\n\r\n";
    for (size_t i = 0; i < ARRAY_LEN(key); i++) {
        struct store_append a = {.subject = key[i],
                                 .subject_len = (uint32_t)strlen(key[i]),
                                 .hdr = (const uint8_t *)hdr,
                                 .hdr_len = sizeof hdr - 1};
        assert_int_equal(w.f.store->ops->append(s, &a, NULL, NULL), ST_OK);
    }
    drivefix_settle(&w.f);
    TEST_OK(kv_sync_purge_deletes(&w.f.drive, kv, 0, &n, &err), &err);
    assert_int_equal(n, 1);
    expect(&w, kv, "a", "1");
    expect(&w, kv, "b.c", "2");
    assert_int_equal(get_st(&w, kv, "gone", 0), ST_NOTFOUND);
    kv_close(kv);
    world_fini(&w);
}

struct counted {
    unsigned n;
    bool all;
};

static void count_put(void *arg, enum st st, uint64_t rev, const struct err *err)
{
    struct counted *c = arg;
    (void)rev;
    (void)err;
    assert_int_equal(st, ST_OK);
    c->all = ++c->n == 200;
}

/* Many puts under way at once: more than the journal window holds. */
static void test_window(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    struct counted done = {0};
    char key[32];
    static uint8_t value[20000];
    world_init(&w, false);
    struct kv *kv = make(&w, "F", 1);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k%d", i);
        TEST_OK(kv_put(kv, key, value, sizeof value, count_put, &done, &err), &err);
    }
    assert_int_equal(done.n, 0);
    TEST_OK(store_drive_until(&w.f.drive, &done.all), NULL);
    assert_int_equal(done.n, 200);
    kv_close(kv);
    world_fini(&w);
}

/* The bytes clients expect. */
static void got_msg(void *arg, enum st st, const struct msg *m)
{
    struct text *t = arg;
    assert_int_equal(st, ST_OK);
    snprintf(t->s, sizeof t->s, "%.*s %.*s", (int)m->subj_len, (const char *)m->subj,
             (int)m->hdr_len, m->hdr == NULL ? "" : (const char *)m->hdr);
    t->initial = 1;
}

static void raw(struct world *w, uint64_t seq, const char *want)
{
    struct text t = {0};
    struct store_get g = {.kind = GET_BY_SEQ, .seq = seq, .subject = ""};
    w->f.store->ops->get(w->f.store->ops->stream_find(w->f.store, "$G", "KV_R"), &g, got_msg, &t);
    drivefix_settle(&w->f);
    assert_int_equal(t.initial, 1);
    assert_string_equal(t.s, want);
}

static void test_bytes(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    uint64_t rev;
    world_init(&w, false);
    struct kv *kv = make(&w, "R", 10);
    put(&w, kv, "a", "1");
    raw(&w, 1, "$KV.R.a ");
    TEST_OK(kv_sync_update(&w.f.drive, kv, "a", "2", 1, 1, &rev, &err), &err);
    raw(&w, 2, "$KV.R.a NATS/1.0\r\nNats-Expected-Last-Subject-Sequence: 1\r\n\r\n");
    TEST_OK(kv_sync_delete(&w.f.drive, kv, "a", 0, &rev, &err), &err);
    raw(&w, 3, "$KV.R.a NATS/1.0\r\nKV-Operation: DEL\r\n\r\n");
    TEST_OK(kv_sync_purge(&w.f.drive, kv, "a", 3, 0, &rev, &err), &err);
    raw(&w, 4,
        "$KV.R.a NATS/1.0\r\nKV-Operation: PURGE\r\nNats-Expected-Last-Subject-Sequence: 3\r\n"
        "Nats-Rollup: sub\r\n\r\n");
    /* markers of the server */
    struct store_stream *s = w.f.store->ops->stream_find(w.f.store, "$G", "KV_R");
    static const char hdr[] = "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\n\r\n";
    struct store_append a = {.subject = "$KV.R.m",
                             .subject_len = 7,
                             .hdr = (const uint8_t *)hdr,
                             .hdr_len = sizeof hdr - 1};
    assert_int_equal(w.f.store->ops->append(s, &a, NULL, NULL), ST_OK);
    drivefix_settle(&w.f);
    TEST_ST(get_st(&w, kv, "m", 0), ST_NOTFOUND);
    history(&w, kv, "m", "m=@5!PURGE ");
    kv_close(kv);
    world_fini(&w);
}

/* A mirror has its origin's subjects: read, never written. */
static void on_made(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    (void)err;
    assert_int_equal(st, ST_OK);
    *(struct store_stream **)arg = s;
}

static void test_mirror(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    uint64_t rev;
    world_init(&w, false);
    struct stream_cfg cfg;
    struct store_stream *s = NULL;
    stream_cfg_init(&cfg);
    cfg.account = base_strdup("$G");
    cfg.name = base_strdup("KV_COPY");
    cfg.mirror = true;
    cfg.max_msgs_per_subject = 3;
    w.f.store->ops->stream_create(w.f.store, &cfg, on_made, &s);
    stream_cfg_fini(&cfg);
    drivefix_settle(&w.f);
    assert_non_null(s);
    for (uint64_t seq = 5; seq < 7; seq++) {
        struct store_append a = {.subject = "$KV.ORIGIN.a.b",
                                 .subject_len = 14,
                                 .data = (const uint8_t *)(seq == 5 ? "x" : "y"),
                                 .data_len = 1,
                                 .at_seq = seq,
                                 .at_time_ns = 1700000000 * NS_PER_S};
        assert_int_equal(w.f.store->ops->append(s, &a, NULL, NULL), ST_OK);
    }
    drivefix_settle(&w.f);
    struct kv *kv;
    TEST_OK(kv_open(&w.home, "COPY", &kv, &err), &err);
    expect(&w, kv, "a.b", "y");
    history(&w, kv, "a.b", "a.b=x@5 a.b=y@6 ");
    keys(&w, kv, "a.*", "a.b=@6 ");
    TEST_ST(kv_sync_put(&w.f.drive, kv, "a.b", "z", 1, &rev, &err), ST_DENIED);
    TEST_ST(kv_sync_purge_deletes(&w.f.drive, kv, 0, &rev, &err), ST_DENIED);
    kv_close(kv);
    world_fini(&w);
}

/* Keys that go by themselves, and the markers they leave. */
static void test_ttl(void **state)
{
    (void)state;
    struct world w;
    struct err err = {0};
    uint64_t rev;
    world_init(&w, false);
    struct kv *kv = make(&w, "PLAIN", 1);
    TEST_ST(kv_sync_create_key(&w.f.drive, kv, "a", "1", 1, NS_PER_S, &rev, &err), ST_UNSUPPORTED);
    kv_close(kv);
    struct kv_config c = {.bucket = "T", .history = 1, .limit_marker_ttl_ns = 100 * NS_PER_S};
    TEST_OK(kv_sync_create(&w.f.drive, &w.home, &c, &kv, &err), &err);
    TEST_ST(kv_sync_create_key(&w.f.drive, kv, "a", "1", 1, NS_PER_S / 2, &rev, &err), ST_INVALID);
    TEST_OK(kv_sync_create_key(&w.f.drive, kv, "a", "1", 1, 5 * NS_PER_S, &rev, &err), &err);
    TEST_OK(kv_sync_purge(&w.f.drive, kv, "b", 0, 5 * NS_PER_S, &rev, &err), &err);
    put(&w, kv, "stays", "1");
    expect(&w, kv, "a", "1");
    env_sim_advance(w.f.sim, 6 * NS_PER_S);
    (void)w.f.store->ops->timers(w.f.store);
    drivefix_settle(&w.f);
    TEST_ST(get_st(&w, kv, "a", 0), ST_NOTFOUND);
    history(&w, kv, "a", "a=@4!PURGE ");
    TEST_ST(kv_sync_history(&w.f.drive, kv, "b", NULL, NULL, &err), ST_NOTFOUND);
    keys(&w, kv, NULL, "stays=@3 ");
    kv_close(kv);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_basics_sim),
        cmocka_unit_test(test_basics_real), cmocka_unit_test(test_buckets),
        cmocka_unit_test(test_watch),       cmocka_unit_test(test_watch_pause),
        cmocka_unit_test(test_many),        cmocka_unit_test(test_wildcard_keys),
        cmocka_unit_test(test_window),      cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_ttl),         cmocka_unit_test(test_mirror),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
