/* /jsz: JetStream's accounts, streams and consumers.
 *
 * The sums at the top are the whole server's, as upstream's; everything that carries a name belongs
 * to the accounts asked for. Streams come in batches: the store is asked when each one's state is
 * durable, its row is written inside that callback (then its numbers are exact, and nothing is
 * shown that a crash could take back), and the batch is put together in order of names. A stream
 * that went meanwhile is left out. Ours stands in members named `millrace`: beside a stream's
 * config its durability and damage, at the end the store. */
#include "broker/js.h"
#include "broker/js_header.h"
#include "broker/monitor_int.h"
#include "broker/js_level.h"
#include "engine/base/base.h"

#define BATCH 16u

struct slot {
    struct mon_job *job;
    const char *name;    /* borrowed from names */
    struct json_out row; /* empty: the stream went */
};

struct jsz {
    bool accounts, streams, consumers, config, raft;
    int64_t offset, limit;
    char acc[BRK_HTTP_VALUE_MAX + 1];
    struct brk_account *at;   /* borrowed; being written, or NULL */
    struct brk_account *next; /* borrowed; to be written after it */
    uint64_t skip, left;      /* accounts to be passed over, and to be written */
    char **names;             /* owned: of the account's streams */
    size_t names_count, names_at;
    struct slot batch[BATCH];
    size_t batch_count;
    bool begun, rows; /* rows: one stream of the account was written */
};

/* --- members that /varz shows too ------------------------------------------------------------- */

static const struct store_ops *ops_of(const struct monitor *m)
{
    return m->s.store->ops;
}

/* What streams with a max_bytes may take together. */
static void reserved(const struct monitor *m, uint64_t *memory_out, uint64_t *storage_out)
{
    struct store_stream *s = NULL;
    *memory_out = *storage_out = 0;
    while ((s = ops_of(m)->stream_next(m->s.store, NULL, s)) != NULL) {
        const struct stream_cfg *c = ops_of(m)->stream_cfg(s);
        if (c->max_bytes > 0) {
            *(c->storage == STORAGE_MEMORY ? memory_out : storage_out) += (uint64_t)c->max_bytes;
        }
    }
}

static uint64_t js_accounts(const struct monitor *m)
{
    uint64_t n = 0;
    for (struct brk_account *a = brk_account_first(m->server); a != NULL && m->s.js != NULL;
         a = a->next) {
        n += a->jetstream;
    }
    return n;
}

static void put_stats(struct mon_job *job, const struct brk_account *acc,
                      const struct js_figures *f)
{
    struct json_out *j = &job->out;
    /* upstream: an account without limits has reserved -1, as an unsigned number */
    uint64_t memory = UINT64_MAX, storage = UINT64_MAX;
    if (acc == NULL) {
        reserved(job->m, &memory, &storage);
    }
    json_out_u64(j, "memory", f->memory_bytes);
    json_out_u64(j, "storage", f->storage_bytes);
    json_out_u64(j, "reserved_memory", memory);
    json_out_u64(j, "reserved_storage", storage);
    json_out_u64(j, "accounts", acc == NULL ? js_accounts(job->m) : 0);
    json_out_u64(j, "ha_assets", 0);
    json_out_open(j, "api");
    json_out_u64(j, "level", acc == NULL ? JS_API_LEVEL : 0); /* upstream: the server's */
    json_out_u64(j, "total", f->api_total);
    json_out_u64(j, "errors", f->api_errors);
    if (f->api_inflight > 0) {
        json_out_u64(j, "inflight", f->api_inflight);
    }
    json_out_end(j);
}

void mon_put_js_stats(struct mon_job *job, const struct brk_account *acc)
{
    struct js_figures f;
    js_figures(job->m->s.js, acc, &f);
    put_stats(job, acc, &f);
}

void mon_put_js_config(struct mon_job *job)
{
    struct json_out *j = &job->out;
    const struct monitor *m = job->m;
    const struct brk_js_opts *o = &m->server->opts->js;
    json_out_open(j, "config");
    json_out_i64(j, "max_memory", m->s.max_memory_bytes);
    json_out_i64(j, "max_storage", m->s.max_file_bytes);
    json_out_str(j, "store_dir", m->s.store_dir);
    json_out_i64(j, "sync_interval", o->sync_always ? 0 : o->sync_interval_ns);
    if (o->sync_always) {
        json_out_bool(j, "sync_always", true);
    }
    if (o->domain != NULL) {
        json_out_str(j, "domain", o->domain);
    }
    if (o->strict) {
        json_out_bool(j, "strict", true);
    }
    json_out_end(j);
}

