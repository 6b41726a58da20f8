/* One flipped bit at a time anywhere in a small journal: groups, both frames, both header pages
 * (I18, I19). MR_ROUNDS is the number of flips, spread evenly; 1000000 flips every bit of every
 * byte.
 *
 * After each flip recovery must start, give every record but at most one, tell a loss, and claim
 * the last sequences. A flip that costs nothing may be silent where no checksum covers it (padding,
 * free space); a loss never. */
#include <stdio.h>

#include "engine/base/log.h"
#include "tests/lib/jr_fixture.h"
#include "tests/lib/testlib.h"

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg;
    (void)level;
    (void)line;
    (void)len;
}

struct target {
    char path[160];
    uint64_t size;
    uint64_t used; /* end of what holds something */
};
struct targets {
    struct env_sim *sim;
    struct target v[16];
    size_t n;
};

static void on_file(void *arg, const char *path, uint64_t size)
{
    struct targets *t = arg;
    if (strstr(path, ".jnl") == NULL) {
        return;
    }
    assert_true(t->n < ARRAY_LEN(t->v));
    struct target *f = &t->v[t->n++];
    (void)snprintf(f->path, sizeof(f->path), "%s", path);
    f->size = size;
    f->used = 4096;
    uint8_t page[4096];
    for (uint64_t off = 4096; off + 8192 <= size; off += 4096) {
        assert_int_equal(env_sim_file_read(t->sim, path, off, page, sizeof(page)), ST_OK);
        for (size_t i = 0; i < sizeof(page); i++) {
            if (page[i] != 0) {
                f->used = off + 4096;
            }
        }
    }
}

/* A journal of some hundred records in two files, all kinds of records and groups. */
static void build(struct jfx *x, bool clean)
{
    struct err err;
    jfx_init(x, NULL, 42);
    x->opts.file_min_bytes = 48 * KIB;
    x->opts.file_max_bytes = 48 * KIB;
    TEST_OK(jfx_open(x, &err), &err);
    for (int i = 0; i < 60; i++) {
        unsigned g = (unsigned)i % 3;
        assert_true(jfx_put(x, g, REC_APPEND, 20 + (uint32_t)i * 7 % 90, 0, true));
        if (i % 9 == 4) {
            assert_true(jfx_put(x, 3, REC_CFG, 33, REC_HAS_TWIN, true));
            assert_true(jfx_put(x, 0, REC_APPEND, 9, REC_BATCH_MORE, true));
            assert_true(jfx_put(x, 0, REC_APPEND, 9, 0, true));
        }
        if (i % 11 == 5) {
            assert_true(jfx_put(x, 4, REC_CONS_DELTA, 50, 0, true));
        }
        if (i % 13 == 7) {
            assert_true(jfx_put(x, 4, REC_DELETE, 30, 0, true));
        }
        if (i % 6 == 5) {
            jfx_settle(x);
        }
        if (i == 30) {
            (void)env_sim_run(x->sim, 100);
            (void)env_sim_advance_to_timer(x->sim); /* an IDLE group in the middle */
            (void)env_sim_run(x->sim, 100);
        }
    }
    jfx_settle(x);
    if (clean) {
        assert_int_equal(jfx_stop(x), ST_OK);
    } else {
        (void)env_sim_run(x->sim, 100);
        (void)env_sim_advance_to_timer(x->sim); /* the idle marker */
        (void)env_sim_run(x->sim, 100);
        env_sim_process_crash(x->sim);
        jfx_crashed(x, false);
        jfx_drop(x);
    }
}

struct tally {
    uint64_t flips, silent, reported, lost;
};

static void check_flip(struct jfx *x, const struct jfx_gid *before, const struct target *t,
                       uint64_t off, unsigned bit, struct tally *n)
{
    struct err err = {0};
    for (size_t g = 0; g < JFX_GIDS; g++) { /* recovery cuts the model: restore it */
        x->gids[g].n = before[g].n;
        x->gids[g].last_seq = before[g].last_seq;
    }
    uint64_t hint = x->end_hint;
    enum st st = jfx_recover(x, &err);
    if (st != ST_OK || x->broken != NULL) {
        fail_msg("%s offset %llu bit %u: %s", t->path, (unsigned long long)off, bit,
                 x->broken != NULL ? x->broken : err.msg);
    }
    x->end_hint = hint;
    bool lost = x->missing != 0;
    /* the index serves a DELETE: reported, not lost */
    if (x->missing > 1 || x->damage.lost > x->missing || x->damage.reports < x->missing ||
        x->damage.files != 0) {
        fail_msg("%s offset %llu bit %u: %zu records missing, %u reported lost, %u files: %s",
                 t->path, (unsigned long long)off, bit, x->missing, x->damage.lost, x->damage.files,
                 x->damage.text);
    }
    for (size_t g = 0; g < JFX_GIDS && lost; g++) { /* sequences must not be issued again */
        uint64_t last = 0;
        for (size_t i = 0; i < x->gids[g].n; i++) {
            last = u64_max(last, x->gids[g].v[i].seq);
        }
        if (x->damage.gid == g + 1) {
            assert_true(x->gids[g].claimed_seq > 0 || last == 0);
        }
    }
    n->flips++;
    n->lost += lost ? 1 : 0;
    n->reported += x->damage.reports != 0 ? 1 : 0;
    n->silent += x->damage.reports == 0 ? 1 : 0;
    jfx_drop(x);
}

static void flip_all(bool clean)
{
    struct jfx x;
    struct targets t = {0};
    struct tally n = {0};
    build(&x, clean);
    x.lenient = true;
    t.sim = x.sim;
    env_sim_each_file(x.sim, on_file, &t);
    struct jfx_gid before[JFX_GIDS];
    memcpy(before, x.gids, sizeof(before));
    uint64_t bits = 0;
    for (size_t f = 0; f < t.n; f++) {
        bits += t.v[f].used * 8;
    }
    uint64_t stride =
        (bits / test_rounds(6000) | 1); /* odd: meets every bit of a byte in turn; 1 = all */
    for (size_t f = 0; f < t.n; f++) {
        for (uint64_t at = 0; at < t.v[f].size * 8; at += stride) {
            uint64_t off = at / 8;
            if (off >= t.v[f].used &&
                off < t.v[f].size - 4096) { /* free space up to the last page */
                off = t.v[f].size - 4096;
                at = off * 8;
            }
            unsigned bit = (unsigned)(at % 8);
            assert_int_equal(env_sim_flip_bit(x.sim, t.v[f].path, off, bit), ST_OK);
            check_flip(&x, before, &t.v[f], off, bit, &n);
            assert_int_equal(env_sim_flip_bit(x.sim, t.v[f].path, off, bit), ST_OK);
        }
    }
    print_message("flips=%llu reported=%llu lost_one=%llu silent=%llu\n",
                  (unsigned long long)n.flips, (unsigned long long)n.reported,
                  (unsigned long long)n.lost, (unsigned long long)n.silent);
    assert_true(n.lost > 0);
    assert_true(n.reported > n.lost);
    jfx_fini(&x);
}

static void after_a_clean_stop(void **state)
{
    (void)state;
    flip_all(true);
}

static void after_a_kill(void **state)
{
    (void)state;
    flip_all(false);
}

int main(void)
{
    log_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_clean_stop),
        cmocka_unit_test(after_a_kill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
