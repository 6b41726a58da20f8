/* The deterministic world: clock, disk, randomness and tasks for tests, all drawn from one seed.
 * What the disk may lose is written at the top of env_sim.c. Single-threaded: every call from one
 * thread, steps included.
 *
 * A crash test, in words:
 *     sim = env_sim_create(seed); run the scenario once, count env_sim_ops(sim) = N
 *     for n in 1..N: new sim, env_sim_crash_at(sim, n, partial), run the scenario (its calls fail
 * from op n on), drop the engine (closing handles and stopping tasks works as ever),
 * env_sim_power_loss(sim, seed), open the engine again, check or cheaper, one run: in the trace
 * hook, env_sim_disk_save after each op; later, for each saved disk, a new sim, env_sim_disk_load,
 * env_sim_power_loss, open, check. */
#ifndef ENGINE_BASE_ENV_SIM_H
#define ENGINE_BASE_ENV_SIM_H

#include "engine/base/env.h"

struct env_sim;
struct env_sim_disk; /* a saved disk */

struct env_sim *env_sim_create(uint64_t seed);
/* Frees everything, handles and tasks that were never closed too. NULL is a no-op. */
void env_sim_destroy(struct env_sim *sim);
struct env *env_sim_env(struct env_sim *sim);

/* --- clock and environment --- */
void env_sim_advance(struct env_sim *sim, int64_t ns);     /* both clocks */
void env_sim_set_real_ns(struct env_sim *sim, int64_t ns); /* the wall clock alone steps */
void env_sim_set_tick_ns(struct env_sim *sim,
                         int64_t ns); /* both clocks move by this at each reading; 0 at first */
/* value NULL unsets. */
void env_sim_setenv(struct env_sim *sim, const char *name, const char *value);

/* --- tasks --- */
/* Steps one runnable task, chosen by the seed. False when none is runnable. */
bool env_sim_step_one(struct env_sim *sim);
/* Steps until nothing is runnable or max_steps are done; returns the steps done. Time stands still.
 */
uint64_t env_sim_run(struct env_sim *sim, uint64_t max_steps);
bool env_sim_idle(struct env_sim *sim);
/* boot_ns at which the next resting task wants to step; INT64_MAX = none. */
int64_t env_sim_next_timer_ns(struct env_sim *sim);
/* Moves time to the next timer; false when there is none. */
bool env_sim_advance_to_timer(struct env_sim *sim);
/* Runs, moving time whenever all rest, until done(arg) is true (checked between steps), nothing is
 * left to wait for, or max_steps are done. Returns done(arg). */
bool env_sim_run_until(struct env_sim *sim, bool (*done)(void *arg), void *arg, uint64_t max_steps);

/* --- operations: counted, traced --- */
/* The kinds from CREATE on change the disk and count as operations; OPEN and READ do not. */
enum env_sim_kind {
    ENV_SIM_OPEN,
    ENV_SIM_READ,
    ENV_SIM_CREATE, /* an open that makes the file */
    ENV_SIM_WRITE,
    ENV_SIM_DATASYNC,
    ENV_SIM_FALLOCATE,
    ENV_SIM_TRUNCATE,
    ENV_SIM_RENAME,
    ENV_SIM_UNLINK,
    ENV_SIM_MKDIR,
    ENV_SIM_RMDIR,
    ENV_SIM_DIRSYNC,
    ENV_SIM_KINDS
};
#define ENV_SIM_BIT(kind) (1u << (kind))
#define ENV_SIM_CHANGES (~0u << ENV_SIM_CREATE) /* mask of all counted kinds */
const char *env_sim_kind_name(enum env_sim_kind kind);

struct env_sim_op {
    uint64_t n; /* number of this operation, from 1; 0 for OPEN and READ */
    enum env_sim_kind kind;
    const char *path;  /* as the caller wrote it; valid during the call */
    const char *path2; /* RENAME: the target; else NULL */
    uint64_t off, len; /* WRITE, READ, FALLOCATE; TRUNCATE: len = the new size */
    enum st result;
};
typedef void (*env_sim_trace_fn)(void *arg, const struct env_sim_op *op);
/* Called after each operation. May save the disk; must not make disk calls. */
void env_sim_set_trace(struct env_sim *sim, env_sim_trace_fn fn, void *arg);
uint64_t env_sim_ops(struct env_sim *sim);

