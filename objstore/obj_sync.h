/* objstore.h for programs without a loop of their own (tools, tests): each call submits, drives the
 * store until it is answered, and returns what came. ST_CLOSED where the drive gave up; then what
 * was submitted is still under way and its memory is not freed. */
#ifndef OBJSTORE_OBJ_SYNC_H
#define OBJSTORE_OBJ_SYNC_H

#include "engine/store_drive.h"
#include "objstore/objstore.h"

MUST_USE enum st obj_sync_create(const struct store_drive *d, const struct obj_home *home,
                                 const struct obj_config *config, struct obj_bucket **b_out,
                                 struct err *err);
MUST_USE enum st obj_sync_delete_bucket(const struct store_drive *d, const struct obj_home *home,
                                        const char *bucket, struct err *err);
MUST_USE enum st obj_sync_seal(const struct store_drive *d, struct obj_bucket *b, struct err *err);
/* s_out's texts are borrowed until the bucket's config changes. */
MUST_USE enum st obj_sync_status(const struct store_drive *d, struct obj_bucket *b,
                                 struct obj_status *s_out, struct err *err);

/* i_out may be NULL; else it is to be ended (obj_info_fini) whatever is returned. */
MUST_USE enum st obj_sync_info(const struct store_drive *d, struct obj_bucket *b, const char *name,
                               struct obj_info *i_out, struct err *err);
MUST_USE enum st obj_sync_update_meta(const struct store_drive *d, struct obj_bucket *b,
                                      const char *name, const struct obj_meta *meta,
                                      struct obj_info *i_out, struct err *err);
MUST_USE enum st obj_sync_delete(const struct store_drive *d, struct obj_bucket *b,
                                 const char *name, struct err *err);
MUST_USE enum st obj_sync_link(const struct store_drive *d, struct obj_bucket *b, const char *name,
                               struct obj_bucket *target, const char *target_name,
                               struct obj_info *i_out, struct err *err);
MUST_USE enum st obj_sync_link_bucket(const struct store_drive *d, struct obj_bucket *b,
                                      const char *name, const char *bucket, struct obj_info *i_out,
                                      struct err *err);
MUST_USE enum st obj_sync_list(const struct store_drive *d, struct obj_bucket *b,
                               void (*each)(void *arg, const struct obj_info *i), void *arg,
                               uint64_t *count_out, struct err *err);

/* Gives the next bytes, at most cap; *n_out 0 = the end. Not ST_OK: the put is cancelled and
 * returns it. */
typedef enum st (*obj_read_fn)(void *arg, uint8_t *buf, size_t cap, size_t *n_out, struct err *err);
MUST_USE enum st obj_sync_put(const struct store_drive *d, struct obj_bucket *b,
                              const struct obj_meta *meta, obj_read_fn read, void *arg,
                              struct obj_info *i_out, struct err *err);
struct obj_sink {
    void *arg;
    /* Either may stop the get by something else than ST_OK, which is returned. info may be NULL. */
    enum st (*info)(void *arg, const struct obj_info *i, struct err *err);
    enum st (*data)(void *arg, const uint8_t *data, size_t len, struct err *err);
};
MUST_USE enum st obj_sync_get(const struct store_drive *d, struct obj_bucket *b, const char *name,
                              const struct obj_get_opts *opts, const struct obj_sink *sink,
                              struct err *err);

#endif
