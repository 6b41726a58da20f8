/* Records and messages: the bytes that journal, tail and segments share
 * (engine/FORMAT-journal.md).
 *
 * A record is a 24 B header, an optional ext part, and a body; records start on 8 B. Every change
 * of a stream or of one of its consumers is exactly one record (or a batch of records) of the
 * stream's gid, and nothing else changes a stream. Pure functions; any thread. Little-endian.
 * Decoders take hostile bytes: they return ST_CORRUPT, never read past `len`, and accept reserved
 * fields only as zero. */
#ifndef ENGINE_RECORD_H
#define ENGINE_RECORD_H

#include "engine/base/base.h"
#include "engine/base/err.h"

#define REC_HEAD_SIZE 24u
#define REC_ALIGN 8u
#define MSG_HEAD_SIZE 32u

enum rec_type {
    REC_PAD = 0,
    REC_APPEND = 1,
    REC_DELETE = 2,
    REC_PURGE = 3,
    REC_FLOOR = 4,
    REC_SKIP = 5,
    REC_CFG = 6,
    REC_DROP = 7,
    REC_CONS_DELTA = 8,
    REC_RAFT_ENTRY = 9, /* reserved: refused until raft/ writes it */
    REC_RAFT_HARD = 10, /* reserved */
    REC_RAFT_SNAP = 11, /* reserved */
};

enum rec_flags {
    REC_BATCH_MORE =
        1, /* more records of the same batch follow; replay applies them only with the last */
    REC_HAS_TWIN = 2, /* stands a second time behind all records of its group */
    REC_IS_TWIN = 4,
};

enum msg_flags {
    MSG_HDR = 1 << 0,        /* hdr_len > 0 */
    MSG_TTL = 1 << 1,        /* a Nats-TTL header counts */
    MSG_SCHED = 1 << 2,      /* a schedule */
    MSG_MSGID = 1 << 3,      /* has a Nats-Msg-Id header */
    MSG_MARKER = 1 << 4,     /* delete marker written by the server */
    MSG_ROLLUP_SUB = 1 << 5, /* removes lower sequences of its subject */
    MSG_ROLLUP_ALL = 1 << 6, /* removes all lower sequences */
    MSG_BATCH = 1 << 7,      /* stored by an atomic batch */
    MSG_EXTENT_REF =
        1 << 8,           /* journal only: the message stands whole in a block of a segment file */
    MSG_SOURCED = 1 << 9, /* copied from a source: its Nats-Stream-Source header counts */
};

/* Why messages were removed. Stored (u8); never renumber. */
enum rec_reason {
    REASON_NONE = 0,
    REASON_USER = 1,   /* delete by request */
    REASON_AGE = 2,    /* max_age */
    REASON_TTL = 3,    /* per-message TTL */
    REASON_LIMIT = 4,  /* max_msgs, max_bytes, max_msgs_per_subject */
    REASON_CONFIG = 5, /* an update lowered a limit */
    REASON_PURGE = 6,
    REASON_CONSUMED = 7,   /* work queue or interest: acknowledged */
    REASON_NOINTEREST = 8, /* interest stream without a consumer that wants it */
    REASON_RESERVE = 9,    /* SKIP: sequences reserved for a memory stream */
    REASON_FIRST_SEQ = 10, /* SKIP: first_seq of the config */
    REASON_RECOVERY = 11,  /* SKIP: a sequence that must not be issued again */
    REASON_ORIGIN = 12,    /* SKIP: a mirror whose origin has nothing there */
    REASON_SOURCE = 13,    /* SKIP that skips nothing: a source's message was a duplicate */
    REASON_WINDOW = 14,    /* SKIP that skips nothing: a restored duplicate window */
};

/* A half-open run of sequences [first, first+count). */
struct seq_run {
    uint64_t first;
    uint64_t count;
};
/* A growable list of runs, kept sorted, non-overlapping and merged. Zero-initialised is empty. */
struct seq_runs {
    struct seq_run *v; /* owned */
    size_t n, cap;
};
void seq_runs_fini(struct seq_runs *r);
/* Empties the list, keeping its memory. */
void seq_runs_clear(struct seq_runs *r);
/* Adds one sequence (a run of them; the end must fit u64). O(1) behind the end of the list, O(n)
 * before it. */
void seq_runs_add(struct seq_runs *r, uint64_t seq);
void seq_runs_add_run(struct seq_runs *r, uint64_t first, uint64_t count);
/* True when seq is in one of the runs. O(log n). */
bool seq_runs_has(const struct seq_runs *r, uint64_t seq);
/* Number of sequences in all runs. */
uint64_t seq_runs_count(const struct seq_runs *r);
/* Varint encoding: n, then (gap from the end of the run before, count) pairs. Exact size, writer,
 * reader. The reader adds to r (what it added before an error stays) and refuses overflow, zero
 * counts and more than `len` could hold. */
size_t seq_runs_size(const struct seq_runs *r);
size_t seq_runs_put(uint8_t *out, const struct seq_runs *r);
MUST_USE enum st seq_runs_get(const uint8_t *in, size_t len, size_t *used_out, struct seq_runs *r);

/* A message, pointing into somebody's bytes (borrowed until those go). */
struct msg {
    uint64_t seq;
    int64_t ts_ns; /* store time, unix ns */
    const uint8_t *subj;
    const uint8_t *hdr; /* the whole `NATS/1.0\r\n...\r\n\r\n` block, or NULL */
    const uint8_t *data;
    uint32_t hdr_len;
    uint32_t data_len;
    uint32_t content_crc; /* over subject, headers, payload */
    uint16_t subj_len;
    uint16_t flags;
};

/* Bytes of the MSG form (head, subject, headers, payload; no padding). Fits u32 for every legal
 * message. */
