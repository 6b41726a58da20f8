/* The catalogue against power loss and rot.
 *
 * Crash: a scripted life (create, commits, WAL folding, row-log compaction, clean close, reopen)
 * runs once, and the disk is saved after every operation that changes it. Each saved disk then
 * loses power in several ways and is opened: the last acknowledged generation, or the one in
 * flight, must be there row for row, nothing may be reported as damage, and the store must go on
 * working. Rot: one bit of one byte of every file; the rows must be as before, and the damage
 * reported. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/cattest.h"

#define COMMITS 14u
#define SAVES_MAX 2000u

struct save {
    struct env_sim_disk *disk; /* owned */
    uint64_t acked;            /* generation acknowledged by then */
};

static struct {
    struct save saves[SAVES_MAX];
    unsigned n;
    uint64_t acked;
    struct env_sim *sim;
    uint64_t digest[CT_GENS_MAX]; /* by generation */
} life;

static void on_op(void *arg, const struct env_sim_op *op)
{
    (void)arg;
    if (op->n != 0) {
        if (getenv("MR_LOG") != NULL) {
            print_message("op %u: %s %s %llu %llu -> %s (acked %llu)\n", life.n,
                          env_sim_kind_name(op->kind), op->path, (unsigned long long)op->off,
                          (unsigned long long)op->len, st_name(op->result),
                          (unsigned long long)life.acked);
        }
        assert_true(life.n < SAVES_MAX);
        life.saves[life.n++] = (struct save){env_sim_disk_save(life.sim), life.acked};
    }
}

static void acknowledged(struct ct *t)
{
    life.acked = cat_generation(t->cat);
    assert_true(life.acked < CT_GENS_MAX);
    life.digest[life.acked] = ct_digest(t->cat);
}

static void limits(struct ct *t)
{
    t->wal_bytes_max = 60000;
    t->log_bytes_min = 30000;
}

static void live(uint64_t seed)
{
    struct ct t;
    struct prng p = {seed};
    memset(&life, 0, sizeof(life));
    ct_init(&t, seed);
    limits(&t);
    life.sim = t.sim;
    env_sim_set_trace(t.sim, on_op, NULL);
    ct_open_ok(&t, true);
    acknowledged(&t);
    for (unsigned i = 0; i < COMMITS; i++) {
        ct_commit_ok(&t, ct_random_txn(&p, 1 + (unsigned)prng_below(&p, 10), 3000));
        acknowledged(&t);
        if (i % 6 == 5) {
            ct_close(&t, prng_below(&p, 2) == 0);
            ct_open_ok(&t, false);
        }
    }
    ct_close(&t, true);
    env_sim_set_trace(t.sim, NULL, NULL);
    ct_fini(&t);
}

static void life_free(void)
{
    for (unsigned i = 0; i < life.n; i++) {
        env_sim_disk_free(life.saves[i].disk);
    }
    life.n = 0;
}

static void tell(void *arg, int64_t found_ns, const char *text)
{
    (void)arg;
    (void)found_ns;
    print_error("incident: %s\n", text);
}

/* Rows whose stream the script dropped are its own doing. */
static void no_findings(void *arg, const char *what, const char *text)
{
    (void)arg;
    if (strncmp(what, "table ", 6) != 0) {
        fail_msg("%s: %s", what, text);
    }
}

/* What was acknowledged is there, as it was; nothing is called damage. Returns the generation
 * found. */
static uint64_t check(struct ct *t, const struct save *s)
{
    struct err err = {0};
    uint64_t gen = cat_generation(t->cat);
    TEST_OK(cat_check_against_journal(t->cat, s->acked > 1, s->acked, false, &err), &err);
    if (cat_incidents(t->cat, tell, NULL) != 0) {
        fail_msg("a crash was reported as damage");
    }
    if (gen != s->acked && gen != s->acked + 1) {
        fail_msg("generation %llu, acknowledged %llu", (unsigned long long)gen,
                 (unsigned long long)s->acked);
    }
    if (s->acked > 0) {
        assert_true(ct_digest(t->cat) == life.digest[gen]);
    }
    return gen;
}

