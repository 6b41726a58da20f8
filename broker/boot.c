#include "broker/boot.h"

#include <stdio.h>

#include "broker/banner.h"
#include "engine/base/log.h"
#include "engine/engine.h"

static void ring(void *arg)
{
    brk_loop_wake(arg);
}

/* Three quarters of what is there, as nats-server reckons it. */
static int64_t default_file_bytes(struct env *env, const char *dir)
{
    uint64_t free_bytes = 0, total_bytes = 0;
    struct err err;
    char parent[4096];
    snprintf(parent, sizeof parent, "%s", dir);
    /* The directory may not be there yet: its nearest existing parent is on the same disk. */
    while (env_space(env, parent, &free_bytes, &total_bytes, &err) != ST_OK) {
        char *slash = strrchr(parent, '/');
        if (slash == NULL && strcmp(parent, ".") != 0) {
            snprintf(parent, sizeof parent, "."); /* a relative path: where the server stands */
        } else if (slash == NULL || slash == parent) {
            return 0;
        } else {
            *slash = 0;
        }
    }
    return (int64_t)(free_bytes / 4 * 3);
}

static char *pick_store_dir(struct env *env, const struct brk_js_opts *o)
{
    char buf[4096];
    if (o->store_dir != NULL) {
        return base_strdup(o->store_dir);
    }
    const char *tmp = env_getenv(env, "TMPDIR");
    snprintf(buf, sizeof buf, "%s/nats", tmp != NULL && tmp[0] != 0 ? tmp : "/tmp");
    return base_strdup(buf);
}

static void report(struct boot *b)
{
    struct eng_info info;
    eng_info_get(b->store, &info);
    if (!info.fresh) {
        log_inf("Recovered %llu streams and %llu consumers in %lld ms: %llu records replayed after "
                "%s stop",
                (unsigned long long)info.streams, (unsigned long long)info.consumers,
                (long long)(info.recovery_ns / NS_PER_MS),
                (unsigned long long)info.replayed_records, info.clean ? "a clean" : "an unclean");
    }
    if (info.torn_bytes > 0) {
        log_inf("Discarded a torn tail that was never acknowledged bytes=%llu",
                (unsigned long long)info.torn_bytes);
    }
}

enum st boot_jetstream(struct boot *b, struct brk_server *server, struct err *err)
{
    const struct brk_js_opts *o = &server->opts->js;
    if (!o->enabled) {
        return ST_OK;
    }
    b->store_dir = pick_store_dir(server->env, o);
    b->max_memory_bytes = o->max_memory_store >= 0
                              ? o->max_memory_store
                              : (int64_t)(env_memory_bytes(server->env) / 4 * 3);
    b->max_file_bytes =
        o->max_file_store >= 0 ? o->max_file_store : default_file_bytes(server->env, b->store_dir);
    char shown[4200];
    snprintf(shown, sizeof shown, "%s/millrace", b->store_dir);
    b->shown_dir = base_strdup(shown);
    brk_banner_jetstream(server->opts, shown, b->max_memory_bytes, b->max_file_bytes);
    if (o->store_dir == NULL) {
        log_wrn("Temporary storage directory used, data could be lost on system reboot");
    }
    struct eng_opts eo = {.store_dir = b->store_dir,
                          .sync_interval_ns = o->sync_always ? 0 : o->sync_interval_ns,
                          .max_file_bytes = (uint64_t)b->max_file_bytes,
                          .max_file_is_of_free = o->max_file_store < 0,
                          .max_mem_bytes = (uint64_t)b->max_memory_bytes,
                          .doorbell = ring,
                          .doorbell_arg = server->loop};
    enum st st = eng_open(server->env, &eo, &b->store, err);
    if (st != ST_OK) {
        err_prefix(err, "Can't start JetStream");
        return st;
    }
    report(b);
    if (o->max_file_store < 0) {
        struct store_usage u;
        b->store->ops->usage(b->store, NULL, &u);
        b->max_file_bytes += (int64_t)u.file_bytes; /* as the engine reckons */
    }
    struct js_deps deps = {.loop = server->loop,
                           .store = b->store,
                           .env = server->env,
                           .opts = o,
                           .server_name = server->name,
                           .max_pending = server->opts->max_pending,
                           .max_memory_bytes = b->max_memory_bytes,
                           .max_file_bytes = b->max_file_bytes};
    b->js = js_create(&deps);
    for (struct brk_account *a = brk_account_first(server); a != NULL; a = a->next) {
        a->jetstream = brk_opts_account_jetstream(server->opts, a->name);
        a->js_limits = brk_opts_account_limits(server->opts, a->name);
    }
    server->jetstream = true;
    js_start(b->js, brk_account_first(server));
    b->server = server;
    server->on_shutdown = js_tell_shutdown;
    server->on_shutdown_arg = b->js;
    return ST_OK;
}

void boot_accounts(struct boot *b)
{
    if (b->js != NULL) {
        js_accounts_changed(b->js, brk_account_first(b->server));
    }
}

/* --- what the monitoring port shows of the engine --------------------------------------------- */

static void copy_facts(struct store *store, struct mon_facts *out)
{
    struct eng_info i;
    eng_info_get(store, &i);
    *out = (struct mon_facts){.fresh = i.fresh,
                              .clean = i.clean,
                              .low_space = i.low_space,
                              .clock_alarm = i.clock_alarm,
                              .replayed_records = i.replayed_records,
                              .torn_bytes = i.torn_bytes,
                              .recovery_ns = i.recovery_ns,
                              .segments = i.segments,
                              .journal_window_used = i.journal_window_used,
                              .journal_window_bytes = i.journal_window_bytes,
                              .groups = i.groups,
                              .syncs = i.syncs,
                              .journal_bytes_written = i.journal_bytes_written,
                              .sync_ns_total = i.sync_ns_total,
                              .sync_ns_max = i.sync_ns_max,
                              .checkpoints = i.checkpoints,
                              .segment_bytes_written = i.segment_bytes_written,
                              .generation = i.generation,
                              .incidents = i.incidents,
                              .damaged_streams = i.damaged_streams};
}

void boot_show(const struct boot *b, struct monitor *m)
{
    if (m == NULL || b->js == NULL) {
        return;
    }
    struct mon_store s = {.js = b->js,
                          .store = b->store,
                          .store_dir = b->shown_dir,
                          .max_file_bytes = b->max_file_bytes,
                          .max_memory_bytes = b->max_memory_bytes,
                          .facts = copy_facts,
                          .incidents = eng_incidents,
                          .damage = eng_stream_damage,
                          .space = eng_stream_space};
    mon_show(m, &s);
}

void boot_stop(struct boot *b)
{
    if (b->js != NULL) {
        b->server->on_shutdown = NULL;
        js_stop(b->js);
    }
    if (b->store != NULL) {
        eng_close(
            b->store); /* callbacks of what was under way may still come: js is there, and silent */
    }
    js_destroy(b->js);
    base_free(b->store_dir);
    base_free(b->shown_dir);
    memset(b, 0, sizeof *b);
}
