/* Key-value buckets over engine/store.h, without a broker. What stands in a bucket is what NATS
 * clients write and read (ADR-8, ADR-48): stream KV_<bucket>, subject $KV.<bucket>.<key>, header
 * KV-Operation for what was deleted.
 *
 * Thread: the store's owner. Submit and complete, as the store has it: a call that returns ST_OK
 * (or nothing) will call fn exactly once, never inside itself, from the store's poll, turn or
 * timers; a call that returns an error has told it all in err and will not. Keys, values and
 * configs are copied by the call; what a callback is given is borrowed until it returns. A callback
 * with ST_OK rests on disk as the stream's durability has it.
 *
 * When the store closes, outstanding callbacks are not called: finish them, close the watches, run
 * one more turn, then close. kv_sync.h waits, for programs without a loop. */
#ifndef KV_KV_H
#define KV_KV_H

#include "engine/base/env.h"
#include "engine/store.h"

struct kv;       /* an open bucket */
struct kv_watch; /* a watch under way */

/* Where buckets live. Copied by the calls; what it points to is borrowed until the last bucket is
 * closed. */
struct kv_home {
    struct store *store;
    struct env *env;
    const char *account; /* "$G" where the server has no accounts */
};

#define KV_HISTORY_MAX 64u
#define KV_BUCKET_BYTES_MAX 252u /* so that "KV_" fits before it in a stream's name */

/* Letters, digits, '-' and '_'. */
bool kv_bucket_valid(const char *bucket);
/* Letters, digits and -/_=. ; no empty token. */
bool kv_key_valid(const char *key);
/* A key in which whole tokens may be '*', and the last '>'. */
bool kv_filter_valid(const char *filter);

/* ---- buckets --------------------------------------------------------------------------------- */

struct kv_config {
    const char *bucket;      /* required */
    const char *description; /* or NULL */
    uint32_t history;        /* revisions kept of a key, 1..64; 0 = 1 */
    int64_t ttl_ns;          /* 0 = values stay */
    int64_t max_bytes;       /* of the bucket; 0 or -1 = no limit */
    int32_t max_value_bytes; /* 0 or -1 = no limit */
    enum store_storage storage;
    bool compression;
    int64_t limit_marker_ttl_ns;     /* > 0: keys may have a TTL of their own; what goes by a limit
                                        leaves a marker for this long. Whole seconds */
    const struct store_kv *metadata; /* borrowed during the call */
    size_t nmetadata;
};

typedef void (*kv_bucket_fn)(void *arg, enum st st, struct kv *kv, const struct err *err);

/* Makes a bucket and opens it (the callback's kv is the caller's, to be closed). ST_INVALID;
 * later ST_EXISTS (the bucket, or a stream on its subjects), ST_UNSUPPORTED, ST_NOSPACE. */
MUST_USE enum st kv_create(const struct kv_home *home, const struct kv_config *config,
                           kv_bucket_fn fn, void *arg, struct err *err);
/* Opens a bucket that is there. ST_INVALID, ST_NOTFOUND. A mirror of another bucket has that one's
 * keys and is read only; an empty one shows keys after the next open. */
MUST_USE enum st kv_open(const struct kv_home *home, const char *bucket, struct kv **kv_out,
                         struct err *err);
/* Closes the handle and its watches. Operations under way are still completed. NULL is a no-op. */
void kv_close(struct kv *kv);
/* Changes the bucket's config to this one (storage stays what it is). */
MUST_USE enum st kv_update_config(struct kv *kv, const struct kv_config *config, store_done_fn fn,
                                  void *arg, struct err *err);
/* Deletes a bucket with everything in it. No handle of it may be open. ST_INVALID, ST_NOTFOUND. */
MUST_USE enum st kv_delete_bucket(const struct kv_home *home, const char *bucket, store_done_fn fn,
                                  void *arg, struct err *err);
/* The bucket behind `prev` (NULL = the first), by name; NULL at the end. Borrowed until the next
 * call that makes or deletes a bucket. */
const char *kv_next_bucket(const struct kv_home *home, const char *prev);

struct kv_status {
    const char *bucket, *description; /* borrowed; description may be NULL */
    uint64_t values, bytes;           /* all revisions and markers */
    uint64_t keys;                    /* that have a value or a marker */
    uint64_t last_revision;
    uint32_t history, replicas;
    int64_t ttl_ns, limit_marker_ttl_ns;
    int64_t max_bytes;       /* -1 = no limit */
    int32_t max_value_bytes; /* -1 = no limit */
    enum store_storage storage;
    enum store_durability durability;
    bool compression, sealed, read_only; /* read_only: a mirror, or sealed */
    const struct store_kv *metadata;     /* borrowed */
    size_t nmetadata;
};
typedef void (*kv_status_fn)(void *arg, enum st st, const struct kv_status *s,
                             const struct err *err);
void kv_status(struct kv *kv, kv_status_fn fn, void *arg);

/* ---- values ---------------------------------------------------------------------------------- */

