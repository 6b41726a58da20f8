/* Atomic batches: checked before anything is written, on disk and for consumers whole or not. */
#include "tests/lib/eng_fixture.h"

enum { N_MAX = 64 };

struct draft {
    struct store_append v[N_MAX];
    char subject[N_MAX][24], hdr[N_MAX][64];
    size_t n;
};

static struct store_append *add(struct draft *d, const char *subject, const char *data)
{
    struct store_append *a = &d->v[d->n];
    int n = snprintf(d->subject[d->n], sizeof d->subject[0], "%s", subject);
    *a = (struct store_append){.subject = d->subject[d->n],
                               .subject_len = (uint32_t)n,
                               .data = (const uint8_t *)data,
                               .data_len = (uint32_t)strlen(data)};
    d->n++;
    return a;
}

static void add_id(struct draft *d, const char *subject, const char *id)
{
    struct store_append *a = add(d, subject, "x");
    int n = snprintf(d->hdr[d->n - 1], 64, "NATS/1.0\r\nNats-Msg-Id: %s\r\n\r\n", id);
    a->hdr = (const uint8_t *)d->hdr[d->n - 1];
    a->hdr_len = (uint32_t)n;
    a->msg_id = id;
    a->msg_id_len = (uint32_t)strlen(id);
}

static struct store_append_result put(struct ef *f, const struct draft *d)
{
    struct ef_got g = {0};
    uint64_t before = f->s->last_seq;
    assert_int_equal(f->store->ops->append_batch(f->s, d->v, d->n, ef_on_append, &g), ST_OK);
    ef_spin(f);
    assert_int_equal(g.calls, 1);
    assert_int_equal(f->s->last_seq, g.append.verdict == APPEND_STORED ? before + d->n : before);
    return g.append;
}

static void refused(struct ef *f, const struct draft *d, enum append_verdict verdict, size_t index)
{
    struct store_append_result r = put(f, d);
    assert_int_equal(r.verdict, verdict);
    assert_int_equal(r.index, index);
}

static void stores_all(void **state)
{
    struct ef f;
    struct draft d = {.n = 0};
    (void)state;
    ef_init(&f, 1, NULL);
    add(&d, "a", "1");
    add(&d, "b", "2");
    add(&d, "a", "3");
    struct store_append_result r = put(&f, &d);
    assert_int_equal(r.verdict, APPEND_STORED);
    assert_int_equal(r.seq, 3);
    for (int how = EF_CLEAN; how <= EF_POWER; how++) {
        ef_restart(&f, (enum ef_end)how);
        assert_int_equal(ef_state(&f).msgs, 3);
        assert_string_equal(ef_get(&f, 3), "3");
    }
    ef_fini(&f);
}

static void limits_new(struct stream_cfg *c)
{
    c->discard = DISCARD_NEW;
    c->max_msgs = 4;
    c->max_bytes = 300;
    c->max_msgs_per_subject = 2;
    c->discard_new_per_subject = c->allow_rollup = true;
    c->max_msg_size = 200;
}

static void refuses_all(void **state)
{
    struct ef f;
    (void)state;
    ef_init(&f, 2, limits_new);
    struct draft d = {.n = 0};
    add(&d, "a", "1");
    add(&d, "a", "1");
    add(&d, "a", "1");
    refused(&f, &d, APPEND_MAX_MSGS_PER_SUBJECT, 2);
    d.n = 0;
    for (int i = 0; i < 5; i++) {
        char subject[24];
        snprintf(subject, sizeof subject, "s.%d", i);
        add(&d, subject, "1");
    }
    refused(&f, &d, APPEND_MAX_MSGS, 4);
    static char big[202];
    memset(big, 'x', 201);
    d.n = 0;
    add(&d, "a", "1");
    add(&d, "a", big);
    refused(&f, &d, APPEND_MSG_TOO_BIG, 1);
    big[190] = 0;
    d.n = 0;
    add(&d, "a", big);
    add(&d, "b", big);
    refused(&f, &d, APPEND_MAX_BYTES, 1);
    d.n = 0;
    add(&d, "a", "1");
    add(&d, "a", "1")->rollup = 1;
    refused(&f, &d, APPEND_ROLLUP_BATCH_SUB, 1);
    d.v[1].rollup = 2;
    refused(&f, &d, APPEND_ROLLUP_BATCH_ALL, 1);
    assert_int_equal(ef_state(&f).last_seq, 0);
    ef_fini(&f);
}

