/* objstore/ over an engine: every call, on the simulated world and on a real directory, and the
 * bytes that stand in the stream. */
#include "tests/lib/testlib.h"

#include <stdio.h>

#include "objstore/obj_sync.h"
#include "tests/lib/drivefix.h"

struct world {
    struct drivefix f;
    struct obj_home home;
    struct err err;
};

static void world_init(struct world *w, bool real)
{
    memset(w, 0, sizeof *w);
    drivefix_init(&w->f, real, test_seed());
    w->home = (struct obj_home){w->f.store, w->f.env, "$G"};
}

static void world_fini(struct world *w)
{
    drivefix_settle(&w->f);
    drivefix_fini(&w->f);
}

static struct obj_bucket *make(struct world *w, const char *name)
{
    struct obj_config c = {.bucket = name};
    struct obj_bucket *b;
    TEST_OK(obj_sync_create(&w->f.drive, &w->home, &c, &b, &w->err), &w->err);
    return b;
}

/* A source and a sink of bytes that are a function of their place. */
struct bytes {
    uint64_t size, at, fail_at;
    unsigned salt;
    bool wrong;
};

static uint8_t byte_at(const struct bytes *s, uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16) + s->salt);
}

static enum st source(void *arg, uint8_t *buf, size_t cap, size_t *n_out, struct err *err)
{
    struct bytes *s = arg;
    size_t n = (size_t)u64_min(u64_min(cap, s->size - s->at), 1 + (s->at * 7919) % 40000);
    for (size_t i = 0; i < n; i++) {
        buf[i] = byte_at(s, s->at + i);
    }
    s->at += n;
    *n_out = n;
    if (s->fail_at != 0 && s->at >= s->fail_at) {
        return err_set(err, ST_IO, 0, "the source broke");
    }
    return ST_OK;
}

static enum st sink(void *arg, const uint8_t *data, size_t len, struct err *err)
{
    struct bytes *s = arg;
    for (size_t i = 0; i < len; i++) {
        s->wrong = s->wrong || data[i] != byte_at(s, s->at + i);
    }
    s->at += len;
    if (s->fail_at != 0 && s->at >= s->fail_at) {
        return err_set(err, ST_IO, 0, "the sink broke");
    }
    return ST_OK;
}

static void put(struct world *w, struct obj_bucket *b, const char *name, uint64_t size,
                unsigned salt, uint32_t chunk)
{
    struct bytes s = {.size = size, .salt = salt};
    struct obj_meta m = {.name = name, .chunk_bytes = chunk};
    struct obj_info i;
    TEST_OK(obj_sync_put(&w->f.drive, b, &m, source, &s, &i, &w->err), &w->err);
    uint32_t c = chunk == 0 ? OBJ_CHUNK_BYTES_DEFAULT : chunk;
    assert_int_equal(i.size, size);
    assert_int_equal(i.chunks, (size + c - 1) / c);
    assert_string_equal(i.name, name);
    obj_info_fini(&i);
}

static enum st get_range(struct world *w, struct obj_bucket *b, const char *name, unsigned salt,
                         uint64_t offset, uint64_t length, uint64_t *given)
{
    struct bytes s = {.salt = salt, .at = offset};
    struct obj_sink to = {.arg = &s, .data = sink};
    struct obj_get_opts o = {.offset = offset, .length = length};
    enum st st = obj_sync_get(&w->f.drive, b, name, &o, &to, &w->err);
    assert_false(s.wrong);
    *given = s.at - offset;
    return st;
}

static void get(struct world *w, struct obj_bucket *b, const char *name, uint64_t size,
                unsigned salt)
{
    uint64_t n;
    TEST_OK(get_range(w, b, name, salt, 0, 0, &n), &w->err);
    assert_int_equal(n, size);
}

static uint64_t messages(struct world *w, struct obj_bucket *b)
{
    struct obj_status s;
    TEST_OK(obj_sync_status(&w->f.drive, b, &s, &w->err), &w->err);
    return s.messages;
}

