#include "engine/base/env_sim_disk.h"

#include <errno.h>

/* --- entries of a directory --- */
static size_t entry_slot(const struct sim_entries *es, const char *name, bool *found_out)
{
    size_t lo = 0, hi = es->v.len;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(es->v.items[mid].name, name);
        if (c == 0) {
            *found_out = true;
            return mid;
        }
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    *found_out = false;
    return lo;
}

static struct sim_inode *entry_get(const struct sim_entries *es, const char *name)
{
    bool found;
    size_t i = entry_slot(es, name, &found);
    return found ? es->v.items[i].ino : NULL;
}

static void entry_set(struct sim_entries *es, const char *name, struct sim_inode *ino)
{
    bool found;
    size_t i = entry_slot(es, name, &found);
    sim_ref(ino);
    if (found) {
        sim_unref(es->v.items[i].ino);
        es->v.items[i].ino = ino;
        return;
    }
    VEC_PUSH(&es->v, (struct sim_entry){0});
    memmove(es->v.items + i + 1, es->v.items + i, (es->v.len - 1 - i) * sizeof(struct sim_entry));
    es->v.items[i] = (struct sim_entry){.name = base_strdup(name), .ino = ino};
}

static void entry_remove(struct sim_entries *es, const char *name)
{
    bool found;
    size_t i = entry_slot(es, name, &found);
    if (found) {
        struct sim_entry gone = es->v.items[i];
        VEC_REMOVE(&es->v, i);
        base_free(gone.name);
        sim_unref(gone.ino);
    }
}

static void entries_clear(struct sim_entries *es)
{
    while (es->v.len > 0) {
        struct sim_entry gone = es->v.items[--es->v.len];
        base_free(gone.name);
        sim_unref(gone.ino);
    }
    VEC_FREE(&es->v);
}

static void entries_copy(struct sim_entries *to, const struct sim_entries *from)
{
    for (size_t i = 0; i < from->v.len; i++) {
        struct sim_inode *ino = from->v.items[i].ino;
        sim_ref(ino);
        VEC_PUSH(&to->v,
                 (struct sim_entry){.name = base_strdup(from->v.items[i].name), .ino = ino});
    }
}

/* --- inodes --- */
void sim_changes_clear(struct sim_inode *ino)
{
    for (size_t i = 0; i < ino->changes.len; i++) {
        struct sim_buf *b = ino->changes.items[i].buf;
        if (b != NULL && --b->refs == 0) {
            base_free(b);
        }
    }
    VEC_FREE(&ino->changes);
}

static struct sim_inode *inode_new(struct sim_disk *d, bool is_dir)
{
    struct sim_inode *ino = base_calloc(1, sizeof(*ino));
    ino->id = ++d->next_id;
    ino->refs = 1;
    ino->is_dir = is_dir;
    list_push_back(&d->inodes, &ino->link);
    return ino;
}

void sim_ref(struct sim_inode *ino)
{
    ino->refs++;
}

void sim_unref(struct sim_inode *ino)
{
    ASSERT(ino->refs > 0);
    if (--ino->refs > 0) {
        return;
    }
    list_remove(&ino->link);
    sim_image_fini(&ino->vol);
    sim_image_fini(&ino->dur);
    sim_changes_clear(ino);
    entries_clear(&ino->vent);
    entries_clear(&ino->dent);
    base_free(ino);
}

static uint64_t space_of(uint64_t size)
{
    return align_up(size, BASE_PAGE);
}

/* A volatile name or handle more or less; the space follows the first and the last. */
static void vref(struct sim_disk *d, struct sim_inode *ino)
{
    if (ino->vrefs++ == 0) {
        d->used_bytes += space_of(ino->vol.size);
    }
}

static void vunref(struct sim_disk *d, struct sim_inode *ino)
{
    ASSERT(ino->vrefs > 0);
    if (--ino->vrefs == 0) {
        d->used_bytes -= space_of(ino->vol.size);
    }
}

void sim_hold(struct sim_disk *d, struct sim_inode *ino)
{
    sim_ref(ino);
    vref(d, ino);
}

void sim_unhold(struct sim_disk *d, struct sim_inode *ino)
{
    vunref(d, ino);
    sim_unref(ino);
}

static void set_vol_size(struct sim_disk *d, struct sim_inode *ino, uint64_t size)
{
    ASSERT(size <= SIM_FILE_BYTES_MAX);
    if (ino->vrefs > 0) {
        d->used_bytes += space_of(size);
        d->used_bytes -= space_of(ino->vol.size);
    }
    ino->vol.size = size;
}

