/* Private to the journal's files (journal*.c): the structures behind journal.h.
 *
 * Three roles share struct jr. The owner seals tickets into the queue; the lane takes them, writes
 * and syncs; the preparer keeps one next file ready and recycles released ones. Everything they
 * share is guarded by jr.mu, held for a few loads and stores only, or is atomic. Start-up and stop
 * run when no task does. */
#ifndef ENGINE_JOURNAL_INT_H
#define ENGINE_JOURNAL_INT_H

#include <stdatomic.h>

#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"
#include "engine/journal.h"
#include "engine/journal_format.h"

#define JR_SEQ_JUMP                                                                                \
    (1ull << 20) /* group_seq after a recovery: above anything a lost group may have had */
#define JR_TICKET_BYTES_MAX                                                                        \
    MIB /* an open ticket is sealed before it grows beyond, but for one large record */
#define JR_NAME_MAX 64       /* of a file below the journal directory */
#define JR_FIRST_OFF JF_PAGE /* of the first group in a file */
/* Room a file has for groups: not both header pages, nor the place kept for ROTATE or SHUTDOWN. */
#define JR_FILE_ROOM(size) ((size)-JF_OVERHEAD - JG_ALIGN)

/* --- files ------------------------------------------------------------------------------------ */

/* A numbered journal file. */
struct jr_file {
    struct env_file *f; /* owned; NULL when not open */
    struct jf_header h;
    uint32_t seed;      /* jf_seed(h.file_nonce) */
    uint64_t disk_size; /* found at start-up: a file cut short has less than h.size */
    bool unreadable;    /* both header pages are bad: base and size are guesses */
    bool copy_bad;      /* one header page is bad */
    bool damaged;       /* recovery found damage in it: evidence, kept when it is released */
};
struct jr_files {
    struct jr_file *v; /* owned; by file_no */
    size_t n, cap;
};
struct jr_spare {
    uint64_t n; /* spare-<n> */
    uint64_t size;
};

/* Positions that hold nothing: ends of files, voids. They count for the distance to the checkpoint,
 * not for the window that an owner may fill, or a few kills in a row would leave no room to start
 * with. */
struct jr_hole {
    uint64_t end; /* gone once the checkpoint is here */
    uint64_t len;
};

/* What the preparer is doing: one step of it is one call, so that the simulation can interleave. */
enum prep_state { PREP_REST, PREP_ZERO, PREP_NUMBER };
struct jr_prep {
    enum prep_state state;
    struct env_file *f; /* owned; the spare being made */
    struct jr_spare spare;
    uint64_t zeroed;     /* bytes */
    bool zero;           /* a new file that nobody waits for */
    int64_t retry_at_ns; /* boot time; after a failure */
    bool complained;     /* one line per dry spell */
    bool dir_dirty;      /* released files wait for a directory sync */
};

/* --- tickets ---------------------------------------------------------------------------------- */

struct jw_range {
    struct jr_chunk *chunk; /* shared: one reference */
    uint32_t off;
    uint32_t len; /* multiple of 8 */
};
struct jw_slot {
    struct jr_entry e;
    uint64_t first_off; /* of first and last record, from the ticket's first record */
    uint64_t last_off;
    uint32_t flags; /* enum ji_flags */
    struct seq_runs removed;
};
struct jr_bytes {
    uint8_t *p; /* owned */
    size_t len, cap;
};
struct jw_ticket {
    struct jw_ticket *lane_next;  /* guarded by: jr.mu, then lane only */
    struct jw_ticket *owner_next; /* owner only */
    struct jw *jw;
    uint64_t no;
    struct jw_range *ranges; /* owned */
    size_t nranges, ranges_cap;
    struct jw_slot *slots; /* owned; by first record of each gid */
    size_t nslots, slots_cap;
    struct jr_bytes index; /* made at seal */
    struct jr_bytes twins;
    uint64_t rec_len;     /* bytes of the records as the group has them */
    uint64_t full_len;    /* bytes of all ranges */
    struct jr_bulk *bulk; /* owned; in the order of the records */
    size_t nbulk, bulk_cap;
    uint64_t rec_lsn; /* of the first record; set by the lane before the ticket is done */
    uint32_t nrec;
    bool sync;
};

