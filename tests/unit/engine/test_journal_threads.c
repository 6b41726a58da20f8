/* The journal with real threads on a real disk: two owners, lane, preparer, releases, small files
 * that rotate all the time, groups too large for a file. Run under TSan it is the proof of the
 * locking; the simulation steps tasks one at a time and cannot see a race. */
#include <pthread.h>
#include <stdlib.h>

#include <stdatomic.h>

#include "engine/base/prng.h"
#include "engine/journal.h"
#include "tests/lib/testlib.h"

#define OWNERS 2
#define LIVES 3

struct owner {
    struct jr *jr;
    struct jw *jw;
    struct prng rnd;
    uint32_t gid;
    uint64_t oseq;                 /* next */
    uint64_t durable;              /* records */
    uint64_t records;              /* to write in this life */
    atomic_uint_fast64_t last_lsn; /* of the newest durable record */
};
struct world {
    struct env *env;
    struct jr_opts opts;
    struct owner owners[OWNERS];
    atomic_bool stop;
    uint64_t seen[OWNERS + 1];
    uint64_t from[OWNERS + 1];
    uint64_t checkpoint;
};

static void on_entry(void *arg, uint64_t ticket, const struct jr_entry *e)
{
    struct owner *o = arg;
    (void)ticket;
    o->durable += e->nrec;
    atomic_store(&o->last_lsn, e->last_lsn);
}

static void put(struct owner *o)
{
    static const uint8_t data[400000];
    uint64_t kind = prng_below(&o->rnd, 400);
    struct msg m = {.seq = o->oseq + 1, .subj = data, .subj_len = 4, .data = data};
    m.data_len = kind == 0 ? 390000 : kind < 8 ? 30000 : (uint32_t)prng_below(&o->rnd, 300);
    size_t len = REC_HEAD_SIZE + (size_t)msg_size(m.subj_len, 0, m.data_len);
    uint8_t *p;
    struct jr_chunk *c;
    uint32_t off;
    enum st st = jw_reserve(o->jw, len, false, &p, &c, &off);
    if (st == ST_FULL) {
        return;
    }
    assert_int_equal(st, ST_OK);
    size_t body = msg_put(p + REC_HEAD_SIZE, &m, 3);
    rec_seal(p, REC_APPEND, 0, o->gid, 0, (uint32_t)o->oseq, 0, body, 3);
    struct jw_rec r = {.user = o,
                       .gid = o->gid,
                       .oseq = o->oseq,
                       .last_seq = m.seq,
                       .type = REC_APPEND,
                       .sync = true};
    (void)jw_commit(o->jw, &r, len);
    o->oseq++;
}

static void *owner_main(void *arg)
{
    struct owner *o = arg;
    uint64_t until = o->oseq + o->records;
    while (o->oseq < until || o->durable < o->oseq) {
        uint64_t n = prng_below(&o->rnd, 40);
        for (uint64_t i = 0; i < n && o->oseq < until; i++) {
            put(o);
        }
        jw_seal(o->jw);
        (void)jw_poll(o->jw, on_entry, o);
        if (jr_poisoned(o->jr, NULL) != ST_OK) {
            break;
        }
    }
    return NULL;
}

static void *releaser_main(void *arg)
{
    struct world *w = arg;
    while (!atomic_load(&w->stop)) {
        uint64_t lsn = UINT64_MAX;
        for (int i = 0; i < OWNERS; i++) {
            lsn = u64_min(lsn, atomic_load(&w->owners[i].last_lsn));
        }
        jr_release(w->owners[0].jr, lsn, 1);
        jr_set_wall_ns(w->owners[0].jr, lsn);
        struct jr_stats s;
        jr_stats_get(w->owners[0].jr, &s);
        w->checkpoint = lsn;
    }
    return NULL;
}

static enum st on_record(void *arg, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                         struct jr_chunk *chunk, uint64_t wall_ns, struct err *err)
{
    struct world *w = arg;
    (void)lsn;
    (void)bytes;
    (void)chunk;
    (void)wall_ns;
    (void)err;
    if (w->seen[r->gid] == 0) {
        w->from[r->gid] = r->oseq;
    }
    assert_int_equal(r->oseq, w->from[r->gid] + w->seen[r->gid]);
    w->seen[r->gid]++;
    return ST_OK;
}

static void on_damage(void *arg, enum jr_damage_cause cause, uint32_t gid, uint64_t lo, uint64_t hi,
                      bool lost, const char *text)
{
    (void)arg;
    (void)cause;
    (void)gid;
    (void)lo;
    (void)hi;
    (void)lost;
    fail_msg("%s", text);
}

static void life(struct world *w, bool clean)
{
    struct err err;
    struct jr *jr;
    struct jr_recovered rec;
    struct jr_visitor v = {.arg = w, .record = on_record, .damage = on_damage};
    memset(w->seen, 0, sizeof(w->seen));
    TEST_OK(jr_open(w->env, &w->opts, &jr, &err), &err);
    TEST_OK(jr_recover(jr, w->checkpoint, 0, &v, &rec, &err), &err);
    for (int i = 0; i < OWNERS; i++) { /* everything durable that is not below the checkpoint */
        struct owner *o = &w->owners[i];
        if (w->seen[o->gid] != 0) {
            assert_int_equal(w->from[o->gid] + w->seen[o->gid], o->oseq);
        }
    }
    TEST_OK(jr_start(jr, 1, &err), &err);
    pthread_t threads[OWNERS];
    pthread_t releaser;
    for (int i = 0; i < OWNERS; i++) {
        struct owner *o = &w->owners[i];
        o->jr = jr;
        o->records = 3000;
        atomic_store(&o->last_lsn, w->checkpoint);
        TEST_OK(jw_create(jr, &o->jw, &err), &err);
    }
    atomic_store(&w->stop, false);
    for (int i = 0; i < OWNERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, owner_main, &w->owners[i]), 0);
    }
    assert_int_equal(pthread_create(&releaser, NULL, releaser_main, w), 0);
    for (int i = 0; i < OWNERS; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&w->stop, true);
    pthread_join(releaser, NULL);
    TEST_OK(jr_poisoned(jr, &err), &err);
    uint64_t end;
    if (clean) {
        TEST_OK(jr_stop(jr, &end, &err), &err);
    }
    for (int i = 0; i < OWNERS; i++) {
        assert_int_equal(w->owners[i].durable, w->owners[i].oseq);
        jw_destroy(w->owners[i].jw);
    }
    jr_close(jr);
}

static void lives(void **state)
{
    (void)state;
    static struct world w;
    char *dir = test_mkdtemp();
    w.env = env_real_create();
    w.opts = (struct jr_opts){.dir = test_path(dir, "0"),
                              .crc_seed = 3,
                              .file_min_bytes = 64 * KIB,
                              .file_max_bytes = 256 * KIB,
                              .window_bytes = 64 * MIB};
    char *path = base_strdup(w.opts.dir);
    w.opts.dir = path;
    for (uint32_t i = 0; i < OWNERS; i++) {
        w.owners[i].gid = i + 1;
        w.owners[i].rnd.state = test_seed() + i;
    }
    for (int n = 0; n < LIVES; n++) {
        life(&w, n % 2 == 0);
    }
    env_real_destroy(w.env);
    base_free(path);
    test_rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
