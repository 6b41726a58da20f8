/* Random steps, and the comparison of every number after a step. */
#include "tests/sim/sim_world.h"

#include <stdio.h>

static uint32_t random_len(struct world *w)
{
    struct prng *r = &w->rnd;
    uint64_t kind = prng_below(r, 100);
    uint64_t max = kind < 85 ? 300 : kind < 97 ? 5000 : w->big_max;
    return (uint32_t)(prng_below(r, 20) == 0 ? prng_below(r, 2) : 1 + prng_below(r, max));
}

static struct sw_inst *random_stream(struct world *w)
{
    uint32_t from = (uint32_t)prng_below(&w->rnd, SW_SLOTS);
    for (uint32_t i = 0; i < SW_SLOTS; i++) {
        struct sw_inst *in = sw_slot(w, (from + i) % SW_SLOTS);
        if (in != NULL && in->h != NULL) {
            return in;
        }
    }
    return NULL;
}

static void publish_some(struct world *w, struct sw_inst *in)
{
    struct prng *r = &w->rnd;
    uint64_t n = 1 + prng_below(r, 6);
    if (prng_mix(w->seed * 77 + w->steps) % 8 == 0) { /* not from r, as for TTLs */
        sw_batch(w, in);
    }
    if (prng_mix(w->seed * 91 + w->steps) % 6 == 0) {
        sw_copy(w, in);
    }
    if (prng_mix(w->seed * 93 + w->steps) % 40 == 0) {
        sw_skip(w, in);
    }
    if (in->md.cfg.retention == RETENTION_INTEREST) { /* consumers come and go */
        uint64_t draw = prng_mix(w->seed * 99 + w->steps) % 16;
        if (draw < 3) {
            sw_cons_create(w, in);
        } else if (draw == 3) {
            sw_cons_delete(w, in);
        }
    }
    for (; n > 0 && !w->failed; n--) {
        sw_publish(w, in, random_len(w));
    }
}

void sw_step(struct world *w)
{
    struct prng *r = &w->rnd;
    struct sw_inst *in = random_stream(w);
    uint64_t kind = prng_below(r, 1000);
    struct eng_info info;
    w->steps++;
    /* With a window this small even the room kept for deletes and acks can be used up: let a
     * checkpoint come through. */
    eng_info_get(w->store, &info);
    if (info.journal_window_used > info.journal_window_bytes / 100 * 85) {
        sw_run(w, 200);
        return;
    }
    if (in == NULL || kind < 15) {
        uint32_t slot = (uint32_t)prng_below(r, SW_SLOTS);
        if (sw_slot(w, slot) == NULL) {
            sw_stream_create(w, slot, NULL);
        }
    } else if (kind < 430) {
        publish_some(w, in);
    } else if (kind < 600) {
        sw_run(w, (unsigned)prng_below(r, 30));
    } else if (kind < 700) {
        sw_fetch(w, in);
    } else if (kind < 790) {
        sw_ack_some(w, in);
    } else if (kind < 830) {
        sw_delete_msg(w, in);
    } else if (kind < 845) {
        sw_purge(w, in);
    } else if (kind < 855) {
        sw_stream_update(w, in);
    } else if (kind < 885) {
        sw_cons_create(w, in);
    } else if (kind < 890) {
        sw_cons_update(w, in);
    } else if (kind < 895) {
        sw_cons_delete(w, in);
    } else if (kind < 898) {
        sw_cons_reset(w, in);
    } else if (kind < 904) {
        sw_stream_delete(w, in);
    } else if (kind < 940) {
        sw_get(w, in);
    } else if (kind < 950) {
        sw_checkpoint(w);
    } else if (kind < 960) {
        sw_compact(w);
    } else if (kind < 990) {
        sw_advance(w, (int64_t)prng_below(r, 100) * NS_PER_MS);
    } else {
        sw_advance(w, (int64_t)prng_below(r, 5000) * NS_PER_MS);
    }
}

/* --- every number ----------------------------------------------------------------------------- */

#define SAME(field, want)                                                                          \
    do {                                                                                           \
        if ((uint64_t)st.field != (uint64_t)(want)) {                                              \
            sw_fail(w, "%s: " #field " is %lld, the model says %lld", who, (long long)st.field,    \
                    (long long)(want));                                                            \
        }                                                                                          \
    } while (0)

static void compare_cons(struct world *w, struct sw_inst *in, struct sw_cons *sc)
{
    struct cons_state st;
    struct md_cons *mc = md_cons(&in->md, sc->uid);
    char who[64];
    snprintf(who, sizeof who, "stream i%u consumer c%u", in->uid, sc->uid);
    w->store->ops->cons_state(sc->h, &st);
    SAME(delivered_cseq, mc->delivered_cseq);
    SAME(delivered_sseq, mc->delivered_sseq);
    SAME(floor_cseq, mc->floor_cseq);
    SAME(floor_sseq, mc->floor_sseq);
    SAME(num_ack_pending, md_nack(mc));
    SAME(num_redelivered, md_nredelivered(mc));
    SAME(num_pending, md_num_pending(&in->md, mc));
}

static void compare_stream(struct world *w, struct sw_inst *in)
{
    struct stream_state st;
    struct md_stream *md = &in->md;
    char who[64];
    snprintf(who, sizeof who, "stream i%u", in->uid);
    w->store->ops->stream_state(in->h, &st);
    SAME(msgs, md->msgs);
    SAME(bytes, md->bytes);
    SAME(first_seq, md->first_seq);
    SAME(last_seq, md->last_seq);
    SAME(nsubjects, md_nsubjects(md));
    SAME(ndeleted, md_ndeleted(md));
    SAME(nconsumers, md->ncons);
    SAME(durability, in->durability);
    SAME(damaged_msgs, 0);
    SAME(last_ts_ns, md->last_ts_ns);
    if (md->msgs == 0 || st.first_ts_ns != 0) { /* 0: not read from disk yet */
        SAME(first_ts_ns, md->msgs > 0 ? md_find(md, md->first_seq)->ts_ns : 0);
    }
    (void)sw_check_schedules(w, in, md, in->h);
    for (size_t i = 0; i < in->ncons; i++) {
        if (in->cons[i].h != NULL) {
            compare_cons(w, in, &in->cons[i]);
        }
    }
}

bool sw_compare(struct world *w)
{
    uint64_t file_bytes = 0, mem_bytes = 0;
    for (uint32_t i = 0; i < SW_SLOTS; i++) {
        struct sw_inst *in = sw_slot(w, i);
        if (in != NULL && in->h != NULL) {
            compare_stream(w, in);
            *(in->memory ? &mem_bytes : &file_bytes) += in->md.bytes;
        }
    }
    struct store_usage st;
    const char *who = "usage";
    w->store->ops->usage(w->store, NULL, &st);
    SAME(file_bytes, file_bytes);
    SAME(mem_bytes, mem_bytes);
    struct store_stream *any = w->store->ops->stream_next(w->store, "$G", NULL);
    if (any != NULL) {
        who = "account";
        w->store->ops->account_bytes(any, &st.file_bytes, &st.mem_bytes);
        SAME(file_bytes, file_bytes);
        SAME(mem_bytes, mem_bytes);
    }
    return !w->failed;
}
