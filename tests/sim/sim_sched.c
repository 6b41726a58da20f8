/* Schedules: which messages are ones must be known after every crash, without reading any. */
#include "engine/eng.h"
#include "tests/sim/sim_world.h"

uint32_t sw_schedule_or_fire(struct world *w, struct sw_inst *in, struct store_append *a,
                             struct md_msg *m)
{
    uint64_t draw = prng_mix(w->seed * 97 + m->fill);
    if (draw % 4 == 0) {
        m->sched = true;
        a->flags |= MSG_SCHED;
        a->rollup = 1;
        return 0;
    }
    for (uint32_t i = 0; draw % 4 == 1 && i < MD_DRAWN; i++) {
        uint32_t subject = (uint32_t)(draw / 4 + i) % MD_DRAWN;
        if (subject != m->subject && a->rollup == 0 && md_scheduled(&in->md, subject)) {
            a->purge_subject = md_subject(subject);
            a->purge_subject_len = (uint32_t)strlen(a->purge_subject);
            return subject + 1;
        }
    }
    return 0;
}

struct seen {
    struct world *w;
    struct sw_inst *in;
    struct md_stream *md;
    uint32_t n;
};

static void on_schedule(void *arg, uint64_t seq, const char *subject, uint32_t len)
{
    struct seen *k = arg;
    const struct md_msg *m = md_find(k->md, seq);
    const char *name = m != NULL ? md_subject(m->subject) : "";
    k->n++;
    if (m == NULL || !m->live || !m->sched || strlen(name) != len ||
        memcmp(name, subject, len) != 0 || md_last_of(k->md, m->subject) != seq) {
        sw_fail(k->w, "stream i%u: message %llu of %.*s is no schedule", k->in->uid,
                (unsigned long long)seq, (int)len, subject);
    }
}

bool sw_check_schedules(struct world *w, struct sw_inst *in, struct md_stream *md,
                        struct store_stream *h)
{
    struct seen k = {w, in, md, 0};
    uint32_t want = 0;
    bool known = h->eng->base.ops->stream_schedules(h, on_schedule, &k);
    for (uint32_t i = 0; i < MD_SUBJECTS; i++) {
        want += md_scheduled(md, i);
    }
    if (!w->failed && (k.n != want || (md->cfg.allow_msg_schedules && !known))) {
        sw_fail(w, "stream i%u: %u schedules (known %d), the model says %u", in->uid, k.n, known,
                want);
    }
    return !w->failed;
}
