#include "broker/snap_in.h"

#include <stdio.h>
#include <stdlib.h>

enum state { HEADER, BODY, PADDING };
enum kind { SKIP, SMALL, BLOCK, PAX };
enum { NEAR = 64 };

void snap_in_fini(struct snap_in *s)
{
    for (size_t i = 0; i < s->ncons; i++) {
        base_free(s->cons[i].name);
        snap_buf_fini(&s->cons[i].meta);
        snap_buf_fini(&s->cons[i].sum);
        snap_buf_fini(&s->cons[i].state);
    }
    base_free(s->cons);
    snap_buf_fini(&s->meta);
    snap_buf_fini(&s->sum);
    snap_buf_fini(&s->part);
    base_free(s->gone.items);
    s2_reader_fini(&s->s2);
    *s = (struct snap_in){0};
}

/* --- entries ---------------------------------------------------------------------------------- */

static void small(struct snap_in *s, struct snap_buf *into, size_t max)
{
    s->kind = SMALL;
    s->into = into;
    s->into_max = max;
    into->n = 0;
}

static struct snap_in_cons *cons_of(struct snap_in *s, const char *name, size_t len)
{
    /* A consumer's files stand together; one that comes again is refused as it is made. */
    for (size_t i = s->ncons; i-- > 0 && s->ncons - i <= NEAR;) {
        if (strlen(s->cons[i].name) == len && memcmp(s->cons[i].name, name, len) == 0) {
            return &s->cons[i];
        }
    }
    if (s->ncons == SNAP_CONSUMERS_MAX || len == 0) {
        return NULL;
    }
    if ((s->ncons & (s->ncons - 1)) == 0) {
        s->cons = base_realloc(s->cons, (s->ncons * 2 + 1) * sizeof *s->cons);
    }
    s->cons[s->ncons] = (struct snap_in_cons){.name = base_strndup(name, len)};
    return &s->cons[s->ncons++];
}

static void consumer_file(struct snap_in *s, const char *path)
{
    const char *slash = strchr(path, '/');
    struct snap_in_cons *c = slash != NULL ? cons_of(s, path, (size_t)(slash - path)) : NULL;
    if (c != NULL && strcmp(slash, "/meta.inf") == 0) {
        small(s, &c->meta, SNAP_META_MAX);
    } else if (c != NULL && strcmp(slash, "/meta.sum") == 0) {
        small(s, &c->sum, 64);
    } else if (c != NULL && strcmp(slash, "/o.dat") == 0) {
        small(s, &c->state, SNAP_STATE_MAX);
    }
}

static bool is_block(struct snap_in *s, const char *name)
{
    char *end;
    if (strncmp(name, "msgs/", 5) != 0 || name[5] < '0' || name[5] > '9') {
        return false;
    }
    s->block_no = strtoull(name + 5, &end, 10);
    return strcmp(end, ".blk") == 0;
}

/* Zeros packed to nothing must not fill the memory. */
static enum st hold(struct snap_in *s, uint64_t bytes, struct err *err)
{
    s->held += (size_t)bytes;
    return s->held <= SNAP_HELD_MAX
               ? ST_OK
               : err_set(err, ST_TOOBIG, 0, "consumers and removed messages take more than %zu MiB",
                         SNAP_HELD_MAX / MIB);
}

