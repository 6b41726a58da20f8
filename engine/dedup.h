/* Message ids of one stream, for the time of its duplicate window (it is the stream's state, not
 * the message's: an id counts whatever became of its message).
 *
 * An id is kept as its 128 bit hash with sequence and store time, in arrival order, so that expiry
 * takes from the front; about 40 B per id, chunks of 64. Of the newest message's id the string
 * itself is kept: expected-last-msg-id compares it. The owner adds an id when it assigns the
 * sequence (a projection); a checkpoint takes only what its last_seq covers. Replay may add twice:
 * the same sequence again is ignored.
 *
 * Pure memory; checkpoints carry the encoded window. Thread: owner of the stream. */
#ifndef ENGINE_DEDUP_H
#define ENGINE_DEDUP_H

#include "engine/base/base.h"
#include "engine/base/err.h"

struct dedup_chunk; /* private */

struct dedup {
    /* private; zeroed is a valid empty window */
    struct dedup_chunk **chunk; /* owned: chunks of the ring, oldest first, from chunk_head */
    size_t chunk_head, chunk_n, chunk_cap;
    uint64_t head, tail; /* ordinals: entries [head, tail) are in the window */
    uint32_t *slot;      /* owned: open addressing, ordinal + 1 (low 32 bits), 0 = free */
    size_t slot_cap;     /* power of two, or 0 */
    size_t slot_used;
    char *last_id; /* owned; id of the newest message, NULL when it has none */
    size_t last_id_len;
};

void dedup_init(struct dedup *d);
void dedup_fini(struct dedup *d);
void dedup_clear(struct dedup *d); /* forgets the ids and the last id */

/* Looks an id up. True: *seq_out is the sequence it was stored at. The caller has called
 * dedup_expire. */
bool dedup_find(const struct dedup *d, struct hash128 id, uint64_t *seq_out);
/* Adds at the end. ts_ns does not decrease from call to call (a lower one is raised). An id that is
 * there already (its duplicate was let through: window shortened and raised) is taken over by the
 * newer sequence. */
void dedup_add(struct dedup *d, struct hash128 id, uint64_t seq, int64_t ts_ns);
/* Forgets what arrived at or before cutoff_ns (= now - window). Amortised O(1) per id. Returns how
 * many went. */
size_t dedup_expire(struct dedup *d, int64_t cutoff_ns);
size_t dedup_count(const struct dedup *d);
size_t dedup_memory_bytes(const struct dedup *d);

/* The newest message's id (id NULL or len 0: it has none). Copied. */
void dedup_set_last_id(struct dedup *d, const char *id, size_t len);
const char *dedup_last_id(const struct dedup *d,
                          size_t *len_out); /* NULL = none; valid until the next set */

/* Calls fn oldest first; false stops. */
typedef bool (*dedup_fn)(void *arg, struct hash128 id, uint64_t seq, int64_t ts_ns);
void dedup_each(const struct dedup *d, dedup_fn fn, void *arg);

/* Encodes the entries with sequence <= last_seq (UINT64_MAX: all), with last_id as the id of the
 * newest message as of that sequence (NULL: none). Upper bound, then writer; the writer returns the
 * bytes written. */
size_t dedup_encode_bound(const struct dedup *d, size_t last_id_len);
size_t dedup_encode(const struct dedup *d, uint64_t last_seq, const char *last_id,
                    size_t last_id_len, uint8_t *out);
/* Replaces the window by what `in` holds. Hostile bytes: ST_CORRUPT or ST_NOMEM, and the window is
 * empty then. len 0 is an empty window. */
MUST_USE enum st dedup_decode(struct dedup *d, const uint8_t *in, size_t len, struct err *err);

#endif
