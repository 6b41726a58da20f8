#include "broker/snap_fmt.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/highway.h"

/* --- buffers ---------------------------------------------------------------------------------- */

uint8_t *snap_room(struct snap_buf *b, size_t more)
{
    if (b->n + more > b->cap) {
        b->cap = (b->n + more) * 2;
        b->v = base_realloc(b->v, b->cap);
    }
    return b->v + b->n;
}

void snap_add(struct snap_buf *b, const void *p, size_t n)
{
    if (n > 0) {
        memcpy(snap_room(b, n), p, n);
        b->n += n;
    }
}

void snap_cut(struct snap_buf *b, size_t n)
{
    ASSERT(n <= b->n);
    b->n -= n;
    if (b->n > 0 && n > 0) {
        memmove(b->v, b->v + n, b->n);
    }
}

void snap_buf_fini(struct snap_buf *b)
{
    base_free(b->v);
    *b = (struct snap_buf){0};
}

/* --- keys ------------------------------------------------------------------------------------- */

static void key_of(const char *text, uint8_t key[SNAP_KEY_SIZE])
{
    _Static_assert(SHA256_DIGEST_LENGTH == SNAP_KEY_SIZE, "a key is a SHA-256");
    (void)SHA256((const unsigned char *)text, strlen(text), key);
}

void snap_key_meta(const char *stream, const char *consumer, uint8_t key[SNAP_KEY_SIZE])
{
    char text[600];
    (void)snprintf(text, sizeof text, consumer != NULL ? "%s/%s" : "%s", stream, consumer);
    key_of(text, key);
}

void snap_key_block(const char *stream, uint64_t block_no, uint8_t key[SNAP_KEY_SIZE])
{
    char text[300];
    (void)snprintf(text, sizeof text, "%s-%llu", stream, (unsigned long long)block_no);
    key_of(text, key);
}

void snap_sum_text(const uint8_t key[SNAP_KEY_SIZE], const void *p, size_t n, char out[17])
{
    uint64_t h = highway64(key, p, n);
    for (size_t i = 0; i < 8; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", (unsigned)(h >> (8 * i) & 0xff));
    }
}

/* --- records ---------------------------------------------------------------------------------- */

#define HAS_HEADERS 0x80000000u
enum { REC_HEAD = 22, REC_HASH = 8 };

static uint64_t rec_hash(const uint8_t key[SNAP_KEY_SIZE], const uint8_t *head, const struct msg *m)
{
    struct highway h;
    highway_init(&h, key);
    highway_add(&h, head + 4, 16);
    highway_add(&h, m->subj, m->subj_len);
    highway_add(&h, m->hdr, m->hdr_len);
    highway_add(&h, m->data, m->data_len);
    return highway_end(&h);
}

void snap_rec_put(struct snap_buf *b, const uint8_t key[SNAP_KEY_SIZE], const struct msg *m,
                  uint64_t seq_bits)
{
    uint8_t head[REC_HEAD], n4[4], hash[REC_HASH];
    size_t len = REC_HEAD + m->subj_len + (m->hdr_len > 0 ? 4 + (size_t)m->hdr_len : 0) +
                 m->data_len + REC_HASH;
    put_u32le(head, (uint32_t)len | (m->hdr_len > 0 ? HAS_HEADERS : 0));
    put_u64le(head + 4, m->seq | seq_bits);
    put_u64le(head + 12, (uint64_t)m->ts_ns);
    put_u16le(head + 20, m->subj_len);
    snap_add(b, head, sizeof head);
    snap_add(b, m->subj, m->subj_len);
    if (m->hdr_len > 0) {
        put_u32le(n4, m->hdr_len);
        snap_add(b, n4, sizeof n4);
        snap_add(b, m->hdr, m->hdr_len);
    }
    snap_add(b, m->data, m->data_len);
    put_u64le(hash, rec_hash(key, head, m));
    snap_add(b, hash, sizeof hash);
}

