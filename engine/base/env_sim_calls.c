/* Disk calls of the simulated world: each passes the gate (counting, crash, faults), does its work
 * on the disk's volatile image and tells the trace. */
#include "engine/base/env_sim_world.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>

/* --- the gate every disk call passes --- */
enum todo { DO_ALL, DO_NOTHING, DO_PART, DO_LIE, DO_SYNC_FAIL, DO_SYNC_FAIL_CACHED };

struct call {
    struct env_sim_op op;
    enum todo todo;
    enum st forced; /* returned instead of success; ST_OK = nothing forced */
};

static bool changes_disk(enum env_sim_kind k)
{
    return k >= ENV_SIM_CREATE;
}

static void gate_crash(struct env_sim *sim, struct call *c)
{
    sim->down = true;
    c->forced = ST_IO;
    c->todo = DO_NOTHING;
    if (sim->crash_partial) {
        static const enum todo choice[] = {DO_NOTHING, DO_PART, DO_ALL};
        c->todo = choice[prng_below(&sim->rng_faults, ARRAY_LEN(choice))];
        if (c->todo == DO_PART && c->op.kind != ENV_SIM_WRITE) {
            c->todo = DO_NOTHING; /* everything else is atomic in the volatile image */
        }
    }
}

static void gate_fault(struct call *c, const struct env_sim_fault *f)
{
    bool sync = c->op.kind == ENV_SIM_DATASYNC;
    c->forced = f->st == ST_OK ? ST_IO : f->st;
    switch (f->effect) {
    case ENV_SIM_FAIL:
        c->todo = sync ? DO_SYNC_FAIL : DO_NOTHING;
        break;
    case ENV_SIM_FAIL_CACHED:
        c->todo = sync ? DO_SYNC_FAIL_CACHED : DO_NOTHING;
        break;
    case ENV_SIM_FAIL_PART:
        c->todo = c->op.kind == ENV_SIM_WRITE ? DO_PART : sync ? DO_SYNC_FAIL : DO_NOTHING;
        break;
    case ENV_SIM_FAIL_DONE:
        c->todo = DO_ALL;
        break;
    case ENV_SIM_LIE:
        c->todo =
            sync || c->op.kind == ENV_SIM_DIRSYNC || c->op.kind == ENV_SIM_WRITE ? DO_LIE : DO_ALL;
        c->forced = ST_OK;
        break;
    }
}

static bool fault_matches(struct fault *f, const struct env_sim_op *op)
{
    unsigned kinds = f->f.kinds == 0 ? ENV_SIM_CHANGES : f->f.kinds;
    if ((kinds & ENV_SIM_BIT(op->kind)) == 0) {
        return false;
    }
    if (f->f.glob != NULL && fnmatch(f->f.glob, op->path, 0) != 0 &&
        (op->path2 == NULL || fnmatch(f->f.glob, op->path2, 0) != 0)) {
        return false;
    }
    uint64_t nth = f->seen++;
    return nth >= f->f.skip && (f->f.times == 0 || nth - f->f.skip < f->f.times);
}

/* Counts the call and decides what becomes of it. ST_IO when the machine is down. */
static enum st gate(struct env_sim *sim, struct call *c, struct err *err)
{
    if (sim->down) {
        return err_set(err, ST_IO, EIO, "\"%s\": the simulated machine is down", c->op.path);
    }
    c->todo = DO_ALL;
    c->forced = ST_OK;
    if (changes_disk(c->op.kind)) {
        c->op.n = ++sim->ops;
        if (sim->crash_at != 0 && sim->ops >= sim->crash_at) {
            gate_crash(sim, c);
            return ST_OK;
        }
    }
    bool hit = false;
    for (size_t i = 0; i < sim->faults_len; i++) {
        if (fault_matches(&sim->faults[i], &c->op) && !hit) {
            hit = true; /* the first wins, the others still count */
            gate_fault(c, &sim->faults[i].f);
        }
    }
    sim->fault_hits += hit;
    return ST_OK;
}

