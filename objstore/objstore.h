/* Object buckets over engine/store.h, without a broker. What stands in a bucket is what NATS
 * clients write and read (ADR-20): stream OBJ_<bucket>, an object's bytes in chunks on
 * $O.<bucket>.C.<nuid>, what is known of it as JSON on $O.<bucket>.M.<name in base64url>.
 *
 * Thread: the store's owner. Submit and complete, as the store has it: a call that returns ST_OK
 * (or nothing) will call fn exactly once, never inside itself, from the store's poll, turn or
 * timers; a call that returns an error has told it all in err and will not. Names, configs
 * and data are copied by the call; what a callback is given is borrowed until it returns.
 *
 * Memory is bounded whatever an object's size: a put holds one chunk and has a few on their way, a
 * get holds none. A put that fails or is cancelled removes its chunks; one whose process dies
 * leaves them without meta, as a client's does.
 *
 * When the store closes, outstanding callbacks are not called: finish or cancel them, close the
 * watches, run one more turn, then close. obj_sync.h waits, for programs without a loop. */
#ifndef OBJSTORE_OBJSTORE_H
#define OBJSTORE_OBJSTORE_H

#include "engine/base/env.h"
#include "engine/store.h"

struct obj_bucket; /* an open bucket */
struct obj_put;    /* an object being written */
struct obj_get;    /* an object being read */
struct obj_watch;  /* a watch under way */

/* Where buckets live. Copied; what it points to is borrowed until the last bucket is closed. */
struct obj_home {
    struct store *store;
    struct env *env;
    const char *account; /* "$G" where the server has no accounts */
};

#define OBJ_CHUNK_BYTES_DEFAULT 131072u
#define OBJ_CHUNK_BYTES_MAX (64u * 1024 * 1024)
#define OBJ_NAME_BYTES_MAX 32768u   /* in base64 it still is a subject */
#define OBJ_META_BYTES_MAX 1048576u /* of the JSON */
#define OBJ_BUCKET_BYTES_MAX 251u   /* so that "OBJ_" fits before it in a stream's name */

/* Letters, digits, '-' and '_'. */
bool obj_bucket_valid(const char *bucket);
/* Any text (UTF-8) but the empty one. */
bool obj_name_valid(const char *name);

/* ---- what is known of an object -------------------------------------------------------------- */

struct obj_header {
    char *name, *value; /* owned by what they stand in */
};

/* What the writer chooses. In calls everything is borrowed. */
struct obj_meta {
    const char *name;
    const char *description; /* or NULL */
    const struct obj_header *headers;
    size_t nheaders;
    const struct store_kv *metadata;
    size_t nmetadata;
    uint32_t chunk_bytes; /* put: 0 = 128 KiB */
};

/* Owned as a whole (obj_info_fini) or borrowed as a whole. Texts are NULL where there is none. */
struct obj_info {
    char *name, *description, *bucket, *nuid, *digest;
    char *link_bucket, *link_name; /* a link: to an object, or without name to a bucket */
    struct obj_header *headers;
    size_t nheaders;
    struct store_kv *metadata;
    size_t nmetadata;
    uint64_t size;
    uint64_t chunks;
    uint32_t chunk_bytes; /* 0 = not said */
    bool deleted;
    int64_t mtime_ns;  /* of the meta message */
    uint64_t revision; /* its sequence */
};
void obj_info_fini(struct obj_info *i);
void obj_info_copy(struct obj_info *to, const struct obj_info *from);
/* The JSON as it stands in the stream; parse: ST_CORRUPT for what is none. Pure. */
MUST_USE enum st obj_info_parse(const uint8_t *json, size_t len, struct obj_info *out,
                                struct err *err);
char *obj_info_json(const struct obj_info *i, size_t *len_out); /* base_malloc'ed */

/* ---- buckets --------------------------------------------------------------------------------- */

struct obj_config {
    const char *bucket;      /* required */
    const char *description; /* or NULL */
    int64_t ttl_ns;          /* 0 = objects stay */
    int64_t max_bytes;       /* of the bucket; 0 or -1 = no limit */
    enum store_storage storage;
    bool compression;
    const struct store_kv *metadata; /* borrowed during the call */
    size_t nmetadata;
};
typedef void (*obj_bucket_fn)(void *arg, enum st st, struct obj_bucket *b, const struct err *err);

/* As kv.h's: make and open, open, close, delete (no handle of it may be open), list. */
MUST_USE enum st obj_create(const struct obj_home *home, const struct obj_config *config,
                            obj_bucket_fn fn, void *arg, struct err *err);
MUST_USE enum st obj_open(const struct obj_home *home, const char *bucket,
                          struct obj_bucket **b_out, struct err *err);
void obj_close(struct obj_bucket *b);
MUST_USE enum st obj_delete_bucket(const struct obj_home *home, const char *bucket,
                                   store_done_fn fn, void *arg, struct err *err);
const char *obj_next_bucket(const struct obj_home *home, const char *prev);
/* From now on nothing can be put, changed or deleted; for good. */
void obj_seal(struct obj_bucket *b, store_done_fn fn, void *arg);

struct obj_status {
    const char *bucket, *description; /* borrowed; description may be NULL */
    uint64_t bytes, messages;         /* chunks, meta and markers */
    int64_t ttl_ns, max_bytes;        /* max_bytes -1 = no limit */
    uint32_t replicas;
    enum store_storage storage;
    enum store_durability durability;
    bool compression, sealed;
    const struct store_kv *metadata; /* borrowed */
    size_t nmetadata;
};
typedef void (*obj_status_fn)(void *arg, enum st st, const struct obj_status *s,
                              const struct err *err);
