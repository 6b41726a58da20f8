/* Waiting for objstore.h: see obj_sync.h. */
#include "objstore/obj_sync.h"

#include "engine/base/base.h"

/* One answer, whatever its kind. */
struct answer {
    struct store_answer is;
    bool wake; /* a put has room, or is done */
    struct obj_bucket *b;
    struct obj_status *status;
    struct obj_info *info; /* NULL: not wanted */
    void (*each)(void *arg, const struct obj_info *i);
    void *each_arg;
    const struct obj_sink *sink; /* get */
    struct obj_get *get;
    enum st stopped; /* by the caller's function */
    struct err stopped_err;
};

static void on_bucket(void *arg, enum st st, struct obj_bucket *b, const struct err *err)
{
    struct answer *a = arg;
    a->b = b;
    store_answer_settle(&a->is, st, err);
}

static void on_status(void *arg, enum st st, const struct obj_status *s, const struct err *err)
{
    struct answer *a = arg;
    if (st == ST_OK && !a->is.given_up) {
        *a->status = *s;
    }
    store_answer_settle(&a->is, st, err);
}

static void on_info(void *arg, enum st st, const struct obj_info *i, const struct err *err)
{
    struct answer *a = arg;
    if (i != NULL && a->info != NULL && !a->is.given_up) {
        obj_info_copy(a->info, i);
    }
    a->wake = true;
    store_answer_settle(&a->is, st, err);
}

static void on_each(void *arg, const struct obj_info *i)
{
    struct answer *a = arg;
    if (a->each != NULL && !a->is.given_up) {
        a->each(a->each_arg, i);
    }
}

static struct answer *answer_make(struct obj_info *info)
{
    struct answer *a = base_calloc(1, sizeof *a);
    a->info = info;
    if (info != NULL) {
        *info = (struct obj_info){0};
    }
    return a;
}

/* --- buckets ---------------------------------------------------------------------------------- */

enum st obj_sync_create(const struct store_drive *d, const struct obj_home *home,
                        const struct obj_config *config, struct obj_bucket **b_out, struct err *err)
{
    struct answer *a = answer_make(NULL);
    *b_out = NULL;
    enum st st = obj_create(home, config, on_bucket, a, err);
    if (st == ST_OK && store_drive_until(d, &a->is.done) == ST_OK) {
        *b_out = a->b;
    }
    return store_answer_take(d, &a->is, st, NULL, err);
}

enum st obj_sync_delete_bucket(const struct store_drive *d, const struct obj_home *home,
                               const char *bucket, struct err *err)
{
    struct answer *a = answer_make(NULL);
    return store_answer_take(d, &a->is, obj_delete_bucket(home, bucket, store_answer_done, a, err),
                             NULL, err);
}

enum st obj_sync_seal(const struct store_drive *d, struct obj_bucket *b, struct err *err)
{
    struct answer *a = answer_make(NULL);
    obj_seal(b, store_answer_done, a);
    return store_answer_take(d, &a->is, ST_OK, NULL, err);
}

enum st obj_sync_status(const struct store_drive *d, struct obj_bucket *b, struct obj_status *s_out,
                        struct err *err)
{
    struct answer *a = answer_make(NULL);
    a->status = s_out;
    obj_status(b, on_status, a);
    return store_answer_take(d, &a->is, ST_OK, NULL, err);
}

/* --- meta ------------------------------------------------------------------------------------- */

enum st obj_sync_info(const struct store_drive *d, struct obj_bucket *b, const char *name,
                      struct obj_info *i_out, struct err *err)
{
    struct answer *a = answer_make(i_out);
    return store_answer_take(d, &a->is, obj_info(b, name, on_info, a, err), NULL, err);
}

enum st obj_sync_update_meta(const struct store_drive *d, struct obj_bucket *b, const char *name,
                             const struct obj_meta *meta, struct obj_info *i_out, struct err *err)
{
    struct answer *a = answer_make(i_out);
    return store_answer_take(d, &a->is, obj_update_meta(b, name, meta, on_info, a, err), NULL, err);
}

enum st obj_sync_delete(const struct store_drive *d, struct obj_bucket *b, const char *name,
                        struct err *err)
{
    struct answer *a = answer_make(NULL);
    return store_answer_take(d, &a->is, obj_delete(b, name, on_info, a, err), NULL, err);
}

enum st obj_sync_link(const struct store_drive *d, struct obj_bucket *b, const char *name,
                      struct obj_bucket *target, const char *target_name, struct obj_info *i_out,
                      struct err *err)
{
    struct answer *a = answer_make(i_out);
    return store_answer_take(d, &a->is, obj_link(b, name, target, target_name, on_info, a, err),
                             NULL, err);
}

