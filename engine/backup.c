#include "engine/backup.h"

#include "engine/archive_walk.h"

/* Messages of a frame, unpacked. */
#define FRAME_RAW (256u * 1024u)
#define PROGRESS_MSGS 4096u

struct backup {
    struct eng *e;
    const struct eng_backup_opts *o;
    struct eng_backup_report *out;
    struct arc_writer *w;
    struct arc_manifest manifest;
    struct arc_buf buf;
    struct arc_entry *entry; /* of the stream under way */
    uint64_t msgs_total;
};

static bool wanted(const struct eng_backup_opts *o, const struct stream_cfg *cfg)
{
    return (o->account == NULL || strcmp(o->account, cfg->account) == 0) &&
           (o->stream == NULL || strcmp(o->stream, cfg->name) == 0);
}

static enum st frame(struct backup *k, enum arc_type type, struct err *err)
{
    uint32_t crc;
    uint8_t b[4];
    enum st st = arc_write(k->w, type, (uint32_t)k->manifest.n, k->buf.v, k->buf.n, &crc, err);
    if (type == ARC_CONSUMER || type == ARC_MESSAGES || type == ARC_WINDOW) {
        put_u32le(b, crc);
        k->entry->chain_crc = crc32c(k->entry->chain_crc, b, 4);
    }
    k->buf.n = 0;
    return st;
}

static enum st write_messages(struct backup *k, struct store_snap *snap, struct err *err)
{
    struct msg m;
    enum st st;
    while ((st = store_snap_next(snap, &m, err)) == ST_OK) {
        arc_put_msg(&k->buf, &m);
        k->entry->msgs++;
        k->entry->bytes += msg_logical_size(m.subj_len, m.hdr_len, m.data_len);
        if (k->buf.n >= FRAME_RAW && (st = frame(k, ARC_MESSAGES, err)) != ST_OK) {
            return st;
        }
        if (k->o->progress != NULL && ++k->out->msgs % PROGRESS_MSGS == 0) {
            k->o->progress(k->o->arg, k->out->msgs, k->msgs_total);
        }
    }
    if (st == ST_NOTFOUND) {
        st = k->buf.n > 0 ? frame(k, ARC_MESSAGES, err) : ST_OK;
    }
    return st;
}

static enum st write_end(struct backup *k, const struct snap_info *info, struct err *err)
{
    struct arc_entry *e = k->entry;
    bool memory = info->state.durability == DURABILITY_MEMORY; /* counts bytes in its own way */
    if (e->msgs != info->state.msgs || (!memory && e->bytes != info->state.bytes)) {
        return err_set(err, ST_CORRUPT, 0, "%llu messages are there, %llu should be",
                       (unsigned long long)e->msgs, (unsigned long long)info->state.msgs);
    }
    arc_put_u64(&k->buf, e->msgs);
    arc_put_u64(&k->buf, e->bytes);
    arc_put_u32(&k->buf, e->chain_crc);
    enum st st = frame(k, ARC_STREAM_END, err);
    e->end = arc_offset(k->w);
    return st;
}

static enum st write_stream(struct backup *k, struct store_stream *s, struct err *err)
{
    struct store_snap *snap = snap_take(s, true);
    const struct snap_info *info = store_snap_info(snap);
    k->manifest.v = base_realloc(k->manifest.v, (k->manifest.n + 1) * sizeof *k->manifest.v);
    k->entry = &k->manifest.v[k->manifest.n++];
    *k->entry = (struct arc_entry){.gid = info->gid,
                                   .consumers = (uint32_t)info->ncons,
                                   .begin = arc_offset(k->w),
                                   .account = base_strdup(info->cfg.account),
                                   .name = base_strdup(info->cfg.name)};
    arc_put_stream(&k->buf, info);
    enum st st = frame(k, ARC_STREAM, err);
    for (size_t i = 0; i < info->ncons && st == ST_OK; i++) {
        arc_put_cons(&k->buf, &info->cons[i]);
        st = frame(k, ARC_CONSUMER, err);
    }
    size_t len;
    uint8_t *window = st == ST_OK ? window_export(s, &len) : NULL;
    if (window != NULL) {
        arc_put_bytes(&k->buf, window, len);
        st = frame(k, ARC_WINDOW, err);
        base_free(window);
    }
    st = st == ST_OK ? write_messages(k, snap, err) : st;
    st = st == ST_OK ? write_end(k, info, err) : st;
    if (st == ST_OK) {
        k->out->streams++;
        k->out->consumers += info->ncons;
        k->out->bytes += k->entry->bytes;
    } else {
        err_prefix(err, "stream \"%s\" of account \"%s\"", info->cfg.name, info->cfg.account);
    }
    store_snap_close(snap);
    return st;
}