static inline uint64_t msg_size(uint64_t subj_len, uint64_t hdr_len, uint64_t data_len)
{
    return MSG_HEAD_SIZE + subj_len + hdr_len + data_len;
}
/* nats' formula for limits and state.bytes. File: 22 B record head + subject + (hdr: 4 + hdr) +
 * payload + 8 B hash. */
static inline uint64_t msg_logical_size(uint64_t subj_len, uint64_t hdr_len, uint64_t data_len)
{
    return 30 + subj_len + (hdr_len != 0 ? 4 + hdr_len : 0) + data_len;
}
/* The same for memory streams: two words of 8 B, subject, headers, payload. */
static inline uint64_t msg_memory_size(uint64_t subj_len, uint64_t hdr_len, uint64_t data_len)
{
    return 16 + subj_len + hdr_len + data_len;
}
/* Writes the MSG form: copies subject, headers and payload once and computes content_crc on the way
 * (the value in *m is ignored, MSG_HDR follows hdr_len). Returns the size written. `out` has
 * msg_size() bytes. */
size_t msg_put(uint8_t *out, const struct msg *m, uint32_t crc_seed);
/* Reads the head and the bounds of a MSG form. Does not check content_crc (msg_check does).
 * ST_CORRUPT; ST_UNSUPPORTED for MSG_EXTENT_REF. */
MUST_USE enum st msg_get(const uint8_t *in, size_t len, struct msg *m_out);
/* True when subject, headers and payload match content_crc. */
bool msg_check(const struct msg *m, uint32_t crc_seed);

/* Where a message stands that was written once, to a segment file, before the record that tells of
 * it. */
struct msg_extent {
    uint64_t segno;
    uint64_t off; /* of its block in the file */
    uint32_t stored_len;
    uint32_t data_len; /* of the payload */
    uint8_t uuid[16];  /* the file's */
};
#define MSG_EXTENT_SIZE 48u
/* Bytes of the form that refers to x: head, subject, headers, MSG_EXTENT_SIZE. */
static inline uint64_t msg_extent_size(uint64_t subj_len, uint64_t hdr_len)
{
    return msg_size(subj_len, hdr_len, MSG_EXTENT_SIZE);
}
/* Writes the form with the reference in the payload's place; content_crc is that of the whole
 * message, as *m has it. `out` has msg_extent_size() bytes. Returns the size written. */
size_t msg_put_extent(uint8_t *out, const struct msg *m, const struct msg_extent *x,
                      uint32_t crc_seed);
/* True when the form at `in` (whose head can be read) refers to an extent. */
bool msg_is_extent(const uint8_t *in, size_t len);
/* Reads such a form and verifies subject, headers and reference. m_out->data is NULL and data_len
 * that of the payload. ST_CORRUPT. */
MUST_USE enum st msg_get_extent(const uint8_t *in, size_t len, uint32_t crc_seed, struct msg *m_out,
                                struct msg_extent *x_out);

/* Of the body of an APPEND that rec_get took: its sequence, and whether what its record's CRC does
 * not cover is good (of a reference: the reference). */
bool msg_body_ok(const uint8_t *body, size_t len, uint32_t crc_seed, uint64_t *seq_out);

/* A decoded record; pointers borrow the input. */
struct rec {
    enum rec_type type;
    uint8_t flags;
    uint32_t len; /* header included, alignment not */
    uint32_t gid;
    uint32_t sub;
    uint32_t oseq; /* low half */
    const uint8_t *ext;
    size_t ext_len; /* bytes, multiple of 8 */
    const uint8_t *body;
    size_t body_len;
};

/* Fills the 24 B header and the CRC of a record whose ext and body already lie behind it at `p`.
 * ext_len is in bytes, a multiple of 8; only APPEND (and RAFT_ENTRY) may have one. CRC coverage:
 * APPEND and RAFT_ENTRY: header, ext, 32 B MSG head; others: all. */
void rec_seal(uint8_t *p, enum rec_type type, uint8_t flags, uint32_t gid, uint32_t sub,
              uint32_t oseq, size_t ext_len, size_t body_len, uint32_t crc_seed);
/* Gives a sealed record a body of another length, whose first bytes lie behind its ext part. */
void rec_resize(uint8_t *p, size_t body_len, uint32_t crc_seed);
/* Bytes of the ext part of a sealed record. */
size_t rec_ext_len(const uint8_t *p);
/* Changes the flags of a sealed record in place (BATCH_MORE, twins) and its CRC. */
void rec_reflag(uint8_t *p, uint8_t flags, uint32_t crc_seed);
/* Decodes and verifies the record at p. ST_CORRUPT when the CRC or any bound fails (then *r_out is
 * untouched); ST_UNSUPPORTED for a valid record of a reserved type. For APPEND it does not check
 * the message's content_crc. */
MUST_USE enum st rec_get(const uint8_t *p, size_t len, uint32_t crc_seed, struct rec *r_out);

/* `evicted` may be NULL in size and put. ext of an APPEND: what the message evicts. new_floor 0 =
 * floor unchanged. Empty ext = evicts nothing. */
#define APPEND_EXT_UNIT 8u
#define APPEND_EXT_MAX (UINT16_MAX * (size_t)APPEND_EXT_UNIT)
size_t append_ext_size(uint64_t new_floor,
                       const struct seq_runs *evicted); /* bytes, multiple of 8 */
void append_ext_put(uint8_t *out, size_t ext_len, uint64_t new_floor,
                    const struct seq_runs *evicted);
MUST_USE enum st append_ext_get(const uint8_t *in, size_t len, uint64_t *new_floor_out,
                                struct seq_runs *evicted);

#endif
