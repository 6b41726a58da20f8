/* What operators are told: eng_info, incidents, damage. */
#include "engine/eng.h"

#include <stdio.h>

void eng_info_get(struct store *store, struct eng_info *out)
{
    struct eng *e = eng_of(store);
    struct jr_stats js;
    memset(out, 0, sizeof *out);
    jr_stats_get(e->jr, &js);
    snprintf(out->root, sizeof out->root, "%s", e->root);
    memcpy(out->store_uuid, e->ident.store_uuid, 16);
    out->fresh = e->fresh;
    out->clean = e->clean;
    out->replayed_records = e->recovered.records;
    out->torn_bytes = e->recovered.torn_bytes;
    out->recovery_ns = e->recovery_ns;
    out->streams = e->nstreams;
    for (size_t i = 0; i < e->nstreams; i++) {
        struct store_stream *s = e->by_name[i];
        out->consumers += s->ncons;
        out->segments += s->segs != NULL ? s->segs->n : 0;
        out->damaged_streams += s->ndamage > 0;
    }
    out->journal_window_used = jr_window_used(e->jr);
    out->journal_window_bytes = e->opts.journal_window_bytes;
    out->groups = js.groups;
    out->syncs = js.syncs;
    out->journal_bytes_written = js.bytes_written;
    out->sync_ns_total = js.sync_ns_total;
    out->sync_ns_max = js.sync_ns_max;
    out->checkpoints = e->checkpoints;
    out->compactions = e->compactions;
    out->compacted_bytes = e->compacted_bytes;
    out->segment_bytes_written = e->segment_bytes_written;
    out->generation = cat_generation(e->cat);
    out->incidents = cat_incidents(e->cat, NULL, NULL) + e->nunowned;
    out->poisoned = e->poisoned != ST_OK;
    out->low_space = e->low_space;
    out->clock_alarm = e->time.alarm != TIME_FINE;
}

struct incident_arg {
    void (*fn)(void *arg, const char *account, const char *stream, const char *text);
    void *arg;
};

static void cat_incident(void *arg, int64_t found_ns, const char *text)
{
    struct incident_arg *a = arg;
    (void)found_ns;
    a->fn(a->arg, NULL, NULL, text);
}

void eng_incidents(struct store *store,
                   void (*fn)(void *arg, const char *account, const char *stream, const char *text),
                   void *arg)
{
    struct eng *e = eng_of(store);
    struct incident_arg a = {fn, arg};
    cat_incidents(e->cat, cat_incident, &a);
    for (size_t i = 0; i < e->nunowned; i++) {
        fn(arg, NULL, NULL, e->unowned[i].text);
    }
    for (size_t i = 0; i < e->nstreams; i++) {
        struct store_stream *s = e->by_name[i];
        for (size_t d = 0; d < s->ndamage; d++) {
            fn(arg, s->cfg.account, s->cfg.name, s->damage[d].text);
        }
    }
}

void eng_stream_damage(struct store_stream *s,
                       void (*fn)(void *arg, uint64_t lo, uint64_t hi, const char *text), void *arg)
{
    for (size_t i = 0; i < s->ndamage; i++) {
        fn(arg, s->damage[i].lo, s->damage[i].hi, s->damage[i].text);
    }
}

void eng_checkpoint(struct store *store, store_done_fn done, void *arg)
{
    ckpt_request(eng_of(store), done, arg);
}
