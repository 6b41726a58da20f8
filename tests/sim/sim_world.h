/* A life of the engine on the simulated world, beside a model of it. The driver submits an
 * operation to both; answers are compared when they come. After a crash or a stop the recovered
 * store is compared with the model (sim_check.c) and the model goes on from what was found.
 *
 * Everything follows from one seed. A failure is kept in `failed` with words; nothing here ends the
 * process. */
#ifndef TESTS_SIM_SIM_WORLD_H
#define TESTS_SIM_SIM_WORLD_H

#include "engine/base/env_sim.h"
#include "engine/base/prng.h"
#include "engine/engine.h"
#include "tests/sim/sim_model.h"

#define SW_SLOTS 5u /* stream names */
#define SW_NEVER UINT64_MAX

/* An acknowledgement by a consumer, for the promises it makes. */
struct sw_ack {
    uint64_t sseq;
    bool all;              /* everything up to sseq */
    uint64_t confirmed_op; /* SW_NEVER = not (yet) */
};
struct sw_cons {
    uint32_t uid;
    struct store_cons *h; /* NULL: gone, or not open */
    struct sw_ack *acks;  /* owned */
    size_t nacks, acks_cap;
    uint64_t start_sseq;    /* below this nothing is owed */
    uint64_t delivered_max; /* consumer sequence */
    bool loose; /* filters changed, last_per_subject: no claim about what was passed over */
};

/* One stream from its creation to its deletion. Names are used again; instances are not. */
struct sw_inst {
    uint32_t uid, slot;
    bool memory;
    enum store_durability durability;
    struct md_event *ev; /* owned: history */
    size_t nev, ev_cap;
    size_t base;            /* events that were there when this life began */
    struct md_stream md;    /* state with all events */
    struct store_stream *h; /* NULL: dropped or not open */
    struct sw_cons *cons;   /* owned: all that ever were */
    size_t ncons, cons_cap;
    uint64_t seq_max; /* memory streams: highest sequence issued by earlier lives */
    uint32_t version; /* of the config */
    bool dropped;
    size_t match; /* sw_check: events that were recovered; SIZE_MAX = the stream is not there */
};

struct sw_call; /* a submitted operation that has not been answered */

struct world {
    struct env_sim *sim; /* owned */
    struct store *store; /* owned; NULL between lives */
    struct eng_opts opts;
    struct prng rnd;
    uint64_t seed;
    struct sw_inst **inst; /* owned */
    size_t ninst;
    uint32_t next_uid, next_id;
    uint64_t next_gidx;
    struct sw_call *calls; /* owned list */
    size_t outstanding;
    bool faulty; /* the disk fails by order: refusals are fine */
    bool stopping;
    uint64_t steps, published, acked, full;
    uint64_t refused;       /* deletes, purges, acks, configs that were not taken */
    uint64_t releases_owed; /* found cut short after a crash */
    uint64_t no_store;      /* publishes refused for want of space */
    uint32_t big_max;       /* payload bound */
    char fail[1000];
    bool failed;
};

