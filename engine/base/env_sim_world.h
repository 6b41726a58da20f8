/* What the simulated world is made of. Private to env_sim*.c. */
#ifndef ENGINE_BASE_ENV_SIM_WORLD_H
#define ENGINE_BASE_ENV_SIM_WORLD_H

#include "engine/base/env_sim.h"
#include "engine/base/env_sim_disk.h"

struct env_file {
    struct list_node link; /* sim->files */
    struct sim_inode *ino; /* shared (hold); NULL: its process is dead */
    char *path;            /* owned */
    bool writable;
};

struct env_lock {
    struct list_node link; /* sim->locks */
    struct sim_inode *ino; /* shared (hold); NULL: its process is dead */
};

struct env_task {
    struct list_node link; /* sim->tasks */
    env_step_fn step;
    void *arg;
    char *name; /* owned */
    bool woken;
    bool stepping;
    bool dead;
    int64_t due_ns; /* boot clock; INT64_MAX = only when woken */
};

struct sim_var {
    char *name, *value; /* owned */
};

struct fault {
    struct env_sim_fault f;
    uint64_t seen;
};

struct env_sim {
    struct env env; /* first: struct env * is struct env_sim * */
    struct prng rng_program, rng_tasks, rng_faults, rng_boot;
    int64_t real_ns, boot_ns, tick_ns;
    uint8_t boot_id[16];
    int pid;

    struct sim_disk *disk; /* owned */
    struct list files, locks, tasks;
    VEC(struct sim_var) vars;

    uint64_t ops;
    uint64_t crash_at; /* value of ops; 0 = never */
    bool crash_partial, down;
    struct fault faults[ENV_SIM_FAULTS_MAX];
    size_t faults_len;
    uint64_t fault_hits;
    env_sim_trace_fn trace;
    void *trace_arg;
};

struct env_sim_disk {
    struct sim_disk *disk; /* owned */
};

static inline struct env_sim *sim_of(struct env *e)
{
    return (struct env_sim *)(void *)e;
}

static inline struct env_task *task_of(struct list_node *n)
{
    return CONTAINER_OF(n, struct env_task, link);
}

/* Makes handle and lock dead: their process is gone. */
void sim_file_kill(struct env_sim *sim, struct env_file *f);
void sim_lock_kill(struct env_sim *sim, struct env_lock *l);

/* The disk and task halves of struct env_ops. */
enum st sim_open(struct env *e, const char *path, unsigned flags, struct env_file **file_out,
                 struct err *err);
void sim_close(struct env *e, struct env_file *f);
enum st sim_pread(struct env *e, struct env_file *f, void *buf, size_t len, uint64_t off,
                  size_t *got_out, struct err *err);
enum st sim_pwritev(struct env *e, struct env_file *f, const struct iovec *iov, int n, uint64_t off,
                    struct err *err);
enum st sim_datasync(struct env *e, struct env_file *f, struct err *err);
enum st sim_pwritev_sync(struct env *e, struct env_file *f, const struct iovec *iov, int n,
                         uint64_t off, struct err *err);
enum st sim_pread_direct(struct env *e, struct env_file *f, void *buf, size_t len, uint64_t off,
                         size_t *got_out, struct err *err);
enum st sim_pwrite_direct(struct env *e, struct env_file *f, const void *buf, size_t len,
                          uint64_t off, struct err *err);
enum st sim_fallocate(struct env *e, struct env_file *f, uint64_t off, uint64_t len,
                      struct err *err);
enum st sim_punch(struct env *e, struct env_file *f, uint64_t off, uint64_t len, struct err *err);
enum st sim_truncate(struct env *e, struct env_file *f, uint64_t size, struct err *err);
enum st sim_size(struct env *e, struct env_file *f, uint64_t *size_out, struct err *err);
void sim_drop_cache(struct env *e, struct env_file *f, uint64_t off, uint64_t len);
enum st sim_rename(struct env *e, const char *from, const char *to, struct err *err);
enum st sim_unlink(struct env *e, const char *path, struct err *err);
enum st sim_mkdir(struct env *e, const char *path, struct err *err);
enum st sim_rmdir(struct env *e, const char *path, struct err *err);
enum st sim_dirsync(struct env *e, const char *path, struct err *err);
enum st sim_list(struct env *e, const char *path, env_list_fn fn, void *arg, struct err *err);
enum st sim_space(struct env *e, const char *path, uint64_t *free_out, uint64_t *total_out,
                  struct err *err);
enum st sim_lock(struct env *e, const char *path, struct env_lock **lock_out, struct err *err);
void sim_unlock(struct env *e, struct env_lock *l);
enum st sim_task_start(struct env *e, const char *name, int nice, env_step_fn step, void *arg,
                       struct env_task **task_out, struct err *err);
void sim_task_wake(struct env *e, struct env_task *t);
void sim_task_stop(struct env *e, struct env_task *t);

#endif
