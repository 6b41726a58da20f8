/* What the files of kv/ share. Private. */
#ifndef KV_KV_INT_H
#define KV_KV_INT_H

#include "engine/base/base.h"
#include "engine/base/list.h"
#include "kv/kv.h"

#define KV_MAGIC 0x4b564b56u
#define KV_STREAM_PREFIX "KV_"
#define KV_SUBJECT_PREFIX "$KV."

struct kv {
    uint32_t magic;
    uint32_t refs; /* the handle's own, and one an operation or watch */
    struct kv_home home;
    const struct store_ops *ops; /* borrowed */
    struct store_stream *s;      /* borrowed */
    char *bucket;                /* owned */
    char *prefix;                /* owned: "$KV.<bucket>." */
    size_t prefix_len;
    bool mirror; /* its subjects are another's: nothing can be put here */
    bool closed;
    struct list watches; /* struct kv_watch.node */
};

static inline struct kv *kv_acquire(struct kv *kv)
{
    ASSERT(kv->magic == KV_MAGIC);
    kv->refs++;
    return kv;
}
void kv_release(struct kv *kv);

/* "$KV.<bucket>.<rest>", base_malloc'ed; ST_TOOBIG where that is no subject any more. */
MUST_USE enum st kv_subject(const struct kv *kv, const char *rest, char **subject_out,
                            size_t *len_out, struct err *err);
/* Reads a stored message. False when its subject is not one of the bucket's. e points into m; key
 * is not terminated yet. */
bool kv_entry_read(const struct kv *kv, const struct msg *m, struct kv_entry *e);
/* The same with the key ended by a NUL, in *key_buf (grown, owned by the caller). */
bool kv_entry_take(const struct kv *kv, const struct msg *m, struct kv_entry *e, char **key_buf);
/* ST_OK, or why a key is none. */
MUST_USE enum st kv_check_key(const char *key, struct err *err);

#endif
