/* Start-up lines and the small files that tell others about a running server. */
#include "broker/banner.h"

#include <stdio.h>
#include <unistd.h>

#include "broker/server.h"
#include "engine/base/base.h"
#include "engine/base/limits.h"
#include "engine/base/log.h"
#include "engine/base/version.h"

/* "64.00 MB" as upstream writes sizes. Returns out. */
static const char *friendly_bytes(int64_t bytes, char out[32])
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1024 && u + 1 < ARRAY_LEN(units)) {
        v /= 1024;
        u++;
    }
    snprintf(out, 32, u == 0 ? "%.0f %s" : "%.2f %s", v, units[u]);
    return out;
}

static bool plaintext(const char *pass)
{
    return pass != NULL && pass[0] != '\0' && !brk_pass_is_bcrypt(pass);
}

static bool has_plaintext(const struct brk_opts *o)
{
    bool found = plaintext(o->pass) || plaintext(o->token);
    for (size_t i = 0; i < o->users_count && !found; i++) {
        found = plaintext(o->users[i].pass);
    }
    return found;
}

/* All known keys without effect in one warning. */
static void warn_not_served(const struct brk_conf_lines *l)
{
    char text[LOG_LINE_MAX];
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < l->count && at + 1 < sizeof text; i++) {
        int n = snprintf(text + at, sizeof text - at, "%s%s", i == 0 ? "" : ", ", l->lines[i]);
        at += n < 0 ? 0 : (size_t)n;
    }
    if (l->count > 0) {
        log_wrn("config keys that are not served yet and have no effect: %s", text);
    }
}

void brk_banner_notes(const struct brk_conf_notes *notes)
{
    for (size_t i = 0; i < notes->warnings.count; i++) {
        log_wrn("%s", notes->warnings.lines[i]);
    }
    warn_not_served(&notes->not_served);
}

void brk_banner_start(const struct brk_opts *o, const char *name, const char *id,
                      const struct brk_conf_notes *notes)
{
    log_inf("Starting nats-server");
    log_inf("  Version:  %s", BRK_NATS_VERSION);
    log_inf("  Millrace: %s", MILLRACE_VERSION);
    log_inf("  Git:      [not set]");
    log_inf("  Name:     %s", name);
    log_inf("  ID:       %s", id);
    if (has_plaintext(o)) {
        log_wrn("Plaintext passwords detected, use nkeys or bcrypt");
    }
    if (o->config_file != NULL) {
        log_inf("Using configuration file: %s", o->config_file);
    }
    if (o->max_payload > (int64_t)LIM_PAYLOAD_BYTES_WARN) {
        log_wrn("Maximum payloads over 8.00 MB are generally discouraged and could lead to poor "
                "performance");
    }
    brk_banner_notes(notes);
}

void brk_banner_jetstream(const struct brk_opts *o, const char *store_dir, int64_t max_memory,
                          int64_t max_file)
{
    char size[32];
    log_inf("Starting JetStream");
    log_inf("---------------- JETSTREAM ----------------");
    log_inf("  Strict:          %s", o->js.strict ? "true" : "false");
    log_inf("  Max Memory:      %s", friendly_bytes(max_memory, size));
    log_inf("  Max Storage:     %s", friendly_bytes(max_file, size));
    log_inf("  Store Directory: \"%s\"", store_dir);
    if (o->js.domain != NULL) {
        log_inf("  Domain:          %s", o->js.domain);
    }
    log_inf("  API Level:       %u", JS_API_LEVEL);
    if (o->js.sync_always) {
        log_inf("  Durability:      durable (acknowledged after the sync)");
    } else {
        log_inf("  Durability:      relaxed (synced every %lld ms; acknowledged before)",
                (long long)(o->js.sync_interval_ns / NS_PER_MS));
    }
    log_inf("-------------------------------------------");
}

/* Replaces a small text file. */
static enum st write_text(struct env *env, const char *path, const char *text, struct err *err)
{
    struct env_file *f = NULL;
    enum st st = env_open(env, path, ENV_RDWR | ENV_CREATE, &f, err);
    if (st != ST_OK) {
        return st;
    }
    st = env_truncate(env, f, 0, err);
    if (st == ST_OK) {
        st = env_pwrite(env, f, text, strlen(text), 0, err);
    }
    env_close(env, f);
    return st;
}

enum st brk_write_pid_file(struct env *env, const char *path, struct err *err)
{
    char text[32];
    snprintf(text, sizeof text, "%d", (int)getpid());
    enum st st = write_text(env, path, text, err);
    if (st != ST_OK) {
        err_prefix(err, "Could not write pidfile");
    }
    return st;
}

/* "host:port" as others on this machine reach it; a v6 address in brackets. */
static void reachable(const char *host, int port, char *out, size_t out_size)
{
    bool any = strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "[::]") == 0;
    bool v6 = strchr(host, ':') != NULL && host[0] != '[' && !any;
    snprintf(out, out_size, "%s%s%s:%d", v6 ? "[" : "", any ? "127.0.0.1" : host, v6 ? "]" : "",
             port);
}

enum st brk_write_ports_file(struct env *env, const struct brk_opts *o, const char *program,
                             int port, int http_port, char **path_out, struct err *err)
{
    char path[4096], text[1024], nats[300], http[300];
    const char *slash = strrchr(program, '/');
    *path_out = NULL;
    reachable(o->host, port, nats, sizeof nats);
    reachable(o->http_host != NULL ? o->http_host : o->host, http_port, http, sizeof http);
    snprintf(path, sizeof path, "%s/%s_%d.ports", o->ports_file_dir,
             slash == NULL ? program : slash + 1, (int)getpid());
    snprintf(text, sizeof text, "{\"nats\":[\"nats://%s\"]%s%s%s}", nats,
             http_port > 0 ? ",\"monitoring\":[\"http://" : "", http_port > 0 ? http : "",
             http_port > 0 ? "\"]" : "");
    enum st st = write_text(env, path, text, err);
    if (st != ST_OK) {
        err_prefix(err, "could not write ports file");
        return st;
    }
    *path_out = base_strdup(path);
    return ST_OK;
}
