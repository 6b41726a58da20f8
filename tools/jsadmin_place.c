/* See jsadmin_place.h. */
#include "tools/jsadmin_place.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "engine/base/godur.h"
#include "engine/base/log.h"

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

bool place_interrupted(void)
{
    return interrupted != 0;
}

/* --- options ---------------------------------------------------------------------------------- */

enum kind { STR, FLAG, NUMBER, SIZE, DURATION, PAIR };
static const struct option_row {
    const char *name;
    enum kind kind;
    size_t off;
} rows[] = {
#define O(field) offsetof(struct place_opts, field)
    {"json", FLAG, O(json)},
    {"account", STR, O(account)},
    {"user", STR, O(remote.user)},
    {"password", STR, O(remote.password)},
    {"token", STR, O(remote.token)},
    {"creds", STR, O(remote.creds)},
    {"tlsca", STR, O(remote.tls_ca)},
    {"tlscert", STR, O(remote.tls_cert)},
    {"tlskey", STR, O(remote.tls_key)},
    {"description", STR, O(description)},
    {"storage", STR, O(storage)},
    {"bucket", STR, O(bucket)},
    {"name", STR, O(name)},
    {"output", STR, O(output)},
    {"metadata", PAIR, 0},
    {"ttl", DURATION, O(ttl_ns)},
    {"marker-ttl", DURATION, O(marker_ttl_ns)},
    {"older-than", DURATION, O(older_than_ns)},
    {"max-bytes", SIZE, O(max_bytes)},
    {"max-value", SIZE, O(max_value)},
    {"chunk", SIZE, O(chunk)},
    {"history", NUMBER, O(history)},
    {"revision", NUMBER, O(revision)},
    {"from", NUMBER, O(from)},
    {"count", NUMBER, O(count)},
    {"offset", SIZE, O(offset)},
    {"length", SIZE, O(length)},
    {"compress", FLAG, O(compress)},
    {"all", FLAG, O(include_history)},
    {"updates-only", FLAG, O(updates_only)},
    {"ignore-deletes", FLAG, O(ignore_deletes)},
    {"meta-only", FLAG, O(meta_only)},
    {"resume", FLAG, O(resume)},
    {"replace", FLAG, O(replace)},
#undef O
};

static const char always[] = " json account user password token creds tlsca tlscert tlskey ";

static bool number(const char *s, uint64_t *out, char **end)
{
    *out = strtoull(s, end, 10);
    return *s >= '0' && *s <= '9' && *out < (uint64_t)INT64_MAX;
}

/* "100", "64KiB", "10MB", "1g": powers of 1024 as everywhere in the server. */
static bool size(const char *s, uint64_t *out)
{
    char *end;
    if (!number(s, out, &end)) {
        return false;
    }
    static const char unit[] = "kmgt";
    const char *u = *end == 0 ? NULL : strchr(unit, *end | 0x20);
    unsigned shift = u == NULL ? 0 : 10 * ((unsigned)(u - unit) + 1);
    const char *rest = u == NULL ? end : end + 1;
    bool ends = *rest == 0 || strcmp(rest, "B") == 0 || (u != NULL && strcmp(rest, "iB") == 0);
    if (!ends || *out > (uint64_t)INT64_MAX >> shift) {
        return false;
    }
    *out <<= shift;
    return true;
}

static bool pair(struct place_opts *o, const char *s)
{
    const char *eq = strchr(s, '=');
    if (eq == NULL || eq == s || o->nmetadata == PLACE_METADATA_MAX) {
        return false;
    }
    o->metadata[o->nmetadata++] =
        (struct store_kv){base_strndup(s, (size_t)(eq - s)), base_strdup(eq + 1)};
    return true;
}

static bool set(struct place_opts *o, const struct option_row *row, const char *value)
{
    char *end, *at = (char *)o + row->off;
    uint64_t n = 0;
    switch (row->kind) {
    case STR:
        memcpy(at, &value, sizeof value);
        return true;
    case FLAG:
        *(bool *)at = true;
        return true;
    case NUMBER:
        if (!number(value, &n, &end) || *end != 0) {
            return false;
        }
        memcpy(at, &n, sizeof n);
        return true;
    case SIZE:
        if (!size(value, &n)) {
            return false;
        }
        memcpy(at, &n, sizeof n); /* signed ones are in range too */
        return true;
    case DURATION: {
        int64_t ns;
        if (!godur_parse(value, strlen(value), &ns) || ns < 0) {
            return false;
        }
        memcpy(at, &ns, sizeof ns);
        return true;
    }
    case PAIR:
        return pair(o, value);
    default:
        return false;
    }
}

