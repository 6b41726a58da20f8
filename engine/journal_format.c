/* Encoding of the journal's structures (journal_format.h). */
#include "engine/journal_format.h"

#define JF_MAGIC 0x4a524c4du      /* "MLRJ" */
#define JG_MAGIC_HEAD 0x3147524du /* "MRG1" */
#define JG_MAGIC_TAIL 0xceb8adb2u /* the complement: no flipped bit turns one into the other */
#define JF_WRAPPED_DEK 72

enum jf_off {
    JF_OFF_MAGIC = 0,
    JF_OFF_VERSION = 4,
    JF_OFF_LANE = 6,
    JF_OFF_FILE_NO = 8,
    JF_OFF_BASE = 16,
    JF_OFF_SIZE = 24,
    JF_OFF_PREV_END = 32,
    JF_OFF_UUID = 40,
    JF_OFF_NONCE = 56,
    JF_OFF_BOOT_ID = 72,
    JF_OFF_CREATED = 88,
    JF_OFF_CIPHER = 96,
    JF_OFF_KEY_ID = 100,
    JF_OFF_DEK = 104,
    JF_OFF_FREE = JF_OFF_DEK + JF_WRAPPED_DEK,
    JF_OFF_CRC = 4092,
};

static bool all_zero(const uint8_t *p, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++) {
        any |= p[i];
    }
    return any == 0;
}

void jf_header_put(uint8_t page[JF_PAGE], const struct jf_header *h)
{
    memset(page, 0, JF_PAGE);
    put_u32le(page + JF_OFF_MAGIC, JF_MAGIC);
    put_u16le(page + JF_OFF_VERSION, JF_VERSION);
    put_u16le(page + JF_OFF_LANE, 0);
    put_u64le(page + JF_OFF_FILE_NO, h->file_no);
    put_u64le(page + JF_OFF_BASE, h->base_lsn);
    put_u64le(page + JF_OFF_SIZE, h->size);
    put_u64le(page + JF_OFF_PREV_END, h->prev_end_lsn);
    memcpy(page + JF_OFF_UUID, h->store_uuid, 16);
    memcpy(page + JF_OFF_NONCE, h->file_nonce, 16);
    memcpy(page + JF_OFF_BOOT_ID, h->boot_id, 16);
    put_u64le(page + JF_OFF_CREATED, h->created_ns);
    put_u32le(page + JF_OFF_CRC, crc32c(0, page, JF_OFF_CRC));
}

enum st jf_header_get(const uint8_t page[JF_PAGE], struct jf_header *h_out)
{
    if (get_u32le(page + JF_OFF_CRC) != crc32c(0, page, JF_OFF_CRC) ||
        get_u32le(page) != JF_MAGIC) {
        return ST_CORRUPT;
    }
    if (get_u16le(page + JF_OFF_VERSION) != JF_VERSION) {
        return get_u16le(page + JF_OFF_VERSION) > JF_VERSION ? ST_VERSION : ST_CORRUPT;
    }
    /* lane, cipher, key and everything reserved: fields of later versions */
    if (get_u16le(page + JF_OFF_LANE) != 0 ||
        !all_zero(page + JF_OFF_CIPHER, JF_OFF_CRC - JF_OFF_CIPHER)) {
        return ST_UNSUPPORTED;
    }
    struct jf_header h = {
        .file_no = get_u64le(page + JF_OFF_FILE_NO),
        .base_lsn = get_u64le(page + JF_OFF_BASE),
        .size = get_u64le(page + JF_OFF_SIZE),
        .prev_end_lsn = get_u64le(page + JF_OFF_PREV_END),
        .created_ns = get_u64le(page + JF_OFF_CREATED),
    };
    memcpy(h.store_uuid, page + JF_OFF_UUID, 16);
    memcpy(h.file_nonce, page + JF_OFF_NONCE, 16);
    memcpy(h.boot_id, page + JF_OFF_BOOT_ID, 16);
    if (h.size < JF_OVERHEAD || h.size % JF_PAGE != 0 || h.base_lsn % JF_PAGE != 0 ||
        h.base_lsn > LSN_MAX || h.size > LSN_MAX - h.base_lsn || h.prev_end_lsn > h.base_lsn ||
        h.prev_end_lsn % JF_PAGE != 0) {
        return ST_CORRUPT;
    }
    *h_out = h;
    return ST_OK;
}

