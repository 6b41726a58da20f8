/* Records and messages (record.h has the interface, FORMAT-journal.md the bytes).
 *
 * What a crash can leave: nothing of its own; journal and segments say where bytes may be torn. A
 * decoder therefore never trusts a length before the CRC that covers it has been checked, and the
 * CRC of an APPEND covers everything but subject, headers and payload, which have content_crc. So a
 * flipped payload bit costs the message and not what its record evicts. */
#include "engine/record.h"

enum rec_off {
    REC_OFF_CRC = 0,
    REC_OFF_LEN = 4,
    REC_OFF_TYPE = 8,
    REC_OFF_FLAGS = 9,
    REC_OFF_EXT = 10, /* in 8 B units */
    REC_OFF_GID = 12,
    REC_OFF_SUB = 16,
    REC_OFF_OSEQ = 20,
};
enum msg_off {
    MSG_OFF_LEN = 0,
    MSG_OFF_CRC = 4,
    MSG_OFF_SEQ = 8,
    MSG_OFF_TS = 16,
    MSG_OFF_SUBJ_LEN = 24,
    MSG_OFF_FLAGS = 26,
    MSG_OFF_HDR_LEN = 28,
};
enum extent_off {
    EXTENT_OFF_SEGNO = 0,
    EXTENT_OFF_OFF = 8,
    EXTENT_OFF_STORED = 16,
    EXTENT_OFF_DATA = 20,
    EXTENT_OFF_UUID = 24,
    EXTENT_OFF_ZERO = 40,
    EXTENT_OFF_CRC = 44, /* over subject, headers, and what stands before it here */
};

#define REC_FLAGS_KNOWN (REC_BATCH_MORE | REC_HAS_TWIN | REC_IS_TWIN)
#define MSG_FLAGS_KNOWN 0x3ffu
/* Copy and CRC go over the same bytes in steps that stay in the first-level cache. */
#define COPY_STEP 8192u

/* --- messages --------------------------------------------------------------------------------- */

static uint32_t copy_crc(uint8_t *out, const uint8_t *in, size_t len, uint32_t crc)
{
    while (len > 0) {
        size_t n = len < COPY_STEP ? len : COPY_STEP;
        memcpy(out, in, n);
        crc = crc32c(crc, out, n);
        out += n;
        in += n;
        len -= n;
    }
    return crc;
}

static void put_head(uint8_t *out, const struct msg *m, uint64_t size, unsigned flags, uint32_t crc)
{
    flags &= ~(unsigned)MSG_HDR;
    flags |= m->hdr_len != 0 ? (unsigned)MSG_HDR : 0u;
    ASSERT((flags & ~MSG_FLAGS_KNOWN) == 0);
    put_u32le(out + MSG_OFF_LEN, (uint32_t)size);
    put_u32le(out + MSG_OFF_CRC, crc);
    put_u64le(out + MSG_OFF_SEQ, m->seq);
    put_u64le(out + MSG_OFF_TS, (uint64_t)m->ts_ns);
    put_u16le(out + MSG_OFF_SUBJ_LEN, m->subj_len);
    put_u16le(out + MSG_OFF_FLAGS, (uint16_t)flags);
    put_u32le(out + MSG_OFF_HDR_LEN, m->hdr_len);
}

size_t msg_put(uint8_t *out, const struct msg *m, uint32_t crc_seed)
{
    uint64_t size = msg_size(m->subj_len, m->hdr_len, m->data_len);
    ASSERT(size <= UINT32_MAX);
    uint8_t *p = out + MSG_HEAD_SIZE;
    uint32_t crc = copy_crc(p, m->subj, m->subj_len, crc_seed);
    p += m->subj_len;
    crc = copy_crc(p, m->hdr, m->hdr_len, crc);
    p += m->hdr_len;
    crc = copy_crc(p, m->data, m->data_len, crc);
    ASSERT((m->flags & MSG_EXTENT_REF) == 0);
    put_head(out, m, size, m->flags, crc);
    return (size_t)size;
}

