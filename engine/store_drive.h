/* Driving a store to the end of one operation, for programs without a loop of their own: tools and
 * tests. Over engine/store.h alone.
 *
 * Thread: the owner's. Everything that is due runs in here, other operations' callbacks too. */
#ifndef ENGINE_STORE_DRIVE_H
#define ENGINE_STORE_DRIVE_H

#include "engine/base/base.h"
#include "engine/base/err.h"
#include "engine/store.h"

struct store_drive {
    struct store *store; /* borrowed */
    /* Rests until the doorbell rings or the boot clock reaches the deadline (INT64_MAX: none); may
     * return early. False: given up (interrupted, or in a simulation nothing is left to happen). */
    bool (*wait)(void *arg, int64_t deadline_boot_ns);
    void *arg;
};

/* Runs the store until *done. ST_CLOSED when wait gave up; the operation is then still under way.
 */
MUST_USE static inline enum st store_drive_until(const struct store_drive *d, const bool *done)
{
    while (!*done) {
        d->store->ops->poll(d->store);
        int64_t deadline = d->store->ops->timers(d->store);
        if (!*done && !d->wait(d->arg, deadline)) {
            return ST_CLOSED;
        }
    }
    return ST_OK;
}

/* The answer to one call, for whoever waits for it: first member of a struct on the heap that is
 * the call's argument. */
struct store_answer {
    bool done;
    bool given_up; /* nobody waits any more: what the caller lent is not to be written to */
    enum st st;
    uint64_t n;
    struct err err;
};

static inline void store_answer_settle(struct store_answer *a, enum st st, const struct err *err)
{
    a->done = true;
    a->st = st;
    if (err != NULL && err->code != ST_OK) {
        a->err = *err;
    } else if (st != ST_OK) {
        err_set(&a->err, st, 0, "%s", st_text(st));
    }
}

/* A store_done_fn. */
static inline void store_answer_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct store_answer *a = arg;
    a->n = n;
    store_answer_settle(a, st, err);
}

/* Drives to the answer and frees it; n_out (may be NULL) is its number. submitted is what the call
 * returned. Given up, the answer is not freed: it may still come. */
MUST_USE static inline enum st store_answer_take(const struct store_drive *d,
                                                 struct store_answer *a, enum st submitted,
                                                 uint64_t *n_out, struct err *err)
{
    enum st st = submitted;
    if (st == ST_OK) {
        st = store_drive_until(d, &a->done);
        if (st != ST_OK) {
            a->given_up = true;
            return err_set(err, st, 0, "given up");
        }
        st = a->st;
        if (st == ST_OK && n_out != NULL) {
            *n_out = a->n;
        }
        if (st != ST_OK && err != NULL) {
            *err = a->err;
        }
    }
    base_free(a);
    return st;
}

#endif