struct names {
    char s[2048];
    size_t n;
};

static void add_name(void *arg, const struct obj_info *i)
{
    struct names *t = arg;
    t->n +=
        (size_t)snprintf(t->s + t->n, sizeof t->s - t->n, "%s%s ", i->name, i->deleted ? "!" : "");
}

static void list(struct world *w, struct obj_bucket *b, const char *want)
{
    struct names t = {0};
    uint64_t n;
    TEST_OK(obj_sync_list(&w->f.drive, b, add_name, &t, &n, &w->err), &w->err);
    assert_string_equal(t.s, want);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void put_get(bool real)
{
    struct world w;
    struct obj_info i;
    uint64_t n;
    world_init(&w, real);
    struct obj_bucket *b = make(&w, "B");
    put(&w, b, "empty", 0, 1, 0);
    put(&w, b, "one", 1, 2, 0);
    put(&w, b, "exact", 2 * OBJ_CHUNK_BYTES_DEFAULT, 3, 0);
    put(&w, b, "\xc3\xa4 name / with *.>", 300001, 4, 1000);
    get(&w, b, "empty", 0, 1);
    get(&w, b, "one", 1, 2);
    get(&w, b, "exact", 2 * OBJ_CHUNK_BYTES_DEFAULT, 3);
    get(&w, b, "\xc3\xa4 name / with *.>", 300001, 4);
    TEST_ST(get_range(&w, b, "none", 0, 0, 0, &n), ST_NOTFOUND);
    assert_int_equal(messages(&w, b), 4 + 1 + 2 + 301);

    /* replaced: the old chunks go */
    put(&w, b, "exact", 5000, 5, 1024);
    get(&w, b, "exact", 5000, 5);
    assert_int_equal(messages(&w, b), 4 + 1 + 5 + 301);
    list(&w, b, "empty one \xc3\xa4 name / with *.> exact ");

    drivefix_settle(&w.f);
    obj_close(b);
    drivefix_settle(&w.f);
    drivefix_restart(&w.f, true);
    w.home.store = w.f.store;
    TEST_OK(obj_open(&w.home, "B", &b, &w.err), &w.err);
    get(&w, b, "exact", 5000, 5);
    TEST_OK(obj_sync_info(&w.f.drive, b, "exact", &i, &w.err), &w.err);
    assert_int_equal(i.chunk_bytes, 1024);
    assert_int_equal(strlen(i.nuid), 22);
    assert_int_equal(strncmp(i.digest, "SHA-256=", 8), 0);
    assert_true(i.mtime_ns > 1600000000 * NS_PER_S);
    obj_info_fini(&i);

    TEST_OK(obj_sync_delete(&w.f.drive, b, "exact", &w.err), &w.err);
    TEST_ST(obj_sync_info(&w.f.drive, b, "exact", &i, &w.err), ST_NOTFOUND);
    assert_true(i.deleted);
    obj_info_fini(&i);
    TEST_ST(obj_sync_delete(&w.f.drive, b, "exact", &w.err), ST_NOTFOUND);
    TEST_ST(get_range(&w, b, "exact", 0, 0, 0, &n), ST_NOTFOUND);
    assert_int_equal(messages(&w, b), 4 + 1 + 301);
    list(&w, b, "empty one \xc3\xa4 name / with *.> ");
    obj_close(b);
    world_fini(&w);
}

static void test_put_get_sim(void **state)
{
    (void)state;
    put_get(false);
}

static void test_put_get_real(void **state)
{
    (void)state;
    put_get(true);
}

/* More bytes than the journal window, in pieces and with checkpoints in between. */
static void test_large(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "L");
    put(&w, b, "big", 5 * MIB + 17, 9, 0);
    get(&w, b, "big", 5 * MIB + 17, 9);
    obj_close(b);
    world_fini(&w);
}