static void put_limit(struct json_out *j, const char *key, int64_t limit)
{
    if (limit > 0) {
        json_out_i64(j, key, limit);
    }
}

void mon_put_js_limits(struct mon_job *job)
{
    const struct brk_js_opts *o = &job->m->server->opts->js;
    json_out_open(&job->out, "limits");
    put_limit(&job->out, "max_request_batch", o->limit_max_request_batch);
    put_limit(&job->out, "max_ack_pending", o->limit_max_ack_pending);
    put_limit(&job->out, "max_duplicate_window", o->limit_duplicate_window_ns);
    json_out_end(&job->out);
}

/* --- top and end ------------------------------------------------------------------------------ */

static void put_top(struct mon_job *job, struct jsz *z)
{
    struct json_out *j = &job->out;
    struct monitor *m = job->m;
    struct js_figures f;
    js_figures(m->s.js, NULL, &f);
    json_out_begin(j);
    put_stats(job, NULL, &f);
    json_out_str(j, "server_id", m->server->id);
    json_out_time(j, "now", env_real_ns(m->server->env));
    mon_put_js_config(job);
    mon_put_js_limits(job);
    json_out_u64(j, "streams", f.streams);
    if (z->raft) {
        json_out_u64(j, "streams_leader", f.streams);
    }
    json_out_u64(j, "consumers", f.consumers);
    if (z->raft) {
        json_out_u64(j, "consumers_leader", f.consumers);
    }
    json_out_u64(j, "messages", f.messages);
    json_out_u64(j, "bytes", f.bytes);
}

/* What the store says of itself. */
static void put_store(struct mon_job *job, const struct jsz *z)
{
    struct json_out *j = &job->out;
    struct monitor *m = job->m;
    struct mon_facts f;
    struct err err = {0};
    bool failed = ops_of(m)->health(m->s.store, &err) != ST_OK;
    struct mon_damage_list damage = {.j = j, .account = z->acc[0] != 0 ? z->acc : NULL};
    m->s.facts(m->s.store, &f);
    json_out_open(j, "millrace");
    if (failed) {
        json_out_str(j, "failed", err.msg);
    }
    json_out_bool(j, "low_space", f.low_space);
    json_out_bool(j, "clock_alarm", f.clock_alarm);
    json_out_u64(j, "generation", f.generation);
    json_out_open(j, "journal");
    json_out_u64(j, "window_used_bytes", f.journal_window_used);
    json_out_u64(j, "window_bytes", f.journal_window_bytes);
    json_out_u64(j, "groups", f.groups);
    json_out_u64(j, "bytes_written", f.journal_bytes_written);
    json_out_u64(j, "syncs", f.syncs);
    json_out_u64(j, "sync_ns_total", f.sync_ns_total);
    json_out_u64(j, "sync_ns_max", f.sync_ns_max);
    json_out_end(j);
    json_out_open(j, "segments");
    json_out_u64(j, "count", f.segments);
    json_out_u64(j, "checkpoints", f.checkpoints);
    json_out_u64(j, "bytes_written", f.segment_bytes_written);
    json_out_end(j);
    json_out_open(j, "recovery");
    json_out_bool(j, "fresh", f.fresh);
    json_out_bool(j, "clean", f.fresh || f.clean);
    json_out_u64(j, "replayed_records", f.replayed_records);
    json_out_u64(j, "torn_bytes", f.torn_bytes);
    json_out_i64(j, "ns", f.recovery_ns);
    json_out_end(j);
    json_out_u64(j, "incidents", f.incidents);
    json_out_u64(j, "damaged_streams", f.damaged_streams);
    json_out_array(j, "damage");
    mon_put_damage(m, &damage);
    json_out_array_end(j);
    json_out_end(j);
}

/* The page of a server without JetStream. */
static enum mon_step put_disabled(struct mon_job *job)
{
    static const struct js_figures none;
    struct json_out *j = &job->out;
    json_out_begin(j);
    static const char *const zeros[] = {"memory",           "storage",  "reserved_memory",
                                        "reserved_storage", "accounts", "ha_assets"};
    for (size_t i = 0; i < ARRAY_LEN(zeros); i++) {
        json_out_u64(j, zeros[i], 0);
    }
    json_out_open(j, "api");
    json_out_u64(j, "level", JS_API_LEVEL);
    json_out_u64(j, "total", none.api_total);
    json_out_u64(j, "errors", none.api_errors);
    json_out_end(j);
    json_out_str(j, "server_id", job->m->server->id);
    json_out_time(j, "now", env_real_ns(job->m->server->env));
    json_out_bool(j, "disabled", true);
    json_out_open(j, "config");
    json_out_u64(j, "max_memory", 0);
    json_out_u64(j, "max_storage", 0);
    json_out_end(j);
    static const char *const sums[] = {"streams", "consumers", "messages", "bytes", "total"};
    for (size_t i = 0; i < ARRAY_LEN(sums); i++) {
        json_out_u64(j, sums[i], 0);
    }
    json_out_end(j);
    return MON_DONE;
}

