/* What the segment*.c files share and nobody else includes. */
#ifndef ENGINE_SEGMENT_IMPL_H
#define ENGINE_SEGMENT_IMPL_H

#include "engine/base/limits.h"
#include "engine/base/mutex.h"
#include "engine/segment.h"
#include "engine/segment_index.h"

#define SEG_PATH_MAX 4352u
/* What goes past the page cache in one transfer. */
#define SEG_BULK_BYTES ((size_t)2 * MIB)
#define SEG_EXTENT_BYTES ((size_t)16 * MIB) /* the same for the lane */
/* A block that stores more than this holds one large message. */
#define SEG_LARGE_BLOCK ((uint32_t)LIM_BLOCK_BYTES_TARGET)

/* --- files and descriptors (segment.c) -------------------------------------------------------- */

struct seg_file {
    atomic_uint refs;  /* views and readers */
    struct segs *segs; /* borrowed: outlives all files */
    uint64_t id;       /* process-wide */
    uint32_t gid;
    uint32_t gen;
    uint64_t segno;
    uint8_t uuid[16];
    /* Up to where a flush has ended and synced, UINT64_MAX after a failed one. Beyond a view's
     * durable_len: some row, of a commit whose outcome is not known, may name those bytes, or the
     * file is abandoned: not to be continued. */
    atomic_uint_fast64_t written_len;
    atomic_uint_fast64_t past_cache;      /* bytes read past the page cache */
    struct env_file *rf;                  /* for reading; guarded by: segs->mutex */
    unsigned rf_pins;                     /* reads under way; guarded by: segs->mutex */
    struct seg_file *lru_prev, *lru_next; /* while rf is open; guarded by: segs->mutex */
    bool doomed;                          /* guarded by: segs->mutex */
    struct seg_file *doomed_next;         /* guarded by: segs->mutex */
};

/* What is known of a stream's directory. */
struct seg_dir {
    uint32_t gid;
    bool durable;     /* its own name and those above it */
    uint64_t entries; /* files made in it by this process */
    uint64_t synced;  /* of those, how many a sync has covered */
};

struct segs {
    struct env *env; /* borrowed */
    char *root;      /* owned */
    uint8_t store_uuid[16];
    uint32_t crc_seed;
    uint64_t hash_seed; /* random: clients choose subjects */
    unsigned open_files_max;
    struct base_mutex mutex;
    unsigned open_files;                  /* guarded by: mutex */
    struct seg_file *lru_head, *lru_tail; /* head = used last; guarded by: mutex */
    struct seg_file *doomed; /* no references left, to be unlinked; guarded by: mutex */
    size_t doomed_pinned;    /* doomed files that still have references; guarded by: mutex */
    struct seg_dir *dirs;    /* owned; open addressing by gid, 0 = free; guarded by: mutex */
    size_t dirs_cap, dirs_n;
    atomic_size_t files;           /* seg_file objects alive */
    atomic_size_t extents;         /* writers of extents alive */
    atomic_bool extent_pages_used; /* since the last segs_trim */
    uint8_t *_Atomic extent_pages; /* likewise, of SEG_EXTENT_BYTES */
    uint8_t *_Atomic bulk_pages; /* owned; of SEG_BULK_BYTES; for the next writer that wants them */
};

void segs_path_dir(const struct segs *s, uint32_t gid, char out[SEG_PATH_MAX]);
void segs_path_file(const struct segs *s, uint32_t gid, uint64_t segno, uint32_t gen,
                    char out[SEG_PATH_MAX]);
/* This gid's directory and those above it are durable. */
void segs_gid_synced(struct segs *s, uint32_t gid);
/* A file has been made in it. */
void segs_gid_entry(struct segs *s, uint32_t gid);

struct seg_file *seg_file_create(struct segs *s, uint32_t gid, uint64_t segno, uint32_t gen,
                                 const uint8_t uuid[16]);
struct seg_file *seg_file_acquire(struct seg_file *f);
void seg_file_doom(struct seg_file *f); /* unlinked by segs_reap when nobody holds it any more */
void seg_file_release(struct seg_file *f);
/* Opens (or finds open) the descriptor and pins it until unpin. ST_NOTFOUND, ST_IO. */
MUST_USE enum st seg_file_pin(struct seg_file *f, struct env_file **rf_out, struct err *err);
void seg_file_unpin(struct seg_file *f);

/* A view with one reference; takes over bidx, acquires the file. */
struct seg_view *seg_view_create(struct seg_file *f, const struct seg_row *row, uint64_t base_seq,
                                 struct seg_bidx *bidx, uint32_t ndata);
