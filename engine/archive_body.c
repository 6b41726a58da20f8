/* What stands in an archive's frames (engine/FORMAT-archive.md). Readers check every bound: their
 * input had good checksums, but may come from anywhere. */
#include "engine/archive.h"
#include "engine/config.h"

struct in {
    const uint8_t *p;
    size_t left;
    bool bad;
};

static const uint8_t *take(struct in *r, size_t n)
{
    if (r->bad || n > r->left) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->p;
    r->p += n;
    r->left -= n;
    return p;
}

static uint32_t get32(struct in *r)
{
    const uint8_t *p = take(r, 4);
    return p != NULL ? get_u32le(p) : 0;
}

static uint64_t get64(struct in *r)
{
    const uint8_t *p = take(r, 8);
    return p != NULL ? get_u64le(p) : 0;
}

/* --- stream ----------------------------------------------------------------------------------- */

void arc_stream_fini(struct arc_stream *s)
{
    stream_cfg_fini(&s->cfg);
    *s = (struct arc_stream){0};
}

void arc_put_stream(struct arc_buf *b, const struct snap_info *i)
{
    struct cfg_head head = {CFG_KIND_STREAM, CFG_OP_CREATE, 1, i->state.created_ns};
    uint8_t *cfg;
    size_t len;
    stream_cfg_encode(&head, &i->cfg, &cfg, &len);
    arc_put_u32(b, i->gid);
    arc_put_u64(b, i->state.first_seq);
    arc_put_u64(b, i->state.last_seq);
    arc_put_u64(b, i->state.msgs);
    arc_put_u64(b, i->state.bytes);
    arc_put_u32(b, (uint32_t)len);
    arc_put_bytes(b, cfg, len);
    base_free(cfg);
}

enum st arc_get_stream(const uint8_t *p, size_t n, struct arc_stream *out)
{
    struct in r = {p, n, false};
    struct cfg_head head;
    *out = (struct arc_stream){.gid = get32(&r)};
    out->first_seq = get64(&r);
    out->last_seq = get64(&r);
    out->msgs = get64(&r);
    out->bytes = get64(&r);
    size_t len = get32(&r);
    const uint8_t *cfg = take(&r, len);
    if (r.bad || r.left != 0 || out->first_seq == 0 || out->last_seq >= UINT64_MAX / 2 ||
        out->first_seq > out->last_seq + 1 || out->msgs > out->last_seq + 1 - out->first_seq) {
        return ST_CORRUPT;
    }
    enum st st = stream_cfg_decode(cfg, len, &head, &out->cfg);
    if (st == ST_OK &&
        (head.kind != CFG_KIND_STREAM || out->cfg.name == NULL || out->cfg.account == NULL)) {
        stream_cfg_fini(&out->cfg);
        st = ST_CORRUPT;
    }
    out->created_ns = head.created_ns;
    return st;
}

/* --- consumer --------------------------------------------------------------------------------- */

void arc_put_cons(struct arc_buf *b, const struct snap_cons *c)
{
    struct cfg_head head = {CFG_KIND_CONSUMER, CFG_OP_CREATE, 1, c->created_ns};
    const uint64_t v[] = {c->delivered_cseq, c->delivered_sseq, c->floor_cseq,
                          c->floor_sseq,     c->next_seq,       c->lps_resume};
    uint8_t *cfg;
    size_t len;
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        arc_put_u64(b, v[i]);
    }
    cons_cfg_encode(&head, &c->cfg, &cfg, &len);
    arc_put_u32(b, (uint32_t)len);
    arc_put_bytes(b, cfg, len);
    base_free(cfg);
    arc_put_u32(b, (uint32_t)c->npend);
    for (size_t i = 0; i < c->npend; i++) {
        const struct snap_pend *p = &c->pend[i];
        arc_put_u64(b, p->sseq);
        arc_put_u64(b, p->cseq);
        arc_put_u64(b, (uint64_t)p->ts_ns);
        arc_put_u32(b, p->dcount);
        arc_put_u32(b, p->exhausted);
    }
}

static void get_pend(struct in *r, struct snap_cons *out)
{
    enum { PEND_SIZE = 32 };
    size_t n = get32(r);
    if (r->bad || n != r->left / PEND_SIZE || r->left % PEND_SIZE != 0) {
        r->bad = true;
        return;
    }
    out->pend = n > 0 ? base_calloc(n, sizeof *out->pend) : NULL;
    for (size_t i = 0; i < n; i++) {
        struct snap_pend *p = &out->pend[out->npend++];
        p->sseq = get64(r);
        p->cseq = get64(r);
        p->ts_ns = (int64_t)get64(r);
        p->dcount = get32(r);
        p->exhausted = get32(r) != 0;
    }
}

