/* The bytes of a segment file: header page, blocks, index sections, trailer (FORMAT-segment.md).
 *
 * Pure functions, any thread. Decoders take hostile bytes: they return ST_CORRUPT and never read
 * past what they are given; reserved fields that are set under a good checksum give ST_UNSUPPORTED,
 * a newer version ST_VERSION. */
#ifndef ENGINE_SEGMENT_FORMAT_H
#define ENGINE_SEGMENT_FORMAT_H

#include "engine/base/base.h"
#include "engine/base/err.h"

#define SEG_PAGE 4096u
#define SEG_HALF                                                                                   \
    2048u /* the last page: header copy, then trailer; each half ends with its own CRC */
#define SEG_VERSION 1u
#define SEG_BLOCK_HEAD 128u
#define SEG_ALIGN 8u
#define SEG_NAME_MAX 512u /* bytes of account or stream name kept in the header; longer is cut */
#define SEG_RAW_MAX (256u * 1024u * 1024u) /* of one block or section, decoded */
#define SEG_SPAN_MAX 0x7fffffffu /* sequences between the first and last of a block or segment */

enum seg_block_type { SEG_BT_DATA = 1, SEG_BT_INDEX = 2, SEG_BT_FOOTER = 3 };
enum seg_codec { SEG_CODEC_RAW = 0, SEG_CODEC_ZSTD = 1 };

#define SEG_EXTENT 1u /* flag: begun by the lane (extent.h) */
struct seg_header {
    uint16_t flags;
    uint32_t gid;
    uint32_t gen;
    uint64_t segno;
    uint64_t base_seq; /* first sequence in the file */
    uint64_t created_generation;
    int64_t created_ns;
    uint8_t seg_uuid[16];
    uint8_t store_uuid[16];
    uint16_t account_len, name_len;
    char account[SEG_NAME_MAX + 1];
    char name[SEG_NAME_MAX + 1];
};
/* Writes one half page (SEG_HALF bytes). */
void seg_header_put(uint8_t *out, const struct seg_header *h);
MUST_USE enum st seg_header_get(const uint8_t *in, struct seg_header *h_out);

struct seg_trailer {
    uint8_t seg_uuid[16];
    uint64_t footer_off;
    uint32_t footer_len; /* head and stored body, padding not */
    uint32_t footer_crc; /* its hdr_crc */
    uint32_t chain_crc;
    uint32_t nblocks;
    uint64_t first_seq, last_seq;
    int64_t min_ts, max_ts;
    uint64_t file_len;
    uint64_t nmsgs, raw_bytes, logical_bytes;
    uint64_t prev_section; /* last index section before the footer; 0 = none */
};
void seg_trailer_put(uint8_t *out, const struct seg_trailer *t);
MUST_USE enum st seg_trailer_get(const uint8_t *in, const uint8_t uuid[16],
                                 struct seg_trailer *t_out);

struct seg_bh {
    enum seg_block_type type;
    enum seg_codec codec;
    uint32_t block_no; /* of all blocks in the file, whatever their type */
    uint32_t stored_len;
    uint32_t raw_len;
    uint32_t body_crc;
    uint32_t prev_hdr_crc;
    uint64_t first_seq; /* 0 with nmsgs 0 */
    uint64_t prev_last_seq;
    uint32_t seq_span;
    uint32_t nmsgs;
    int64_t min_ts, max_ts;
    uint32_t hdr_crc; /* set by put and get */
};
/* The seed of header and body checksums: an own one for each place of each file. */
uint32_t seg_block_seed(const uint8_t uuid[16], uint64_t off);
void seg_bh_put(uint8_t *out, struct seg_bh *bh, const uint8_t uuid[16], uint64_t off);
MUST_USE enum st seg_bh_get(const uint8_t *in, const uint8_t uuid[16], uint64_t off,
                            struct seg_bh *bh_out);
static inline uint64_t seg_bh_last_seq(const struct seg_bh *bh)
{
    return bh->first_seq + bh->seq_span;
}
/* Running CRC over the hdr_crc of each data block. */
uint32_t seg_chain_add(uint32_t chain, uint32_t hdr_crc);

/* One line of BIDX, 48 B on disk. */
#define SEG_BIDX_SIZE 48u
struct seg_bidx_disk {
    uint64_t off;
    uint64_t first_seq;
    uint32_t span;
    uint32_t stored_len;
    uint32_t hdr_crc;
    uint32_t nmsgs;
    uint32_t raw_len;
    int64_t min_ts, max_ts;
};
void seg_bidx_put(uint8_t *out, const struct seg_bidx_disk *e, uint64_t base_seq);
MUST_USE enum st seg_bidx_get(const uint8_t *in, uint64_t base_seq, struct seg_bidx_disk *e_out);

/* Body of an index section or footer: head, part directory, parts (each on 8 B). */
#define SEG_SECT_HEAD 40u
#define SEG_PART_ENTRY 16u
#define SEG_PARTS_MAX 16u
enum seg_part {
    SEG_PART_BIDX = 1,
    SEG_PART_DICT = 2,
    SEG_PART_POST = 3,
    SEG_PART_TTL = 4,
    SEG_PART_REMOVED = 5,
    SEG_PART_BLOOM = 6, /* reserved */
    SEG_PART_TOTALS = 7,
};
enum seg_post_kind {
    SEG_POST_RANGE = 0, /* every sequence from first to last; no bytes */
    SEG_POST_GAPS = 1,  /* varint (gap - 1) for each sequence after the first */
    SEG_POST_RUNS =
        2, /* runs: varint (length - 1), then varint (gap - 2) before each further run */
    SEG_POST_ROARING = 3, /* reserved */
};
#define SEG_POST_ONE_SIZE                                                                          \
    4u /* flag beside the kind: all messages of the subject have the same logical size */
#define SEG_DICT_RESTART 32u
#define SEG_TOTALS_SIZE 72u

#endif
