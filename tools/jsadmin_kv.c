/* jsadmin kv: key-value buckets, on a stopped store or through a server. One function a command;
 * what a bucket is and does is kv/'s. */
#include <inttypes.h>
#include <stdlib.h>

#include "kv/kv_sync.h"
#include "tools/jsadmin_place.h"

#define VALUE_BYTES_MAX (64 * MIB)

static const char usage_text[] =
    "usage: jsadmin kv <command> PLACE [BUCKET [KEY ...]] [options]\n"
    "\n"
    "PLACE is the store directory of a server that is not running, or a server's URL "
    "(nats://...).\n"
    "\n"
    "  ls PLACE                            buckets\n"
    "  add PLACE BUCKET                    makes a bucket: --history N (1), --ttl 1h, "
    "--max-bytes,\n"
    "                                      --max-value, --storage file|memory, --compress,\n"
    "                                      --marker-ttl 1h (keys may have a TTL), --description,\n"
    "                                      --metadata key=value ...\n"
    "  edit PLACE BUCKET                   changes it: the same options but --storage\n"
    "  status PLACE BUCKET                 what it holds and how it was made\n"
    "  rm PLACE BUCKET                     deletes the bucket with everything in it\n"
    "\n"
    "  get PLACE BUCKET KEY                prints the value as it is; --revision N: that one\n"
    "  put PLACE BUCKET KEY [VALUE]        without VALUE from standard input\n"
    "  create PLACE BUCKET KEY [VALUE]     only where the key has no value; --ttl 1h\n"
    "  update PLACE BUCKET KEY [VALUE]     only where --revision N is the newest\n"
    "  del PLACE BUCKET KEY                leaves a marker; --revision N: only where it is the "
    "newest\n"
    "  purge PLACE BUCKET KEY              the same, and removes the history; --ttl 1h of the "
    "marker\n"
    "  history PLACE BUCKET KEY            every revision that is kept\n"
    "  keys PLACE BUCKET [FILTER ...]      keys that have a value; a filter is a key in which "
    "whole\n"
    "                                      tokens may be * and the last >\n"
    "  watch PLACE BUCKET [FILTER ...]     what is there, and on a server what comes, until ^C:\n"
    "                                      --all (history), --updates-only, --ignore-deletes,\n"
    "                                      --meta-only, --from N (revision), --count N (then "
    "ends)\n"
    "  compact PLACE BUCKET                removes markers: --older-than 30m\n"
    "\n"
    "  --json                              one JSON document; watch: one a line\n"
    "  --account A                         on a store directory; $G otherwise\n"
    "  --user U --password P, --token T, --creds FILE, --tlsca, --tlscert, --tlskey FILE\n"
    "                                      for a server; user and password may stand in the URL\n";

/* --- helpers ---------------------------------------------------------------------------------- */

static struct kv_home home_of(const struct place *p)
{
    return (struct kv_home){p->ja.store, p->ja.env, p->account};
}

static enum st open_bucket(struct place *p, const char *name, struct kv **kv_out)
{
    struct kv_home home = home_of(p);
    return kv_open(&home, name, kv_out, &p->err);
}

static const char *op_name(enum kv_op op)
{
    return op == KV_DELETE ? "DEL" : op == KV_PURGE ? "PURGE" : "PUT";
}

static void entry_members(struct place *p, const struct kv_entry *e, bool value)
{
    json_out_strn(&p->ja.out, "key", e->key, e->key_len);
    json_out_u64(&p->ja.out, "revision", e->revision);
    json_out_time(&p->ja.out, "created", e->created_ns);
    json_out_str(&p->ja.out, "operation", op_name(e->op));
    if (value && e->op == KV_PUT) {
        place_json_bytes(p, "value", e->value == NULL ? (const uint8_t *)"" : e->value,
                         e->value_len);
    }
}

static int say_revision(struct place *p, enum st st, const char *key, uint64_t revision)
{
    if (st == ST_OK && p->o.json) {
        place_json_begin(p);
        json_out_str(&p->ja.out, "key", key);
        json_out_u64(&p->ja.out, "revision", revision);
        place_json_end(p);
    } else if (st == ST_OK) {
        printf("%" PRIu64 "\n", revision);
    }
    return place_result(p, st);
}