static void on_put_done(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    (void)i;
    (void)err;
    assert_int_equal(st, ST_OK);
    *(bool *)arg = true;
}

/* Ranges, where chunks lie one behind the other and where two puts took turns. */
static void test_ranges(void **state)
{
    (void)state;
    struct world w;
    uint64_t n;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "R");
    put(&w, b, "plain", 10000, 1, 100);
    struct obj_put *p[2];
    bool done[2] = {false, false};
    for (unsigned k = 0; k < 2; k++) {
        struct obj_meta m = {.name = k == 0 ? "left" : "right", .chunk_bytes = 100};
        struct obj_put_events ev = {&done[k], NULL, on_put_done};
        TEST_OK(obj_put_open(b, &m, &ev, &p[k], &w.err), &w.err);
    }
    struct bytes src = {.size = 10000, .salt = 1};
    for (uint64_t at = 0; at < 10000; at += 50) {
        uint8_t piece[50];
        for (unsigned i = 0; i < 50; i++) {
            piece[i] = byte_at(&src, at + i);
        }
        for (unsigned k = 0; k < 2; k++) {
            while (obj_put_room(p[k]) < 50) {
                drivefix_settle(&w.f);
            }
            obj_put_write(p[k], piece, 50);
        }
    }
    for (unsigned k = 0; k < 2; k++) {
        obj_put_finish(p[k]);
        TEST_OK(store_drive_until(&w.f.drive, &done[k]), NULL);
    }
    static const char *const names[] = {"plain", "left", "right"};
    static const uint64_t range[][3] = {/* offset, length, given */
                                        {0, 1, 1},          {0, 100, 100},     {50, 100, 100},
                                        {100, 100, 100},    {4999, 3, 3},      {9999, 1, 1},
                                        {9900, 0, 100},     {9950, 1000, 50},  {10000, 0, 0},
                                        {5000, 5000, 5000}, {123, 9000, 9000}, {300, 0, 9700}};
    for (size_t k = 0; k < ARRAY_LEN(names); k++) {
        for (size_t r = 0; r < ARRAY_LEN(range); r++) {
            TEST_OK(get_range(&w, b, names[k], 1, range[r][0], range[r][1], &n), &w.err);
            assert_int_equal(n, range[r][2]);
        }
        TEST_ST(get_range(&w, b, names[k], 1, 10001, 0, &n), ST_INVALID);
    }
    obj_close(b);
    world_fini(&w);
}

/* Going on with a partial get: the digest covers what was there before. */
static void test_resume(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "R");
    put(&w, b, "o", 10000, 1, 100);
    struct obj_info i;
    TEST_OK(obj_sync_info(&w.f.drive, b, "o", &i, &w.err), &w.err);
    for (unsigned wrong = 0; wrong < 3; wrong++) {
        uint8_t there[3333];
        struct bytes s = {.salt = 1};
        for (unsigned k = 0; k < sizeof there; k++) {
            there[k] = (uint8_t)(byte_at(&s, k) + (wrong == 1 && k == 2222));
        }
        s.at = sizeof there;
        struct obj_get_opts o = {.offset = sizeof there,
                                 .before = obj_digest_create(),
                                 .nuid = wrong == 2 ? "other" : i.nuid};
        struct obj_sink to = {.arg = &s, .data = sink};
        obj_digest_add(o.before, there, sizeof there);
        TEST_ST(obj_sync_get(&w.f.drive, b, "o", &o, &to, &w.err), wrong == 0   ? ST_OK
                                                                   : wrong == 1 ? ST_CORRUPT
                                                                                : ST_MISMATCH);
        assert_int_equal(s.at, wrong == 2 ? sizeof there : 10000);
    }
    obj_info_fini(&i);
    obj_close(b);
    world_fini(&w);
}

