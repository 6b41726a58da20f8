/* jsadmin object: object buckets, on a stopped store or through a server. One function a command;
 * what a bucket is and does is objstore/'s. Getting and putting files: jsadmin_object_file.c. */
#include "tools/jsadmin_object.h"

#include <inttypes.h>

static const char usage_text[] =
    "usage: jsadmin object <command> PLACE [BUCKET [NAME]] [options]\n"
    "\n"
    "PLACE is the store directory of a server that is not running, or a server's URL "
    "(nats://...).\n"
    "\n"
    "  ls PLACE                       buckets\n"
    "  ls PLACE BUCKET                objects\n"
    "  add PLACE BUCKET               makes a bucket: --ttl 1h, --max-bytes, --storage "
    "file|memory,\n"
    "                                 --compress, --description, --metadata key=value ...\n"
    "  status PLACE BUCKET            what it holds and how it was made\n"
    "  seal PLACE BUCKET              nothing can be changed in it any more, for good\n"
    "  rm-bucket PLACE BUCKET         deletes the bucket with everything in it\n"
    "\n"
    "  put PLACE BUCKET FILE          - is standard input; --name (the file's), --chunk 128KiB,\n"
    "                                 --description, --metadata key=value ...\n"
    "  get PLACE BUCKET NAME          into a file of that name, or --output FILE (- is standard\n"
    "                                 output); --replace an existing one; --resume: goes on where "
    "an\n"
    "                                 earlier get stopped, after verifying what is there;\n"
    "                                 --offset, --length: only these bytes\n"
    "  info PLACE BUCKET NAME         size, digest, time, metadata\n"
    "  edit PLACE BUCKET NAME         --name (renames), --description, --metadata\n"
    "  rm PLACE BUCKET NAME           removes it; its marker stays\n"
    "  link PLACE BUCKET NAME TARGET  NAME becomes a link to the object TARGET; --bucket B: in B\n"
    "  link PLACE BUCKET NAME         NAME becomes a link to the bucket --bucket B\n"
    "  watch PLACE BUCKET             what is there, and on a server what comes, until ^C:\n"
    "                                 --updates-only, --ignore-deletes, --count N (then ends)\n"
    "\n"
    "  --json                         one JSON document; watch: one a line\n"
    "  --account A                    on a store directory; $G otherwise\n"
    "  --user U --password P, --token T, --creds FILE, --tlsca, --tlscert, --tlskey FILE\n"
    "                                 for a server; user and password may stand in the URL\n";

/* --- helpers ---------------------------------------------------------------------------------- */

static struct obj_home home_of(const struct place *p)
{
    return (struct obj_home){p->ja.store, p->ja.env, p->account};
}

enum st object_bucket(struct place *p, const char *name, struct obj_bucket **b_out)
{
    struct obj_home home = home_of(p);
    return obj_open(&home, name, b_out, &p->err);
}

static void header_members(struct json_out *j, const struct obj_info *i)
{
    json_out_array(j, "headers");
    for (size_t k = 0; k < i->nheaders; k++) {
        json_out_begin(j);
        json_out_str(j, "name", i->headers[k].name);
        json_out_str(j, "value", i->headers[k].value);
        json_out_end(j);
    }
    json_out_array_end(j);
}

static void info_members(struct place *p, const struct obj_info *i)
{
    struct json_out *j = &p->ja.out;
    json_out_str(j, "bucket", i->bucket == NULL ? "" : i->bucket);
    json_out_str(j, "name", i->name);
    if (i->description != NULL) {
        json_out_str(j, "description", i->description);
    }
    if (i->link_bucket != NULL) {
        json_out_open(j, "link");
        json_out_str(j, "bucket", i->link_bucket);
        if (i->link_name != NULL) {
            json_out_str(j, "name", i->link_name);
        }
        json_out_end(j);
    }
    json_out_u64(j, "size", i->size);
    json_out_u64(j, "chunks", i->chunks);
    json_out_u64(j, "chunk_size", i->chunk_bytes);
    json_out_str(j, "digest", i->digest == NULL ? "" : i->digest);
    json_out_str(j, "nuid", i->nuid == NULL ? "" : i->nuid);
    json_out_time(j, "mtime", i->mtime_ns);
    json_out_bool(j, "deleted", i->deleted);
    if (i->nheaders > 0) {
        header_members(j, i);
    }
    place_json_metadata(p, i->metadata, i->nmetadata);
}