/* A view's BIDX line from the one on disk. */
void seg_bidx_of(struct seg_bidx *out, const struct seg_bidx_disk *e, uint64_t base_seq);

/* --- reading blocks from a file (segment_io.c) ------------------------------------------------ */

struct ZSTD_DCtx_s;
/* Buffers of one reading task, kept from block to block. Zero-initialised is empty. */
struct seg_scratch {
    uint8_t *stored; /* owned */
    size_t stored_cap;
    struct ZSTD_DCtx_s *dctx; /* owned */
};
void seg_scratch_fini(struct seg_scratch *sc);

/* Where bytes are read from: a file and the end that counts. */
struct seg_io {
    struct env *env;
    struct env_file *f;
    const uint8_t *uuid;
    uint64_t limit; /* bytes from here on do not exist */
};
/* Reads exactly len bytes. ST_CORRUPT when the file ends before; ST_IO. */
MUST_USE enum st seg_io_read(const struct seg_io *io, void *buf, size_t len, uint64_t off,
                             struct err *err);
/* Reads and verifies the header of the block at off. */
MUST_USE enum st seg_io_head(const struct seg_io *io, uint64_t off, struct seg_bh *bh_out,
                             struct err *err);
/* Reads head and body at off into sc->stored, the body still encoded; the raw_len that the head and
 * the body say is the same. stored_hint and results as below. */
MUST_USE enum st seg_io_stored(const struct seg_io *io, uint64_t off, uint32_t stored_hint,
                               struct seg_scratch *sc, struct seg_bh *bh_out, struct err *err);
/* Reads head and body at off and decodes the body into *raw_out (base_malloc'ed, the caller frees;
 * raw_len bytes). stored_hint: bytes of the stored body if known, else 0. ST_CORRUPT (bh_out is set
 * when the head was good: its stored_len is not 0), ST_IO, ST_NOMEM. */
MUST_USE enum st seg_io_block(const struct seg_io *io, uint64_t off, uint32_t stored_hint,
                              struct seg_scratch *sc, struct seg_bh *bh_out, uint8_t **raw_out,
                              struct err *err);
/* A frame says its size: what does not fit the head is refused before memory is taken for it. */
MUST_USE bool seg_body_plausible(const struct seg_bh *bh, const uint8_t *stored);
/* True when a stored body is the one its head was written for. */
MUST_USE bool seg_body_check(const struct seg_bh *bh, const uint8_t uuid[16], uint64_t off,
                             const uint8_t *stored);
/* Verifies and decodes a stored body whose head is known into raw (bh->raw_len bytes). */
MUST_USE enum st seg_body_decode(const struct seg_bh *bh, const uint8_t uuid[16], uint64_t off,
                                 const uint8_t *stored, struct seg_scratch *sc, uint8_t *raw);

/* --- decoded sections (segment_io.c) ---------------------------------------------------------- */

struct seg_sect_loaded {
    struct seg_sect s;
    struct seg_bh bh;
    uint64_t off;
    uint8_t *raw; /* owned */
};
struct seg_sect_list {
    struct seg_sect_loaded *v; /* owned; ascending */
    size_t n, cap;
};
void seg_sect_list_fini(struct seg_sect_list *l);
/* Loads and checks (everything) the section or footer at off. ST_CORRUPT, ST_IO, ST_NOMEM,
 * ST_UNSUPPORTED. */
MUST_USE enum st seg_sect_load(const struct seg_io *io, uint64_t off, enum seg_block_type type,
                               struct seg_scratch *sc, struct seg_sect_loaded *out,
                               struct err *err);
/* Loads the chain of sections that ends at `last`, all checked and fitting together. */
MUST_USE enum st seg_sect_load_chain(const struct seg_io *io, uint64_t last, struct seg_scratch *sc,
                                     struct seg_sect_list *out, struct err *err);

/* --- walking a file block by block (segment_walk.c) ------------------------------------------- */

struct seg_walk_ops {
    void *arg;
    /* A block with a good head. raw is NULL when its body is bad; valid during the call. */
    void (*block)(void *arg, uint64_t off, const struct seg_bh *bh, const uint8_t *raw);
    /* [off, end) is not readable as blocks. lo..hi: sequences that were there, lo 0 = none. */
    void (*gap)(void *arg, uint64_t off, uint64_t end, uint64_t lo, uint64_t hi);
    /* Padding that is not zero. May be NULL. */
    void (*padding)(void *arg, uint64_t off);
};
/* Goes through [4096, io->limit) without any index. first_seq, last_seq: of the row; what is
 * missing of that is a gap. ST_NOMEM; damage is only reported. */
