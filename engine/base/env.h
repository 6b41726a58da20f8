/* The world outside: clock, disk, randomness, tasks. Everything above is built on this and nothing
 * else, so that tests own time and disk. Two implementations: env_real.c (the only caller of
 * open(), time() & co) and env_sim.c (deterministic; faults; power loss; see
 * engine/base/env_sim.h).
 *
 * Disk calls block; only engine tasks (lane, flusher, readers, meta) and start-up may make them. */
#ifndef ENGINE_BASE_ENV_H
#define ENGINE_BASE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/base/err.h"

struct env;
struct env_file; /* an open file */
struct env_lock; /* a held lock file */
struct env_task; /* a thread in the real world, a stepped state machine in the simulated one */

enum env_open_flags {
    ENV_RDONLY = 0,
    ENV_RDWR = 1,
    ENV_CREATE = 2, /* make it when missing */
    ENV_EXCL = 4,   /* with CREATE: refuse an existing one (ST_EXISTS) */
};

/* Returned by a step: how long the task may rest. */
#define ENV_STEP_AGAIN 0ull
#define ENV_STEP_IDLE UINT64_MAX
typedef uint64_t (*env_step_fn)(void *arg);
typedef void (*env_list_fn)(void *arg, const char *name, bool is_dir);

struct env_ops {
    /* clock */
    int64_t (*real_ns)(struct env *); /* wall clock, ns since 1970 UTC; may step */
    int64_t (*boot_ns)(struct env *); /* CLOCK_BOOTTIME; never steps */
    void (*boot_id)(struct env *,
                    uint8_t[16]); /* changes when the machine restarts, not when the process does */
    /* random */
    void (*random)(struct env *, void *, size_t);
    /* disk */
    enum st (*open)(struct env *, const char *path, unsigned flags, struct env_file **,
                    struct err *);
    void (*close)(struct env *, struct env_file *);
    enum st (*pread)(struct env *, struct env_file *, void *, size_t, uint64_t off, size_t *got,
                     struct err *);
    enum st (*pwritev)(struct env *, struct env_file *, const struct iovec *, int, uint64_t off,
                       struct err *);
    enum st (*datasync)(struct env *, struct env_file *, struct err *);
    enum st (*pwritev_sync)(struct env *, struct env_file *, const struct iovec *, int,
                            uint64_t off, struct err *);
    enum st (*pread_direct)(struct env *, struct env_file *, void *, size_t, uint64_t off,
                            size_t *got, struct err *);
    enum st (*pwrite_direct)(struct env *, struct env_file *, const void *, size_t, uint64_t off,
                             struct err *);
    enum st (*fallocate)(struct env *, struct env_file *, uint64_t off, uint64_t len, struct err *);
    enum st (*punch)(struct env *, struct env_file *, uint64_t off, uint64_t len, struct err *);
    enum st (*truncate)(struct env *, struct env_file *, uint64_t size, struct err *);
    enum st (*size)(struct env *, struct env_file *, uint64_t *, struct err *);
    void (*drop_cache)(struct env *, struct env_file *, uint64_t off, uint64_t len);
    enum st (*rename)(struct env *, const char *from, const char *to, struct err *);
    enum st (*unlink)(struct env *, const char *path, struct err *);
    enum st (*mkdir)(struct env *, const char *path, struct err *);
    enum st (*rmdir)(struct env *, const char *path, struct err *);
    enum st (*dirsync)(struct env *, const char *path, struct err *);
    enum st (*list)(struct env *, const char *path, env_list_fn, void *arg, struct err *);
    enum st (*space)(struct env *, const char *path, uint64_t *free_bytes, uint64_t *total_bytes,
                     struct err *);
    enum st (*lock)(struct env *, const char *path, struct env_lock **, struct err *);
    void (*unlock)(struct env *, struct env_lock *);
    /* tasks */
    enum st (*task_start)(struct env *, const char *name, int nice, env_step_fn, void *arg,
                          struct env_task **, struct err *);
    void (*task_wake)(struct env *, struct env_task *); /* not after task_stop began */
    void (*task_stop)(struct env *, struct env_task *);
    const char *(*getenv)(struct env *, const char *name);
    uint64_t (*memory_bytes)(struct env *);
};

struct env {
    const struct env_ops *ops;
};