/* Head and bounds of either form; *m_out has the place where the payload, or the reference, is. */
static inline enum st get_head(const uint8_t *in, size_t len, struct msg *m_out)
{
    if (len < MSG_HEAD_SIZE) {
        return ST_CORRUPT;
    }
    uint32_t size = get_u32le(in + MSG_OFF_LEN);
    uint16_t subj_len = get_u16le(in + MSG_OFF_SUBJ_LEN);
    uint16_t flags = get_u16le(in + MSG_OFF_FLAGS);
    uint32_t hdr_len = get_u32le(in + MSG_OFF_HDR_LEN);
    if (size > len || size < msg_size(subj_len, hdr_len, 0)) {
        return ST_CORRUPT;
    }
    if ((flags & ~MSG_FLAGS_KNOWN) != 0 || ((flags & MSG_HDR) != 0) != (hdr_len != 0)) {
        return ST_CORRUPT;
    }
    const uint8_t *subj = in + MSG_HEAD_SIZE;
    *m_out = (struct msg){
        .seq = get_u64le(in + MSG_OFF_SEQ),
        .ts_ns = (int64_t)get_u64le(in + MSG_OFF_TS),
        .subj = subj,
        .hdr = hdr_len != 0 ? subj + subj_len : NULL,
        .data = subj + subj_len + hdr_len,
        .hdr_len = hdr_len,
        .data_len = size - MSG_HEAD_SIZE - subj_len - hdr_len,
        .content_crc = get_u32le(in + MSG_OFF_CRC),
        .subj_len = subj_len,
        .flags = flags,
    };
    return ST_OK;
}

enum st msg_get(const uint8_t *in, size_t len, struct msg *m_out)
{
    if (len >= MSG_HEAD_SIZE && (get_u16le(in + MSG_OFF_FLAGS) & MSG_EXTENT_REF) != 0) {
        struct msg m;
        enum st st = get_head(in, len, &m);
        return st == ST_OK ? ST_UNSUPPORTED : st;
    }
    return get_head(in, len, m_out);
}

/* --- messages that stand elsewhere ------------------------------------------------------------ */

static uint32_t extent_crc(const uint8_t *subj, size_t before, const uint8_t *ref, uint32_t seed)
{
    return crc32c(crc32c(seed, subj, before), ref, EXTENT_OFF_CRC);
}

size_t msg_put_extent(uint8_t *out, const struct msg *m, const struct msg_extent *x,
                      uint32_t crc_seed)
{
    uint64_t size = msg_extent_size(m->subj_len, m->hdr_len);
    uint8_t *subj = out + MSG_HEAD_SIZE, *ref = subj + m->subj_len + m->hdr_len;
    memcpy(subj, m->subj, m->subj_len);
    if (m->hdr_len != 0) {
        memcpy(subj + m->subj_len, m->hdr, m->hdr_len);
    }
    put_u64le(ref + EXTENT_OFF_SEGNO, x->segno);
    put_u64le(ref + EXTENT_OFF_OFF, x->off);
    put_u32le(ref + EXTENT_OFF_STORED, x->stored_len);
    put_u32le(ref + EXTENT_OFF_DATA, x->data_len);
    memcpy(ref + EXTENT_OFF_UUID, x->uuid, sizeof x->uuid);
    put_u32le(ref + EXTENT_OFF_ZERO, 0);
    put_u32le(ref + EXTENT_OFF_CRC,
              extent_crc(subj, (size_t)m->subj_len + m->hdr_len, ref, crc_seed));
    put_head(out, m, size, (unsigned)m->flags | MSG_EXTENT_REF, m->content_crc);
    return (size_t)size;
}

bool msg_is_extent(const uint8_t *in, size_t len)
{
    return len >= MSG_HEAD_SIZE && (get_u16le(in + MSG_OFF_FLAGS) & MSG_EXTENT_REF) != 0;
}

enum st msg_get_extent(const uint8_t *in, size_t len, uint32_t crc_seed, struct msg *m_out,
                       struct msg_extent *x_out)
{
    struct msg m;
    enum st st = get_head(in, len, &m);
    if (st != ST_OK) {
        return st;
    }
    const uint8_t *ref = m.data;
    size_t before = (size_t)m.subj_len + m.hdr_len;
    if ((m.flags & MSG_EXTENT_REF) == 0 || m.data_len != MSG_EXTENT_SIZE ||
        extent_crc(m.subj, before, ref, crc_seed) != get_u32le(ref + EXTENT_OFF_CRC) ||
        get_u32le(ref + EXTENT_OFF_ZERO) != 0) {
        return ST_CORRUPT;
    }
    *x_out = (struct msg_extent){
        .segno = get_u64le(ref + EXTENT_OFF_SEGNO),
        .off = get_u64le(ref + EXTENT_OFF_OFF),
        .stored_len = get_u32le(ref + EXTENT_OFF_STORED),
        .data_len = get_u32le(ref + EXTENT_OFF_DATA),
    };
    memcpy(x_out->uuid, ref + EXTENT_OFF_UUID, sizeof x_out->uuid);
    m.flags &= (uint16_t)~MSG_EXTENT_REF;
    m.data = NULL;
    m.data_len = x_out->data_len;
    if (msg_size(m.subj_len, m.hdr_len, m.data_len) > UINT32_MAX / 2) {
        return ST_CORRUPT;
    }
    *m_out = m;
    return ST_OK;
}

