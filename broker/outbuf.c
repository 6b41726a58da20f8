#include "broker/outbuf.h"

#include "engine/base/base.h"

/* What a loop keeps for the next burst: 128 KiB in small chunks and 2 MiB in large ones, touched
 * only by traffic. */
#define POOL_SMALL_MAX 64u
#define POOL_LARGE_MAX 32u

static struct brk_chunk *chunk_get(struct brk_chunk_pool *pool, bool large)
{
    struct brk_chunk **list = large ? &pool->free_large : &pool->free_small;
    struct brk_chunk *c = *list;
    size_t size = large ? BRK_CHUNK_LARGE : BRK_CHUNK_SMALL;
    if (c != NULL) {
        *list = c->next;
        *(large ? &pool->large_count : &pool->small_count) -= 1;
    } else {
        c = base_malloc(size);
        c->cap = (uint32_t)(size - sizeof *c);
    }
    c->next = NULL;
    c->start = 0;
    c->end = 0;
    return c;
}

static void chunk_put(struct brk_chunk_pool *pool, struct brk_chunk *c)
{
    bool large = c->cap > BRK_CHUNK_SMALL;
    uint32_t *count = large ? &pool->large_count : &pool->small_count;
    if (*count >= (large ? POOL_LARGE_MAX : POOL_SMALL_MAX)) {
        base_free(c);
        return;
    }
    struct brk_chunk **list = large ? &pool->free_large : &pool->free_small;
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

/* Puts a fresh chunk at the tail: small for the first few bytes of a quiet connection, large behind
 * that. */
static void add_chunk(struct brk_outbuf *o, size_t len)
{
    bool large = o->bytes > 0 || len > BRK_CHUNK_SMALL - sizeof(struct brk_chunk);
    struct brk_chunk *c = chunk_get(o->pool, large);
    if (o->tail == NULL) {
        o->head = c;
    } else {
        o->tail->next = c;
    }
    o->tail = c;
}

uint8_t *brk_outbuf_reserve(struct brk_outbuf *o, size_t len)
{
    ASSERT(len <= BRK_RESERVE_MAX);
    if (o->tail == NULL || o->tail->cap - o->tail->end < len) {
        add_chunk(o, len);
    }
    return o->tail->data + o->tail->end;
}

void brk_outbuf_append(struct brk_outbuf *o, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0) {
        if (o->tail == NULL || o->tail->end == o->tail->cap) {
            add_chunk(o, len);
        }
        size_t n = u64_min(len, o->tail->cap - o->tail->end);
        memcpy(o->tail->data + o->tail->end, p, n);
        brk_outbuf_commit(o, n);
        p += n;
        len -= n;
    }
}

int brk_outbuf_iov(const struct brk_outbuf *o, struct iovec *iov, int iov_max)
{
    int n = 0;
    for (struct brk_chunk *c = o->head; c != NULL && n < iov_max; c = c->next) {
        if (c->end > c->start) {
            iov[n].iov_base = c->data + c->start;
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
