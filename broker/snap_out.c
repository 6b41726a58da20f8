#include "broker/snap_out.h"

#include <stdio.h>

#include "engine/base/snappy.h"

#define BLOCK_BYTES ((size_t)4 * 1024 * 1024) /* nats-server's own are up to 8 MB */

enum stage { BEGIN, MESSAGES, LAST, CONSUMERS, END, OVER };

void snap_out_fini(struct snap_out *o)
{
    for (size_t i = 0; i < o->ncons; i++) {
        base_free(o->cons[i].name);
        base_free(o->cons[i].meta);
    }
    base_free(o->cons);
    base_free(o->name);
    base_free(o->meta);
    snap_buf_fini(&o->out);
    snap_buf_fini(&o->block);
    snap_buf_fini(&o->tar);
    *o = (struct snap_out){0};
}

/* Packs whole frames of what stands in o->tar; with `all`, the rest too. */
static void pack(struct snap_out *o, bool all)
{
    size_t at = 0;
    while (o->tar.n - at >= SNAPPY_RAW_MAX || (all && at < o->tar.n)) {
        size_t n = o->tar.n - at < SNAPPY_RAW_MAX ? o->tar.n - at : SNAPPY_RAW_MAX;
        uint8_t *to = snap_room(&o->out, snappy_bound(n) + 8);
        o->out.n += snappy_frame_put(o->tar.v + at, n, to);
        at += n;
    }
    o->raw_bytes += at;
    snap_cut(&o->tar, at);
}

static void file(struct snap_out *o, const char *name, const void *p, size_t n)
{
    snap_tar_head(&o->tar, name, n, o->now_ns / NS_PER_S);
    snap_add(&o->tar, p, n);
    snap_tar_pad(&o->tar, n);
}

static void meta(struct snap_out *o, const char *dir, const char *consumer, const char *text,
                 size_t len)
{
    char name[600], sum[17];
    uint8_t key[SNAP_KEY_SIZE];
    snap_key_meta(o->name, consumer, key);
    snap_sum_text(key, text, len, sum);
    (void)snprintf(name, sizeof name, "%smeta.inf", dir);
    file(o, name, text, len);
    (void)snprintf(name, sizeof name, "%smeta.sum", dir);
    file(o, name, sum, 16);
}

static void end_block(struct snap_out *o)
{
    char name[40];
    if (o->block.n > 0) {
        (void)snprintf(name, sizeof name, "msgs/%llu.blk", (unsigned long long)o->block_no);
        file(o, name, o->block.v, o->block.n);
        o->block.n = 0;
        o->block_no++;
    }
}

/* Messages up to the end of a block. */
static enum st messages(struct snap_out *o, struct err *err)
{
    uint8_t key[SNAP_KEY_SIZE];
    struct msg m;
    enum st st = ST_OK;
    snap_key_block(o->name, o->block_no, key);
    while (o->block.n < BLOCK_BYTES && (st = o->ops->snap_next(o->snap, &m, err)) == ST_OK) {
        snap_rec_put(&o->block, key, &m, 0);
    }
    if (st == ST_OK) {
        end_block(o);
    }
    return st;
}

/* The last sequence, when no message stands for it. */
static void last(struct snap_out *o)
{
    const struct snap_info *i = o->ops->snap_info(o->snap);
    const struct seq_runs *d = &i->deleted;
    uint64_t seq = i->state.last_seq;
    bool gone =
        i->state.msgs == 0 || (d->n > 0 && d->v[d->n - 1].first + d->v[d->n - 1].count == seq + 1);
    if (seq > 0 && gone) {
        uint8_t key[SNAP_KEY_SIZE];
        struct msg m = {.seq = seq, .ts_ns = i->state.last_ts_ns};
        snap_key_block(o->name, o->block_no, key);
        snap_rec_put(&o->block, key, &m, SNAP_TOMBSTONE);
    }
    end_block(o);
}

static void consumer(struct snap_out *o, const struct snap_out_cons *c, const struct snap_cons *k)
{
    char dir[400], name[500];
    struct snap_buf state = {0};
    (void)snprintf(dir, sizeof dir, "obs/%s/", c->name);
    meta(o, dir, c->name, c->meta, c->meta_len);
    snap_cons_put(&state, k, o->now_ns);
    (void)snprintf(name, sizeof name, "%so.dat", dir);
    file(o, name, state.v, state.n);
    snap_buf_fini(&state);
}

static enum st step(struct snap_out *o, struct err *err)
{
    enum st st;
    switch ((enum stage)o->stage) {
    case BEGIN:
        snappy_head_put(snap_room(&o->out, SNAPPY_HEAD_SIZE));
        o->out.n += SNAPPY_HEAD_SIZE;
        o->block_no = 1;
        meta(o, "", NULL, o->meta, o->meta_len);
        o->stage = MESSAGES;
        return ST_OK;
    case MESSAGES:
        st = messages(o, err);
        o->stage = st == ST_NOTFOUND ? LAST : MESSAGES;
        return st == ST_NOTFOUND ? ST_OK : st;
    case LAST:
        last(o);
        o->stage = CONSUMERS;
        return ST_OK;
    case CONSUMERS:
        if (o->cons_at < o->ncons) {
            const struct snap_out_cons *c = &o->cons[o->cons_at];
            if (c->name != NULL) {
                consumer(o, c, &o->ops->snap_info(o->snap)->cons[o->cons_at]);
            }
            o->cons_at++;
            return ST_OK;
        }
        o->stage = END;
        return ST_OK;
    case END:
        snap_tar_end(&o->tar);
        o->stage = OVER;
        return ST_OK;
    case OVER:
        break;
    }
    return ST_NOTFOUND;
}

enum st snap_out_more(struct snap_out *o, struct err *err)
{
    enum st st = step(o, err);
    if (st == ST_OK) {
        pack(o, o->stage == OVER);
    }
    return st;
}