/* Turns the call's own result and the forced one into what the caller sees, and tells the trace. */
static enum st done(struct env_sim *sim, struct call *c, enum st st, struct err *err)
{
    if (st == ST_OK && c->forced != ST_OK) {
        st = err_set(err, c->forced, c->forced == ST_NOSPACE ? ENOSPC : EIO,
                     "\"%s\": injected %s failure", c->op.path, env_sim_kind_name(c->op.kind));
    }
    c->op.result = st;
    if (sim->trace != NULL) {
        sim->trace(sim->trace_arg, &c->op);
    }
    return st;
}

const char *env_sim_kind_name(enum env_sim_kind kind)
{
    static const char *const names[ENV_SIM_KINDS] = {
        "open",     "read",   "create", "write", "datasync", "fallocate",
        "truncate", "rename", "unlink", "mkdir", "rmdir",    "dirsync"};
    ASSERT(kind < ENV_SIM_KINDS);
    return names[kind];
}

/* --- files --- */
static struct env_file *file_new(struct env_sim *sim, struct sim_inode *ino, const char *path,
                                 unsigned flags)
{
    struct env_file *f = base_calloc(1, sizeof(*f));
    f->ino = ino;
    f->path = base_strdup(path);
    f->writable = (flags & ENV_RDWR) != 0;
    sim_hold(sim->disk, ino);
    list_push_back(&sim->files, &f->link);
    return f;
}

enum st sim_open(struct env *e, const char *path, unsigned flags, struct env_file **file_out,
                 struct err *err)
{
    struct env_sim *sim = sim_of(e);
    *file_out = NULL;
    struct sim_at at;
    enum st found = sim_disk_walk(sim->disk, path, &at, NULL);
    bool create = found == ST_OK && at.ino == NULL && (flags & ENV_CREATE) != 0;
    struct call c = {.op = {.kind = create ? ENV_SIM_CREATE : ENV_SIM_OPEN, .path = path}};
    enum st st = gate(sim, &c, err);
    if (st != ST_OK) {
        return st;
    }
    if (c.todo != DO_ALL) {
        return done(sim, &c, ST_OK, err);
    }
    if (create) {
        st = sim_disk_make(sim->disk, &at, false, &at.ino, err);
    } else {
        st = sim_disk_find(sim->disk, path, &at, err);
        if (st == ST_OK && (flags & ENV_EXCL) != 0) {
            st = err_set(err, ST_EXISTS, EEXIST, "could not open \"%s\": file exists", path);
        } else if (st == ST_OK && at.ino->is_dir) {
            st = err_set(err, ST_INVALID, EISDIR, "could not open \"%s\": is a directory", path);
        }
    }
    bool ok = st == ST_OK && c.forced == ST_OK;
    st = done(sim, &c, st, err);
    if (ok) {
        *file_out = file_new(sim, at.ino, path, flags);
    }
    return st;
}

void sim_file_kill(struct env_sim *sim, struct env_file *f)
{
    if (f->ino != NULL) {
        sim_unhold(sim->disk, f->ino);
        f->ino = NULL;
    }
}

void sim_close(struct env *e, struct env_file *f)
{
    sim_file_kill(sim_of(e), f);
    list_remove(&f->link);
    base_free(f->path);
    base_free(f);
}

/* Starts a call on an open file; `writes` when it needs a writable one. */
static enum st file_gate(struct env_sim *sim, const struct env_file *f, struct call *c, bool writes,
                         struct err *err)
{
    if (f->ino == NULL) {
        return err_set(err, ST_IO, EIO, "\"%s\": opened by a process that is gone", f->path);
    }
    if (writes && !f->writable) {
        return err_set(err, ST_INVALID, EBADF, "\"%s\": opened for reading", f->path);
    }
    c->op.path = f->path;
    return gate(sim, c, err);
}

enum st sim_pread(struct env *e, struct env_file *f, void *buf, size_t len, uint64_t off,
                  size_t *got_out, struct err *err)
{
    struct env_sim *sim = sim_of(e);
    *got_out = 0;
    struct call c = {.op = {.kind = ENV_SIM_READ, .off = off, .len = len}};
    enum st st = file_gate(sim, f, &c, false, err);
    if (st != ST_OK) {
        return st;
    }
    if (c.forced == ST_OK && off < f->ino->vol.size) {
        size_t n = (size_t)u64_min(len, f->ino->vol.size - off);
        sim_image_read(&f->ino->vol, off, buf, n);
        *got_out = n;
    }
    return done(sim, &c, ST_OK, err);
}

