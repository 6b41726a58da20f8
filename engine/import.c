/* Streams put together from a snapshot (store_snap.h): consumers with a given state; and what a
 * crash or a stop left of one that was never adopted. */
#include "engine/config.h"
#include "engine/snapshot.h"

#include "engine/base/log.h"

bool stream_is_import(const struct store_stream *s)
{
    return strcmp(s->cfg.account, STORE_IMPORT_ACCOUNT) == 0;
}

struct import_wait {
    store_cons_fn fn;
    void *arg;
    struct store_cons *c;
    struct err err;
};

static void import_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct import_wait *w = arg;
    (void)n;
    if (st != ST_CLOSED) {
        w->fn(w->arg, st, st == ST_OK ? w->c : NULL, err != NULL ? err : &w->err);
    }
    base_free(w);
}

static enum st log_made(struct store_stream *s, struct store_cons *c, const uint8_t *delta,
                        size_t delta_len)
{
    struct cfg_head head = {CFG_KIND_CONSUMER, CFG_OP_CREATE, 1, cons_created_ns(c)};
    uint8_t *body;
    size_t len;
    cons_cfg_encode(&head, cons_op_cfg(c), &body, &len);
    bool state = delta_len > 0 && !s->memory;
    enum st st = stream_log(s, REC_CFG, REC_HAS_TWIN | (state ? REC_BATCH_MORE : 0), cons_sub(c),
                            body, len, NULL, true, true);
    base_free(body);
    if (st == ST_OK && state) {
        st = stream_log(s, REC_CONS_DELTA, 0, cons_sub(c), delta, delta_len, NULL, true, true);
    }
    return st;
}

void import_cons(struct store_stream *s, const struct snap_cons *k, store_cons_fn fn, void *arg)
{
    struct eng *e = s->eng;
    struct import_wait *w = base_calloc(1, sizeof *w);
    uint8_t *delta = NULL;
    size_t delta_len = 0;
    w->fn = fn;
    w->arg = arg;
    enum st st = e->poisoned != ST_OK ? ST_POISONED : ST_OK;
    if (st == ST_OK && e->base.ops->cons_find(s, k->cfg.name) != NULL) {
        st = err_set(&w->err, ST_EXISTS, 0, "consumer \"%s\" stands there twice", k->cfg.name);
    }
    if (st == ST_OK) {
        bool fresh = k->next_seq == 0 && k->delivered_cseq == 0;
        w->c = cons_make(s, s->next_sub, &k->cfg, 1,
                         k->created_ns != 0 ? k->created_ns : eng_now_ns(e), fresh);
        if (!fresh) {
            cons_distrust(w->c);
        }
        struct seq_runs none = {0};
        st = fresh ? ST_OK : cons_delta_of(w->c, k, &delta, &delta_len);
        if (st == ST_OK) {
            st = log_made(s, w->c, delta, delta_len);
        }
        if (st == ST_OK) {
            s->next_sub++;
        }
        if (st == ST_OK && !fresh) {
            st = cons_apply_delta(w->c, delta, delta_len, &none);
            ASSERT(st == ST_OK);
            cons_recovered(w->c);
        }
        seq_runs_fini(&none);
        if (st != ST_OK) {
            cons_free(w->c);
            err_set(&w->err, st, 0, "consumer \"%s\": its state makes no sense", k->cfg.name);
        }
    }
    base_free(delta);
    eng_wait_own(e, st == ST_OK ? s->ticket : 0, import_done, w, st, 0);
}

enum st import_drop_left(struct eng *e)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < e->nstreams && st == ST_OK;) {
        struct store_stream *s = e->by_name[i];
        if (!stream_is_import(s)) {
            i++;
            continue;
        }
        log_inf("a restore that had not come to its end is undone messages=%llu",
                (unsigned long long)s->msgs);
        st = ddl_drop_now(e, s);
    }
    return st;
}
