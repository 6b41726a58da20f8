/* Bytes of the journal: file header, group header and trailer, group index (FORMAT-journal.md has
 * the tables and an example). Pure functions, any thread; every structure is written and read field
 * by field, little-endian. Readers take hostile bytes: ST_CORRUPT where a checksum or a bound
 * fails, ST_VERSION or ST_UNSUPPORTED where the checksum is right and the content is not ours to
 * read. */
#ifndef ENGINE_JOURNAL_FORMAT_H
#define ENGINE_JOURNAL_FORMAT_H

#include "engine/record.h"

#define JF_VERSION 1u
#define JF_PAGE 4096u     /* both headers, and the grid of groups */
#define JF_OVERHEAD 8192u /* of a file: the two header pages */
#define JG_FRAME 128u     /* group header and trailer */
#define JG_ALIGN 4096u
#define JG_TWIN_ALIGN 512u
#define JI_HEAD 40u
#define LSN_LANE_SHIFT 56
#define LSN_MAX ((1ull << LSN_LANE_SHIFT) - 1)

struct jf_header {
    uint64_t file_no;
    uint64_t base_lsn;
    uint64_t size; /* bytes, both header pages included; multiple of 4 KiB */
    uint64_t prev_end_lsn;
    uint8_t store_uuid[16];
    uint8_t file_nonce[16];
    uint8_t boot_id[16];
    uint64_t created_ns;
};
/* Writes the 4 KiB header page. */
void jf_header_put(uint8_t page[JF_PAGE], const struct jf_header *h);
MUST_USE enum st jf_header_get(const uint8_t page[JF_PAGE], struct jf_header *h_out);
/* The seed of every CRC of a group in a file: stale groups of the file's earlier life never match.
 */
uint32_t jf_seed(const uint8_t file_nonce[16]);

enum jg_flags { JG_IDLE = 1, JG_ROTATE = 2, JG_SHUTDOWN = 4 };

struct jg_header {
    uint64_t lsn;
    uint64_t group_seq;
    uint64_t durable_seq;
    uint32_t total_len;
    uint32_t body_len;
    uint32_t body_crc;
    uint32_t prev_hdr_crc;
    uint32_t nrec;
    uint16_t flags;
    uint64_t wall_ns;
    uint64_t meta_gen;
    uint32_t index_len;
    uint32_t index_crc;
    uint32_t twin_len;
    uint32_t hdr_crc; /* set by put and get */
};
/* Writes header and trailer (same bytes but for the magic). */
void jg_put(uint8_t head[JG_FRAME], uint8_t tail[JG_FRAME], struct jg_header *h, uint32_t seed);
/* Reads a header (tail false) or trailer. The lengths are consistent with each other when this
 * returns ST_OK; the caller checks the place: lsn, and that the group lies within its file. */
MUST_USE enum st jg_get(const uint8_t in[JG_FRAME], bool tail, uint32_t seed,
                        struct jg_header *h_out);

enum ji_flags {
    JI_REMOVES = 1,
    JI_CONFIG = 2,
    JI_HARD = 4,
    JI_BATCH = 8, /* some record has BATCH_MORE */
    JI_OPEN = 16, /* the last record has BATCH_MORE: its batch goes on behind this entry */
};
#define JI_FLAGS_KNOWN 31u

struct ji_entry {
    uint32_t gid;
    uint32_t nrec;
    uint32_t flags;
    uint32_t entry_len; /* set by get */
    uint64_t first_oseq;
    uint64_t last_seq;
    uint64_t floor;
    const uint8_t *runs; /* get: borrowed from the input; NULL when there are none */
    size_t runs_len;
};
/* Size of the entry, a multiple of 8, and writer. `removed` may be NULL or empty. */
size_t ji_size(const struct seq_runs *removed);
void ji_put(uint8_t *out, size_t size, const struct ji_entry *e, const struct seq_runs *removed);
/* Reads the entry at `in`; the runs are checked by whoever reads them (seq_runs_get). */
MUST_USE enum st ji_get(const uint8_t *in, size_t len, struct ji_entry *e_out);

#endif