static void expectations(void **state)
{
    struct ef f;
    struct draft d = {.n = 0};
    (void)state;
    ef_init(&f, 3, NULL);
    add_id(&d, "a", "one");
    add_id(&d, "b", "two");
    d.v[0].has_expected_last_seq = true;
    assert_int_equal(put(&f, &d).seq, 2);
    refused(&f, &d, APPEND_DUPLICATE, 0);
    d.n = 0;
    add_id(&d, "a", "three");
    add_id(&d, "a", "three");
    refused(&f, &d, APPEND_DUPLICATE, 1);
    d.n = 0;
    add(&d, "a", "x");
    add(&d, "c", "x")->has_expected_last_seq = true;
    d.v[1].expected_last_seq = 3;
    refused(&f, &d, APPEND_WRONG_LAST_CONSTANT, 1);
    d.v[1].expected_last_seq = 2;
    assert_int_equal(put(&f, &d).actual, 3);
    d.v[1].has_expected_last_seq = false;
    d.v[1].has_expected_last_subj_seq = true;
    d.v[1].expected_last_subj_seq = 9;
    refused(&f, &d, APPEND_WRONG_LAST_SUBJ_SEQ, 1);
    d.v[1].expected_subject = "*";
    d.v[1].expected_subject_len = 1;
    refused(&f, &d, APPEND_WRONG_LAST_CONSTANT, 1);
    d.v[1].expected_subject = "b";
    d.v[1].expected_last_subj_seq = 2;
    assert_int_equal(put(&f, &d).verdict, APPEND_STORED);
    ef_fini(&f);
}

/* Each message is looked at whole before the next, and refused where the caller says so. */
static void asked_to_refuse(void **state)
{
    struct ef f;
    struct draft d = {.n = 0};
    (void)state;
    ef_init(&f, 3, NULL);
    add_id(&d, "a", "one");
    assert_int_equal(put(&f, &d).verdict, APPEND_STORED);
    d.n = 0;
    add(&d, "b", "x");
    add_id(&d, "a", "one");
    d.v[1].has_expected_last_seq = true;
    d.v[1].has_expected_last_subj_seq = true;
    d.v[1].refuse = REFUSE_BATCH_FIRST;
    refused(&f, &d, APPEND_REFUSED, 1);
    d.v[1].refuse = REFUSE_BATCH_IDS;
    refused(&f, &d, APPEND_DUPLICATE, 1);
    d.v[1].msg_id = NULL;
    refused(&f, &d, APPEND_REFUSED, 1);
    d.v[1].refuse = REFUSE_BATCH_SEQ;
    refused(&f, &d, APPEND_WRONG_LAST_SEQ, 1);
    d.v[1].has_expected_last_seq = false;
    refused(&f, &d, APPEND_REFUSED, 1);
    d.v[1].refuse = REFUSE_AFTER_SEQS;
    refused(&f, &d, APPEND_WRONG_LAST_SUBJ_SEQ, 1);
    d.v[1].has_expected_last_subj_seq = false;
    d.v[1].rollup = 1;
    refused(&f, &d, APPEND_REFUSED, 1);
    d.v[1].refuse = REFUSE_AFTER_ROLLUP;
    refused(&f, &d, APPEND_ROLLUP_DENIED, 1);
    d.v[0].has_expected_last_seq = true;
    refused(&f, &d, APPEND_WRONG_LAST_SEQ, 0);
    d.n = 1;
    d.v[0].expected_last_seq = d.v[0].expected_last_subj_seq = 5; /* alone: the subject's first */
    d.v[0].has_expected_last_subj_seq = true;
    struct ef_got g = {0};
    assert_int_equal(f.store->ops->append(f.s, d.v, ef_on_append, &g), ST_OK);
    ef_spin(&f);
    assert_int_equal(g.append.verdict, APPEND_WRONG_LAST_SUBJ_SEQ);
    ef_fini(&f);
}

static void step(void *arg)
{
    (void)env_sim_step_one(arg);
}

/* Each message has its own ticket, and the lane writes them one by one. */
static void seen_whole(void **state)
{
    struct ef f;
    struct draft d = {.n = 0};
    (void)state;
    ef_init(&f, 4, NULL);
    eng_of(f.store)->on_batch_part = step;
    eng_of(f.store)->on_expired_arg = f.sim;
    for (int i = 0; i < 20; i++) {
        add(&d, "a", "x");
    }
    for (int round = 0; round < 10; round++) {
        struct ef_got g = {0};
        uint64_t first = f.s->last_seq + 1, last = first + 19;
        assert_int_equal(f.store->ops->append_batch(f.s, d.v, d.n, ef_on_append, &g), ST_OK);
        while (g.calls == 0) {
            assert_true(f.s->visible_seq == first - 1);
            f.store->ops->turn(f.store);
            (void)env_sim_step_one(f.sim);
            f.store->ops->poll(f.store);
            assert_true(f.s->visible_seq == first - 1 || f.s->visible_seq == last);
        }
        assert_int_equal(f.s->visible_seq, last);
        assert_int_equal(f.s->nbatches, 0);
    }
    ef_fini(&f);
}

static void memory(struct stream_cfg *c)
{
    c->storage = STORAGE_MEMORY;
    c->max_msgs = 3;
}

