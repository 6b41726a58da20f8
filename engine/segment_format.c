/* Field by field encoding of segment files; every byte that is not a field is zero. Offsets stand
 * here once and in FORMAT.md. */
#include "engine/segment_format.h"

#define HEADER_MAGIC 0x4745534dU  /* "MSEG" */
#define TRAILER_MAGIC 0x4c54534dU /* "MSTL" */
#define BLOCK_MAGIC 0x4b4c424dU   /* "MBLK" */

enum header_off {
    H_MAGIC = 0,
    H_VERSION = 4,
    H_FLAGS = 6,
    H_GID = 8,
    H_GEN = 12,
    H_SEGNO = 16,
    H_BASE_SEQ = 24,
    H_CREATED_GEN = 32,
    H_CREATED_NS = 40,
    H_UUID = 48,
    H_STORE = 64,
    H_CODEC = 80,  /* 1; 0: each block names its own */
    H_CIPHER = 81, /* 1; 0 */
    H_KEY_ID = 84, /* 4; 0 */
    H_DEK = 88,    /* 72; 0 */
    H_ACCOUNT_LEN = 160,
    H_NAME_LEN = 162,
    H_ACCOUNT = 168,
    H_NAME = H_ACCOUNT + (int)SEG_NAME_MAX,
    H_END = H_NAME + (int)SEG_NAME_MAX,
    H_CRC = (int)SEG_HALF - 4,
};
enum trailer_off {
    T_MAGIC = 0,
    T_VERSION = 4,
    T_UUID = 8,
    T_FOOTER_OFF = 24,
    T_FOOTER_LEN = 32,
    T_FOOTER_CRC = 36,
    T_CHAIN = 40,
    T_NBLOCKS = 44,
    T_FIRST = 48,
    T_LAST = 56,
    T_MIN_TS = 64,
    T_MAX_TS = 72,
    T_FILE_LEN = 80,
    T_NMSGS = 88,
    T_RAW = 96,
    T_LOGICAL = 104,
    T_PREV_SECTION = 112,
    T_END = 120,
    T_CRC = (int)SEG_HALF - 4,
};
enum block_off {
    B_MAGIC = 0,
    B_CRC = 4,
    B_TYPE = 8,
    B_CODEC = 9,
    B_CIPHER = 10,
    B_FLAGS = 11,
    B_NO = 12,
    B_STORED = 16,
    B_RAW = 20,
    B_BODY_CRC = 24,
    B_PREV_CRC = 28,
    B_FIRST = 32,
    B_PREV_LAST = 40,
    B_SPAN = 48,
    B_NMSGS = 52,
    B_MIN_TS = 56,
    B_MAX_TS = 64,
    B_RAFT = 72,
    B_NONCE = 80,
    B_TAG = 104,
    B_KEY_ID = 120,
    B_DICT_ID = 124,
};
_Static_assert((int)H_END <= (int)H_CRC, "the header fits its half page");
_Static_assert((int)B_DICT_ID + 4 == (int)SEG_BLOCK_HEAD, "the block header is 128 B");

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}

/* --- header and trailer ----------------------------------------------------------------------- */

void seg_header_put(uint8_t *out, const struct seg_header *h)
{
    ASSERT(h->account_len <= SEG_NAME_MAX);
    ASSERT(h->name_len <= SEG_NAME_MAX);
    memset(out, 0, SEG_HALF);
    put_u32le(out + H_MAGIC, HEADER_MAGIC);
    put_u16le(out + H_VERSION, SEG_VERSION);
    put_u16le(out + H_FLAGS, h->flags);
    put_u32le(out + H_GID, h->gid);
    put_u32le(out + H_GEN, h->gen);
    put_u64le(out + H_SEGNO, h->segno);
    put_u64le(out + H_BASE_SEQ, h->base_seq);
    put_u64le(out + H_CREATED_GEN, h->created_generation);
    put_u64le(out + H_CREATED_NS, (uint64_t)h->created_ns);
    memcpy(out + H_UUID, h->seg_uuid, 16);
    memcpy(out + H_STORE, h->store_uuid, 16);
    put_u16le(out + H_ACCOUNT_LEN, h->account_len);
    put_u16le(out + H_NAME_LEN, h->name_len);
    memcpy(out + H_ACCOUNT, h->account, h->account_len);
    memcpy(out + H_NAME, h->name, h->name_len);
    put_u32le(out + H_CRC, crc32c(0, out, H_CRC));
}

