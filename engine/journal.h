/* The journal: one log for all streams of a store, group-committed by the lane (RULES.md;
 * FORMAT-journal.md).
 *
 *   owner (loop thread)                    lane task                         recovery (start-up)
 *   jw_reserve / jw_commit ... jw_seal --> gather, write, sync --> done  <-- jr_recover
 *   jw_poll <----------------------------- doorbell
 *
 * The owner writes records into its open chunk, in its own order, and seals once per loop turn.
 * What it sealed gets a ticket (1, 2, 3 ...). A ticket is *done* when its records are as durable as
 * asked (synced when any record asked for a sync, else handed to the OS). Tickets are done in
 * order. Whatever a reply quotes waits for the ticket of the newest record it rests on.
 *
 * After an error of write or sync the lane is poisoned for ever: no later ticket is ever done. */
#ifndef ENGINE_JOURNAL_H
#define ENGINE_JOURNAL_H

#include <stdatomic.h>

#include "engine/base/env.h"
#include "engine/record.h"

struct jr; /* the journal of a store (one lane now) */
struct jw; /* an owner's writer; used by one thread */

/* A block of memory that holds records; written by the owner, read by lane, flusher, readers. Bytes
 * below what was sealed never change. Shared by reference count (any thread). */
struct jr_chunk {
    uint8_t *base; /* owned; 4 KiB aligned */
    size_t cap;    /* bytes */
    size_t used;   /* owner only */
    atomic_uint refs;
    struct jr *jr; /* borrowed; NULL for chunks of memory streams */
};
struct jr_chunk *jr_chunk_create(struct jr *jr,
                                 size_t cap); /* one reference; NULL when out of memory */
void jr_chunk_acquire(struct jr_chunk *c);
void jr_chunk_release(struct jr_chunk *c);
/* Gives back the memory kept for chunks of large records, if none was made since the last call. Any
 * thread; to be called every few seconds. */
void jr_chunks_trim(void);

/* A message about to be written, of a stream whose messages may be written once, elsewhere. */
struct jr_bulk {
    void *who;          /* as given to jw_commit */
    const uint8_t *msg; /* its MSG form */
    uint32_t len;
    bool may;    /* else its journal record alone can hold it: it need not be durable */
    bool placed; /* set by `place`: it stands at x, durably */
    struct msg_extent x;
    /* the journal's own */
    struct jw_ticket *ticket;
    uint64_t off;    /* of its record, from the ticket's first one */
    uint64_t saved;  /* bytes that records of the ticket up to this one do not take */
    uint32_t head;   /* bytes of its record before the MSG form */
    uint32_t room;   /* of its record as the owner wrote it */
    uint32_t sub_at; /* what stands in the group instead; sub_len 0 = the record itself */
    uint32_t sub_len;
};

struct jr_opts {
    const char *dir;        /* <root>/journal/0; borrowed until close */
    const char *quarantine; /* where released files go that were damaged; NULL: nowhere. Borrowed */
    uint8_t store_uuid[16];
    uint32_t crc_seed;
    uint64_t file_min_bytes; /* 4 MiB */
    uint64_t file_max_bytes; /* 64 MiB */
    uint64_t window_bytes;   /* 256 MiB: bytes not yet checkpointed */
    int64_t
        sync_interval_ns; /* how long relaxed groups may stay unsynced; 0 = every group is synced */
    void (*doorbell)(
        void *arg); /* called on the lane task when tickets were done, or the lane was poisoned */
    void *doorbell_arg;
    /* Lane task, may block; NULL = no such place. Before a group is written: v holds its messages
     * that may stand elsewhere, in their order. Those that `place` has made durable there get a
     * reference in the journal instead of themselves; the others are written whole, so it cannot
     * fail. */
    void (*place)(struct jr_bulk *v, size_t n);
};

/* --- recovery, then start --------------------------------------------------------------------- */

enum jr_damage_cause { JR_DAMAGE_RECORD, JR_DAMAGE_GROUP, JR_DAMAGE_FILE_MISSING };

/* What replay calls, in LSN order. Records of a batch are only given when the whole batch is there.
 */
