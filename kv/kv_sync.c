/* Waiting for kv.h: see kv_sync.h. */
#include "kv/kv_sync.h"

#include "engine/base/base.h"

/* One answer, whatever its kind. */
struct answer {
    struct store_answer is;
    struct kv *kv;
    struct kv_status *status;
    struct kv_value *value;
    kv_each_fn each;
    void *each_arg;
};

static void on_bucket(void *arg, enum st st, struct kv *kv, const struct err *err)
{
    struct answer *a = arg;
    a->kv = kv;
    store_answer_settle(&a->is, st, err);
}

static void on_status(void *arg, enum st st, const struct kv_status *s, const struct err *err)
{
    struct answer *a = arg;
    if (st == ST_OK && !a->is.given_up) {
        *a->status = *s;
    }
    store_answer_settle(&a->is, st, err);
}

static void on_entry(void *arg, enum st st, const struct kv_entry *e, const struct err *err)
{
    struct answer *a = arg;
    if (a->is.given_up) {
        return;
    }
    if (e != NULL) {
        *a->value =
            (struct kv_value){.revision = e->revision, .created_ns = e->created_ns, .op = e->op};
    }
    if (st == ST_OK) {
        a->value->key = base_strndup(e->key, e->key_len);
        a->value->value = base_try_malloc(e->value_len + 1);
        if (a->value->value == NULL) {
            st = ST_NOMEM;
        } else {
            memcpy(a->value->value, e->value == NULL ? (const uint8_t *)"" : e->value,
                   e->value_len);
            a->value->value[e->value_len] = 0;
            a->value->value_len = e->value_len;
        }
    }
    store_answer_settle(&a->is, st, err);
}

static void on_each(void *arg, const struct kv_entry *e)
{
    struct answer *a = arg;
    if (a->each != NULL && !a->is.given_up) {
        a->each(a->each_arg, e);
    }
}

static struct answer *answer_make(void)
{
    return base_calloc(1, sizeof(struct answer));
}

void kv_value_fini(struct kv_value *v)
{
    base_free(v->key);
    base_free(v->value);
    *v = (struct kv_value){0};
}

/* --- buckets ---------------------------------------------------------------------------------- */

enum st kv_sync_create(const struct store_drive *d, const struct kv_home *home,
                       const struct kv_config *config, struct kv **kv_out, struct err *err)
{
    struct answer *a = answer_make();
    *kv_out = NULL;
    enum st st = kv_create(home, config, on_bucket, a, err);
    if (st == ST_OK && store_drive_until(d, &a->is.done) == ST_OK) {
        *kv_out = a->kv;
    }
    return store_answer_take(d, &a->is, st, NULL, err);
}

enum st kv_sync_delete_bucket(const struct store_drive *d, const struct kv_home *home,
                              const char *bucket, struct err *err)
{
    struct answer *a = answer_make();
    return store_answer_take(d, &a->is, kv_delete_bucket(home, bucket, store_answer_done, a, err),
                             NULL, err);
}

enum st kv_sync_update_config(const struct store_drive *d, struct kv *kv,
                              const struct kv_config *config, struct err *err)
{
    struct answer *a = answer_make();
    return store_answer_take(d, &a->is, kv_update_config(kv, config, store_answer_done, a, err),
                             NULL, err);
}

enum st kv_sync_status(const struct store_drive *d, struct kv *kv, struct kv_status *s_out,
                       struct err *err)
{
    struct answer *a = answer_make();
    a->status = s_out;
    kv_status(kv, on_status, a);
    return store_answer_take(d, &a->is, ST_OK, NULL, err);
}

/* --- values ----------------------------------------------------------------------------------- */

enum st kv_sync_put(const struct store_drive *d, struct kv *kv, const char *key, const void *value,
                    size_t len, uint64_t *revision_out, struct err *err)
{
    struct answer *a = answer_make();
    return store_answer_take(d, &a->is, kv_put(kv, key, value, len, store_answer_done, a, err),
                             revision_out, err);
}

enum st kv_sync_create_key(const struct store_drive *d, struct kv *kv, const char *key,
                           const void *value, size_t len, int64_t ttl_ns, uint64_t *revision_out,
                           struct err *err)
{
    struct answer *a = answer_make();
    return store_answer_take(d, &a->is,
                             kv_create_key(kv, key, value, len, ttl_ns, store_answer_done, a, err),
                             revision_out, err);
}

enum st kv_sync_update(const struct store_drive *d, struct kv *kv, const char *key,
                       const void *value, size_t len, uint64_t last, uint64_t *revision_out,
                       struct err *err)
{
    struct answer *a = answer_make();
    return store_answer_take(d, &a->is,
                             kv_update(kv, key, value, len, last, store_answer_done, a, err),
                             revision_out, err);
}

enum st kv_sync_delete(const struct store_drive *d, struct kv *kv, const char *key, uint64_t last,
                       uint64_t *revision_out, struct err *err)
{
    struct answer *a = answer_make();
    return store_answer_take(d, &a->is, kv_delete(kv, key, last, store_answer_done, a, err),
                             revision_out, err);
}

enum st kv_sync_purge(const struct store_drive *d, struct kv *kv, const char *key, uint64_t last,
                      int64_t ttl_ns, uint64_t *revision_out, struct err *err)
{
    struct answer *a = answer_make();
    return store_answer_take(d, &a->is, kv_purge(kv, key, last, ttl_ns, store_answer_done, a, err),
                             revision_out, err);
}

enum st kv_sync_get(const struct store_drive *d, struct kv *kv, const char *key, uint64_t revision,
                    struct kv_value *v_out, struct err *err)
{
    struct answer *a = answer_make();
    *v_out = (struct kv_value){0};
    a->value = v_out;
    enum st st = revision == 0 ? kv_get(kv, key, on_entry, a, err)
                               : kv_get_revision(kv, key, revision, on_entry, a, err);
    return store_answer_take(d, &a->is, st, NULL, err);
}

/* --- many ------------------------------------------------------------------------------------- */

enum st kv_sync_keys(const struct store_drive *d, struct kv *kv, const char *const *filters,
                     size_t nfilters, kv_each_fn each, void *arg, uint64_t *count_out,
                     struct err *err)
{
    struct answer *a = answer_make();
    a->each = each;
    a->each_arg = arg;
    return store_answer_take(d, &a->is,
                             kv_keys(kv, filters, nfilters, on_each, store_answer_done, a, err),
                             count_out, err);
}

enum st kv_sync_history(const struct store_drive *d, struct kv *kv, const char *key,
                        kv_each_fn each, void *arg, struct err *err)
{
    struct answer *a = answer_make();
    a->each = each;
    a->each_arg = arg;
    return store_answer_take(d, &a->is, kv_history(kv, key, on_each, store_answer_done, a, err),
                             NULL, err);
}

enum st kv_sync_purge_deletes(const struct store_drive *d, struct kv *kv, int64_t older_than_ns,
                              uint64_t *count_out, struct err *err)
{
    struct answer *a = answer_make();
    return store_answer_take(
        d, &a->is, kv_purge_deletes(kv, older_than_ns, store_answer_done, a, err), count_out, err);
}
