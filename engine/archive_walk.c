#include "engine/archive_walk.h"

struct walk {
    struct arc_reader *r;
    struct arc_walk *w;
    struct arc_stream s; /* owned while open */
    struct arc_entry e;  /* of the stream under way */
    bool open, messages, window;
    uint64_t last_seq;
    struct arc_manifest seen; /* owned */
};

static enum st bad(const struct arc_frame *f, struct err *err, const char *what)
{
    return err_set(err, ST_CORRUPT, 0, "frame at %llu: %s", (unsigned long long)f->off, what);
}

static enum st on_stream(struct walk *k, const struct arc_frame *f, struct err *err)
{
    if (k->open || f->stream != k->seen.n + 1) {
        return bad(f, err, "a stream begins where none may");
    }
    enum st st = arc_get_stream(f->raw, f->len, &k->s);
    if (st != ST_OK) {
        return err_set(err, st, 0, "frame at %llu: the stream cannot be read: %s",
                       (unsigned long long)f->off, st_text(st));
    }
    k->open = true;
    k->messages = k->window = false;
    k->last_seq = 0;
    k->e = (struct arc_entry){.gid = k->s.gid, .begin = f->off, .chain_crc = 0};
    return k->w->stream != NULL ? k->w->stream(k->w->arg, &k->s, err) : ST_OK;
}

static enum st on_cons(struct walk *k, const struct arc_frame *f, struct err *err)
{
    struct snap_cons c;
    if (k->messages || k->window) {
        return bad(f, err, "a consumer behind messages");
    }
    enum st st = arc_get_cons(f->raw, f->len, &c);
    if (st != ST_OK) {
        return err_set(err, st, 0, "frame at %llu: the consumer cannot be read: %s",
                       (unsigned long long)f->off, st_text(st));
    }
    k->e.consumers++;
    st = k->w->cons != NULL ? k->w->cons(k->w->arg, &c, err) : ST_OK;
    snap_cons_fini(&c);
    return st;
}

static enum st on_messages(struct walk *k, const struct arc_frame *f, struct err *err)
{
    size_t off = 0;
    struct msg m;
    enum st st;
    k->messages = true;
    while ((st = arc_get_msg(f->raw, f->len, &off, &m)) == ST_OK) {
        if (m.seq <= k->last_seq || m.seq < k->s.first_seq || m.seq > k->s.last_seq) {
            return bad(f, err, "its messages are not in order");
        }
        k->last_seq = m.seq;
        k->e.msgs++;
        k->e.bytes += msg_logical_size(m.subj_len, m.hdr_len, m.data_len);
        st = k->w->msg != NULL ? k->w->msg(k->w->arg, &m, err) : ST_OK;
        if (st != ST_OK) {
            return st;
        }
    }
    return st == ST_NOTFOUND ? ST_OK : bad(f, err, "a message cannot be read");
}

static enum st on_window(struct walk *k, const struct arc_frame *f, struct err *err)
{
    if (k->messages || k->window || window_check(f->raw, f->len) != ST_OK) {
        return bad(f, err, "the duplicate window cannot be read");
    }
    k->window = true;
    return k->w->window != NULL ? k->w->window(k->w->arg, f->raw, f->len, err) : ST_OK;
}

static enum st on_end(struct walk *k, const struct arc_frame *f, struct err *err)
{
    if (f->len != 20 || get_u64le(f->raw) != k->e.msgs || get_u64le(f->raw + 8) != k->e.bytes ||
        get_u32le(f->raw + 16) != k->e.chain_crc || k->e.msgs != k->s.msgs ||
        (k->s.cfg.storage != STORAGE_MEMORY && k->e.bytes != k->s.bytes)) { /* counted otherwise */
        return bad(f, err, "what the stream holds does not add up");
    }
    k->e.end = arc_position(k->r);
    k->e.account = base_strdup(k->s.cfg.account);
    k->e.name = base_strdup(k->s.cfg.name);
    k->seen.v = base_realloc(k->seen.v, (k->seen.n + 1) * sizeof *k->seen.v);
    k->seen.v[k->seen.n++] = k->e;
    k->open = false;
    arc_stream_fini(&k->s);
    k->w->streams++;
    k->w->consumers += k->e.consumers;
    k->w->msgs += k->e.msgs;
    k->w->bytes += k->e.bytes;
    return k->w->end != NULL ? k->w->end(k->w->arg, &k->seen.v[k->seen.n - 1], err) : ST_OK;
}

static bool same(const struct arc_entry *a, const struct arc_entry *b)
{
    return a->gid == b->gid && a->consumers == b->consumers && a->chain_crc == b->chain_crc &&
           a->begin == b->begin && a->end == b->end && a->msgs == b->msgs && a->bytes == b->bytes &&
           strcmp(a->account, b->account) == 0 && strcmp(a->name, b->name) == 0;
}

static enum st on_manifest(struct walk *k, const struct arc_frame *f, struct err *err)
{
    struct arc_manifest m;
    if (k->open || f->stream != 0 || arc_get_manifest(f->raw, f->len, &m) != ST_OK) {
        return bad(f, err, "the manifest cannot be read");
    }
    bool ok = m.n == k->seen.n && m.n == arc_head_of(k->r)->streams;
    for (size_t i = 0; ok && i < m.n; i++) {
        ok = same(&m.v[i], &k->seen.v[i]);
    }
    arc_manifest_fini(&m);
    return ok ? ST_OK : bad(f, err, "the manifest does not say what the archive holds");
}

static enum st on_frame(struct walk *k, const struct arc_frame *f, struct err *err)
{
    if (f->type == ARC_STREAM) {
        return on_stream(k, f, err);
    }
    if (f->type == ARC_MANIFEST) {
        return on_manifest(k, f, err);
    }
    if (!k->open || f->stream != k->seen.n + 1) {
        return bad(f, err, "it belongs to no stream");
    }
    if (f->type == ARC_STREAM_END) {
        return on_end(k, f, err);
    }
    uint8_t crc[4];
    put_u32le(crc, f->body_crc);
    k->e.chain_crc = crc32c(k->e.chain_crc, crc, 4);
    return f->type == ARC_CONSUMER ? on_cons(k, f, err)
           : f->type == ARC_WINDOW ? on_window(k, f, err)
                                   : on_messages(k, f, err);
}

enum st arc_walk(struct arc_reader *r, struct arc_walk *w, struct err *err)
{
    struct walk k = {.r = r, .w = w};
    struct arc_frame f;
    enum st st;
    w->streams = w->consumers = w->msgs = w->bytes = 0;
    arc_rewind(r);
    while ((st = arc_next(r, &f, err)) == ST_OK && (st = on_frame(&k, &f, err)) == ST_OK) {
        if (w->progress != NULL) {
            w->progress(w->arg, arc_position(r), arc_file_bytes(r));
        }
    }
    if (k.open) {
        arc_stream_fini(&k.s);
    }
    arc_manifest_fini(&k.seen);
    return st == ST_NOTFOUND ? ST_OK : st;
}
