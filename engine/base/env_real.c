/* The real world: Linux system calls behind struct env. The only file that calls open(),
 * clock_gettime() & co.
 *
 * Disk calls loop over EINTR and short transfers, so callers see all or an error. Every descriptor
 * is O_CLOEXEC. Files are made 0600 and directories 0700: a store holds other people's messages.
 * Tasks are threads with all signals blocked (the main thread gets them) and a condition variable
 * as doorbell. */
#include "engine/base/env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/base.h"
#include "engine/base/mutex.h"

#define TASK_STACK_BYTES (2 * MIB) /* SQLite and zstd keep their big things on the heap */
#define TASK_REST_NS_MAX (3600 * NS_PER_S)

/* Bytes that go to the device past the page cache: what pwritev_sync copies at most. Beyond, the
 * copy costs more than the cache. */
#define DIRECT_BYTES_MAX (6 * MIB)
#define DIRECT_ALIGN 4096u
#define NO_BULK (-2)
#define BOUNCE_SMALL (128 * KIB) /* what a quiet store writes: no huge page for that */

struct env_file {
    int fd;
    char *path;     /* owned; for error texts */
    int direct_fd;  /* the same file, O_DIRECT and O_DSYNC; -1: not opened yet */
    bool no_direct; /* the file system cannot */
    bool writable;
    atomic_int bulk_fd;    /* the same file, O_DIRECT alone; -1: not opened yet, NO_BULK: cannot */
    uint8_t *bounce;       /* owned; BOUNCE_SMALL */
    uint8_t *bounce_pages; /* owned; DIRECT_BYTES_MAX; NULL before the first large write */
};

/* Of the file closed last, for the next one: its pages are there already. */
static uint8_t *_Atomic pages_kept;

struct env_lock {
    int fd;
};

struct env_task {
    env_step_fn step;
    void *arg; /* borrowed (until stop) */
    char name[16];
    int nice;
    pthread_t thread;
    struct base_mutex mutex;
    pthread_cond_t bell;
    bool woken;    /* guarded by: mutex */
    bool stopping; /* guarded by: mutex */
};

/* --- errors --- */
static enum st st_of_errno(int e)
{
    switch (e) {
    case ENOENT:
        return ST_NOTFOUND;
    case EEXIST:
        return ST_EXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return ST_DENIED;
    case ENOSPC:
    case EDQUOT:
        return ST_NOSPACE;
    case ENOMEM:
        return ST_NOMEM;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
        return ST_AGAIN;
    case EBUSY:
    case ENOTEMPTY:
        return ST_BUSY;
    case EINVAL:
    case ENAMETOOLONG:
    case ENOTDIR:
    case EISDIR:
    case EBADF:
        return ST_INVALID;
    case EFBIG:
        return ST_TOOBIG;
    case EOPNOTSUPP:
        return ST_UNSUPPORTED;
    default:
        return ST_IO;
    }
}

static enum st fail(struct err *err, int e, const char *what, const char *path)
{
    char text[128];
    /* GNU strerror_r: the result is the text, maybe not in our buffer */
    const char *reason = strerror_r(e, text, sizeof(text));
    return err_set(err, st_of_errno(e), e, "%s \"%s\": %s", what, path, reason);
}

/* --- clock, random --- */
static int64_t clock_ns(clockid_t id)
{
    struct timespec ts;
    int rc = clock_gettime(id, &ts);
    ASSERT(rc == 0);
    return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

static int64_t real_real_ns(struct env *e)
{
    (void)e;
    return clock_ns(CLOCK_REALTIME);
}

static int64_t real_boot_ns(struct env *e)
{
    (void)e;
    return clock_ns(CLOCK_BOOTTIME);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return -1;
}

static void real_boot_id(struct env *e, uint8_t id[16])
{
    (void)e;
    memset(id, 0, 16);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return; /* all zero: "unknown", which no caller may take for "the same boot" */
    }
    char text[64];
    ssize_t n = read(fd, text, sizeof(text));
    close(fd);
    size_t digits = 0;
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        int d = hex_digit(text[i]);
        if (d >= 0) {
            id[digits / 2] = (uint8_t)(id[digits / 2] << 4 | d);
            digits++;
        }
    }
}