void object_print(struct place *p, const struct obj_info *i)
{
    char b[64];
    if (p->o.json) {
        place_json_begin(p);
        info_members(p, i);
        place_json_end(p);
        return;
    }
    place_print("Object", i->bucket == NULL ? "?" : i->bucket, " > ", i->name,
                i->deleted ? " (deleted)" : "");
    if (i->description != NULL) {
        place_print("Description", i->description, "", "", "");
    }
    if (i->link_bucket != NULL) {
        place_print("Link to", i->link_bucket, i->link_name != NULL ? " > " : "",
                    i->link_name != NULL ? i->link_name : "", "");
    } else {
        printf("Size           %s", ja_bytes(i->size, b, sizeof b));
        printf(" (%" PRIu64 " bytes in %" PRIu64 " chunk%s)\n", i->size, i->chunks,
               i->chunks == 1 ? "" : "s");
        place_print("Digest", i->digest == NULL ? "-" : i->digest, "", "", "");
    }
    printf("Modified       %s UTC\n", place_time(i->mtime_ns, b, sizeof b));
    for (size_t k = 0; k < i->nheaders; k++) {
        place_print("Header", i->headers[k].name, ": ", i->headers[k].value, "");
    }
    for (size_t k = 0; k < i->nmetadata; k++) {
        place_print("Metadata", i->metadata[k].key, "=", i->metadata[k].value, "");
    }
}

/* Prints and ends an info, or says why there is none. */
static int say_info(struct place *p, enum st st, struct obj_info *i)
{
    if (st == ST_OK) {
        object_print(p, i);
    }
    obj_info_fini(i);
    return place_result(p, st);
}

/* --- buckets ---------------------------------------------------------------------------------- */

static void status_members(struct place *p, const struct obj_status *s)
{
    struct json_out *j = &p->ja.out;
    json_out_str(j, "bucket", s->bucket);
    if (s->description != NULL) {
        json_out_str(j, "description", s->description);
    }
    json_out_u64(j, "bytes", s->bytes);
    json_out_u64(j, "messages", s->messages);
    json_out_i64(j, "ttl", s->ttl_ns);
    json_out_i64(j, "max_bytes", s->max_bytes);
    json_out_str(j, "storage", s->storage == STORAGE_MEMORY ? "memory" : "file");
    json_out_u64(j, "replicas", s->replicas);
    json_out_bool(j, "compression", s->compression);
    json_out_bool(j, "sealed", s->sealed);
    place_json_metadata(p, s->metadata, s->nmetadata);
}

static enum st bucket_row(struct place *p, const char *name, struct table *t)
{
    struct obj_bucket *b;
    struct obj_status s;
    char text[2][40];
    enum st st = object_bucket(p, name, &b);
    if (st == ST_OK) {
        st = obj_sync_status(&p->drive, b, &s, &p->err);
    }
    if (st == ST_OK) {
        const char *row[] = {name, s.sealed ? "sealed" : "", ja_bytes(s.bytes, text[0], 40),
                             place_duration(s.ttl_ns, text[1], 40)};
        table_row(t, row);
        json_out_begin(&p->ja.out);
        status_members(p, &s);
        json_out_end(&p->ja.out);
    }
    obj_close(b);
    return st;
}

static int list_buckets(struct place *p)
{
    static const char *const head[] = {"Bucket", "State", "Bytes", "TTL"};
    struct obj_home home = home_of(p);
    struct table t;
    char name[OBJ_BUCKET_BYTES_MAX + 1];
    table_init(&t, "Object buckets", head, ARRAY_LEN(head), 2);
    place_json_begin(p);
    json_out_array(&p->ja.out, "buckets");
    enum st st = ST_OK;
    const char *at = obj_next_bucket(&home, NULL);
    while (at != NULL && st == ST_OK) {
        (void)snprintf(name, sizeof name, "%s", at);
        st = bucket_row(p, name, &t);
        at = st == ST_OK ? obj_next_bucket(&home, name) : NULL;
    }
    return place_list_end(p, &t, st, "No buckets.");
}

struct shown {
    struct place *p;
    struct table t;
};

static void object_row(void *arg, const struct obj_info *i)
{
    struct shown *s = arg;
    char b[2][64];
    if (s->p->o.json) {
        json_out_begin(&s->p->ja.out);
        info_members(s->p, i);
        json_out_end(&s->p->ja.out);
        return;
    }
    const char *row[] = {i->name, i->link_bucket != NULL ? i->link_bucket : "",
                         place_time(i->mtime_ns, b[0], sizeof b[0]),
                         i->link_bucket != NULL ? "link" : ja_bytes(i->size, b[1], sizeof b[1])};
    table_row(&s->t, row);
}