/* --- the disk --- */
struct sim_disk *sim_disk_create(uint64_t total_bytes)
{
    struct sim_disk *d = base_malloc(sizeof(*d));
    *d = (struct sim_disk){.total_bytes = total_bytes, .next_seq = 1};
    list_init(&d->inodes);
    list_init(&d->dirops);
    d->root = inode_new(d, true);
    vref(d, d->root);
    return d;
}

static void dirop_free(struct sim_dirop *op)
{
    list_remove(&op->link);
    sim_unref(op->ino);
    if (op->to_dir != NULL) {
        sim_unref(op->to_dir);
    }
    if (op->from_dir != NULL) {
        sim_unref(op->from_dir);
    }
    base_free(op->to_name);
    base_free(op->from_name);
    base_free(op);
}

static struct sim_dirop *dirop_of(struct list_node *n)
{
    return CONTAINER_OF(n, struct sim_dirop, link);
}

static struct sim_inode *inode_of(struct list_node *n)
{
    return CONTAINER_OF(n, struct sim_inode, link);
}

static void dirops_clear(struct sim_disk *d)
{
    struct list_node *n;
    while ((n = list_first(&d->dirops)) != NULL) {
        dirop_free(dirop_of(n));
    }
}

void sim_disk_destroy(struct sim_disk *d)
{
    dirops_clear(d);
    sim_unref(d->root);
    ASSERT(list_empty(&d->inodes)); /* a handle is still held */
    base_free(d);
}

static void entries_clone(struct sim_entries *to, const struct sim_entries *from)
{
    for (size_t i = 0; i < from->v.len; i++) {
        struct sim_inode *ino = from->v.items[i].ino->twin;
        sim_ref(ino);
        VEC_PUSH(&to->v,
                 (struct sim_entry){.name = base_strdup(from->v.items[i].name), .ino = ino});
    }
}

static void inode_clone_content(const struct sim_inode *from)
{
    struct sim_inode *ino = from->twin;
    sim_image_copy(&ino->vol, &from->vol);
    sim_image_copy(&ino->dur, &from->dur);
    for (size_t i = 0; i < from->changes.len; i++) {
        if (from->changes.items[i].buf != NULL) {
            from->changes.items[i].buf->refs++;
        }
        VEC_PUSH(&ino->changes, from->changes.items[i]);
    }
    entries_clone(&ino->vent, &from->vent);
    entries_clone(&ino->dent, &from->dent);
    for (size_t i = 0; i < ino->vent.v.len; i++) {
        ino->vent.v.items[i].ino->vrefs++; /* space is counted below, when all sizes are known */
    }
}

static struct sim_inode *twin_ref(struct sim_inode *ino)
{
    if (ino == NULL) {
        return NULL;
    }
    sim_ref(ino->twin);
    return ino->twin;
}

static void dirop_clone(struct sim_disk *to, const struct sim_dirop *from)
{
    struct sim_dirop *op = base_calloc(1, sizeof(*op));
    op->seq = from->seq;
    op->is_rmdir = from->is_rmdir;
    op->ino = twin_ref(from->ino);
    op->to_dir = twin_ref(from->to_dir);
    op->from_dir = twin_ref(from->from_dir);
    op->to_name = from->to_name == NULL ? NULL : base_strdup(from->to_name);
    op->from_name = from->from_name == NULL ? NULL : base_strdup(from->from_name);
    list_push_back(&to->dirops, &op->link);
}

void sim_count_space(struct sim_disk *d)
{
    d->used_bytes = 0;
    LIST_EACH(&d->inodes, n)
    {
        d->used_bytes += inode_of(n)->vrefs > 0 ? space_of(inode_of(n)->vol.size) : 0;
    }
}

