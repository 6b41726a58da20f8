/* Watches of a bucket's meta, and the list that is made of one. What stands on a meta subject and
 * is no meta is passed over. */
#include "objstore/obj_int.h"

#include <stdio.h>

#include "engine/base/limits.h"

struct obj_watch {
    struct list_node node; /* in b->watches */
    struct obj_bucket *b;  /* shared */
    struct store_scan *scan;
    struct obj_watch_events ev;
    bool ignore_deletes;
    bool busy;   /* inside a callback of the caller */
    bool closed; /* freed when no longer busy */
};

static void watch_free(struct obj_watch *w)
{
    obj_release(w->b);
    base_free(w);
}

static void leave(struct obj_watch *w)
{
    w->busy = false;
    if (w->closed) {
        watch_free(w);
    }
}

static void on_opened(void *arg, enum st st, uint64_t pending, const struct err *err)
{
    struct obj_watch *w = arg;
    (void)pending;
    if (st != ST_OK && w->ev.failed != NULL) {
        w->busy = true;
        w->ev.failed(w->ev.arg, st, err);
        leave(w);
    }
}

static void on_msg(void *arg, const struct msg *m, uint64_t pending)
{
    struct obj_watch *w = arg;
    struct obj_info i;
    (void)pending;
    if (obj_info_parse(m->data, m->data_len, &i, NULL) != ST_OK) {
        return;
    }
    i.mtime_ns = m->ts_ns;
    i.revision = m->seq;
    if (!(w->ignore_deletes && i.deleted)) {
        w->busy = true;
        w->ev.object(w->ev.arg, &i);
        leave(w);
    }
    obj_info_fini(&i);
}

static void on_caught_up(void *arg)
{
    struct obj_watch *w = arg;
    if (w->ev.initial_done != NULL) {
        w->busy = true;
        w->ev.initial_done(w->ev.arg);
        leave(w);
    }
}

struct obj_watch *obj_watch(struct obj_bucket *b, const struct obj_watch_opts *o,
                            const struct obj_watch_events *ev)
{
    ASSERT(b->magic == OBJ_MAGIC);
    ASSERT(ev->object != NULL);
    struct obj_watch *w = base_calloc(1, sizeof *w);
    char filter[LIM_NAME_BYTES_MAX + 16];
    const char *filters[] = {filter};
    (void)snprintf(filter, sizeof filter, "$O.%s.M.>", b->name);
    w->b = obj_acquire(b);
    w->ev = *ev;
    w->ignore_deletes = o->ignore_deletes;
    list_push_back(&b->watches, &w->node);
    struct store_scan_opts so = {.filters = filters,
                                 .nfilters = 1,
                                 .deliver = o->include_history ? DELIVER_ALL
                                            : o->updates_only  ? DELIVER_NEW
                                                               : DELIVER_LAST_PER_SUBJECT};
    struct store_scan_events se = {
        .arg = w, .opened = on_opened, .msg = on_msg, .caught_up = on_caught_up};
    w->scan = store_scan_open(b->home.store, b->home.env, b->s, &so, &se);
    return w;
}

void obj_watch_close(struct obj_watch *w)
{
    if (w == NULL) {
        return;
    }
    ASSERT(!w->closed);
    w->closed = true;
    list_remove(&w->node);
    store_scan_close(w->scan);
    if (!w->busy) {
        watch_free(w);
    }
}

/* --- list ------------------------------------------------------------------------------------- */

struct list_op {
    struct obj_watch *w;
    void (*each)(void *arg, const struct obj_info *i);
    store_done_fn done;
    void *arg;
    uint64_t count;
};

static void list_object(void *arg, const struct obj_info *i)
{
    struct list_op *op = arg;
    op->count++;
    if (op->each != NULL) {
        op->each(op->arg, i);
    }
}

static void list_end(struct list_op *op, enum st st, const struct err *err)
{
    obj_watch_close(op->w);
    op->done(op->arg, st, op->count, err);
    base_free(op);
}

static void list_done(void *arg)
{
    list_end(arg, ST_OK, NULL);
}

static void list_failed(void *arg, enum st st, const struct err *err)
{
    list_end(arg, st, err);
}

void obj_list(struct obj_bucket *b, void (*each)(void *arg, const struct obj_info *i),
              store_done_fn done, void *arg)
{
    ASSERT(done != NULL);
    struct list_op *op = base_calloc(1, sizeof *op);
    *op = (struct list_op){.each = each, .done = done, .arg = arg};
    struct obj_watch_opts o = {.ignore_deletes = true};
    struct obj_watch_events ev = {op, list_object, list_done, list_failed};
    op->w = obj_watch(b, &o, &ev);
}

/* Lists end with their handle: their callers are told. */
void obj_watch_close_all(struct obj_bucket *b)
{
    LIST_EACH(&b->watches, n)
    {
        struct obj_watch *w = CONTAINER_OF(n, struct obj_watch, node);
        struct err err;
        if (w->ev.object == list_object) {
            list_end(w->ev.arg, err_set(&err, ST_CLOSED, 0, "the bucket was closed"), &err);
        } else {
            obj_watch_close(w);
        }
    }
}
