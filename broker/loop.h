/* The loop thread: one libuv loop, its doorbell, its turns, timers and deferred work.
 *
 * A turn is one iteration of the loop. At its end, just before it may sleep, in this order:
 *   1. interest changes are told to their watchers (broker/internal.h),
 *   2. slices run, within a budget (BRK_SLICE_STEPS_MAX steps or BRK_SLICE_NS_MAX ns, then the next
 * turn goes on),
 *   3. the turn hooks run (the engine seals its journal batch, answers are built),
 *   4. every connection that has output is flushed with one gather write, and closed connections
 * are taken apart. So a hook's or a slice's output leaves in the same turn.
 *
 * Roles: everything here is loop thread only, but brk_loop_wake (any thread). Nothing here may
 * block. */
#ifndef BROKER_LOOP_H
#define BROKER_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/env.h"
#include "engine/base/err.h"

struct brk_loop;
struct brk_timer;
struct brk_slice;
struct brk_spin;
struct uv_loop_s;

#define BRK_SLICE_STEPS_MAX 64u
#define BRK_SLICE_NS_MAX 500000LL

typedef void (*brk_hook_fn)(void *arg);
/* Does one small piece of work; true: there is more. */
typedef bool (*brk_slice_fn)(void *arg);

/* Makes a loop; nothing runs before brk_loop_run. */
MUST_USE enum st brk_loop_create(struct env *env, struct brk_loop **loop_out, struct err *err);
/* Runs until brk_loop_stop; then closes what is left. Blocks; the calling thread is the loop
 * thread. */
void brk_loop_run(struct brk_loop *loop);
/* Runs what is ready without blocking; for tests and for the drain at shutdown. False when nothing
 * is left alive. */
bool brk_loop_poll(struct brk_loop *loop);
/* Makes brk_loop_run return after this turn. */
void brk_loop_stop(struct brk_loop *loop);
/* Frees. Every timer, slice and transport must have been destroyed before. */
void brk_loop_destroy(struct brk_loop *loop);

/* Before brk_loop_run sleeps, it looks for events for up to window_ns, where that has paid off
 * lately (broker/spin.h). 0, as at first: never. brk_loop_poll and brk_loop_turn do not. */
void brk_loop_set_busy_poll(struct brk_loop *loop, int64_t window_ns);
/* What came of it. Borrowed until destroy. */
const struct brk_spin *brk_loop_busy_poll(const struct brk_loop *loop);

/* The libuv loop, for transports and signals. Borrowed until destroy. */
struct uv_loop_s *brk_loop_uv(struct brk_loop *loop);
/* Monotonic milliseconds, as of the start of the turn. */
int64_t brk_loop_now_ms(struct brk_loop *loop);

/* --- doorbell --------------------------------------------------------------------------------- */
/* Registers fn to be called on the loop thread after brk_loop_wake; wakes coalesce, so fn drains
 * its queue.
 */
void brk_loop_on_wake(struct brk_loop *loop, brk_hook_fn fn, void *arg);
/* Wakes the loop. Any thread, never blocks, may be called from a signal handler. */
void brk_loop_wake(struct brk_loop *loop);

/* --- turn hooks ------------------------------------------------------------------------------- */
/* Registers fn to be called once at the end of every turn, in the order of registration. */
void brk_loop_on_turn(struct brk_loop *loop, brk_hook_fn fn, void *arg);
/* Takes a turn hook and a wake callback with this fn and arg away. */
void brk_loop_off(struct brk_loop *loop, brk_hook_fn fn, void *arg);

/* --- timers (milliseconds) -------------------------------------------------------------------- */
struct brk_timer *brk_timer_create(struct brk_loop *loop, brk_hook_fn fn, void *arg);
/* Fires after delay_ms (0: next turn), then every repeat_ms (0: once). Starting again restarts. */
void brk_timer_start(struct brk_timer *t, uint64_t delay_ms, uint64_t repeat_ms);
void brk_timer_stop(struct brk_timer *t);
bool brk_timer_active(const struct brk_timer *t);
/* Stops and frees; fn is not called again. NULL is a no-op. May be called from fn. */
void brk_timer_destroy(struct brk_timer *t);

/* --- deferred work in bounded slices ---------------------------------------------------------- */
/* Work that must not hold up deliveries (API requests, long scans): fn is called again and again at
 * the end of turns, round robin with other slices, until it returns false. */
struct brk_slice *brk_slice_create(struct brk_loop *loop, brk_slice_fn fn, void *arg);
/* There is work. Cheap when it is known already. */
void brk_slice_kick(struct brk_slice *s);
/* Frees; fn is not called again. NULL is a no-op. May be called from fn. */
void brk_slice_destroy(struct brk_slice *s);

#endif
