/* Driving a store to the end of one operation, for programs without a loop of their own: tools and
 * tests. Over engine/store.h alone.
 *
 * Thread: the owner's. Everything that is due runs in here, other operations' callbacks too. */
#ifndef ENGINE_STORE_DRIVE_H
#define ENGINE_STORE_DRIVE_H

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

#endif
