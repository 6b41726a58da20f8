/* JetStream of the server: API, publishing into streams, acknowledgements, delivery by pull and
 * push. Sits on the store interface (engine/store.h) and the broker's internal client
 * (broker/internal.h); knows no sockets and no files.
 *
 * Life: js_create (registers with the loop; nothing is enabled), js_start (enables the accounts
 * that ask for it and takes over the streams and consumers the store has), js_stop (no new work),
 * js_destroy. js_start needs the accounts.
 *
 * The store is driven from here: its turn at the end of each loop turn, its poll after the
 * doorbell, its timers by one loop timer. Who opens the store hands it a wake function that calls
 * brk_loop_wake.
 *
 * Role: loop thread only. What a crash can leave: nothing here is durable; the store has
 * everything. */
#ifndef BROKER_JS_H
#define BROKER_JS_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/account.h"
#include "broker/loop.h"
#include "broker/opts.h"
#include "engine/store.h"

struct js;
struct json_out;

struct js_deps {
    struct brk_loop *loop;          /* borrowed until js_destroy */
    struct store *store;            /* borrowed until js_destroy */
    struct env *env;                /* borrowed until js_destroy */
    const struct brk_js_opts *opts; /* borrowed until js_destroy */
    const char *server_name;        /* borrowed until js_destroy */
    int64_t max_pending;            /* of a client's buffer, bytes; 0 = large enough */
    int64_t max_memory_bytes,
        max_file_bytes; /* what max_bytes of all streams together may reserve; 0 = no limit */
};

struct js *js_create(const struct js_deps *deps);
/* Enables JetStream for one account (its `jetstream` flag is set). */
void js_enable_account(struct js *js, struct brk_account *acc);
/* Takes in accounts that are new, or whose flag `jetstream` was set or taken away since. What an
 * account holds stays in the store while its JetStream is off. */
void js_accounts_changed(struct js *js, struct brk_account *first);
/* Enables the accounts of the list whose flag `jetstream` is set, and starts driving the store. */
void js_start(struct js *js, struct brk_account *first);
/* Tells waiting pull requests that the server goes (409 Server Shutdown). A brk_hook_fn; arg is the
 * struct js. */
void js_tell_shutdown(void *js);
/* Takes subscriptions away: no publish, request or ack comes in afterwards, nothing is sent. The
 * store may still complete what is under way. */
void js_stop(struct js *js);
/* Frees (stopping first where that was not done). Does not touch the store, which may be closed
 * already; no callback may come afterwards. NULL is a no-op. */
void js_destroy(struct js *js);

/* --- figures for the monitoring pages --- */
struct js_figures {
    uint64_t memory_bytes, storage_bytes, streams, consumers;
    uint64_t api_total, api_errors, api_inflight;
    uint64_t messages, bytes;
};
/* account NULL: all. */
void js_figures(struct js *js, const struct brk_account *account, struct js_figures *out);
/* Writes the members of a stream as /jsz shows them, from `name` to `state`; the caller opens and
 * ends the object. */
void js_put_stream(struct js *js, struct json_out *j, struct store_stream *s, bool config);
/* Writes the first members of a stream's `millrace` object, what stands beside its config and is
 * ours alone: what an ack means (`durability`) and how many messages damage took (`damaged`). */
void js_put_ours(struct js *js, struct json_out *j, struct store_stream *s);
/* Writes consumer info as an object, as CONSUMER.INFO answers (the part behind `type`). */
void js_put_consumer(struct js *js, struct json_out *j, struct store_cons *c, bool config);

#endif
