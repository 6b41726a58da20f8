/* Large messages that the lane writes to a segment at once (extent.h): what goes where, what a
 * restart makes of it, and what damage, a full disk and deletes do to it. */
#define EW_WINDOW_BYTES (64 * MIB)
#define EW_SEGMENT_BYTES (64 * MIB)
#include "tests/lib/eng_world.h"

#include "engine/eng.h"
#include "engine/extent.h"

#define BURST 40
#define LEN (80 * 1024)

static uint8_t payload[LEN];

/* The payload of message no: noise, or what a compressor likes. */
static const uint8_t *fill(uint64_t no, bool noise)
{
    for (size_t i = 0; i < LEN; i += 8) {
        put_u64le(payload + i, noise ? prng_mix(no * LEN + i) : no);
    }
    return payload;
}

struct burst {
    int calls;
    uint64_t last_seq;
};

static void on_stored(void *arg, const struct store_append_result *r)
{
    struct burst *b = arg;
    assert_int_equal(r->verdict, APPEND_STORED);
    b->calls++;
    b->last_seq = r->seq;
}

static void submit(struct world *w, struct store_stream *s, const uint8_t *data, size_t len,
                   struct burst *b)
{
    struct store_append a = {
        .subject = "o.c", .subject_len = 3, .data = data, .data_len = (uint32_t)len};
    assert_int_equal(w->store->ops->append(s, &a, on_stored, b), ST_OK);
}

/* n messages that are on their way together; their sequences are first .. first + n - 1. */
static void burst(struct world *w, struct store_stream *s, uint64_t first, unsigned n, bool noise)
{
    struct burst b = {0};
    for (unsigned i = 0; i < n; i++) {
        submit(w, s, fill(first + i, noise), LEN, &b);
    }
    spin(w);
    assert_int_equal(b.calls, n);
    assert_int_equal(b.last_seq, first + n - 1);
}

static void small(struct world *w, struct store_stream *s)
{
    struct burst b = {0};
    submit(w, s, (const uint8_t *)"small", 5, &b);
    spin(w);
    assert_int_equal(b.calls, 1);
}

struct seen {
    uint64_t no;
    bool noise, same, called;
    enum st st;
};

static void on_msg(void *arg, enum st st, const struct msg *m)
{
    struct seen *k = arg;
    k->called = true;
    k->st = st;
    k->same = st == ST_OK && m->data_len == LEN && memcmp(m->data, fill(k->no, k->noise), LEN) == 0;
}

static enum st read_back(struct world *w, struct store_stream *s, uint64_t seq, bool noise)
{
    struct seen k = {.no = seq, .noise = noise};
    struct store_get q = {GET_BY_SEQ, seq, "", 0, 0};
    w->store->ops->get(s, &q, on_msg, &k);
    spin(w);
    assert_true(k.called);
    assert_true(IMPLIES(k.st == ST_OK, k.same));
    return k.st;
}

static void all_there(struct world *w, struct store_stream *s, uint64_t first, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(read_back(w, s, first + i, true), ST_OK);
    }
}

static uint64_t journal_bytes(struct world *w)
{
    struct eng_info info;
    eng_info_get(w->store, &info);
    return info.journal_bytes_written;
}

struct files {
    unsigned n;
    char path[200]; /* of the last one */
};

static void on_file(void *arg, const char *path, uint64_t size)
{
    struct files *f = arg;
    (void)size;
    if (strstr(path, "/millrace/s/") != NULL) {
        f->n++;
        snprintf(f->path, sizeof f->path, "%s", path);
    }
}

static struct files segment_files(struct world *w)
{
    struct files f = {0};
    env_sim_each_file(w->sim, on_file, &f);
    return f;
}

static void killed(struct world *w)
{
    eng_abandon(w->store);
    env_sim_power_loss(w->sim, 5);
}

/* --- where they go ---------------------------------------------------------------------------- */

static void noise_is_written_once(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    struct store_stream *s = create(&w, "S", NULL);
    uint64_t before = journal_bytes(&w);
    burst(&w, s, 1, BURST, true);
    assert_true(journal_bytes(&w) - before < 64 * KIB);
    assert_int_equal(segment_files(&w).n, 1);
    assert_true(jr_window_used(eng_of(w.store)->jr) > BURST * LEN); /* publishers wait for it */
    all_there(&w, s, 1, BURST);
    checkpoint(&w);
    assert_int_equal(s->segs->n, 1);
    assert_int_equal(s->segs->v[0]->row.state, SEG_SEALED);
    assert_true(jr_window_used(eng_of(w.store)->jr) < MIB);
    assert_true(s->tail.msgs == 0);
    all_there(&w, s, 1, BURST);
    eng_close(w.store);
    s = reopen(&w, "S");
    all_there(&w, s, 1, BURST);
    assert_int_equal(s->ndamage, 0);
    world_fini(&w);
}