enum st obj_sync_link_bucket(const struct store_drive *d, struct obj_bucket *b, const char *name,
                             const char *bucket, struct obj_info *i_out, struct err *err)
{
    struct answer *a = answer_make(i_out);
    return store_answer_take(d, &a->is, obj_link_bucket(b, name, bucket, on_info, a, err), NULL,
                             err);
}

enum st obj_sync_list(const struct store_drive *d, struct obj_bucket *b,
                      void (*each)(void *arg, const struct obj_info *i), void *arg,
                      uint64_t *count_out, struct err *err)
{
    struct answer *a = answer_make(NULL);
    a->each = each;
    a->each_arg = arg;
    obj_list(b, on_each, store_answer_done, a);
    return store_answer_take(d, &a->is, ST_OK, count_out, err);
}

/* --- bytes ------------------------------------------------------------------------------------ */

static void on_room(void *arg)
{
    ((struct answer *)arg)->wake = true;
}

/* Feeds until the source ends or something fails; done has not come when it returns ST_OK. */
static enum st feed(const struct store_drive *d, struct answer *a, struct obj_put *p,
                    obj_read_fn read, void *arg, uint8_t *buf, size_t cap)
{
    for (;;) {
        size_t room = obj_put_room(p), n = 0;
        if (room == 0) {
            a->wake = false;
            enum st st = store_drive_until(d, &a->wake);
            if (st != ST_OK) {
                return st;
            }
            if (a->is.done) {
                return ST_OK;
            }
            continue;
        }
        enum st st = read(arg, buf, room < cap ? room : cap, &n, &a->stopped_err);
        if (st != ST_OK) {
            a->stopped = st;
            obj_put_cancel(p);
            return ST_OK;
        }
        if (n == 0) {
            obj_put_finish(p);
            return ST_OK;
        }
        obj_put_write(p, buf, n);
    }
}

/* The caller's own reason outranks "cancelled". */
static enum st finish_or_stopped(const struct store_drive *d, struct answer *a, struct err *err)
{
    if (store_drive_until(d, &a->is.done) != ST_OK) {
        a->is.given_up = true; /* as in store_answer_take */
        return err_set(err, ST_CLOSED, 0, "given up");
    }
    enum st stopped = a->stopped;
    struct err why = a->stopped_err;
    enum st st = store_answer_take(d, &a->is, ST_OK, NULL, err);
    if (stopped != ST_OK && st != ST_OK && err != NULL) {
        *err = why;
    }
    return stopped != ST_OK && st != ST_OK ? stopped : st;
}

enum st obj_sync_put(const struct store_drive *d, struct obj_bucket *b, const struct obj_meta *meta,
                     obj_read_fn read, void *arg, struct obj_info *i_out, struct err *err)
{
    struct answer *a = answer_make(i_out);
    struct obj_put_events ev = {a, on_room, on_info};
    struct obj_put *p;
    enum st st = obj_put_open(b, meta, &ev, &p, err);
    if (st != ST_OK) {
        base_free(a);
        return st;
    }
    size_t cap = OBJ_CHUNK_BYTES_DEFAULT;
    uint8_t *buf = base_malloc(cap);
    st = feed(d, a, p, read, arg, buf, cap);
    base_free(buf);
    if (st != ST_OK) {
        a->is.given_up = true; /* as in store_answer_take */
        return err_set(err, st, 0, "given up");
    }
    return finish_or_stopped(d, a, err);
}

static void stop_get(struct answer *a, enum st st)
{
    if (st != ST_OK && a->stopped == ST_OK) {
        a->stopped = st;
        obj_get_cancel(a->get);
    }
}

static void on_get_info(void *arg, const struct obj_info *i)
{
    struct answer *a = arg;
    if (!a->is.given_up && a->sink->info != NULL) {
        stop_get(a, a->sink->info(a->sink->arg, i, &a->stopped_err));
    }
}

static void on_get_data(void *arg, const uint8_t *data, size_t len)
{
    struct answer *a = arg;
    if (!a->is.given_up && a->stopped == ST_OK) {
        stop_get(a, a->sink->data(a->sink->arg, data, len, &a->stopped_err));
    }
}

enum st obj_sync_get(const struct store_drive *d, struct obj_bucket *b, const char *name,
                     const struct obj_get_opts *opts, const struct obj_sink *sink, struct err *err)
{
    struct answer *a = answer_make(NULL);
    struct obj_get_events ev = {a, on_get_info, on_get_data, store_answer_done};
    a->sink = sink;
    enum st st = obj_get_open(b, name, opts, &ev, &a->get, err);
    if (st != ST_OK) {
        base_free(a);
        return st;
    }
    return finish_or_stopped(d, a, err);
}
