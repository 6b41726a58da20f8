/* The lines a server writes while it starts, in nats-server's words and order, and the files that
 * tell others about it (pid, ports). Role: main thread, at start. */
#ifndef BROKER_BANNER_H
#define BROKER_BANNER_H

#include <stdint.h>

#include "broker/conf_map.h"
#include "broker/opts.h"
#include "engine/base/env.h"

/* Starting nats-server, Version, Name, ID, the config file, and what is worth a warning in the
 * options. */
void brk_banner_start(const struct brk_opts *opts, const char *name, const char *id,
                      const struct brk_conf_notes *notes);
/* What is worth a warning in a config file. */
void brk_banner_notes(const struct brk_conf_notes *notes);
/* The block of JetStream lines. store_dir is the folder that is really used; sizes in bytes. */
void brk_banner_jetstream(const struct brk_opts *opts, const char *store_dir, int64_t max_memory,
                          int64_t max_file);
/* Writes our process id, as text. */
MUST_USE enum st brk_write_pid_file(struct env *env, const char *path, struct err *err);
/* Writes {"nats":[urls],"monitoring":[urls]} to <dir>/<program>_<pid>.ports; *path_out is
 * base_malloc'ed. http_port 0: no monitoring. */
MUST_USE enum st brk_write_ports_file(struct env *env, const struct brk_opts *opts,
                                      const char *program, int port, int http_port, char **path_out,
                                      struct err *err);

#endif
