/* The deterministic twin of env_real.c: nothing here looks at the real world.
 *
 * THE FAULT MODEL. What the parts above must survive, and what they need not.
 *
 * The disk has a volatile image (page cache and directory tree, what calls see) and a durable one
 * (what a power loss leaves at worst). Between them stand unsynced changes.
 *  - A write, a growth (fallocate or a write past the end), a truncation becomes durable with
 * datasync of the file, the size with it. Data alone: datasync of a new file does not make its name
 * durable.
 *  - A create, mkdir, rename, unlink, rmdir becomes durable with dirsync of its directory; a rename
 * between two directories with dirsync of the target's. A directory that was never synced into its
 * parent goes with everything in it.
 *
 * Power loss keeps a subset, drawn by a seed from one of: nothing unsynced; everything; a prefix of
 * the order of changes, the next one torn; each sector and each name on its own chance (1/16, 1/2,
 * 15/16); all names and no data; all data and no names.
 *  - Sectors (512 or 4096 B) are atomic, and independent, within a write and across writes and
 * files. A sector holds the bytes of some moment: the durable ones, or those after any of the
 * unsynced writes to it.
 *  - A file's size is that of some moment, independent of its sectors; bytes that did not arrive
 * read as zeros (or as before). No other file's bytes ever appear. A truncation is atomic with
 * respect to the bytes it cuts.
 *  - A rename is atomic: never both names, never neither. Operations on one name keep their order;
 * a directory is not removed before what emptied it. Other directory operations survive
 * independently of each other. A process crash keeps every change; the write under way may be cut
 * at any sector. A failed datasync: a part of the unsynced reached the device, the rest never will,
 * and the next datasync says ok. Reads show either what is on the device or (cached) the new bytes,
 * until the cache is dropped. Not crash faults, only by explicit order: EIO, ENOSPC, rot of durable
 * bytes, lost writes, lying syncs. Not modelled: latency, misdirected writes (use rot), hard links,
 * symbolic links, permissions, sparse space accounting (a file takes its size). Synced data never
 * goes away by itself.
 *
 * Time stands still but when told. Randomness is four independent streams (program, scheduler,
 * faults, boot ids) of one seed, so that a test that draws more of one does not change the others.
 */
#include "engine/base/env_sim_world.h"

#define SIM_START_REAL_NS (1767225600ll * NS_PER_S) /* 2026-01-01 */
#define SIM_START_BOOT_NS (10 * NS_PER_S)
#define SIM_DISK_BYTES (64 * GIB)
#define SIM_FIRST_PID 4242

/* --- clock, random --- */
static int64_t sim_real_ns(struct env *e)
{
    struct env_sim *sim = sim_of(e);
    env_sim_advance(sim, sim->tick_ns);
    return sim->real_ns;
}

static int64_t sim_boot_ns(struct env *e)
{
    struct env_sim *sim = sim_of(e);
    env_sim_advance(sim, sim->tick_ns);
    return sim->boot_ns;
}

static void sim_boot_id(struct env *e, uint8_t id[16])
{
    memcpy(id, sim_of(e)->boot_id, 16);
}

static void fill(struct prng *p, uint8_t *out, size_t n)
{
    while (n > 0) {
        uint64_t v = prng_next(p);
        size_t take = n < 8 ? n : 8;
        memcpy(out, &v, take);
        out += take;
        n -= take;
    }
}

static void sim_random(struct env *e, void *p, size_t n)
{
    fill(&sim_of(e)->rng_program, p, n);
}

void env_sim_advance(struct env_sim *sim, int64_t ns)
{
    ASSERT(ns >= 0);
    sim->real_ns += ns;
    sim->boot_ns += ns;
}

void env_sim_set_real_ns(struct env_sim *sim, int64_t ns)
{
    sim->real_ns = ns;
}

void env_sim_set_tick_ns(struct env_sim *sim, int64_t ns)
{
    sim->tick_ns = ns;
}

static struct sim_var *var_find(struct env_sim *sim, const char *name)
{
    for (size_t i = 0; i < sim->vars.len; i++) {
        if (strcmp(sim->vars.items[i].name, name) == 0) {
            return &sim->vars.items[i];
        }
    }
    return NULL;
}

void env_sim_setenv(struct env_sim *sim, const char *name, const char *value)
{
    struct sim_var *v = var_find(sim, name);
    if (v == NULL) {
        VEC_PUSH(&sim->vars, (struct sim_var){.name = base_strdup(name)});
        v = &sim->vars.items[sim->vars.len - 1];
    }
    base_free(v->value);
    v->value = value == NULL ? NULL : base_strdup(value);
}

static uint64_t sim_memory_bytes(struct env *e)
{
    (void)e;
    return (uint64_t)4 << 30;
}

static const char *sim_getenv(struct env *e, const char *name)
{
    const struct sim_var *v = var_find(sim_of(e), name);
    return v == NULL ? NULL : v->value;
}

/* --- crash --- */
void env_sim_crash_at(struct env_sim *sim, uint64_t n, bool partial)
{
    sim->crash_at = n == 0 ? 0 : sim->ops + n;
    sim->crash_partial = partial;
}

bool env_sim_down(struct env_sim *sim)
{
    return sim->down;
}

