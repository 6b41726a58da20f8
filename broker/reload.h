/* New options for a running server (HUP, `--signal reload`).
 *
 * What may change while clients are connected: logging, limits of connections, timeouts, users and
 * accounts, the pid and ports files. Anything else is refused as a whole, with the option's name in
 * nats-server's words, and the old options stay: a reload that did half of what the file says would
 * leave a server that matches no file.
 *
 * Role: both functions run on the loop thread, which owns the options. A file is read before, on
 * the thread that caught the signal. Nothing here is durable. */
#ifndef BROKER_RELOAD_H
#define BROKER_RELOAD_H

#include "broker/opts.h"
#include "broker/server.h"
#include "engine/base/err.h"

/* ST_UNSUPPORTED names the first option that cannot change in a running server. */
MUST_USE enum st brk_reload_check(const struct brk_opts *now, const struct brk_opts *next,
                                  struct err *err);
/* Applies what differs and logs it. The strings and lists that changed are swapped between the two,
 * so the caller frees the old ones with `next`. `now` must be the server's options. Clients whose
 * login is no longer good are closed; JetStream of new accounts is the caller's (boot_accounts). */
void brk_server_reload(struct brk_server *s, struct brk_opts *now, struct brk_opts *next);

#endif
