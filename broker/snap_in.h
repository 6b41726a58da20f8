/* A snapshot in nats-server's format (snap_fmt.h), read as it comes: bytes in any pieces in,
 * messages and files out. Believes nothing: frames, tar headers, hashes and lengths are checked,
 * and every buffer has a bound. Pure; one thread at a time. */
#ifndef BROKER_SNAP_IN_H
#define BROKER_SNAP_IN_H

#include "broker/snap_fmt.h"
#include "engine/base/snappy.h"
#include "engine/base/vec.h"

#define SNAP_META_MAX ((size_t)1024 * 1024)       /* a meta.inf */
#define SNAP_STATE_MAX ((size_t)64 * 1024 * 1024) /* an o.dat */
#define SNAP_CONSUMERS_MAX 100000u
#define SNAP_HELD_MAX ((size_t)128 * 1024 * 1024) /* of all consumers' files, and of tombstones */

/* What obs/<name>/ holds. */
struct snap_in_cons {
    char *name;                       /* owned */
    struct snap_buf meta, sum, state; /* owned */
};

struct snap_in {
    const char *stream; /* borrowed: the name; keys of all hashes */
    /* Each message once, ascending in a sound snapshot; points into the reader until it returns.
     * ST_FULL: not now; the same message comes again with the next call of snap_in_step. */
    enum st (*msg)(void *arg, const struct msg *m, struct err *err);
    /* The stream's meta.inf is whole; what it returns ends the reading. */
    enum st (*got_meta)(void *arg, const void *p, size_t n, struct err *err);
    void *arg;
    /* result */
    struct snap_buf meta, sum; /* of the stream; owned */
    struct snap_in_cons *cons; /* owned */
    size_t ncons;
    VEC(uint64_t) gone; /* sequences of tombstones as they came: in any order, some twice; owned */
    size_t held;        /* bytes of SNAP_HELD_MAX */
    uint64_t last_seq;  /* highest sequence named */
    bool ended;         /* the tar's end was read */
    /* private */
    struct s2_reader s2;
    const uint8_t *raw; /* unpacked and not taken yet; in s2's buffer */
    size_t raw_len;
    struct snap_buf part; /* header, record or file under way */
    struct snap_tar_entry entry;
    int state, kind;
    uint64_t left, pad; /* bytes of the entry still to come, and of its padding */
    uint64_t block_no, off;
    uint8_t key[SNAP_KEY_SIZE];
    char long_name[600];
    struct snap_buf *into; /* where a small file goes */
    size_t into_max;
    bool ready; /* part holds a record that the user did not take yet */
};
/* The caller has set stream, msg, got_meta, arg in a zeroed struct. */
void snap_in_fini(struct snap_in *s);
/* Works on what *p, *n bring, at most one frame of it. ST_OK: call again, also with nothing left.
 * ST_AGAIN: everything was used. ST_FULL: the user takes no message now; call again later. Else
 * broken: ST_CORRUPT with words in err, or what msg said. */
MUST_USE enum st snap_in_step(struct snap_in *s, const uint8_t **p, size_t *n, struct err *err);
/* All has come: is it whole? Checks the hashes of the meta files. */
MUST_USE enum st snap_in_end(struct snap_in *s, struct err *err);

#endif