static void real_random(struct env *e, void *p, size_t n)
{
    (void)e;
    uint8_t *out = p;
    while (n > 0) {
        ssize_t got = getrandom(out, n, 0);
        if (got < 0) {
            ASSERT(errno == EINTR);
            continue;
        }
        out += got;
        n -= (size_t)got;
    }
}

static uint64_t real_memory_bytes(struct env *e)
{
    (void)e;
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
}

static const char *real_getenv(struct env *e, const char *name)
{
    (void)e;
    return getenv(name);
}

/* --- files --- */
static int open_flags(unsigned flags)
{
    int f = O_CLOEXEC | ((flags & ENV_RDWR) != 0 ? O_RDWR : O_RDONLY);
    if ((flags & ENV_CREATE) != 0) {
        f |= O_CREAT;
    }
    if ((flags & ENV_EXCL) != 0) {
        f |= O_EXCL;
    }
    return f;
}

static int open_retry(const char *path, int flags)
{
    int fd;
    do {
        fd = open(path, flags, 0600);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static enum st real_open(struct env *e, const char *path, unsigned flags,
                         struct env_file **file_out, struct err *err)
{
    (void)e;
    *file_out = NULL;
    int fd = open_retry(path, open_flags(flags));
    if (fd < 0) {
        return fail(err, errno, "could not open", path);
    }
    struct env_file *f = base_calloc(1, sizeof(*f));
    f->fd = fd;
    f->direct_fd = -1;
    f->writable = (flags & ENV_RDWR) != 0;
    atomic_init(&f->bulk_fd, -1);
    f->path = base_strdup(path);
    *file_out = f;
    return ST_OK;
}

static void real_close(struct env *e, struct env_file *f)
{
    (void)e;
    close(f->fd);
    if (f->direct_fd >= 0) {
        close(f->direct_fd);
    }
    if (atomic_load(&f->bulk_fd) >= 0) {
        close(atomic_load(&f->bulk_fd));
    }
    base_free(f->bounce);
    if (f->bounce_pages != NULL) {
        base_pages_free(atomic_exchange(&pages_kept, f->bounce_pages), DIRECT_BYTES_MAX);
    }
    base_free(f->path);
    base_free(f);
}

static enum st real_pread(struct env *e, struct env_file *f, void *buf, size_t len, uint64_t off,
                          size_t *got_out, struct err *err)
{
    (void)e;
    uint8_t *out = buf;
    size_t done = 0;
    *got_out = 0;
    while (done < len) {
        ssize_t n = pread(f->fd, out + done, len - done, (off_t)(off + done));
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return fail(err, errno, "could not read", f->path);
        }
        if (n == 0) {
            break;
        }
        done += (size_t)n;
    }
    *got_out = done;
    return ST_OK;
}

/* Takes n bytes off the front of the vector. */
static void iov_advance(struct iovec **iov, int *count, size_t n)
{
    while (*count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        (*count)--;
    }
    if (n > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

static enum st write_some(struct env_file *f, struct iovec *iov, int count, uint64_t off,
                          struct err *err)
{
    iov_advance(&iov, &count,
                0); /* drops empty leading entries: a zero return then means no progress */
    while (count > 0) {
        ssize_t n = pwritev(f->fd, iov, count, (off_t)off);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return fail(err, errno, "could not write", f->path);
        }
        if (n == 0) {
            return err_set(err, ST_IO, 0, "could not write \"%s\": no progress at offset %llu",
                           f->path, (unsigned long long)off);
        }
        off += (uint64_t)n;
        iov_advance(&iov, &count, (size_t)n);
    }
    return ST_OK;
}

static enum st real_pwritev(struct env *e, struct env_file *f, const struct iovec *iov, int n,
                            uint64_t off, struct err *err)
{
    (void)e;
    enum { BATCH = 64 }; /* a private copy, since a short write makes us change entries */
    while (n > 0) {
        struct iovec part[BATCH];
        int take = n < BATCH ? n : BATCH;
        uint64_t bytes = 0;
        for (int i = 0; i < take; i++) {
            part[i] = iov[i];
            bytes += iov[i].iov_len;
        }
        enum st st = write_some(f, part, take, off, err);
        if (st != ST_OK) {
            return st;
        }
        off += bytes;
        iov += take;
        n -= take;
    }
    return ST_OK;
}

static enum st real_datasync(struct env *e, struct env_file *f, struct err *err)
{
    (void)e;
    /* No retry on EINTR either: whether pages were dropped is then unknown. */
    return fdatasync(f->fd) == 0 ? ST_OK : fail(err, errno, "could not sync", f->path);
}

/* A second descriptor of this very file: its name may have moved on, /proc has not. */
static int open_again(const struct env_file *f, int flags)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", f->fd);
    return open_retry(path, flags | O_DIRECT | O_CLOEXEC);
}

static bool direct_ready(struct env_file *f)
{
    if (f->direct_fd < 0 && !f->no_direct) {
        f->direct_fd = open_again(f, O_RDWR | O_DSYNC);
        f->no_direct = f->direct_fd < 0;
    }
    return !f->no_direct;
}

static uint8_t *bounce_of(struct env_file *f, size_t len)
{
    if (len <= BOUNCE_SMALL) {
        f->bounce = f->bounce != NULL ? f->bounce : base_aligned(DIRECT_ALIGN, BOUNCE_SMALL);
        return f->bounce;
    }
    if (f->bounce_pages == NULL) {
        f->bounce_pages = atomic_exchange(&pages_kept, NULL);
    }
    if (f->bounce_pages == NULL) {
        f->bounce_pages = base_pages(DIRECT_BYTES_MAX);
    }
    return f->bounce_pages;
}

static enum st real_pwritev_sync(struct env *e, struct env_file *f, const struct iovec *iov, int n,
                                 uint64_t off, struct err *err)
{
    size_t len = 0;
    for (int i = 0; i < n; i++) {
        len += iov[i].iov_len;
    }
    bool aligned = len % DIRECT_ALIGN == 0 && off % DIRECT_ALIGN == 0;
    if (aligned && len <= DIRECT_BYTES_MAX && direct_ready(f)) {
        uint8_t *bounce = bounce_of(f, len);
        size_t at = 0;
        for (int i = 0; i < n; i++) {
            memcpy(bounce + at, iov[i].iov_base, iov[i].iov_len);
            at += iov[i].iov_len;
        }
        ssize_t put = pwrite(f->direct_fd, bounce, len, (off_t)off);
        if (put == (ssize_t)len) {
            return ST_OK;
        }
        if (put >= 0 || errno != EINVAL) { /* a part of it, or an error: not to be tried again */
            return put < 0 ? fail(err, errno, "could not write", f->path)
                           : err_set(err, ST_IO, 0, "could not write \"%s\": %zd of %zu bytes",
                                     f->path, put, len);
        }
        f->no_direct = true; /* it opens, but does not write: some file systems are like that */
    }
    enum st st = real_pwritev(e, f, iov, n, off, err);
    return st == ST_OK ? real_datasync(e, f, err) : st;
}

/* Readers share a file: the first to be through with opening wins. */
static int bulk_fd(struct env_file *f)
{
    int fd = atomic_load(&f->bulk_fd);
    if (fd != -1) {
        return fd;
    }
    fd = open_again(f, f->writable ? O_RDWR : O_RDONLY);
    int none = -1;
    if (!atomic_compare_exchange_strong(&f->bulk_fd, &none, fd < 0 ? NO_BULK : fd)) {
        if (fd >= 0) {
            close(fd);
        }
        return none;
    }
    return fd < 0 ? NO_BULK : fd;
}

/* A transfer that the device takes no more of (the end of the file, of the disk, or a file system
 * that only opens) goes on through the page cache, which says what is wrong. */
static enum st real_pread_direct(struct env *e, struct env_file *f, void *buf, size_t len,
                                 uint64_t off, size_t *got_out, struct err *err)
{
    int fd = bulk_fd(f);
    uint8_t *out = buf;
    size_t done = 0;
    while (fd >= 0 && done < len && done % DIRECT_ALIGN == 0) {
        ssize_t n = pread(fd, out + done, len - done, (off_t)(off + done));
        if (n == 0 || (n < 0 && errno != EINTR)) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    enum st st = real_pread(e, f, out + done, len - done, off + done, got_out, err);
    *got_out += done;
    return st;
}

static enum st real_pwrite_direct(struct env *e, struct env_file *f, const void *buf, size_t len,
                                  uint64_t off, struct err *err)
{
    int fd = bulk_fd(f);
    const uint8_t *in = buf;
    size_t done = 0;
    while (fd >= 0 && done < len && done % DIRECT_ALIGN == 0) {
        ssize_t n = pwrite(fd, in + done, len - done, (off_t)(off + done));
        if (n < 0 && errno != EINTR && errno != EINVAL) {
            return fail(err, errno, "could not write", f->path);
        }
        if (n == 0 || (n < 0 && errno == EINVAL)) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return env_pwrite(e, f, in + done, len - done, off + done, err);
}

static enum st real_fallocate(struct env *e, struct env_file *f, uint64_t off, uint64_t len,
                              struct err *err)
{
    (void)e;
    int rc;
    do {
        rc = fallocate(f->fd, 0, (off_t)off, (off_t)len);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? ST_OK : fail(err, errno, "could not allocate space for", f->path);
}

static enum st real_punch(struct env *e, struct env_file *f, uint64_t off, uint64_t len,
                          struct err *err)
{
    (void)e;
    int rc;
    do {
        rc = fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off, (off_t)len);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? ST_OK : fail(err, errno, "could not give space back of", f->path);
}

static enum st real_truncate(struct env *e, struct env_file *f, uint64_t size, struct err *err)
{
    (void)e;
    int rc;
    do {
        rc = ftruncate(f->fd, (off_t)size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 ? ST_OK : fail(err, errno, "could not truncate", f->path);
}

static enum st real_size(struct env *e, struct env_file *f, uint64_t *size_out, struct err *err)
{
    (void)e;
    struct stat sb;
    if (fstat(f->fd, &sb) != 0) {
        return fail(err, errno, "could not stat", f->path);
    }
    *size_out = (uint64_t)sb.st_size;
    return ST_OK;
}

static void real_drop_cache(struct env *e, struct env_file *f, uint64_t off, uint64_t len)
{
    (void)e;
    (void)posix_fadvise(f->fd, (off_t)off, (off_t)len, POSIX_FADV_DONTNEED);
}

/* --- directories --- */
static enum st real_rename(struct env *e, const char *from, const char *to, struct err *err)
{
    (void)e;
    return rename(from, to) == 0 ? ST_OK : fail(err, errno, "could not rename", from);
}

static enum st real_unlink(struct env *e, const char *path, struct err *err)
{
    (void)e;
    return unlink(path) == 0 ? ST_OK : fail(err, errno, "could not remove", path);
}

static enum st real_mkdir(struct env *e, const char *path, struct err *err)
{
    (void)e;
    return mkdir(path, 0700) == 0 ? ST_OK : fail(err, errno, "could not make directory", path);
}

static enum st real_rmdir(struct env *e, const char *path, struct err *err)
{
    (void)e;
    return rmdir(path) == 0 ? ST_OK : fail(err, errno, "could not remove directory", path);
}

static enum st real_dirsync(struct env *e, const char *path, struct err *err)
{
    (void)e;
    int fd = open_retry(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return fail(err, errno, "could not open directory", path);
    }
    enum st st = fsync(fd) == 0 ? ST_OK : fail(err, errno, "could not sync directory", path);
    close(fd);
    return st;
}

static bool entry_is_dir(DIR *d, const struct dirent *de)
{
    if (de->d_type != DT_UNKNOWN && de->d_type != DT_LNK) {
        return de->d_type == DT_DIR;
    }
    struct stat sb;
    return fstatat(dirfd(d), de->d_name, &sb, 0) == 0 && S_ISDIR(sb.st_mode);
}

static enum st real_list(struct env *e, const char *path, env_list_fn fn, void *arg,
                         struct err *err)
{
    (void)e;
    DIR *d = opendir(path);
    if (d == NULL) {
        return fail(err, errno, "could not list", path);
    }
    enum st st = ST_OK;
    for (;;) {
        errno = 0;
        const struct dirent *de = readdir(d);
        if (de == NULL) {
            if (errno != 0) {
                st = fail(err, errno, "could not list", path);
            }
            break;
        }
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0) {
            fn(arg, de->d_name, entry_is_dir(d, de));
        }
    }
    closedir(d);
    return st;
}

static enum st real_space(struct env *e, const char *path, uint64_t *free_out, uint64_t *total_out,
                          struct err *err)
{
    (void)e;
    struct statvfs vfs;
    if (statvfs(path, &vfs) != 0) {
        return fail(err, errno, "could not stat file system of", path);
    }
    *free_out = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    *total_out = (uint64_t)vfs.f_blocks * vfs.f_frsize;
    return ST_OK;
}

/* --- lock --- */
/* An open-file-description lock: it belongs to the descriptor, so that a second engine in the same
 * process is refused too, and goes away with the process however it ends. */
static enum st lock_fd(int fd, const char *path, struct err *err)
{
    struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &fl) == 0) {
        return ST_OK;
    }
    if (errno != EAGAIN && errno != EACCES) {
        return fail(err, errno, "could not lock", path);
    }
    char pid[24] = {0};
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
    return err_set(err, ST_BUSY, 0, "\"%s\" is held by process pid=%s", path,
                   n > 0 ? pid : "unknown");
}

static enum st real_lock(struct env *e, const char *path, struct env_lock **lock_out,
                         struct err *err)
{
    (void)e;
    *lock_out = NULL;
    int fd = open_retry(path, O_RDWR | O_CREAT | O_CLOEXEC);
    if (fd < 0) {
        return fail(err, errno, "could not open lock", path);
    }
    enum st st = lock_fd(fd, path, err);
    if (st != ST_OK) {
        close(fd);
        return st;
    }
    char pid[24];
    int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());
    /* Only to be read by humans and by ST_BUSY above; a full disk must not stop us from starting.
     */
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)n, 0) != n) {
        errno = 0;
    }
    struct env_lock *l = base_malloc(sizeof(*l));
    l->fd = fd;
    *lock_out = l;
    return ST_OK;
}

