#include "engine/ballast.h"

#include "engine/base/base.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/quarantine.h"

void ballast_init(struct ballast *b, struct env *env, const char *root)
{
    char path[STORE_PATH_MAX];
    *b = (struct ballast){.env = env, .root = base_strdup(root)};
    if (store_path(path, root, "ballast", NULL) == ST_OK) {
        b->path = base_strdup(path);
    }
    base_mutex_init(&b->lock);
}

void ballast_fini(struct ballast *b)
{
    if (b->env != NULL) {
        base_mutex_destroy(&b->lock);
        base_free(b->path);
        base_free(b->root);
    }
    *b = (struct ballast){0};
}

static struct env_file *open_locked(struct ballast *b, bool make) BASE_HOLDS(b->lock);

/* Opens the file and learns its size. NULL when there is none and `make` is false, or on any error.
 */
static struct env_file *open_locked(struct ballast *b, bool make)
{
    struct env_file *f = NULL;
    if (b->path == NULL ||
        env_open(b->env, b->path, make ? ENV_RDWR | ENV_CREATE : ENV_RDONLY, &f, NULL) != ST_OK) {
        return NULL;
    }
    if (!b->known && env_size(b->env, f, &b->held, NULL) != ST_OK) {
        b->held = 0;
    }
    b->known = true;
    return f;
}

bool ballast_release(struct ballast *b)
{
    bool freed = false;
    base_mutex_lock(&b->lock);
    if (!b->known) {
        env_close(b->env, open_locked(b, false));
    }
    if (b->held > 0 && env_unlink(b->env, b->path, NULL) == ST_OK) {
        log_wrn("the disk is full: gave up the ballast bytes=%llu", (unsigned long long)b->held);
        b->held = 0;
        freed = true;
    }
    base_mutex_unlock(&b->lock);
    return freed;
}

void ballast_grow(struct ballast *b, uint64_t want)
{
    uint64_t avail = 0, total = 0;
    want = align_up(u64_max(want, LIM_BALLAST_BYTES_MIN), BASE_PAGE);
    base_mutex_lock(&b->lock);
    if (b->path != NULL && (!b->known || b->held < want) &&
        env_space(b->env, b->root, &avail, &total, NULL) == ST_OK &&
        avail >= 2 * want + u64_min(GIB, total / 20)) {
        struct env_file *f = open_locked(b, true);
        if (f != NULL && b->held < want) {
            if (env_fallocate(b->env, f, b->held, want - b->held, NULL) == ST_OK) {
                b->held = want;
            } else {
                b->known = false; /* it may have grown a little */
            }
        }
        env_close(b->env, f);
    }
    base_mutex_unlock(&b->lock);
}
