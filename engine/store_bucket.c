/* See store_bucket.h. */
#include "engine/store_bucket.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/base/limits.h"
#include "engine/base/subject.h"

enum st bucket_check(const struct bucket_kind *k, const char *bucket,
                     const struct bucket_choices *c, struct err *err)
{
    if (bucket == NULL || !k->name_valid(bucket)) {
        return err_set(err, ST_INVALID, 0, "invalid bucket name \"%.128s\"",
                       bucket == NULL ? "" : bucket);
    }
    if (c->ttl_ns < 0 || (c->ttl_ns > 0 && c->ttl_ns < 100 * NS_PER_MS)) {
        return err_set(err, ST_INVALID, 0, "a bucket's TTL is 100 ms or more");
    }
    if (c->max_bytes < -1) {
        return err_set(err, ST_INVALID, 0, "a size cannot be negative");
    }
    if (c->description != NULL && strlen(c->description) > LIM_DESCRIPTION_BYTES_MAX) {
        return err_set(err, ST_INVALID, 0, "the description is longer than %zu bytes",
                       (size_t)LIM_DESCRIPTION_BYTES_MAX);
    }
    size_t meta = 0;
    for (size_t i = 0; i < c->nmetadata; i++) {
        meta += strlen(c->metadata[i].key) + strlen(c->metadata[i].value);
    }
    if (meta > LIM_METADATA_BYTES_MAX) {
        return err_set(err, ST_INVALID, 0, "the metadata is larger than %zu bytes",
                       (size_t)LIM_METADATA_BYTES_MAX);
    }
    return ST_OK;
}

void bucket_put_choices(struct stream_cfg *cfg, const struct bucket_choices *c)
{
    base_free(cfg->description);
    cfg->description =
        c->description != NULL && *c->description != 0 ? base_strdup(c->description) : NULL;
    cfg->max_age_ns = c->ttl_ns;
    cfg->duplicates_ns = c->ttl_ns > 0 && c->ttl_ns < LIM_DUP_WINDOW_NS_DEFAULT
                             ? c->ttl_ns
                             : LIM_DUP_WINDOW_NS_DEFAULT;
    cfg->max_bytes = c->max_bytes <= 0 ? -1 : c->max_bytes;
    cfg->compression = c->compression ? COMPRESSION_S2 : COMPRESSION_NONE;
    for (size_t i = 0; i < cfg->nmetadata; i++) {
        base_free(cfg->metadata[i].key);
        base_free(cfg->metadata[i].value);
    }
    base_free(cfg->metadata);
    cfg->nmetadata = c->nmetadata;
    cfg->metadata = c->nmetadata == 0 ? NULL : base_calloc(c->nmetadata, sizeof *cfg->metadata);
    for (size_t i = 0; i < c->nmetadata; i++) {
        cfg->metadata[i] =
            (struct store_kv){base_strdup(c->metadata[i].key), base_strdup(c->metadata[i].value)};
    }
}

static void stream_name(char out[LIM_NAME_BYTES_MAX + 1], const struct bucket_kind *k,
                        const char *bucket)
{
    (void)snprintf(out, LIM_NAME_BYTES_MAX + 1, "%s%s", k->prefix, bucket);
}

void bucket_cfg_init(struct stream_cfg *cfg, const struct bucket_kind *k, const char *account,
                     const char *bucket, size_t nsubjects)
{
    char name[LIM_NAME_BYTES_MAX + 1];
    stream_name(name, k, bucket);
    stream_cfg_init(cfg);
    cfg->account = base_strdup(account);
    cfg->name = base_strdup(name);
    cfg->subjects = base_calloc(nsubjects, sizeof *cfg->subjects);
    cfg->nsubjects = nsubjects;
    cfg->discard = DISCARD_NEW;
    cfg->allow_rollup = cfg->allow_direct = true;
}

enum st bucket_check_overlap(const struct bucket_kind *k, struct store *store,
                             const struct stream_cfg *cfg, struct err *err)
{
    const struct store_ops *ops = store->ops;
    for (struct store_stream *s = ops->stream_next(store, cfg->account, NULL); s != NULL;
         s = ops->stream_next(store, cfg->account, s)) {
        const struct stream_cfg *other = ops->stream_cfg(s);
        if (strcmp(other->name, cfg->name) == 0) {
            return err_set(err, ST_EXISTS, 0, "bucket \"%s\" already exists",
                           cfg->name + strlen(k->prefix));
        }
        for (size_t i = 0; i < other->nsubjects * cfg->nsubjects; i++) {
            const char *a = other->subjects[i / cfg->nsubjects];
            const char *b = cfg->subjects[i % cfg->nsubjects];
            if (subject_overlap(a, strlen(a), b, strlen(b))) {
                return err_set(err, ST_EXISTS, 0, "stream \"%s\" has the bucket's subjects",
                               other->name);
            }
        }
    }
    return ST_OK;
}

enum st bucket_find(const struct bucket_kind *k, struct store *store, const char *account,
                    const char *bucket, struct store_stream **s_out, struct err *err)
{
    char name[LIM_NAME_BYTES_MAX + 1];
    *s_out = NULL;
    if (!k->name_valid(bucket)) {
        return err_set(err, ST_INVALID, 0, "invalid bucket name \"%.128s\"", bucket);
    }
    stream_name(name, k, bucket);
    *s_out = store->ops->stream_find(store, account, name);
    if (*s_out == NULL) {
        return err_set(err, ST_NOTFOUND, 0, "bucket \"%s\" not found", bucket);
    }
    return ST_OK;
}

const char *bucket_next(const struct bucket_kind *k, struct store *store, const char *account,
                        const char *prev)
{
    const struct store_ops *ops = store->ops;
    size_t prefix = strlen(k->prefix);
    struct store_stream *s = NULL;
    if (prev != NULL) {
        char name[LIM_NAME_BYTES_MAX + 1];
        stream_name(name, k, prev);
        s = ops->stream_find(store, account, name);
        if (s == NULL) {
            return NULL;
        }
    }
    while ((s = ops->stream_next(store, account, s)) != NULL) {
        const struct stream_cfg *cfg = ops->stream_cfg(s);
        if (strncmp(cfg->name, k->prefix, prefix) == 0 && k->name_valid(cfg->name + prefix) &&
            (k->is_one == NULL || k->is_one(cfg))) {
            return cfg->name + prefix;
        }
    }
    return NULL;
}