static int cmd_ls(struct place *p, int argc, char **argv)
{
    static const char *const head[] = {"Name", "Link to", "Modified (UTC)", "Size"};
    struct shown s = {.p = p};
    struct obj_bucket *b;
    uint64_t n;
    if (argc == 0) {
        return list_buckets(p);
    }
    table_init(&s.t, argv[0], head, ARRAY_LEN(head), 3);
    place_json_begin(p);
    json_out_array(&p->ja.out, "objects");
    enum st st = object_bucket(p, argv[0], &b);
    if (st == ST_OK) {
        st = obj_sync_list(&p->drive, b, object_row, &s, &n, &p->err);
    }
    int code = place_list_end(p, &s.t, st, "No objects.");
    obj_close(b);
    return code;
}

static int print_status(struct place *p, struct obj_bucket *b)
{
    struct obj_status s;
    char t[40];
    enum st st = obj_sync_status(&p->drive, b, &s, &p->err);
    if (st != ST_OK) {
        return place_result(p, st);
    }
    if (p->o.json) {
        place_json_begin(p);
        status_members(p, &s);
        place_json_end(p);
        return JA_OK;
    }
    printf("Bucket         %s%s\n", s.bucket, s.sealed ? " (sealed)" : "");
    if (s.description != NULL) {
        place_print("Description", s.description, "", "", "");
    }
    printf("Bytes          %s", ja_bytes(s.bytes, t, sizeof t));
    printf(" in %s\n", ja_things(s.messages, "message", t, sizeof t));
    printf("TTL            %s\n", place_duration(s.ttl_ns, t, sizeof t));
    printf("Largest size   %s\n", place_limit(s.max_bytes, t, sizeof t));
    place_print_storage(s.storage, s.compression, s.metadata, s.nmetadata);
    return JA_OK;
}

static int cmd_add(struct place *p, int argc, char **argv)
{
    const struct place_opts *o = &p->o;
    struct obj_home home = home_of(p);
    struct obj_bucket *b = NULL;
    enum store_storage storage;
    (void)argc;
    enum st st = place_storage(p, &storage);
    struct obj_config c = {.bucket = argv[0],
                           .description = o->description,
                           .ttl_ns = o->ttl_ns,
                           .max_bytes = o->max_bytes,
                           .storage = storage,
                           .compression = o->compress,
                           .metadata = o->metadata,
                           .nmetadata = o->nmetadata};
    if (st == ST_OK) {
        st = obj_sync_create(&p->drive, &home, &c, &b, &p->err);
    }
    int code = st == ST_OK ? print_status(p, b) : place_result(p, st);
    obj_close(b);
    return code;
}

static int cmd_status(struct place *p, int argc, char **argv)
{
    struct obj_bucket *b;
    (void)argc;
    enum st st = object_bucket(p, argv[0], &b);
    int code = st == ST_OK ? print_status(p, b) : place_result(p, st);
    obj_close(b);
    return code;
}

static int cmd_seal(struct place *p, int argc, char **argv)
{
    struct obj_bucket *b;
    (void)argc;
    enum st st = object_bucket(p, argv[0], &b);
    if (st == ST_OK) {
        st = obj_sync_seal(&p->drive, b, &p->err);
    }
    int code = place_result(p, st);
    obj_close(b);
    return code;
}

static int cmd_rm_bucket(struct place *p, int argc, char **argv)
{
    struct obj_home home = home_of(p);
    (void)argc;
    return place_result(p, obj_sync_delete_bucket(&p->drive, &home, argv[0], &p->err));
}

/* --- objects ---------------------------------------------------------------------------------- */

static int cmd_info(struct place *p, int argc, char **argv)
{
    struct obj_bucket *b;
    struct obj_info i = {0};
    (void)argc;
    enum st st = object_bucket(p, argv[0], &b);
    if (st == ST_OK) {
        st = obj_sync_info(&p->drive, b, argv[1], &i, &p->err);
    }
    int code = say_info(p, st, &i);
    obj_close(b);
    return code;
}

