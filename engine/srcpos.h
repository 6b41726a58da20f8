/* How far a stream has come in each of its sources: key and the last sequence copied. A source is
 * named by what stands in the `Nats-Stream-Source` header of its messages: "NAME SEQ FILTER DEST
 * [SUBJECT]"; the key is the header's NAME, FILTER and DEST. Stream state like the dedup window:
 * kept at checkpoints, moved on by each copied message (MSG_SOURCED), whatever became of it later.
 *
 * Pure memory. Thread: owner of the stream. */
#ifndef ENGINE_SRCPOS_H
#define ENGINE_SRCPOS_H

#include "engine/base/base.h"
#include "engine/base/err.h"

struct srcpos_entry {
    char *key; /* owned */
    size_t key_len;
    uint64_t seq;
};
struct srcpos {             /* zeroed is empty */
    struct srcpos_entry *v; /* owned */
    size_t n, cap;
};

void srcpos_clear(struct srcpos *p); /* frees */
/* 0: nothing came from it yet. */
uint64_t srcpos_get(const struct srcpos *p, const char *key, size_t key_len);
/* Moves on; lower is ignored. */
void srcpos_set(struct srcpos *p, const char *key, size_t key_len, uint64_t seq);

#define SRCPOS_KEY_MAX 4096u /* bytes */
/* Takes key and sequence out of the header of a message. False: there is none, or it is not one. */
bool srcpos_parse(const uint8_t *hdr, size_t hdr_len, char key[SRCPOS_KEY_MAX], size_t *key_len_out,
                  uint64_t *seq_out);

/* Encodes the positions with the stream's encoded dedup window in front, as they stand in one
 * column: the window alone where there are no positions. base_malloc'ed. */
uint8_t *srcpos_wrap(const struct srcpos *p, uint8_t *dedup, size_t dedup_len, size_t *len_out);
/* Reads such a column: positions into p, and where the window stands. ST_CORRUPT leaves p empty. */
MUST_USE enum st srcpos_unwrap(struct srcpos *p, const uint8_t *in, size_t len,
                               const uint8_t **dedup_out, size_t *dedup_len_out);

#endif