static void test_failed_put(void **state)
{
    (void)state;
    struct world w;
    struct obj_info i;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "F");
    put(&w, b, "o", 5000, 1, 100);
    struct bytes s = {.size = 100000, .fail_at = 50000};
    struct obj_meta m = {.name = "o", .chunk_bytes = 100};
    TEST_ST(obj_sync_put(&w.f.drive, b, &m, source, &s, &i, &w.err), ST_IO);
    assert_string_equal(w.err.msg, "the source broke");
    obj_info_fini(&i);
    assert_int_equal(messages(&w, b), 51);
    get(&w, b, "o", 5000, 1);

    /* a sink that fails stops the get */
    struct bytes d = {.salt = 1, .fail_at = 1000};
    struct obj_sink to = {.arg = &d, .data = sink};
    TEST_ST(obj_sync_get(&w.f.drive, b, "o", &(struct obj_get_opts){0}, &to, &w.err), ST_IO);
    assert_int_equal(d.at, 1000);
    obj_close(b);

    /* a bucket that fills up */
    struct obj_config c = {.bucket = "SMALL", .max_bytes = 20000};
    TEST_OK(obj_sync_create(&w.f.drive, &w.home, &c, &b, &w.err), &w.err);
    s = (struct bytes){.size = 100000};
    TEST_ST(obj_sync_put(&w.f.drive, b, &m, source, &s, &i, &w.err), ST_FULL);
    obj_info_fini(&i);
    assert_int_equal(messages(&w, b), 0);
    put(&w, b, "o", 5000, 1, 1000);
    obj_close(b);
    world_fini(&w);
}

/* Where a get is cancelled: 0 at once, 1 when the meta came, 2 with the first data, 3 while paused.
 */
struct cancel {
    struct obj_get *g;
    unsigned where;
    bool done;
    enum st st;
    uint64_t n;
};

static void cancel_info(void *arg, const struct obj_info *i)
{
    struct cancel *c = arg;
    (void)i;
    if (c->where == 1) {
        obj_get_cancel(c->g);
    }
}

static void cancel_data(void *arg, const uint8_t *data, size_t len)
{
    struct cancel *c = arg;
    (void)data;
    c->n += len;
    if (c->where == 2) {
        obj_get_cancel(c->g);
    } else {
        obj_get_pause(c->g);
    }
}

static void cancel_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct cancel *c = arg;
    assert_non_null(err);
    assert_int_equal(n, c->n);
    assert_false(c->done);
    c->done = true;
    c->st = st;
}

static void put_cancelled(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    (void)i;
    (void)err;
    assert_int_equal(st, ST_CLOSED);
    *(bool *)arg = true;
}

static void test_cancel(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "C");
    put(&w, b, "o", 5000, 1, 100);
    for (unsigned where = 0; where < 4; where++) {
        struct cancel c = {.where = where};
        struct obj_get_events ev = {&c, cancel_info, cancel_data, cancel_done};
        TEST_OK(obj_get_open(b, "o", &(struct obj_get_opts){0}, &ev, &c.g, &w.err), &w.err);
        if (where == 3) {
            drivefix_settle(&w.f);
            assert_int_equal(c.n, 100);
        }
        if (where == 0 || where == 3) {
            obj_get_cancel(c.g);
            assert_false(c.done);
        }
        TEST_OK(store_drive_until(&w.f.drive, &c.done), NULL);
        assert_int_equal(c.st, ST_CLOSED);
        assert_int_equal(c.n, where < 2 ? 0 : 100);
    }
    /* paused and resumed at each chunk */
    struct cancel c = {.where = 4};
    struct obj_get_events ev = {&c, cancel_info, cancel_data, cancel_done};
    TEST_OK(obj_get_open(b, "o", &(struct obj_get_opts){0}, &ev, &c.g, &w.err), &w.err);
    for (unsigned i = 1; i <= 49; i++) {
        drivefix_settle(&w.f);
        assert_int_equal(c.n, 100 * i);
        obj_get_resume(c.g);
    }
    obj_get_cancel(c.g);
    TEST_OK(store_drive_until(&w.f.drive, &c.done), NULL);

    for (unsigned finish = 0; finish < 2; finish++) {
        bool done = false;
        struct obj_put *p;
        struct obj_put_events pev = {&done, NULL, put_cancelled};
        struct obj_meta m = {.name = "x", .chunk_bytes = 10};
        TEST_OK(obj_put_open(b, &m, &pev, &p, &w.err), &w.err);
        obj_put_write(p, "0123456789", 10);
        obj_put_write(p, "01234", 5);
        if (finish == 1) {
            obj_put_finish(p);
        }
        obj_put_cancel(p);
        TEST_OK(store_drive_until(&w.f.drive, &done), NULL);
        assert_int_equal(messages(&w, b), 51);
    }
    obj_close(b);
    world_fini(&w);
}