/* A value of few bytes that may be shown in a table; else its size. */
static const char *value_text(const struct kv_entry *e, char *buf, size_t len)
{
    bool plain = e->value_len < len && e->value_len <= 60;
    for (size_t i = 0; i < e->value_len && plain; i++) {
        plain = e->value[i] >= 0x20 && e->value[i] != 0x7f;
    }
    if (plain) {
        (void)snprintf(buf, len, "%.*s", (int)e->value_len,
                       e->value == NULL ? "" : (const char *)e->value);
    } else {
        char size[40];
        (void)snprintf(buf, len, "(%s)", ja_bytes(e->value_len, size, sizeof size));
    }
    return buf;
}

/* --- buckets ---------------------------------------------------------------------------------- */

static void status_members(struct place *p, const struct kv_status *s)
{
    struct json_out *j = &p->ja.out;
    json_out_str(j, "bucket", s->bucket);
    if (s->description != NULL) {
        json_out_str(j, "description", s->description);
    }
    json_out_u64(j, "keys", s->keys);
    json_out_u64(j, "values", s->values);
    json_out_u64(j, "bytes", s->bytes);
    json_out_u64(j, "last_revision", s->last_revision);
    json_out_u64(j, "history", s->history);
    json_out_i64(j, "ttl", s->ttl_ns);
    json_out_i64(j, "limit_marker_ttl", s->limit_marker_ttl_ns);
    json_out_i64(j, "max_bytes", s->max_bytes);
    json_out_i64(j, "max_value_size", s->max_value_bytes);
    json_out_str(j, "storage", s->storage == STORAGE_MEMORY ? "memory" : "file");
    json_out_u64(j, "replicas", s->replicas);
    json_out_bool(j, "compression", s->compression);
    json_out_bool(j, "read_only", s->read_only);
    place_json_metadata(p, s->metadata, s->nmetadata);
}

static int cmd_ls(struct place *p, int argc, char **argv)
{
    static const char *const head[] = {"Bucket", "Keys", "Values", "Bytes", "History", "TTL"};
    struct kv_home home = home_of(p);
    struct table t;
    (void)argc;
    (void)argv;
    table_init(&t, "Key-value buckets", head, ARRAY_LEN(head), 1);
    place_json_begin(p);
    json_out_array(&p->ja.out, "buckets");
    enum st st = ST_OK;
    char name[KV_BUCKET_BYTES_MAX + 1];
    const char *at = kv_next_bucket(&home, NULL);
    while (at != NULL && st == ST_OK) {
        struct kv *kv;
        struct kv_status s;
        char b[5][40];
        (void)snprintf(name, sizeof name, "%s", at);
        st = kv_open(&home, name, &kv, &p->err);
        if (st == ST_OK) {
            st = kv_sync_status(&p->drive, kv, &s, &p->err);
        }
        if (st == ST_OK) {
            json_out_begin(&p->ja.out);
            status_members(p, &s);
            json_out_end(&p->ja.out);
            const char *row[] = {name,
                                 ja_count(s.keys, b[0], 40),
                                 ja_count(s.values, b[1], 40),
                                 ja_bytes(s.bytes, b[2], 40),
                                 ja_count(s.history, b[3], 40),
                                 place_duration(s.ttl_ns, b[4], 40)};
            table_row(&t, row);
        }
        kv_close(kv);
        at = st == ST_OK ? kv_next_bucket(&home, name) : NULL;
    }
    return place_list_end(p, &t, st, "No buckets.");
}

static enum st read_config(struct place *p, const char *bucket, struct kv_config *c)
{
    const struct place_opts *o = &p->o;
    enum store_storage storage;
    enum st st = place_storage(p, &storage);
    if (st != ST_OK) {
        return st;
    }
    if (o->history > KV_HISTORY_MAX || o->max_value > INT32_MAX) {
        return err_set(&p->err, ST_INVALID, 0, "history is at most %u, a value at most 2 GiB",
                       KV_HISTORY_MAX);
    }
    *c = (struct kv_config){.bucket = bucket,
                            .description = o->description,
                            .history = (uint32_t)o->history,
                            .ttl_ns = o->ttl_ns,
                            .max_bytes = o->max_bytes,
                            .max_value_bytes = (int32_t)o->max_value,
                            .storage = storage,
                            .compression = o->compress,
                            .limit_marker_ttl_ns = o->marker_ttl_ns,
                            .metadata = o->metadata,
                            .nmetadata = o->nmetadata};
    return ST_OK;
}

