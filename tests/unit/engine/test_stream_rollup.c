/* Rollups of a subject: what is stored under it goes; with wildcards in it, all that it matches. */
#include "tests/lib/eng_fixture.h"

static void allowed(struct stream_cfg *c)
{
    c->allow_rollup = true;
}

static void limited(struct stream_cfg *c)
{
    c->allow_rollup = true;
    c->max_msgs_per_subject = 2;
    c->max_msgs = 9;
}

static void in_memory(struct stream_cfg *c)
{
    c->allow_rollup = true;
    c->storage = STORAGE_MEMORY;
}

static uint64_t put(struct ef *f, const char *subject, uint8_t rollup, uint16_t flags)
{
    struct ef_got g = {0};
    struct store_append a = {.subject = subject,
                             .subject_len = (uint32_t)strlen(subject),
                             .data = (const uint8_t *)"x",
                             .data_len = 1,
                             .rollup = rollup,
                             .flags = flags};
    assert_int_equal(f->store->ops->append(f->s, &a, ef_on_append, &g), ST_OK);
    ef_spin(f);
    assert_int_equal(g.calls, 1);
    assert_int_equal(g.append.verdict, APPEND_STORED);
    return g.append.seq;
}

/* "1" where the sequence is live, "." where it is not. */
static void look(struct ef *f, const char *want)
{
    char got[32];
    size_t n = strlen(want);
    uint64_t msgs = 0;
    assert_int_equal(f->s->last_seq, n);
    for (size_t i = 0; i < n; i++) {
        bool live = ef_get(f, i + 1) != NULL;
        got[i] = live ? '1' : '.';
        msgs += live;
    }
    got[n] = 0;
    assert_string_equal(got, want);
    struct stream_state st = ef_state(f);
    assert_int_equal(st.msgs, msgs);
    assert_true(sidx_check(f->s->idx));
}

static void everywhere(struct ef *f, const char *want)
{
    look(f, want);
    ef_restart(f, EF_KILL);
    look(f, want);
    ef_checkpoint(f);
    ef_restart(f, EF_POWER);
    look(f, want);
}

static void wildcards(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 1, allowed);
    put(&f, "a.x", 0, 0);
    put(&f, "b", 0, 0);
    put(&f, "a.y", 0, 0);
    put(&f, "a.x.z", 0, 0);
    put(&f, "a.x", 0, 0);
    put(&f, "a.x*", 0, 0);
    put(&f, "a.x*", 1, 0); /* no wildcard: a star inside a token */
    everywhere(&f, "11111.1");
    put(&f, "a.*", 1, 0);
    everywhere(&f, ".1.1...1");
    put(&f, "a.*", 0, 0);
    put(&f, "c", 0, 0);
    put(&f, "a.>", 1, 0);
    everywhere(&f, ".1.......11");
    put(&f, ">", 1, 0);
    everywhere(&f, "...........1");
    ef_fini(&f);
}

static void on_top_of_limits(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 2, limited);
    put(&f, "a.1", 0, 0);
    put(&f, "a.*", 0, 0);
    put(&f, "b", 0, 0);
    put(&f, "a.2", 0, 0);
    put(&f, "a.*", 0, 0);
    put(&f, "a.2", 0, 0);
    put(&f, "c", 0, 0);
    put(&f, "d", 0, 0);
    look(&f, "11111111");
    put(&f, "a.*", 1, 0); /* its own oldest goes by the limit, the rest by the rollup */
    everywhere(&f, "..1...111");
    for (int i = 0; i < 6; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, "e.%d", i);
        put(&f, subject, 0, 0);
    }
    everywhere(&f, "......111111111");
    put(&f, "e.*", 1, 0); /* the front goes too */
    everywhere(&f, ".......11......1");
    ef_fini(&f);
}

static void markers_are_literal(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 3, allowed);
    put(&f, "a.1", 0, 0);
    put(&f, "a.*", 0, 0);
    put(&f, "a.*", 1, MSG_MARKER);
    everywhere(&f, "1.1");
    ef_fini(&f);
}

static void memory(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 4, in_memory);
    put(&f, "a.1", 0, 0);
    put(&f, "b", 0, 0);
    put(&f, "a.2", 0, 0);
    put(&f, "a.*", 1, 0);
    look(&f, ".1.1");
    ef_fini(&f);
}

/* More than one record tells of: the rest goes by records before it, all or nothing. */
static void in_parts(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 5, allowed);
    f.s->eng->opts.evict_bytes = 16;
    for (int i = 0; i < 9; i++) {
        char subject[16];
        snprintf(subject, sizeof subject, i % 2 == 0 ? "a.%d" : "b.%d", i);
        put(&f, subject, 0, 0);
    }
    uint64_t before = f.s->oseq;
    put(&f, "a.*", 1, 0);
    assert_int_equal(f.s->oseq, before + 2);
    everywhere(&f, ".1.1.1.1.1");
    f.s->eng->opts.evict_bytes = 16;
    put(&f, "b.*", 1, 0);
    everywhere(&f, ".........11");
    ef_fini(&f);
}

static void interest(struct stream_cfg *c)
{
    c->allow_rollup = true;
    c->retention = RETENTION_INTEREST;
}

static void on_cons(void *arg, enum st st, struct store_cons *c, const struct err *err)
{
    struct ef_got *g = arg;
    (void)c;
    (void)err;
    g->st = st;
}

/* A roll-up that nobody wants is not kept, and still is one. */
static void unwanted(void **state)
{
    struct ef f;
    struct cons_cfg cfg;
    struct ef_got g = {0};
    char name[] = "a.1", *filter = name;
    (void)state;
    ef_init(&f, 6, interest);
    cons_cfg_init(&cfg);
    cfg.name = base_strdup("C");
    cfg.durable = true;
    cfg.ack = ACK_EXPLICIT;
    cfg.filters = &filter;
    cfg.nfilters = 1;
    f.store->ops->cons_create(f.s, &cfg, on_cons, &g);
    cfg.filters = NULL;
    cfg.nfilters = 0;
    cons_cfg_fini(&cfg);
    ef_spin(&f);
    assert_int_equal(g.st, ST_OK);
    put(&f, "a.1", 0, 0);
    put(&f, "b", 1, 0);
    everywhere(&f, "1.");
    put(&f, "a.*", 1, 0);
    everywhere(&f, "...");
    put(&f, "a.1", 0, 0);
    put(&f, "b", 2, 0);
    everywhere(&f, ".....");
    ef_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wildcards),
        cmocka_unit_test(on_top_of_limits),
        cmocka_unit_test(markers_are_literal),
        cmocka_unit_test(memory),
        cmocka_unit_test(in_parts),
        cmocka_unit_test(unwanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
