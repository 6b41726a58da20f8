#include "tests/lib/jr_fixture.h"

#include <stdarg.h>
#include <stdio.h>

#include "tests/lib/testlib.h"

static void broke(struct jfx *x, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void broke(struct jfx *x, const char *fmt, ...)
{
    if (x->broken == NULL) {
        char text[256];
        va_list ap;
        va_start(ap, fmt);
        (void)vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        x->broken = base_strdup(text);
    }
}

void jfx_check(struct jfx *x)
{
    if (x->broken != NULL) {
        fail_msg("%s", x->broken);
    }
}

void jfx_init(struct jfx *x, struct env_sim *sim, uint64_t seed)
{
    *x = (struct jfx){.sim = sim, .rnd = {seed}};
    x->own_sim = sim == NULL;
    if (sim == NULL) {
        x->sim = env_sim_create(seed);
    }
    x->env = env_sim_env(x->sim);
    TEST_OK(env_mkdir(x->env, "/store", NULL), NULL); /* the engine makes and syncs it */
    TEST_OK(env_dirsync(x->env, "/", NULL), NULL);
    (void)snprintf(x->dir, sizeof(x->dir), "/store/journal/0");
    x->opts = (struct jr_opts){.dir = x->dir,
                               .crc_seed = JFX_SEED,
                               .file_min_bytes = 64 * KIB,
                               .file_max_bytes = 256 * KIB,
                               .window_bytes = 64 * MIB};
    memset(x->opts.store_uuid, 7, 16);
}

static void jfx_kept_release(struct jfx *x)
{
    for (size_t i = 0; i < x->nkept; i++) {
        jr_chunk_release(x->kept[i]);
    }
    x->nkept = 0;
}

void jfx_drop(struct jfx *x)
{
    if (x->jr != NULL) {
        jr_halt(x->jr);
    }
    if (x->jw != NULL) {
        jw_destroy(x->jw);
    }
    jr_close(x->jr);
    x->jr = NULL;
    x->jw = NULL;
}

void jfx_fini(struct jfx *x)
{
    jfx_kept_release(x);
    jfx_drop(x);
    for (size_t i = 0; i < JFX_GIDS; i++) {
        base_free(x->gids[i].v);
    }
    base_free(x->broken);
    if (x->own_sim) {
        env_sim_destroy(x->sim);
    }
}

/* --- content follows from the model, so that nothing has to be stored ------------------------- */

static size_t make_record(const struct jfx_rec *m, uint32_t gid, uint8_t *out)
{
    struct prng p = {m->fill};
    size_t body;
    if (m->type == REC_APPEND) {
        uint8_t *data = base_malloc(m->len + 1u);
        for (uint32_t i = 0; i < m->len; i++) {
            data[i] = (uint8_t)(i % 8 == 0 ? prng_next(&p) : data[i - 1] + 1u);
        }
        struct msg msg = {.seq = m->seq,
                          .ts_ns = (int64_t)m->fill & INT64_MAX,
                          .subj = (const uint8_t *)"subject",
                          .subj_len = 7,
                          .data = data,
                          .data_len = m->len};
        body = msg_put(out + REC_HEAD_SIZE, &msg, JFX_SEED);
        base_free(data);
    } else {
        body = m->len;
        for (uint32_t i = 0; i < m->len; i++) {
            out[REC_HEAD_SIZE + i] = (uint8_t)prng_next(&p);
        }
    }
    rec_seal(out, m->type, m->flags, gid, 0, (uint32_t)m->oseq, 0, body, JFX_SEED);
    return REC_HEAD_SIZE + body;
}

static size_t record_len(const struct jfx_rec *m)
{
    return REC_HEAD_SIZE + m->len + (m->type == REC_APPEND ? MSG_HEAD_SIZE + 7u : 0u);
}

bool jfx_put(struct jfx *x, unsigned g, enum rec_type type, uint32_t len, uint8_t flags, bool sync)
{
    struct jfx_gid *gid = &x->gids[g];
    struct jfx_rec m = {
        .oseq = gid->n, .len = len, .type = type, .flags = flags, .fill = prng_next(&x->rnd)};
    m.sync = sync || x->opts.sync_interval_ns == 0;
    m.seq = type == REC_APPEND ? gid->last_seq + 1 : 0;
    uint8_t *p;
    struct jr_chunk *chunk;
    uint32_t off;
    size_t need = record_len(&m);
    if (jw_reserve(x->jw, need, type != REC_APPEND || x->urgent, &p, &chunk, &off) != ST_OK) {
        return false;
    }
    assert_ptr_equal(chunk->base + off, p);
    size_t made = make_record(&m, g + 1, p);
    assert_int_equal(made, need);
    if (type == REC_APPEND) {
        gid->last_seq++;
    }
    struct jw_rec r = {.user = gid,
                       .gid = g + 1,
                       .oseq = m.oseq,
                       .last_seq = gid->last_seq,
                       .floor = 1,
                       .type = type,
                       .flags = flags,
                       .sync = sync};
    m.ticket = jw_commit(x->jw, &r, need);
    if (gid->n == gid->cap) {
        gid->cap = gid->cap == 0 ? 64 : gid->cap * 2;
        gid->v = base_realloc(gid->v, gid->cap * sizeof(*gid->v));
    }
    gid->v[gid->n++] = m;
    return true;
}

void jfx_seal(struct jfx *x)
{
    jw_seal(x->jw);
}

static void entry_done(void *arg, uint64_t ticket, const struct jr_entry *e)
{
    struct jfx *x = arg;
    struct jfx_gid *gid = e->user;
    uint64_t lsn = e->first_lsn;
    assert_ptr_equal(gid, &x->gids[e->gid - 1]);
    for (uint64_t o = e->first_oseq; o < e->first_oseq + e->nrec; o++) {
        struct jfx_rec *m = &gid->v[o];
        assert_int_equal(m->ticket, ticket);
        m->done = true;
        m->durable = m->sync;
        m->lsn = o + 1 == e->first_oseq + e->nrec ? e->last_lsn
                                                  : lsn; /* between: at least the first's */
    }
}

void jfx_poll(struct jfx *x)
{
    (void)jw_poll(x->jw, entry_done, x);
    uint64_t durable = jr_durable_lsn(x->jr);
    for (size_t g = 0; g < JFX_GIDS; g++) {
        for (size_t i = x->gids[g].skip; i < x->gids[g].n; i++) {
            struct jfx_rec *m = &x->gids[g].v[i];
            m->durable = m->durable || (m->done && m->lsn < durable);
        }
    }
}

struct settled {
    struct jfx *x;
    uint64_t ticket;
};
static bool is_settled(void *arg)
{
    const struct settled *s = arg;
    return jw_done(s->x->jw) >= s->ticket;
}

void jfx_settle(struct jfx *x)
{
    jfx_seal(x);
    struct settled s = {.x = x, .ticket = jw_open_ticket(x->jw) - 1};
    (void)env_sim_run_until(x->sim, is_settled, &s, 100000);
    jfx_poll(x);
}

void jfx_checkpoint(struct jfx *x, bool release)
{
    jfx_poll(x);
    uint64_t lsn = jr_durable_lsn(x->jr);
    if (lsn <= x->checkpoint_lsn) {
        return;
    }
    for (size_t g = 0; g < JFX_GIDS; g++) {
        struct jfx_gid *gid = &x->gids[g];
        while (gid->skip < gid->n && gid->v[gid->skip].durable) {
            gid->skip++;
        }
    }
    x->checkpoint_lsn = lsn;
    if (release) {
        jr_release(x->jr, lsn, 1);
    }
}

/* --- recovery against the model --------------------------------------------------------------- */

static enum st on_record(void *arg, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                         struct jr_chunk *chunk, uint64_t wall_ns, struct err *err)
{
    struct jfx *x = arg;
    (void)wall_ns;
    (void)err;
    if (r->gid == 0 || r->gid > JFX_GIDS) {
        broke(x, "invented gid %u", (unsigned)r->gid);
        return ST_OK;
    }
    if (bytes < chunk->base || bytes + r->len > chunk->base + chunk->cap) {
        broke(x, "record outside its chunk");
        return ST_OK;
    }
    struct jfx_gid *gid = &x->gids[r->gid - 1];
    while (x->lenient && gid->at < gid->n && (uint32_t)gid->v[gid->at].oseq != r->oseq) {
        x->missing++;
        gid->at++;
    }
    for (struct jfx_rec *m; gid->at < gid->n; gid->at++) {
        m = &gid->v[gid->at];
        bool lost = x->faulted && !m->done && (uint32_t)m->oseq != r->oseq;
        if (!m->gone && !lost) {
            break;
        }
        m->gone = true;
    }
    if (gid->at >= gid->n) {
        broke(x, "gid %u: oseq %u was never written, or is given twice (lsn %llu)",
              (unsigned)r->gid, (unsigned)r->oseq, (unsigned long long)lsn);
        return ST_OK;
    }
    const struct jfx_rec *m = &gid->v[gid->at++];
    struct jfx_rec want = *m;
    want.flags = r->flags; /* a twin has others */
    uint8_t *again = base_calloc(1, record_len(m));
    size_t len = make_record(&want, r->gid, again);
    if (len != r->len || memcmp(again, bytes, len) != 0) {
        broke(x, "gid %u oseq %u: expected oseq %llu, or other bytes", (unsigned)r->gid,
              (unsigned)r->oseq, (unsigned long long)m->oseq);
    }
    base_free(again);
    if (lsn < x->checkpoint_lsn) {
        broke(x, "record below the checkpoint");
    }
    x->given++;
    if (x->keep_chunks && x->nkept < 64 && (x->nkept == 0 || x->kept[x->nkept - 1] != chunk)) {
        jr_chunk_acquire(chunk);
        x->kept[x->nkept++] = chunk;
    }
    return ST_OK;
}

static void on_claim(void *arg, uint32_t gid, uint64_t last_seq, uint64_t floor,
                     const struct seq_runs *removed)
{
    struct jfx *x = arg;
    (void)floor;
    (void)removed;
    if (gid == 0 || gid > JFX_GIDS) {
        broke(x, "invented claim gid %u", (unsigned)gid);
        return;
    }
    x->gids[gid - 1].claimed_seq = u64_max(x->gids[gid - 1].claimed_seq, last_seq);
}

static void on_damage(void *arg, enum jr_damage_cause cause, uint32_t gid, uint64_t lo, uint64_t hi,
                      bool lost, const char *text)
{
    struct jfx *x = arg;
    x->damage.reports++;
    x->damage.lost += lost ? 1 : 0;
    x->damage.groups += cause == JR_DAMAGE_GROUP ? 1 : 0;
    x->damage.files += cause == JR_DAMAGE_FILE_MISSING ? 1 : 0;
    x->damage.gid = gid;
    x->damage.lo = lo;
    x->damage.hi = hi;
    (void)snprintf(x->damage.text, sizeof(x->damage.text), "%s", text);
}

void jfx_crashed(struct jfx *x, bool power)
{
    for (size_t g = 0; g < JFX_GIDS; g++) {
        for (size_t i = 0; i < x->gids[g].n; i++) {
            struct jfx_rec *m = &x->gids[g].v[i];
            m->done = power ? m->durable : m->done;
        }
    }
}

/* What was promised must be there: up to the last promised record that ends a batch. Then the model
 * forgets the rest. */
static void compare(struct jfx *x)
{
    for (size_t g = 0; g < JFX_GIDS; g++) {
        struct jfx_gid *gid = &x->gids[g];
        size_t must = 0;
        for (size_t i = 0; i < gid->n; i++) {
            if (gid->v[i].done && !gid->v[i].gone && (gid->v[i].flags & REC_BATCH_MORE) == 0) {
                must = i + 1;
            }
        }
        must = u64_max(must, gid->skip);
        if (gid->at < must && !x->lenient) {
            broke(x, "gid %zu: %zu records, %zu were promised", g + 1, gid->at, must);
        }
        if (gid->at < must && x->lenient) {
            x->missing += must - gid->at;
            gid->at = must;
        }
        if (!x->faulted && gid->at > 0 && gid->at > gid->skip &&
            (gid->v[gid->at - 1].flags & REC_BATCH_MORE) != 0) {
            broke(x, "gid %zu: half a batch", g + 1);
        }
        gid->n = gid->at;
        gid->last_seq = 0;
        for (size_t i = 0; i < gid->n; i++) {
            gid->last_seq = u64_max(gid->last_seq, gid->v[i].seq);
        }
    }
}

enum st jfx_recover(struct jfx *x, struct err *err)
{
    struct jr_visitor v = {.arg = x, .record = on_record, .claim = on_claim, .damage = on_damage};
    x->damage = (struct jfx_damage){0};
    x->given = x->missing = 0;
    for (size_t g = 0; g < JFX_GIDS; g++) {
        x->gids[g].at = x->gids[g].skip;
        x->gids[g].claimed_seq = 0;
    }
    enum st st = jr_open(x->env, &x->opts, &x->jr, err);
    if (st == ST_OK) {
        st = jr_recover(x->jr, x->checkpoint_lsn, x->end_hint, &v, &x->rec, err);
    }
    if (st == ST_OK) {
        if (x->damage.reports != 0 && !x->lenient && !x->faulted) {
            broke(x, "reported as damage: %s", x->damage.text);
        }
        compare(x);
    }
    return st;
}

enum st jfx_open(struct jfx *x, struct err *err)
{
    enum st st = jfx_recover(x, err);
    if (st == ST_OK) {
        st = jr_start(x->jr, 1, err);
    }
    if (st == ST_OK) {
        st = jw_create(x->jr, &x->jw, err);
    }
    x->end_hint = st == ST_OK ? 0 : x->end_hint;
    for (size_t g = 0; g < JFX_GIDS && st == ST_OK;
         g++) { /* from here on somebody may be told of what was recovered */
        for (size_t i = 0; i < x->gids[g].n; i++) {
            x->gids[g].v[i].done = true;
            x->gids[g].v[i].durable = true;
        }
    }
    return st;
}

enum st jfx_stop(struct jfx *x)
{
    uint64_t end;
    jw_seal(x->jw);
    enum st st = jr_stop(x->jr, &end, NULL);
    jfx_poll(x);
    x->end_hint = end;
    jfx_drop(x);
    return st;
}

/* --- scenario --------------------------------------------------------------------------------- */

static uint32_t some_len(struct jfx *x)
{
    switch (prng_below(&x->rnd, 12)) {
    case 0:
        return (uint32_t)prng_below(&x->rnd, 30000);
    case 1:
        return (uint32_t)prng_below(&x->rnd, 4200);
    default:
        return (uint32_t)prng_below(&x->rnd, 200);
    }
}

static void put_batch(struct jfx *x, unsigned g)
{
    unsigned n = 2 + (unsigned)prng_below(&x->rnd, 6);
    if (jw_room(x->jw, n * 32 * KIB, false) != ST_OK) {
        return;
    }
    x->urgent = true;
    for (unsigned i = 0; i < n; i++) {
        uint8_t flags = i + 1 < n ? REC_BATCH_MORE : 0;
        if (!jfx_put(x, g, REC_APPEND, some_len(x), flags, true)) {
            assert_true(env_sim_down(x->sim) || jr_poisoned(x->jr, NULL) != ST_OK);
            break;
        }
        if (prng_below(&x->rnd, 6) == 0) { /* spread it over groups */
            jfx_seal(x);
            (void)env_sim_step_one(x->sim);
        }
    }
    x->urgent = false;
}

void jfx_step(struct jfx *x)
{
    unsigned g = (unsigned)prng_below(&x->rnd, JFX_GIDS);
    bool sync = x->opts.sync_interval_ns == 0 || prng_below(&x->rnd, 4) == 0;
    switch (prng_below(&x->rnd, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        (void)jfx_put(x, g, REC_APPEND, some_len(x), 0, sync);
        break;
    case 4:
        (void)jfx_put(x, g, REC_CFG, 40, REC_HAS_TWIN, true);
        break;
    case 5:
        (void)jfx_put(x, g, REC_CONS_DELTA, 60, 0, sync);
        break;
    case 6:
        put_batch(x, g);
        break;
    case 7:
    case 8:
        jfx_seal(x);
        break;
    case 9:
        jfx_poll(x);
        break;
    case 10:
        (void)env_sim_advance_to_timer(x->sim);
        break;
    case 11:
        if (prng_below(&x->rnd, 8) == 0) {
            jfx_settle(x);
        }
        break;
    case 12:
        if (prng_below(&x->rnd, 12) == 0) {
            jfx_checkpoint(x, true);
        }
        break;
    default:
        (void)env_sim_step_one(x->sim);
        break;
    }
}