uint32_t jf_seed(const uint8_t file_nonce[16])
{
    return crc32c(0, file_nonce, 16);
}

/* --- groups ----------------------------------------------------------------------------------- */

enum jg_off {
    JG_OFF_MAGIC = 0,
    JG_OFF_CRC = 4,
    JG_OFF_LSN = 8,
    JG_OFF_SEQ = 16,
    JG_OFF_DURABLE = 24,
    JG_OFF_TOTAL = 32,
    JG_OFF_BODY_LEN = 36,
    JG_OFF_RAW_LEN = 40,
    JG_OFF_BODY_CRC = 44,
    JG_OFF_PREV_CRC = 48,
    JG_OFF_NREC = 52,
    JG_OFF_FLAGS = 56,
    JG_OFF_LANE = 58,
    JG_OFF_CODEC = 60,
    JG_OFF_CIPHER = 61,
    JG_OFF_RESERVED = 62,
    JG_OFF_WALL = 64,
    JG_OFF_META_GEN = 72,
    JG_OFF_INDEX_LEN = 80,
    JG_OFF_INDEX_CRC = 84,
    JG_OFF_TWIN_LEN = 88,
    JG_OFF_KEY_ID = 92,
    JG_OFF_TAG = 96,
};
#define JG_FLAGS_KNOWN (JG_IDLE | JG_ROTATE | JG_SHUTDOWN)

void jg_put(uint8_t head[JG_FRAME], uint8_t tail[JG_FRAME], struct jg_header *h, uint32_t seed)
{
    ASSERT(h->total_len % JG_ALIGN == 0);
    ASSERT((uint64_t)h->body_len + 2 * JG_FRAME <= h->total_len);
    memset(head, 0, JG_FRAME);
    put_u32le(head + JG_OFF_MAGIC, JG_MAGIC_HEAD);
    put_u64le(head + JG_OFF_LSN, h->lsn);
    put_u64le(head + JG_OFF_SEQ, h->group_seq);
    put_u64le(head + JG_OFF_DURABLE, h->durable_seq);
    put_u32le(head + JG_OFF_TOTAL, h->total_len);
    put_u32le(head + JG_OFF_BODY_LEN, h->body_len);
    put_u32le(head + JG_OFF_RAW_LEN, h->body_len);
    put_u32le(head + JG_OFF_BODY_CRC, h->body_crc);
    put_u32le(head + JG_OFF_PREV_CRC, h->prev_hdr_crc);
    put_u32le(head + JG_OFF_NREC, h->nrec);
    put_u16le(head + JG_OFF_FLAGS, h->flags);
    put_u64le(head + JG_OFF_WALL, h->wall_ns);
    put_u64le(head + JG_OFF_META_GEN, h->meta_gen);
    put_u32le(head + JG_OFF_INDEX_LEN, h->index_len);
    put_u32le(head + JG_OFF_INDEX_CRC, h->index_crc);
    put_u32le(head + JG_OFF_TWIN_LEN, h->twin_len);
    h->hdr_crc = crc32c(seed, head + JG_OFF_LSN, JG_FRAME - JG_OFF_LSN);
    put_u32le(head + JG_OFF_CRC, h->hdr_crc);
    memcpy(tail, head, JG_FRAME);
    put_u32le(tail + JG_OFF_MAGIC, JG_MAGIC_TAIL);
}

/* Reserved and later fields are zero. */
static bool jg_plain(const uint8_t *in)
{
    return get_u16le(in + JG_OFF_LANE) == 0 && get_u32le(in + JG_OFF_CODEC) == 0 &&
           all_zero(in + JG_OFF_KEY_ID, JG_FRAME - JG_OFF_KEY_ID) &&
           (get_u16le(in + JG_OFF_FLAGS) & ~(unsigned)JG_FLAGS_KNOWN) == 0;
}

