/* The ballast: a file of reserved space that is given up at the first full disk of a checkpoint, so
 * that deletes, acks and purges go on (RULES.md, "Full disk"). A crash can leave it shorter or
 * gone; it is grown again. ballast_release on any thread; the rest on the meta task (or before it
 * runs). */
#ifndef ENGINE_BALLAST_H
#define ENGINE_BALLAST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/base/env.h"
#include "engine/base/mutex.h"

struct ballast {
    struct env *env;
    char *root, *path;      /* owned */
    struct base_mutex lock; /* over the file */
    uint64_t held;          /* bytes reserved; guarded by: lock */
    bool known;             /* held was read from the disk; guarded by: lock */
};

void ballast_init(struct ballast *b, struct env *env, const char *root);
void ballast_fini(struct ballast *b);
/* Removes the file. True when that freed anything. */
bool ballast_release(struct ballast *b);
/* Grows the file to `want` bytes (at least LIM_BALLAST_BYTES_MIN) when the disk has room for that
 * and a margin. */
void ballast_grow(struct ballast *b, uint64_t want);

#endif