/* Makes the real world; env_real_destroy releases it. */
struct env *env_real_create(void);
void env_real_destroy(struct env *);

/* --- clock, random ---------------------------------------------------------------------------- */
static inline int64_t env_real_ns(struct env *e)
{
    return e->ops->real_ns(e);
}
static inline int64_t env_boot_ns(struct env *e)
{
    return e->ops->boot_ns(e);
}
static inline void env_boot_id(struct env *e, uint8_t id[16])
{
    e->ops->boot_id(e, id);
}
static inline void env_random(struct env *e, void *p, size_t n)
{
    e->ops->random(e, p, n);
}
static inline const char *env_getenv(struct env *e, const char *name)
{
    return e->ops->getenv(e, name);
}

/* The machine's memory, bytes; 0 = not known. */
static inline uint64_t env_memory_bytes(struct env *e)
{
    return e->ops->memory_bytes(e);
}

/* --- disk ------------------------------------------------------------------------------------- */
/* Opens a file. ST_NOTFOUND, ST_EXISTS, ST_DENIED, ST_NOSPACE, ST_IO. *file_out is NULL on failure.
 */
MUST_USE static inline enum st env_open(struct env *e, const char *path, unsigned flags,
                                        struct env_file **file_out, struct err *err)
{
    return e->ops->open(e, path, flags, file_out, err);
}
/* Closes; never syncs. NULL is a no-op. */
static inline void env_close(struct env *e, struct env_file *f)
{
    if (f != NULL) {
        e->ops->close(e, f);
    }
}
/* Reads up to len bytes; *got_out is less only at the end of the file. */
MUST_USE static inline enum st env_pread(struct env *e, struct env_file *f, void *buf, size_t len,
                                         uint64_t off, size_t *got_out, struct err *err)
{
    return e->ops->pread(e, f, buf, len, off, got_out, err);
}
/* Writes everything or fails (a short write is ST_IO, or ST_NOSPACE); a failed write may have
 * written a part. */
MUST_USE static inline enum st env_pwritev(struct env *e, struct env_file *f,
                                           const struct iovec *iov, int n, uint64_t off,
                                           struct err *err)
{
    return e->ops->pwritev(e, f, iov, n, off, err);
}
MUST_USE enum st env_pwrite(struct env *e, struct env_file *f, const void *buf, size_t len,
                            uint64_t off, struct err *err);
/* fdatasync. After a failure the file's unsynced pages must be taken as lost; never retry as if
 * nothing happened. */
MUST_USE static inline enum st env_datasync(struct env *e, struct env_file *f, struct err *err)
{
    return e->ops->datasync(e, f, err);
}
/* env_pwritev and env_datasync in one: when it returns, these bytes are durable. Nothing else of
 * the file may be unsynced (the simulation checks it): where the device can take them past the page
 * cache, only these are waited for. off and the whole length are multiples of 4,096 within the
 * allocated file; one caller at a time. A failure may have written a part, as for either of both.
 */
MUST_USE static inline enum st env_pwritev_sync(struct env *e, struct env_file *f,
                                                const struct iovec *iov, int n, uint64_t off,
                                                struct err *err)
{
    return e->ops->pwritev_sync(e, f, iov, n, off, err);
}
/* As env_pread and env_pwrite, but past the page cache where the file system can: for large bytes
 * that are not wanted again soon, which the cache would cost more than the device. buf, len and off
 * are multiples of 4,096. What was written is durable after env_datasync, not before. Any number of
 * readers; base_pages makes the best buffers. */
MUST_USE static inline enum st env_pread_direct(struct env *e, struct env_file *f, void *buf,
                                                size_t len, uint64_t off, size_t *got_out,
                                                struct err *err)
{
    return e->ops->pread_direct(e, f, buf, len, off, got_out, err);
}
MUST_USE static inline enum st env_pwrite_direct(struct env *e, struct env_file *f, const void *buf,
                                                 size_t len, uint64_t off, struct err *err)
{
    return e->ops->pwrite_direct(e, f, buf, len, off, err);
}
/* Reserves [off, off+len), growing the file; new bytes read as zero. */
MUST_USE static inline enum st env_fallocate(struct env *e, struct env_file *f, uint64_t off,
                                             uint64_t len, struct err *err)
{
    return e->ops->fallocate(e, f, off, len, err);
}
/* Gives the space of [off, off+len) back; the size stays, the bytes read as zero, and writing there
 * needs space again. Both on 4,096. ST_UNSUPPORTED where the file system cannot. */