struct jr_visitor {
    void *arg;
    /* A good record. `lsn` is its address. The content of an APPEND has been verified. Bytes are
     * valid during the call unless the visitor takes a reference on `chunk` (which holds them): the
     * rebuilt tail does. */
    enum st (*record)(void *arg, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                      struct jr_chunk *chunk, uint64_t group_wall_ns, struct err *err);
    /* A record refers to a message that stands elsewhere: its MSG form goes to `out` (`len` bytes,
     * as m says). ST_NOTFOUND: a checkpoint covers it, nobody needs it. Any other error: it is
     * lost. NULL: no such record is expected. */
    enum st (*extent)(void *arg, uint64_t lsn, uint32_t gid, const struct msg *m,
                      const struct msg_extent *x, uint8_t *out, size_t len, struct err *err);
    /* What the index of a damaged group says of records that could not be read: for `gid`, after
     * them the last sequence is last_seq, the floor is floor, and `removed` were removed. Called
     * before the later records of that gid. */
    void (*claim)(void *arg, uint32_t gid, uint64_t last_seq, uint64_t floor,
                  const struct seq_runs *removed);
    /* One report per damaged record or region, for log, damage table, /healthz. gid 0 = not known.
     * lo..hi sequences, 0 = not known. Nothing acknowledged was lost where `lost` is false (a twin
     * or an index served). */
    void (*damage)(void *arg, enum jr_damage_cause cause, uint32_t gid, uint64_t lo, uint64_t hi,
                   bool lost, const char *text);
};

struct jr_recovered {
    uint64_t end_lsn;        /* first free LSN */
    uint64_t group_seq;      /* of the last group read */
    uint64_t meta_gen_max;   /* highest meta_gen in any group read */
    uint64_t wall_ns_max;    /* highest store time in any group read */
    uint64_t groups;         /* groups read */
    uint64_t records;        /* records given to the visitor */
    uint64_t bytes;          /* of groups behind the checkpoint */
    uint64_t torn_bytes;     /* discarded behind the end */
    uint64_t next_gid_min;   /* 1 above every gid seen */
    size_t files;            /* journal files found */
    bool any_groups_on_disk; /* some journal file holds a group (also below checkpoint_lsn) */
    bool contiguous;         /* files reach back to checkpoint_lsn */
    bool clean;              /* the last group says SHUTDOWN */
    bool damaged;            /* damage was reported */
};

/* Opens the journal directory (made when missing), lists files, checks headers. Start-up thread. */
MUST_USE enum st jr_open(struct env *env, const struct jr_opts *opts, struct jr **jr_out,
                         struct err *err);
/* Reads groups from checkpoint_lsn on; classifies torn and rotten; salvages; calls the visitor;
 * syncs the files it read. end_lsn_hint is the catalogue's lane.end_lsn (0 = none). Old files are
 * never changed. Start-up thread. */
MUST_USE enum st jr_recover(struct jr *jr, uint64_t checkpoint_lsn, uint64_t end_lsn_hint,
                            const struct jr_visitor *v, struct jr_recovered *out, struct err *err);
/* Opens the new file and starts lane and preparer tasks. `meta_gen` is the catalogue generation
 * durable in both. */
MUST_USE enum st jr_start(struct jr *jr, uint64_t meta_gen, struct err *err);
/* Writes what is sealed, a SHUTDOWN group, syncs, stops the tasks; *end_lsn_out for the catalogue.
 * After poison: just stops. */
MUST_USE enum st jr_stop(struct jr *jr, uint64_t *end_lsn_out, struct err *err);
/* Stops the tasks where they are, as if the process died here: nothing is done any more. For tests
 * and failed starts. */
void jr_halt(struct jr *jr);
void jr_close(struct jr *jr); /* after stop, halt or failed start; frees. NULL is a no-op */

/* --- writing (owner thread) ------------------------------------------------------------------- */

/* One per (ticket, gid): what the group index will say, and where the stream's records lie. */
struct jr_entry {
    void
        *user; /* the stream, as given to jw_commit; borrowed, the owner clears it with jw_forget */
    uint32_t gid;
    uint32_t nrec;
    uint64_t first_oseq;
    uint64_t last_seq;  /* of the stream, after these records */
    uint64_t floor;     /* first_seq of the stream, after these records */
    uint64_t first_lsn; /* of the first and last record; known when the ticket is done */
    uint64_t last_lsn;
};

/* From jr_open on; what is sealed before jr_start waits for it. */
MUST_USE enum st jw_create(struct jr *jr, struct jw **jw_out, struct err *err);
/* Before jr_close, after jr_stop. When tickets are still on their way it halts the journal first.
 */
void jw_destroy(struct jw *jw);
/* Room for one record of `len` bytes (8 B aligned start) in the open chunk; the pointer is valid
 * until the matching jw_commit, which must come before any other call. chunk_out and off_out say
 * where it lies, for tail references. ST_NOMEM; ST_POISONED; ST_FULL when the window is 95 % used,
 * for a large record 40 % (stop reading publishers). `urgent` (deletes, acks, config) is never
 * refused for that. */
