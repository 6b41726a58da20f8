/* Lame duck mode (USR2, `--signal ldm`): the server takes no new clients, tells those it has
 * (`"ldm":true` in INFO) so that they look for another one, and after a grace period closes them
 * one after the other over lame_duck_duration, so that they do not all arrive elsewhere at once.
 * Then it shuts down as TERM does, which also ends it sooner. Loop thread. */
#ifndef BROKER_LAMEDUCK_H
#define BROKER_LAMEDUCK_H

#include "broker/server.h"

/* Idempotent. */
void brk_lame_duck_enter(struct brk_server *s);
/* Frees the timer; called by brk_server_destroy. */
void brk_lame_duck_fini(struct brk_server *s);

#endif
