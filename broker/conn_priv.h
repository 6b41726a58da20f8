/* What the connection's files share among themselves. Private to broker/conn*.c, publish.c,
 * account.c, server.c. Loop thread only. */
#ifndef BROKER_CONN_PRIV_H
#define BROKER_CONN_PRIV_H

#include <stdatomic.h>

#include "broker/auth.h"
#include "broker/conn.h"
#include "broker/internal.h"
#include "broker/server.h"
#include "engine/base/log.h"

#define BRK_CONN_MAGIC 0x434f4e4eu
#define BRK_ACCOUNT_MAGIC 0x41434354u
#define BRK_SERVER_MAGIC 0x53525652u

/* One read takes at most this; all connections of the loop share the buffer. */
#define BRK_READ_BYTES ((size_t)128 * 1024)
/* What one connection may read in a turn before the others, the journal and the output get theirs:
 * libuv alone would read 32 buffers in a row. */
#define BRK_TURN_READ_BYTES ((size_t)256 * 1024)
/* Output beyond this is written at once instead of at the end of the turn, while it is warm in the
 * cache. */
#define BRK_FLUSH_EARLY_BYTES ((uint64_t)128 * 1024)
/* Bytes that are only named are not warmer now than later: one write for several messages wakes the
 * receiver less often. */
#define BRK_FLUSH_KEPT_BYTES ((uint64_t)512 * 1024)
/* A publisher is held back while a subscriber's output is above this part of max_pending. */
#define BRK_STALL_PART(max) ((max) / 4 * 3)
#define BRK_STALL_MS 3

/* The parts of struct brk_server that belong to the loop's connections. */
struct brk_impl {
    atomic_bool stop_wanted; /* set by brk_server_stop, any thread */
    struct brk_chunk_pool pool;
    uint8_t *read_buf; /* owned; read_len bytes */
    size_t read_len;
    struct htab by_cid;
    struct brk_conn *dirty, *closing, *stalled, *yielded;
    uint64_t turn;                 /* counts up */
    struct brk_timer *stall_timer; /* owned */
    struct brk_timer *lame_timer;  /* owned; NULL outside lame duck mode */
    uint64_t lame_left_ms;         /* of lame_duck_duration */
    bool lame_closing;             /* the grace period is over */
    struct brk_watch *watches_due;
    struct brk_closed **closed;                  /* owned ring of owned */
    uint64_t closed_cap, closed_at, closed_kept; /* allocated; the oldest, once full; held */
    uint64_t conns_alive;                        /* structs that are not freed yet */
    uint64_t random_state;
    uint64_t hash_seed;
    uint64_t flush_early; /* bytes: BRK_FLUSH_EARLY_BYTES, less where max_pending is small */
    uint64_t flush_kept;  /* likewise, of BRK_FLUSH_KEPT_BYTES */
};

static inline struct brk_impl *brk_impl_of(struct brk_server *s)
{
    return s->impl;
}

/* xorshift64*: for queue groups, not for secrets. */
static inline uint64_t brk_random(struct brk_impl *im)
{
    uint64_t x = im->random_state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    im->random_state = x;
    return x * 0x2545f4914f6cdd1dull;
}

/* --- conn.c ----------------------------------------------------------------------------------- */
void brk_conn_accept(struct brk_server *s, struct brk_transport *t);
/* Writes what goes; queues the rest. */
void brk_conn_flush(struct brk_conn *c);
/* Puts it on the list of connections to flush at the end of the turn. */
static inline void brk_conn_mark_dirty(struct brk_conn *c)
{
    if (!c->dirty) {
        struct brk_impl *im = brk_impl_of(c->server);
        c->dirty = true;
        c->dirty_next = im->dirty;
        im->dirty = c;
    }
}
/* Queues protocol text ("PONG\r\n"). */
void brk_conn_send(struct brk_conn *c, const char *text, size_t len);
/* Queues -ERR '<text>'. */
void brk_conn_send_err(struct brk_conn *c, const char *text);
void brk_conn_set_account(struct brk_conn *c, struct brk_account *acc);
/* Builds the start of log lines anew, after a CONNECT. */
void brk_conn_name_for_log(struct brk_conn *c);
void brk_conn_log(const struct brk_conn *c, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Starts to flush, takes apart, lets stalled publishers go on: the end of a turn. */
void brk_conns_flush(struct brk_server *s);
void brk_conns_reap(struct brk_server *s);
void brk_conns_unstall(void *server);
/* Lets the connections that had their share of the turn read on. */
void brk_conns_next_turn(struct brk_server *s);
/* Reads on, where nothing speaks against it. */
void brk_conn_read_on(struct brk_conn *c);
/* Looks at the state after input was parsed. */
void brk_conn_after_parse(struct brk_conn *c, enum brk_parse r);

/* --- conn_ops.c ------------------------------------------------------------------------------- */
extern const struct brk_parse_ops brk_conn_ops;
/* The login worker's answer. */
void brk_conn_login_done(void *server, uint64_t cid, const struct brk_auth_user *user);
void brk_conn_remove_sub(struct brk_conn *c, struct brk_sub *sub);

/* --- conn_info.c ------------------------------------------------------------------------------ */
/* Queues the INFO line. */
void brk_conn_send_info(struct brk_conn *c, bool connected);

/* --- closed.c --------------------------------------------------------------------------------- */
void brk_closed_add(struct brk_server *s, const struct brk_conn *c);
void brk_closed_fini(struct brk_server *s);

/* --- account.c -------------------------------------------------------------------------------- */
void brk_account_insert(struct brk_account *acc, struct brk_sub *sub);
void brk_account_remove(struct brk_account *acc, struct brk_sub *sub);
/* Tells watchers whose interest came or went. */
void brk_watches_run(struct brk_server *s);
void brk_accounts_fini(struct brk_server *s);

#endif