static void what_compresses_goes_through_the_journal(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 2);
    struct store_stream *s = create(&w, "S", NULL);
    burst(&w, s, 1, BURST, false);
    assert_true(journal_bytes(&w) > BURST * LEN);
    assert_int_equal(segment_files(&w).n, 0);
    burst(&w, s, BURST + 1, 8, true); /* too few for a file */
    assert_int_equal(segment_files(&w).n, 0);
    world_fini(&w);
}

/* One that goes through the journal ends the file: segments hold ascending runs. */
static void small_ones_between(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 3);
    struct store_stream *s = create(&w, "S", NULL);
    small(&w, s);
    burst(&w, s, 2, BURST, true);
    small(&w, s);
    burst(&w, s, BURST + 3, BURST, true);
    small(&w, s);
    assert_int_equal(segment_files(&w).n, 2);
    checkpoint(&w);
    assert_int_equal(s->segs->n, 5);
    for (size_t i = 1; i < s->segs->n; i++) {
        assert_true(s->segs->v[i]->row.first_seq == s->segs->v[i - 1]->row.last_seq + 1);
        assert_true(s->segs->v[i]->row.segno > s->segs->v[i - 1]->row.segno);
    }
    killed(&w);
    s = reopen(&w, "S");
    assert_int_equal(s->msgs, 2 * BURST + 3);
    all_there(&w, s, 2, BURST);
    all_there(&w, s, BURST + 3, BURST);
    world_fini(&w);
}

/* --- restarts --------------------------------------------------------------------------------- */

static void after_a_power_loss(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 4);
    struct store_stream *s = create(&w, "S", NULL);
    burst(&w, s, 1, BURST, true);
    for (int i = 0; i < 2; i++) { /* the second one without a checkpoint in between */
        killed(&w);
        s = reopen(&w, "S");
        assert_int_equal(s->ndamage, 0);
        all_there(&w, s, 1, BURST);
        assert_int_equal(segment_files(&w).n, 1);
    }
    char before[200];
    snprintf(before, sizeof before, "%s", segment_files(&w).path);
    burst(&w, s, BURST + 1, BURST, true);
    checkpoint(&w);
    spin(&w);
    uint64_t size;
    assert_int_not_equal(env_sim_file_size(w.sim, before, &size), ST_OK); /* it has served */
    all_there(&w, s, 1, 2 * BURST);
    killed(&w);
    s = reopen(&w, "S");
    all_there(&w, s, 1, 2 * BURST);
    assert_int_equal(s->ndamage, 0);
    world_fini(&w);
}

static void a_flipped_bit_costs_its_message(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 5);
    struct store_stream *s = create(&w, "S", NULL);
    burst(&w, s, 1, BURST, true);
    struct files f = segment_files(&w);
    killed(&w);
    assert_int_equal(env_sim_flip_bit(w.sim, f.path, 4096 + 10 * (LEN + 200), 3), ST_OK);
    assert_int_equal(env_sim_flip_bit(w.sim, f.path, 9, 3), ST_OK); /* the header is not needed */
    s = reopen(&w, "S");
    unsigned lost = 0;
    for (uint64_t seq = 1; seq <= BURST; seq++) {
        lost += read_back(&w, s, seq, true) != ST_OK;
    }
    assert_int_equal(lost, 1);
    assert_true(s->ndamage > 0);
    checkpoint(&w);
    assert_int_equal(s->msgs, BURST - 1);
    world_fini(&w);
}

/* --- what cannot be written ------------------------------------------------------------------- */

static void a_failed_write_goes_through_the_journal(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth <= 4; nth++) {
        struct world w;
        world_init(&w, 6);
        struct store_stream *s = create(&w, "S", NULL);
        burst(&w, s, 1, BURST, true);
        struct env_sim_fault fault = {.kinds = ENV_SIM_BIT(ENV_SIM_WRITE) |
                                               ENV_SIM_BIT(ENV_SIM_DATASYNC),
                                      .glob = "*/s/*",
                                      .skip = nth - 1,
                                      .times = 1,
                                      .st = ST_IO};
        env_sim_fault(w.sim, &fault);
        uint64_t before = journal_bytes(&w);
        burst(&w, s, BURST + 1, BURST, true);
        bool hit = env_sim_fault_hits(w.sim) > 0;
        assert_true(IMPLIES(hit, journal_bytes(&w) - before > BURST * LEN));
        assert_true(IMPLIES(nth == 1, hit));
        env_sim_faults_clear(w.sim);
        killed(&w);
        s = reopen(&w, "S");
        all_there(&w, s, 1, 2 * BURST);
        checkpoint(&w);
        burst(&w, s, 2 * BURST + 1, BURST, true);
        checkpoint(&w);
        all_there(&w, s, 1, 3 * BURST);
        assert_int_equal(s->ndamage, 0);
        world_fini(&w);
    }
}