bool msg_check(const struct msg *m, uint32_t crc_seed)
{
    uint32_t crc = crc32c(crc_seed, m->subj, m->subj_len);
    if (m->hdr_len != 0) {
        crc = crc32c(crc, m->hdr, m->hdr_len);
    }
    if (m->data_len != 0) {
        crc = crc32c(crc, m->data, m->data_len);
    }
    return crc == m->content_crc;
}

bool msg_body_ok(const uint8_t *body, size_t len, uint32_t crc_seed, uint64_t *seq_out)
{
    struct msg m;
    struct msg_extent x;
    *seq_out = get_u64le(body + MSG_OFF_SEQ);
    if (msg_is_extent(body, len)) {
        return msg_get_extent(body, len, crc_seed, &m, &x) == ST_OK;
    }
    return msg_get(body, len, &m) == ST_OK && msg_check(&m, crc_seed);
}

/* --- records ---------------------------------------------------------------------------------- */

static bool has_msg_body(enum rec_type type)
{
    return type == REC_APPEND || type == REC_RAFT_ENTRY;
}

/* Bytes from offset 4 on that the record's CRC covers. */
static size_t crc_cover(enum rec_type type, size_t ext_len, size_t body_len)
{
    size_t body = has_msg_body(type) && body_len > MSG_HEAD_SIZE ? MSG_HEAD_SIZE : body_len;
    return REC_HEAD_SIZE - REC_OFF_LEN + ext_len + body;
}

void rec_seal(uint8_t *p, enum rec_type type, uint8_t flags, uint32_t gid, uint32_t sub,
              uint32_t oseq, size_t ext_len, size_t body_len, uint32_t crc_seed)
{
    uint64_t len = (uint64_t)REC_HEAD_SIZE + ext_len + body_len;
    ASSERT(len <= UINT32_MAX);
    ASSERT(ext_len % APPEND_EXT_UNIT == 0 && ext_len <= APPEND_EXT_MAX);
    ASSERT(IMPLIES(ext_len != 0, has_msg_body(type)));
    ASSERT(IMPLIES(type == REC_APPEND, body_len >= MSG_HEAD_SIZE));
    ASSERT((flags & ~REC_FLAGS_KNOWN) == 0);
    put_u32le(p + REC_OFF_LEN, (uint32_t)len);
    p[REC_OFF_TYPE] = (uint8_t)type;
    p[REC_OFF_FLAGS] = flags;
    put_u16le(p + REC_OFF_EXT, (uint16_t)(ext_len / APPEND_EXT_UNIT));
    put_u32le(p + REC_OFF_GID, gid);
    put_u32le(p + REC_OFF_SUB, sub);
    put_u32le(p + REC_OFF_OSEQ, oseq);
    put_u32le(p + REC_OFF_CRC,
              crc32c(crc_seed, p + REC_OFF_LEN, crc_cover(type, ext_len, body_len)));
}

size_t rec_ext_len(const uint8_t *p)
{
    return (size_t)get_u16le(p + REC_OFF_EXT) * APPEND_EXT_UNIT;
}

void rec_resize(uint8_t *p, size_t body_len, uint32_t crc_seed)
{
    enum rec_type type = (enum rec_type)p[REC_OFF_TYPE];
    size_t ext_len = rec_ext_len(p);
    put_u32le(p + REC_OFF_LEN, (uint32_t)(REC_HEAD_SIZE + ext_len + body_len));
    put_u32le(p + REC_OFF_CRC,
              crc32c(crc_seed, p + REC_OFF_LEN, crc_cover(type, ext_len, body_len)));
}

