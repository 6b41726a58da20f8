/* Bytes that wait to be sent to one connection: a chain of chunks, written with gather writes.
 *
 * Chunks come from a pool per loop, in two sizes, so that an idle connection owns none and a busy
 * one touches the same warm memory again and again. A message's bytes are copied once, into the
 * chunk at the tail; or, where they are many and can be kept where they are, a chunk of its own
 * only names them.
 *
 * Invariants: bytes is the sum over the chunks; only the first chunk may be partly sent. While a
 * write is queued the chunks it names stay (they are freed by brk_outbuf_sent). Bound: the owner
 * closes the connection above max_pending. Loop thread only. */
#ifndef BROKER_OUTBUF_H
#define BROKER_OUTBUF_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define BRK_CHUNK_SMALL ((size_t)2 * 1024)
#define BRK_CHUNK_LARGE ((size_t)64 * 1024)
/* What brk_outbuf_reserve can give: a large chunk without its head. */
#define BRK_RESERVE_MAX (BRK_CHUNK_LARGE - 64)

struct brk_chunk {
    struct brk_chunk *next; /* owned */
    uint32_t start, end;    /* bytes that wait */
    uint32_t cap;
    const uint8_t *bytes;        /* `data`, or what `what` keeps */
    void (*release)(void *what); /* NULL: the bytes are in `data` */
    void *what;                  /* owned: one reference */
    uint8_t data[];
};

/* Free chunks of one loop; bounded. */
struct brk_chunk_pool {
    struct brk_chunk *free_small, *free_large, *free_named; /* owned */
    uint32_t small_count, large_count, named_count;
};

struct brk_outbuf {
    struct brk_chunk *head, *tail; /* owned */
    uint64_t bytes;
    struct brk_chunk_pool *pool; /* borrowed */
};

/* Frees the pool's chunks; it stays usable. */
void brk_chunk_pool_trim(struct brk_chunk_pool *pool);

void brk_outbuf_init(struct brk_outbuf *o, struct brk_chunk_pool *pool);
/* Frees all chunks. No write may be queued. */
void brk_outbuf_fini(struct brk_outbuf *o);
/* Gives `len` contiguous bytes at the tail (len <= BRK_RESERVE_MAX); they count once
 * brk_outbuf_commit is called. */
uint8_t *brk_outbuf_reserve(struct brk_outbuf *o, size_t len);
static inline void brk_outbuf_commit(struct brk_outbuf *o, size_t len)
{
    o->tail->end += (uint32_t)len;
    o->bytes += len;
}
/* Copies. */
void brk_outbuf_append(struct brk_outbuf *o, const void *data, size_t len);
/* Names bytes instead of copying them; takes over a reference to `what`, which keeps them and is
 * released once they are sent, or with the chain. */
void brk_outbuf_append_kept(struct brk_outbuf *o, const void *data, size_t len, void *what,
                            void (*release)(void *what));
/* Names up to iov_max pieces at the front; returns how many. */
int brk_outbuf_iov(const struct brk_outbuf *o, struct iovec *iov, int iov_max);
/* `len` bytes at the front were sent. */
void brk_outbuf_sent(struct brk_outbuf *o, size_t len);

#endif