/* A lap that fails after it took the files: the next one has their messages from the tail. */
static void a_failed_lap(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth <= 6; nth++) {
        struct world w;
        world_init(&w, 7);
        struct store_stream *s = create(&w, "S", NULL);
        small(&w, s);
        burst(&w, s, 2, BURST, true);
        struct env_sim_fault fault = {.kinds = ENV_SIM_BIT(ENV_SIM_WRITE) |
                                               ENV_SIM_BIT(ENV_SIM_DATASYNC),
                                      .glob = "*/s/*",
                                      .skip = nth - 1,
                                      .times = 1,
                                      .st = ST_NOSPACE};
        env_sim_fault(w.sim, &fault);
        eng_checkpoint(w.store, NULL, NULL);
        spin(&w);
        env_sim_faults_clear(w.sim);
        if (nth % 2 == 0) {
            killed(&w);
            s = reopen(&w, "S");
        } else {
            env_sim_advance(w.sim, 2 * NS_PER_S);
            w.store->ops->timers(w.store);
            spin(&w);
        }
        all_there(&w, s, 2, BURST);
        checkpoint(&w);
        all_there(&w, s, 2, BURST);
        assert_int_equal(s->ndamage, 0);
        killed(&w);
        s = reopen(&w, "S");
        all_there(&w, s, 2, BURST);
        assert_int_equal(s->msgs, BURST + 1);
        world_fini(&w);
    }
}

/* --- removals --------------------------------------------------------------------------------- */

static void nothing_of_it_lives(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 8);
    struct store_stream *s = create(&w, "S", NULL);
    burst(&w, s, 1, BURST, true);
    struct got g = {0};
    struct store_purge all = {0};
    w.store->ops->purge(s, &all, on_done, &g);
    spin(&w);
    assert_int_equal(g.n, BURST);
    checkpoint(&w);
    spin(&w);
    assert_int_equal(segment_files(&w).n, 0);
    assert_true(jr_window_used(eng_of(w.store)->jr) < MIB);
    world_fini(&w);
}

static bool disk_holds(struct world *w, const uint8_t *bytes, size_t len)
{
    struct files f = segment_files(w);
    uint64_t size = 0;
    bool found = false;
    assert_true(f.n <= 1);
    if (f.n == 1) {
        assert_int_equal(env_sim_file_size(w->sim, f.path, &size), ST_OK);
        uint8_t *all = base_malloc((size_t)size);
        assert_int_equal(env_sim_file_read(w->sim, f.path, 0, all, (size_t)size), ST_OK);
        found = memmem(all, (size_t)size, bytes, len) != NULL;
        base_free(all);
    }
    return found;
}

/* Deleted for good before a checkpoint had it: its bytes go from the file that has them. */
static void secure_delete(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 9);
    struct store_stream *s = create(&w, "S", NULL);
    burst(&w, s, 1, BURST, true);
    uint8_t secret[64];
    memcpy(secret, fill(7, true) + 5000, sizeof secret);
    assert_true(disk_holds(&w, secret, sizeof secret));
    struct got g = {0};
    w.store->ops->msg_delete(s, 7, true, on_done, &g);
    spin(&w);
    assert_int_equal(g.st, ST_OK);
    checkpoint(&w);
    for (int i = 0; i < 20; i++) {
        env_sim_advance(w.sim, 10 * NS_PER_S);
        w.store->ops->timers(w.store);
        spin(&w);
    }
    assert_false(disk_holds(&w, secret, sizeof secret));
    assert_int_equal(s->msgs, BURST - 1);
    assert_int_equal(read_back(&w, s, 8, true), ST_OK);
    world_fini(&w);
}

static void dropped_stream(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 10);
    struct store_stream *s = create(&w, "S", NULL);
    burst(&w, s, 1, BURST, true);
    struct got g = {0};
    w.store->ops->stream_delete(w.store, s, on_done, &g);
    spin(&w);
    for (int i = 0; i < 4; i++) {
        checkpoint(&w);
    }
    assert_int_equal(segment_files(&w).n, 0);
    assert_true(jr_window_used(eng_of(w.store)->jr) < MIB);
    world_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_is_written_once),
        cmocka_unit_test(what_compresses_goes_through_the_journal),
        cmocka_unit_test(small_ones_between),
        cmocka_unit_test(after_a_power_loss),
        cmocka_unit_test(a_flipped_bit_costs_its_message),
        cmocka_unit_test(a_failed_write_goes_through_the_journal),
        cmocka_unit_test(a_failed_lap),
        cmocka_unit_test(nothing_of_it_lives),
        cmocka_unit_test(secure_delete),
        cmocka_unit_test(dropped_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