MUST_USE static inline enum st env_punch(struct env *e, struct env_file *f, uint64_t off,
                                         uint64_t len, struct err *err)
{
    return e->ops->punch(e, f, off, len, err);
}
MUST_USE static inline enum st env_truncate(struct env *e, struct env_file *f, uint64_t size,
                                            struct err *err)
{
    return e->ops->truncate(e, f, size, err);
}
MUST_USE static inline enum st env_size(struct env *e, struct env_file *f, uint64_t *size_out,
                                        struct err *err)
{
    return e->ops->size(e, f, size_out, err);
}
/* Asks the OS to forget cached clean pages, so that the next read comes from the device. A hint. */
static inline void env_drop_cache(struct env *e, struct env_file *f, uint64_t off, uint64_t len)
{
    e->ops->drop_cache(e, f, off, len);
}
/* Renames, replacing an existing target. Durable only after env_dirsync of the directory (both, if
 * they differ). */
MUST_USE static inline enum st env_rename(struct env *e, const char *from, const char *to,
                                          struct err *err)
{
    return e->ops->rename(e, from, to, err);
}
MUST_USE static inline enum st env_unlink(struct env *e, const char *path, struct err *err)
{
    return e->ops->unlink(e, path, err);
}
/* Makes one directory, mode 0700. ST_EXISTS when there already. */
MUST_USE static inline enum st env_mkdir(struct env *e, const char *path, struct err *err)
{
    return e->ops->mkdir(e, path, err);
}
MUST_USE static inline enum st env_rmdir(struct env *e, const char *path, struct err *err)
{
    return e->ops->rmdir(e, path, err);
}
/* fsync of a directory: makes its entries (creates, renames, unlinks) durable. */
MUST_USE static inline enum st env_dirsync(struct env *e, const char *path, struct err *err)
{
    return e->ops->dirsync(e, path, err);
}
/* Calls fn for each entry but . and .., in no particular order (sorted in the simulation). */
MUST_USE static inline enum st env_list(struct env *e, const char *path, env_list_fn fn, void *arg,
                                        struct err *err)
{
    return e->ops->list(e, path, fn, arg, err);
}
MUST_USE static inline enum st env_space(struct env *e, const char *path, uint64_t *free_bytes_out,
                                         uint64_t *total_bytes_out, struct err *err)
{
    return e->ops->space(e, path, free_bytes_out, total_bytes_out, err);
}
/* Takes an exclusive lock on a file (made when missing) until unlock or process end, and writes our
 * pid into it. ST_BUSY names the holder's pid in err. */
MUST_USE static inline enum st env_lock_take(struct env *e, const char *path,
                                             struct env_lock **lock_out, struct err *err)
{
    return e->ops->lock(e, path, lock_out, err);
}
static inline void env_lock_release(struct env *e, struct env_lock *l)
{
    if (l != NULL) {
        e->ops->unlock(e, l);
    }
}
/* Reads a whole file of at most max bytes into *buf_out (base_malloc'ed, owned by the caller). */
MUST_USE enum st env_read_file(struct env *e, const char *path, size_t max, uint8_t **buf_out,
                               size_t *len_out, struct err *err);

/* --- tasks ------------------------------------------------------------------------------------ */
/* Starts a task. `step` does what work there is and returns how many ns it may rest:
 * ENV_STEP_AGAIN, ENV_STEP_IDLE (until woken) or a duration. Real: one thread per task. Simulated:
 * the test's scheduler calls step. A step must not wait for another task (it returns and is woken),
 * so that the simulation cannot deadlock. */
MUST_USE static inline enum st env_task_start(struct env *e, const char *name, int nice,
                                              env_step_fn step, void *arg,
                                              struct env_task **task_out, struct err *err)
{
    return e->ops->task_start(e, name, nice, step, arg, task_out, err);
}
/* Makes the task step soon; coalesces. Any thread. */
static inline void env_task_wake(struct env *e, struct env_task *t)
{
    e->ops->task_wake(e, t);
}
/* Waits for the current step to end, never steps again, frees the task. NULL is a no-op. */
static inline void env_task_stop(struct env *e, struct env_task *t)
{
    if (t != NULL) {
        e->ops->task_stop(e, t);
    }
}

#endif