/* --- rows ------------------------------------------------------------------------------------- */

static void put_lost(void *arg, uint64_t lo, uint64_t hi, const char *text)
{
    struct json_out *j = arg;
    json_out_begin(j);
    json_out_u64(j, "first_seq", lo);
    json_out_u64(j, "last_seq", hi);
    json_out_str(j, "error", text);
    json_out_end(j);
}

static void put_stream_ours(const struct monitor *m, struct json_out *j, struct store_stream *s)
{
    uint64_t segments = 0, segment_bytes = 0, tail_msgs = 0;
    m->s.space(s, &segments, &segment_bytes, &tail_msgs);
    json_out_open(j, "millrace");
    js_put_ours(m->s.js, j, s);
    json_out_u64(j, "segments", segments);
    json_out_u64(j, "segment_bytes", segment_bytes);
    json_out_u64(j, "journal_only_msgs", tail_msgs);
    json_out_array(j, "damage");
    m->s.damage(s, put_lost, j);
    json_out_array_end(j);
    json_out_end(j);
}

static void put_row(struct slot *slot, const struct jsz *z, struct store_stream *s)
{
    const struct monitor *m = slot->job->m;
    struct json_out *j = &slot->row;
    json_out_begin(j);
    js_put_stream(m->s.js, j, s, z->config);
    struct store_cons *c = z->consumers ? ops_of(m)->cons_next_of(s, NULL) : NULL;
    if (c != NULL) {
        json_out_array(j, "consumer_detail");
        for (; c != NULL && j->len <= MON_PAGE_MAX; c = ops_of(m)->cons_next_of(s, c)) {
            if (ops_of(m)->cons_user(c) != NULL) {
                js_put_consumer(m->s.js, j, c, z->config);
            }
        }
        json_out_array_end(j);
    }
    put_stream_ours(m, j, s);
    json_out_end(j);
}

/* The stream's state is durable, or never will be (the store has failed: its row shows what memory
 * holds, and `failed` stands on the page). */
static void on_durable(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct slot *slot = arg;
    struct mon_job *job = slot->job;
    (void)st;
    (void)n;
    (void)err;
    if (!mon_job_called(job) || job->m->s.js == NULL) {
        return;
    }
    struct jsz *z = job->state;
    struct store_stream *s = ops_of(job->m)->stream_find(job->m->s.store, z->at->name, slot->name);
    if (s != NULL && ops_of(job->m)->stream_user(s) != NULL) {
        put_row(slot, z, s);
    }
    if (job->barriers == 0) {
        mon_job_kick(job);
    }
}

static void flush_batch(struct mon_job *job, struct jsz *z)
{
    for (size_t i = 0; i < z->batch_count; i++) {
        struct json_out *row = &z->batch[i].row;
        if (row->len > 0) {
            json_out_raw(&job->out, ",", z->rows ? 1 : 0);
            json_out_raw(&job->out, row->buf, row->len);
            z->rows = true;
        }
        json_out_fini(row);
    }
    z->batch_count = 0;
}

static enum mon_step ask_batch(struct mon_job *job, struct jsz *z)
{
    while (z->batch_count < BATCH && z->names_at < z->names_count) {
        const char *name = z->names[z->names_at++];
        struct store_stream *s = ops_of(job->m)->stream_find(job->m->s.store, z->at->name, name);
        if (s != NULL) {
            struct slot *slot = &z->batch[z->batch_count++];
            *slot = (struct slot){.job = job, .name = name};
            job->barriers++;
            ops_of(job->m)->stream_barrier(s, on_durable, slot);
        }
    }
    return job->barriers > 0 ? MON_WAITS : MON_GOES_ON;
}

/* --- accounts --------------------------------------------------------------------------------- */

static void drop_names(struct jsz *z)
{
    for (size_t i = 0; i < z->names_count; i++) {
        base_free(z->names[i]);
    }
    base_free(z->names);
    z->names = NULL;
    z->names_count = z->names_at = 0;
}