/* True when the word stands in a list of words between spaces. */
static bool listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += n) {
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0)) {
            return true;
        }
    }
    return false;
}

struct seen {
    bool row[ARRAY_LEN(rows)];
};

/* Fills options, moves them before the operands. False: said why, or help was asked (*help). */
static bool parse(struct place_opts *o, struct seen *seen, int argc, char **argv, bool *help)
{
    struct option longs[ARRAY_LEN(rows) + 2] = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        longs[i] = (struct option){rows[i].name, rows[i].kind != FLAG, NULL, (int)i + 256};
    }
    longs[ARRAY_LEN(rows)] = (struct option){"help", no_argument, NULL, 'h'};
    int c;
    optind = 1;
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (c < 256) {
            *help = c == 'h';
            return false;
        }
        const struct option_row *row = &rows[c - 256];
        seen->row[c - 256] = true;
        if (!set(o, row, optarg)) {
            fprintf(stderr, "jsadmin: --%s cannot be \"%s\"\n", row->name, optarg);
            return false;
        }
    }
    return true;
}

static bool allowed(const char *family, const struct place_command *c, const struct seen *seen)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (seen->row[i] && !listed(always, rows[i].name) && !listed(c->options, rows[i].name)) {
            fprintf(stderr, "jsadmin: %s %s does not take --%s\n", family, c->verb, rows[i].name);
            return false;
        }
    }
    return true;
}

/* --- the place -------------------------------------------------------------------------------- */

static bool is_url(const char *s)
{
    return strstr(s, "://") != NULL;
}

static int place_open(struct place *p, const char *where)
{
    struct ja_ctx *x = &p->ja;
    x->dir = where;
    p->online = is_url(where);
    p->account = p->o.account != NULL ? p->o.account : "$G";
    if (!p->online) {
        int code = ja_open(x, JA_READ_WRITE);
        p->drive = (struct store_drive){x->store, ja_wait, x};
        return code;
    }
    p->o.remote.url = where;
    p->o.remote.name = "jsadmin";
    if (p->o.account != NULL) {
        fprintf(stderr, "jsadmin: a server knows the account by who connects; --account is for a "
                        "store directory\n");
        return JA_USAGE;
    }
    enum st st = remote_open(x->env, &p->o.remote, &x->store, &p->err);
    p->drive = (struct store_drive){x->store, remote_wait, x->store};
    return place_result(p, st);
}

static void settled(void *arg, enum st st, uint64_t n, const struct err *err)
{
    (void)st;
    (void)n;
    (void)err;
    *(bool *)arg = true;
}

/* What was started and not waited for (a scan's consumer going away) still ends. */
static void settle(struct place *p)
{
    const struct store_ops *ops = p->ja.store->ops;
    struct store_stream *s = p->online ? NULL : ops->stream_next(p->ja.store, p->account, NULL);
    for (; s != NULL; s = ops->stream_next(p->ja.store, p->account, s)) {
        bool done = false;
        ops->stream_barrier(s, settled, &done);
        if (store_drive_until(&p->drive, &done) != ST_OK) {
            return;
        }
    }
}

static void place_close(struct place *p)
{
    if (p->ja.store == NULL) {
        return;
    }
    settle(p);
    if (p->online) {
        remote_close(p->ja.store);
    } else {
        eng_close(p->ja.store);
    }
}

static const struct place_command *find(const struct place_command *c, size_t n, const char *verb)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(c[i].verb, verb) == 0) {
            return &c[i];
        }
    }
    return NULL;
}

