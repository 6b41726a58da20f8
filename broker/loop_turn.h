/* What only the server itself asks of its loop: the first and last thing of every turn. Loop thread
 * only. */
#ifndef BROKER_LOOP_TURN_H
#define BROKER_LOOP_TURN_H

#include "broker/loop.h"

/* begin runs before slices and hooks of a turn's end, end behind them. One pair per loop. */
void brk_loop_set_ends(struct brk_loop *loop, brk_hook_fn begin, brk_hook_fn end, void *arg);
/* Runs one turn, waiting for an event if none is ready. False when nothing is left alive. */
bool brk_loop_turn(struct brk_loop *loop);

#endif