/* A write that dies under way: what it did lies at its front and ends on a sector or anywhere
 * inside. */
static size_t part_of(struct env_sim *sim, uint64_t off, size_t len)
{
    uint64_t end = off + prng_below(&sim->rng_faults, len + 1);
    if (prng_below(&sim->rng_faults, 4) != 0) {
        end = end / 512 * 512;
    }
    return end > off ? (size_t)(end - off) : 0;
}

enum st sim_pwritev(struct env *e, struct env_file *f, const struct iovec *iov, int n, uint64_t off,
                    struct err *err)
{
    struct env_sim *sim = sim_of(e);
    size_t len = 0;
    for (int i = 0; i < n; i++) {
        len += iov[i].iov_len;
    }
    struct call c = {.op = {.kind = ENV_SIM_WRITE, .off = off, .len = len}};
    enum st st = file_gate(sim, f, &c, true, err);
    if (st != ST_OK) {
        return st;
    }
    size_t want = c.todo == DO_NOTHING ? 0 : c.todo == DO_PART ? part_of(sim, off, len) : len;
    if (want > 0) {
        uint8_t *buf = base_malloc(len);
        size_t at = 0;
        for (int i = 0; i < n; i++) {
            if (iov[i].iov_len > 0) {
                memcpy(buf + at, iov[i].iov_base, iov[i].iov_len);
            }
            at += iov[i].iov_len;
        }
        st = sim_disk_write(sim->disk, f->ino, off, buf, want, c.todo != DO_LIE, err);
        base_free(buf);
    }
    return done(sim, &c, st, err);
}

enum st sim_datasync(struct env *e, struct env_file *f, struct err *err)
{
    struct env_sim *sim = sim_of(e);
    struct call c = {.op = {.kind = ENV_SIM_DATASYNC}};
    enum st st = file_gate(sim, f, &c, false, err);
    if (st != ST_OK) {
        return st;
    }
    if (c.todo == DO_ALL) {
        sim_disk_sync(f->ino);
    } else if (c.todo == DO_SYNC_FAIL || c.todo == DO_SYNC_FAIL_CACHED) {
        struct sim_loss loss = sim_loss_draw(sim->disk, prng_next(&sim->rng_faults));
        sim_disk_sync_fail(f->ino, &loss, c.todo == DO_SYNC_FAIL_CACHED);
    }
    return done(sim, &c, st, err);
}

enum st sim_pwritev_sync(struct env *e, struct env_file *f, const struct iovec *iov, int n,
                         uint64_t off, struct err *err)
{
    ASSERT(f->ino->changes.len == 0); /* the contract */
    enum st st = sim_pwritev(e, f, iov, n, off, err);
    return st == ST_OK ? sim_datasync(e, f, err) : st;
}

/* What is not in the page cache is in the device's, which a power loss empties as well. */
enum st sim_pread_direct(struct env *e, struct env_file *f, void *buf, size_t len, uint64_t off,
                         size_t *got_out, struct err *err)
{
    ASSERT((uintptr_t)buf % BASE_PAGE == 0 && len % BASE_PAGE == 0 && off % BASE_PAGE == 0);
    return sim_pread(e, f, buf, len, off, got_out, err);
}

enum st sim_pwrite_direct(struct env *e, struct env_file *f, const void *buf, size_t len,
                          uint64_t off, struct err *err)
{
    ASSERT((uintptr_t)buf % BASE_PAGE == 0 && len % BASE_PAGE == 0 && off % BASE_PAGE == 0);
    return env_pwrite(e, f, buf, len, off, err);
}

enum st sim_fallocate(struct env *e, struct env_file *f, uint64_t off, uint64_t len,
                      struct err *err)
{
    struct env_sim *sim = sim_of(e);
    struct call c = {.op = {.kind = ENV_SIM_FALLOCATE, .off = off, .len = len}};
    enum st st = file_gate(sim, f, &c, true, err);
    if (st != ST_OK) {
        return st;
    }
    if (c.todo == DO_ALL) {
        st = sim_disk_allocate(sim->disk, f->ino, off, len, err);
    }
    return done(sim, &c, st, err);
}

