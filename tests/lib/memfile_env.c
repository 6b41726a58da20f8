/* One file in memory (memfile_env.h). */
#include "tests/lib/memfile_env.h"

#include <string.h>

#include "engine/base/base.h"

static struct memfile_env *self(struct env *e)
{
    return CONTAINER_OF(e, struct memfile_env, env);
}

static int64_t m_ns(struct env *e)
{
    (void)e;
    return 1700000000 * NS_PER_S;
}

static void m_random(struct env *e, void *p, size_t n)
{
    (void)e;
    memset(p, 0x5a, n);
}

static enum st m_open(struct env *e, const char *path, unsigned flags, struct env_file **f,
                      struct err *err)
{
    *f = NULL;
    if (self(e)->missing) {
        return err_set(err, ST_NOTFOUND, 0, "open %s", path);
    }
    if (flags != ENV_RDONLY) {
        return err_set(err, ST_DENIED, 0, "open %s", path);
    }
    *f = (struct env_file *)e;
    return ST_OK;
}

static void m_close(struct env *e, struct env_file *f)
{
    (void)e, (void)f;
}

static enum st m_pread(struct env *e, struct env_file *f, void *buf, size_t len, uint64_t off,
                       size_t *got, struct err *err)
{
    struct memfile_env *m = self(e);
    (void)f, (void)err;
    m->reads++;
    *got = off >= m->len ? 0 : (size_t)u64_min(len, m->len - off);
    if (*got != 0) {
        memcpy(buf, m->bytes + off, *got);
    }
    return ST_OK;
}

static enum st m_size(struct env *e, struct env_file *f, uint64_t *size, struct err *err)
{
    (void)f, (void)err;
    *size = self(e)->len;
    return ST_OK;
}

static enum st m_path_ok(struct env *e, const char *path, struct err *err)
{
    (void)e, (void)path, (void)err;
    return ST_OK;
}

static const struct env_ops ops = {
    .real_ns = m_ns,
    .boot_ns = m_ns,
    .random = m_random,
    .open = m_open,
    .close = m_close,
    .pread = m_pread,
    .pread_direct = m_pread,
    .size = m_size,
    .mkdir = m_path_ok,
    .dirsync = m_path_ok,
};

void memfile_env_init(struct memfile_env *m)
{
    *m = (struct memfile_env){.env.ops = &ops};
}