static void memory_streams_too(void **state)
{
    struct ef f;
    struct draft d = {.n = 0};
    (void)state;
    ef_init(&f, 5, memory);
    for (int i = 0; i < 5; i++) {
        add(&d, "a", "x");
    }
    assert_int_equal(put(&f, &d).seq, 5);
    assert_int_equal(ef_state(&f).msgs, 3); /* it may push out its own messages, as upstream */
    ef_fini(&f);
}

static void too_large(void **state)
{
    struct ef f;
    struct draft d = {.n = 0};
    (void)state;
    ef_init(&f, 6, NULL);
    char *big = base_malloc(10001);
    memset(big, 'x', 10000);
    big[10000] = 0;
    for (int i = 0; i < 30; i++) {
        add(&d, "a", big);
    }
    assert_int_equal(put(&f, &d).verdict, APPEND_BATCH_TOO_LARGE);
    d.n = 20;
    assert_int_equal(put(&f, &d).verdict, APPEND_STORED);
    base_free(big);
    ef_fini(&f);
}

/* What a schedule makes and the schedule's end are one record. */
static void takes_another_subject_along(void **state)
{
    struct ef f;
    struct draft d = {.n = 0};
    struct ef_got g = {0};
    (void)state;
    ef_init(&f, 7, NULL);
    (void)ef_publish(&f, "sched", NULL, "1", 0);
    (void)ef_publish(&f, "other", NULL, "2", 0);
    (void)ef_publish(&f, "sched", NULL, "3", 0);
    struct store_append *a = add(&d, "target", "made");
    a->purge_subject = "sched";
    a->purge_subject_len = 5;
    assert_int_equal(f.store->ops->append(f.s, a, ef_on_append, &g), ST_OK);
    ef_spin(&f);
    assert_int_equal(g.append.seq, 4);
    for (int how = EF_CLEAN; how <= EF_POWER; how++) {
        ef_restart(&f, (enum ef_end)how);
        assert_int_equal(ef_state(&f).msgs, 2);
        assert_null(ef_get(&f, 1));
        assert_null(ef_get(&f, 3));
        assert_string_equal(ef_get(&f, 4), "made");
    }
    struct msg m;
    assert_int_equal(f.store->ops->last_msg(f.s, "sched", 5, &m), ST_NOTFOUND);
    enum st st = ST_AGAIN;
    for (int i = 0; i < 50 && st == ST_AGAIN; i++) {
        st = f.store->ops->last_msg(f.s, "target", 6, &m);
        ef_spin(&f);
    }
    assert_int_equal(st, ST_OK);
    ef_fini(&f);
}

static enum append_verdict alone(struct ef *f, struct store_append a)
{
    struct ef_got g = {0};
    a.batch_order = true;
    assert_int_equal(f->store->ops->append(f->s, &a, ef_on_append, &g), ST_OK);
    ef_spin(f);
    return g.append.verdict;
}

/* One message alone, in the order of a batch's: ids first, the expected last id last. */
static void order_of_one(void **state)
{
    struct ef f;
    struct draft d = {.n = 0};
    (void)state;
    ef_init(&f, 3, limits_new);
    add_id(&d, "a", "id");
    struct store_append a = d.v[0], b = {.subject = "a", .subject_len = 1};
    assert_int_equal(alone(&f, a), APPEND_STORED);
    a.has_expected_last_seq = b.has_expected_last_seq = true;
    a.expected_last_seq = b.expected_last_seq = 7;
    assert_int_equal(alone(&f, a), APPEND_DUPLICATE);
    a.refuse = REFUSE_BATCH_FIRST;
    assert_int_equal(alone(&f, a), APPEND_REFUSED);
    b.expected_last_msgid = "no";
    b.expected_last_msgid_len = 2;
    assert_int_equal(alone(&f, b), APPEND_WRONG_LAST_SEQ);
    b.expected_last_seq = 1;
    assert_int_equal(alone(&f, b), APPEND_WRONG_LAST_MSGID);
    b.expected_last_msgid = "id";
    assert_int_equal(alone(&f, b), APPEND_STORED);
    b.expected_last_seq = 2;
    assert_int_equal(alone(&f, b), APPEND_MAX_MSGS_PER_SUBJECT); /* before the id, which is there */
    b.expected_last_msgid = "no";
    assert_int_equal(alone(&f, b), APPEND_MAX_MSGS_PER_SUBJECT);
    ef_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stores_all),   cmocka_unit_test(refuses_all),
        cmocka_unit_test(expectations), cmocka_unit_test(asked_to_refuse),
        cmocka_unit_test(seen_whole),   cmocka_unit_test(memory_streams_too),
        cmocka_unit_test(too_large),    cmocka_unit_test(takes_another_subject_along),
        cmocka_unit_test(order_of_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
