#include "tests/lib/cattest.h"

#include <stdio.h>
#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/catalogue_tables.h"

static void quiet_sink(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg;
    (void)level;
    (void)line;
    (void)len;
}

void ct_init(struct ct *t, uint64_t seed)
{
    struct err err;
    memset(t, 0, sizeof(*t));
    t->sim = env_sim_create(seed);
    t->env = env_sim_env(t->sim);
    TEST_OK(env_mkdir(t->env, CT_ROOT, &err), &err);
    TEST_OK(env_dirsync(t->env, "/", &err), &err);
    if (getenv("MR_LOG") == NULL) {
        log_set_sink(quiet_sink, NULL);
    }
}

void ct_fini(struct ct *t)
{
    ct_abandon(t);
    env_sim_destroy(t->sim);
    memset(t, 0, sizeof(*t));
}

enum st ct_open(struct ct *t, bool create, struct err *err)
{
    enum store_file_note note;
    assert_null(t->cat);
    enum st st = store_file_open(t->env, CT_ROOT, create, &t->ident, &note, err);
    if (st != ST_OK) {
        return st;
    }
    struct cat_opts opts = {.root = CT_ROOT,
                            .store_uuid = t->ident.store_uuid,
                            .crc_seed = t->ident.crc_seed,
                            .create = create,
                            .wal_bytes_max = t->wal_bytes_max,
                            .log_bytes_min = t->log_bytes_min};
    return cat_open(t->env, &opts, &t->cat, err);
}

void ct_open_ok(struct ct *t, bool create)
{
    struct err err = {0};
    TEST_OK(ct_open(t, create, &err), &err);
}

void ct_close(struct ct *t, bool clean)
{
    cat_close(t->cat, clean);
    t->cat = NULL;
}

void ct_abandon(struct ct *t)
{
    cat_abandon(t->cat);
    t->cat = NULL;
}

/* --- digest ----------------------------------------------------------------------------------- */
struct walk {
    struct cat_buf buf;
    uint64_t digest;
    struct ct_counts n;
};

static enum st walk_row(struct walk *w, enum cat_table table, const void *row)
{
    w->buf.len = 0;
    enum st st = cat_row_encode_struct(&w->buf, table, CAT_OP_PUT, row);
    assert_int_equal(st, ST_OK);
    w->digest = hash64(w->digest, w->buf.data, w->buf.len);
    return ST_OK;
}

#define WALK(name, table, count)                                                                   \
    static enum st walk_##name(void *arg, const struct cat_##name *row, struct err *err)           \
    {                                                                                              \
        struct walk *w = arg;                                                                      \
        (void)err;                                                                                 \
        w->n.count++;                                                                              \
        return walk_row(w, table, row);                                                            \
    }
WALK(account, CAT_T_ACCOUNT, accounts)
WALK(stream_ckpt, CAT_T_STREAM_CKPT, stream_ckpts)
WALK(consumer, CAT_T_CONSUMER, consumers)
WALK(consumer_ckpt, CAT_T_CONSUMER_CKPT, consumer_ckpts)
WALK(segment, CAT_T_SEGMENT, segments)
WALK(segdel, CAT_T_SEGDEL, segdels)
WALK(pending_purge, CAT_T_PENDING_PURGE, purges)
WALK(lane, CAT_T_LANE, lanes)
WALK(damage, CAT_T_DAMAGE, damages)

static enum st walk_stream(void *arg, const struct cat_stream *row, struct err *err)
{
    struct walk *w = arg;
    (void)err;
    if (row->name.data == NULL) {
        w->n.tombstones++;
    } else {
        w->n.streams++;
    }
    return walk_row(w, CAT_T_STREAM, row);
}

static void walk(struct cat *cat, struct walk *w)
{
    static const struct cat_loader loader = {
        .account = walk_account,
        .stream = walk_stream,
        .stream_ckpt = walk_stream_ckpt,
        .consumer = walk_consumer,
        .consumer_ckpt = walk_consumer_ckpt,
        .segment = walk_segment,
        .segdel = walk_segdel,
        .pending_purge = walk_pending_purge,
        .lane = walk_lane,
        .damage = walk_damage,
    };
    struct err err = {0};
    struct cat_state state;
    TEST_OK(cat_load(cat, &loader, w, &err), &err);
    cat_state_get(cat, &state);
    w->digest = hash64(w->digest, &state.next_gid, sizeof(state.next_gid));
    cat_buf_fini(&w->buf);
}

uint64_t ct_digest(struct cat *cat)
{
    struct walk w = {.digest = 1};
    walk(cat, &w);
    return w.digest;
}

void ct_count(struct cat *cat, struct ct_counts *out)
{
    struct walk w = {.digest = 1};
    walk(cat, &w);
    *out = w.n;
}

/* --- transactions ----------------------------------------------------------------------------- */
void ct_put_stream(struct cat_txn *txn, uint32_t gid, const char *name)
{
    struct cat_stream s = {.gid = gid,
                           .account = {"$G", 2},
                           .name = {name, strlen(name)},
                           .cfg = {"cfg", 3},
                           .cfg_version = 1,
                           .created_ns = -5,
                           .next_sub = 1};
    cat_put_stream(txn, &s);
}

uint64_t ct_commit_ok(struct ct *t, struct cat_txn *txn)
{
    struct err err = {0};
    uint64_t gen = 0;
    TEST_OK(cat_commit(t->cat, txn, &gen, &err), &err);
    cat_txn_destroy(txn);
    return gen;
}