static int run(struct place *p, const struct place_command *c, int argc, char **argv)
{
    struct sigaction act = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &act, NULL);
    (void)sigaction(SIGTERM, &act, NULL);
    p->ja.env = env_real_create();
    p->ja.json = p->o.json;
    int code = place_open(p, argv[0]);
    if (code == JA_OK) {
        code = c->run(p, argc - 1, argv + 1);
    }
    place_close(p);
    json_out_fini(&p->ja.out);
    env_real_destroy(p->ja.env);
    return ja_printed(code);
}

int place_main(const char *family, const char *usage, const struct place_command *commands,
               size_t ncommands, int argc, char **argv)
{
    struct place p = {.ja = {.mutex = BASE_MUTEX_INITIALIZER, .rings = PTHREAD_COND_INITIALIZER},
                      .family = family};
    (void)snprintf(p.help, sizeof p.help, "%s --help", family);
    struct seen seen = {0};
    bool help = false;
    int code = JA_USAGE;
    log_set_level(false, false);
    if (!parse(&p.o, &seen, argc, argv, &help)) {
        if (help) {
            fputs(usage, stdout);
        }
        code = help ? ja_printed(JA_OK) : ja_usage(p.help);
    } else if (argc == optind) {
        fputs(usage, stderr);
    } else {
        int n = argc - optind - 1;
        const struct place_command *c = find(commands, ncommands, argv[optind]);
        if (c == NULL) {
            fprintf(stderr, "jsadmin: there is no command \"%s %s\"\n", family, argv[optind]);
        } else if (n - 1 < (int)c->args_min || n - 1 > (int)c->args_max) {
            fprintf(stderr, "jsadmin: too %s arguments for %s %s\n",
                    n - 1 < (int)c->args_min ? "few" : "many", family, c->verb);
        } else if (allowed(family, c, &seen)) {
            p.verb = c->verb;
            code = run(&p, c, n, argv + optind + 1);
        }
        if (p.verb == NULL) {
            (void)ja_usage(p.help);
        }
    }
    for (size_t i = 0; i < p.o.nmetadata; i++) {
        base_free(p.o.metadata[i].key);
        base_free(p.o.metadata[i].value);
    }
    return code;
}

/* --- results ---------------------------------------------------------------------------------- */

int place_result(struct place *p, enum st st)
{
    if (st == ST_OK) {
        return JA_OK;
    }
    if (p->ja.bar) {
        fputc('\n', stderr);
        p->ja.bar = false;
    }
    if (st == ST_NOTFOUND && p->o.json) {
        printf("{\"error\":\"not found\"}\n");
    }
    fprintf(stderr, "jsadmin: %s %s: ", p->family, p->verb == NULL ? "" : p->verb);
    plain_put(stderr, p->err.msg[0] != 0 ? p->err.msg : st_text(st));
    fputc('\n', stderr);
    return st == ST_CORRUPT ? JA_DAMAGE : JA_FAILED;
}

void place_json_begin(struct place *p)
{
    json_out_reset(&p->ja.out);
    json_out_begin(&p->ja.out);
}

void place_json_end(struct place *p)
{
    json_out_end(&p->ja.out);
    printf("%.*s\n", (int)p->ja.out.len, p->ja.out.buf);
    (void)fflush(stdout);
}

void place_json_bytes(struct place *p, const char *key, const uint8_t *data, size_t len)
{
    size_t at = 0, n = 1;
    while (at < len && n > 0) {
        n = json_utf8_len(data + at, len - at);
        at += n;
    }
    if (at == len) {
        json_out_strn(&p->ja.out, key, (const char *)data, len);
        return;
    }
    char longer[64];
    (void)snprintf(longer, sizeof longer, "%s_base64", key);
    json_out_key(&p->ja.out, longer);
    json_out_val_base64(&p->ja.out, data, len);
}

void place_json_metadata(struct place *p, const struct store_kv *v, size_t n)
{
    json_out_open(&p->ja.out, "metadata");
    for (size_t i = 0; i < n; i++) {
        json_out_key_escaped(&p->ja.out, v[i].key, strlen(v[i].key));
        json_out_val_str(&p->ja.out, v[i].value, strlen(v[i].value));
    }
    json_out_end(&p->ja.out);
}