void obj_status(struct obj_bucket *b, obj_status_fn fn, void *arg);

/* ---- meta ------------------------------------------------------------------------------------ */

typedef void (*obj_info_fn)(void *arg, enum st st, const struct obj_info *i, const struct err *err);

/* ST_NOTFOUND; where the object was deleted, i is what is left of it, else NULL. */
MUST_USE enum st obj_info(struct obj_bucket *b, const char *name, obj_info_fn fn, void *arg,
                          struct err *err);
/* Changes name, description, headers and metadata (all of them, to what meta says). ST_NOTFOUND,
 * ST_EXISTS (another object has the new name). */
MUST_USE enum st obj_update_meta(struct obj_bucket *b, const char *name,
                                 const struct obj_meta *meta, obj_info_fn fn, void *arg,
                                 struct err *err);
/* Leaves a marker and removes the object's chunks. ST_NOTFOUND. */
MUST_USE enum st obj_delete(struct obj_bucket *b, const char *name, obj_info_fn fn, void *arg,
                            struct err *err);
/* `name` becomes a link to an object, in this bucket or in another of the same home. ST_NOTFOUND,
 * ST_INVALID (a link to a link), ST_EXISTS (an object has the name). */
MUST_USE enum st obj_link(struct obj_bucket *b, const char *name, struct obj_bucket *target,
                          const char *target_name, obj_info_fn fn, void *arg, struct err *err);
/* `name` becomes a link to a bucket; whether it exists is not looked at. */
MUST_USE enum st obj_link_bucket(struct obj_bucket *b, const char *name, const char *bucket,
                                 obj_info_fn fn, void *arg, struct err *err);

/* ---- bytes ----------------------------------------------------------------------------------- */

struct obj_put_events {
    void *arg;
    void (*room)(void *arg); /* obj_put_room is not 0 any more */
    /* The object stands (durable as the stream has it), or not: then its chunks are removed. The
     * handle is gone after it. */
    obj_info_fn done;
};
/* Begins an object. An older one of that name stays whole until the new one is. ST_INVALID (name,
 * texts, chunk size), ST_NOMEM; later ST_TOOBIG, ST_DENIED (sealed), ST_FULL (the bucket's limit),
 * ST_NOSPACE, ST_POISONED. */
MUST_USE enum st obj_put_open(struct obj_bucket *b, const struct obj_meta *meta,
                              const struct obj_put_events *ev, struct obj_put **put_out,
                              struct err *err);
/* How many bytes obj_put_write takes now. 0: wait for the room event. */
size_t obj_put_room(const struct obj_put *p);
/* Takes len <= room bytes. Once the put has failed they are dropped; done says why. */
void obj_put_write(struct obj_put *p, const void *data, size_t len);
void obj_put_finish(struct obj_put *p); /* no write after this; done follows */
void obj_put_cancel(struct obj_put *p); /* done follows with ST_CLOSED */

struct obj_digest; /* SHA-256 under way */
struct obj_digest *obj_digest_create(void);
void obj_digest_add(struct obj_digest *d, const void *data, size_t len);
void obj_digest_destroy(struct obj_digest *d);

struct obj_get_opts {
    uint64_t offset;
    uint64_t length; /* 0 = to the end */
    /* Of the bytes before offset, or NULL; taken by the call when it returns ST_OK. With it, or
     * with offset 0, a get to the end verifies the object's digest. */
    struct obj_digest *before;
    const char *nuid; /* NULL, or: only this very object; else ST_MISMATCH */
};
struct obj_get_events {
    void *arg;
    void (*info)(void *arg, const struct obj_info *i); /* of the object itself, links followed */
    void (*data)(void *arg, const uint8_t *data, size_t len); /* in order; may pause or cancel */
    /* ST_OK: all was given, and the digest holds where it could be verified. ST_NOTFOUND,
     * ST_CORRUPT (chunks are missing, the digest differs: what was given is not to be trusted),
     * ST_MISMATCH (replaced while it was read), ST_INVALID (a link to a bucket). The handle is
     * gone after it. */
    store_done_fn done;
};
/* Begins to read an object, or what a link leads to. ST_INVALID (name, range); the rest comes
 * through done. */
MUST_USE enum st obj_get_open(struct obj_bucket *b, const char *name,
                              const struct obj_get_opts *opts, const struct obj_get_events *ev,
                              struct obj_get **get_out, struct err *err);
void obj_get_pause(struct obj_get *g);
void obj_get_resume(struct obj_get *g);
void obj_get_cancel(struct obj_get *g); /* done follows with ST_CLOSED */

/* ---- many ------------------------------------------------------------------------------------ */

struct obj_watch_opts {
    bool include_history; /* meta keeps no history: what clients call so is every meta there is */
    bool updates_only;
    bool ignore_deletes;
};
struct obj_watch_events {
    void *arg;
    void (*object)(void *arg, const struct obj_info *i);          /* may close the watch */
    void (*initial_done)(void *arg);                              /* once; may be NULL; may close */
    void (*failed)(void *arg, enum st st, const struct err *err); /* only close may follow */
};
struct obj_watch *obj_watch(struct obj_bucket *b, const struct obj_watch_opts *opts,
                            const struct obj_watch_events *ev);
void obj_watch_close(struct obj_watch *w); /* NULL is a no-op */
/* Objects (and links) that are not deleted, in order of their meta. done says how many. */
void obj_list(struct obj_bucket *b, void (*each)(void *arg, const struct obj_info *i),
              store_done_fn done, void *arg);

#endif