size_t snap_rec_len(const uint8_t *p)
{
    uint32_t len = get_u32le(p) & ~HAS_HEADERS;
    return len >= SNAP_REC_MIN && len <= SNAP_REC_MAX ? len : 0;
}

bool snap_rec_get(const uint8_t *p, size_t n, const uint8_t key[SNAP_KEY_SIZE],
                  struct snap_rec *out)
{
    uint64_t seq = get_u64le(p + 4);
    size_t left = n - SNAP_REC_MIN;
    *out = (struct snap_rec){.erased = (seq & SNAP_ERASED) != 0,
                             .tombstone = (seq & SNAP_TOMBSTONE) != 0};
    struct msg *m = &out->m;
    m->seq = seq & ~(SNAP_ERASED | SNAP_TOMBSTONE);
    m->ts_ns = (int64_t)get_u64le(p + 12);
    m->subj_len = get_u16le(p + 20);
    m->subj = p + REC_HEAD;
    if (m->subj_len > left) {
        return false;
    }
    left -= m->subj_len;
    const uint8_t *at = m->subj + m->subj_len;
    if ((get_u32le(p) & HAS_HEADERS) != 0) {
        m->hdr_len = left >= 4 ? get_u32le(at) : 0;
        if (left < 4 || m->hdr_len > left - 4) {
            return false;
        }
        m->hdr = at + 4;
        at += 4 + (size_t)m->hdr_len;
        left -= 4 + (size_t)m->hdr_len;
    }
    m->data = at;
    m->data_len = (uint32_t)left;
    return rec_hash(key, p, m) == get_u64le(p + n - REC_HASH);
}

/* --- consumer state --------------------------------------------------------------------------- */

enum { STATE_MAGIC = 22, STATE_VERSION = 2 };

static void put(struct snap_buf *b, uint64_t v)
{
    uint8_t *p = snap_room(b, 10);
    b->n += varint_put(p, v);
}

static void put_signed(struct snap_buf *b, int64_t v)
{
    put(b, zigzag(v));
}

void snap_cons_put(struct snap_buf *b, const struct snap_cons *c, int64_t now_ns)
{
    size_t pending = 0, again = 0;
    int64_t base = now_ns / NS_PER_S;
    snap_add(b, (uint8_t[]){STATE_MAGIC, STATE_VERSION}, 2);
    for (size_t i = 0; i < c->npend; i++) {
        pending += !c->pend[i].exhausted;
        again += c->pend[i].dcount > 1;
    }
    put(b, c->floor_cseq);
    put(b, c->floor_sseq);
    put(b, c->delivered_cseq);
    put(b, c->delivered_sseq);
    put(b, pending);
    if (pending > 0) {
        put_signed(b, base);
    }
    for (size_t i = 0; i < c->npend; i++) {
        const struct snap_pend *p = &c->pend[i];
        if (!p->exhausted) {
            put(b, p->sseq - c->floor_sseq);
            put(b, p->cseq - c->floor_cseq);
            put_signed(b, base - p->ts_ns / NS_PER_S);
        }
    }
    put(b, again);
    for (size_t i = 0; i < c->npend; i++) {
        if (c->pend[i].dcount > 1) {
            put(b, c->pend[i].sseq - c->floor_sseq);
            put(b, c->pend[i].dcount - 1);
        }
    }
}

static int by_sseq(const void *a, const void *b)
{
    const struct snap_pend *x = a, *y = b;
    return (x->sseq > y->sseq) - (x->sseq < y->sseq);
}

static void get_pending(struct varint_in *r, struct snap_cons *c, uint64_t n)
{
    int64_t base = n > 0 ? unzigzag(varint_next(r)) : 0;
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        struct snap_pend *p = &c->pend[c->npend++];
        int64_t s, ns;
        p->sseq = c->floor_sseq + varint_next(r);
        p->cseq = c->floor_cseq + varint_next(r);
        p->dcount = 1;
        bool far = __builtin_sub_overflow(base, unzigzag(varint_next(r)), &s) ||
                   __builtin_mul_overflow(s, NS_PER_S, &ns);
        p->ts_ns = far ? 0 : ns;
    }
    if (c->npend > 1) {
        qsort(c->pend, c->npend, sizeof *c->pend, by_sseq);
    }
}

