/* Backup and restore on the simulated world. Random lives of streams and consumers are archived,
 * live on, and are restored over; the machine dies at each disk operation of the backup and of the
 * restore. Afterwards the archive is the old or the new one, whole, and the store has what it had
 * or what the restore makes of it: all streams of one or of the other, never a part.
 *
 * restore_crash [--count SEEDS] [--seed S] [--points N] [--verbose] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backup.h"
#include "engine/base/env_sim_world.h"
#include "engine/base/log.h"
#include "engine/config.h"
#include "engine/eng.h"
#include "engine/snapshot.h"
#include "tests/sim/sim_world.h"

#define ARCHIVE "/a.arc"
enum { NAMES_MAX = 16 };

/* What a store holds: one sum per stream. */
struct digest {
    char name[NAMES_MAX][16];
    uint32_t sum[NAMES_MAX];
    size_t n;
};

static bool verbose;
static uint64_t crashes;
static char failure[1000];

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg;
    if (verbose) {
        fprintf(stderr, "  log[%d] %.*s\n", (int)level, (int)len, line);
    }
}

static void fail(const char *what, const char *more)
{
    if (failure[0] == 0) {
        snprintf(failure, sizeof failure, "%s%s%.700s", what, more[0] != 0 ? ": " : "", more);
    }
}

/* --- what is there ---------------------------------------------------------------------------- */

static uint32_t add_u64(uint32_t sum, uint64_t v)
{
    uint8_t b[8];
    put_u64le(b, v);
    return crc32c(sum, b, sizeof b);
}

static uint32_t add_cons(uint32_t sum, const struct snap_cons *c, bool position)
{
    struct cfg_head head = {CFG_KIND_CONSUMER, CFG_OP_UPDATE, 1, 0};
    uint8_t *cfg;
    size_t len;
    cons_cfg_encode(&head, &c->cfg, &cfg, &len);
    sum = crc32c(sum, cfg, len);
    base_free(cfg);
    if (!position || c->cfg.mem_storage) {
        return sum;
    }
    sum = add_u64(sum, c->delivered_cseq);
    sum = add_u64(sum, c->delivered_sseq);
    sum = add_u64(sum, c->floor_cseq);
    sum = add_u64(sum, c->floor_sseq);
    for (size_t i = 0; i < c->npend; i++) {
        sum = add_u64(add_u64(sum, c->pend[i].sseq), c->pend[i].dcount);
    }
    return sum;
}

static uint32_t add_msgs(uint32_t sum, struct store_snap *snap, const char *name)
{
    struct msg m;
    struct err err = {0};
    enum st st;
    while ((st = store_snap_next(snap, &m, &err)) == ST_OK) {
        sum = add_u64(add_u64(sum, m.seq), (uint64_t)m.ts_ns);
        sum = crc32c(sum, m.subj, m.subj_len);
        sum = crc32c(sum, m.hdr, m.hdr_len);
        sum = crc32c(sum, m.data, m.data_len);
    }
    if (st != ST_NOTFOUND) {
        fail(name, err.msg);
    }
    return sum;
}

static int64_t ids_from_ns; /* older ids may have left the window meanwhile */

static bool add_id(void *arg, struct hash128 id, uint64_t seq, int64_t ts_ns)
{
    uint32_t *sum = arg;
    if (ts_ns > ids_from_ns) {
        *sum = crc32c(*sum, (const uint8_t *)&id, sizeof id);
        *sum = add_u64(add_u64(*sum, seq), (uint64_t)ts_ns);
    }
    return true;
}