enum kv_op { KV_PUT = 0, KV_DELETE = 1, KV_PURGE = 2 };

struct kv_entry {
    const char *key; /* ends with a NUL */
    size_t key_len;
    const uint8_t *value;
    size_t value_len;
    uint64_t revision;
    int64_t created_ns; /* unix ns */
    uint64_t delta;     /* watch, history: how many of the same request are behind it */
    enum kv_op op;
};

typedef void (*kv_revision_fn)(void *arg, enum st st, uint64_t revision, const struct err *err);
typedef void (*kv_entry_fn)(void *arg, enum st st, const struct kv_entry *e, const struct err *err);

/* Writes complete with the new revision. ST_INVALID (key), ST_TOOBIG, ST_DENIED (sealed, mirror,
 * rollups off), ST_FULL (the bucket's limit), ST_NOSPACE, ST_POISONED; ST_UNSUPPORTED for a TTL
 * where the bucket has none. */
MUST_USE enum st kv_put(struct kv *kv, const char *key, const void *value, size_t len,
                        kv_revision_fn fn, void *arg, struct err *err);
/* Only where the key has no value (never had, or deleted). ST_EXISTS. ttl_ns: 0, or the value goes
 * after that long (whole seconds). */
MUST_USE enum st kv_create_key(struct kv *kv, const char *key, const void *value, size_t len,
                               int64_t ttl_ns, kv_revision_fn fn, void *arg, struct err *err);
/* Only where `last` is the key's newest revision (0: it has none at all). ST_MISMATCH. */
MUST_USE enum st kv_update(struct kv *kv, const char *key, const void *value, size_t len,
                           uint64_t last, kv_revision_fn fn, void *arg, struct err *err);
/* Leaves a marker; history stays. last: 0, or as in kv_update. */
MUST_USE enum st kv_delete(struct kv *kv, const char *key, uint64_t last, kv_revision_fn fn,
                           void *arg, struct err *err);
/* Leaves a marker and removes the key's history. ttl_ns: 0, or the marker goes after that long. */
MUST_USE enum st kv_purge(struct kv *kv, const char *key, uint64_t last, int64_t ttl_ns,
                          kv_revision_fn fn, void *arg, struct err *err);

/* The newest value. ST_NOTFOUND; where the key was deleted, e is its marker, else NULL. */
MUST_USE enum st kv_get(struct kv *kv, const char *key, kv_entry_fn fn, void *arg, struct err *err);
/* What revision `revision` holds, if it is of that key. As kv_get. */
MUST_USE enum st kv_get_revision(struct kv *kv, const char *key, uint64_t revision, kv_entry_fn fn,
                                 void *arg, struct err *err);

/* ---- many ------------------------------------------------------------------------------------ */

struct kv_watch_opts {
    const char *const *filters; /* borrowed during the call; none = every key */
    size_t nfilters;
    bool include_history;   /* every revision, not only the newest of each key */
    bool updates_only;      /* nothing that is there already */
    bool ignore_deletes;    /* no markers */
    bool meta_only;         /* value NULL, value_len 0 */
    uint64_t from_revision; /* > 0: everything from this revision on */
};
struct kv_watch_events {
    void *arg;
    void (*entry)(void *arg, const struct kv_entry *e); /* may close the watch */
    /* What was there has been given; from now on it is news. Once. May be NULL. May close. */
    void (*initial_done)(void *arg);
    /* The watch could not be made; only close may follow. May be NULL. */
    void (*failed)(void *arg, enum st st, const struct err *err);
};
/* ST_INVALID: a filter, or options that exclude each other. Events are copied. */
MUST_USE enum st kv_watch(struct kv *kv, const struct kv_watch_opts *opts,
                          const struct kv_watch_events *ev, struct kv_watch **watch_out,
                          struct err *err);
/* Gives no further entry until resumed; may be called from an event. */
void kv_watch_pause(struct kv_watch *w);
void kv_watch_resume(struct kv_watch *w);
void kv_watch_close(struct kv_watch *w); /* NULL is a no-op */

/* each (may be NULL) is called per entry; then done with how many there were. */
typedef void (*kv_each_fn)(void *arg, const struct kv_entry *e);
/* Keys that have a value, in order of their newest revision; the entries have no values. */
MUST_USE enum st kv_keys(struct kv *kv, const char *const *filters, size_t nfilters,
                         kv_each_fn each, store_done_fn done, void *arg, struct err *err);
/* The revisions of one key, oldest first, markers too. ST_NOTFOUND when there is none. */
MUST_USE enum st kv_history(struct kv *kv, const char *key, kv_each_fn each, store_done_fn done,
                            void *arg, struct err *err);
/* Removes the history of deleted keys, and the markers that are older than `older_than_ns` (0 =
 * all). done says how many keys it touched. */
MUST_USE enum st kv_purge_deletes(struct kv *kv, int64_t older_than_ns, store_done_fn done,
                                  void *arg, struct err *err);

#endif