static enum st begin_entry(struct snap_in *s, struct err *err)
{
    enum st st = snap_tar_get(s->part.v, &s->entry);
    s->part.n = 0;
    if (st == ST_NOTFOUND) {
        s->ended = true;
        return ST_OK;
    }
    if (st != ST_OK) {
        return err_set(err, ST_CORRUPT, 0, "archive/tar: invalid tar header");
    }
    if (s->long_name[0] != 0 && s->entry.type == '0') {
        (void)snprintf(s->entry.name, sizeof s->entry.name, "%s", s->long_name);
        s->long_name[0] = 0;
    }
    const char *name = s->entry.name;
    s->state = BODY;
    s->kind = SKIP;
    s->left = s->entry.size;
    s->pad = (TAR_BLOCK - s->entry.size % TAR_BLOCK) % TAR_BLOCK;
    s->off = 0;
    if (s->entry.type == 'x' || s->entry.type == 'L') {
        s->kind = PAX;
    } else if (s->entry.type != '0') {
        s->kind = SKIP;
    } else if (strcmp(name, "meta.inf") == 0) {
        small(s, &s->meta, SNAP_META_MAX);
    } else if (strcmp(name, "meta.sum") == 0) {
        small(s, &s->sum, 64);
    } else if (strncmp(name, "obs/", 4) == 0) {
        consumer_file(s, name + 4);
    } else if (is_block(s, name)) {
        s->kind = BLOCK;
        snap_key_block(s->stream, s->block_no, s->key);
    }
    if ((s->kind == SMALL && s->left > s->into_max) || (s->kind == PAX && s->left > 64 * KIB)) {
        return err_set(err, ST_CORRUPT, 0, "file \"%.200s\" is too large", name);
    }
    return s->kind == SMALL ? hold(s, s->left, err) : ST_OK;
}

static enum st end_entry(struct snap_in *s, struct err *err)
{
    if (s->kind == BLOCK && s->part.n > 0) {
        return err_set(err, ST_CORRUPT, 0, "%s is cut short at %llu", s->entry.name,
                       (unsigned long long)s->off);
    }
    if (s->kind == PAX && s->entry.type == 'x') {
        if (!snap_pax_path(s->part.v, s->part.n, s->long_name, sizeof s->long_name)) {
            s->long_name[0] = 0;
        }
    } else if (s->kind == PAX) {
        (void)snprintf(s->long_name, sizeof s->long_name, "%.*s", (int)s->part.n,
                       s->part.n > 0 ? (const char *)s->part.v : "");
    }
    s->part.n = 0;
    s->left = s->pad;
    s->state = PADDING;
    return s->kind == SMALL && s->into == &s->meta ? s->got_meta(s->arg, s->meta.v, s->meta.n, err)
                                                   : ST_OK;
}

/* --- records ---------------------------------------------------------------------------------- */

/* Its subject could have been published: a blank or a line's end in it would be protocol to those
 * whom it is delivered to. */
static bool sendable(const struct msg *m)
{
    uint8_t before = '.';
    for (size_t i = 0; i < m->subj_len; i++) {
        if (m->subj[i] <= ' ' || m->subj[i] == 0x7f || (m->subj[i] == '.' && before == '.')) {
            return false;
        }
        before = m->subj[i];
    }
    return before != '.';
}

static enum st give(struct snap_in *s, struct err *err)
{
    struct snap_rec rec;
    if (!snap_rec_get(s->part.v, s->part.n, s->key, &rec)) {
        return err_set(err, ST_CORRUPT, 0, "%s: the message at %llu is damaged", s->entry.name,
                       (unsigned long long)s->off);
    }
    enum st st = ST_OK;
    if (rec.m.seq >= SNAP_TOMBSTONE || rec.m.seq >= UINT64_MAX / 4) {
        return err_set(err, ST_CORRUPT, 0, "%s: sequence out of range at %llu", s->entry.name,
                       (unsigned long long)s->off);
    }
    if (rec.tombstone) {
        st = hold(s, sizeof rec.m.seq, err);
        if (st == ST_OK && rec.m.seq != 0) {
            VEC_PUSH(&s->gone, rec.m.seq);
        }
    } else if (!rec.erased && rec.m.seq != 0) {
        st = sendable(&rec.m) ? s->msg(s->arg, &rec.m, err)
                              : err_set(err, ST_CORRUPT, 0, "%s: no subject at %llu", s->entry.name,
                                        (unsigned long long)s->off);
    }
    if (st == ST_OK) {
        s->last_seq = u64_max(s->last_seq, rec.m.seq);
        s->off += s->part.n;
        s->part.n = 0;
    }
    s->ready = st == ST_FULL;
    return st;
}

static void take(struct snap_in *s, struct snap_buf *to, size_t n)
{
    snap_add(to, s->raw, n);
    s->raw += n;
    s->raw_len -= n;
}

static size_t fits(const struct snap_in *s, uint64_t want)
{
    uint64_t n = u64_min(u64_min(s->raw_len, s->left), want);
    return (size_t)n;
}

