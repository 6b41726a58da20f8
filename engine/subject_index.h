/* Subject index of one stream: which subjects live in it and at which sequences.
 *
 * An adaptive radix tree over the bytes of the subject; one entry per subject that has messages. An
 * entry knows count, first and last and its postings: every live sequence of the subject,
 * ascending. One or two lie in the entry itself; more lie in arrays of u32 offsets to a u64 base,
 * cut into chunks, so that taking from the front (limits), from the middle (deletes) and appending
 * are all cheap: about 4-5 B per message. Nodes and entries lie in a slab and refer to each other
 * by its 32-bit handles: a subject takes 26 B, its own length and, of the nodes above it, about 10
 * B.
 *
 * The index is pure memory, rebuilt at start-up from segments' dictionaries and the journal; a
 * crash leaves nothing of it. Thread: owner of the stream. Subjects are literal and hold no NUL
 * (subject_literal() has said so, also for what comes from disk). Sequences are never 0. An entry
 * stays where it is, with its id, until its last message is removed.
 *
 * Invariants: 1. an entry's postings ascend strictly; 2. no entry is empty; 3. sidx_stats().msgs is
 * the sum of counts. */
#ifndef ENGINE_SUBJECT_INDEX_H
#define ENGINE_SUBJECT_INDEX_H

#include "engine/base/base.h"

struct sidx;
struct sidx_entry; /* read through the functions below */

#define SIDX_SUBJECT_MAX 65535u /* bytes of a subject */

/* A subject filter; wildcards allowed. Borrowed during the call. */
struct sidx_filter {
    const char *s;
    size_t len;
};

struct sidx *sidx_create(void);
void sidx_destroy(struct sidx *x); /* NULL is a no-op */
/* Removes everything. */
void sidx_clear(struct sidx *x);

/* --- change ----------------------------------------------------------------------------------- */
/* Adds a sequence, which must be above the subject's last (equal: already there, ignored). Returns
 * the entry. O(subject length). */
const struct sidx_entry *sidx_add(struct sidx *x, const char *subj, size_t len, uint64_t seq);
/* Start-up: adds n > 0 sequences, strictly ascending and above the subject's last, at once. Returns
 * the entry. */
const struct sidx_entry *sidx_load(struct sidx *x, const char *subj, size_t len,
                                   const uint64_t *seqs, size_t n);
/* Removes one sequence; the entry goes with its last one. Returns whether it was there. */
bool sidx_remove(struct sidx *x, const char *subj, size_t len, uint64_t seq);
/* The same for an entry at hand; only the last removal has to look the subject up. */
bool sidx_remove_from(struct sidx *x, const struct sidx_entry *e, uint64_t seq);

/* --- one subject ------------------------------------------------------------------------------ */
/* NULL when no live message has this subject. */
const struct sidx_entry *sidx_find(const struct sidx *x, const char *subj, size_t len);
/* A number for the entry, never 0, stable while the subject has messages (reused later); and the
 * way back. The message map keeps it for every live sequence. O(1). */
uint32_t sidx_id(const struct sidx_entry *e);
const struct sidx_entry *sidx_by_id(const struct sidx *x, uint32_t id); /* NULL = no such entry */
uint64_t sidx_count(const struct sidx_entry *e);
uint64_t sidx_first(const struct sidx_entry *e);
uint64_t sidx_last(const struct sidx_entry *e);
const char *sidx_subject(const struct sidx_entry *e, size_t *len_out); /* not NUL-terminated */
/* n-th oldest, 0 = first; n < count. */
uint64_t sidx_nth(const struct sidx_entry *e, uint64_t n);
/* First posting >= from; 0 = none. */
uint64_t sidx_next(const struct sidx_entry *e, uint64_t from);
/* Last posting <= to; 0 = none. */
uint64_t sidx_prev(const struct sidx_entry *e, uint64_t to);
/* Number of postings >= from. */
uint64_t sidx_rank_from(const struct sidx_entry *e, uint64_t from);

/* --- many subjects ---------------------------------------------------------------------------- */
/* fn returns false to stop. It must not change the index. */
typedef bool (*sidx_fn)(void *arg, const struct sidx_entry *e);
/* Calls fn for each entry whose subject matches, in byte order of subjects, descending only where
 * something can match. filter NULL: all. `after` (NULL: from the start) continues strictly behind
 * that subject, which need not exist. */
void sidx_match(const struct sidx *x, const char *filter, size_t len, const char *after,
                size_t after_len, sidx_fn fn, void *arg);
/* Live messages with sequence >= from_seq that match any of the filters; each counts once though
 * filters overlap. n = 0: everything. O(matching subjects). */
uint64_t sidx_count_from(const struct sidx *x, const struct sidx_filter *filters, size_t n,
                         uint64_t from_seq);
/* Fills out with the lowest sequences >= from_seq that match any filter (n = 0: everything),
 * ascending, at most max. Returns how many. O(matching subjects + max log max). */
size_t sidx_collect(const struct sidx *x, const struct sidx_filter *filters, size_t n,
                    uint64_t from_seq, uint64_t *out, size_t max);
/* Newest sequence that matches (filter NULL: of all); 0 = none. */
uint64_t sidx_last_match(const struct sidx *x, const char *filter, size_t len);
/* Lowest sequence >= from_seq that matches; 0 = none. */
uint64_t sidx_next_match(const struct sidx *x, const char *filter, size_t len, uint64_t from_seq);

struct sidx_stats {
    uint64_t subjects;
    uint64_t msgs;
    uint64_t memory_bytes; /* nodes, entries and postings, as asked from the allocator */
};
void sidx_stats_get(const struct sidx *x, struct sidx_stats *out);
/* Walks everything and checks the invariants; for tests and after recovery. */
bool sidx_check(const struct sidx *x);

#endif