/* Goes on: another commit, then both copies by the offline check. */
static void goes_on(struct ct *t, struct prng *p)
{
    struct cat_verify_sum sum;
    struct err err = {0};
    uint64_t gen = cat_generation(t->cat);
    assert_int_equal(ct_commit_ok(t, ct_random_txn(p, 4, 500)), gen + 1);
    uint64_t digest = ct_digest(t->cat);
    ct_close(t, prng_below(p, 2) == 0);
    struct cat_opts opts = {
        .root = CT_ROOT, .store_uuid = t->ident.store_uuid, .crc_seed = t->ident.crc_seed};
    TEST_OK(cat_verify(t->env, &opts, no_findings, NULL, &sum, &err), &err);
    assert_true(sum.meta_generation == gen + 1 && sum.log_generation == gen + 1);
    if (prng_below(p, 2) == 0) {
        env_sim_power_loss(t->sim, prng_next(p));
    }
    ct_open_ok(t, false);
    assert_true(ct_digest(t->cat) == digest);
    assert_int_equal(cat_incidents(t->cat, tell, NULL), 0);
}

static void crash_one(unsigned at, uint64_t seed)
{
    struct ct t;
    struct prng p = {seed};
    struct err err = {0};
    const struct save *s = &life.saves[at];

    ct_init(&t, seed);
    limits(&t);
    env_sim_disk_load(t.sim, s->disk);
    if (prng_below(&p, 3) == 0) {
        env_sim_process_crash(t.sim);
    } else {
        env_sim_power_loss(t.sim, seed);
    }
    while (prng_below(&p, 3) == 0) { /* recovery dies, too */
        env_sim_crash_at(t.sim, 1 + prng_below(&p, 12), prng_below(&p, 2) == 0);
        (void)!ct_open(&t, true, &err);
        ct_abandon(&t);
        env_sim_crash_at(t.sim, 0, false);
        env_sim_power_loss(t.sim, prng_next(&p));
    }
    if (getenv("MR_LOG") != NULL) {
        print_message("-- crash at op %u seed %llu\n", at, (unsigned long long)seed);
    }
    ct_open_ok(&t, true);
    (void)check(&t, s);
    if (prng_below(&p, 3) == 0) {
        goes_on(&t, &p);
    }
    ct_fini(&t);
}

static void test_crash_everywhere(void **state)
{
    (void)state;
    unsigned rounds = test_rounds(1), crashes = 0;
    for (unsigned r = 0; r < rounds; r++) {
        live(test_seed() + r);
        for (unsigned i = 0; i < life.n; i++) {
            for (unsigned k = 0; k < 3; k++) {
                uint64_t seed = test_seed() + r * 1000003u + i * 1009u + k;
                crash_one(i, seed);
                crashes++;
            }
        }
        life_free();
    }
    print_message("%u crashes\n", crashes);
}

/* Killed (the page cache survives), started again, one more commit, then the power goes: what the
 * restart found in the page cache only must have become durable. */
static void kill_then_power_loss(unsigned at, uint64_t seed)
{
    struct ct t;
    struct prng p = {seed};
    ct_init(&t, seed);
    limits(&t);
    env_sim_disk_load(t.sim, life.saves[at].disk);
    env_sim_process_crash(t.sim);
    ct_open_ok(&t, true);
    uint64_t gen = ct_commit_ok(&t, ct_random_txn(&p, 3, 500)), digest = ct_digest(t.cat);
    ct_abandon(&t);
    env_sim_power_loss(t.sim, prng_next(&p));
    ct_open_ok(&t, false);
    assert_int_equal(cat_generation(t.cat), gen);
    assert_true(ct_digest(t.cat) == digest);
    assert_int_equal(cat_incidents(t.cat, tell, NULL), 0);
    ct_fini(&t);
}

static void test_kill_then_power_loss(void **state)
{
    (void)state;
    live(test_seed() + 77);
    for (unsigned i = 0; i < life.n; i++) {
        for (unsigned k = 0; k < (life.saves[i].acked == 0 ? 6 : 1); k++) {
            kill_then_power_loss(i, test_seed() + i * 31u + k);
        }
    }
    life_free();
}

/* --- rot -------------------------------------------------------------------------------------- */
struct rot {
    struct env_sim_disk *disk; /* owned */
    uint64_t generation, digest;
    uint64_t flips, silent;
    struct env_sim *sim; /* for listing */
    bool clean;
    uint64_t stride, phase;
};