enum st arc_get_cons(const uint8_t *p, size_t n, struct snap_cons *out)
{
    struct in r = {p, n, false};
    struct cfg_head head;
    *out = (struct snap_cons){.delivered_cseq = get64(&r)};
    out->delivered_sseq = get64(&r);
    out->floor_cseq = get64(&r);
    out->floor_sseq = get64(&r);
    out->next_seq = get64(&r);
    out->lps_resume = get64(&r);
    size_t len = get32(&r);
    const uint8_t *cfg = take(&r, len);
    enum st st = r.bad ? ST_CORRUPT : cons_cfg_decode(cfg, len, &head, &out->cfg);
    if (st != ST_OK) {
        return st;
    }
    out->created_ns = head.created_ns;
    get_pend(&r, out);
    if (r.bad || head.kind != CFG_KIND_CONSUMER || out->cfg.name == NULL) {
        snap_cons_fini(out);
        return ST_CORRUPT;
    }
    return ST_OK;
}

/* --- messages --------------------------------------------------------------------------------- */

enum { ENTRY_SIZE = 28 };

void arc_put_msg(struct arc_buf *b, const struct msg *m)
{
    uint8_t *p = arc_room(b, ENTRY_SIZE);
    put_u64le(p, m->seq);
    put_u64le(p + 8, (uint64_t)m->ts_ns);
    put_u16le(p + 16, m->subj_len);
    put_u16le(p + 18, m->flags);
    put_u32le(p + 20, m->hdr_len);
    put_u32le(p + 24, m->data_len);
    b->n += ENTRY_SIZE;
    arc_put_bytes(b, m->subj, m->subj_len);
    arc_put_bytes(b, m->hdr, m->hdr_len);
    arc_put_bytes(b, m->data, m->data_len);
}

enum st arc_get_msg(const uint8_t *p, size_t n, size_t *off, struct msg *m)
{
    struct in r = {p + *off, n - *off, false};
    if (r.left == 0) {
        return ST_NOTFOUND;
    }
    const uint8_t *h = take(&r, ENTRY_SIZE);
    if (h == NULL) {
        return ST_CORRUPT;
    }
    *m = (struct msg){.seq = get_u64le(h),
                      .ts_ns = (int64_t)get_u64le(h + 8),
                      .subj_len = get_u16le(h + 16),
                      .flags = get_u16le(h + 18),
                      .hdr_len = get_u32le(h + 20),
                      .data_len = get_u32le(h + 24)};
    m->subj = take(&r, m->subj_len);
    m->hdr = take(&r, m->hdr_len);
    m->data = take(&r, m->data_len);
    if (r.bad || m->subj_len == 0 || m->seq == 0 || m->seq >= UINT64_MAX / 2) {
        return ST_CORRUPT;
    }
    *off = n - r.left;
    return ST_OK;
}

/* --- manifest --------------------------------------------------------------------------------- */

void arc_manifest_fini(struct arc_manifest *m)
{
    for (size_t i = 0; i < m->n; i++) {
        base_free(m->v[i].account);
        base_free(m->v[i].name);
    }
    base_free(m->v);
    *m = (struct arc_manifest){0};
}

static void put_text(struct arc_buf *b, const char *s)
{
    arc_put_u32(b, (uint32_t)strlen(s));
    arc_put_bytes(b, s, strlen(s));
}

void arc_put_manifest(struct arc_buf *b, const struct arc_manifest *m)
{
    arc_put_u32(b, (uint32_t)m->n);
    for (size_t i = 0; i < m->n; i++) {
        const struct arc_entry *e = &m->v[i];
        arc_put_u32(b, e->gid);
        arc_put_u32(b, e->consumers);
        arc_put_u32(b, e->chain_crc);
        arc_put_u64(b, e->begin);
        arc_put_u64(b, e->end);
        arc_put_u64(b, e->msgs);
        arc_put_u64(b, e->bytes);
        put_text(b, e->account);
        put_text(b, e->name);
    }
}

static char *get_text(struct in *r)
{
    size_t n = get32(r);
    const uint8_t *p = take(r, n);
    if (p == NULL || memchr(p, 0, n) != NULL) {
        r->bad = true;
        return base_strdup("");
    }
    return base_strndup((const char *)p, n);
}

enum st arc_get_manifest(const uint8_t *p, size_t n, struct arc_manifest *out)
{
    enum { ENTRY_MIN = 52 };
    struct in r = {p, n, false};
    size_t count = get32(&r);
    *out = (struct arc_manifest){0};
    if (r.bad || count > r.left / ENTRY_MIN) {
        return ST_CORRUPT;
    }
    out->v = base_calloc(count + 1, sizeof *out->v);
    while (out->n < count && !r.bad) {
        struct arc_entry *e = &out->v[out->n++];
        e->gid = get32(&r);
        e->consumers = get32(&r);
        e->chain_crc = get32(&r);
        e->begin = get64(&r);
        e->end = get64(&r);
        e->msgs = get64(&r);
        e->bytes = get64(&r);
        e->account = get_text(&r);
        e->name = get_text(&r);
    }
    if (r.bad || r.left != 0) {
        arc_manifest_fini(out);
        return ST_CORRUPT;
    }
    return ST_OK;
}
