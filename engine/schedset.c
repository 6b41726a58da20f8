#include "engine/schedset.h"

#include "engine/liveset.h"
#include "engine/record.h"

/* First byte of a column with schedules; 2 begins one with positions of sources (srcpos.c), 1 a
 * duplicate window. */
enum { WRAPPED = 3 };

void schedset_clear(struct schedset *p)
{
    base_free(p->v);
    *p = (struct schedset){0};
}

void schedset_tidy(struct schedset *p, const struct liveset *live)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (liveset_is_live(live, p->v[i])) {
            p->v[n++] = p->v[i];
        }
    }
    p->n = n;
}

void schedset_add(struct schedset *p, const struct liveset *live, uint64_t seq)
{
    if (p->n == p->cap) {
        schedset_tidy(p, live);
        if (p->n * 2 >= p->cap) {
            p->cap = p->cap == 0 ? 16 : p->cap * 2;
            p->v = base_realloc(p->v, p->cap * sizeof *p->v);
        }
    }
    size_t at = p->n;
    while (at > 0 && p->v[at - 1] > seq) { /* only what is found later */
        at--;
    }
    if (at > 0 && p->v[at - 1] == seq) {
        return;
    }
    memmove(p->v + at + 1, p->v + at, (p->n - at) * sizeof *p->v);
    p->v[at] = seq;
    p->n++;
}

uint8_t *schedset_wrap(const struct schedset *p, bool wanted, uint8_t *rest, size_t rest_len,
                       size_t *len_out)
{
    if (!p->known || (!wanted && p->n == 0)) {
        *len_out = rest_len;
        return rest;
    }
    uint8_t *out = base_malloc(16 + p->n * 10 + rest_len), *at = out;
    uint64_t before = 0;
    *at++ = WRAPPED;
    at += varint_put(at, p->n);
    for (size_t i = 0; i < p->n; i++) {
        at += varint_put(at, p->v[i] - before);
        before = p->v[i];
    }
    if (rest_len > 0) {
        memcpy(at, rest, rest_len);
    }
    base_free(rest);
    *len_out = (size_t)(at - out) + rest_len;
    return out;
}

static bool take(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
    size_t used = varint_get(*p, (size_t)(end - *p), v);
    *p += used;
    return used != 0;
}

enum st schedset_unwrap(struct schedset *p, const uint8_t *in, size_t len, const uint8_t **rest_out,
                        size_t *rest_len_out)
{
    schedset_clear(p);
    *rest_out = in;
    *rest_len_out = len;
    if (len == 0 || in[0] != WRAPPED) {
        return ST_OK;
    }
    const uint8_t *at = in + 1, *end = in + len;
    uint64_t n = 0, seq = 0, step;
    bool ok = take(&at, end, &n) && n <= (uint64_t)(end - at);
    p->v = ok && n > 0 ? base_malloc((size_t)n * sizeof *p->v) : NULL;
    p->cap = ok ? (size_t)n : 0;
    for (uint64_t i = 0; ok && i < n; i++) {
        ok = take(&at, end, &step) && step > 0 && step <= UINT64_MAX / 2 && seq <= UINT64_MAX / 2;
        if (ok) {
            seq += step;
            p->v[p->n++] = seq;
        }
    }
    if (!ok) {
        schedset_clear(p);
        *rest_out = NULL;
        *rest_len_out = 0;
        return ST_CORRUPT;
    }
    p->known = true;
    *rest_out = at;
    *rest_len_out = (size_t)(end - at);
    return ST_OK;
}
