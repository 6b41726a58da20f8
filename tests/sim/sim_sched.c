/* Schedules: which messages are ones must be known after every crash, without reading any. */
#include "engine/eng.h"
#include "tests/sim/sim_world.h"

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