/* --- crash --- */
/* The n-th operation from now (1 = the next) is where it ends: it is not done, or, with partial,
 * maybe in part or whole (its caller is told ST_IO anyway). From then on the machine is down: disk
 * calls return ST_IO and change nothing, tasks never become runnable. 0 disarms. */
void env_sim_crash_at(struct env_sim *sim, uint64_t n, bool partial);
bool env_sim_down(struct env_sim *sim);
/* The machine loses power and starts again: a random legal subset of what was not synced survives;
 * new boot id, boot clock restarts; files, locks and tasks of the old process are dead (calls on
 * them fail, closing them works). */
void env_sim_power_loss(struct env_sim *sim, uint64_t seed);
/* The process dies (kill -9): everything written survives in the page cache; same boot. The dead as
 * above. */
void env_sim_process_crash(struct env_sim *sim);

/* --- faults --- */
enum env_sim_effect {
    ENV_SIM_FAIL, /* returns st; a datasync also loses part of the unsynced, reads then show what is
                     on the device */
    ENV_SIM_FAIL_CACHED, /* datasync: the same, but reads go on showing the new bytes until
                            env_drop_cache or a restart */
    ENV_SIM_FAIL_PART,   /* a write does a part first; others as FAIL */
    ENV_SIM_FAIL_DONE,   /* does it, then says st */
    ENV_SIM_LIE, /* says ST_OK: a sync that does nothing, a write that never reaches the device */
};
struct env_sim_fault {
    unsigned kinds;   /* mask of ENV_SIM_BIT; 0 = ENV_SIM_CHANGES */
    const char *glob; /* borrowed (until cleared); fnmatch(3) pattern of the path; NULL = any */
    uint64_t skip;    /* matching calls that pass first */
    uint64_t times;   /* matching calls that fail after these; 0 = all */
    enum env_sim_effect effect;
    enum st st; /* ST_OK here means ST_IO */
};
#define ENV_SIM_FAULTS_MAX 16u
void env_sim_fault(struct env_sim *sim, const struct env_sim_fault *fault);
void env_sim_faults_clear(struct env_sim *sim);
/* Calls that met a fault since the last clear: 0 ends a fault sweep. */
uint64_t env_sim_fault_hits(struct env_sim *sim);
/* Size of the disk (default 64 GiB): growing writes and allocations beyond it get ST_NOSPACE. */
void env_sim_set_disk_bytes(struct env_sim *sim, uint64_t total);
uint64_t env_sim_used_bytes(struct env_sim *sim);

/* --- looking at and damaging the disk; not counted, not traced, work while down --- */
/* ST_NOTFOUND when the file is not there. */
enum st env_sim_file_size(struct env_sim *sim, const char *path, uint64_t *size_out);
/* Reads what a process sees (volatile), zeros past the end. */
enum st env_sim_file_read(struct env_sim *sim, const char *path, uint64_t off, void *buf,
                          size_t len);
/* Overwrites on the device and in the cache, past no bookkeeping: rot. Beyond the size it is
 * refused (ST_INVALID). */
enum st env_sim_file_rot(struct env_sim *sim, const char *path, uint64_t off, const void *data,
                         size_t len);
/* Flips bit 0..7 of one byte. */
enum st env_sim_flip_bit(struct env_sim *sim, const char *path, uint64_t off, unsigned bit);
/* Calls fn for every file, depth first and sorted, with its whole path ("/a/b"). */
void env_sim_each_file(struct env_sim *sim, void (*fn)(void *arg, const char *path, uint64_t size),
                       void *arg);
/* True when nothing on the disk waits for a sync (of this path alone, when given). */
bool env_sim_all_synced(struct env_sim *sim, const char *path);

/* --- saved disks --- */
/* Copies the whole disk, unsynced things included, sharing all pages; cheap. Any number, any order
 * of freeing. */
struct env_sim_disk *env_sim_disk_save(struct env_sim *sim);
/* Replaces the disk by a copy of a saved one, of this or another sim. Open handles die. Clears
 * `down`. */
void env_sim_disk_load(struct env_sim *sim, const struct env_sim_disk *saved);
void env_sim_disk_free(struct env_sim_disk *saved);

#endif