static void real_unlock(struct env *e, struct env_lock *l)
{
    (void)e;
    close(l->fd);
    base_free(l);
}

/* --- tasks --- */
static void rest(struct env_task *t, uint64_t ns)
{
    struct timespec until;
    if (ns != ENV_STEP_IDLE) {
        int64_t at = clock_ns(CLOCK_MONOTONIC) + (int64_t)u64_min(ns, (uint64_t)TASK_REST_NS_MAX);
        until.tv_sec = (time_t)(at / NS_PER_S);
        until.tv_nsec = (long)(at % NS_PER_S);
    }
    base_mutex_lock(&t->mutex);
    int rc = 0;
    while (!t->woken && !t->stopping && rc == 0) {
        rc = ns == ENV_STEP_IDLE ? base_cond_wait(&t->bell, &t->mutex)
                                 : base_cond_timedwait(&t->bell, &t->mutex, &until);
    }
    base_mutex_unlock(&t->mutex);
}

/* Takes the doorbell; false when the task must end. */
static bool answer_bell(struct env_task *t)
{
    base_mutex_lock(&t->mutex);
    t->woken = false;
    bool go_on = !t->stopping;
    base_mutex_unlock(&t->mutex);
    return go_on;
}

static void *task_main(void *arg)
{
    struct env_task *t = arg;
    (void)pthread_setname_np(pthread_self(), t->name);
    if (t->nice != 0) {
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(),
                          t->nice); /* a wish: refused without the right to it */
    }
    while (answer_bell(t)) {
        uint64_t ns = t->step(t->arg);
        if (ns != ENV_STEP_AGAIN) {
            rest(t, ns);
        }
    }
    return NULL;
}