/* Everything the process had open is dead; the objects stay until their owner closes them. */
static void kill_process(struct env_sim *sim)
{
    LIST_EACH(&sim->files, n)
    {
        sim_file_kill(sim, CONTAINER_OF(n, struct env_file, link));
    }
    LIST_EACH(&sim->locks, n)
    {
        sim_lock_kill(sim, CONTAINER_OF(n, struct env_lock, link));
    }
    LIST_EACH(&sim->tasks, n)
    {
        task_of(n)->dead = true;
    }
    sim->pid++;
    sim->down = false;
    sim->crash_at = 0;
}

static void boot(struct env_sim *sim)
{
    fill(&sim->rng_boot, sim->boot_id, sizeof(sim->boot_id));
    sim->boot_ns = SIM_START_BOOT_NS;
}

void env_sim_power_loss(struct env_sim *sim, uint64_t seed)
{
    kill_process(sim);
    struct sim_loss loss = sim_loss_draw(sim->disk, seed);
    sim_disk_power_loss(sim->disk, &loss);
    boot(sim);
}

void env_sim_process_crash(struct env_sim *sim)
{
    kill_process(sim);
}

/* --- faults --- */
void env_sim_fault(struct env_sim *sim, const struct env_sim_fault *fault)
{
    ASSERT(sim->faults_len < ENV_SIM_FAULTS_MAX);
    sim->faults[sim->faults_len++] = (struct fault){.f = *fault};
}

void env_sim_faults_clear(struct env_sim *sim)
{
    sim->faults_len = 0;
    sim->fault_hits = 0;
}

uint64_t env_sim_fault_hits(struct env_sim *sim)
{
    return sim->fault_hits;
}

void env_sim_set_disk_bytes(struct env_sim *sim, uint64_t total)
{
    sim->disk->total_bytes = total;
}

uint64_t env_sim_used_bytes(struct env_sim *sim)
{
    return sim->disk->used_bytes;
}

void env_sim_set_trace(struct env_sim *sim, env_sim_trace_fn fn, void *arg)
{
    sim->trace = fn;
    sim->trace_arg = arg;
}

uint64_t env_sim_ops(struct env_sim *sim)
{
    return sim->ops;
}

/* --- the world --- */
static const struct env_ops sim_ops = {
    .real_ns = sim_real_ns,
    .boot_ns = sim_boot_ns,
    .boot_id = sim_boot_id,
    .random = sim_random,
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwritev = sim_pwritev,
    .datasync = sim_datasync,
    .pwritev_sync = sim_pwritev_sync,
    .pread_direct = sim_pread_direct,
    .pwrite_direct = sim_pwrite_direct,
    .fallocate = sim_fallocate,
    .punch = sim_punch,
    .truncate = sim_truncate,
    .size = sim_size,
    .drop_cache = sim_drop_cache,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .mkdir = sim_mkdir,
    .rmdir = sim_rmdir,
    .dirsync = sim_dirsync,
    .list = sim_list,
    .space = sim_space,
    .lock = sim_lock,
    .unlock = sim_unlock,
    .task_start = sim_task_start,
    .task_wake = sim_task_wake,
    .task_stop = sim_task_stop,
    .getenv = sim_getenv,
    .memory_bytes = sim_memory_bytes,
};

struct env_sim *env_sim_create(uint64_t seed)
{
    struct env_sim *sim = base_calloc(1, sizeof(*sim));
    sim->env.ops = &sim_ops;
    struct prng p = {seed};
    sim->rng_program.state = prng_next(&p);
    sim->rng_tasks.state = prng_next(&p);
    sim->rng_faults.state = prng_next(&p);
    sim->rng_boot.state = prng_next(&p);
    sim->real_ns = SIM_START_REAL_NS;
    sim->pid = SIM_FIRST_PID;
    list_init(&sim->files);
    list_init(&sim->locks);
    list_init(&sim->tasks);
    sim->disk = sim_disk_create(SIM_DISK_BYTES);
    boot(sim);
    return sim;
}

void env_sim_destroy(struct env_sim *sim)
{
    if (sim == NULL) {
        return;
    }
    struct list_node *n;
    while ((n = list_first(&sim->files)) != NULL) {
        sim_close(&sim->env, CONTAINER_OF(n, struct env_file, link));
    }
    while ((n = list_first(&sim->locks)) != NULL) {
        sim_unlock(&sim->env, CONTAINER_OF(n, struct env_lock, link));
    }
    while ((n = list_first(&sim->tasks)) != NULL) {
        sim_task_stop(&sim->env, task_of(n));
    }
    for (size_t i = 0; i < sim->vars.len; i++) {
        base_free(sim->vars.items[i].name);
        base_free(sim->vars.items[i].value);
    }
    VEC_FREE(&sim->vars);
    sim_disk_destroy(sim->disk);
    base_free(sim);
}

struct env *env_sim_env(struct env_sim *sim)
{
    return &sim->env;
}

/* --- saved disks --- */
struct env_sim_disk *env_sim_disk_save(struct env_sim *sim)
{
    struct env_sim_disk *saved = base_malloc(sizeof(*saved));
    saved->disk = sim_disk_clone(sim->disk);
    return saved;
}

void env_sim_disk_load(struct env_sim *sim, const struct env_sim_disk *saved)
{
    kill_process(sim);
    sim_disk_destroy(sim->disk);
    sim->disk = sim_disk_clone(saved->disk);
}

void env_sim_disk_free(struct env_sim_disk *saved)
{
    if (saved != NULL) {
        sim_disk_destroy(saved->disk);
        base_free(saved);
    }
}