struct sim_disk *sim_disk_clone(struct sim_disk *d)
{
    struct sim_disk *to = base_malloc(sizeof(*to));
    *to = (struct sim_disk){.total_bytes = d->total_bytes, .next_seq = d->next_seq};
    list_init(&to->inodes);
    list_init(&to->dirops);
    LIST_EACH(&d->inodes, n)
    {
        struct sim_inode *from = inode_of(n);
        from->twin = inode_new(to, from->is_dir);
        from->twin->id =
            from->id; /* power loss draws by id: a clone loses what the original would */
    }
    to->next_id = d->next_id;
    to->root = d->root->twin;
    sim_ref(to->root);
    to->root->vrefs++;
    LIST_EACH(&d->inodes, n)
    {
        inode_clone_content(inode_of(n));
    }
    LIST_EACH(&d->dirops, n)
    {
        dirop_clone(to, dirop_of(n));
    }
    LIST_EACH(&d->inodes, n)
    {
        struct sim_inode *twin = inode_of(n)->twin;
        inode_of(n)->twin = NULL;
        sim_unref(twin); /* the birth reference; a file known to handles only ends here */
    }
    sim_count_space(to);
    return to;
}

/* --- paths --- */
/* Takes the next component into name; false at the end. */
static bool next_name(const char **path, char *name, size_t *len_out)
{
    const char *p = *path;
    for (;;) {
        p += strspn(p, "/");
        size_t n = strcspn(p, "/");
        *len_out = n;
        if (n == 0) {
            return false;
        }
        if (n == 1 && p[0] == '.') {
            p++;
            continue;
        }
        if (n <= SIM_NAME_BYTES_MAX) {
            memcpy(name, p, n);
            name[n] = '\0';
        }
        *path = p + n;
        return true;
    }
}

enum st sim_disk_walk(struct sim_disk *d, const char *path, struct sim_at *at_out, struct err *err)
{
    const char *p = path;
    size_t len;
    *at_out = (struct sim_at){.ino = d->root};
    char name[SIM_NAME_BYTES_MAX + 1];
    while (next_name(&p, name, &len)) {
        if (len > SIM_NAME_BYTES_MAX || strcmp(name, "..") == 0) {
            return err_set(err, ST_INVALID, EINVAL, "path \"%s\": name too long, or ..", path);
        }
        if (at_out->ino == NULL) {
            return err_set(err, ST_NOTFOUND, ENOENT, "path \"%s\": no such directory", path);
        }
        if (!at_out->ino->is_dir) {
            return err_set(err, ST_INVALID, ENOTDIR, "path \"%s\": not a directory", path);
        }
        at_out->dir = at_out->ino;
        at_out->ino = entry_get(&at_out->dir->vent, name);
        memcpy(at_out->name, name, len + 1);
    }
    return ST_OK;
}

enum st sim_disk_find(struct sim_disk *d, const char *path, struct sim_at *at_out, struct err *err)
{
    enum st st = sim_disk_walk(d, path, at_out, err);
    if (st == ST_OK && at_out->ino == NULL) {
        st = err_set(err, ST_NOTFOUND, ENOENT, "\"%s\": no such file or directory", path);
    }
    return st;
}

/* --- directory operations --- */
static struct sim_dirop *dirop_new(struct sim_disk *d, struct sim_inode *ino)
{
    struct sim_dirop *op = base_calloc(1, sizeof(*op));
    op->seq = d->next_seq++;
    op->ino = ino;
    sim_ref(ino);
    list_push_back(&d->dirops, &op->link);
    return op;
}

static void dirop_to(struct sim_dirop *op, struct sim_inode *dir, const char *name)
{
    op->to_dir = dir;
    op->to_name = base_strdup(name);
    sim_ref(dir);
}

static void dirop_from(struct sim_dirop *op, struct sim_inode *dir, const char *name)
{
    op->from_dir = dir;
    op->from_name = base_strdup(name);
    sim_ref(dir);
}

static void vent_add(struct sim_disk *d, struct sim_inode *dir, const char *name,
                     struct sim_inode *ino)
{
    entry_set(&dir->vent, name, ino);
    vref(d, ino);
}

static void vent_remove(struct sim_disk *d, struct sim_inode *dir, const char *name)
{
    struct sim_inode *ino = entry_get(&dir->vent, name);
    ASSERT(ino != NULL);
    vunref(d, ino);
    entry_remove(&dir->vent, name);
}

enum st sim_disk_make(struct sim_disk *d, const struct sim_at *at, bool is_dir,
                      struct sim_inode **ino_out, struct err *err)
{
    if (at->ino != NULL) {
        return err_set(err, ST_EXISTS, EEXIST, "\"%s\" exists", at->name);
    }
    struct sim_inode *ino = inode_new(d, is_dir);
    vent_add(d, at->dir, at->name, ino);
    dirop_to(dirop_new(d, ino), at->dir, at->name);
    sim_unref(ino);
    *ino_out = ino;
    return ST_OK;
}