static void on_deleted(void *arg, enum st st, uint64_t n, const struct err *err)
{
    (void)arg;
    (void)n;
    (void)err;
    assert_int_equal(st, ST_OK);
}

static void test_damage(void **state)
{
    (void)state;
    struct world w;
    uint64_t n;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "D");
    put(&w, b, "o", 1000, 1, 100);
    struct store_stream *s = w.f.store->ops->stream_find(w.f.store, "$G", "OBJ_D");
    w.f.store->ops->msg_delete(s, 5, false, on_deleted, NULL);
    drivefix_settle(&w.f);
    TEST_ST(get_range(&w, b, "o", 1, 0, 0, &n), ST_CORRUPT);
    TEST_ST(get_range(&w, b, "o", 1, 700, 0, &n), ST_CORRUPT);
    assert_int_equal(n, 0);

    /* a digest that is another's */
    put(&w, b, "p", 1000, 1, 100);
    struct obj_info i;
    TEST_OK(obj_sync_info(&w.f.drive, b, "p", &i, &w.err), &w.err);
    i.digest[9] = i.digest[9] == 'A' ? 'B' : 'A';
    size_t len;
    char *json = obj_info_json(&i, &len);
    struct store_append a = {.subject = "$O.D.M.cA==",
                             .subject_len = 11,
                             .data = (const uint8_t *)json,
                             .data_len = (uint32_t)len};
    assert_int_equal(w.f.store->ops->append(s, &a, NULL, NULL), ST_OK);
    base_free(json);
    obj_info_fini(&i);
    TEST_ST(get_range(&w, b, "p", 1, 0, 0, &n), ST_CORRUPT);
    assert_non_null(strstr(w.err.msg, "digest"));
    TEST_OK(get_range(&w, b, "p", 1, 0, 500, &n), &w.err);

    /* the kind in small letters, as the first clients wrote it */
    put(&w, b, "p", 1000, 1, 100);
    TEST_OK(obj_sync_info(&w.f.drive, b, "p", &i, &w.err), &w.err);
    memcpy(i.digest, "sha", 3);
    a.data = (const uint8_t *)(json = obj_info_json(&i, &len));
    a.data_len = (uint32_t)len;
    assert_int_equal(w.f.store->ops->append(s, &a, NULL, NULL), ST_OK);
    base_free(json);
    obj_info_fini(&i);
    TEST_OK(get_range(&w, b, "p", 1, 0, 0, &n), &w.err);

    /* meta that is none */
    a.data = (const uint8_t *)"{\"name\":7}";
    a.data_len = 10;
    assert_int_equal(w.f.store->ops->append(s, &a, NULL, NULL), ST_OK);
    TEST_ST(get_range(&w, b, "p", 1, 0, 0, &n), ST_CORRUPT);
    list(&w, b, "o ");
    obj_close(b);
    world_fini(&w);
}

/* Meta that says it is another object's, or bears a name that no subject holds: what is done is
 * done to the object whose subject it stands on. */