static void rot_one(struct rot *r, const char *path, uint64_t off, unsigned bit, bool goes_on_too)
{
    struct ct t;
    struct err err = {0};
    struct prng p = {off};

    ct_init(&t, off);
    env_sim_disk_load(t.sim, r->disk);
    assert_int_equal(env_sim_flip_bit(t.sim, path, off, bit), ST_OK);
    enum st st = ct_open(&t, false, &err);
    if (st != ST_OK) {
        fail_msg("%s byte %llu bit %u: %s", path, (unsigned long long)off, bit, err.msg);
    }
    TEST_OK(cat_check_against_journal(t.cat, true, r->generation, false, &err), &err);
    if (cat_generation(t.cat) != r->generation || ct_digest(t.cat) != r->digest) {
        fail_msg("%s byte %llu bit %u: rows changed", path, (unsigned long long)off, bit);
    }
    r->flips++;
    r->silent += cat_incidents(t.cat, NULL, NULL) == 0;
    if (goes_on_too) {
        if (prng_below(&p, 2) == 0) {
            ct_abandon(&t); /* what was repaired is durable */
            env_sim_power_loss(t.sim, off);
            ct_open_ok(&t, false);
            assert_int_equal(cat_incidents(t.cat, tell, NULL), 0);
            assert_true(ct_digest(t.cat) == r->digest);
        }
        goes_on(&t, &p);
    }
    ct_fini(&t);
}

static void rot_file(void *arg, const char *path, uint64_t size)
{
    struct rot *r = arg;
    if (strstr(path, "meta.") == NULL) {
        return;
    }
    struct rot here = *r;
    here.flips = here.silent = 0;
    /* behind the last batch the row log holds zeros, reserved: nobody's bytes */
    uint64_t end = size;
    uint8_t b = 0;
    while (strstr(path, ".log") != NULL && end > 0 && b == 0) {
        end--;
        assert_int_equal(env_sim_file_read(r->sim, path, end, &b, 1), ST_OK);
    }
    end = strstr(path, ".log") != NULL ? (end | 4095) + 1 : end;
    for (uint64_t off = r->phase; off < end; off += r->stride) {
        rot_one(&here, path, off, (unsigned)(prng_mix(off + r->phase) % 8), off % 23 == 0);
    }
    print_message("%s: %llu flips, %llu not reported\n", path, (unsigned long long)here.flips,
                  (unsigned long long)here.silent);
    /* A page that the WAL holds is written again from there, torn by the crash or not: nothing was
     * damaged. */
    if (r->clean || strstr(path, "meta.db") == NULL || strstr(path, "-wal") != NULL) {
        assert_int_equal(here.silent, 0);
    }
}

static void rot_sweep(bool clean)
{
    struct ct t;
    struct rot r = {0};
    ct_init(&t, 7);
    ct_open_ok(&t, true);
    for (uint32_t gid = 1; gid <= 3; gid++) {
        struct cat_txn *txn = cat_txn_create();
        char name[8];
        (void)snprintf(name, sizeof(name), "S%u", gid);
        ct_put_stream(txn, gid, name);
        cat_put_stream_ckpt(txn, &(struct cat_stream_ckpt){.gid = gid, .tail = {name, 2}});
        cat_put_consumer(txn, &(struct cat_consumer){.gid = gid, .sub = 1, .name = {"C", 1}});
        cat_put_consumer_ckpt(
            txn, &(struct cat_consumer_ckpt){.gid = gid, .sub = 1, .blob = {"xyz", 3}});
        cat_put_next_gid(txn, gid + 1);
        ct_commit_ok(&t, txn);
    }
    r.generation = cat_generation(t.cat);
    r.digest = ct_digest(t.cat);
    if (clean) {
        ct_close(&t, true);
    } else {
        ct_abandon(&t);
    }
    r.disk = env_sim_disk_save(t.sim);
    r.sim = t.sim;
    r.clean = clean;
    r.stride = 97 / u64_min(97, test_rounds(1)); /* MR_ROUNDS=97: every byte */
    r.phase = prng_mix(test_seed()) % r.stride;
    env_sim_each_file(t.sim, rot_file, &r);
    env_sim_disk_free(r.disk);
    ct_fini(&t);
}

static void test_rot_after_clean_stop(void **state)
{
    (void)state;
    rot_sweep(true);
}

static void test_rot_after_kill(void **state)
{
    (void)state;
    rot_sweep(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash_everywhere),
        cmocka_unit_test(test_kill_then_power_loss),
        cmocka_unit_test(test_rot_after_clean_stop),
        cmocka_unit_test(test_rot_after_kill),
    };
    return cmocka_run_group_tests_name("catalogue crash", tests, NULL, NULL);
}