enum st sim_disk_unlink(struct sim_disk *d, const char *path, struct err *err)
{
    struct sim_at at;
    enum st st = sim_disk_find(d, path, &at, err);
    if (st != ST_OK) {
        return st;
    }
    if (at.ino->is_dir) {
        return err_set(err, ST_INVALID, EISDIR, "\"%s\" is a directory", path);
    }
    dirop_from(dirop_new(d, at.ino), at.dir, at.name);
    vent_remove(d, at.dir, at.name);
    return ST_OK;
}

enum st sim_disk_rmdir(struct sim_disk *d, const char *path, struct err *err)
{
    struct sim_at at;
    enum st st = sim_disk_find(d, path, &at, err);
    if (st != ST_OK) {
        return st;
    }
    if (!at.ino->is_dir || at.dir == NULL) {
        return err_set(err, ST_INVALID, ENOTDIR, "\"%s\" is not a directory one can remove", path);
    }
    if (at.ino->vent.v.len > 0) {
        return err_set(err, ST_BUSY, ENOTEMPTY, "directory \"%s\" is not empty", path);
    }
    struct sim_dirop *op = dirop_new(d, at.ino);
    op->is_rmdir = true;
    dirop_from(op, at.dir, at.name);
    vent_remove(d, at.dir, at.name);
    return ST_OK;
}

/* True when `dir` is `top` or lies below it. */
static bool below(const struct sim_inode *top, const struct sim_inode *dir)
{
    if (top == dir) {
        return true;
    }
    for (size_t i = 0; top->is_dir && i < top->vent.v.len; i++) {
        if (top->vent.v.items[i].ino->is_dir && below(top->vent.v.items[i].ino, dir)) {
            return true;
        }
    }
    return false;
}

static enum st rename_check(const struct sim_at *a, const struct sim_at *b, const char *from,
                            struct err *err)
{
    if (a->dir == NULL || b->dir == NULL) {
        return err_set(err, ST_BUSY, EBUSY, "could not rename \"%s\": the root", from);
    }
    if (a->ino->is_dir && below(a->ino, b->dir)) {
        return err_set(err, ST_INVALID, EINVAL, "could not rename \"%s\": into itself", from);
    }
    if (b->ino == NULL) {
        return ST_OK;
    }
    if (b->ino->is_dir != a->ino->is_dir) {
        return err_set(err, ST_INVALID, a->ino->is_dir ? ENOTDIR : EISDIR,
                       "could not rename \"%s\": other kind", from);
    }
    if (b->ino->vent.v.len > 0) {
        return err_set(err, ST_BUSY, ENOTEMPTY, "could not rename \"%s\": target is not empty",
                       from);
    }
    return ST_OK;
}

enum st sim_disk_rename(struct sim_disk *d, const char *from, const char *to, struct err *err)
{
    struct sim_at a, b;
    enum st st = sim_disk_find(d, from, &a, err);
    if (st == ST_OK) {
        st = sim_disk_walk(d, to, &b, err);
    }
    if (st == ST_OK && a.ino == b.ino) {
        return ST_OK;
    }
    if (st == ST_OK) {
        st = rename_check(&a, &b, from, err);
    }
    if (st != ST_OK) {
        return st;
    }
    struct sim_dirop *op = dirop_new(d, a.ino);
    dirop_to(op, b.dir, b.name);
    dirop_from(op, a.dir, a.name);
    if (b.ino != NULL) {
        vent_remove(d, b.dir, b.name);
    }
    vent_add(d, b.dir, b.name, op->ino);
    vent_remove(d, a.dir, a.name);
    return ST_OK;
}

/* --- durability of directory operations --- */
static bool touches(const struct sim_dirop *op, const struct sim_inode *dir, const char *name)
{
    return dir != NULL && ((op->to_dir == dir && strcmp(op->to_name, name) == 0) ||
                           (op->from_dir == dir && strcmp(op->from_name, name) == 0));
}

/* A directory that changes its parent: taken out of order, two such moves could make a loop. */
static bool moves_directory(const struct sim_dirop *op)
{
    return op->ino->is_dir && op->to_dir != NULL && op->from_dir != NULL &&
           op->to_dir != op->from_dir;
}

/* What must be durable before `op` can be: earlier operations on the same names; for the removal of
 * a directory, everything that emptied it. No file system loses a file in between. */
