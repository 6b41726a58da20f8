/* From a parsed config file to options, by the table in conf_keys.h.
 *
 * All errors of a file are collected, so that a person mends them in one go. An unknown key is an
 * error, unless it was used as a variable. Of a key given twice (in any of its spellings) the last
 * one counts.
 *
 * Role: main thread, at start. */
#ifndef BROKER_CONF_MAP_H
#define BROKER_CONF_MAP_H

#include "broker/conf.h"
#include "broker/opts.h"
#include "engine/base/err.h"

#define BRK_CONF_ERRORS_MAX 50 /* further ones are not collected */

struct brk_conf_lines {
    char **lines; /* owned, each one too */
    size_t count;
};

struct brk_conf_notes {
    struct brk_conf_lines errors;     /* `file:line:column: text` */
    struct brk_conf_lines warnings;   /* the same; about values */
    bool empty;                       /* the file sets nothing; a warning, but an error of -t */
    struct brk_conf_lines not_served; /* `"key" at file:line:column (what is missing)` */
};

/* Sets what the tree says in *opts (initialised by the caller, who also finishes it when this
 * fails). Fills *notes (zeroed by the caller, needs brk_conf_notes_fini). ST_INVALID: notes->errors
 * has at least one line.
 */
MUST_USE enum st brk_conf_apply(const struct brk_conf *conf, struct brk_opts *opts,
                                struct brk_conf_notes *notes);
void brk_conf_notes_fini(struct brk_conf_notes *);

/* Parses "host:port", "[v6]:port", ":port" or "port". *host_out is base_malloc'ed or NULL when not
 * given. */
MUST_USE enum st brk_parse_hostport(const char *text, char **host_out, int *port_out,
                                    struct err *err);

#endif
