/* Extents: segment files that are written before the journal tells of them.
 *
 * Large messages that no compression makes smaller would be written twice, to the journal and then
 * to a segment. Where many of them come, the lane writes them to a new segment file of their stream
 * at once, makes that durable, and the journal's records only refer to it. The checkpoint that
 * covers them gives the file its footer and its row: from then on it is a segment like any other.
 *
 *   lane     extents_place: adds the group's messages to the open file, syncs it
 *   owner    extents_boundary: no file goes beyond a freeze
 *   flusher  extents_take: the files up to it, to be sealed (segment_flush.c)
 *   start    segs_read_extent: what the journal refers to, back into the tail
 *
 * Invariants
 * 1. A reference is written only after the bytes, the file and its name are durable.
 * 2. While a file is open, each message of the stream goes to it, in order; one that does not ends
 *    it. So a file holds a run of sequences of its own, as every segment does.
 * 3. A file that was referred to stays until a checkpoint covers all that it holds: also when its
 *    writing failed half-way, when a flush did, and over restarts.
 *
 * A crash can leave: files no row names. Those that replay reads are kept until the next checkpoint
 * of their stream, which has their messages from the tail; the others hold nothing that counts.
 *
 * Threads: as above; making, extents_done, extents_undone and what is referred to belong to the
 * owner. */
#ifndef ENGINE_EXTENT_H
#define ENGINE_EXTENT_H

#include "engine/journal.h"
#include "engine/segment.h"

struct extents; /* of one stream */
struct seg_writer;

struct extents_opts {
    uint32_t gid;
    const char *account, *name;                /* copied */
    uint64_t segment_bytes;                    /* 0 = 64 MiB */
    uint64_t message_bytes;                    /* a message above this is large */
    uint64_t begin_bytes;                      /* of large messages in one group: a file is begun */
    uint64_t goon_bytes;                       /* ... it is continued */
    int64_t (*expires_ns)(const uint8_t *msg); /* 0 = never; of a MSG form */
};
struct extents *extents_create(struct segs *s, const struct extents_opts *o);
/* No lane and no flusher knows it any more. Files that were referred to stay. NULL is a no-op. */
void extents_destroy(struct extents *x);

/* jr_opts.place; `who` is a struct extents. */
void extents_place(struct jr_bulk *v, size_t n);

/* Owner: messages above seq go to another file than those up to it; a file begun from now on is of
 * this catalogue generation and looks for a number from segno on. */
void extents_boundary(struct extents *x, uint64_t seq, uint64_t generation, uint64_t segno);

/* One file, complete but for its footer. */
struct extent {
    struct seg_writer *w;  /* owned; NULL: adopted, or the writing failed: nothing to be had here */
    struct seg_file *file; /* one reference */
    uint64_t first_seq, last_seq;
    uint64_t bytes; /* of what was placed and is in the journal's window */
    bool adopted;   /* by a flush: it has got a footer, and will have a row */
};
struct extent_list {
    struct extent *v; /* owned; ascending */
    size_t n;
};
/* Flusher (or the owner when no flusher runs): the files that end at or before seq. Everything up
 * to seq has been placed, which is so when its ticket is done. */
void extents_take(struct extents *x, uint64_t seq, struct extent_list *out);
/* Owner. The lap that took them is durable: those that were not adopted go, and what is left of
 * earlier laps. Returns the bytes that all of them counted for. */
uint64_t extents_done(struct extents *x, struct extent_list *l);
/* Owner. It is not: their messages come again from the tail, the files wait for the next lap that
 * is durable. */
void extents_undone(struct extents *x, struct extent_list *l);
/* Owner, start-up: the journal refers to this file. */
void extents_referred(struct extents *x, uint64_t segno, const uint8_t uuid[16]);
/* ... and so the judge leaves it where it is. */
bool extents_refers_to(const struct extents *x, uint64_t segno);

/* Gives back the memory kept for the next transfer, if there was none since the last call. Any
 * thread; every few seconds. */
void segs_trim(struct segs *s);
/* Start-up; blocking. The file was begun by extents_place (path as segs_list gives it). */
bool segs_is_extent(struct segs *s, const char *path);
/* Start-up, tools; blocking. Reads the message `seq` at x into `out` (its MSG form has len bytes).
 * ST_CORRUPT, ST_IO, ST_NOMEM: err says why. */
MUST_USE enum st segs_read_extent(struct segs *s, uint32_t gid, const struct msg_extent *x,
                                  uint64_t seq, uint8_t *out, size_t len, struct err *err);

#endif