static void test_lies(void **state)
{
    (void)state;
    struct world w;
    struct obj_info i;
    uint64_t n;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "L");
    struct store_stream *s = w.f.store->ops->stream_find(w.f.store, "$G", "OBJ_L");
    put(&w, b, "o", 1000, 1, 100);
    char *json = base_malloc(70000);
    for (int k = 0; k < 2; k++) {
        int len = snprintf(json, 70000, "{\"name\":\"%s%*s\",\"nuid\":\"x\"}", k == 0 ? "o" : "",
                           k == 0 ? 0 : 60000, "");
        struct store_append a = {.subject = "$O.L.M.cA==",
                                 .subject_len = 11,
                                 .data = (const uint8_t *)json,
                                 .data_len = (uint32_t)len};
        assert_int_equal(w.f.store->ops->append(s, &a, NULL, NULL), ST_OK);
        drivefix_settle(&w.f);
        TEST_OK(obj_sync_info(&w.f.drive, b, "p", &i, &w.err), &w.err);
        assert_string_equal(i.name, "p");
        obj_info_fini(&i);
        TEST_OK(obj_sync_delete(&w.f.drive, b, "p", &w.err), &w.err);
        TEST_ST(obj_sync_info(&w.f.drive, b, "p", &i, &w.err), ST_NOTFOUND);
        obj_info_fini(&i);
        TEST_OK(get_range(&w, b, "o", 1, 0, 0, &n), &w.err);
    }
    base_free(json);
    obj_close(b);
    world_fini(&w);
}

static void test_meta(void **state)
{
    (void)state;
    struct world w;
    struct obj_info i;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "M"), *other = make(&w, "N");
    put(&w, b, "o", 1000, 1, 100);
    put(&w, b, "q", 10, 2, 100);
    struct obj_header h[] = {{(char *)(uintptr_t) "A", (char *)(uintptr_t) "1"},
                             {(char *)(uintptr_t) "B", (char *)(uintptr_t) "2"},
                             {(char *)(uintptr_t) "A", (char *)(uintptr_t) "3"}};
    struct store_kv kv[] = {{(char *)(uintptr_t) "k", (char *)(uintptr_t) "\"v\"\n\\"}};
    struct obj_meta m = {.name = "o",
                         .description = "what",
                         .headers = h,
                         .nheaders = 3,
                         .metadata = kv,
                         .nmetadata = 1};
    TEST_OK(obj_sync_update_meta(&w.f.drive, b, "o", &m, &i, &w.err), &w.err);
    obj_info_fini(&i);
    TEST_OK(obj_sync_info(&w.f.drive, b, "o", &i, &w.err), &w.err);
    assert_string_equal(i.description, "what");
    assert_int_equal(i.nheaders, 3);
    assert_string_equal(i.headers[0].value, "1");
    assert_string_equal(i.headers[1].value, "3");
    assert_string_equal(i.headers[2].name, "B");
    assert_string_equal(i.metadata[0].value, "\"v\"\n\\");
    assert_int_equal(i.size, 1000);
    obj_info_fini(&i);
    get(&w, b, "o", 1000, 1);

    m = (struct obj_meta){.name = "q"};
    TEST_ST(obj_sync_update_meta(&w.f.drive, b, "o", &m, NULL, &w.err), ST_EXISTS);
    TEST_ST(obj_sync_update_meta(&w.f.drive, b, "zz", &m, NULL, &w.err), ST_NOTFOUND);
    m.name = "renamed";
    TEST_OK(obj_sync_update_meta(&w.f.drive, b, "o", &m, NULL, &w.err), &w.err);
    get(&w, b, "renamed", 1000, 1);
    TEST_ST(obj_sync_info(&w.f.drive, b, "o", NULL, &w.err), ST_NOTFOUND);
    list(&w, b, "q renamed ");

    obj_close(b);
    obj_close(other);
    world_fini(&w);
}

