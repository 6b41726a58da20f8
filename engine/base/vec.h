/* A growing array: VEC(struct thing) things = {0}; Items move when it grows, so hold indices, not
 * pointers. Growth uses base_realloc (aborts on exhaustion): for counts that our own limits bound.
 * A zeroed VEC is empty. */
#ifndef ENGINE_BASE_VEC_H
#define ENGINE_BASE_VEC_H

#include "engine/base/base.h"

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *items; /* owned */                                                                   \
        size_t len, cap;                                                                           \
    }

static inline size_t vec_cap_after(size_t cap, size_t need, size_t item_size)
{
    size_t n = cap < 8 ? 8 : cap;
    while (n < need) {
        n += n / 2;
    }
    ASSERT(n <= SIZE_MAX / item_size);
    return n;
}

/* Makes room for n more items. */
#define VEC_RESERVE(v, n)                                                                          \
    do {                                                                                           \
        size_t vec_need_ = (v)->len + (n);                                                         \
        if (vec_need_ > (v)->cap) {                                                                \
            (v)->cap = vec_cap_after((v)->cap, vec_need_, sizeof(*(v)->items));                    \
            (v)->items = base_realloc((v)->items, (v)->cap * sizeof(*(v)->items));                 \
        }                                                                                          \
    } while (0)

#define VEC_PUSH(v, ...)                                                                           \
    do {                                                                                           \
        VEC_RESERVE(v, 1);                                                                         \
        (v)->items[(v)->len++] = (__VA_ARGS__);                                                    \
    } while (0)

/* Takes item i out and keeps the order. */
#define VEC_REMOVE(v, i)                                                                           \
    do {                                                                                           \
        size_t vec_at_ = (i);                                                                      \
        ASSERT(vec_at_ < (v)->len);                                                                \
        (v)->len--;                                                                                \
        memmove((v)->items + vec_at_, (v)->items + vec_at_ + 1,                                    \
                ((v)->len - vec_at_) * sizeof(*(v)->items));                                       \
    } while (0)

#define VEC_FREE(v)                                                                                \
    do {                                                                                           \
        base_free((v)->items);                                                                     \
        (v)->items = NULL;                                                                         \
        (v)->len = (v)->cap = 0;                                                                   \
    } while (0)

#endif