const char *place_time(int64_t unix_ns, char *buf, size_t len)
{
    time_t t = (time_t)(unix_ns / NS_PER_S);
    struct tm tm;
    if (unix_ns == 0 || gmtime_r(&t, &tm) == NULL ||
        strftime(buf, len, "%Y-%m-%d %H:%M:%S", &tm) == 0) {
        (void)snprintf(buf, len, "-");
    }
    return buf;
}

const char *place_duration(int64_t ns, char *buf, size_t len)
{
    char text[GODUR_MAX];
    (void)godur_put(text, ns);
    (void)snprintf(buf, len, "%s", ns == 0 ? "-" : text);
    return buf;
}

const char *place_limit(int64_t bytes, char *buf, size_t len)
{
    if (bytes < 0) {
        (void)snprintf(buf, len, "no limit");
        return buf;
    }
    return ja_bytes((uint64_t)bytes, buf, len);
}

enum st place_storage(struct place *p, enum store_storage *out)
{
    const char *s = p->o.storage;
    *out = s != NULL && strcmp(s, "memory") == 0 ? STORAGE_MEMORY : STORAGE_FILE;
    if (s != NULL && *out == STORAGE_FILE && strcmp(s, "file") != 0) {
        return err_set(&p->err, ST_INVALID, 0, "storage is file or memory");
    }
    return ST_OK;
}

void place_print(const char *label, const char *a, const char *between, const char *b,
                 const char *end)
{
    printf("%-15s", label);
    plain_put(stdout, a);
    fputs(between, stdout);
    plain_put(stdout, b);
    printf("%s\n", end);
}

void place_print_storage(enum store_storage storage, bool compression, const struct store_kv *v,
                         size_t n)
{
    printf("Storage        %s%s\n", storage == STORAGE_MEMORY ? "memory" : "file",
           compression ? ", compressed" : "");
    for (size_t i = 0; i < n; i++) {
        place_print(i == 0 ? "Metadata" : "", v[i].key, "=", v[i].value, "");
    }
}

int place_list_end(struct place *p, struct table *t, enum st st, const char *none)
{
    json_out_array_end(&p->ja.out);
    if (st == ST_OK && p->o.json) {
        place_json_end(p);
    } else if (st == ST_OK && t->nrows == 0) {
        printf("%s\n", none);
    } else if (st == ST_OK) {
        table_print(t, stdout);
    }
    table_fini(t);
    return place_result(p, st);
}

/* --- watches ---------------------------------------------------------------------------------- */

void place_watch_shown(struct place_watch *w)
{
    w->done = ++w->count == w->p->o.count;
}

void place_watch_initial_done(void *arg)
{
    struct place_watch *w = arg;
    w->done = w->done || !w->p->online; /* nobody writes to a stopped store */
}

void place_watch_failed(void *arg, enum st st, const struct err *err)
{
    struct place_watch *w = arg;
    w->st = st;
    w->p->err = err != NULL ? *err : (struct err){0};
    w->done = true;
}

static bool wait_or_interrupt(void *arg, int64_t deadline_boot_ns)
{
    struct place *p = arg;
    return !place_interrupted() && p->drive.wait(p->drive.arg, deadline_boot_ns);
}

enum st place_watch_run(struct place_watch *w)
{
    struct store_drive d = {w->p->ja.store, wait_or_interrupt, w->p};
    return store_drive_until(&d, &w->done) == ST_OK ? w->st : ST_OK;
}

/* --- input ------------------------------------------------------------------------------------ */

enum st place_stdin(uint8_t **data_out, size_t *len_out, size_t max, struct err *err)
{
    size_t cap = 64 * KIB, n = 0, got;
    uint8_t *buf = base_malloc(cap);
    while ((got = fread(buf + n, 1, cap - n, stdin)) > 0) {
        n += got;
        if (n > max) {
            base_free(buf);
            return err_set(err, ST_TOOBIG, 0, "standard input is longer than %zu bytes", max);
        }
        if (n == cap) {
            cap *= 2;
            buf = base_realloc(buf, cap);
        }
    }
    *data_out = buf;
    *len_out = n;
    return ST_OK;
}

place_family_fn place_family(const char *name)
{
    return strcmp(name, "kv") == 0       ? jsadmin_kv_main
           : strcmp(name, "object") == 0 ? jsadmin_object_main
                                         : NULL;
}