enum st seg_header_get(const uint8_t *in, struct seg_header *h_out)
{
    if (get_u32le(in + H_MAGIC) != HEADER_MAGIC || get_u32le(in + H_CRC) != crc32c(0, in, H_CRC)) {
        return ST_CORRUPT;
    }
    if (get_u16le(in + H_VERSION) != SEG_VERSION) {
        return get_u16le(in + H_VERSION) > SEG_VERSION ? ST_VERSION : ST_CORRUPT;
    }
    uint16_t flags = get_u16le(in + H_FLAGS);
    if ((flags & ~SEG_EXTENT) != 0 || !all_zero(in + H_CODEC, H_ACCOUNT_LEN - H_CODEC) ||
        !all_zero(in + H_NAME_LEN + 2, H_ACCOUNT - H_NAME_LEN - 2) ||
        !all_zero(in + H_END, H_CRC - H_END)) {
        return ST_UNSUPPORTED;
    }
    uint16_t account_len = get_u16le(in + H_ACCOUNT_LEN);
    uint16_t name_len = get_u16le(in + H_NAME_LEN);
    if (account_len > SEG_NAME_MAX || name_len > SEG_NAME_MAX) {
        return ST_CORRUPT;
    }
    memset(h_out, 0, sizeof(*h_out));
    h_out->flags = flags;
    h_out->gid = get_u32le(in + H_GID);
    h_out->gen = get_u32le(in + H_GEN);
    h_out->segno = get_u64le(in + H_SEGNO);
    h_out->base_seq = get_u64le(in + H_BASE_SEQ);
    h_out->created_generation = get_u64le(in + H_CREATED_GEN);
    h_out->created_ns = (int64_t)get_u64le(in + H_CREATED_NS);
    memcpy(h_out->seg_uuid, in + H_UUID, 16);
    memcpy(h_out->store_uuid, in + H_STORE, 16);
    h_out->account_len = account_len;
    h_out->name_len = name_len;
    memcpy(h_out->account, in + H_ACCOUNT, account_len);
    memcpy(h_out->name, in + H_NAME, name_len);
    return ST_OK;
}

void seg_trailer_put(uint8_t *out, const struct seg_trailer *t)
{
    memset(out, 0, SEG_HALF);
    put_u32le(out + T_MAGIC, TRAILER_MAGIC);
    put_u16le(out + T_VERSION, SEG_VERSION);
    memcpy(out + T_UUID, t->seg_uuid, 16);
    put_u64le(out + T_FOOTER_OFF, t->footer_off);
    put_u32le(out + T_FOOTER_LEN, t->footer_len);
    put_u32le(out + T_FOOTER_CRC, t->footer_crc);
    put_u32le(out + T_CHAIN, t->chain_crc);
    put_u32le(out + T_NBLOCKS, t->nblocks);
    put_u64le(out + T_FIRST, t->first_seq);
    put_u64le(out + T_LAST, t->last_seq);
    put_u64le(out + T_MIN_TS, (uint64_t)t->min_ts);
    put_u64le(out + T_MAX_TS, (uint64_t)t->max_ts);
    put_u64le(out + T_FILE_LEN, t->file_len);
    put_u64le(out + T_NMSGS, t->nmsgs);
    put_u64le(out + T_RAW, t->raw_bytes);
    put_u64le(out + T_LOGICAL, t->logical_bytes);
    put_u64le(out + T_PREV_SECTION, t->prev_section);
    put_u32le(out + T_CRC, crc32c(seg_block_seed(t->seg_uuid, 0), out, T_CRC));
}