MUST_USE enum st jw_reserve(struct jw *jw, size_t len, bool urgent, uint8_t **p_out,
                            struct jr_chunk **chunk_out, uint32_t *off_out);
/* Says what jw_reserve would say of `bytes`. An owner asks before the first record of a batch, for
 * all of it, and then reserves the rest as urgent: half a batch must not be followed by anything
 * else of its gid. */
MUST_USE enum st jw_room(const struct jw *jw, uint64_t bytes, bool urgent);
struct jw_rec {
    void *user;
    uint32_t gid;
    uint64_t oseq;
    uint64_t last_seq;
    uint64_t floor;
    const struct seq_runs *removed; /* sequences this record removes, or NULL */
    enum rec_type type;
    uint8_t flags; /* as in the record; REC_HAS_TWIN asks for the twin */
    bool sync;     /* not done before a sync */
    void *bulk;    /* an APPEND that may be placed elsewhere: `who` of jr_opts.place; borrowed until
                      the ticket is done */
};
/* Adds the sealed (rec_seal) record at the reserved place to the open ticket; returns the ticket it
 * will have. `len` may be less than reserved. r->oseq is 1 above the gid's record before it. A
 * ticket that would grow beyond 1 MiB is sealed by the next jw_reserve. */
uint64_t jw_commit(struct jw *jw, const struct jw_rec *r, size_t len);
/* Hands the open ticket, if any, to the lane. Call once per loop turn. */
void jw_seal(struct jw *jw);
/* Highest done ticket. Any thread. */
uint64_t jw_done(const struct jw *jw);
/* Ticket that the next committed record will get. */
uint64_t jw_open_ticket(const struct jw *jw);
/* Owner thread, after the doorbell: calls fn for every entry of each newly done ticket, in order.
 * Returns the highest done ticket. */
typedef void (*jw_entry_fn)(void *arg, uint64_t ticket, const struct jr_entry *e);
uint64_t jw_poll(struct jw *jw, jw_entry_fn fn, void *arg);
/* The stream goes away: entries not yet polled lose their user (fn is not called for them). */
void jw_forget(struct jw *jw, void *user);

/* --- state ------------------------------------------------------------------------------------ */
/* First error of the lane, or ST_OK; fills err. Any thread. */
enum st jr_poisoned(struct jr *jr, struct err *err);
/* Bytes between checkpoint_lsn and the end of what is sealed, and of what was placed elsewhere; any
 * thread. 50 % of the window: start
 * a checkpoint. Ends of files and what restarts leave unused count here (they take disk and LSNs),
 * but not against jw_reserve. */
uint64_t jr_window_used(struct jr *jr);
/* The next file could not be made for want of space: publishers get ST_FULL until it could. Any
 * thread. */
bool jr_starved(struct jr *jr);
uint64_t jr_durable_lsn(struct jr *jr);
/* So many bytes that were placed elsewhere are in no checkpoint's way any more: they count against
 * the window until then. Any thread. */
void jr_placed_done(struct jr *jr, uint64_t bytes);
/* Asks the lane to sync what relaxed and async groups left unsynced; the doorbell rings. Any
 * thread. */
void jr_want_sync(struct jr *jr);
/* Generation `meta_gen` with this checkpoint_lsn is durable in both copies: files wholly below are
 * recycled. Any thread. */
void jr_release(struct jr *jr, uint64_t checkpoint_lsn, uint64_t meta_gen);
/* Something that stands in the journal now, or is about to, was deleted for good: the files that
 * may hold it are written over with zeros when they are released, not just kept as spares. Any
 * thread. */
void jr_scrub(struct jr *jr);
/* Store time goes into every group header; set by the owner when it reads the clock. Any thread. */
void jr_set_wall_ns(struct jr *jr, uint64_t store_ns);
struct jr_stats {
    uint64_t groups, syncs, records, bytes_written, files_created, files_recycled, sync_ns_total,
        sync_ns_max;
};
void jr_stats_get(struct jr *jr, struct jr_stats *out);

/* --- offline check (jsadmin) ------------------------------------------------------------------ */
struct jr_check_report {
    uint64_t files, groups, records, bytes, torn_bytes, damaged_groups, damaged_records;
};
/* Verifies every checksum of every journal file from checkpoint_lsn on, read-only; v->damage is
 * called per finding. */
MUST_USE enum st jr_check(struct env *env, const struct jr_opts *opts, uint64_t checkpoint_lsn,
                          uint64_t end_lsn_hint, const struct jr_visitor *v,
                          struct jr_check_report *out, struct err *err);

#endif