static bool must_precede(const struct sim_dirop *e, const struct sim_dirop *op)
{
    return touches(e, op->to_dir, op->to_name) || touches(e, op->from_dir, op->from_name) ||
           (op->is_rmdir && (e->to_dir == op->ino || e->from_dir == op->ino)) ||
           moves_directory(op);
}

static struct sim_dirop *find_preceding(struct sim_disk *d, const struct sim_dirop *op)
{
    LIST_EACH(&d->dirops, n)
    {
        struct sim_dirop *e = dirop_of(n);
        if (e == op) {
            return NULL;
        }
        if (must_precede(e, op)) {
            return e;
        }
    }
    return NULL;
}

static void dirop_apply(struct sim_disk *d, struct sim_dirop *op)
{
    struct sim_dirop *e;
    while ((e = find_preceding(d, op)) != NULL) {
        dirop_apply(d, e);
    }
    if (op->to_dir != NULL) {
        entry_set(&op->to_dir->dent, op->to_name, op->ino);
    }
    if (op->from_dir != NULL) {
        entry_remove(&op->from_dir->dent, op->from_name);
    }
    dirop_free(op);
}

enum st sim_disk_dirsync(struct sim_disk *d, const char *path, struct err *err)
{
    struct sim_at at;
    enum st st = sim_disk_find(d, path, &at, err);
    if (st != ST_OK) {
        return st;
    }
    if (!at.ino->is_dir) {
        return err_set(err, ST_INVALID, ENOTDIR, "\"%s\" is not a directory", path);
    }
    /* Applying may take earlier ones with it, so the walk starts over. A rename into another
     * directory waits for the sync of its target. */
    for (bool again = true; again;) {
        again = false;
        LIST_EACH(&d->dirops, n)
        {
            struct sim_dirop *op = dirop_of(n);
            if (op->to_dir == at.ino || (op->to_dir == NULL && op->from_dir == at.ino)) {
                dirop_apply(d, op);
                again = true;
                break;
            }
        }
    }
    return ST_OK;
}

/* Gives back the references that settling took. Frees what no durable name reaches. */
static void release_unnamed(struct sim_disk *d)
{
    LIST_EACH(&d->inodes, n)
    {
        sim_unref(
            inode_of(n)); /* frees itself and earlier ones at most: later ones are still held */
    }
}

void sim_dirops_settle(struct sim_disk *d, const struct sim_loss *loss, sim_keep_fn keep)
{
    /* The decision is taken per operation, before any is applied: applying one may take earlier
     * ones with it.
     */
    for (bool again = true; again;) {
        again = false;
        LIST_EACH(&d->dirops, n)
        {
            if (keep(loss, dirop_of(n))) {
                dirop_apply(d, dirop_of(n));
                again = true;
                break;
            }
        }
    }
    dirops_clear(d);
    /* All inodes are held meanwhile, so that the list does not change under the walk. */
    LIST_EACH(&d->inodes, n)
    {
        sim_ref(inode_of(n));
        inode_of(n)->vrefs = 0;
    }
    LIST_EACH(&d->inodes, n)
    {
        struct sim_inode *ino = inode_of(n);
        entries_clear(&ino->vent);
        entries_copy(&ino->vent, &ino->dent);
    }
    release_unnamed(d);
    d->root->vrefs = 1;
    LIST_EACH(&d->inodes, n)
    {
        for (size_t i = 0; i < inode_of(n)->vent.v.len; i++) {
            inode_of(n)->vent.v.items[i].ino->vrefs++;
        }
    }
}

/* --- files --- */
static void change_add(struct sim_disk *d, struct sim_inode *ino, struct sim_change c)
{
    c.seq = d->next_seq++;
    VEC_PUSH(&ino->changes, c);
}

static struct sim_buf *buf_of(const uint8_t *data, size_t len)
{
    if (len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0)) {
        return NULL;
    }
    struct sim_buf *b = base_malloc(sizeof(*b) + len);
    b->refs = 1;
    memcpy(b->data, data, len);
    return b;
}

/* How far the file may end on this disk. */
static uint64_t end_max(const struct sim_disk *d, const struct sim_inode *ino)
{
    uint64_t have = space_of(ino->vol.size);
    return have + (d->total_bytes > d->used_bytes
                       ? (d->total_bytes - d->used_bytes) / BASE_PAGE * BASE_PAGE
                       : 0);
}