struct jw_hash {
    uint64_t ticket;
    uint32_t gid;
    uint32_t slot;
};
struct jw {
    struct jr *jr;          /* borrowed */
    struct jr_chunk *chunk; /* shared; NULL before the first record */
    struct jw_ticket *open; /* owned; NULL when nothing was committed since the last seal */
    uint64_t open_no;
    struct jw_ticket *first,
        *last;                 /* sealed, not polled; owned, also in the lane's queue until done */
    struct jw_ticket *polling; /* inside jw_poll */
    struct jw_ticket *spare;   /* list of free ones */
    size_t nspare;
    struct jw_hash *hash; /* owned; open addressing, entries of older tickets count as empty */
    size_t hash_cap;      /* power of two */
    uint8_t *reserved;    /* NULL unless between reserve and commit */
    size_t reserved_len;
    atomic_uint_fast64_t done;
};

/* --- the journal ------------------------------------------------------------------------------ */

struct jr_lane {
    struct jr_file cur;
    uint64_t off;       /* of the next group in cur */
    uint64_t group_seq; /* of the last group written */
    uint64_t durable_seq;
    uint64_t recorded_durable; /* what the last group written says */
    uint32_t prev_hdr_crc;
    bool unsynced; /* records were written since the last sync */
    bool dirty;    /* anything was, an IDLE group too */
    int64_t unsynced_since_ns;
    int64_t last_write_ns;
    int64_t opened_ns;                          /* first group of cur */
    bool waiting;                               /* for a next file */
    struct jw_ticket *gathered, *gathered_last; /* taken from the queue, not yet written */
    struct jr_bytes head;                       /* header and index of the group being built */
    struct iovec *iov;                          /* owned */
    size_t iov_n, iov_cap;
    struct jr_bulk *bulk; /* owned: of the gathered tickets, in their order */
    size_t nbulk, bulk_cap;
    struct jr_bytes subs; /* what stands in the group for messages that are placed elsewhere */
    bool placed;          /* this has been done for the gathered tickets */
    bool placing;         /* something of the last group was placed */
};

struct jr {
    struct env *env; /* borrowed */
    struct jr_opts opts;
    char *dir; /* owned; opts.dir points here */
    uint8_t boot_id[16];
    struct jr_recovered rec;
    bool recovered, started;
    uint64_t max_file_no; /* ever seen; start-up, then preparer only */
    uint64_t next_spare;
    struct jr_lane lane; /* lane only */
    struct jr_prep prep; /* preparer only */
    struct env_task *lane_task, *prep_task;

    struct base_mutex mu;
    bool tasks_down;                    /* guarded by: mu; no wakes any more */
    struct jw_ticket *q_first, *q_last; /* guarded by: mu */
    struct jr_files files;   /* guarded by: mu; closed ones, oldest first, without cur and next */
    struct jr_file next;     /* guarded by: mu; valid when next_ready */
    bool next_ready;         /* guarded by: mu */
    bool lane_waiting;       /* guarded by: mu */
    uint64_t want_bytes;     /* guarded by: mu; size that the lane needs at least */
    uint64_t grow_bytes;     /* guarded by: mu; size of the next file when nobody needs more */
    struct jr_file cur_info; /* guarded by: mu; the lane's file, or the one it is going to */
    struct jr_spare *spares; /* owned; preparer only */
    size_t nspares, spares_cap;
    struct jr_hole *holes;    /* owned; guarded by: mu; oldest first */
    size_t nholes, holes_cap; /* guarded by: mu */
    struct err poison;        /* guarded by: mu */
    struct jr_stats stats;    /* guarded by: mu */