static void task_free(struct env_task *t)
{
    pthread_cond_destroy(&t->bell);
    base_mutex_destroy(&t->mutex);
    base_free(t);
}

static struct env_task *task_new(const char *name, int nice, env_step_fn step, void *arg)
{
    struct env_task *t = base_calloc(1, sizeof(*t));
    t->step = step;
    t->arg = arg;
    t->nice = nice;
    (void)snprintf(t->name, sizeof(t->name), "%s", name);
    base_mutex_init(&t->mutex);
    pthread_condattr_t ca;
    pthread_condattr_init(&ca);
    pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
    pthread_cond_init(&t->bell, &ca);
    pthread_condattr_destroy(&ca);
    return t;
}

static enum st real_task_start(struct env *e, const char *name, int nice, env_step_fn step,
                               void *arg, struct env_task **task_out, struct err *err)
{
    (void)e;
    *task_out = NULL;
    struct env_task *t = task_new(name, nice, step, arg);
    pthread_attr_t pa;
    pthread_attr_init(&pa);
    pthread_attr_setstacksize(&pa, TASK_STACK_BYTES);
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* inherited by the new thread */
    /* The step may use *task_out (to wake itself), so it is set before the thread runs. */
    *task_out = t;
    int rc = pthread_create(&t->thread, &pa, task_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&pa);
    if (rc != 0) {
        *task_out = NULL;
        task_free(t);
        return fail(err, rc, "could not start task", name);
    }
    return ST_OK;
}

