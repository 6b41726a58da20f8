/* The config language, whole: a superset of JSON that people write by hand.
 *
 *     port: 4222                       # ':' or '=' or nothing between key and value
 *     jetstream { store_dir = "/data", max_file: 10GiB }     // blocks; ',' ';' or a new line
 * between entries server_tags: [ a, "b c"          # arrays; ',' or a new line between elements 'd'
 * ] WHO = alice                      # a variable is an ordinary key of this or an enclosing block
 * ... authorization { user: $WHO, password: $PASSWORD }      # ... or of the environment include
 * "users.conf"             # relative to this file; its keys land in the block that includes it
 *
 * Values: true/yes/on and false/no/off in any case; integers with a suffix (k m g t p e: powers of
 * 1000; kb ki kib ...: powers of 1024); floats; ISO dates in Zulu form (2026-11-21T08:00:00Z);
 * "quoted" with \n \t \r
 * \" \\ \xXX; 'quoted' as it stands; bare words (same escapes as "quoted"); text blocks from `(` to
 * a line holding only `)`. A bare word starting with $ is a variable, but for $2a$... & co, which
 * are bcrypt hashes. A key given twice: the last one wins.
 *
 * Compared with the real server value by value (tests/unit/broker/test_conf.c says how). We accept
 * a little more: an integer right before `]` or `}`, a bare word that starts like a date or a
 * number, and all bcrypt prefixes. Our errors name file, line and column (both from 1; a tab is one
 * column).
 *
 * Invariants: every value and key knows where it stands. The tree is immutable once parsed; a
 * variable's value is shared, not copied, so it may be reached by more than one path, and nesting
 * is at most BRK_CONF_DEPTH_MAX deep whatever the variables do. Everything belongs to the struct
 * brk_conf.
 *
 * Role: main thread, at start. No I/O of its own: files and environment come through callbacks. */
#ifndef BROKER_CONF_H
#define BROKER_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

#define BRK_CONF_DEPTH_MAX 64   /* nesting of blocks and arrays */
#define BRK_CONF_INCLUDE_MAX 16 /* files including files */
#define BRK_CONF_BYTES_MAX                                                                         \
    (16u << 20) /* of all files together, each counted as often as it is included */

struct brk_conf; /* a parsed tree: its memory and its root */

struct brk_conf_pos {
    const char *file; /* as it was opened; owned by the tree */
    uint32_t line;    /* from 1 */
    uint32_t column;  /* from 1, in bytes */
};

enum brk_conf_kind {
    BRK_CONF_BOOL,
    BRK_CONF_INT,
    BRK_CONF_FLOAT,
    BRK_CONF_STRING,
    BRK_CONF_DATE,
    BRK_CONF_ARRAY,
    BRK_CONF_MAP,
};

struct brk_conf_value {
    enum brk_conf_kind kind;
    uint32_t depth; /* 0 for a scalar, 1 + the deepest element otherwise */
    struct brk_conf_pos pos;
    union {
        bool b;
        int64_t i;
        double f;
    } u;
    const char *text; /* STRING: the value, zero-terminated; numbers and dates: as written. NULL for
                         blocks, arrays */
    size_t text_len;
    struct brk_conf_entry *entries; /* MAP, ARRAY; in file order */
    size_t entries_count;
};

struct brk_conf_entry {
    const char *key; /* MAP: zero-terminated, as written; ARRAY: NULL */
    size_t key_len;
    struct brk_conf_pos pos; /* of the key; ARRAY: of the element */
    bool used_as_variable;
    const struct brk_conf_value *value;
};

/* What the parser asks of the world. */
struct brk_conf_source {
    /* Reads a whole file; *text_out is base_malloc'ed and becomes the parser's. */
    enum st (*read)(void *arg, const char *path, char **text_out, size_t *len_out, struct err *err);
    /* NULL when the variable is not set; borrowed until the next call. */
    const char *(*getenv)(void *arg, const char *name);
    void *arg;
};

/* Reads and parses `path`. *conf_out needs brk_conf_destroy. ST_INVALID: `file:line:column: reason`
 * in err; or what `read` returned for the first file. */
MUST_USE enum st brk_conf_parse_file(const struct brk_conf_source *src, const char *path,
                                     struct brk_conf **conf_out, struct err *err);
/* The same for a text that stands for file `name`. */
MUST_USE enum st brk_conf_parse_text(const struct brk_conf_source *src, const char *name,
                                     const char *text, size_t len, struct brk_conf **conf_out,
                                     struct err *err);
void brk_conf_destroy(struct brk_conf *);
/* The top block; valid as long as the tree. */
const struct brk_conf_value *brk_conf_root(const struct brk_conf *);

/* The value of a key (exact case) in a MAP, NULL when absent. */
const struct brk_conf_value *brk_conf_get(const struct brk_conf_value *map, const char *key);
/* "a string", "an integer", ... for messages. */
const char *brk_conf_kind_text(enum brk_conf_kind);
/* Parses a duration as Go writes them ("1h30m", "1.5s", "250ms", "-2m"). ST_INVALID. */
MUST_USE enum st brk_conf_duration(const char *text, int64_t *ns_out, struct err *err);
/* Writes the tree as one line of JSON (sorted keys, last of equal keys, new line at the end),
 * base_malloc'ed: the SHA-256 of it is the digest that nats-server 2.11 and later print for the
 * same file. NULL when it would exceed `max` bytes. */
char *brk_conf_json(const struct brk_conf *, size_t max);

#endif
