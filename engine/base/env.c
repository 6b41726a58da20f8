#include "engine/base/env.h"

#include "engine/base/base.h"

enum st env_pwrite(struct env *e, struct env_file *f, const void *buf, size_t len, uint64_t off,
                   struct err *err)
{
    union {
        const void *in;
        void *iov;
    } p = {.in = buf}; /* struct iovec has no const; pwritev does not write to it */
    struct iovec iov = {.iov_base = p.iov, .iov_len = len};
    return env_pwritev(e, f, &iov, 1, off, err);
}

enum st env_read_file(struct env *e, const char *path, size_t max, uint8_t **buf_out,
                      size_t *len_out, struct err *err)
{
    *buf_out = NULL;
    *len_out = 0;
    struct env_file *f;
    enum st st = env_open(e, path, ENV_RDONLY, &f, err);
    if (st != ST_OK) {
        return st;
    }
    uint8_t *buf = NULL;
    uint64_t size;
    st = env_size(e, f, &size, err);
    if (st != ST_OK) {
        goto close_file;
    }
    if (size > max) {
        st = err_set(err, ST_TOOBIG, 0, "file \"%s\": size_bytes=%llu limit=%zu", path,
                     (unsigned long long)size, max);
        goto close_file;
    }
    buf = base_try_malloc((size_t)size + 1);
    if (buf == NULL) {
        st = err_set(err, ST_NOMEM, 0, "file \"%s\": no memory for size_bytes=%llu", path,
                     (unsigned long long)size);
        goto close_file;
    }
    size_t got;
    st = env_pread(e, f, buf, (size_t)size, 0, &got, err);
    if (st != ST_OK) {
        base_free(buf);
        goto close_file;
    }
    buf[got] = '\0'; /* not counted; lets text parsers stop */
    *buf_out = buf;
    *len_out = got;
close_file:
    env_close(e, f);
    return st;
}