static enum st write_all(struct backup *k, struct err *err)
{
    enum st st = ST_OK;
    for (size_t i = 0; i < k->e->nstreams && st == ST_OK; i++) {
        struct store_stream *s = k->e->by_name[i];
        if (wanted(k->o, &s->cfg) && !stream_is_import(s)) {
            st = write_stream(k, s, err);
        }
    }
    if (st == ST_OK) {
        arc_put_manifest(&k->buf, &k->manifest);
        st = arc_write(k->w, ARC_MANIFEST, 0, k->buf.v, k->buf.n, NULL, err);
    }
    return st;
}

static uint32_t count(struct backup *k)
{
    uint32_t n = 0;
    for (size_t i = 0; i < k->e->nstreams; i++) {
        struct store_stream *s = k->e->by_name[i];
        if (wanted(k->o, &s->cfg) && !stream_is_import(s)) {
            n++;
            k->msgs_total += s->msgs;
        }
    }
    return n;
}

enum st eng_backup(struct store *store, const struct eng_backup_opts *o,
                   struct eng_backup_report *out, struct err *err)
{
    struct backup k = {.e = eng_of(store), .o = o, .out = out};
    struct arc_head head = {.created_ns = env_real_ns(k.e->env),
                            .generation = cat_generation(k.e->cat),
                            .streams = count(&k)};
    *out = (struct eng_backup_report){.created_ns = head.created_ns};
    if (head.streams == 0 && o->stream != NULL) {
        return err_set(err, ST_NOTFOUND, 0, "there is no stream \"%s\"", o->stream);
    }
    if (head.streams == 0 && o->account != NULL) { /* most likely the name is wrong */
        return err_set(err, ST_NOTFOUND, 0, "there is no stream of account \"%s\"", o->account);
    }
    env_random(k.e->env, head.archive_uuid, 16);
    memcpy(head.store_uuid, k.e->ident.store_uuid, 16);
    memcpy(out->archive_uuid, head.archive_uuid, 16);
    memcpy(out->store_uuid, head.store_uuid, 16);
    enum st st = arc_create(k.e->env, o->path, o->replace, &head, &k.w, err);
    if (st == ST_OK) {
        st = write_all(&k, err);
    }
    if (st == ST_OK) {
        out->file_bytes = arc_offset(k.w) + 64;
        st = arc_finish(k.w, err);
    } else {
        arc_abandon(k.w);
    }
    out->msgs = 0;
    for (size_t i = 0; i < k.manifest.n; i++) {
        out->msgs += k.manifest.v[i].msgs;
    }
    arc_manifest_fini(&k.manifest);
    base_free(k.buf.v);
    return st;
}

/* --- verifying -------------------------------------------------------------------------------- */

struct verify {
    eng_archive_stream_fn fn;
    void (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

static enum st verify_end(void *arg, const struct arc_entry *e, struct err *err)
{
    const struct verify *v = arg;
    (void)err;
    if (v->fn != NULL) {
        v->fn(v->arg, e->account, e->name, e->msgs, e->bytes, e->consumers);
    }
    return ST_OK;
}

static void verify_progress(void *arg, uint64_t done, uint64_t total)
{
    const struct verify *v = arg;
    if (v->progress != NULL) {
        v->progress(v->arg, done, total);
    }
}

enum st eng_archive_verify(struct env *env, const char *path, eng_archive_stream_fn fn,
                           void (*progress)(void *arg, uint64_t done, uint64_t total), void *arg,
                           struct eng_backup_report *out, struct err *err)
{
    struct verify v = {fn, progress, arg};
    struct arc_walk w = {.end = verify_end, .progress = verify_progress, .arg = &v};
    struct arc_reader *r;
    *out = (struct eng_backup_report){0};
    enum st st = arc_open(env, path, &r, err);
    if (st != ST_OK) {
        return st;
    }
    st = arc_walk(r, &w, err);
    const struct arc_head *h = arc_head_of(r);
    *out = (struct eng_backup_report){.streams = w.streams,
                                      .consumers = w.consumers,
                                      .msgs = w.msgs,
                                      .bytes = w.bytes,
                                      .file_bytes = arc_file_bytes(r),
                                      .created_ns = h->created_ns};
    memcpy(out->archive_uuid, h->archive_uuid, 16);
    memcpy(out->store_uuid, h->store_uuid, 16);
    if (st != ST_OK) {
        err_prefix(err, "archive \"%s\"", path);
    }
    arc_close(r);
    return st;
}