enum st sim_disk_write(struct sim_disk *d, struct sim_inode *ino, uint64_t off, const uint8_t *data,
                       size_t len, bool durable, struct err *err)
{
    enum st st = ST_OK;
    if (len == 0) {
        return ST_OK;
    }
    if (off > SIM_FILE_BYTES_MAX || len > SIM_FILE_BYTES_MAX - off) {
        return err_set(err, ST_TOOBIG, EFBIG, "offset %llu is beyond any file",
                       (unsigned long long)off);
    }
    uint64_t end = u64_min(off + len, end_max(d, ino));
    if (end < off + len) {
        st = err_set(err, ST_NOSPACE, ENOSPC, "no space left on the simulated disk");
        if (end <= off) {
            return st;
        }
        len = (size_t)(end - off);
    }
    sim_image_write(&ino->vol, off, data, len);
    set_vol_size(d, ino, u64_max(ino->vol.size, end));
    if (durable) {
        change_add(d, ino,
                   (struct sim_change){
                       .kind = SIM_WRITE, .off = off, .len = len, .buf = buf_of(data, len)});
    } else {
        change_add(
            d, ino,
            (struct sim_change){.kind = SIM_GROW, .off = end}); /* the size is metadata: not lost */
    }
    return st;
}

enum st sim_disk_allocate(struct sim_disk *d, struct sim_inode *ino, uint64_t off, uint64_t len,
                          struct err *err)
{
    if (len == 0) {
        return err_set(err, ST_INVALID, EINVAL, "allocation of nothing");
    }
    if (off > SIM_FILE_BYTES_MAX || len > SIM_FILE_BYTES_MAX - off) {
        return err_set(err, ST_TOOBIG, EFBIG, "offset %llu is beyond any file",
                       (unsigned long long)off);
    }
    if (off + len > end_max(d, ino)) {
        return err_set(err, ST_NOSPACE, ENOSPC, "no space left on the simulated disk");
    }
    if (off + len > ino->vol.size) {
        set_vol_size(d, ino, off + len);
        change_add(d, ino, (struct sim_change){.kind = SIM_GROW, .off = off + len});
    }
    return ST_OK;
}

void sim_disk_truncate(struct sim_disk *d, struct sim_inode *ino, uint64_t size)
{
    if (size == ino->vol.size) {
        return;
    }
    bool shrink = size < ino->vol.size;
    if (shrink) {
        sim_image_zero_from(&ino->vol, size);
    }
    set_vol_size(d, ino, size);
    change_add(d, ino, (struct sim_change){.kind = shrink ? SIM_SHRINK : SIM_GROW, .off = size});
}

/* Calls for each page of a write. */
static void share_pages(struct sim_image *to, const struct sim_image *from, uint64_t off,
                        uint64_t len)
{
    for (uint64_t i = off / BASE_PAGE; i <= (off + len - 1) / BASE_PAGE; i++) {
        sim_image_share_page(to, from, i);
    }
}

void sim_disk_sync(struct sim_inode *ino)
{
    for (size_t i = 0; i < ino->changes.len; i++) {
        const struct sim_change *c = &ino->changes.items[i];
        if (c->kind == SIM_SHRINK) {
            sim_image_zero_from(&ino->dur, c->off);
        } else if (c->kind == SIM_WRITE) {
            share_pages(&ino->dur, &ino->vol, c->off, c->len);
        }
    }
    ino->dur.size = ino->vol.size;
    sim_changes_clear(ino);
}

static bool page_is_dirty(const struct sim_inode *ino, uint64_t index)
{
    uint64_t from = index * BASE_PAGE, to = from + BASE_PAGE;
    for (size_t k = 0; k < ino->changes.len; k++) {
        const struct sim_change *c = &ino->changes.items[k];
        if (c->kind == SIM_WRITE ? c->off < to && c->off + c->len > from
                                 : c->kind == SIM_SHRINK && c->off < to) {
            return true;
        }
    }
    return false;
}

void sim_disk_forget(struct sim_inode *ino, uint64_t off, uint64_t len)
{
    uint64_t end = len == 0 ? SIM_FILE_BYTES_MAX : off + len;
    uint64_t pages = align_up(u64_min(end, ino->vol.size), BASE_PAGE) / BASE_PAGE;
    for (uint64_t i = off / BASE_PAGE; i < pages; i++) {
        if (!sim_image_same_page(&ino->vol, &ino->dur, i) && !page_is_dirty(ino, i)) {
            sim_image_share_page(&ino->vol, &ino->dur, i);
        }
    }
}
