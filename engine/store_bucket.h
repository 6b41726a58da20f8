/* What buckets of every kind share (kv/, objstore/): a bucket is a stream whose name is a prefix
 * and the bucket's name; what its maker may choose; that no other stream listens to its subjects.
 * Over engine/store.h alone.
 *
 * Thread: the owner's. Nothing here is asynchronous. */
#ifndef ENGINE_STORE_BUCKET_H
#define ENGINE_STORE_BUCKET_H

#include "engine/store.h"

/* Of what kind: "KV_", "OBJ_". */
struct bucket_kind {
    const char *prefix;
    bool (*name_valid)(const char *bucket);
    /* Is a stream with that name one? NULL: always. */
    bool (*is_one)(const struct stream_cfg *cfg);
};

/* Choices that every bucket has; strings and metadata are borrowed during a call. */
struct bucket_choices {
    const char *description; /* or NULL */
    int64_t ttl_ns;          /* 0 = what is in it stays */
    int64_t max_bytes;       /* 0 or -1 = no limit */
    bool compression;
    const struct store_kv *metadata;
    size_t nmetadata;
};

/* ST_INVALID, with the reason. */
MUST_USE enum st bucket_check(const struct bucket_kind *k, const char *bucket,
                              const struct bucket_choices *c, struct err *err);
/* The choices into a stream's config, in place of those that were there. */
void bucket_put_choices(struct stream_cfg *cfg, const struct bucket_choices *c);
/* A new bucket's config but for its subjects (n of them, NULL) and what its kind adds. */
void bucket_cfg_init(struct stream_cfg *cfg, const struct bucket_kind *k, const char *account,
                     const char *bucket, size_t nsubjects);
/* ST_EXISTS where the bucket is there, or another stream listens to its subjects. */
MUST_USE enum st bucket_check_overlap(const struct bucket_kind *k, struct store *store,
                                      const struct stream_cfg *cfg, struct err *err);
/* ST_INVALID, ST_NOTFOUND; a stream of the name that is no bucket is returned all the same. */
MUST_USE enum st bucket_find(const struct bucket_kind *k, struct store *store, const char *account,
                             const char *bucket, struct store_stream **s_out, struct err *err);
/* The bucket behind `prev` (NULL = the first), by name; NULL at the end. */
const char *bucket_next(const struct bucket_kind *k, struct store *store, const char *account,
                        const char *prev);

#endif
