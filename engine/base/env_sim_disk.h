/* The simulated disk: what is there (volatile: page cache and directory tree as the process sees
 * them), what a power loss would leave (durable), and the unsynced changes between the two. The
 * fault model is written in env_sim.c. Private to env_sim*.c and their tests. Single-threaded.
 *
 * Invariants
 *  1. volatile = durable with all pending changes and directory operations applied, but for pages
 * that a lost write or a failed sync left in the page cache (see sim_disk_sync_fail);
 * sim_disk_forget brings those back to the durable.
 *  2. An inode lives while a directory entry of either image, a pending operation, or an open
 * handle names it. */
#ifndef ENGINE_BASE_ENV_SIM_DISK_H
#define ENGINE_BASE_ENV_SIM_DISK_H

#include "engine/base/env_sim_image.h"
#include "engine/base/err.h"
#include "engine/base/list.h"
#include "engine/base/prng.h"
#include "engine/base/vec.h"

#define SIM_NAME_BYTES_MAX 255u

struct sim_inode;

struct sim_buf {
    unsigned refs;
    uint8_t data[];
};

enum sim_change_kind { SIM_WRITE, SIM_GROW, SIM_SHRINK };

/* A change of a file that no sync has made durable. */
struct sim_change {
    uint64_t seq; /* order over the whole disk, shared with directory operations */
    enum sim_change_kind kind;
    uint64_t off;        /* WRITE: offset; GROW, SHRINK: the new size */
    uint64_t len;        /* WRITE */
    struct sim_buf *buf; /* WRITE: shared (refcount); NULL = zeros */
};

struct sim_entry {
    char *name;            /* owned */
    struct sim_inode *ino; /* shared (refcount) */
};

struct sim_entries {
    VEC(struct sim_entry) v; /* sorted by name */
};

struct sim_inode {
    struct list_node link; /* disk->inodes */
    uint64_t id;
    unsigned refs;  /* all of invariant 2 */
    unsigned vrefs; /* volatile entries and handles: the file takes space while there is one */
    bool is_dir;
    struct sim_image vol, dur;      /* files */
    VEC(struct sim_change) changes; /* files; by seq */
    struct sim_entries vent, dent;  /* directories */
    struct sim_inode *twin;         /* only while a clone is made */
};

/* A directory operation that no dirsync has made durable: an entry set, an entry removed, or both
 * (a rename).
 */
struct sim_dirop {
    struct list_node link; /* disk->dirops, by seq */
    uint64_t seq;
    struct sim_inode *ino;               /* shared (refcount) */
    struct sim_inode *to_dir, *from_dir; /* shared (refcount); NULL when there is no such half */
    char *to_name, *from_name;           /* owned */
    bool is_rmdir;
};

struct sim_disk {
    struct list inodes;
    struct list dirops;
    struct sim_inode *root; /* shared (refcount) */
    uint64_t next_id, next_seq;
    uint64_t total_bytes, used_bytes;
};

/* How a power loss chooses among the unsynced; drawn from a seed. */
struct sim_loss {
    uint64_t seed;
    int policy;
    uint64_t cut;         /* prefix policy: seq of the last change that counts */
    unsigned keep_of_256; /* random policy */
    size_t sector_bytes;
};

struct sim_disk *sim_disk_create(uint64_t total_bytes);
/* No handle may be held. */
void sim_disk_destroy(struct sim_disk *d);
/* A copy that shares all pages; handles are not copied. */
struct sim_disk *sim_disk_clone(struct sim_disk *d);

void sim_ref(struct sim_inode *ino);
void sim_unref(struct sim_inode *ino);
/* A handle's reference: keeps an unlinked file's space in use. */
void sim_hold(struct sim_disk *d, struct sim_inode *ino);
void sim_unhold(struct sim_disk *d, struct sim_inode *ino);

/* A resolved path. `ino` is NULL when the last name does not exist. Borrowed. */
struct sim_at {
    struct sim_inode *dir, *ino; /* dir NULL: the path is the root */
    char name[SIM_NAME_BYTES_MAX + 1];
};
enum st sim_disk_walk(struct sim_disk *d, const char *path, struct sim_at *at_out, struct err *err);
/* As walk, but ST_NOTFOUND when it does not exist. */
enum st sim_disk_find(struct sim_disk *d, const char *path, struct sim_at *at_out, struct err *err);

/* Directory operations on the volatile image; each leaves a pending operation. */
enum st sim_disk_make(struct sim_disk *d, const struct sim_at *at, bool is_dir,
                      struct sim_inode **ino_out, struct err *err);
enum st sim_disk_unlink(struct sim_disk *d, const char *path, struct err *err);
enum st sim_disk_rmdir(struct sim_disk *d, const char *path, struct err *err);
enum st sim_disk_rename(struct sim_disk *d, const char *from, const char *to, struct err *err);
enum st sim_disk_dirsync(struct sim_disk *d, const char *path, struct err *err);

/* File operations. A write may be cut short by a full disk (ST_NOSPACE, a part written). `durable`
 * false: a lost write, in the page cache and never on the device. */
enum st sim_disk_write(struct sim_disk *d, struct sim_inode *ino, uint64_t off, const uint8_t *data,
                       size_t len, bool durable, struct err *err);
enum st sim_disk_allocate(struct sim_disk *d, struct sim_inode *ino, uint64_t off, uint64_t len,
                          struct err *err);
void sim_disk_truncate(struct sim_disk *d, struct sim_inode *ino, uint64_t size);
void sim_disk_sync(struct sim_inode *ino);
/* A failed fdatasync: a part reached the device, the rest never will. keep_cache: reads go on
 * showing the new bytes (ext4); else they show what is on the device (btrfs, and ext4 after
 * eviction). */
void sim_disk_sync_fail(struct sim_inode *ino, const struct sim_loss *loss, bool keep_cache);
/* Drops clean cached pages of a range. */
void sim_disk_forget(struct sim_inode *ino, uint64_t off, uint64_t len);

/* For env_sim_loss.c: applies those pending directory operations that `keep` takes, forgets the
 * others, makes the volatile tree the durable one. Frees inodes. */
typedef bool (*sim_keep_fn)(const struct sim_loss *loss, const struct sim_dirop *op);
void sim_dirops_settle(struct sim_disk *d, const struct sim_loss *loss, sim_keep_fn keep);
void sim_changes_clear(struct sim_inode *ino);
void sim_count_space(struct sim_disk *d);

struct sim_loss sim_loss_draw(struct sim_disk *d, uint64_t seed);
/* Makes a legal subset of the unsynced durable, forgets the rest; volatile = durable. No handle may
 * be open.
 */
void sim_disk_power_loss(struct sim_disk *d, const struct sim_loss *loss);

#endif
