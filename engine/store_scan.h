/* Reading a stream in order: its messages from some place on, or the newest of each subject, then
 * what comes. Over engine/store.h alone, by a consumer of its own (no acks, state in memory,
 * removed at close; what a crash leaves goes by its inactive threshold when a server runs).
 *
 * Thread: the owner's. Callbacks come from the store's poll, turn and timers, never inside
 * open or resume. A scan must be closed before its stream is deleted, and closed and settled (one
 * more turn) before the store closes. Bounded: SCAN_BATCH messages a turn, none held. */
#ifndef ENGINE_STORE_SCAN_H
#define ENGINE_STORE_SCAN_H

#include "engine/base/env.h"
#include "engine/store.h"

struct store_scan;

struct store_scan_opts {
    const char *const *filters; /* borrowed during the call; none = everything */
    size_t nfilters;
    enum cons_deliver deliver;
    uint64_t start_seq; /* DELIVER_BY_START_SEQ */
    bool headers_only;  /* the payload is not wanted (it may come all the same) */
};

struct store_scan_events {
    void *arg;
    /* The scan stands; `pending` messages match now. Not ST_OK: it does not, only close may follow.
     */
    void (*opened)(void *arg, enum st st, uint64_t pending, const struct err *err);
    /* A message (borrowed during the call) and how many matching ones are behind it. May close or
     * pause the scan. */
    void (*msg)(void *arg, const struct msg *m, uint64_t pending);
    /* Everything that was there has been given (told once; may be NULL). May close the scan. */
    void (*caught_up)(void *arg);
};

/* Starts a scan; events are copied. env gives the consumer's name. */
struct store_scan *store_scan_open(struct store *store, struct env *env, struct store_stream *s,
                                   const struct store_scan_opts *opts,
                                   const struct store_scan_events *ev);
/* Gives no further message until resumed. */
void store_scan_pause(struct store_scan *scan);
void store_scan_resume(struct store_scan *scan);
/* Ends it: no callback comes any more. NULL is a no-op. */
void store_scan_close(struct store_scan *scan);

/* 22 characters that are unique (base 62, from env's randomness), and a NUL: as clients name what
 * they make up. */
#define STORE_NUID_SIZE 23u
void store_nuid(struct env *env, char out[STORE_NUID_SIZE]);

#endif