    atomic_bool poisoned;
    atomic_uint_fast64_t scrub_lsn; /* released files that begin below are written over */
    atomic_bool want_sync;          /* a checkpoint waits for what is written to become durable */
    atomic_bool no_space;           /* no next file for want of space: only urgent records */
    atomic_uint_fast64_t end_lsn;   /* where the next group goes */
    atomic_uint_fast64_t durable_lsn;
    atomic_uint_fast64_t checkpoint_lsn; /* released */
    atomic_uint_fast64_t pending_bytes;  /* committed, not written */
    atomic_uint_fast64_t hole_bytes;     /* of all holes */
    atomic_uint_fast64_t placed_bytes;   /* of messages that no checkpoint covers */
    atomic_uint_fast64_t wall_ns;
    atomic_uint_fast64_t meta_gen;
};

/* journal_files.c: directory, headers, spares */
void jr_path(const struct jr *jr, char *out, size_t cap, const char *name);
void jr_file_name(char out[JR_NAME_MAX], uint64_t file_no);
void jr_files_fini(struct env *env, struct jr_files *fs);
void jr_files_add(struct jr_files *fs, const struct jr_file *f);
/* Lists dir, opens the numbered files read-only and reads their headers. ST_FOREIGN, ST_VERSION,
 * ST_UNSUPPORTED. */
MUST_USE enum st jr_files_load(struct env *env, const char *dir, const uint8_t store_uuid[16],
                               struct jr_files *fs, struct jr_spare **spares, size_t *nspares,
                               uint64_t *max_file_no, uint64_t *max_spare, struct err *err);
MUST_USE enum st jr_dir_make(struct env *env, const char *dir, struct err *err);
/* A spare of at least `size` bytes: one that is there, else a new one, fallocated. */
MUST_USE enum st jr_spare_get(struct jr *jr, uint64_t size, struct jr_spare *spare_out,
                              struct env_file **f_out, bool *fresh_out, struct err *err);
/* Full disk at a start: gives back what lies behind the ends of the files of earlier lives. False
 * when there was nothing, or nothing could be given back. */
MUST_USE bool jr_make_room(struct jr *jr);
/* Gives a spare its headers and its number; durable when this returns. On failure the spare is
 * removed. */
MUST_USE enum st jr_file_number(struct jr *jr, struct env_file *f, struct jr_spare spare,
                                uint64_t file_no, uint64_t base_lsn, uint64_t prev_end_lsn,
                                struct jr_file *out, struct err *err);
void jr_spare_drop(struct jr *jr, struct env_file *f, struct jr_spare spare);
/* Writes zeros over the spare that was made last; durable when this returns. */
MUST_USE enum st jr_spare_scrub(struct jr *jr, struct err *err);
/* Moves a released file to quarantine/ and syncs that; the caller syncs the journal's directory. */
MUST_USE enum st jr_file_set_aside(struct jr *jr, const struct jr_file *file, struct err *err);
/* Takes a released file's number away: it becomes a spare, or goes. The caller syncs the directory.
 */
MUST_USE enum st jr_file_release(struct jr *jr, const struct jr_file *file, bool keep,
                                 struct err *err);

/* journal_prep.c */
uint64_t jr_prep_step(void *arg);
void jr_prep_fini(struct jr *jr);
/* journal_place.c: messages of the gathered tickets that may stand elsewhere are placed, once. */
void jr_place(struct jr *jr);
const uint8_t *jr_bulk_rec(const struct jr_bulk *b); /* its record as the owner wrote it */
/* The next one in [p, end) for which something else stands in the group. *at: how far l->bulk was
 * looked through; begins at 0. */
const struct jr_bulk *jr_placed_next(const struct jr_lane *l, size_t *at, const uint8_t *p,
                                     const uint8_t *end);
/* journal_lane.c */
uint64_t jr_lane_step(void *arg);
/* Writes a group without records (SHUTDOWN) and syncs before and after; used by jr_stop. */
MUST_USE enum st jr_lane_shutdown(struct jr *jr);
/* journal.c */
void jr_hole_add(struct jr *jr, uint64_t end,
                 uint64_t len); /* with mu held, or before the tasks run */
void jr_bytes_reserve(struct jr_bytes *b, size_t add);

#endif