static void test_links_and_seal(void **state)
{
    (void)state;
    struct world w;
    struct obj_info i;
    uint64_t n;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "M"), *other = make(&w, "N");
    struct obj_meta m = {.name = "renamed"};
    put(&w, b, "renamed", 1000, 1, 100);
    put(&w, b, "q", 10, 2, 100);
    TEST_OK(obj_sync_link(&w.f.drive, other, "l", b, "renamed", &i, &w.err), &w.err);
    assert_string_equal(i.link_bucket, "M");
    assert_string_equal(i.link_name, "renamed");
    obj_info_fini(&i);
    get(&w, other, "l", 1000, 1);
    TEST_OK(get_range(&w, other, "l", 1, 500, 10, &n), &w.err);
    TEST_OK(obj_sync_link(&w.f.drive, b, "m", b, "q", NULL, &w.err), &w.err);
    get(&w, b, "m", 10, 2);
    TEST_ST(obj_sync_link(&w.f.drive, b, "x", other, "l", NULL, &w.err), ST_INVALID);
    TEST_ST(obj_sync_link(&w.f.drive, b, "q", b, "renamed", NULL, &w.err), ST_EXISTS);
    TEST_ST(obj_sync_link(&w.f.drive, b, "x", b, "none", NULL, &w.err), ST_NOTFOUND);
    TEST_OK(obj_sync_link_bucket(&w.f.drive, b, "all", "N", NULL, &w.err), &w.err);
    TEST_ST(get_range(&w, b, "all", 0, 0, 0, &n), ST_INVALID);
    TEST_OK(obj_sync_link(&w.f.drive, b, "all", b, "q", NULL, &w.err), &w.err);
    TEST_OK(obj_sync_delete(&w.f.drive, b, "m", &w.err), &w.err);
    TEST_OK(obj_sync_delete(&w.f.drive, b, "renamed", &w.err), &w.err);
    TEST_ST(get_range(&w, other, "l", 1, 0, 0, &n), ST_NOTFOUND);

    /* sealed: read, and nothing else */
    TEST_OK(obj_sync_seal(&w.f.drive, b, &w.err), &w.err);
    struct bytes s = {.size = 1000};
    TEST_ST(obj_sync_put(&w.f.drive, b, &m, source, &s, NULL, &w.err), ST_DENIED);
    TEST_ST(obj_sync_delete(&w.f.drive, b, "q", &w.err), ST_DENIED);
    get(&w, b, "q", 10, 2);
    struct obj_status st;
    TEST_OK(obj_sync_status(&w.f.drive, b, &st, &w.err), &w.err);
    assert_true(st.sealed);
    assert_string_equal(obj_next_bucket(&w.home, NULL), "M");
    assert_string_equal(obj_next_bucket(&w.home, "M"), "N");
    assert_null(obj_next_bucket(&w.home, "N"));
    obj_close(b);
    obj_close(other);
    TEST_OK(obj_sync_delete_bucket(&w.f.drive, &w.home, "M", &w.err), &w.err);
    TEST_ST(obj_open(&w.home, "M", &b, &w.err), ST_NOTFOUND);
    world_fini(&w);
}

static void add_bar(void *arg)
{
    struct names *t = arg;
    t->n += (size_t)snprintf(t->s + t->n, sizeof t->s - t->n, "| ");
}