static void real_task_wake(struct env *e, struct env_task *t)
{
    (void)e;
    base_mutex_lock(&t->mutex);
    bool ring = !t->woken;
    t->woken = true;
    base_mutex_unlock(&t->mutex);
    if (ring) { /* with the mutex free, or the task would wake only to wait for it */
        pthread_cond_signal(&t->bell);
    }
}

static void real_task_stop(struct env *e, struct env_task *t)
{
    (void)e;
    ASSERT(!pthread_equal(pthread_self(), t->thread));
    base_mutex_lock(&t->mutex);
    t->stopping = true;
    pthread_cond_signal(&t->bell);
    base_mutex_unlock(&t->mutex);
    pthread_join(t->thread, NULL);
    task_free(t);
}

/* --- the world --- */
static const struct env_ops real_ops = {
    .real_ns = real_real_ns,
    .boot_ns = real_boot_ns,
    .boot_id = real_boot_id,
    .random = real_random,
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pwritev = real_pwritev,
    .datasync = real_datasync,
    .pwritev_sync = real_pwritev_sync,
    .pread_direct = real_pread_direct,
    .pwrite_direct = real_pwrite_direct,
    .fallocate = real_fallocate,
    .punch = real_punch,
    .truncate = real_truncate,
    .size = real_size,
    .drop_cache = real_drop_cache,
    .rename = real_rename,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .rmdir = real_rmdir,
    .dirsync = real_dirsync,
    .list = real_list,
    .space = real_space,
    .lock = real_lock,
    .unlock = real_unlock,
    .task_start = real_task_start,
    .task_wake = real_task_wake,
    .task_stop = real_task_stop,
    .getenv = real_getenv,
    .memory_bytes = real_memory_bytes,
};

struct env *env_real_create(void)
{
    struct env *e = base_malloc(sizeof(*e));
    e->ops = &real_ops;
    return e;
}

void env_real_destroy(struct env *e)
{
    base_pages_free(atomic_exchange(&pages_kept, NULL), DIRECT_BYTES_MAX);
    base_free(e);
}
