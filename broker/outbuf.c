#include "broker/outbuf.h"

#include "engine/base/base.h"

/* What a loop keeps for the next burst: 128 KiB in small chunks and 2 MiB in large ones, touched
 * only by traffic. */
#define POOL_SMALL_MAX 64u
#define POOL_LARGE_MAX 32u
#define POOL_NAMED_MAX 128u /* without bytes of their own */

enum kind { SMALL, LARGE, NAMED };

static struct brk_chunk **free_list(struct brk_chunk_pool *pool, enum kind kind, uint32_t **count)
{
    *count = kind == SMALL   ? &pool->small_count
             : kind == LARGE ? &pool->large_count
                             : &pool->named_count;
    return kind == SMALL   ? &pool->free_small
           : kind == LARGE ? &pool->free_large
                           : &pool->free_named;
}

static struct brk_chunk *chunk_get(struct brk_chunk_pool *pool, enum kind kind)
{
    static const size_t sizes[] = {BRK_CHUNK_SMALL, BRK_CHUNK_LARGE, sizeof(struct brk_chunk)};
    uint32_t *count;
    struct brk_chunk **list = free_list(pool, kind, &count);
    struct brk_chunk *c = *list;
    if (c != NULL) {
        *list = c->next;
        *count -= 1;
    } else {
        c = base_malloc(sizes[kind]);
    }
    *c = (struct brk_chunk){.cap = (uint32_t)(sizes[kind] - sizeof *c), .bytes = c->data};
    return c;
}

static void chunk_put(struct brk_chunk_pool *pool, struct brk_chunk *c)
{
    static const uint32_t max[] = {POOL_SMALL_MAX, POOL_LARGE_MAX, POOL_NAMED_MAX};
    enum kind kind = c->release != NULL ? NAMED : c->cap > BRK_CHUNK_SMALL ? LARGE : SMALL;
    uint32_t *count;
    struct brk_chunk **list = free_list(pool, kind, &count);
    if (kind == NAMED) {
        c->release(c->what);
    }
    if (*count >= max[kind]) {
        base_free(c);
        return;
    }
    c->next = *list;
    *list = c;
    *count += 1;
}

static void chunk_free_all(struct brk_chunk *c)
{
    while (c != NULL) {
        struct brk_chunk *next = c->next;
        base_free(c);
        c = next;
    }
}

void brk_chunk_pool_trim(struct brk_chunk_pool *pool)
{
    chunk_free_all(pool->free_small);
    chunk_free_all(pool->free_large);
    chunk_free_all(pool->free_named);
    *pool = (struct brk_chunk_pool){0};
}

void brk_outbuf_init(struct brk_outbuf *o, struct brk_chunk_pool *pool)
{
    *o = (struct brk_outbuf){.pool = pool};
}

void brk_outbuf_fini(struct brk_outbuf *o)
{
    while (o->head != NULL) {
        struct brk_chunk *next = o->head->next;
        chunk_put(o->pool, o->head);
        o->head = next;
    }
    o->tail = NULL;
    o->bytes = 0;
}

static struct brk_chunk *add_chunk(struct brk_outbuf *o, enum kind kind)
{
    struct brk_chunk *c = chunk_get(o->pool, kind);
    *(o->tail == NULL ? &o->head : &o->tail->next) = c;
    o->tail = c;
    return c;
}

/* A fresh chunk at the tail: small for the first few bytes of a quiet connection and for the line
 * between two messages that are only named, else large. */
static void add_room(struct brk_outbuf *o, size_t len)
{
    bool quiet = o->bytes == 0 || o->tail->release != NULL;
    bool fits = len <= BRK_CHUNK_SMALL - sizeof(struct brk_chunk);
    (void)add_chunk(o, quiet && fits ? SMALL : LARGE);
}

uint8_t *brk_outbuf_reserve(struct brk_outbuf *o, size_t len)
{
    ASSERT(len <= BRK_RESERVE_MAX);
    if (o->tail == NULL || o->tail->cap - o->tail->end < len) {
        add_room(o, len);
    }
    return o->tail->data + o->tail->end;
}

void brk_outbuf_append(struct brk_outbuf *o, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        if (o->tail == NULL || o->tail->end == o->tail->cap) {
            add_room(o, len);
        }
        size_t n = u64_min(len, o->tail->cap - o->tail->end);
        memcpy(o->tail->data + o->tail->end, p, n);
        brk_outbuf_commit(o, n);
        p += n;
        len -= n;
    }
}

void brk_outbuf_append_kept(struct brk_outbuf *o, const void *data, size_t len, void *what,
                            void (*release)(void *what))
{
    ASSERT(len > 0 && len <= UINT32_MAX);
    struct brk_chunk *c = add_chunk(o, NAMED);
    c->bytes = data;
    c->release = release;
    c->what = what;
    c->end = c->cap = (uint32_t)len; /* full: what follows goes into the next */
    o->bytes += len;
}

int brk_outbuf_iov(const struct brk_outbuf *o, struct iovec *iov, int iov_max)
{
    int n = 0;
    for (struct brk_chunk *c = o->head; c != NULL && n < iov_max; c = c->next) {
        if (c->end > c->start) {
            /* iovec has no const; nobody writes through it. */
            iov[n].iov_base = (void *)(uintptr_t)(c->bytes + c->start);
            iov[n].iov_len = c->end - c->start;
            n++;
        }
    }
    return n;
}

void brk_outbuf_sent(struct brk_outbuf *o, size_t len)
{
    ASSERT(len <= o->bytes);
    o->bytes -= len;
    while (o->head != NULL) {
        struct brk_chunk *c = o->head;
        size_t have = c->end - c->start;
        if (len < have) {
            c->start += (uint32_t)len;
            return;
        }
        len -= have;
        o->head = c->next;
        chunk_put(o->pool, c);
    }
    o->tail = NULL;
    ASSERT(len == 0);
    ASSERT(o->bytes == 0);
}