/* Redelivered but not pending: given up after max_deliver. */
static void get_redelivered(struct varint_in *r, struct snap_cons *c, uint64_t n)
{
    size_t pending = c->npend;
    for (uint64_t i = 0; i < n && !r->bad; i++) {
        struct snap_pend key = {.sseq = c->floor_sseq + varint_next(r)};
        uint64_t count = varint_next(r);
        struct snap_pend *p =
            pending > 0 ? bsearch(&key, c->pend, pending, sizeof key, by_sseq) : NULL;
        if (p == NULL) {
            p = &c->pend[c->npend++];
            *p = (struct snap_pend){.sseq = key.sseq, .exhausted = true};
        }
        r->bad = r->bad || count == 0 || count >= UINT32_MAX;
        p->dcount = (uint32_t)count + 1;
    }
}

enum st snap_cons_get(const uint8_t *p, size_t n, struct snap_cons *out)
{
    if (n < 2 || p[0] != STATE_MAGIC) {
        return ST_CORRUPT;
    }
    if (p[1] != STATE_VERSION) {
        return ST_VERSION;
    }
    struct varint_in r = {p + 2, n - 2, false};
    out->floor_cseq = varint_next(&r);
    out->floor_sseq = varint_next(&r);
    out->delivered_cseq = varint_next(&r);
    out->delivered_sseq = varint_next(&r);
    uint64_t count = varint_next(&r);
    if (r.bad || count > r.left) {
        return ST_CORRUPT;
    }
    /* Every entry takes a byte at least: what is left bounds both lists. */
    out->pend = base_calloc(r.left + 1, sizeof *out->pend);
    get_pending(&r, out, count);
    count = varint_next(&r);
    if (r.bad || count > r.left) {
        return ST_CORRUPT;
    }
    get_redelivered(&r, out, count);
    if (out->npend > 1) {
        qsort(out->pend, out->npend, sizeof *out->pend, by_sseq);
    }
    for (size_t i = 1; i < out->npend; i++) {
        r.bad = r.bad || out->pend[i].sseq == out->pend[i - 1].sseq;
    }
    return r.bad ? ST_CORRUPT : ST_OK;
}

/* --- tar -------------------------------------------------------------------------------------- */

enum {
    TAR_MODE = 100,
    TAR_UID = 108,
    TAR_GID = 116,
    TAR_SIZE = 124,
    TAR_TIME = 136,
    TAR_SUM = 148,
    TAR_TYPE = 156,
    TAR_MAGIC = 257,
    TAR_UNAME = 265,
    TAR_GNAME = 297,
    TAR_PREFIX = 345,
};

static unsigned tar_sum(const uint8_t *p)
{
    unsigned sum = 0;
    for (size_t i = 0; i < TAR_BLOCK; i++) {
        sum += i >= TAR_SUM && i < TAR_SUM + 8 ? ' ' : p[i];
    }
    return sum;
}

static void header(struct snap_buf *b, const char *name, char type, uint64_t size, int64_t time_s)
{
    uint8_t *p = snap_room(b, TAR_BLOCK);
    char text[24];
    memset(p, 0, TAR_BLOCK);
    memcpy(p, name, strlen(name) < 100 ? strlen(name) : 100);
    memcpy(p + TAR_MODE, "0000600", 8);
    memcpy(p + TAR_UID, "0000000", 8);
    memcpy(p + TAR_GID, "0000000", 8);
    (void)snprintf(text, sizeof text, "%011llo", (unsigned long long)size & 077777777777);
    memcpy(p + TAR_SIZE, text, 12);
    (void)snprintf(text, sizeof text, "%011llo", (unsigned long long)time_s & 077777777777);
    memcpy(p + TAR_TIME, text, 12);
    p[TAR_TYPE] = (uint8_t)type;
    memcpy(p + TAR_MAGIC, "ustar\00000", 8);
    memcpy(p + TAR_UNAME, "nats", 4);
    memcpy(p + TAR_GNAME, "nats", 4);
    (void)snprintf(text, sizeof text, "%06o", tar_sum(p));
    memcpy(p + TAR_SUM, text, 7);
    p[TAR_SUM + 7] = ' ';
    b->n += TAR_BLOCK;
}