static int print_status(struct place *p, struct kv *kv)
{
    struct kv_status s;
    char b[40];
    enum st st = kv_sync_status(&p->drive, kv, &s, &p->err);
    if (st != ST_OK) {
        return place_result(p, st);
    }
    if (p->o.json) {
        place_json_begin(p);
        status_members(p, &s);
        place_json_end(p);
        return JA_OK;
    }
    printf("Bucket         %s%s\n", s.bucket, s.read_only ? " (read only)" : "");
    if (s.description != NULL) {
        place_print("Description", s.description, "", "", "");
    }
    printf("Keys           %s", ja_count(s.keys, b, sizeof b));
    printf(" (with deleted ones), %s", ja_things(s.values, "revision", b, sizeof b));
    printf(", %s\n", ja_bytes(s.bytes, b, sizeof b));
    printf("Last revision  %" PRIu64 "\n", s.last_revision);
    printf("History        %u\n", s.history);
    printf("TTL            %s\n", place_duration(s.ttl_ns, b, sizeof b));
    printf("Marker TTL     %s\n", place_duration(s.limit_marker_ttl_ns, b, sizeof b));
    printf("Largest value  %s\n", place_limit(s.max_value_bytes, b, sizeof b));
    printf("Largest size   %s\n", place_limit(s.max_bytes, b, sizeof b));
    place_print_storage(s.storage, s.compression, s.metadata, s.nmetadata);
    return JA_OK;
}

static int cmd_add(struct place *p, int argc, char **argv)
{
    struct kv_home home = home_of(p);
    struct kv_config c;
    struct kv *kv = NULL;
    (void)argc;
    enum st st = read_config(p, argv[0], &c);
    if (st == ST_OK) {
        st = kv_sync_create(&p->drive, &home, &c, &kv, &p->err);
    }
    int code = st == ST_OK ? print_status(p, kv) : place_result(p, st);
    kv_close(kv);
    return code;
}

static int cmd_edit(struct place *p, int argc, char **argv)
{
    struct kv_config c;
    struct kv *kv;
    struct kv_status s;
    (void)argc;
    enum st st = open_bucket(p, argv[0], &kv);
    if (st == ST_OK) {
        st = kv_sync_status(&p->drive, kv, &s, &p->err);
    }
    if (st == ST_OK) {
        st = read_config(p, argv[0], &c);
    }
    if (st == ST_OK) { /* what is not said stays */
        const struct place_opts *o = &p->o;
        char *description = s.description == NULL ? NULL : base_strdup(s.description);
        c.description = o->description != NULL ? o->description : description;
        c.history = o->history != 0 ? c.history : s.history;
        c.ttl_ns = o->ttl_ns != 0 ? c.ttl_ns : s.ttl_ns;
        c.max_bytes = o->max_bytes != 0 ? c.max_bytes : s.max_bytes;
        c.max_value_bytes = o->max_value != 0 ? c.max_value_bytes : s.max_value_bytes;
        c.compression = o->compress || s.compression;
        c.limit_marker_ttl_ns =
            o->marker_ttl_ns != 0 ? c.limit_marker_ttl_ns : s.limit_marker_ttl_ns;
        c.metadata = o->nmetadata > 0 ? c.metadata : s.metadata;
        c.nmetadata = o->nmetadata > 0 ? c.nmetadata : s.nmetadata;
        st = kv_sync_update_config(&p->drive, kv, &c, &p->err);
        base_free(description);
    }
    int code = st == ST_OK ? print_status(p, kv) : place_result(p, st);
    kv_close(kv);
    return code;
}

static int cmd_status(struct place *p, int argc, char **argv)
{
    struct kv *kv;
    (void)argc;
    enum st st = open_bucket(p, argv[0], &kv);
    int code = st == ST_OK ? print_status(p, kv) : place_result(p, st);
    kv_close(kv);
    return code;
}

static int cmd_rm(struct place *p, int argc, char **argv)
{
    struct kv_home home = home_of(p);
    (void)argc;
    return place_result(p, kv_sync_delete_bucket(&p->drive, &home, argv[0], &p->err));
}

/* --- values ----------------------------------------------------------------------------------- */

static int cmd_get(struct place *p, int argc, char **argv)
{
    struct kv *kv;
    struct kv_value v = {0};
    (void)argc;
    enum st st = open_bucket(p, argv[0], &kv);
    if (st == ST_OK) {
        st = kv_sync_get(&p->drive, kv, argv[1], p->o.revision, &v, &p->err);
    }
    if (st == ST_OK && p->o.json) {
        struct kv_entry e = {v.key,      strlen(v.key), v.value, v.value_len,
                             v.revision, v.created_ns,  0,       v.op};
        place_json_begin(p);
        json_out_str(&p->ja.out, "bucket", argv[0]);
        entry_members(p, &e, true);
        place_json_end(p);
    } else if (st == ST_OK) {
        (void)fwrite(v.value, 1, v.value_len, stdout);
    }
    int code = place_result(p, st);
    kv_value_fini(&v);
    kv_close(kv);
    return code;
}