static void take_names(const struct monitor *m, struct jsz *z)
{
    size_t cap = 0;
    struct store_stream *s = NULL;
    while ((s = ops_of(m)->stream_next(m->s.store, z->at->name, s)) != NULL) {
        if (z->names_count == cap) {
            cap = cap == 0 ? 32 : cap * 2;
            z->names = base_realloc(z->names, cap * sizeof(char *));
        }
        z->names[z->names_count++] = base_strdup(ops_of(m)->stream_cfg(s)->name);
    }
}

static void begin_account(struct mon_job *job, struct jsz *z)
{
    struct json_out *j = &job->out;
    json_out_begin(j);
    json_out_str(j, "name", z->at->name);
    json_out_str(j, "id", z->at->name);
    mon_put_js_stats(job, z->at);
    if (z->streams) {
        take_names(job->m, z);
    }
    z->rows = false;
    if (z->names_count > 0) {
        json_out_array(j, "stream_detail");
    }
}

static void end_account(struct mon_job *job, struct jsz *z)
{
    if (z->names_count > 0) {
        json_out_array_end(&job->out);
    }
    json_out_end(&job->out);
    drop_names(z);
    z->at = NULL;
}

static struct brk_account *next_account(struct jsz *z)
{
    while (z->next != NULL && z->left > 0) {
        struct brk_account *a = z->next;
        z->next = a->next;
        bool wanted = a->jetstream && (z->acc[0] == 0 || strcmp(a->name, z->acc) == 0);
        if (wanted && z->skip > 0) {
            z->skip--;
        } else if (wanted) {
            z->left--;
            return a;
        }
    }
    return NULL;
}

/* --- the page --------------------------------------------------------------------------------- */

static bool read_params(struct mon_job *job, struct jsz *z)
{
    bool leader = false,
         direct =
             false; /* one server leads everything; there are no mirrors with direct consumers */
    if (!mon_param_bool(job, "accounts", &z->accounts) ||
        !mon_param_bool(job, "streams", &z->streams) ||
        !mon_param_bool(job, "consumers", &z->consumers) ||
        !mon_param_bool(job, "direct-consumers", &direct) ||
        !mon_param_bool(job, "config", &z->config) || !mon_param_bool(job, "raft", &z->raft) ||
        !mon_param_bool(job, "leader-only", &leader) ||
        !mon_param_bool(job, "stream-leader-only", &leader) ||
        !mon_param_int(job, "offset", &z->offset) || !mon_param_int(job, "limit", &z->limit) ||
        !mon_param_str(job, "acc", z->acc)) {
        return false;
    }
    z->streams = z->streams || z->consumers;
    z->accounts = z->accounts || z->streams;
    z->skip = z->offset > 0 && z->acc[0] == 0 ? (uint64_t)z->offset : 0;
    z->left = z->limit > 0 ? (uint64_t)z->limit : 1024;
    return true;
}

static enum mon_step begin(struct mon_job *job, struct jsz *z)
{
    if (!read_params(job, z)) {
        return MON_DONE;
    }
    if (job->m->s.js == NULL) {
        return put_disabled(job);
    }
    put_top(job, z);
    z->next = z->accounts || z->acc[0] != 0 ? brk_account_first(job->m->server) : NULL;
    z->at = next_account(z);
    z->begun = true;
    if (z->at != NULL) {
        json_out_array(&job->out, "account_details");
        begin_account(job, z);
    }
    return MON_GOES_ON;
}

static enum mon_step end(struct mon_job *job, struct jsz *z)
{
    json_out_u64(&job->out, "total", js_accounts(job->m));
    put_store(job, z);
    json_out_end(&job->out);
    return MON_DONE;
}

enum mon_step mon_jsz(struct mon_job *job)
{
    struct jsz *z = job->state;
    if (z == NULL) {
        job->state = z = base_calloc(1, sizeof *z);
        return begin(job, z);
    }
    if (z->at == NULL) {
        return end(job, z);
    }
    flush_batch(job, z);
    if (z->names_at < z->names_count) {
        return ask_batch(job, z);
    }
    end_account(job, z);
    z->at = next_account(z);
    if (z->at != NULL) {
        begin_account(job, z);
    } else {
        json_out_array_end(&job->out);
    }
    return MON_GOES_ON;
}

void mon_jsz_fini(struct mon_job *job)
{
    struct jsz *z = job->state;
    if (z != NULL) {
        for (size_t i = 0; i < z->batch_count; i++) {
            json_out_fini(&z->batch[i].row);
        }
        drop_names(z);
        base_free(z);
    }
}
