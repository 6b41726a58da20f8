/* The pool and its references (lot.h). */
#include "engine/lot.h"

#include "engine/base/mutex.h"

struct lot_pool {
    struct base_mutex mutex;
    unsigned max, max_free;
    /* all below guarded by: mutex */
    unsigned out, nfree; /* with references; without */
    struct lot *free;    /* owned */
    bool orphan;         /* its owner is gone */
};

static void lock(struct lot_pool *p) BASE_ACQUIRES(p->mutex);
static void unlock(struct lot_pool *p) BASE_RELEASES(p->mutex);

static void lock(struct lot_pool *p)
{
    base_mutex_lock(&p->mutex);
}
static void unlock(struct lot_pool *p)
{
    base_mutex_unlock(&p->mutex);
}

static void lot_free(struct lot *l)
{
    if (l != NULL) {
        base_pages_free(l->pages, LOT_BYTES);
        base_free(l);
    }
}

static void pool_free(struct lot_pool *p)
{
    base_mutex_destroy(&p->mutex);
    base_free(p);
}

struct lot_pool *lot_pool_create(unsigned max, unsigned max_free)
{
    struct lot_pool *p = base_calloc(1, sizeof(*p));
    p->max = max;
    p->max_free = max_free;
    base_mutex_init(&p->mutex);
    return p;
}

void lot_pool_destroy(struct lot_pool *p)
{
    if (p == NULL) {
        return;
    }
    lock(p);
    struct lot *l = p->free;
    p->free = NULL;
    p->orphan = true;
    bool last = p->out == 0;
    unlock(p);
    while (l != NULL) {
        struct lot *next = l->next;
        lot_free(l);
        l = next;
    }
    if (last) {
        pool_free(p);
    }
}

struct lot *lot_get(struct lot_pool *p)
{
    lock(p);
    struct lot *l = p->free;
    bool room = p->out < p->max;
    if (room) {
        p->out++;
    }
    if (room && l != NULL) {
        p->free = l->next;
        p->nfree--;
    }
    unlock(p);
    if (!room) {
        return NULL;
    }
    if (l == NULL) {
        l = base_calloc(1, sizeof(*l));
        l->pool = p;
        l->pages = base_pages(LOT_BYTES);
    }
    l->next = NULL;
    atomic_init(&l->refs, 1);
    return l;
}

void lot_acquire(struct lot *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
}

void lot_release(struct lot *l)
{
    if (l == NULL || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    struct lot_pool *p = l->pool;
    lock(p);
    p->out--;
    bool keep = !p->orphan && p->nfree < p->max_free;
    if (keep) {
        l->next = p->free;
        p->free = l;
        p->nfree++;
    }
    bool last = p->orphan && p->out == 0;
    unlock(p);
    if (!keep) {
        lot_free(l);
    }
    if (last) {
        pool_free(p);
    }
}
