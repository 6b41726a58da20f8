/* jsadmin backup, verify, restore: streams of a stopped store into an archive and back. */
#include "tools/jsadmin.h"

#include <time.h>

#include "engine/backup.h"

struct backup_run {
    struct ja_ctx *x;
    const char *what; /* on the progress line */
    int64_t next_ns;
    struct table table;
};

static void progress(void *arg, uint64_t done, uint64_t total)
{
    struct backup_run *r = arg;
    if (done >= total || env_boot_ns(r->x->env) >= r->next_ns) {
        ja_progress(r->x, r->what, done, total);
        r->next_ns = env_boot_ns(r->x->env) + NS_PER_S / 5;
    }
}

static void uuid_text(const uint8_t id[16], char out[37])
{
    for (size_t i = 0, o = 0; i < 16; i++) {
        o += (size_t)snprintf(out + o, 37 - o,
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", id[i]);
    }
}

static void report(struct ja_ctx *x, const char *path, const struct eng_backup_report *r)
{
    char archive[37], store[37], when[32], b[2][40];
    struct tm tm;
    time_t t = (time_t)(r->created_ns / NS_PER_S);
    uuid_text(r->archive_uuid, archive);
    uuid_text(r->store_uuid, store);
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &tm));
    if (x->json) {
        json_out_str(&x->out, "archive", path);
        json_out_str(&x->out, "archive_id", archive);
        json_out_str(&x->out, "store_id", store);
        json_out_str(&x->out, "created", when);
        json_out_u64(&x->out, "archive_bytes", r->file_bytes);
        json_out_u64(&x->out, "streams_count", r->streams);
        json_out_u64(&x->out, "consumers_count", r->consumers);
        json_out_u64(&x->out, "messages", r->msgs);
        json_out_u64(&x->out, "bytes", r->bytes);
        return;
    }
    printf("Archive       %s (%s)\n", path, ja_bytes(r->file_bytes, b[0], sizeof b[0]));
    printf("Identity      %s, made %s of store %s\n", archive, when, store);
    printf("Content       %s, %s", ja_things(r->streams, "stream", b[0], sizeof b[0]),
           ja_things(r->consumers, "consumer", b[1], sizeof b[1]));
    printf(", %s, %s\n", ja_things(r->msgs, "message", b[0], sizeof b[0]),
           ja_bytes(r->bytes, b[1], sizeof b[1]));
}

static int usage(const char *command, const char *option)
{
    fprintf(stderr, "jsadmin: %s needs %s ARCHIVE\n", command, option);
    return ja_usage("--help");
}

static int failed(struct ja_ctx *x, const char *command, enum st st, const struct err *err)
{
    if (x->bar) {
        fputc('\n', stderr);
    }
    ja_complain(x, command, err->msg);
    return st == ST_CORRUPT ? JA_DAMAGE : JA_FAILED;
}

int ja_backup(struct ja_ctx *x)
{
    struct backup_run r = {.x = x, .what = "Writing"};
    struct eng_backup_opts o = {.path = x->to,
                                .account = x->account,
                                .stream = x->stream,
                                .replace = x->replace,
                                .progress = progress,
                                .arg = &r};
    struct eng_backup_report rep;
    struct err err = {0};
    if (x->to == NULL) {
        return usage("backup", "--to");
    }
    enum st st = eng_backup(x->store, &o, &rep, &err);
    if (st != ST_OK) {
        return failed(x, "backup", st, &err);
    }
    if (rep.msgs > 0) {
        ja_progress(x, r.what, 1, 1);
    }
    report(x, x->to, &rep);
    return JA_OK;
}

static void on_stream(void *arg, const char *account, const char *name, uint64_t msgs,
                      uint64_t bytes, uint64_t consumers)
{
    struct backup_run *r = arg;
    char b[3][40];
    if (r->x->json) {
        json_out_begin(&r->x->out);
        json_out_str(&r->x->out, "account", account);
        json_out_str(&r->x->out, "name", name);
        json_out_u64(&r->x->out, "messages", msgs);
        json_out_u64(&r->x->out, "bytes", bytes);
        json_out_u64(&r->x->out, "consumers", consumers);
        json_out_end(&r->x->out);
        return;
    }
    const char *row[] = {account, name, ja_count(msgs, b[0], 40), ja_bytes(bytes, b[1], 40),
                         ja_count(consumers, b[2], 40)};
    table_row(&r->table, row);
}

int ja_verify(struct ja_ctx *x)
{
    static const char *const head[] = {"Account", "Stream", "Messages", "Bytes", "Consumers"};
    struct backup_run r = {.x = x, .what = "Verifying"};
    struct eng_backup_report rep;
    struct err err = {0};
    table_init(&r.table, "Streams", head, ARRAY_LEN(head), 2);
    if (x->json) {
        json_out_array(&x->out, "streams");
    }
    enum st st = eng_archive_verify(x->env, x->dir, on_stream, progress, &r, &rep, &err);
    if (x->json) {
        json_out_array_end(&x->out);
    }
    if (st == ST_OK) {
        report(x, x->dir, &rep);
    }
    if (st == ST_OK && !x->json && rep.streams > 0) {
        printf("\n");
        table_print(&r.table, stdout);
    }
    table_fini(&r.table);
    return st == ST_OK ? JA_OK : failed(x, "verify", st, &err);
}

/* What the JetStream API accepts as the name of a stream. */
static bool name_valid(const char *s)
{
    size_t n = 0;
    for (; s[n] != 0; n++) {
        if ((unsigned char)s[n] <= ' ' || s[n] == 0x7f || strchr(".*>/\\", s[n]) != NULL) {
            return false;
        }
    }
    return n > 0 && n <= 255;
}

/* What a config file may call an account. */
static bool account_valid(const char *s)
{
    size_t n = 0;
    for (; s[n] != 0; n++) {
        if ((unsigned char)s[n] < ' ' || s[n] == 0x7f) {
            return false;
        }
    }
    return n > 0 && n <= 255;
}

int ja_restore(struct ja_ctx *x)
{
    struct backup_run r = {.x = x, .what = "Verifying"};
    struct eng_backup_report rep;
    struct err err = {0};
    if (x->from == NULL) {
        return usage("restore", "--from");
    }
    if (x->as_stream != NULL && !name_valid(x->as_stream)) {
        fprintf(stderr, "jsadmin: \"%s\" cannot be the name of a stream\n", x->as_stream);
        return JA_USAGE;
    }
    if (x->as_account != NULL && !account_valid(x->as_account)) {
        fprintf(stderr, "jsadmin: \"%s\" cannot be the name of an account\n", x->as_account);
        return JA_USAGE;
    }
    enum st st = eng_archive_verify(x->env, x->from, NULL, progress, &r, &rep, &err);
    if (st != ST_OK) {
        return failed(x, "restore", st, &err);
    }
    int code = ja_open(x, JA_CREATE);
    if (code != JA_OK) {
        return code;
    }
    r.what = "Restoring";
    struct eng_restore_opts o = {.path = x->from,
                                 .account = x->account,
                                 .stream = x->stream,
                                 .to_account = x->as_account,
                                 .to_stream = x->as_stream,
                                 .replace = x->replace,
                                 .drive = {x->store, ja_wait, x},
                                 .progress = progress,
                                 .arg = &r};
    st = eng_restore(x->store, &o, &rep, &err);
    if (st != ST_OK) {
        return failed(x, "restore", st, &err);
    }
    report(x, x->from, &rep);
    return JA_OK;
}