enum st seg_trailer_get(const uint8_t *in, const uint8_t uuid[16], struct seg_trailer *t_out)
{
    if (get_u32le(in + T_MAGIC) != TRAILER_MAGIC || memcmp(in + T_UUID, uuid, 16) != 0 ||
        get_u32le(in + T_CRC) != crc32c(seg_block_seed(uuid, 0), in, T_CRC)) {
        return ST_CORRUPT;
    }
    if (get_u16le(in + T_VERSION) != SEG_VERSION || get_u16le(in + T_VERSION + 2) != 0 ||
        !all_zero(in + T_END, T_CRC - T_END)) {
        return ST_UNSUPPORTED;
    }
    *t_out = (struct seg_trailer){
        .footer_off = get_u64le(in + T_FOOTER_OFF),
        .footer_len = get_u32le(in + T_FOOTER_LEN),
        .footer_crc = get_u32le(in + T_FOOTER_CRC),
        .chain_crc = get_u32le(in + T_CHAIN),
        .nblocks = get_u32le(in + T_NBLOCKS),
        .first_seq = get_u64le(in + T_FIRST),
        .last_seq = get_u64le(in + T_LAST),
        .min_ts = (int64_t)get_u64le(in + T_MIN_TS),
        .max_ts = (int64_t)get_u64le(in + T_MAX_TS),
        .file_len = get_u64le(in + T_FILE_LEN),
        .nmsgs = get_u64le(in + T_NMSGS),
        .raw_bytes = get_u64le(in + T_RAW),
        .logical_bytes = get_u64le(in + T_LOGICAL),
        .prev_section = get_u64le(in + T_PREV_SECTION),
    };
    memcpy(t_out->seg_uuid, uuid, 16);
    return ST_OK;
}

/* --- blocks ----------------------------------------------------------------------------------- */

uint32_t seg_block_seed(const uint8_t uuid[16], uint64_t off)
{
    uint8_t b[24];
    memcpy(b, uuid, 16);
    put_u64le(b + 16, off);
    return crc32c(0, b, sizeof(b));
}

uint32_t seg_chain_add(uint32_t chain, uint32_t hdr_crc)
{
    uint8_t b[4];
    put_u32le(b, hdr_crc);
    return crc32c(chain, b, sizeof(b));
}

void seg_bh_put(uint8_t *out, struct seg_bh *bh, const uint8_t uuid[16], uint64_t off)
{
    ASSERT(bh->seq_span <= SEG_SPAN_MAX);
    ASSERT(bh->raw_len <= SEG_RAW_MAX);
    ASSERT(IMPLIES(bh->codec == SEG_CODEC_RAW, bh->raw_len == bh->stored_len));
    memset(out, 0, SEG_BLOCK_HEAD);
    put_u32le(out + B_MAGIC, BLOCK_MAGIC);
    out[B_TYPE] = (uint8_t)bh->type;
    out[B_CODEC] = (uint8_t)bh->codec;
    put_u32le(out + B_NO, bh->block_no);
    put_u32le(out + B_STORED, bh->stored_len);
    put_u32le(out + B_RAW, bh->raw_len);
    put_u32le(out + B_BODY_CRC, bh->body_crc);
    put_u32le(out + B_PREV_CRC, bh->prev_hdr_crc);
    put_u64le(out + B_FIRST, bh->first_seq);
    put_u64le(out + B_PREV_LAST, bh->prev_last_seq);
    put_u32le(out + B_SPAN, bh->seq_span);
    put_u32le(out + B_NMSGS, bh->nmsgs);
    put_u64le(out + B_MIN_TS, (uint64_t)bh->min_ts);
    put_u64le(out + B_MAX_TS, (uint64_t)bh->max_ts);
    bh->hdr_crc = crc32c(seg_block_seed(uuid, off), out + B_TYPE, SEG_BLOCK_HEAD - B_TYPE);
    put_u32le(out + B_CRC, bh->hdr_crc);
}

/* What a good checksum does not promise: that our own rules hold. */
static bool bh_sane(const struct seg_bh *bh)
{
    if (bh->type < SEG_BT_DATA || bh->type > SEG_BT_FOOTER || bh->codec > SEG_CODEC_ZSTD) {
        return false;
    }
    if (bh->stored_len == 0 || bh->raw_len == 0 || bh->raw_len > SEG_RAW_MAX ||
        bh->stored_len > SEG_RAW_MAX) {
        return false;
    }
    if (bh->codec == SEG_CODEC_RAW && bh->raw_len != bh->stored_len) {
        return false;
    }
    if (bh->seq_span > SEG_SPAN_MAX || bh->first_seq > UINT64_MAX - bh->seq_span) {
        return false;
    }
    if (bh->nmsgs == 0) {
        return bh->type != SEG_BT_DATA;
    }
    return bh->first_seq != 0 && bh->nmsgs - 1 <= bh->seq_span;
}

