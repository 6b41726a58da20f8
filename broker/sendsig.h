/* `--signal command[=pid]`: tells a running server something, then the program ends.
 *
 * Commands as nats-server has them: ldm, stop (kill), quit, term, reopen, reload. The process is a
 * number, the path of a pid file, or, when none is named, the one server that runs on this machine.
 * A number must be positive: kill(2) means whole groups by 0 and below. Main thread. */
#ifndef BROKER_SENDSIG_H
#define BROKER_SENDSIG_H

#include <sys/types.h>

#include "engine/base/env.h"

/* Reads "command[=pid]"; *pid_out is 0 when none was named. ST_INVALID: what is wrong with it. */
MUST_USE enum st brk_signal_parse(struct env *env, const char *text, int *sig_out, pid_t *pid_out,
                                  struct err *err);
/* Parses, looks for the process where none is named, sends. */
MUST_USE enum st brk_signal_send(struct env *env, const char *text, struct err *err);

#endif
