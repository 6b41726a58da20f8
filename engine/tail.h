/* The tail: where the messages that no checkpoint has flushed yet lie in memory (in journal chunks,
 * by reference). A deque of 8 B slots in order of sequence, dense but for wide gaps (a filtered
 * mirror copies one sequence of many), which start a new span of slots; a chunk is held as long as
 * one of its messages is live here. Owner thread. */
#ifndef ENGINE_TAIL_H
#define ENGINE_TAIL_H

#include "engine/journal.h"

struct tail_chunk {
    struct jr_chunk *chunk; /* shared: one reference while live > 0 */
    uint32_t live;
};
struct tail_slot {
    uint32_t chunk_no; /* number of the chunk + 1 - first; 0 = dead */
    uint32_t off8;     /* MSG form at base + off8 * 8 */
};
/* Slots that stand for consecutive sequences, up to the slot of the next span. */
struct tail_span {
    uint64_t seq;  /* of its first slot */
    uint64_t slot; /* its first slot, counted from the first ever */
};
struct tail {
    struct tail_slot *slots; /* owned ring, by slot number */
    size_t slots_cap;
    uint64_t slot_first;     /* number of the first slot */
    uint64_t n;              /* slots in use */
    struct tail_span *spans; /* owned; [spans_head, spans_head + spans_n) in use; none when empty */
    size_t spans_head, spans_n, spans_cap;
    uint64_t first_seq;        /* of the first slot */
    uint64_t end_seq;          /* behind the last slot */
    struct tail_chunk *chunks; /* owned ring, by chunk number */
    size_t chunks_cap;
    uint32_t chunks_first, chunks_n;
    uint64_t msgs;  /* live slots */
    uint64_t bytes; /* MSG bytes of live slots */
};

void tail_init(struct tail *t);
void tail_fini(struct tail *t);
/* Adds message `seq` whose MSG form lies 8 B aligned at chunk->base + off. Sequences only rise; a
 * gap costs at most a few slots. */
void tail_add(struct tail *t, uint64_t seq, struct jr_chunk *chunk, uint32_t off,
              uint32_t msg_bytes);
/* Gives the bytes of a live message; NULL when it is not in the tail. */
const uint8_t *tail_get(const struct tail *t, uint64_t seq, struct jr_chunk **chunk_out);
/* Forgets one message; no-op when it is not there. */
void tail_kill(struct tail *t, uint64_t seq);
/* Forgets everything below seq. */
void tail_trim(struct tail *t, uint64_t seq);
/* Moves the live messages up to upto_seq into one chunk of their own, so that a few small messages
 * do not pin journal chunks. No-op when they fill at least half of what they pin, or memory is
 * short. */
void tail_rehome(struct tail *t, uint64_t upto_seq);
/* First live message with sequence >= seq; 0 = none. */
uint64_t tail_next(const struct tail *t, uint64_t seq);
/* First sequence whose message is not older than ts_ns; tail_end_seq when there is none. Times rise
 * with sequences. */
uint64_t tail_seq_at_time(const struct tail *t, int64_t ts_ns);
static inline uint64_t tail_end_seq(const struct tail *t)
{
    return t->n == 0 ? t->first_seq : t->end_seq;
}

#endif
