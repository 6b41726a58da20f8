/* Where jsadmin's kv and object commands work, a store directory or a server, and what the two
 * share: options, values as text, output. */
#ifndef TOOLS_JSADMIN_PLACE_H
#define TOOLS_JSADMIN_PLACE_H

#include "engine/store_drive.h"
#include "tools/jsadmin.h"
#include "tools/remote.h"

#define PLACE_METADATA_MAX 64u

/* Every option of both; those a command does not have are refused by place_main. */
struct place_opts {
    struct remote_opts remote;
    const char *account, *description, *storage, *bucket, *name, *output;
    struct store_kv metadata[PLACE_METADATA_MAX]; /* borrowed from argv's copies */
    size_t nmetadata;
    int64_t ttl_ns, marker_ttl_ns, older_than_ns, max_bytes;
    uint64_t history, max_value, revision, from, count, chunk, offset, length;
    bool json, compress, include_history, updates_only, ignore_deletes, meta_only, resume, replace;
};

struct place {
    struct ja_ctx ja; /* ja.store is the store, ja.env the world */
    struct place_opts o;
    struct store_drive drive;
    const char *account;
    const char *family; /* "kv", "object" */
    const char *verb;
    char help[32]; /* what tells more: "kv --help" */
    bool online;
    struct err err; /* of the last call */
};

struct place_command {
    const char *verb;
    unsigned args_min, args_max; /* behind PLACE */
    const char *options; /* long names it takes, separated by spaces; --json and those of the
                            connection always */
    int (*run)(struct place *p, int argc, char **argv);
};

/* Parses, opens, runs, closes. argv[0] is the family's name. Returns an exit code. */
int place_main(const char *family, const char *usage, const struct place_command *commands,
               size_t ncommands, int argc, char **argv);

/* SIGINT or SIGTERM came: end what goes on, in order. */
bool place_interrupted(void);

/* An exit code for st; says p->err on stderr where it is not ST_OK. */
int place_result(struct place *p, enum st st);

/* --json: one document a command. begin and end its object; end prints it. */
void place_json_begin(struct place *p);
void place_json_end(struct place *p);
/* A member that holds bytes: as a string where they are UTF-8, else key_base64. */
void place_json_bytes(struct place *p, const char *key, const uint8_t *data, size_t len);
void place_json_metadata(struct place *p, const struct store_kv *v, size_t n);

/* "2026-11-21 12:30:05" UTC; "5m0s" or "-"; in a buffer of one's own. */
const char *place_time(int64_t unix_ns, char *buf, size_t len);
const char *place_duration(int64_t ns, char *buf, size_t len);
const char *place_limit(int64_t bytes, char *buf, size_t len); /* -1: "no limit" */

/* --storage as the option has it; ST_INVALID, p->err set, where it is none. */
enum st place_storage(struct place *p, enum store_storage *out);
/* A line "label  a between b end"; a and b may be anybody's text. */
void place_print(const char *label, const char *a, const char *between, const char *b,
                 const char *end);
/* The last lines of a bucket's status. */
void place_print_storage(enum store_storage storage, bool compression, const struct store_kv *v,
                         size_t n);
/* Ends a list: the JSON array and document, or the table, or the word for an empty one. Frees the
 * table. Returns an exit code. */
int place_list_end(struct place *p, struct table *t, enum st st, const char *none);

/* A watch under way: first member of what its callbacks get. */
struct place_watch {
    struct place *p;
    uint64_t count;
    bool done;
    enum st st;
};
void place_watch_shown(struct place_watch *w); /* one more; ends at --count */
void place_watch_initial_done(void *arg);
void place_watch_failed(void *arg, enum st st, const struct err *err);
/* Drives it to its end, or until ^C, which is an end, too. */
enum st place_watch_run(struct place_watch *w);

/* All of standard input (at most max bytes), base_malloc'ed. */
enum st place_stdin(uint8_t **data_out, size_t *len_out, size_t max, struct err *err);

int jsadmin_kv_main(int argc, char **argv);
int jsadmin_object_main(int argc, char **argv);
/* The main of `jsadmin <name> ...`, argv[0] being the name; NULL where it is none of these. */
typedef int (*place_family_fn)(int argc, char **argv);
place_family_fn place_family(const char *name);

#endif