static int cmd_edit(struct place *p, int argc, char **argv)
{
    struct obj_bucket *b;
    struct obj_info was = {0}, i = {0};
    const struct place_opts *o = &p->o;
    (void)argc;
    enum st st = object_bucket(p, argv[0], &b);
    if (st == ST_OK) {
        st = obj_sync_info(&p->drive, b, argv[1], &was, &p->err);
    }
    if (st == ST_OK) { /* what is not said stays */
        struct obj_meta m = {.name = o->name != NULL ? o->name : argv[1],
                             .description =
                                 o->description != NULL ? o->description : was.description,
                             .headers = was.headers,
                             .nheaders = was.nheaders,
                             .metadata = o->nmetadata > 0 ? o->metadata : was.metadata,
                             .nmetadata = o->nmetadata > 0 ? o->nmetadata : was.nmetadata};
        st = obj_sync_update_meta(&p->drive, b, argv[1], &m, &i, &p->err);
    }
    obj_info_fini(&was);
    int code = say_info(p, st, &i);
    obj_close(b);
    return code;
}

static int cmd_rm(struct place *p, int argc, char **argv)
{
    struct obj_bucket *b;
    (void)argc;
    enum st st = object_bucket(p, argv[0], &b);
    if (st == ST_OK) {
        st = obj_sync_delete(&p->drive, b, argv[1], &p->err);
    }
    int code = place_result(p, st);
    obj_close(b);
    return code;
}

static int cmd_link(struct place *p, int argc, char **argv)
{
    struct obj_bucket *b = NULL, *other = NULL;
    struct obj_info i = {0};
    enum st st = object_bucket(p, argv[0], &b);
    if (st == ST_OK && argc < 3 && p->o.bucket == NULL) {
        st = err_set(&p->err, ST_INVALID, 0, "a link leads to a TARGET or to a --bucket");
    } else if (st == ST_OK && argc < 3) {
        st = obj_sync_link_bucket(&p->drive, b, argv[1], p->o.bucket, &i, &p->err);
    } else if (st == ST_OK) {
        st = p->o.bucket != NULL ? object_bucket(p, p->o.bucket, &other) : ST_OK;
        if (st == ST_OK) {
            st = obj_sync_link(&p->drive, b, argv[1], other != NULL ? other : b, argv[2], &i,
                               &p->err);
        }
    }
    int code = say_info(p, st, &i);
    obj_close(other);
    obj_close(b);
    return code;
}

/* --- watch ------------------------------------------------------------------------------------ */

static void watch_object(void *arg, const struct obj_info *i)
{
    struct place_watch *w = arg;
    char b[2][64];
    if (w->done) {
        return;
    }
    if (w->p->o.json) {
        place_json_begin(w->p);
        info_members(w->p, i);
        place_json_end(w->p);
    } else {
        printf("[%s] %s ", place_time(i->mtime_ns, b[0], sizeof b[0]), i->deleted ? "DEL" : "PUT");
        plain_put(stdout, i->bucket == NULL ? "?" : i->bucket);
        fputs(" > ", stdout);
        plain_put(stdout, i->name);
        printf(": %s\n", ja_bytes(i->size, b[1], sizeof b[1]));
        (void)fflush(stdout);
    }
    place_watch_shown(w);
}

static int cmd_watch(struct place *p, int argc, char **argv)
{
    struct place_watch w = {.p = p};
    struct obj_watch_opts o = {.updates_only = p->o.updates_only,
                               .ignore_deletes = p->o.ignore_deletes};
    struct obj_watch_events ev = {&w, watch_object, place_watch_initial_done, place_watch_failed};
    struct obj_bucket *b;
    (void)argc;
    enum st st = object_bucket(p, argv[0], &b);
    if (st == ST_OK) {
        (void)obj_watch(b, &o, &ev);
        st = place_watch_run(&w);
    }
    int code = place_result(p, st);
    obj_close(b);
    return code;
}

int jsadmin_object_main(int argc, char **argv)
{
    static const struct place_command commands[] = {
        {"ls", 0, 1, "", cmd_ls},
        {"add", 1, 1, "ttl max-bytes storage compress description metadata", cmd_add},
        {"status", 1, 1, "", cmd_status},
        {"seal", 1, 1, "", cmd_seal},
        {"rm-bucket", 1, 1, "", cmd_rm_bucket},
        {"put", 2, 2, "name chunk description metadata", object_put},
        {"get", 2, 2, "output replace resume offset length", object_get},
        {"info", 2, 2, "", cmd_info},
        {"edit", 2, 2, "name description metadata", cmd_edit},
        {"rm", 2, 2, "", cmd_rm},
        {"link", 2, 3, "bucket", cmd_link},
        {"watch", 1, 1, "updates-only ignore-deletes count", cmd_watch},
    };
    return place_main("object", usage_text, commands, ARRAY_LEN(commands), argc, argv);
}
