/* nats-server's snapshot format: a Snappy/S2 stream of a tar of
 *
 *   meta.inf meta.sum              the stream's config as JSON, and its hash (hex)
 *   msgs/<n>.blk                   messages, block by block, n from 1
 *   obs/<name>/meta.inf meta.sum   a consumer's config, and its hash
 *   obs/<name>/o.dat               a consumer's state
 *
 * A block is a row of records, little-endian: length u32 (highest bit: there are headers), sequence
 * u64, time i64 (unix ns), subject length u16, subject, with headers: their length u32 and they,
 * payload, HighwayHash-64 u64 over sequence, time, subject length, subject, headers, payload. Bit
 * 63 of the sequence: erased in its place; bit 62: a tombstone, the message of that sequence (in
 * this or an earlier block) is gone. The hash's key is the SHA-256 of "<stream>-<n>"; of a
 * meta.inf, of
 * "<stream>" or "<stream>/<consumer>".
 *
 * o.dat: 22, 2 (magic, version), then varints: floor cseq, floor sseq, delivered cseq, delivered
 * sseq, pending; when there are any: time base (seconds, zigzag), each: sseq - floor sseq, cseq -
 * floor cseq, base - time of delivery (zigzag); redelivered, each: sseq - floor sseq, redeliveries.
 *
 * Pure functions; any thread. */
#ifndef BROKER_SNAP_FMT_H
#define BROKER_SNAP_FMT_H

#include "engine/base/err.h"
#include "engine/store_snap.h"

/* A growable buffer. Zeroed is empty. */
struct snap_buf {
    uint8_t *v; /* owned */
    size_t n, cap;
};
uint8_t *snap_room(struct snap_buf *b, size_t more);
void snap_add(struct snap_buf *b, const void *p, size_t n);
/* Takes the first n bytes away. */
void snap_cut(struct snap_buf *b, size_t n);
void snap_buf_fini(struct snap_buf *b);

#define SNAP_KEY_SIZE 32u
void snap_key_meta(const char *stream, const char *consumer, uint8_t key[SNAP_KEY_SIZE]);
void snap_key_block(const char *stream, uint64_t block_no, uint8_t key[SNAP_KEY_SIZE]);
/* The text in meta.sum. */
void snap_sum_text(const uint8_t key[SNAP_KEY_SIZE], const void *p, size_t n, char out[17]);

/* --- records --- */
#define SNAP_REC_MIN 30u /* without subject and payload */
#define SNAP_REC_MAX (160u * 1024u * 1024u)
#define SNAP_ERASED ((uint64_t)1 << 63)
#define SNAP_TOMBSTONE ((uint64_t)1 << 62)
struct snap_rec {
    struct msg m; /* points into the input; flags 0. seq without the bits */
    bool erased, tombstone;
};
void snap_rec_put(struct snap_buf *b, const uint8_t key[SNAP_KEY_SIZE], const struct msg *m,
                  uint64_t seq_bits);
/* Bytes of the record that begins at p (n >= 4); 0: this is none. */
size_t snap_rec_len(const uint8_t *p);
/* A whole record. False: its hash does not fit, or its lengths make no sense. */
bool snap_rec_get(const uint8_t *p, size_t n, const uint8_t key[SNAP_KEY_SIZE],
                  struct snap_rec *out);

/* --- consumer state --- */
void snap_cons_put(struct snap_buf *b, const struct snap_cons *c, int64_t now_ns);
/* Fills positions and pending (not cfg). ST_CORRUPT. */
MUST_USE enum st snap_cons_get(const uint8_t *p, size_t n, struct snap_cons *out);

/* --- tar --- */
#define TAR_BLOCK 512u
/* Header (with a PAX header before it for long names) of a regular file. */
void snap_tar_head(struct snap_buf *b, const char *name, uint64_t size, int64_t time_s);
void snap_tar_pad(struct snap_buf *b, uint64_t size); /* zeros up to the next block */
void snap_tar_end(struct snap_buf *b);
struct snap_tar_entry {
    char name[600];
    uint64_t size;
    char type; /* '0' regular, 'x' PAX, 'L' GNU long name, others as they stand */
};
/* Reads a header block. ST_NOTFOUND: zeros, the end. ST_CORRUPT. */
MUST_USE enum st snap_tar_get(const uint8_t p[TAR_BLOCK], struct snap_tar_entry *out);
/* The `path` of a PAX body, if it has one. */
bool snap_pax_path(const uint8_t *p, size_t n, char *out, size_t cap);

#endif
