/* What a power loss leaves: a legal subset of the unsynced, drawn from a seed without keeping
 * state, by hashing (seed, file, sector). The rules are in env_sim.c. */
#include "engine/base/env_sim_disk.h"

enum { LOSE_ALL, KEEP_ALL, PREFIX, RANDOM, LOSE_DATA, LOSE_NAMES, POLICIES };

#define SIZE_KEY UINT64_MAX /* stands for a file's size where a sector number is expected */

static uint64_t draw(const struct sim_loss *l, uint64_t a, uint64_t b)
{
    return prng_mix(l->seed + prng_mix(a * 0x9e3779b97f4a7c15ull + prng_mix(b + 1)));
}

struct sim_loss sim_loss_draw(struct sim_disk *d, uint64_t seed)
{
    struct prng p = {seed};
    struct sim_loss l = {.seed = prng_next(&p)};
    static const unsigned keep[] = {16, 128, 240};
    l.policy = (int)prng_below(&p, POLICIES + 2);
    if (l.policy >= POLICIES) {
        l.policy = RANDOM; /* the interesting one, more often */
    }
    l.keep_of_256 = keep[prng_below(&p, ARRAY_LEN(keep))];
    l.sector_bytes = prng_below(&p, 2) == 0 ? 512 : 4096;
    /* The oldest pending change bounds where a prefix may end. */
    uint64_t first = d->next_seq;
    LIST_EACH(&d->inodes, n)
    {
        const struct sim_inode *ino = CONTAINER_OF(n, struct sim_inode, link);
        if (ino->changes.len > 0) {
            first = u64_min(first, ino->changes.items[0].seq);
        }
    }
    LIST_EACH(&d->dirops, n)
    {
        first = u64_min(first, CONTAINER_OF(n, struct sim_dirop, link)->seq);
    }
    l.cut = first - 1 + prng_below(&p, d->next_seq - first + 1);
    return l;
}

/* The seq up to which a sector's (or the size's) changes reached the device. */
static uint64_t sector_cut(const struct sim_loss *l, const struct sim_inode *ino, uint64_t sector)
{
    uint64_t h = draw(l, ino->id, sector);
    switch (l->policy) {
    case LOSE_ALL:
        return 0;
    case KEEP_ALL:
    case LOSE_NAMES:
        return UINT64_MAX;
    case LOSE_DATA:
        return sector == SIZE_KEY ? UINT64_MAX : 0;
    case PREFIX:
        return (h & 1) != 0 ? l->cut : l->cut + 1; /* the change after the cut is torn */
    default:
        break;
    }
    if ((h & 255) < l->keep_of_256) {
        return UINT64_MAX;
    }
    if ((h & 256) != 0) {
        return 0;
    }
    /* The page cache was written back at some moment in between. */
    uint64_t first = ino->changes.items[0].seq;
    uint64_t last = ino->changes.items[ino->changes.len - 1].seq;
    return first - 1 + (h >> 16) % (last - first + 2);
}

/* A truncation is one step of metadata: if it happened, the old bytes are gone; if not, nothing
 * written into the space after it can be there. */
static uint64_t cut_after_shrinks(const struct sim_inode *ino, uint64_t cut, uint64_t size_cut,
                                  uint64_t sector_end)
{
    for (size_t i = 0; i < ino->changes.len; i++) {
        const struct sim_change *c = &ino->changes.items[i];
        if (c->kind == SIM_SHRINK && sector_end > c->off && c->seq > size_cut) {
            return u64_min(cut, c->seq - 1);
        }
    }
    return cut;
}

static void lose_write(struct sim_inode *ino, const struct sim_loss *l, const struct sim_change *c,
                       uint64_t size_cut)
{
    uint64_t at = c->off, end = c->off + c->len;
    while (at < end) {
        uint64_t sector = at / l->sector_bytes;
        uint64_t stop = u64_min((sector + 1) * l->sector_bytes, end);
        uint64_t cut = cut_after_shrinks(ino, sector_cut(l, ino, sector), size_cut,
                                         (sector + 1) * l->sector_bytes);
        if (c->seq <= cut) {
            sim_image_write(&ino->dur, at, c->buf == NULL ? NULL : c->buf->data + (at - c->off),
                            (size_t)(stop - at));
        }
        at = stop;
    }
}

/* Brings dur to what the device holds; changes stay. */
static void lose_changes(struct sim_inode *ino, const struct sim_loss *l)
{
    if (ino->changes.len == 0) {
        return;
    }
    uint64_t size_cut = sector_cut(l, ino, SIZE_KEY);
    uint64_t size = ino->dur.size;
    for (size_t i = 0; i < ino->changes.len; i++) {
        const struct sim_change *c = &ino->changes.items[i];
        if (c->kind == SIM_WRITE) {
            lose_write(ino, l, c, size_cut);
        } else if (c->kind == SIM_SHRINK && c->seq <= size_cut) {
            sim_image_zero_from(&ino->dur, c->off);
        }
        if (c->seq <= size_cut) {
            size = c->kind == SIM_SHRINK ? c->off : u64_max(size, c->off + c->len);
        }
    }
    sim_image_zero_from(&ino->dur, size);
    ino->dur.size = size;
}

void sim_disk_sync_fail(struct sim_inode *ino, const struct sim_loss *loss, bool keep_cache)
{
    lose_changes(ino, loss);
    sim_changes_clear(ino);
    if (!keep_cache) {
        uint64_t size = ino->vol.size;
        sim_image_fini(&ino->vol);
        sim_image_copy(&ino->vol, &ino->dur);
        ino->vol.size = size;
    }
}

static bool keep_name(const struct sim_loss *l, const struct sim_dirop *op)
{
    switch (l->policy) {
    case LOSE_ALL:
    case LOSE_NAMES:
        return false;
    case KEEP_ALL:
    case LOSE_DATA:
        return true;
    case PREFIX:
        return op->seq <= l->cut;
    default:
        return (draw(l, op->seq, 0) & 255) < l->keep_of_256;
    }
}

void sim_disk_power_loss(struct sim_disk *d, const struct sim_loss *loss)
{
    sim_dirops_settle(d, loss, keep_name);
    LIST_EACH(&d->inodes, n)
    {
        struct sim_inode *ino = CONTAINER_OF(n, struct sim_inode, link);
        lose_changes(ino, loss);
        sim_changes_clear(ino);
        sim_image_fini(&ino->vol);
        sim_image_copy(&ino->vol, &ino->dur);
    }
    sim_count_space(d);
}
