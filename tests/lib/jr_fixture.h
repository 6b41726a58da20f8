/* What the tests of the journal share: a journal on the simulated disk, a model of what was
 * written, and the comparison after a recovery (invariants I1, I3, I18, I19 at the journal's
 * level).
 *
 * The model knows per gid which records were committed, done, durable. After a crash the journal
 * must give a prefix of them, whole batches only, that holds at least all that was promised; byte
 * for byte. */
#ifndef TESTS_LIB_JR_FIXTURE_H
#define TESTS_LIB_JR_FIXTURE_H

#include "engine/base/env_sim.h"
#include "engine/base/prng.h"
#include "engine/journal.h"

#define JFX_GIDS 6u
#define JFX_SEED 0xfeedc0deu

struct jfx_rec {
    uint64_t oseq, seq, lsn, ticket, fill;
    uint32_t len; /* of the content */
    enum rec_type type;
    uint8_t flags;
    bool sync; /* done means durable */
    bool done, durable;
    bool gone; /* never promised, and the device lost it when a sync failed */
};
struct jfx_gid {
    struct jfx_rec *v; /* owned; by oseq, from the first the store ever had */
    size_t n, cap;
    uint64_t last_seq;
    uint64_t skip; /* records below the checkpoint: not given by recovery */
    size_t at;     /* during recovery: next record expected */
    uint64_t claimed_seq;
};
struct jfx_damage {
    unsigned reports, lost, groups, files;
    uint32_t gid;
    uint64_t lo, hi;
    char text[128];
};
struct jfx {
    struct env_sim *sim; /* owned unless real */
    struct env *env;
    bool own_sim;
    char dir[128];
    struct jr_opts opts;
    struct jr *jr;
    struct jw *jw;
    struct jr_recovered rec;
    uint64_t checkpoint_lsn; /* what the next recovery is told */
    uint64_t end_hint;
    struct jfx_gid gids[JFX_GIDS];
    struct prng rnd;
    struct jfx_damage damage;
    bool urgent;      /* appends too may use what is kept for urgent records */
    bool keep_chunks; /* the visitor takes references */
    bool lenient;     /* damage is expected: missing records are counted, not refused */
    bool faulted; /* a sync failed in some life: what was not promised may be reported as damage */
    size_t missing; /* lenient: model records that were promised and not given */
    size_t given;
    struct jr_chunk *kept[64];
    size_t nkept;
    char *broken; /* owned; first mismatch, or NULL */
};

void jfx_init(struct jfx *x, struct env_sim *sim, uint64_t seed); /* sim NULL: makes one */
void jfx_fini(struct jfx *x);
enum st jfx_open(struct jfx *x,
                 struct err *err); /* jr_open, jr_recover (checked against the model), jr_start */
/* Recovery alone; keeps the journal not started. */
enum st jfx_recover(struct jfx *x, struct err *err);
/* Drops the journal as a crash does: the model forgets what was not kept at the next jfx_open. */
void jfx_drop(struct jfx *x);
enum st jfx_stop(struct jfx *x); /* clean */
/* Commits one record; false when the journal refused it. */
bool jfx_put(struct jfx *x, unsigned gid, enum rec_type type, uint32_t len, uint8_t flags,
             bool sync);
void jfx_seal(struct jfx *x);
/* Polls, marks what is done and durable. */
void jfx_poll(struct jfx *x);
/* Steps tasks and time until everything sealed is done, or nothing moves. */
void jfx_settle(struct jfx *x);
/* Everything durable counts as checkpointed; the journal is told so when `release`. */
void jfx_checkpoint(struct jfx *x, bool release);
/* After a crash: what the process had promised. power: only what was synced. To be called before
 * jfx_open. */
void jfx_crashed(struct jfx *x, bool power);
/* One random step of a scenario. */
void jfx_step(struct jfx *x);
/* Fails the test when the model and the journal disagreed. */
void jfx_check(struct jfx *x);

#endif