enum write { PUT, CREATE, UPDATE };

static int write_value(struct place *p, int argc, char **argv, enum write how)
{
    struct kv *kv = NULL;
    uint8_t *value = NULL;
    size_t len = 0;
    uint64_t rev = 0;
    enum st st = ST_OK;
    if (argc > 2) {
        len = strlen(argv[2]);
        value = (uint8_t *)base_strdup(argv[2]);
    } else {
        st = place_stdin(&value, &len, VALUE_BYTES_MAX, &p->err);
    }
    if (st == ST_OK) {
        st = open_bucket(p, argv[0], &kv);
    }
    if (st == ST_OK && how == PUT) {
        st = kv_sync_put(&p->drive, kv, argv[1], value, len, &rev, &p->err);
    } else if (st == ST_OK && how == CREATE) {
        st = kv_sync_create_key(&p->drive, kv, argv[1], value, len, p->o.ttl_ns, &rev, &p->err);
    } else if (st == ST_OK) {
        st = kv_sync_update(&p->drive, kv, argv[1], value, len, p->o.revision, &rev, &p->err);
    }
    base_free(value);
    int code = say_revision(p, st, argv[1], rev);
    kv_close(kv);
    return code;
}

static int cmd_put(struct place *p, int argc, char **argv)
{
    return write_value(p, argc, argv, PUT);
}

static int cmd_create(struct place *p, int argc, char **argv)
{
    return write_value(p, argc, argv, CREATE);
}

static int cmd_update(struct place *p, int argc, char **argv)
{
    if (p->o.revision == 0) { /* no key is at that; `create` is for those that are not there */
        fprintf(stderr, "jsadmin: kv update needs --revision\n");
        return ja_usage(p->help);
    }
    return write_value(p, argc, argv, UPDATE);
}

static int remove_value(struct place *p, char **argv, bool purge)
{
    struct kv *kv;
    uint64_t rev = 0;
    enum st st = open_bucket(p, argv[0], &kv);
    if (st == ST_OK && purge) {
        st = kv_sync_purge(&p->drive, kv, argv[1], p->o.revision, p->o.ttl_ns, &rev, &p->err);
    } else if (st == ST_OK) {
        st = kv_sync_delete(&p->drive, kv, argv[1], p->o.revision, &rev, &p->err);
    }
    int code = say_revision(p, st, argv[1], rev);
    kv_close(kv);
    return code;
}

static int cmd_del(struct place *p, int argc, char **argv)
{
    (void)argc;
    return remove_value(p, argv, false);
}

static int cmd_purge(struct place *p, int argc, char **argv)
{
    (void)argc;
    return remove_value(p, argv, true);
}

/* --- many ------------------------------------------------------------------------------------- */

struct shown {
    struct place *p;
    struct table t;
};

static void show_revision(void *arg, const struct kv_entry *e)
{
    struct shown *s = arg;
    char b[3][96];
    if (s->p->o.json) {
        json_out_begin(&s->p->ja.out);
        entry_members(s->p, e, true);
        json_out_end(&s->p->ja.out);
        return;
    }
    (void)snprintf(b[0], sizeof b[0], "%" PRIu64, e->revision);
    const char *row[] = {op_name(e->op), place_time(e->created_ns, b[1], sizeof b[1]),
                         e->op == KV_PUT ? value_text(e, b[2], sizeof b[2]) : "", b[0]};
    table_row(&s->t, row);
}

static int cmd_history(struct place *p, int argc, char **argv)
{
    static const char *const head[] = {"Operation", "Created (UTC)", "Value", "Revision"};
    struct shown s = {.p = p};
    struct kv *kv;
    (void)argc;
    table_init(&s.t, argv[1], head, ARRAY_LEN(head), 3);
    place_json_begin(p);
    json_out_str(&p->ja.out, "bucket", argv[0]);
    json_out_array(&p->ja.out, "history");
    enum st st = open_bucket(p, argv[0], &kv);
    if (st == ST_OK) {
        st = kv_sync_history(&p->drive, kv, argv[1], show_revision, &s, &p->err);
    }
    int code = place_list_end(p, &s.t, st, "No revisions.");
    kv_close(kv);
    return code;
}

static void show_key(void *arg, const struct kv_entry *e)
{
    struct place *p = arg;
    if (p->o.json) {
        json_out_val_str(&p->ja.out, e->key, e->key_len);
    } else {
        plain_put(stdout, e->key);
        fputc('\n', stdout);
    }
}