void snap_tar_pad(struct snap_buf *b, uint64_t size)
{
    size_t n = (size_t)((TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
    memset(snap_room(b, n + 1), 0, n);
    b->n += n;
}

void snap_tar_head(struct snap_buf *b, const char *name, uint64_t size, int64_t time_s)
{
    if (strlen(name) > 100) {
        char line[700];
        int len = (int)strlen(name) + 10; /* "NNN path=" name "\n": NNN counts itself */
        (void)snprintf(line, sizeof line, "%d path=%s\n", len, name);
        header(b, "PaxHeaders.0/long", 'x', strlen(line), time_s);
        snap_add(b, line, strlen(line));
        snap_tar_pad(b, strlen(line));
    }
    header(b, name, '0', size, time_s);
}

void snap_tar_end(struct snap_buf *b)
{
    memset(snap_room(b, 2 * TAR_BLOCK), 0, 2 * TAR_BLOCK);
    b->n += 2 * TAR_BLOCK;
}

/* Octal, or base 256 when the first bit is set. */
static bool tar_number(const uint8_t *p, size_t n, uint64_t *v_out)
{
    uint64_t v = 0;
    if ((p[0] & 0x80) != 0) {
        for (size_t i = n - 8; i < n; i++) {
            v = v << 8 | p[i];
        }
        *v_out = v;
        return v < UINT64_MAX / 4;
    }
    for (size_t i = 0; i < n && p[i] != 0 && p[i] != ' '; i++) {
        if (p[i] < '0' || p[i] > '7') {
            return false;
        }
        v = v << 3 | (uint64_t)(p[i] - '0');
    }
    *v_out = v;
    return true;
}

enum st snap_tar_get(const uint8_t p[TAR_BLOCK], struct snap_tar_entry *out)
{
    uint64_t sum = 0;
    size_t zeros = 0;
    while (zeros < TAR_BLOCK && p[zeros] == 0) {
        zeros++;
    }
    if (zeros == TAR_BLOCK) {
        return ST_NOTFOUND;
    }
    if (!tar_number(p + TAR_SUM, 8, &sum) || sum != tar_sum(p) ||
        !tar_number(p + TAR_SIZE, 12, &out->size)) {
        return ST_CORRUPT;
    }
    out->type = p[TAR_TYPE] == 0 ? '0' : (char)p[TAR_TYPE];
    int prefix = memcmp(p + TAR_MAGIC, "ustar\0", 6) == 0 && p[TAR_PREFIX] != 0 ? 155 : 0;
    (void)snprintf(out->name, sizeof out->name, "%.*s%s%.100s", prefix,
                   (const char *)p + TAR_PREFIX, prefix > 0 ? "/" : "", (const char *)p);
    return ST_OK;
}

bool snap_pax_path(const uint8_t *p, size_t n, char *out, size_t cap)
{
    size_t at = 0;
    while (at < n) {
        size_t len = 0, i = at;
        while (i < n && p[i] >= '0' && p[i] <= '9' && len < n) {
            len = len * 10 + (size_t)(p[i++] - '0');
        }
        if (i >= n || p[i] != ' ' || len <= i - at + 1 || len > n - at) {
            return false;
        }
        const uint8_t *pair = p + i + 1;
        size_t pair_len = len - (i - at) - 2; /* without the blank and the line's end */
        if (pair_len >= 5 && memcmp(pair, "path=", 5) == 0 && pair_len - 5 < cap) {
            memcpy(out, pair + 5, pair_len - 5);
            out[pair_len - 5] = 0;
            return true;
        }
        at += len;
    }
    return false;
}
