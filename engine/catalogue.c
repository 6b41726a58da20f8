#include "engine/catalogue.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/catalogue_priv.h"

/* --- state, incidents ------------------------------------------------------------------------- */
void cat_state_get(const struct cat *cat, struct cat_state *state_out)
{
    *state_out = (struct cat_state){.generation = atomic_load(&cat->generation),
                                    .next_gid = cat->next_gid,
                                    .clean = cat->clean,
                                    .fresh = cat->fresh};
}

uint64_t cat_generation(const struct cat *cat)
{
    return atomic_load(&cat->generation);
}

void cat_incident(struct cat *cat, const char *fmt, ...)
{
    char text[sizeof(cat->incidents[0].text)];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_wrn("catalogue: %s", text);
    base_mutex_lock(&cat->incident_lock);
    if (cat->nincidents < CAT_INCIDENTS_MAX) {
        struct cat_incident *in = &cat->incidents[cat->nincidents];
        in->found_ns = env_real_ns(cat->env);
        memcpy(in->text, text, sizeof(text));
    }
    cat->nincidents++;
    base_mutex_unlock(&cat->incident_lock);
}

size_t cat_incidents(struct cat *cat, void (*fn)(void *arg, int64_t found_ns, const char *text),
                     void *arg)
{
    base_mutex_lock(&cat->incident_lock);
    size_t n = cat->nincidents;
    for (size_t i = 0; fn != NULL && i < n && i < CAT_INCIDENTS_MAX; i++) {
        fn(arg, cat->incidents[i].found_ns, cat->incidents[i].text);
    }
    base_mutex_unlock(&cat->incident_lock);
    return n;
}

/* --- load ------------------------------------------------------------------------------------- */
struct load_ctx {
    const struct cat_loader *loader;
    void *arg;
};

#define LOAD(name)                                                                                 \
    static enum st load_##name(void *arg, const struct cat_row *row, struct err *err)              \
    {                                                                                              \
        struct load_ctx *ctx = arg;                                                                \
        struct cat_cell cells[CAT_COLS_MAX];                                                       \
        union cat_any any;                                                                         \
        enum st st = cat_row_cells(row, cells, err);                                               \
        if (st == ST_OK && (st = cat_row_struct(row->table, cells, &any, err)) == ST_OK) {         \
            st = ctx->loader->name(ctx->arg, &any.name, err);                                      \
        }                                                                                          \
        return st;                                                                                 \
    }
LOAD(account)
LOAD(stream)
LOAD(stream_ckpt)
LOAD(consumer)
LOAD(consumer_ckpt)
LOAD(segment)
LOAD(segdel)
LOAD(pending_purge)
LOAD(lane)
LOAD(damage)
#undef LOAD

enum st cat_load(struct cat *cat, const struct cat_loader *loader, void *arg, struct err *err)
{
    struct load_ctx ctx = {loader, arg};
    const struct {
        enum cat_table table;
        cat_sql_row_fn fn;
        bool wanted;
    } tables[] = {
        {CAT_T_ACCOUNT, load_account, loader->account != NULL},
        {CAT_T_STREAM, load_stream, loader->stream != NULL},
        {CAT_T_STREAM_CKPT, load_stream_ckpt, loader->stream_ckpt != NULL},
        {CAT_T_CONSUMER, load_consumer, loader->consumer != NULL},
        {CAT_T_CONSUMER_CKPT, load_consumer_ckpt, loader->consumer_ckpt != NULL},
        {CAT_T_SEGMENT, load_segment, loader->segment != NULL},
        {CAT_T_SEGDEL, load_segdel, loader->segdel != NULL},
        {CAT_T_PENDING_PURGE, load_pending_purge, loader->pending_purge != NULL},
        {CAT_T_LANE, load_lane, loader->lane != NULL},
        {CAT_T_DAMAGE, load_damage, loader->damage != NULL},
    };

    ASSERT(cat->magic == CAT_MAGIC);
    if (cat->sql.db == NULL) {
        return err_set(err, ST_IO, 0, "load the catalogue: meta.db is out of service");
    }
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        if (tables[i].wanted) {
            enum st st = cat_sql_each(&cat->sql, tables[i].table, tables[i].fn, &ctx, err);
            if (st != ST_OK) {
                err_prefix(err, "load the catalogue");
                return st;
            }
        }
    }
    cat_sql_shrink(&cat->sql);
    return ST_OK;
}

/* --- close ------------------------------------------------------------------------------------ */
static enum st close_clean(struct cat *cat, struct err *err)
{
    if (cat->in_doubt) {
        return err_set(err, ST_POISONED, 0, "a commit's outcome is not known");
    }
    enum st st = cat_heal(cat, err);
    if (st != ST_OK) {
        return st;
    }
    if (!cat->clean) {
        if ((st = cat_sql_begin(&cat->sql, err)) != ST_OK) {
            return st;
        }
        st = cat_sql_set_state(&cat->sql, cat->sql_gen, true, err);
        if (st == ST_OK) {
            st = cat_sql_commit(&cat->sql, err);
        }
        if (st != ST_OK) {
            cat_sql_rollback(&cat->sql);
            return st;
        }
    }
    return meta_vfs_wal_bytes(cat->vfs) > 0 ? cat_sql_checkpoint(&cat->sql, err) : ST_OK;
}

void cat_close(struct cat *cat, bool clean)
{
    struct err err;
    if (cat == NULL) {
        return;
    }
    ASSERT(cat->magic == CAT_MAGIC);
    ASSERT(cat->task == NULL);
    if (clean && !cat->dead && !cat->read_only && close_clean(cat, &err) != ST_OK) {
        log_wrn("catalogue: could not mark a clean stop: %s", err.msg);
    }
    cat_sql_close(&cat->sql);
    meta_vfs_destroy(cat->vfs);
    rowlog_close(&cat->log);
    ballast_fini(&cat->ballast);
    base_mutex_destroy(&cat->incident_lock);
    base_mutex_destroy(&cat->queue_lock);
    base_free(cat->root);
    cat->magic = 0;
    base_free(cat);
}

void cat_abandon(struct cat *cat)
{
    if (cat == NULL) {
        return;
    }
    cat->dead = true;
    meta_vfs_set_mode(cat->vfs, META_VFS_DEAD);
    cat_close(cat, false);
}

/* --- ballast ---------------------------------------------------------------------------------- */
bool cat_ballast_release(struct cat *cat)
{
    return ballast_release(&cat->ballast);
}