/* Zeros are written, which a crash may cut short like any write; space is counted by sizes here, so
 * none comes back. */
enum st sim_punch(struct env *e, struct env_file *f, uint64_t off, uint64_t len, struct err *err)
{
    uint8_t zeros[BASE_PAGE] = {0};
    enum st st = ST_OK;
    for (uint64_t at = off; at < off + len && st == ST_OK; at += sizeof zeros) {
        struct iovec iov = {.iov_base = zeros, .iov_len = sizeof zeros};
        st = sim_pwritev(e, f, &iov, 1, at, err);
    }
    return st;
}

enum st sim_truncate(struct env *e, struct env_file *f, uint64_t size, struct err *err)
{
    struct env_sim *sim = sim_of(e);
    struct call c = {.op = {.kind = ENV_SIM_TRUNCATE, .len = size}};
    enum st st = file_gate(sim, f, &c, true, err);
    if (st != ST_OK) {
        return st;
    }
    if (size > SIM_FILE_BYTES_MAX) {
        st = err_set(err, ST_TOOBIG, EFBIG, "\"%s\": size is beyond any file", f->path);
    } else if (c.todo == DO_ALL) {
        sim_disk_truncate(sim->disk, f->ino, size);
    }
    return done(sim, &c, st, err);
}

enum st sim_size(struct env *e, struct env_file *f, uint64_t *size_out, struct err *err)
{
    if (f->ino == NULL || sim_of(e)->down) {
        return err_set(err, ST_IO, EIO, "\"%s\": the simulated machine is down", f->path);
    }
    *size_out = f->ino->vol.size;
    return ST_OK;
}

void sim_drop_cache(struct env *e, struct env_file *f, uint64_t off, uint64_t len)
{
    if (f->ino != NULL && !sim_of(e)->down) {
        sim_disk_forget(f->ino, off, len);
    }
}

/* --- directories --- */
enum st sim_rename(struct env *e, const char *from, const char *to, struct err *err)
{
    struct env_sim *sim = sim_of(e);
    struct call c = {.op = {.kind = ENV_SIM_RENAME, .path = from, .path2 = to}};
    enum st st = gate(sim, &c, err);
    if (st != ST_OK) {
        return st;
    }
    if (c.todo == DO_ALL) {
        st = sim_disk_rename(sim->disk, from, to, err);
    }
    return done(sim, &c, st, err);
}

enum st sim_unlink(struct env *e, const char *path, struct err *err)
{
    struct env_sim *sim = sim_of(e);
    struct call c = {.op = {.kind = ENV_SIM_UNLINK, .path = path}};
    enum st st = gate(sim, &c, err);
    if (st != ST_OK) {
        return st;
    }
    if (c.todo == DO_ALL) {
        st = sim_disk_unlink(sim->disk, path, err);
    }
    return done(sim, &c, st, err);
}

enum st sim_mkdir(struct env *e, const char *path, struct err *err)
{
    struct env_sim *sim = sim_of(e);
    struct call c = {.op = {.kind = ENV_SIM_MKDIR, .path = path}};
    enum st st = gate(sim, &c, err);
    if (st != ST_OK) {
        return st;
    }
    if (c.todo == DO_ALL) {
        struct sim_at at;
        struct sim_inode *ino;
        st = sim_disk_walk(sim->disk, path, &at, err);
        if (st == ST_OK) {
            st = sim_disk_make(sim->disk, &at, true, &ino, err);
        }
    }
    return done(sim, &c, st, err);
}

enum st sim_rmdir(struct env *e, const char *path, struct err *err)
{
    struct env_sim *sim = sim_of(e);
    struct call c = {.op = {.kind = ENV_SIM_RMDIR, .path = path}};
    enum st st = gate(sim, &c, err);
    if (st != ST_OK) {
        return st;
    }
    if (c.todo == DO_ALL) {
        st = sim_disk_rmdir(sim->disk, path, err);
    }
    return done(sim, &c, st, err);
}