void sw_fail(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Random options from the seed; nothing is opened. */
void sw_init(struct world *w, uint64_t seed);
void sw_fini(struct world *w);
/* Opens the store; false = it did not open (down, or failed is set). */
bool sw_open(struct world *w);
/* Of this handle; NULL = none. */
struct sw_inst *sw_inst_of(struct world *w, const struct store_stream *h);
/* The engine tells the model what expires. */
void sw_watch(struct world *w);
/* Interest, sim_release.c: a consumer goes, or is reset: what nobody wants any more is removed by
 * the engine in steps, each told. `drop`: index of the event, SIZE_MAX for a reset; called when the
 * operation was submitted. */
void sw_released_by(struct world *w, struct sw_inst *in, size_t drop);
void sw_watch_release(struct world *w);
/* One update in four makes a stream of limits one of interest; no draw, so that what older seeds
 * mean stays. */
bool sw_draw_interest(const struct world *w, struct stream_cfg *cfg);
/* A recovered store goes on with what the crash cut short; after sw_check. */
bool sw_check_release(struct world *w, struct env_sim *sim, struct store *store);
/* Lets the engine go without a word (what a killed process leaves). */
void sw_abandon(struct world *w);
void sw_close(struct world *w);
/* One turn of the loop and up to n steps of the engine's tasks. */
void sw_run(struct world *w, unsigned n);
/* Until everything submitted is answered (or the machine is down). */
void sw_settle(struct world *w);
void sw_advance(struct world *w, int64_t ns);
/* One random operation. */
void sw_step(struct world *w);
uint64_t sw_op(const struct world *w);

/* Appends an event to a stream's history; valid until the next one. */
struct md_event *sw_event(struct world *w, struct sw_inst *in, enum md_kind kind);

/* Refusals are fine: the machine is down or its disk fails by order. */
bool sw_excused(const struct world *w);
struct md_msg sw_random_msg(struct world *w, uint32_t data_len, bool ttl);
/* Gives some roll-ups a subject with wildcards. */
void sw_widen(const struct md_stream *md, struct md_msg *m, struct store_append *a);
/* A publish on its way, with the answer it should get. */
struct sw_call *sw_call_append(struct world *w, struct sw_inst *in, enum append_verdict verdict,
                               uint64_t value);
void sw_call_stored(struct sw_call *c, size_t ev, uint64_t seq);
void sw_call_free(struct sw_call *c);
void sw_on_append(void *arg, const struct store_append_result *r);

/* --- single operations, for scripts --- */
struct sw_inst *sw_slot(struct world *w,
                        uint32_t slot); /* the stream that has the name now; NULL */
void sw_stream_create(struct world *w, uint32_t slot,
                      const struct stream_cfg *cfg); /* NULL = random */
void sw_stream_update(struct world *w, struct sw_inst *in);
void sw_stream_delete(struct world *w, struct sw_inst *in);
void sw_publish(struct world *w, struct sw_inst *in, uint32_t data_len);
void sw_batch(struct world *w, struct sw_inst *in);
void sw_copy(struct world *w, struct sw_inst *in); /* sim_copy.c */
void sw_skip(struct world *w, struct sw_inst *in);
void sw_delete_msg(struct world *w, struct sw_inst *in);
void sw_purge(struct world *w, struct sw_inst *in);
void sw_cons_create(struct world *w, struct sw_inst *in);
void sw_cons_update(struct world *w, struct sw_inst *in);
void sw_cons_delete(struct world *w, struct sw_inst *in);
void sw_cons_reset(struct world *w, struct sw_inst *in);
void sw_fetch(struct world *w, struct sw_inst *in);
void sw_ack_some(struct world *w, struct sw_inst *in);
void sw_get(struct world *w, struct sw_inst *in);
void sw_checkpoint(struct world *w);
void sw_compact(struct world *w);

/* Reads one message through the engine's inside, running tasks when it comes from disk. */
enum st sw_read(struct env_sim *sim, struct store *store, struct store_stream *s, uint64_t seq,
                struct msg *m);
/* Compares content; words in `why`. */
bool sw_same_msg(const struct md_msg *want, const struct msg *got, char *why, size_t why_len);

/* --- sim_check.c --- */
struct sw_cut {
    uint64_t op; /* operations the dead process had done */
    bool power;  /* power loss; else process crash */
    bool clean;  /* stopped as it should: everything must be there */
};
/* The store (freshly opened on `sim`) against the model. False: failed says why. */
bool sw_check(struct world *w, struct env_sim *sim, struct store *store, struct sw_cut cut);
/* After an I/O error that the store calls damage: what was promised and never removed is there. */
bool sw_check_kept(struct world *w, struct env_sim *sim, struct store *store, struct sw_cut cut);
/* I9, once the store had time to tidy up: segment files are known, quarantine is empty. */
bool sw_check_files(struct world *w, struct env_sim *sim, struct store *store);
/* The model goes on from the recovered store, which was checked against `cut`. */
void sw_adopt(struct world *w, struct sw_cut cut);
/* What the broker does with schedules: one is the only message of its subject, and goes in the
 * record of the last message that it makes. Not from the world's numbers, as for TTLs. */
uint32_t sw_schedule_or_fire(struct world *w, struct sw_inst *in, struct store_append *a,
                             struct md_msg *m);
/* The schedules that the engine knows of: those of the model, and no other. */
bool sw_check_schedules(struct world *w, struct sw_inst *in, struct md_stream *md,
                        struct store_stream *h);
/* Every number of every stream and consumer against the model. Everything must be answered. */
bool sw_compare(struct world *w);

#endif
