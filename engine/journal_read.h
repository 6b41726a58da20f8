/* Private to recovery and check: reading journal files, frames, records (journal_read.c,
 * journal_recover.c, journal_salvage.c, journal_batch.c). One thread; nothing here writes. */
#ifndef ENGINE_JOURNAL_READ_H
#define ENGINE_JOURNAL_READ_H

#include "engine/journal_int.h"

/* What is known of the group that should stand at a place. */
struct jr_frame {
    bool head_ok, tail_ok;
    struct jg_header h; /* of either; valid when head_ok or tail_ok */
};

/* What stands behind a place. */
struct jr_scan {
    bool own_tail; /* the trailer of the group at the place itself */
    struct jg_header own;
    bool later; /* a later frame in the same file */
    uint64_t later_off;
    uint64_t later_seq;
    uint64_t max_durable; /* highest durable_seq of any later frame */
    uint64_t bytes;       /* of later frames */
};

/* A batch of which the last record was not seen yet. */
struct jr_held {
    uint64_t lsn;
    const uint8_t *bytes;   /* inside chunk */
    size_t room;            /* readable from bytes on */
    struct jr_chunk *chunk; /* shared */
    uint64_t wall_ns;
};
struct jr_batch {
    uint32_t gid;
    bool doubtful; /* something unknown was lost since it began: its end may be among that */
    struct jr_held *v;
    size_t n, cap;
};

/* What the index said last of a gid. */
struct jr_chain {
    uint32_t gid;
    bool used;
    uint64_t next_oseq;
    uint64_t last_seq;
};

struct jr_rd {
    struct env *env;
    const struct jr_opts *opts;
    struct jr_files *files; /* borrowed; opened for reading */
    const struct jr_visitor *v;
    struct jr_recovered *out;
    struct jr_check_report *report;
    uint64_t from_lsn; /* checkpoint */
    uint64_t hint_lsn; /* end_lsn of a clean stop, or 0 */
    uint8_t boot_id[16];
    struct err *err;

    struct jr_chunk *chunk; /* shared; holds chunk->used bytes of a file */
    size_t chunk_file;
    uint64_t chunk_off;
    uint8_t *scan_buf; /* owned */

    size_t fi;       /* where we are: file, and */
    uint64_t off;    /* offset of the next group in it */
    bool prev_known; /* a group was read before this place */
    uint64_t prev_seq;
    bool chain_known; /* prev_hdr_crc of the next group is known */
    uint32_t prev_crc;
    bool blind; /* a group was lost of which not even the index could be read */

    struct jr_batch *batches;
    size_t nbatches, batches_cap;
    struct jr_chain *chains; /* open addressing */
    size_t nchains, chains_cap;
    struct rec *recs; /* of the group at hand */
    size_t recs_cap;
};

static inline struct jr_file *rd_file(struct jr_rd *rd, size_t fi)
{
    return &rd->files->v[fi];
}
static inline uint64_t rd_lsn(struct jr_rd *rd, size_t fi, uint64_t off)
{
    return rd_file(rd, fi)->h.base_lsn + off;
}
/* End of the place for groups: the last page, or less when the file was cut short. */
static inline uint64_t rd_end_off(struct jr_rd *rd, size_t fi)
{
    const struct jr_file *f = rd_file(rd, fi);
    return u64_min(f->h.size - JF_PAGE, f->disk_size & ~(uint64_t)(JF_PAGE - 1));
}

/* journal_read.c */
void rd_fini(struct jr_rd *rd);
/* Bytes [off, off+len) of a file, valid until the next rd_map; they lie in rd->chunk. What the file
 * does not hold, or the device does not give, reads as zero. */
MUST_USE enum st rd_map(struct jr_rd *rd, size_t fi, uint64_t off, size_t len,
                        const uint8_t **p_out);
/* Header and trailer of the group at off. ST_UNSUPPORTED for fields of a later version. */
MUST_USE enum st rd_frame(struct jr_rd *rd, size_t fi, uint64_t off, struct jr_frame *fr_out);
/* Looks at every page of [off, end) for frames that are later than lsn, and for lsn's own trailer.
 */
MUST_USE enum st rd_scan(struct jr_rd *rd, size_t fi, uint64_t off, uint64_t end, uint64_t lsn,
                         struct jr_scan *sc);
void rd_damage(struct jr_rd *rd, enum jr_damage_cause cause, uint32_t gid, uint64_t lo, uint64_t hi,
               bool lost, const char *fmt, ...) __attribute__((format(printf, 7, 8)));
struct jr_chain *rd_chain(struct jr_rd *rd, uint32_t gid); /* NULL when the gid was not seen */
void rd_chain_set(struct jr_rd *rd, const struct ji_entry *e);

/* journal_batch.c: hands records to the visitor */
MUST_USE enum st rd_record(struct jr_rd *rd, uint64_t lsn, const struct rec *r,
                           const uint8_t *bytes, size_t room, uint64_t wall_ns);
/* A rotten record of gid was the end of its batch: what is held of it is applied. */
MUST_USE enum st rd_batch_flush(struct jr_rd *rd, uint32_t gid);
/* A recovery ended here, or this one does: incomplete batches were never acknowledged. */
MUST_USE enum st rd_batches_end(struct jr_rd *rd);
void rd_batches_doubt(struct jr_rd *rd);
void rd_batches_fini(struct jr_rd *rd);

/* journal_salvage.c: records of a damaged group one by one; `p` is the whole group in rd->chunk. */
MUST_USE enum st rd_salvage(struct jr_rd *rd, const struct jr_frame *fr, const uint8_t *p,
                            const char *what);

#endif