/* One record, or what there is of it. */
static enum st block(struct snap_in *s, struct err *err)
{
    size_t want = 4;
    for (int i = 0; i < 2; i++) {
        size_t n = s->part.n < want ? fits(s, want - s->part.n) : 0;
        take(s, &s->part, n);
        s->left -= n;
        if (s->part.n < want) {
            return ST_OK;
        }
        if (i == 0) {
            want = snap_rec_len(s->part.v);
            if (want == 0) {
                return err_set(err, ST_CORRUPT, 0, "%s: no message begins at %llu", s->entry.name,
                               (unsigned long long)s->off);
            }
        }
    }
    return give(s, err);
}

static enum st body(struct snap_in *s, struct err *err)
{
    size_t n = fits(s, UINT64_MAX);
    switch ((enum kind)s->kind) {
    case BLOCK:
        return block(s, err);
    case SMALL:
        take(s, s->into, n);
        break;
    case PAX:
        take(s, &s->part, n);
        break;
    case SKIP:
        s->raw += n;
        s->raw_len -= n;
        break;
    }
    s->left -= n;
    return ST_OK;
}

static enum st tar(struct snap_in *s, struct err *err)
{
    size_t n;
    switch ((enum state)s->state) {
    case HEADER:
        n = TAR_BLOCK - s->part.n < s->raw_len ? TAR_BLOCK - s->part.n : s->raw_len;
        take(s, &s->part, n);
        return s->part.n == TAR_BLOCK ? begin_entry(s, err) : ST_OK;
    case BODY:
        if (s->left == 0) {
            return end_entry(s, err);
        }
        return body(s, err);
    case PADDING:
        n = fits(s, UINT64_MAX);
        s->raw += n;
        s->raw_len -= n;
        s->left -= n;
        s->state = s->left == 0 ? HEADER : PADDING;
        return ST_OK;
    }
    return ST_OK;
}

enum st snap_in_step(struct snap_in *s, const uint8_t **p, size_t *n, struct err *err)
{
    enum st st = s->ready ? give(s, err) : ST_OK;
    if (st != ST_OK) {
        return st;
    }
    if (s->raw_len == 0) {
        st = s2_read(&s->s2, p, n, &s->raw, &s->raw_len);
        if (st == ST_AGAIN) {
            return ST_AGAIN;
        }
        if (st != ST_OK) {
            s->raw_len = 0;
            return err_set(err, ST_CORRUPT, 0, "s2: corrupt input");
        }
    }
    while (st == ST_OK && s->raw_len > 0 && !s->ended) {
        st = tar(s, err);
    }
    if (s->ended) {
        s->raw_len = 0; /* what follows the end is filling */
    }
    return st;
}

static bool sum_fits(const struct snap_in *s, const char *consumer, const struct snap_buf *meta,
                     const struct snap_buf *sum)
{
    uint8_t key[SNAP_KEY_SIZE];
    char text[17];
    snap_key_meta(s->stream, consumer, key);
    snap_sum_text(key, meta->v, meta->n, text);
    return sum->n == 16 && memcmp(sum->v, text, 16) == 0;
}

enum st snap_in_end(struct snap_in *s, struct err *err)
{
    if (!s->ended || s->state != HEADER || s->ready) {
        return err_set(err, ST_CORRUPT, 0, "%s",
                       s2_at_end(&s->s2) ? "unexpected EOF" : "s2: corrupt input");
    }
    if (s->meta.n == 0) {
        return err_set(err, ST_CORRUPT, 0, "meta.inf is missing");
    }
    for (size_t i = 0; i < s->ncons; i++) {
        const struct snap_in_cons *c = &s->cons[i];
        if (c->meta.n == 0 || !sum_fits(s, c->name, &c->meta, &c->sum)) {
            return err_set(err, ST_CORRUPT, 0, "obs/%.200s/meta.inf does not fit its checksum",
                           c->name);
        }
    }
    /* Of another name than the one asked for: the caller tells that first. */
    return sum_fits(s, NULL, &s->meta, &s->sum)
               ? ST_OK
               : err_set(err, ST_MISMATCH, 0, "meta.inf does not fit its checksum");
}
