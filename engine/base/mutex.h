/* A mutex of which clang knows who holds it: MODE=clang builds with -Wthread-safety, and a path
 * that leaves a function with the mutex, or calls one that wants it without, does not compile.
 *
 * What clang 14 cannot check in C are struct members: those still say "guarded by: <mutex>" in
 * words, and functions over them say BASE_HOLDS. Globals say BASE_GUARDED_BY.
 *
 * Any thread. Not recursive; a failing call is a bug. */
#ifndef ENGINE_BASE_MUTEX_H
#define ENGINE_BASE_MUTEX_H

#include <pthread.h>

#include "engine/base/base.h"

#ifdef __clang__
#define BASE_TS(x) __attribute__((x))
#else
#define BASE_TS(x)
#endif

/* On a declaration: what it does to, or wants of, a mutex of its parameters. */
#define BASE_ACQUIRES(mutex) BASE_TS(acquire_capability(mutex))
#define BASE_RELEASES(mutex) BASE_TS(release_capability(mutex))
#define BASE_HOLDS(mutex) BASE_TS(requires_capability(mutex))
#define BASE_GUARDED_BY(mutex) BASE_TS(guarded_by(mutex))
/* On a definition that clang cannot follow, with the reason. */
#define BASE_TS_UNCHECKED BASE_TS(no_thread_safety_analysis)

struct BASE_TS(capability("mutex")) base_mutex {
    pthread_mutex_t os;
};
#define BASE_MUTEX_INITIALIZER                                                                     \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER                                                                  \
    }

static inline void base_mutex_init(struct base_mutex *m)
{
    ASSERT(pthread_mutex_init(&m->os, NULL) == 0);
}

static inline void base_mutex_destroy(struct base_mutex *m)
{
    (void)pthread_mutex_destroy(&m->os);
}

static inline void base_mutex_lock(struct base_mutex *m) BASE_ACQUIRES(m);
static inline void base_mutex_unlock(struct base_mutex *m) BASE_RELEASES(m);
static inline int base_cond_wait(pthread_cond_t *c, struct base_mutex *m) BASE_HOLDS(m);
static inline int base_cond_timedwait(pthread_cond_t *c, struct base_mutex *m,
                                      const struct timespec *until) BASE_HOLDS(m);

BASE_TS_UNCHECKED static inline void base_mutex_lock(struct base_mutex *m)
{
    ASSERT(pthread_mutex_lock(&m->os) == 0);
}

BASE_TS_UNCHECKED static inline void base_mutex_unlock(struct base_mutex *m)
{
    ASSERT(pthread_mutex_unlock(&m->os) == 0);
}

static inline int base_cond_wait(pthread_cond_t *c, struct base_mutex *m)
{
    return pthread_cond_wait(c, &m->os);
}

static inline int base_cond_timedwait(pthread_cond_t *c, struct base_mutex *m,
                                      const struct timespec *until)
{
    return pthread_cond_timedwait(c, &m->os, until);
}

#endif
