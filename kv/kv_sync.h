/* kv.h for programs without a loop of their own (tools, tests): each call submits, drives the store
 * until it is answered, and returns what came. ST_CLOSED where the drive gave up; then what was
 * submitted is still under way and its memory is not freed. */
#ifndef KV_KV_SYNC_H
#define KV_KV_SYNC_H

#include "engine/store_drive.h"
#include "kv/kv.h"

/* An entry of one's own; key and value are owned. */
struct kv_value {
    char *key;
    uint8_t *value;
    size_t value_len;
    uint64_t revision;
    int64_t created_ns;
    enum kv_op op;
};
void kv_value_fini(struct kv_value *v);

MUST_USE enum st kv_sync_create(const struct store_drive *d, const struct kv_home *home,
                                const struct kv_config *config, struct kv **kv_out,
                                struct err *err);
MUST_USE enum st kv_sync_delete_bucket(const struct store_drive *d, const struct kv_home *home,
                                       const char *bucket, struct err *err);
MUST_USE enum st kv_sync_update_config(const struct store_drive *d, struct kv *kv,
                                       const struct kv_config *config, struct err *err);
/* s_out's texts are borrowed until the bucket's config changes. */
MUST_USE enum st kv_sync_status(const struct store_drive *d, struct kv *kv, struct kv_status *s_out,
                                struct err *err);
MUST_USE enum st kv_sync_put(const struct store_drive *d, struct kv *kv, const char *key,
                             const void *value, size_t len, uint64_t *revision_out,
                             struct err *err);
MUST_USE enum st kv_sync_create_key(const struct store_drive *d, struct kv *kv, const char *key,
                                    const void *value, size_t len, int64_t ttl_ns,
                                    uint64_t *revision_out, struct err *err);
MUST_USE enum st kv_sync_update(const struct store_drive *d, struct kv *kv, const char *key,
                                const void *value, size_t len, uint64_t last,
                                uint64_t *revision_out, struct err *err);
MUST_USE enum st kv_sync_delete(const struct store_drive *d, struct kv *kv, const char *key,
                                uint64_t last, uint64_t *revision_out, struct err *err);
MUST_USE enum st kv_sync_purge(const struct store_drive *d, struct kv *kv, const char *key,
                               uint64_t last, int64_t ttl_ns, uint64_t *revision_out,
                               struct err *err);
/* revision 0: the newest. ST_NOTFOUND with v_out->op and revision set where it was deleted. */
MUST_USE enum st kv_sync_get(const struct store_drive *d, struct kv *kv, const char *key,
                             uint64_t revision, struct kv_value *v_out, struct err *err);
MUST_USE enum st kv_sync_keys(const struct store_drive *d, struct kv *kv,
                              const char *const *filters, size_t nfilters, kv_each_fn each,
                              void *arg, uint64_t *count_out, struct err *err);
MUST_USE enum st kv_sync_history(const struct store_drive *d, struct kv *kv, const char *key,
                                 kv_each_fn each, void *arg, struct err *err);
MUST_USE enum st kv_sync_purge_deletes(const struct store_drive *d, struct kv *kv,
                                       int64_t older_than_ns, uint64_t *count_out, struct err *err);

#endif
