/* Looking at the simulated disk and damaging it, behind the back of the program. */
#include "engine/base/env_sim_world.h"

#include <stdio.h>

static enum st look_at_file(struct env_sim *sim, const char *path, struct sim_inode **ino_out)
{
    struct sim_at at;
    enum st st = sim_disk_find(sim->disk, path, &at, NULL);
    *ino_out = at.ino;
    return st == ST_OK && at.ino->is_dir ? ST_INVALID : st;
}

enum st env_sim_file_size(struct env_sim *sim, const char *path, uint64_t *size_out)
{
    struct sim_inode *ino;
    enum st st = look_at_file(sim, path, &ino);
    if (st == ST_OK) {
        *size_out = ino->vol.size;
    }
    return st;
}

enum st env_sim_file_read(struct env_sim *sim, const char *path, uint64_t off, void *buf,
                          size_t len)
{
    struct sim_inode *ino;
    enum st st = look_at_file(sim, path, &ino);
    if (st == ST_OK) {
        sim_image_read(&ino->vol, off, buf, len);
    }
    return st;
}

enum st env_sim_file_rot(struct env_sim *sim, const char *path, uint64_t off, const void *data,
                         size_t len)
{
    struct sim_inode *ino;
    enum st st = look_at_file(sim, path, &ino);
    if (st != ST_OK) {
        return st;
    }
    if (off > ino->vol.size || len > ino->vol.size - off) {
        return ST_INVALID;
    }
    sim_image_write(&ino->vol, off, data, len);
    if (off < ino->dur.size) {
        sim_image_write(&ino->dur, off, data, (size_t)u64_min(len, ino->dur.size - off));
    }
    return ST_OK;
}

enum st env_sim_flip_bit(struct env_sim *sim, const char *path, uint64_t off, unsigned bit)
{
    ASSERT(bit < 8);
    uint8_t b = 0;
    enum st st = env_sim_file_read(sim, path, off, &b, 1);
    if (st != ST_OK) {
        return st;
    }
    b = (uint8_t)(b ^ (1u << bit));
    return env_sim_file_rot(sim, path, off, &b, 1);
}

static void each_file(const struct sim_inode *dir, const char *prefix,
                      void (*fn)(void *arg, const char *path, uint64_t size), void *arg)
{
    for (size_t i = 0; i < dir->vent.v.len; i++) {
        const struct sim_entry *en = &dir->vent.v.items[i];
        size_t len = strlen(prefix) + 1 + strlen(en->name) + 1;
        char *path = base_malloc(len);
        (void)snprintf(path, len, "%s/%s", prefix, en->name);
        if (en->ino->is_dir) {
            each_file(en->ino, path, fn, arg);
        } else {
            fn(arg, path, en->ino->vol.size);
        }
        base_free(path);
    }
}

void env_sim_each_file(struct env_sim *sim, void (*fn)(void *arg, const char *path, uint64_t size),
                       void *arg)
{
    each_file(sim->disk->root, "", fn, arg);
}

bool env_sim_all_synced(struct env_sim *sim, const char *path)
{
    struct sim_at at = {0};
    if (path != NULL && sim_disk_find(sim->disk, path, &at, NULL) != ST_OK) {
        return false;
    }
    LIST_EACH(&sim->disk->inodes, n)
    {
        struct sim_inode *ino = CONTAINER_OF(n, struct sim_inode, link);
        if ((path == NULL || ino == at.ino) && ino->changes.len > 0) {
            return false;
        }
    }
    LIST_EACH(&sim->disk->dirops, n)
    {
        struct sim_dirop *op = CONTAINER_OF(n, struct sim_dirop, link);
        if (path == NULL || op->ino == at.ino || op->to_dir == at.ino || op->from_dir == at.ino) {
            return false;
        }
    }
    return true;
}
