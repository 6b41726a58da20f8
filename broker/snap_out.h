/* A stream's snapshot as the bytes of nats-server's format (snap_fmt.h), made piece by piece. What
 * it needs of JSON is prepared by the caller; the rest runs on any one thread and blocks on the
 * disk. */
#ifndef BROKER_SNAP_OUT_H
#define BROKER_SNAP_OUT_H

#include "broker/snap_fmt.h"

struct snap_out_cons {
    char *name, *meta; /* owned */
    size_t meta_len;
};
struct snap_out {
    const struct store_ops *ops;
    struct store_snap *snap; /* borrowed */
    char *name, *meta;       /* owned: of the stream; meta.inf */
    size_t meta_len;
    struct snap_out_cons *cons; /* owned; cons[i] is info->cons[i]; name NULL: left out */
    size_t ncons;
    int64_t now_ns;
    /* result: packed bytes; the reader cuts what it took */
    struct snap_buf out;
    uint64_t raw_bytes; /* of the tar so far */
    /* private */
    int stage;
    size_t cons_at;
    uint64_t block_no;
    struct snap_buf block, tar;
};
void snap_out_fini(struct snap_out *o); /* not the snapshot */
/* Makes some more bytes. ST_OK: o->out may have grown. ST_NOTFOUND: that was all. ST_CORRUPT,
 * ST_IO: a message cannot be read. */
MUST_USE enum st snap_out_more(struct snap_out *o, struct err *err);

#endif