void rec_reflag(uint8_t *p, uint8_t flags, uint32_t crc_seed)
{
    enum rec_type type = (enum rec_type)p[REC_OFF_TYPE];
    size_t ext_len = rec_ext_len(p);
    size_t body_len = get_u32le(p + REC_OFF_LEN) - REC_HEAD_SIZE - ext_len;
    ASSERT((flags & ~REC_FLAGS_KNOWN) == 0);
    p[REC_OFF_FLAGS] = flags;
    put_u32le(p + REC_OFF_CRC,
              crc32c(crc_seed, p + REC_OFF_LEN, crc_cover(type, ext_len, body_len)));
}

enum st rec_get(const uint8_t *p, size_t len, uint32_t crc_seed, struct rec *r_out)
{
    if (len < REC_HEAD_SIZE) {
        return ST_CORRUPT;
    }
    uint32_t rec_len = get_u32le(p + REC_OFF_LEN);
    size_t ext_len = (size_t)get_u16le(p + REC_OFF_EXT) * APPEND_EXT_UNIT;
    uint8_t type = p[REC_OFF_TYPE];
    uint8_t flags = p[REC_OFF_FLAGS];
    if (rec_len > len || rec_len < REC_HEAD_SIZE + ext_len || type > REC_RAFT_SNAP ||
        (flags & ~REC_FLAGS_KNOWN) != 0) {
        return ST_CORRUPT;
    }
    size_t body_len = rec_len - REC_HEAD_SIZE - ext_len;
    if (type == REC_APPEND && body_len < MSG_HEAD_SIZE) {
        return ST_CORRUPT;
    }
    if (ext_len != 0 && !has_msg_body((enum rec_type)type)) {
        return ST_CORRUPT;
    }
    size_t cover = crc_cover((enum rec_type)type, ext_len, body_len);
    if (crc32c(crc_seed, p + REC_OFF_LEN, cover) != get_u32le(p + REC_OFF_CRC)) {
        return ST_CORRUPT;
    }
    if (type >= REC_RAFT_ENTRY) {
        return ST_UNSUPPORTED;
    }
    const uint8_t *body = p + REC_HEAD_SIZE + ext_len;
    if (type == REC_APPEND) {
        struct msg m; /* a reference to an extent too */
        enum st st = get_head(body, body_len, &m);
        if (st != ST_OK) {
            return st;
        }
        if (msg_size(m.subj_len, m.hdr_len, m.data_len) != body_len) {
            return ST_CORRUPT;
        }
    }
    *r_out = (struct rec){
        .type = (enum rec_type)type,
        .flags = flags,
        .len = rec_len,
        .gid = get_u32le(p + REC_OFF_GID),
        .sub = get_u32le(p + REC_OFF_SUB),
        .oseq = get_u32le(p + REC_OFF_OSEQ),
        .ext = p + REC_HEAD_SIZE,
        .ext_len = ext_len,
        .body = body,
        .body_len = body_len,
    };
    return ST_OK;
}

/* --- ext of an APPEND: new_floor u64, runs, zeros up to 8 B ----------------------------------- */

static const struct seq_runs no_runs;

size_t append_ext_size(uint64_t new_floor, const struct seq_runs *evicted)
{
    if (evicted == NULL) {
        evicted = &no_runs;
    }
    if (new_floor == 0 && evicted->n == 0) {
        return 0;
    }
    return (size_t)align_up(8 + seq_runs_size(evicted), APPEND_EXT_UNIT);
}

void append_ext_put(uint8_t *out, size_t ext_len, uint64_t new_floor,
                    const struct seq_runs *evicted)
{
    if (evicted == NULL) {
        evicted = &no_runs;
    }
    ASSERT(ext_len >= append_ext_size(new_floor, evicted));
    if (ext_len == 0) {
        return;
    }
    put_u64le(out, new_floor);
    size_t used = 8 + seq_runs_put(out + 8, evicted);
    memset(out + used, 0, ext_len - used);
}

enum st append_ext_get(const uint8_t *in, size_t len, uint64_t *new_floor_out,
                       struct seq_runs *evicted)
{
    *new_floor_out = 0;
    if (len == 0) {
        return ST_OK;
    }
    if (len < 16 || len % APPEND_EXT_UNIT != 0) {
        return ST_CORRUPT;
    }
    size_t used;
    enum st st = seq_runs_get(in + 8, len - 8, &used, evicted);
    if (st != ST_OK) {
        return st;
    }
    for (size_t i = 8 + used; i < len; i++) {
        if (in[i] != 0) {
            return ST_CORRUPT;
        }
    }
    *new_floor_out = get_u64le(in);
    return ST_OK;
}
