/* One client connection: what it said in CONNECT, its subscriptions, counters, output, life. Loop
 * thread only.
 *
 *        accept                 CONNECT ok                  brk_conn_close transport closed (new)
 * ----> BRK_CONN_NEW -------------> BRK_CONN_OPEN -----------------> BRK_CONN_CLOSING
 * ----------------> freed | CONNECT with bcrypt: BRK_CONN_AUTH until the worker answers; reading
 * pauses
 *
 * NEW: INFO was sent; with auth_required only CONNECT is accepted. OPEN: belongs to an account.
 * CLOSING: no input is taken, nothing is delivered; what was queued before is flushed; the end of
 * the turn removes the subscriptions. The struct stays in memory until that turn's end at least, so
 * pointers in a running delivery stay good. */
#ifndef BROKER_CONN_H
#define BROKER_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/account.h"
#include "engine/base/htab.h"
#include "broker/msg.h"
#include "broker/outbuf.h"
#include "broker/parser.h"
#include "broker/server.h"
#include "broker/transport.h"

struct brk_connect;

/* Later: route, leaf, gateway, mqtt. */

enum brk_conn_state { BRK_CONN_NEW, BRK_CONN_AUTH, BRK_CONN_OPEN, BRK_CONN_CLOSING };

/* Why a connection ended: code and the text that /connz shows. */
#define BRK_CLOSE_LIST(X)                                                                          \
    X(BRK_CLOSE_NONE, "")                                                                          \
    X(BRK_CLOSE_CLIENT, "Client Closed")                                                           \
    X(BRK_CLOSE_AUTH_TIMEOUT, "Authentication Timeout")                                            \
    X(BRK_CLOSE_AUTH_FAILURE, "Authentication Failure")                                            \
    X(BRK_CLOSE_SLOW_PENDING, "Slow Consumer (Pending Bytes)")                                     \
    X(BRK_CLOSE_SLOW_DEADLINE, "Slow Consumer (Write Deadline)")                                   \
    X(BRK_CLOSE_WRITE_ERROR, "Write Error")                                                        \
    X(BRK_CLOSE_READ_ERROR, "Read Error")                                                          \
    X(BRK_CLOSE_PARSE_ERROR, "Parse Error")                                                        \
    X(BRK_CLOSE_STALE, "Stale Connection")                                                         \
    X(BRK_CLOSE_PROTOCOL, "Protocol Violation")                                                    \
    X(BRK_CLOSE_MAX_CONNECTIONS, "Maximum Connections Exceeded")                                   \
    X(BRK_CLOSE_MAX_PAYLOAD, "Maximum Message Payload Exceeded")                                   \
    X(BRK_CLOSE_MAX_CONTROL_LINE, "Maximum Control Line Exceeded")                                 \
    X(BRK_CLOSE_MAX_SUBSCRIPTIONS, "Maximum Subscriptions Exceeded")                               \
    X(BRK_CLOSE_SHUTDOWN, "Server Shutdown")                                                       \
    X(BRK_CLOSE_BAD_PROTOCOL_VERSION, "Bad Client Protocol Version")                               \
    X(BRK_CLOSE_HEADERS, "Message Header Violation")                                               \
    X(BRK_CLOSE_NO_RESPONDERS, "No Responders Requires Headers")                                   \
    X(BRK_CLOSE_KICKED, "Kicked")

enum brk_close_reason {
#define X(code, text) code,
    BRK_CLOSE_LIST(X)
#undef X
        BRK_CLOSE_COUNT
};
const char *brk_close_text(enum brk_close_reason reason);

struct brk_conn {
    uint32_t magic;
    enum brk_conn_state state;
    enum brk_close_reason close_reason;
    uint64_t cid;
    struct htab_node by_cid;
    struct brk_server *server;    /* borrowed */
    struct brk_loop *loop;        /* borrowed; the loop it belongs to */
    struct brk_transport *trans;  /* owned; NULL once closed */
    struct brk_account *account;  /* borrowed; NULL before a login, where one is asked for */
    struct brk_conn *next, *prev; /* server's list, by cid */
    struct brk_conn *acc_next, *acc_prev; /* the account's list */
    char *who;                            /* owned; how log lines begin: peer, cid, client, user */
    /* what CONNECT said */
    char *name, *lang, *version; /* owned; NULL when not given */
    char *user;                  /* owned; the user it is logged in as, or NULL */
    bool verbose, pedantic, headers, no_responders, echo;
    bool connect_received;
    bool pinged; /* since CONNECT; the INFO behind the first PONG is out */
    int protocol;
    /* times: wall clock, and ns since boot where an interval is measured */
    int64_t start_real_ns, last_real_ns; /* created; last activity */
    int64_t start_boot_ns;
    int64_t rtt_ns;            /* until the first PONG: from INFO to CONNECT */
    int64_t ping_sent_boot_ns; /* 0: none is out */
    int64_t rtt_boot_ns;       /* when a PONG measured it; 0: none has */
    int64_t last_boot_ns;      /* last input that says the client is alive */
    int64_t pings_out;
    struct brk_timer *ping_timer;  /* owned */
    struct brk_timer *auth_timer;  /* owned; NULL once logged in */
    struct brk_timer *write_timer; /* owned; made when a write has to wait for the first time */
    /* counters */
    struct brk_flow flow; /* in: published by the client; out: delivered to it */
    uint64_t stalls;      /* times it was held back as a fast publisher */
    /* subscriptions */
    struct htab subs; /* brk_sub by sid */
    /* input */
    struct brk_parser parser;
    struct brk_connect *login;  /* owned; the CONNECT whose login is being checked (state AUTH) */
    bool yielded;               /* read its share of this turn; goes on in the next */
    uint64_t turn;              /* of turn_bytes */
    size_t turn_bytes;          /* read in that turn */
    bool stall_wanted, stalled; /* as a publisher: a subscriber is slow; reading is stopped */
    bool held;                  /* stalled until brk_publishers_go */
    /* output */
    struct brk_outbuf out;
    size_t write_len; /* bytes of the queued write */
    int write_chunks; /* pieces of the queued write */
    bool writing;     /* a queued write is out */
    bool dirty;       /* in the list of connections to flush */
    struct brk_conn *dirty_next, *closing_next, *stall_next, *yield_next;
};

/* What stays of a closed connection for /connz?state=closed. All strings are owned by the ring. */
struct brk_closed {
    uint64_t cid;
    enum brk_close_reason reason;
    char ip[64];
    uint16_t port;
    int64_t start_real_ns, stop_real_ns, last_real_ns, rtt_ns;
    struct brk_flow flow;
    uint64_t subs_count;
    char *name, *lang, *version, *user; /* owned; may be NULL */
    const char *account;                /* borrowed from the account; NULL before a login */
};

/* Bytes that wait to be sent. */
static inline uint64_t brk_conn_pending_bytes(const struct brk_conn *c)
{
    return c->out.bytes;
}

/* Closes for a reason: first the text (NULL: none) goes out as -ERR '<text>', behind what is
 * queued. Idempotent. */
void brk_conn_close(struct brk_conn *c, enum brk_close_reason reason, const char *err_text);

#endif