/* Of memory streams only that they are there: what they hold ends with the process. */
static uint32_t sum_of(struct store_stream *s)
{
    struct cfg_head head = {CFG_KIND_STREAM, CFG_OP_UPDATE, 1, s->created_ns};
    struct store_snap *snap = snap_take(s, true);
    const struct snap_info *info = store_snap_info(snap);
    uint8_t *cfg;
    size_t len;
    stream_cfg_encode(&head, &s->cfg, &cfg, &len);
    uint32_t sum = crc32c(0, cfg, len);
    base_free(cfg);
    if (!s->memory) {
        sum = add_u64(sum, s->id_seed);
        dedup_each(s->dedup, add_id, &sum);
        sum = add_u64(add_u64(sum, info->state.first_seq), info->state.last_seq);
        sum = add_msgs(sum, snap, s->cfg.name);
    }
    for (size_t i = 0; i < info->ncons; i++) {
        sum = add_cons(sum, &info->cons[i], !s->memory);
    }
    store_snap_close(snap);
    return sum;
}

static struct digest digest(struct store *store)
{
    struct digest d = {0};
    for (struct store_stream *s = NULL; (s = store->ops->stream_next(store, "$G", s)) != NULL;) {
        snprintf(d.name[d.n], sizeof d.name[d.n], "%s", s->cfg.name);
        d.sum[d.n++] = sum_of(s);
    }
    return d;
}

static bool same(const struct digest *a, const struct digest *b)
{
    bool yes = a->n == b->n;
    for (size_t i = 0; i < a->n && yes; i++) {
        yes = a->sum[i] == b->sum[i] && strcmp(a->name[i], b->name[i]) == 0;
    }
    return yes;
}

