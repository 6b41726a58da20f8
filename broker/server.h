/* The broker as a whole: options, accounts, the loop, connections, counters, and its life.
 *
 *   create -> start (listens, logs "Listening for client connections on H:P") -> run (blocks) ->
 * destroy shutdown: listener closed, clients flushed and closed, run ends
 *
 * All state is loop thread only, but brk_server_stop and brk_loop_wake (any thread). */
#ifndef BROKER_SERVER_H
#define BROKER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/account.h"
#include "engine/base/htab.h"
#include "broker/loop.h"
#include "broker/opts.h"
#include "broker/version.h"
#include "engine/base/env.h"
#include "engine/base/err.h"

struct brk_conn;
struct brk_closed;
struct brk_listener;
struct brk_auth;

#define BRK_PROTO 1

struct brk_counters {
    struct brk_flow flow;       /* clients; internal publishes count as out only */
    uint64_t total_connections; /* ever accepted */
    uint64_t slow_consumers;    /* of both kinds */
    uint64_t slow_pending;      /* max_pending exceeded */
    uint64_t slow_deadline;     /* write_deadline exceeded */
    uint64_t stale_connections; /* no PONG */
    uint64_t stalled_clients;   /* publishers held back for a slow subscriber */
    uint64_t auth_errors;
    uint64_t connections_refused; /* max_connections */
};

struct brk_server {
    uint32_t magic;
    const struct brk_opts *opts; /* borrowed until destroy */
    struct env *env;             /* borrowed until destroy */
    char id[57];                 /* 'N' and 55 base32 characters */
    const char *name;            /* opts->server_name or id; borrowed */
    int64_t start_real_ns;
    int64_t start_boot_ns;
    bool jetstream;       /* INFO says so; set before start */
    bool publishers_held; /* brk_publisher_hold */
    bool shutting_down;
    bool lame_duck;                /* no new clients; INFO says so */
    bool auth_required;            /* INFO says so: users or a token, and no no_auth_user */
    struct brk_loop *loop;         /* owned */
    struct brk_listener *listener; /* owned */
    uint16_t port;                 /* bound; 0 before start */
    /* accounts */
    struct htab accounts; /* brk_account by name; owned */
    struct brk_account *accounts_first, **accounts_tail;
    uint64_t accounts_count;
    struct brk_account *global; /* $G */
    struct brk_account
        *system;           /* $SYS, or what system_account names; NULL with no_system_account */
    struct brk_auth *auth; /* owned */
    /* connections */
    struct brk_conn *conns_first,
        *conns_last; /* open, by cid; linked by conn->next and conn->prev */
    uint64_t conns_count;
    uint64_t last_cid;
    uint64_t subs_count;   /* of clients */
    uint64_t closed_total; /* ever closed */
    struct brk_counters counters;
    brk_hook_fn
        on_shutdown; /* called before clients are closed, so that they can be told; NULL: none */
    void *on_shutdown_arg; /* borrowed */
    void *impl;            /* owned; private to server.c and conn*.c */
};

/* Makes the server from checked options: id, accounts, loop. Nothing listens yet. */
MUST_USE enum st brk_server_create(const struct brk_opts *opts, struct env *env,
                                   struct brk_server **server_out, struct err *err);
/* Listens. Afterwards server->port is known. ST_BUSY, ST_DENIED, ST_INVALID: nothing listens. */
MUST_USE enum st brk_server_start(struct brk_server *server, struct err *err);
/* Runs the loop in the calling thread until brk_server_stop or brk_server_shutdown has ended it. */
void brk_server_run(struct brk_server *server);
/* Asks for brk_server_shutdown on the loop thread. Any thread; may be called from a signal handler.
 */
void brk_server_stop(struct brk_server *server);
/* Stops listening, flushes and closes every client ("Server Shutdown"), then ends the loop. Loop
 * thread. Idempotent. */
void brk_server_shutdown(struct brk_server *server);
/* Frees. After run has returned (or was never called). Internal subscriptions, watches, timers,
 * slices and hooks of others must be gone by then; closing clients still runs turns. NULL is a
 * no-op. */
void brk_server_destroy(struct brk_server *server);

/* The compiler of this binary, where INFO and /varz say `go`. */
const char *brk_compiler(void);

/* Looks up an open connection; NULL when there is none. Borrowed until the turn ends. */
struct brk_conn *brk_server_conn(struct brk_server *server, uint64_t cid);

/* --- closed connections, newest first; at most max_closed_clients are kept --- */
typedef bool (*brk_closed_fn)(void *arg, const struct brk_closed *c); /* false ends the walk */
void brk_server_each_closed(struct brk_server *server, brk_closed_fn fn, void *arg);

#endif
