#include "engine/srcpos.h"

#include "engine/msg_header.h"

/* First byte of a column with positions; a window alone begins with its own version, 1. */
enum { WRAPPED = 2 };

void srcpos_clear(struct srcpos *p)
{
    for (size_t i = 0; i < p->n; i++) {
        base_free(p->v[i].key);
    }
    base_free(p->v);
    *p = (struct srcpos){0};
}

static struct srcpos_entry *find(const struct srcpos *p, const char *key, size_t key_len)
{
    for (size_t i = 0; i < p->n; i++) {
        if (p->v[i].key_len == key_len && memcmp(p->v[i].key, key, key_len) == 0) {
            return &p->v[i];
        }
    }
    return NULL;
}

uint64_t srcpos_get(const struct srcpos *p, const char *key, size_t key_len)
{
    const struct srcpos_entry *e = find(p, key, key_len);
    return e != NULL ? e->seq : 0;
}

void srcpos_set(struct srcpos *p, const char *key, size_t key_len, uint64_t seq)
{
    struct srcpos_entry *e = find(p, key, key_len);
    if (e == NULL) {
        if (p->n == p->cap) {
            p->cap = p->cap == 0 ? 4 : p->cap * 2;
            p->v = base_realloc(p->v, p->cap * sizeof *p->v);
        }
        e = &p->v[p->n++];
        *e = (struct srcpos_entry){base_strndup(key, key_len), key_len, 0};
    }
    e->seq = u64_max(e->seq, seq);
}

static bool number(const char *p, size_t len, uint64_t *out)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (p[i] < '0' || p[i] > '9' || n > (UINT64_MAX - 9) / 10) {
            return false;
        }
        n = n * 10 + (uint64_t)(p[i] - '0');
    }
    *out = n;
    return len > 0 && n > 0;
}

bool srcpos_parse(const uint8_t *hdr, size_t hdr_len, char key[SRCPOS_KEY_MAX], size_t *key_len_out,
                  uint64_t *seq_out)
{
    size_t len;
    const char *v = msg_header_get(hdr, hdr_len, "Nats-Stream-Source", &len);
    if (v == NULL || len >= SRCPOS_KEY_MAX) {
        return false;
    }
    const char *end = v + len, *tok[4];
    size_t n[4];
    for (size_t i = 0; i < 4; i++) {
        const char *space = v < end ? memchr(v, ' ', (size_t)(end - v)) : NULL;
        const char *stop = space != NULL ? space : end;
        if (v >= end || stop == v) {
            return false;
        }
        tok[i] = v;
        n[i] = (size_t)(stop - v);
        v = stop + 1;
    }
    size_t at = 0;
    for (size_t i = 0; i < 4; i++) {
        if (i != 1) {
            memcpy(key + at, tok[i], n[i]);
            at += n[i];
            key[at++] = ' ';
        }
    }
    *key_len_out = at - 1;
    return number(tok[1], n[1], seq_out);
}

uint8_t *srcpos_wrap(const struct srcpos *p, uint8_t *dedup, size_t dedup_len, size_t *len_out)
{
    if (p->n == 0) {
        *len_out = dedup_len;
        return dedup;
    }
    size_t cap = 32 + dedup_len;
    for (size_t i = 0; i < p->n; i++) {
        cap += 24 + p->v[i].key_len;
    }
    uint8_t *out = base_malloc(cap), *at = out;
    *at++ = WRAPPED;
    at += varint_put(at, p->n);
    for (size_t i = 0; i < p->n; i++) {
        at += varint_put(at, p->v[i].key_len);
        memcpy(at, p->v[i].key, p->v[i].key_len);
        at += p->v[i].key_len;
        at += varint_put(at, p->v[i].seq);
    }
    if (dedup_len > 0) {
        memcpy(at, dedup, dedup_len);
    }
    base_free(dedup);
    *len_out = (size_t)(at - out) + dedup_len;
    return out;
}

static bool take(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
    size_t used = varint_get(*p, (size_t)(end - *p), v);
    *p += used;
    return used != 0;
}

enum st srcpos_unwrap(struct srcpos *p, const uint8_t *in, size_t len, const uint8_t **dedup_out,
                      size_t *dedup_len_out)
{
    srcpos_clear(p);
    *dedup_out = in;
    *dedup_len_out = len;
    if (len == 0 || in[0] != WRAPPED) {
        return ST_OK;
    }
    const uint8_t *at = in + 1, *end = in + len;
    uint64_t n, key_len, seq;
    bool ok = take(&at, end, &n);
    for (uint64_t i = 0; ok && i < n; i++) {
        ok = take(&at, end, &key_len) && key_len > 0 && key_len <= (uint64_t)(end - at);
        const char *key = (const char *)at;
        at += ok ? key_len : 0;
        ok = ok && take(&at, end, &seq);
        if (ok) {
            srcpos_set(p, key, (size_t)key_len, seq);
        }
    }
    if (!ok) {
        srcpos_clear(p);
        *dedup_out = NULL;
        *dedup_len_out = 0;
        return ST_CORRUPT;
    }
    *dedup_out = at;
    *dedup_len_out = (size_t)(end - at);
    return ST_OK;
}
