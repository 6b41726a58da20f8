/* A config file from disk into options: conf.h and conf_map.h put together over env. Role: main
 * thread, at start. */
#ifndef BROKER_CONF_LOAD_H
#define BROKER_CONF_LOAD_H

#include "broker/conf_map.h"
#include "engine/base/env.h"

/* Reads, parses and applies `path`. On failure notes->errors has at least one line that a person
 * can act on.
 */
MUST_USE enum st brk_conf_load(struct env *env, const char *path, struct brk_opts *opts,
                               struct brk_conf_notes *notes);

#endif