enum st seg_bh_get(const uint8_t *in, const uint8_t uuid[16], uint64_t off, struct seg_bh *bh_out)
{
    if (get_u32le(in + B_MAGIC) != BLOCK_MAGIC) {
        return ST_CORRUPT;
    }
    uint32_t crc = crc32c(seg_block_seed(uuid, off), in + B_TYPE, SEG_BLOCK_HEAD - B_TYPE);
    if (get_u32le(in + B_CRC) != crc) {
        return ST_CORRUPT;
    }
    if (in[B_CIPHER] != 0 || in[B_FLAGS] != 0 || !all_zero(in + B_RAFT, SEG_BLOCK_HEAD - B_RAFT)) {
        return ST_UNSUPPORTED;
    }
    *bh_out = (struct seg_bh){
        .type = (enum seg_block_type)in[B_TYPE],
        .codec = (enum seg_codec)in[B_CODEC],
        .block_no = get_u32le(in + B_NO),
        .stored_len = get_u32le(in + B_STORED),
        .raw_len = get_u32le(in + B_RAW),
        .body_crc = get_u32le(in + B_BODY_CRC),
        .prev_hdr_crc = get_u32le(in + B_PREV_CRC),
        .first_seq = get_u64le(in + B_FIRST),
        .prev_last_seq = get_u64le(in + B_PREV_LAST),
        .seq_span = get_u32le(in + B_SPAN),
        .nmsgs = get_u32le(in + B_NMSGS),
        .min_ts = (int64_t)get_u64le(in + B_MIN_TS),
        .max_ts = (int64_t)get_u64le(in + B_MAX_TS),
        .hdr_crc = crc,
    };
    return bh_sane(bh_out) ? ST_OK : ST_CORRUPT;
}

/* --- block index ------------------------------------------------------------------------------ */

void seg_bidx_put(uint8_t *out, const struct seg_bidx_disk *e, uint64_t base_seq)
{
    ASSERT(e->off < (uint64_t)1 << 40);
    ASSERT(e->first_seq >= base_seq && e->first_seq - base_seq <= SEG_SPAN_MAX);
    put_u64le(out, e->off);
    put_u32le(out + 8, (uint32_t)(e->first_seq - base_seq));
    put_u32le(out + 12, e->span);
    put_u32le(out + 16, e->stored_len);
    put_u32le(out + 20, e->hdr_crc);
    put_u64le(out + 24, (uint64_t)e->min_ts);
    put_u64le(out + 32, (uint64_t)e->max_ts);
    put_u32le(out + 40, e->nmsgs);
    put_u32le(out + 44, e->raw_len);
}

enum st seg_bidx_get(const uint8_t *in, uint64_t base_seq, struct seg_bidx_disk *e_out)
{
    uint64_t off = get_u64le(in);
    uint32_t delta = get_u32le(in + 8);
    *e_out = (struct seg_bidx_disk){
        .off = off,
        .first_seq = base_seq + delta,
        .span = get_u32le(in + 12),
        .stored_len = get_u32le(in + 16),
        .hdr_crc = get_u32le(in + 20),
        .min_ts = (int64_t)get_u64le(in + 24),
        .max_ts = (int64_t)get_u64le(in + 32),
        .nmsgs = get_u32le(in + 40),
        .raw_len = get_u32le(in + 44),
    };
    bool bad = off >= (uint64_t)1 << 40 || off < SEG_PAGE || off % SEG_ALIGN != 0 ||
               delta > SEG_SPAN_MAX || e_out->span > SEG_SPAN_MAX ||
               base_seq > UINT64_MAX - 2 * (uint64_t)SEG_SPAN_MAX || e_out->stored_len == 0 ||
               e_out->nmsgs == 0 || e_out->nmsgs - 1 > e_out->span;
    return bad ? ST_CORRUPT : ST_OK;
}
