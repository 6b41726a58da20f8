/* What the files of objstore/ share. Private. */
#ifndef OBJSTORE_OBJ_INT_H
#define OBJSTORE_OBJ_INT_H

#include "engine/base/base.h"
#include "engine/base/list.h"
#include "engine/store_scan.h"
#include "objstore/objstore.h"

#define OBJ_MAGIC 0x4f424a42u
#define OBJ_STREAM_PREFIX "OBJ_"

struct obj_bucket {
    uint32_t magic;
    uint32_t refs; /* the handle's own, and one an operation */
    struct obj_home home;
    const struct store_ops *ops; /* borrowed */
    struct store_stream *s;      /* borrowed */
    char *name;                  /* owned */
    bool closed;
    struct list watches; /* struct obj_watch.node */
};

static inline struct obj_bucket *obj_acquire(struct obj_bucket *b)
{
    ASSERT(b->magic == OBJ_MAGIC);
    b->refs++;
    return b;
}
void obj_release(struct obj_bucket *b);
void obj_watch_close_all(struct obj_bucket *b);

/* Subjects, base_malloc'ed. */
char *obj_meta_subject(const struct obj_bucket *b, const char *name);
char *obj_chunk_subject(const struct obj_bucket *b, const char *nuid);
MUST_USE enum st obj_check_name(const char *name, struct err *err);

/* Reads the meta of an object: fn gets ST_OK (deleted ones too), ST_NOTFOUND, ST_CORRUPT. */
void obj_meta_read(struct obj_bucket *b, const char *name, obj_info_fn fn, void *arg);
/* Writes it, replacing what was there (rollup); fn gets the sequence. `i` is read during the call.
 * mtime is not written: readers take the message's. ST_TOOBIG comes through fn, too. */
void obj_meta_write(struct obj_bucket *b, const struct obj_info *i, store_done_fn fn, void *arg);
/* Removes the chunks of nuid; fn may not be NULL. */
void obj_chunks_purge(struct obj_bucket *b, const char *nuid, store_done_fn fn, void *arg);
/* An info with the choices of meta in it. */
void obj_info_from_meta(struct obj_info *i, const struct obj_meta *m);
MUST_USE enum st obj_check_meta(const struct obj_meta *m, struct err *err);
/* The error behind a refused append; returns err->code. */
enum st obj_verdict_err(const struct obj_bucket *b, const struct store_append_result *r,
                        struct err *err);

/* SHA-256= and the digest in base64url; ends the digest's use (it is still to be destroyed). */
char *obj_digest_text(struct obj_digest *d);

#endif
