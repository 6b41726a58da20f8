/* Reading a segment file that no row names, to judge whether anything in it is missing elsewhere
 * (segment.h). Start-up only; blocking. Nothing is written. */
#include "engine/block_decode.h"

struct unknown {
    struct segs *segs;
    void (*fn)(void *arg, const struct msg *m);
    void *arg;
    bool whole;
};

static void add_msg(void *arg, const struct msg *m, uint32_t form_len, bool bad)
{
    struct unknown *u = arg;
    (void)form_len;
    if (bad) {
        u->whole = false;
    } else {
        u->fn(u->arg, m);
    }
}

static void on_block(void *arg, uint64_t off, const struct seg_bh *bh, const uint8_t *raw)
{
    struct unknown *u = arg;
    (void)off;
    if (bh->type != SEG_BT_DATA) {
        return; /* sections repeat what the blocks say */
    }
    if (raw == NULL || seg_block_msgs(bh, raw, u->segs->crc_seed, add_msg, u) != ST_OK) {
        u->whole = false;
    }
}

/* What stands behind the last good block of the file may be a flush that was cut short: it was
 * never part of a segment; so may a gap that held no messages, since a later flush goes on in front
 * of such remains. A gap that held some, before a good block, is damage. */
static void on_gap(void *arg, uint64_t off, uint64_t end, uint64_t lo, uint64_t hi)
{
    struct unknown *u = arg;
    (void)off, (void)end;
    u->whole = u->whole && (lo == 0 || hi == UINT64_MAX);
}

static bool header_at(struct segs *s, const struct seg_io *io, uint64_t off, struct seg_header *h)
{
    uint8_t half[SEG_HALF];
    return seg_io_read(io, half, sizeof half, off, NULL) == ST_OK &&
           seg_header_get(half, h) == ST_OK && memcmp(h->store_uuid, s->store_uuid, 16) == 0;
}

bool segs_read_unknown(struct segs *s, const char *path, uint32_t gid, uint64_t segno, uint32_t gen,
                       void (*fn)(void *arg, const struct msg *m), void *arg)
{
    struct unknown u = {.segs = s, .fn = fn, .arg = arg, .whole = true};
    struct seg_walk_ops ops = {.arg = &u, .block = on_block, .gap = on_gap};
    struct seg_scratch sc = {0};
    struct seg_header h;
    struct seg_io io = {.env = s->env};
    if (env_open(s->env, path, ENV_RDONLY, &io.f, NULL) != ST_OK) {
        return false;
    }
    bool known = env_size(s->env, io.f, &io.limit, NULL) == ST_OK &&
                 (header_at(s, &io, 0, &h) ||
                  (io.limit >= 2 * SEG_PAGE && header_at(s, &io, io.limit - SEG_PAGE, &h)));
    if (known && h.gid == gid && h.segno == segno && h.gen == gen && h.base_seq > 0) {
        io.uuid = h.seg_uuid;
        u.whole = seg_walk(&io, h.base_seq, UINT64_MAX, &sc, &ops, NULL) == ST_OK && u.whole;
    } else {
        u.whole = false;
    }
    seg_scratch_fini(&sc);
    env_close(s->env, io.f);
    return u.whole;
}