static uint32_t below(struct prng *p, uint32_t n)
{
    return (uint32_t)prng_below(p, n);
}

/* Bytes of a random length in `mem`; NULL now and then. */
static struct cat_bytes blob(struct prng *p, uint8_t *mem, size_t max)
{
    size_t len = prng_below(p, 4) == 0 ? 0 : (size_t)prng_below(p, max + 1);
    if (prng_below(p, 8) == 0) {
        return (struct cat_bytes){NULL, 0};
    }
    uint64_t x = prng_next(p);
    for (size_t i = 0; i < len; i++) {
        mem[i] = (uint8_t)(x >> (i % 8 * 8)) ^ (uint8_t)i;
    }
    return (struct cat_bytes){mem, len};
}

static void random_stream(struct cat_txn *txn, struct prng *p, uint32_t gid, uint8_t *mem,
                          size_t max)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "S%u", gid);
    bool dropped = prng_below(p, 4) == 0;
    struct cat_stream s = {.gid = gid,
                           .account = {"$G", 2},
                           .name = {dropped ? NULL : name, dropped ? 0 : strlen(name)},
                           .storage = below(p, 2),
                           .cfg = blob(p, mem, max),
                           .cfg_version = below(p, 1000),
                           .created_ns = (int64_t)prng_next(p),
                           .next_sub = below(p, UINT32_MAX),
                           .drop_lsn = dropped ? prng_next(p) : 0};
    cat_put_stream(txn, &s);
}

static void random_put(struct cat_txn *txn, struct prng *p, uint8_t *mem, size_t max)
{
    uint32_t gid = 1 + below(p, 6), sub = 1 + below(p, 3);
    char name[16];
    switch (prng_below(p, 10)) {
    case 0:
    case 1:
        random_stream(txn, p, gid, mem, max);
        break;
    case 2: {
        struct cat_stream_ckpt k = {.gid = gid,
                                    .flushed_lsn = prng_next(p),
                                    .oseq = prng_next(p),
                                    .last_seq = prng_next(p),
                                    .msgs = UINT64_MAX,
                                    .last_ts_ns = -1,
                                    .tail = blob(p, mem, max)};
        cat_put_stream_ckpt(txn, &k);
        break;
    }
    case 3: {
        (void)snprintf(name, sizeof(name), "C%u", sub);
        struct cat_consumer c = {
            .gid = gid, .sub = sub, .name = {name, strlen(name)}, .cfg = blob(p, mem, max)};
        cat_put_consumer(txn, &c);
        break;
    }
    case 4: {
        struct cat_consumer_ckpt c = {.gid = gid, .sub = sub, .blob = blob(p, mem, max)};
        cat_put_consumer_ckpt(txn, &c);
        break;
    }
    case 5: {
        struct cat_segment s = {.gid = gid,
                                .segno =
                                    prng_below(p, 2) == 0 ? UINT64_MAX - below(p, 3) : below(p, 3),
                                .gen = below(p, 9),
                                .seg_uuid = {1, 2, (uint8_t)gid},
                                .durable_len = prng_next(p)};
        cat_put_segment(txn, &s);
        break;
    }
    case 6: {
        struct cat_segdel d = {
            .gid = gid, .segno = below(p, 3), .part = below(p, 3), .runs = blob(p, mem, max)};
        cat_put_segdel(txn, &d);
        break;
    }
    case 7: {
        struct cat_pending_purge g = {
            .gid = gid, .lsn = below(p, 4), .filter = {"a.*", 3}, .hi_seq = prng_next(p)};
        cat_put_pending_purge(txn, &g);
        break;
    }
    case 8: {
        struct cat_lane l = {.id = 0, .checkpoint_lsn = prng_next(p)};
        cat_put_lane(txn, &l);
        break;
    }
    default: {
        struct cat_damage d = {
            .gid = gid, .lo = below(p, 3), .hi = 9, .cause = {"rot", 3}, .found_ns = 7};
        cat_put_damage(txn, &d);
        break;
    }
    }
}

static void random_del(struct cat_txn *txn, struct prng *p)
{
    uint32_t gid = 1 + below(p, 6), sub = 1 + below(p, 3);
    switch (prng_below(p, 7)) {
    case 0:
        cat_del_stream(txn, gid);
        break;
    case 1:
        cat_del_stream_ckpt(txn, gid);
        break;
    case 2:
        cat_del_consumer(txn, gid, sub);
        break;
    case 3:
        cat_del_consumer_ckpt(txn, gid, sub);
        break;
    case 4:
        cat_del_segment(txn, gid, below(p, 3));
        break;
    case 5:
        cat_del_segdel(txn, gid, below(p, 3), below(p, 3));
        break;
    default:
        cat_del_damage(txn, gid, below(p, 3), 9);
        break;
    }
}

struct cat_txn *ct_random_txn(struct prng *p, unsigned rows, size_t max_blob)
{
    struct cat_txn *txn = cat_txn_create();
    uint8_t *mem = base_malloc(max_blob + 1);
    for (unsigned i = 0; i < rows; i++) {
        if (prng_below(p, 4) == 0) {
            random_del(txn, p);
        } else {
            random_put(txn, p, mem, max_blob);
        }
    }
    if (prng_below(p, 3) == 0) {
        cat_put_next_gid(txn, 1 + below(p, 100));
    }
    base_free(mem);
    return txn;
}
