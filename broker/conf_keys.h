/* Every config key that the served level of nats-server knows, by block, and what we do with it.
 * The table drives the mapping (conf_map.c), the warnings and the refusals: adding a key is adding
 * a line to conf_keys.c.
 *
 *   SERVED   takes effect; `kind` says what value it takes and `offset` where in struct brk_opts it
 * lands WARNED   known, has no effect yet: listed in one warning at start; what it lacks costs
 * neither safety nor data REFUSED  known, not served, and starting without it would be weaker in
 * security or durability than the file asks, or would route messages differently: the start fails.
 * `note` completes "remove it to ..."
 *
 * The keys inside a REFUSED block are not listed: the block itself is the error. */
#ifndef BROKER_CONF_KEYS_H
#define BROKER_CONF_KEYS_H

#include <stddef.h>

enum brk_key_block {
    BRK_KEYS_TOP,
    BRK_KEYS_AUTH,
    BRK_KEYS_USER,
    BRK_KEYS_ACCOUNT,
    BRK_KEYS_ACCOUNT_JS,
    BRK_KEYS_JS,
    BRK_KEYS_JS_LIMITS,
    BRK_KEYS_FEATURES,
    BRK_KEYS_BLOCKS
};

enum brk_key_status { BRK_KEY_SERVED, BRK_KEY_WARNED, BRK_KEY_REFUSED };

enum brk_key_kind {
    BRK_KEY_NONE,   /* WARNED, REFUSED */
    BRK_KEY_STRING, /* char * */
    BRK_KEY_NAME,   /* char *; no blanks */
    BRK_KEY_BOOL,   /* bool */
    BRK_KEY_INT,    /* int64_t; any */
    BRK_KEY_COUNT,  /* int64_t; 0 and up */
    BRK_KEY_INT31,  /* int64_t; 0 to 2^31-1 (sizes that upstream keeps in 32 bits) */
    BRK_KEY_PORT,   /* int; -1 to 65535 */
    BRK_KEY_SIZE,   /* int64_t; an integer, or a string that ends in K, M, G, T (powers of 1024) */
    BRK_KEY_DURATION, /* int64_t ns; a string, or an integer of seconds (with a warning, as
                         upstream) */
    BRK_KEY_GROUP,    /* REFUSED, a block: an empty one asks for nothing, upstream too */
    BRK_KEY_LIST,     /* REFUSED, the same with a list */
    BRK_KEY_CUSTOM,   /* conf_map.c knows by name */
};

struct brk_key {
    enum brk_key_block block;
    enum brk_key_status status;
    enum brk_key_kind kind;
    const char *names; /* spellings, '|' between; the first is the one to write */
    size_t offset;     /* in struct brk_opts; 0 for CUSTOM and not served */
    const char *note;  /* WARNED: what is missing; REFUSED: completes "remove it to ..." */
};

/* The line for a key in any case, NULL when there is none. Static. */
const struct brk_key *brk_key_find(enum brk_key_block block, const char *key);
/* All lines, for documentation and tests. */
const struct brk_key *brk_key_table(size_t *count_out);
const char *brk_key_block_name(enum brk_key_block block);

#endif