/* Every stream of `part` is in `whole` as it is. */
static bool within(const struct digest *part, const struct digest *whole)
{
    for (size_t i = 0; i < part->n; i++) {
        bool found = false;
        for (size_t k = 0; k < whole->n; k++) {
            found = found ||
                    (part->sum[i] == whole->sum[k] && strcmp(part->name[i], whole->name[k]) == 0);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static void on_incident(void *arg, const char *account, const char *stream, const char *text)
{
    (void)arg, (void)account, (void)stream;
    fail("damage is reported after a mere crash", text);
}

static void on_file(void *arg, const char *path, uint64_t size)
{
    (void)arg, (void)size;
    if (strstr(path, "/quarantine/") != NULL) {
        fail("file in quarantine after a mere crash", path);
    }
}

/* --- one world -------------------------------------------------------------------------------- */

struct run {
    struct env_sim *sim; /* owned */
    struct store *store; /* owned; NULL = closed */
    struct eng_opts opts;
};

static bool run_open(struct run *r, bool read_only)
{
    struct err err = {0};
    struct eng_opts o = r->opts;
    o.read_only_check = read_only;
    if (eng_open(env_sim_env(r->sim), &o, &r->store, &err) != ST_OK) {
        fail("the store does not open", err.msg);
        return false;
    }
    eng_of(r->store)->hold_expiry = true;
    return true;
}

static bool sim_wait(void *arg, int64_t deadline_ns)
{
    struct run *r = arg;
    if (env_sim_down(r->sim)) {
        return false;
    }
    if (!env_sim_step_one(r->sim)) {
        int64_t now = env_boot_ns(env_sim_env(r->sim));
        int64_t at = i64_max(now + 1, env_sim_next_timer_ns(r->sim));
        at = deadline_ns > now && deadline_ns < at ? deadline_ns : at;
        if (at == INT64_MAX) {
            return false;
        }
        env_sim_advance(r->sim, at - now);
    }
    return true;
}

static enum st restore(struct run *r, struct err *err)
{
    struct eng_backup_report report;
    struct eng_restore_opts o = {
        .path = ARCHIVE, .replace = true, .drive = {r->store, sim_wait, r}};
    return eng_restore(r->store, &o, &report, err);
}

static enum st backup(struct run *r, struct err *err)
{
    struct eng_backup_report report;
    struct eng_backup_opts o = {.path = ARCHIVE, .replace = true};
    return eng_backup(r->store, &o, &report, err);
}

static struct run run_of(const struct env_sim_disk *disk, const struct world *w, uint64_t seed)
{
    struct run r = {.sim = env_sim_create(seed), .opts = w->opts};
    env_sim_disk_load(r.sim, disk);
    r.sim->real_ns = w->sim->real_ns;
    r.sim->boot_ns = w->sim->boot_ns;
    memcpy(r.sim->boot_id, w->sim->boot_id, 16);
    return r;
}

static void end(struct run *r)
{
    if (r->store != NULL) {
        eng_abandon(r->store);
    }
    env_sim_destroy(r->sim);
}

static void die(struct run *r, uint64_t seed)
{
    eng_abandon(r->store);
    r->store = NULL;
    if (seed % 2 == 0) {
        env_sim_power_loss(r->sim, seed);
    } else {
        env_sim_process_crash(r->sim);
    }
    crashes++;
}

/* Steps of a random life, then a clean stop; false: it failed. */
static bool live(struct world *w, unsigned steps)
{
    for (unsigned i = 0; i < steps && !w->failed; i++) {
        sw_step(w);
    }
    for (int i = 0; i < 5 && !w->failed && (i == 0 || w->outstanding > 0); i++) {
        sw_settle(w);
    }
    sw_close(w);
    if (w->failed) {
        fail("life", w->fail);
    }
    return !w->failed;
}

/* The machine dies at the n-th operation of a restore. True: it was over before. */
static bool restore_dies(const struct env_sim_disk *disk, const struct world *w, uint64_t n,
                         uint64_t seed, const struct digest *old, const struct digest *new)
{
    struct run r = run_of(disk, w, seed);
    struct err err = {0};
    bool over = false;
    if (run_open(&r, false)) {
        env_sim_crash_at(r.sim, n, seed / 2 % 2 == 0);
        enum st st = restore(&r, &err);
        over = !env_sim_down(r.sim);
        if (over && st != ST_OK) {
            fail("restore", err.msg);
        }
        env_sim_crash_at(r.sim, 0, false);
        die(&r, seed / 4);
        if (run_open(&r, false)) {
            struct digest d = digest(r.store);
            if (st == ST_OK ? !same(&d, new) : !same(&d, new) && !same(&d, old)) {
                fail(st == ST_OK ? "a restore that was answered is not there"
                                 : "neither what was there nor what was restored",
                     "");
            }
            if (r.store->ops->stream_next(r.store, STORE_IMPORT_ACCOUNT, NULL) != NULL) {
                fail("a stream of a restore that never ended is there", "");
            }
            eng_incidents(r.store, on_incident, NULL);
            env_sim_each_file(r.sim, on_file, NULL);
        }
    }
    end(&r);
    return over;
}

/* ... of a backup over an older archive. */
static bool backup_dies(const struct env_sim_disk *disk, const struct world *w, uint64_t n,
                        uint64_t seed, const struct digest *old)
{
    struct run r = run_of(disk, w, seed);
    struct err err = {0};
    struct eng_backup_report report;
    bool over = false;
    if (run_open(&r, true)) {
        env_sim_crash_at(r.sim, n, seed / 2 % 2 == 0);
        enum st st = backup(&r, &err);
        over = !env_sim_down(r.sim);
        if (over && st != ST_OK) {
            fail("backup", err.msg);
        }
        env_sim_crash_at(r.sim, 0, false);
        die(&r, seed / 4);
        if (eng_archive_verify(env_sim_env(r.sim), ARCHIVE, NULL, NULL, NULL, &report, &err) !=
            ST_OK) {
            fail("no whole archive is there", err.msg);
        }
        if (run_open(&r, false)) {
            struct digest d = digest(r.store);
            if (!same(&d, old)) {
                fail("a backup that was cut short changed the store", "");
            }
        }
    }
    end(&r);
    return over;
}

/* Operations of a whole one; what a restore makes. */
static uint64_t count_ops(const struct env_sim_disk *disk, const struct world *w, bool is_restore,
                          struct digest *out)
{
    struct run r = run_of(disk, w, 1);
    struct err err = {0};
    uint64_t ops = 0;
    if (run_open(&r, !is_restore)) {
        uint64_t before = r.sim->ops;
        enum st st = is_restore ? restore(&r, &err) : backup(&r, &err);
        ops = r.sim->ops - before;
        if (st != ST_OK) {
            fail(is_restore ? "restore" : "backup", err.msg);
        }
        *out = digest(r.store);
    }
    end(&r);
    return ops;
}

static void sweep(struct world *w, uint64_t seed, uint64_t points, const struct digest *archived)
{
    struct env_sim_disk *disk = env_sim_disk_save(w->sim);
    struct run r = run_of(disk, w, 2);
    struct digest old = {0}, new = {0}, unused;
    if (run_open(&r, false)) {
        old = digest(r.store);
    }
    end(&r);
    uint64_t ops = failure[0] == 0 ? count_ops(disk, w, true, &new) : 0;
    if (failure[0] == 0 && !within(archived, &new)) {
        fail("a restore does not make what was archived", "");
    }
    for (uint64_t i = 0; i < points && failure[0] == 0; i++) {
        uint64_t n = ops <= points ? i + 1 : 1 + prng_mix(seed + i) % (ops + 1);
        (void)restore_dies(disk, w, n, prng_mix(seed * 31 + i), &old, &new);
        if (failure[0] != 0) {
            fprintf(stderr, "restore dies at operation %llu\n", (unsigned long long)n);
        }
    }
    ops = failure[0] == 0 ? count_ops(disk, w, false, &unused) : 0;
    for (uint64_t n = 1; n <= ops + 1 && failure[0] == 0; n++) {
        (void)backup_dies(disk, w, n, prng_mix(seed * 37 + n), &old);
        if (failure[0] != 0) {
            fprintf(stderr, "backup dies at operation %llu\n", (unsigned long long)n);
        }
    }
    env_sim_disk_free(disk);
}

static bool one_seed(uint64_t seed, uint64_t points)
{
    static struct world w;
    struct digest archived = {0};
    struct err err = {0};
    sw_init(&w, seed);
    w.big_max = 4000;
    if (sw_open(&w) && live(&w, 40 + (unsigned)(seed % 120))) {
        struct run r = {.sim = w.sim, .opts = w.opts};
        ids_from_ns = env_real_ns(env_sim_env(w.sim)) - 60 * NS_PER_S;
        if (run_open(&r, true)) {
            archived = digest(r.store);
            if (backup(&r, &err) != ST_OK) {
                fail("backup", err.msg);
            }
            eng_abandon(r.store);
        }
        struct sw_cut cut = {sw_op(&w), false, true};
        if (failure[0] == 0 && sw_open(&w) && sw_check(&w, w.sim, w.store, cut)) {
            sw_adopt(&w, cut);
            if (live(&w, 40)) {
                sweep(&w, seed, points, &archived);
            }
        } else if (w.failed) {
            fail("after the backup", w.fail);
        }
    }
    sw_fini(&w);
    if (failure[0] != 0) {
        printf("FAIL --seed %llu: %s\n", (unsigned long long)seed, failure);
    }
    return failure[0] == 0;
}

int main(int argc, char **argv)
{
    uint64_t count = 6, seed = 1, points = 60;
    for (int i = 1; i < argc; i++) {
        const char *v = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(argv[i], "--count") == 0) {
            count = strtoull(v, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(v, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--points") == 0) {
            points = strtoull(v, NULL, 10);
            i++;
        } else if (strcmp(argv[i], "--verbose") == 0) {
            verbose = true;
        } else {
            fprintf(stderr,
                    "usage: restore_crash [--count SEEDS] [--seed S] [--points N] [--verbose]\n");
            return 2;
        }
    }
    log_set_sink(quiet, NULL);
    uint64_t last = seed + count;
    bool ok = true;
    for (; seed < last && ok; seed++) {
        ok = one_seed(seed, points);
    }
    printf("restore_crash: %llu crashes, %llu lives, %d failed\n", (unsigned long long)crashes,
           (unsigned long long)count, !ok);
    return ok ? 0 : 1;
}