static int cmd_keys(struct place *p, int argc, char **argv)
{
    struct kv *kv;
    uint64_t n = 0;
    place_json_begin(p);
    json_out_array(&p->ja.out, "keys");
    enum st st = open_bucket(p, argv[0], &kv);
    if (st == ST_OK) {
        st = kv_sync_keys(&p->drive, kv, (const char *const *)argv + 1, (size_t)argc - 1, show_key,
                          p, &n, &p->err);
    }
    json_out_array_end(&p->ja.out);
    if (st == ST_OK && p->o.json) {
        place_json_end(p);
    }
    int code = place_result(p, st);
    kv_close(kv);
    return code;
}

struct watching {
    struct place_watch is;
    const char *bucket;
};

static void watch_entry(void *arg, const struct kv_entry *e)
{
    struct watching *w = arg;
    struct place *p = w->is.p;
    char b[2][96];
    if (w->is.done) {
        return;
    }
    if (p->o.json) {
        place_json_begin(p);
        entry_members(p, e, !p->o.meta_only);
        place_json_end(p);
    } else {
        bool shown = e->op == KV_PUT && !p->o.meta_only;
        printf("[%s] %s %s > ", place_time(e->created_ns, b[0], sizeof b[0]), op_name(e->op),
               w->bucket);
        plain_put(stdout, e->key);
        fputs(shown ? ": " : "", stdout);
        plain_put(stdout, shown ? value_text(e, b[1], sizeof b[1]) : "");
        fputc('\n', stdout);
        (void)fflush(stdout);
    }
    place_watch_shown(&w->is);
}

static int cmd_watch(struct place *p, int argc, char **argv)
{
    struct watching w = {.is = {.p = p}, .bucket = argv[0]};
    struct kv_watch_opts o = {.filters = (const char *const *)argv + 1,
                              .nfilters = (size_t)argc - 1,
                              .include_history = p->o.include_history,
                              .updates_only = p->o.updates_only,
                              .ignore_deletes = p->o.ignore_deletes,
                              .meta_only = p->o.meta_only,
                              .from_revision = p->o.from};
    struct kv_watch_events ev = {&w, watch_entry, place_watch_initial_done, place_watch_failed};
    struct kv_watch *watch;
    struct kv *kv;
    enum st st = open_bucket(p, argv[0], &kv);
    if (st == ST_OK) {
        st = kv_watch(kv, &o, &ev, &watch, &p->err);
    }
    if (st == ST_OK) {
        st = place_watch_run(&w.is);
    }
    int code = place_result(p, st);
    kv_close(kv);
    return code;
}

static int cmd_compact(struct place *p, int argc, char **argv)
{
    struct kv *kv;
    uint64_t n = 0;
    (void)argc;
    enum st st = open_bucket(p, argv[0], &kv);
    if (st == ST_OK) {
        st = kv_sync_purge_deletes(&p->drive, kv, p->o.older_than_ns, &n, &p->err);
    }
    if (st == ST_OK && p->o.json) {
        place_json_begin(p);
        json_out_u64(&p->ja.out, "keys", n);
        place_json_end(p);
    } else if (st == ST_OK) {
        char b[64];
        printf("%s cleaned up.\n", ja_things(n, "deleted key", b, sizeof b));
    }
    int code = place_result(p, st);
    kv_close(kv);
    return code;
}

int jsadmin_kv_main(int argc, char **argv)
{
    static const struct place_command commands[] = {
        {"ls", 0, 0, "", cmd_ls},
        {"add", 1, 1,
         "history ttl max-bytes max-value storage compress marker-ttl description metadata",
         cmd_add},
        {"edit", 1, 1, "history ttl max-bytes max-value compress marker-ttl description metadata",
         cmd_edit},
        {"status", 1, 1, "", cmd_status},
        {"rm", 1, 1, "", cmd_rm},
        {"get", 2, 2, "revision", cmd_get},
        {"put", 2, 3, "", cmd_put},
        {"create", 2, 3, "ttl", cmd_create},
        {"update", 2, 3, "revision", cmd_update},
        {"del", 2, 2, "revision", cmd_del},
        {"purge", 2, 2, "revision ttl", cmd_purge},
        {"history", 2, 2, "", cmd_history},
        {"keys", 1, 100, "", cmd_keys},
        {"watch", 1, 100, "all updates-only ignore-deletes meta-only from count", cmd_watch},
        {"compact", 1, 1, "older-than", cmd_compact},
    };
    return place_main("kv", usage_text, commands, ARRAY_LEN(commands), argc, argv);
}