MUST_USE enum st seg_walk(const struct seg_io *io, uint64_t first_seq, uint64_t last_seq,
                          struct seg_scratch *sc, const struct seg_walk_ops *ops, struct err *err);
/* --- opening (segment_open.c, segment_rebuild.c) ---------------------------------------------- */

/* A segment being opened, rebuilt or checked. */
struct seg_opening {
    struct segs *segs;
    const struct seg_row *row;
    const struct seg_visitor *v;
    struct seg_file *file; /* shared */
    struct seg_io io;
    struct seg_scratch sc;
    /* result */
    struct seg_bidx *bidx; /* owned until the view takes it */
    uint32_t ndata, ndata_cap;
    uint64_t nmsgs;
    uint32_t sections;
    uint32_t last_hdr_crc;
    bool damaged; /* never to be continued */
};
void seg_opening_damage(const struct seg_opening *o, enum seg_damage_cause cause, uint64_t off,
                        uint64_t lo, uint64_t hi, bool lost, const char *text);
void seg_opening_line(struct seg_opening *o, const struct seg_bidx *line);
/* Sequences lo..hi are marked as lost: reads of them are errors. */
void seg_opening_lost(struct seg_opening *o, uint64_t lo, uint64_t hi);
/* Fills o from the data blocks and calls the visitor. ST_NOMEM. */
MUST_USE enum st seg_rebuild(struct seg_opening *o, struct err *err);
/* Opens file and header pages; *usable_out: there is something to read. Reports damage. */
MUST_USE enum st seg_opening_begin(struct seg_opening *o, struct segs *s, const struct seg_row *row,
                                   const struct seg_visitor *v, bool *usable_out, struct err *err);
/* Fills o from sections or footer and calls the visitor. ST_CORRUPT: nothing was called. */
MUST_USE enum st seg_opening_sections(struct seg_opening *o, struct err *err);
void seg_opening_end(struct seg_opening *o);

/* --- writing (segment_writer.c) --------------------------------------------------------------- */

struct seg_writer;
struct seg_writer_opts {
    uint32_t gid;
    const char *account, *name; /* borrowed; NULL = "" */
    uint64_t created_generation;
    uint32_t block_raw_bytes;
    uint64_t segment_bytes;
    bool no_compress;
    bool extent; /* counts among segs.extents */
};
/* A file being written. Begin with a new file or a continued view; add messages; end writes section
 * or footer and syncs. After any error only destroy may follow. */
MUST_USE enum st seg_writer_begin(struct segs *s, const struct seg_writer_opts *o, uint64_t segno,
                                  uint32_t gen, uint64_t base_seq, uint64_t prev_last_seq,
                                  struct seg_writer **w_out, struct err *err);
/* ST_CLOSED: the file must not be continued; ST_NOTFOUND, ST_CORRUPT: it is missing or short. */
MUST_USE enum st seg_writer_continue(struct segs *s, const struct seg_writer_opts *o,
                                     const struct seg_view *v, struct seg_writer **w_out,
                                     struct err *err);
/* ST_FULL: the message belongs into the next segment; nothing was added. */
MUST_USE enum st seg_writer_add(struct seg_writer *w, const struct seg_src *src, struct err *err);
void seg_writer_removed(struct seg_writer *w, uint64_t floor, const struct seq_runs *runs);
/* Makes durable all that was added (to a new file): what follows begins on a page of its own. From
 * here on the file stays on disk, also after a failure or seg_writer_destroy. */
MUST_USE enum st seg_writer_cut(struct seg_writer *w, struct err *err);
/* Which block has, or will have, the message added last; where it stands, once cut (data_len is
 * left to the caller). */
size_t seg_writer_block(const struct seg_writer *w);
void seg_writer_extent(const struct seg_writer *w, size_t block, struct msg_extent *x);
struct seg_file *seg_writer_file(const struct seg_writer *w); /* a reference, yours */
/* Whether bytes spread over it, its head apart, are as many-valued as noise: how often two are
 * equal tells text, base64 and the like from it. At least 1 KiB. */
bool seg_looks_random(const uint8_t *raw, size_t len);
/* The size at which it should be sealed has been reached. */
bool seg_writer_full(const struct seg_writer *w);
/* Writes what is left, the index, seals if asked, fdatasyncs. *bytes_out is added to. */
MUST_USE enum st seg_writer_end(struct seg_writer *w, bool seal, struct seg_flushed *out,
                                uint64_t *bytes_out, struct err *err);
void seg_writer_destroy(struct seg_writer *w); /* NULL is a no-op */

#endif
