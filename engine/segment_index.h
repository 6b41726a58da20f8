/* The content of an index section or footer: gathered (struct segidx), encoded, and read again
 * (struct seg_sect) (FORMAT-segment.md).
 *
 * The gathered form serves three: a flush (from its messages), a footer (from the sections before
 * it), a rebuild (from the blocks). Messages must come in ascending sequence. One thread at a time.
 */
#ifndef ENGINE_SEGMENT_INDEX_H
#define ENGINE_SEGMENT_INDEX_H

#include "engine/record.h"
#include "engine/segment_format.h"

#define SEG_MSGS_MAX                                                                               \
    (1u << 24) /* messages in one segment; the writer seals before, readers refuse more */
#define SEG_POST_CHUNK 4096u /* sequences given at once by seg_sect_subjects */

struct seg_totals {
    uint64_t nmsgs, raw_bytes, logical_bytes;
    uint64_t first_seq, last_seq; /* 0, 0 = no messages */
    int64_t min_ts, max_ts;
    int64_t min_expiry; /* 0 = none */
    uint64_t subjects;
};

struct segidx_subject {
    size_t name_off;
    uint32_t name_len;
    uint32_t count;
    uint32_t head, tail; /* positions in delta[] */
};
struct segidx_ttl {
    uint64_t seq;
    int64_t expire_ns;
};
struct segidx {
    uint64_t base_seq;
    uint64_t hash_seed;
    struct seg_bidx_disk *blocks; /* owned */
    size_t nblocks, blocks_cap;
    uint8_t *names; /* owned; all subjects */
    size_t names_len, names_cap;
    struct segidx_subject *subj; /* owned */
    size_t nsubj, subj_cap;
    uint32_t *table; /* owned; subject number + 1, open addressing */
    size_t table_cap;
    uint32_t *delta; /* owned; seq - base_seq of each message */
    uint32_t *size;  /* owned; logical size of each message */
    uint32_t *next;  /* owned; next message of the same subject */
    size_t nmsgs, msgs_cap;
    struct segidx_ttl *ttl; /* owned */
    size_t nttl, ttl_cap;
    uint64_t floor;
    struct seq_runs removed;
    struct seg_totals totals;
};
/* base_seq: at or below every sequence to come. hash_seed: random, because clients choose subjects.
 */
void segidx_init(struct segidx *x, uint64_t base_seq, uint64_t hash_seed);
void segidx_fini(struct segidx *x);
void segidx_add_block(struct segidx *x, const struct seg_bidx_disk *e);
/* One message; expire_ns 0 = never. */
void segidx_add_msg(struct segidx *x, const struct msg *m, uint32_t form_len, int64_t expire_ns);
void segidx_add_removed(struct segidx *x, uint64_t floor, const struct seq_runs *runs);
/* Encodes the section body into *out (base_malloc'ed, the caller frees). nsections counts this one.
 * ST_TOOBIG. */
MUST_USE enum st segidx_encode(struct segidx *x, uint64_t prev_section, uint32_t nsections,
                               uint32_t first_data, uint8_t **out, size_t *len_out);

/* A parsed section body; borrows the bytes. */
struct seg_sect {
    uint64_t prev_section;
    uint64_t base_seq;
    uint32_t ndata;      /* data blocks it describes */
    uint32_t nsections;  /* sections in the file, this one included */
    uint32_t first_data; /* number of its first data block */
    struct {
        const uint8_t *p;
        size_t len;
        uint32_t count;
    } part[SEG_PARTS_MAX];
    struct seg_totals totals;
};
/* sizes[i]: logical size of the message seqs[i]. */
typedef void (*seg_subject_fn)(void *arg, const uint8_t *subj, size_t len, const uint64_t *seqs,
                               const uint32_t *sizes, size_t n);
typedef void (*seg_ttl_fn)(void *arg, uint64_t seq, int64_t expire_ns);
/* Reads head, part directory, BIDX bounds and totals. ST_CORRUPT, ST_UNSUPPORTED, ST_VERSION. */
MUST_USE enum st seg_sect_parse(const uint8_t *body, size_t len, struct seg_sect *s_out);
void seg_sect_block(const struct seg_sect *s, uint32_t i,
                    struct seg_bidx_disk *e_out); /* i < ndata */
/* Each subject with its ascending sequences, at most SEG_POST_CHUNK a call. fn NULL: only checks.
 * ST_CORRUPT: fn may have been called for good entries before, so check first. */
MUST_USE enum st seg_sect_subjects(const struct seg_sect *s, seg_subject_fn fn, void *arg);
MUST_USE enum st seg_sect_ttl(const struct seg_sect *s, seg_ttl_fn fn,
                              void *arg); /* fn NULL: only checks */
MUST_USE enum st seg_sect_removed(const struct seg_sect *s, uint64_t *floor_out,
                                  struct seq_runs *runs);
/* Everything above in check mode. */
MUST_USE enum st seg_sect_check(const struct seg_sect *s);
/* Adds a checked section to x (sections in ascending order). */
MUST_USE enum st segidx_add_sect(struct segidx *x, const struct seg_sect *s);
/* Calls fn for each subject gathered, in no particular order. */
void segidx_subjects(const struct segidx *x, seg_subject_fn fn, void *arg);

#endif