enum st jg_get(const uint8_t in[JG_FRAME], bool tail, uint32_t seed, struct jg_header *h_out)
{
    if (get_u32le(in + JG_OFF_MAGIC) != (tail ? JG_MAGIC_TAIL : JG_MAGIC_HEAD)) {
        return ST_CORRUPT;
    }
    uint32_t crc = get_u32le(in + JG_OFF_CRC);
    if (crc != crc32c(seed, in + JG_OFF_LSN, JG_FRAME - JG_OFF_LSN)) {
        return ST_CORRUPT;
    }
    if (!jg_plain(in)) {
        return ST_UNSUPPORTED;
    }
    struct jg_header h = {
        .lsn = get_u64le(in + JG_OFF_LSN),
        .group_seq = get_u64le(in + JG_OFF_SEQ),
        .durable_seq = get_u64le(in + JG_OFF_DURABLE),
        .total_len = get_u32le(in + JG_OFF_TOTAL),
        .body_len = get_u32le(in + JG_OFF_BODY_LEN),
        .body_crc = get_u32le(in + JG_OFF_BODY_CRC),
        .prev_hdr_crc = get_u32le(in + JG_OFF_PREV_CRC),
        .nrec = get_u32le(in + JG_OFF_NREC),
        .flags = get_u16le(in + JG_OFF_FLAGS),
        .wall_ns = get_u64le(in + JG_OFF_WALL),
        .meta_gen = get_u64le(in + JG_OFF_META_GEN),
        .index_len = get_u32le(in + JG_OFF_INDEX_LEN),
        .index_crc = get_u32le(in + JG_OFF_INDEX_CRC),
        .twin_len = get_u32le(in + JG_OFF_TWIN_LEN),
        .hdr_crc = crc,
    };
    bool fits = h.total_len >= JG_ALIGN && h.total_len % JG_ALIGN == 0 && h.lsn % JG_ALIGN == 0 &&
                h.body_len <= h.total_len - 2 * JG_FRAME &&
                get_u32le(in + JG_OFF_RAW_LEN) == h.body_len && h.index_len <= h.body_len &&
                h.twin_len <= h.body_len - h.index_len && h.index_len % 8 == 0 &&
                (h.twin_len == 0 || (JG_FRAME + h.body_len - h.twin_len) % JG_TWIN_ALIGN == 0) &&
                h.nrec <= h.body_len / REC_HEAD_SIZE && h.group_seq > 0 &&
                h.durable_seq < h.group_seq;
    if (!fits) {
        return ST_CORRUPT;
    }
    *h_out = h;
    return ST_OK;
}

/* --- index ------------------------------------------------------------------------------------ */

size_t ji_size(const struct seq_runs *removed)
{
    size_t runs = removed != NULL && removed->n != 0 ? seq_runs_size(removed) : 0;
    return (size_t)align_up(JI_HEAD + runs, 8);
}

void ji_put(uint8_t *out, size_t size, const struct ji_entry *e, const struct seq_runs *removed)
{
    ASSERT(size <= UINT32_MAX);
    put_u32le(out, e->gid);
    put_u32le(out + 4, (uint32_t)size);
    put_u64le(out + 8, e->first_oseq);
    put_u32le(out + 16, e->nrec);
    put_u32le(out + 20, e->flags);
    put_u64le(out + 24, e->last_seq);
    put_u64le(out + 32, e->floor);
    size_t used = JI_HEAD;
    if (removed != NULL && removed->n != 0) {
        used += seq_runs_put(out + used, removed);
    }
    ASSERT(used <= size);
    memset(out + used, 0, size - used);
}

enum st ji_get(const uint8_t *in, size_t len, struct ji_entry *e_out)
{
    if (len < JI_HEAD) {
        return ST_CORRUPT;
    }
    uint32_t entry_len = get_u32le(in + 4);
    if (entry_len < JI_HEAD || entry_len > len || entry_len % 8 != 0) {
        return ST_CORRUPT;
    }
    *e_out = (struct ji_entry){
        .gid = get_u32le(in),
        .entry_len = entry_len,
        .first_oseq = get_u64le(in + 8),
        .nrec = get_u32le(in + 16),
        .flags = get_u32le(in + 20),
        .last_seq = get_u64le(in + 24),
        .floor = get_u64le(in + 32),
        .runs = entry_len > JI_HEAD ? in + JI_HEAD : NULL,
        .runs_len = entry_len - JI_HEAD,
    };
    return (e_out->flags & ~JI_FLAGS_KNOWN) == 0 && e_out->nrec != 0 ? ST_OK : ST_CORRUPT;
}