enum st sim_dirsync(struct env *e, const char *path, struct err *err)
{
    struct env_sim *sim = sim_of(e);
    struct call c = {.op = {.kind = ENV_SIM_DIRSYNC, .path = path}};
    enum st st = gate(sim, &c, err);
    if (st != ST_OK) {
        return st;
    }
    if (c.todo == DO_ALL) {
        st = sim_disk_dirsync(sim->disk, path, err);
    }
    return done(sim, &c, st, err);
}

/* Finds a directory for a call that is not counted. */
static enum st look_at_dir(struct env_sim *sim, const char *path, struct sim_at *at,
                           struct err *err)
{
    if (sim->down) {
        return err_set(err, ST_IO, EIO, "\"%s\": the simulated machine is down", path);
    }
    return sim_disk_find(sim->disk, path, at, err);
}

enum st sim_list(struct env *e, const char *path, env_list_fn fn, void *arg, struct err *err)
{
    struct sim_at at;
    enum st st = look_at_dir(sim_of(e), path, &at, err);
    if (st != ST_OK) {
        return st;
    }
    if (!at.ino->is_dir) {
        return err_set(err, ST_INVALID, ENOTDIR, "could not list \"%s\": not a directory", path);
    }
    /* fn may remove entries; it sees those of the beginning, as readdir mostly does. */
    VEC(struct sim_entry) seen = {0};
    for (size_t i = 0; i < at.ino->vent.v.len; i++) {
        struct sim_entry en = at.ino->vent.v.items[i];
        VEC_PUSH(&seen, (struct sim_entry){.name = base_strdup(en.name), .ino = en.ino});
        sim_ref(en.ino);
    }
    for (size_t i = 0; i < seen.len; i++) {
        fn(arg, seen.items[i].name, seen.items[i].ino->is_dir);
        base_free(seen.items[i].name);
        sim_unref(seen.items[i].ino);
    }
    VEC_FREE(&seen);
    return ST_OK;
}

enum st sim_space(struct env *e, const char *path, uint64_t *free_out, uint64_t *total_out,
                  struct err *err)
{
    struct env_sim *sim = sim_of(e);
    struct sim_at at;
    enum st st = look_at_dir(sim, path, &at, err);
    if (st != ST_OK) {
        return st;
    }
    *total_out = sim->disk->total_bytes;
    *free_out = sim->disk->total_bytes - u64_min(sim->disk->total_bytes, sim->disk->used_bytes);
    return ST_OK;
}

/* --- locks --- */
enum st sim_lock(struct env *e, const char *path, struct env_lock **lock_out, struct err *err)
{
    struct env_sim *sim = sim_of(e);
    *lock_out = NULL;
    struct env_file *f;
    enum st st = sim_open(e, path, ENV_RDWR | ENV_CREATE, &f, err);
    if (st != ST_OK) {
        return st;
    }
    LIST_EACH(&sim->locks, n)
    {
        if (CONTAINER_OF(n, struct env_lock, link)->ino == f->ino) {
            char pid[24] = {0};
            sim_image_read(&f->ino->vol, 0, (uint8_t *)pid, sizeof(pid) - 1);
            pid[strcspn(pid, "\n")] = '\0';
            sim_close(e, f);
            return err_set(err, ST_BUSY, 0, "\"%s\" is held by process pid=%s", path, pid);
        }
    }
    char pid[24];
    int len = snprintf(pid, sizeof(pid), "%d\n", sim->pid);
    sim_disk_truncate(sim->disk, f->ino, 0);
    (void)sim_disk_write(sim->disk, f->ino, 0, (const uint8_t *)pid, (size_t)len, true, NULL);
    struct env_lock *l = base_calloc(1, sizeof(*l));
    l->ino = f->ino;
    sim_hold(sim->disk, l->ino);
    list_push_back(&sim->locks, &l->link);
    sim_close(e, f);
    *lock_out = l;
    return ST_OK;
}

void sim_lock_kill(struct env_sim *sim, struct env_lock *l)
{
    if (l->ino != NULL) {
        sim_unhold(sim->disk, l->ino);
        l->ino = NULL;
    }
}

void sim_unlock(struct env *e, struct env_lock *l)
{
    sim_lock_kill(sim_of(e), l);
    list_remove(&l->link);
    base_free(l);
}
