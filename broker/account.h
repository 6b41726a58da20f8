/* An account: a closed world of subjects, users, connections, streams. `$G` by default, `$SYS` for
 * the system. Loop thread only. Accounts live as long as the server. */
#ifndef BROKER_ACCOUNT_H
#define BROKER_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/opts.h"
#include "engine/base/htab.h"
#include "broker/interest.h"

struct brk_server;
struct brk_conn;
struct brk_watch;

#define BRK_ACCOUNT_GLOBAL "$G"

/* Rewrites the subject of a publish before interest is looked up: where mappings, imports/exports
 * and transforms sit. Returns the subject to use: the given one, a part of it, or what was written
 * to `room`, which holds as many bytes as the given one has. */
typedef struct brk_str (*brk_map_fn)(void *arg, struct brk_str subject, char *room);

/* Messages and bytes as nats-server counts them: payload and headers, each delivery counted. */
struct brk_flow {
    uint64_t in_msgs, in_bytes, out_msgs, out_bytes;
};

struct brk_account {
    uint32_t magic;
    struct brk_server *server; /* borrowed */
    struct htab_node by_name;  /* in server->accounts */
    char *name;                /* owned */
    bool jetstream;            /* enabled for this account */
    struct brk_js_account_limits js_limits;
    bool system; /* $SYS */
    struct brk_interest interest;
    struct brk_conn *conns; /* client connections, by conn->acc_next; borrowed */
    uint64_t conns_count;
    struct brk_flow flow;
    uint64_t slow_consumers;
    struct htab watches;                    /* brk_watch by subject */
    struct brk_watch *watches_due;          /* whose interest may have changed in this turn */
    brk_map_fn map_subject;                 /* NULL: none */
    void *map_arg;                          /* borrowed */
    bool (*silent)(struct brk_str subject); /* a service hears this and never answers: no 503;
                                               NULL: none */
    void *js;                 /* JetStream's part of the account; owned by broker/js_*.c */
    struct brk_account *next; /* all accounts, in the order they were made; borrowed */
};

/* Finds an account by name; NULL when there is none. Borrowed until the server is destroyed. */
struct brk_account *brk_account_lookup(struct brk_server *server, struct brk_str name);
/* Finds or makes an account. */
struct brk_account *brk_account_get(struct brk_server *server, struct brk_str name);
/* First account, in the order of creation ($G, $SYS, then the config's); go on with ->next. */
struct brk_account *brk_account_first(struct brk_server *server);

#endif