static void test_watch(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, false);
    struct obj_bucket *b = make(&w, "W");
    put(&w, b, "a", 10, 1, 0);
    put(&w, b, "b", 10, 1, 0);
    TEST_OK(obj_sync_delete(&w.f.drive, b, "a", &w.err), &w.err);
    struct obj_watch_opts o[] = {{0}, {.updates_only = true}, {.ignore_deletes = true}};
    static const char *const want[] = {"b a! | c b! ", "| c b! ", "b | c "};
    struct names t[ARRAY_LEN(o)] = {0};
    for (size_t k = 0; k < ARRAY_LEN(o); k++) {
        struct obj_watch_events ev = {&t[k], add_name, add_bar, NULL};
        (void)obj_watch(b, &o[k], &ev);
    }
    drivefix_settle(&w.f);
    put(&w, b, "c", 10, 1, 0);
    TEST_OK(obj_sync_delete(&w.f.drive, b, "b", &w.err), &w.err);
    drivefix_settle(&w.f);
    for (size_t k = 0; k < ARRAY_LEN(o); k++) {
        assert_string_equal(t[k].s, want[k]);
    }
    obj_close(b);
    world_fini(&w);
}

static void test_json(void **state)
{
    (void)state;
    /* as nats.go writes it */
    static const char json[] =
        "{\"name\":\"x\",\"description\":\"d\",\"headers\":{\"H\":[\"1\",\"2\"]},\"metadata\":{"
        "\"k\":\"v\"},"
        "\"options\":{\"max_chunk_size\":131072},\"bucket\":\"B\",\"nuid\":\"N\",\"size\":9,"
        "\"mtime\":\"0001-01-01T00:00:00Z\",\"chunks\":1,\"digest\":\"SHA-256=abc\",\"deleted\":"
        "true}";
    struct obj_info i;
    struct err err = {0};
    TEST_OK(obj_info_parse((const uint8_t *)json, sizeof json - 1, &i, &err), &err);
    size_t len;
    char *out = obj_info_json(&i, &len);
    assert_string_equal(out, json);
    assert_int_equal(len, sizeof json - 1);
    base_free(out);
    obj_info_fini(&i);
    /* as many names as a meta may hold: not a matter of their square */
    struct obj_header *many = base_calloc(60000, sizeof *many);
    char(*names)[8] = base_calloc(60000, sizeof *names);
    for (size_t k = 0; k < 60000; k++) {
        (void)snprintf(names[k], sizeof names[k], "%zu", k % 50000);
        many[k] = (struct obj_header){names[k], names[k]};
    }
    struct obj_info of = {.name = names[0], .headers = many, .nheaders = 60000};
    out = obj_info_json(&of, &len);
    assert_non_null(strstr(out, "\"9999\":[\"9999\",\"9999\"],\"10000\":[\"10000\"],"));
    base_free(out);
    base_free(names);
    base_free(many);
    static const char *const bad[] = {"",
                                      "[]",
                                      "{}",
                                      "{\"name\":1}",
                                      "{\"name\":\"a\",\"size\":-1}",
                                      "{\"name\":\"a\",\"size\":\"x\"}",
                                      "{\"name\":\"a\",\"nuid\":\">\"}",
                                      "{\"name\":\"a\",\"nuid\":\"a.b\"}",
                                      "{\"name\":\"a\",\"options\":{\"link\":{}}}",
                                      "{\"name\":\"a\",\"headers\":{\"a\":1}}",
                                      "{\"name\":\"a\\u0000b\"}",
                                      "{\"name\":\"a\""};
    for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
        TEST_ST(obj_info_parse((const uint8_t *)bad[k], strlen(bad[k]), &i, &err), ST_CORRUPT);
    }
    assert_false(obj_name_valid(""));
    assert_false(obj_name_valid("\xff"));
    assert_false(obj_name_valid("\xed\xa0\x80"));
    assert_true(obj_name_valid("\xf0\x9f\x98\x80 any/thing"));
    assert_false(obj_bucket_valid("a.b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),         cmocka_unit_test(test_put_get_sim),
        cmocka_unit_test(test_put_get_real), cmocka_unit_test(test_large),
        cmocka_unit_test(test_ranges),       cmocka_unit_test(test_resume),
        cmocka_unit_test(test_failed_put),   cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_damage),       cmocka_unit_test(test_lies),
        cmocka_unit_test(test_meta),         cmocka_unit_test(test_links_and_seal),
        cmocka_unit_test(test_watch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
