/* The options a server runs with: defaults, then the config file (conf_map.h), then the command
 * line (cli.h).
 *
 * Every option here is served: a key or flag that upstream knows and that we do not serve never
 * reaches this struct (conf_keys.h warns about it or refuses to start). Units stand in the names;
 * NATS's own words stay as they are.
 *
 * Invariants: strings are NULL when unset, else owned by the struct; after brk_opts_check
 * succeeded, every user's account exists in `accounts` or is $G or the system account, names are
 * unique, and numbers are in range.
 *
 * Role: built on the main thread before any other thread starts, then read-only for everybody. */
#ifndef BROKER_OPTS_H
#define BROKER_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/base.h"
#include "engine/base/err.h"

#define BRK_ACC_GLOBAL "$G"
#define BRK_ACC_SYSTEM "$SYS"

#define BRK_BUSY_POLL_NS_MAX NS_PER_MS
#define BRK_BUSY_POLL_NS_DEFAULT (50 * NS_PER_US)

#define BRK_PORT_DEFAULT 4222
#define BRK_PORT_RANDOM (-1) /* let the system pick one */

/* Options that a flag can set. The bit says that the command line set it, so the file must not. */
enum brk_opt_bit {
    BRK_OPT_HOST = 1u << 0,
    BRK_OPT_PORT = 1u << 1,
    BRK_OPT_SERVER_NAME = 1u << 2,
    BRK_OPT_HTTP_PORT = 1u << 3,
    BRK_OPT_LOG_FILE = 1u << 4,
    BRK_OPT_PID_FILE = 1u << 5,
    BRK_OPT_DEBUG = 1u << 6,
    BRK_OPT_TRACE = 1u << 7,
    BRK_OPT_LOGTIME = 1u << 8,
    BRK_OPT_JETSTREAM = 1u << 9,
    BRK_OPT_STORE_DIR = 1u << 10,
    BRK_OPT_AUTH = 1u << 11, /* --user and --pass, or --auth */
    BRK_OPT_PORTS_DIR = 1u << 12,
    BRK_OPT_LOGTIME_UTC = 1u << 13,
};

/* One user of `authorization { users }` (account $G) or of `accounts { A { users } }`. */
struct brk_user_opt {
    char *user;    /* owned */
    char *pass;    /* owned; plain, or a bcrypt hash: see brk_pass_is_bcrypt */
    char *account; /* owned; BRK_ACC_GLOBAL for users of `authorization` */
};

/* What an account's `jetstream { }` block allows it. -1: no limit. */
struct brk_js_account_limits {
    int64_t max_memory, max_store; /* bytes of all streams */
    int64_t max_streams;
    int64_t max_consumers; /* of each stream */
    int64_t max_ack_pending;
    int64_t memory_max_stream_bytes, store_max_stream_bytes; /* a stream's max_bytes */
    bool max_bytes_required;
};
static inline struct brk_js_account_limits brk_js_no_limits(void)
{
    return (struct brk_js_account_limits){-1, -1, -1, -1, -1, -1, -1, false};
}

/* One account of `accounts { }`. $G and the system account stand here only when the file names
 * them. */
struct brk_account_opt {
    char *name;     /* owned */
    bool jetstream; /* `jetstream: enabled` stands in the account */
    struct brk_js_account_limits limits;
};

#define BRK_DOMAIN_MAX 255

struct brk_js_opts {
    bool enabled;
    bool strict;     /* unknown fields in API requests are an error; true by default */
    char *store_dir; /* owned; NULL: a folder under the system's temporary directory, with a warning
                      */
    char *domain;    /* owned; NULL: none; a token of subjects of at most BRK_DOMAIN_MAX bytes */
    int64_t max_memory_store; /* bytes; -1: 3/4 of the machine's memory */
    int64_t max_file_store;   /* bytes; -1: 3/4 of the free disk space */
    bool ack_fc_v2;           /* ack and flow control subjects carry domain and account */
    bool sync_always; /* durable: acknowledge after the sync. Our default, and `sync_interval:
                         always` */
    int64_t sync_interval_ns;          /* relaxed, when sync_always is false: sync on this timer */
    int64_t limit_max_ack_pending;     /* 0: no limit on a consumer's max_ack_pending */
    int64_t limit_max_request_batch;   /* 0: no limit on a pull request's batch */
    int64_t limit_duplicate_window_ns; /* 0: no limit on a stream's duplicate_window */
    int64_t request_queue_limit;       /* API requests that may wait; 10,000 by default */
};

struct brk_opts {
    /* --- the client listener */
    char *host;        /* owned; "0.0.0.0" by default */
    int port;          /* 4222; BRK_PORT_RANDOM picks one */
    char *server_name; /* owned; NULL: the server id is used */
    /* --- monitoring */
    char *http_host;      /* owned; NULL: as `host` */
    int http_port;        /* 0: off; BRK_PORT_RANDOM picks one */
    char *http_base_path; /* owned; NULL, or "/prefix" */
    /* --- logging and files */
    char *config_file;    /* owned; NULL without -c */
    char *log_file;       /* owned; NULL: stderr */
    char *pid_file;       /* owned */
    char *ports_file_dir; /* owned */
    bool debug, trace, trace_verbose;
    bool logtime; /* true by default */
    bool logtime_utc;
    /* --- limits of a connection */
    int64_t max_payload;        /* bytes; 1 MiB */
    int64_t max_control_line;   /* bytes; 4096 */
    int64_t max_pending;        /* bytes; 64 MiB */
    int64_t max_connections;    /* 65536; -1: no limit */
    int64_t max_subscriptions;  /* per connection; 0: no limit */
    int64_t max_sub_tokens;     /* tokens of a subscription's subject; 0: no limit */
    int64_t max_closed_clients; /* how many closed connections /connz remembers; 10,000 */
    int64_t ping_interval_ns;   /* 2 min */
    int64_t ping_max;           /* 2 unanswered pings, then the connection is stale */
    int64_t write_deadline_ns;  /* 10 s */
    int64_t auth_timeout_ns;    /* 2 s from accept to CONNECT, where a login is asked for */
    bool no_header_support;
    int64_t lame_duck_duration_ns; /* 2 min */
    int64_t lame_duck_grace_ns;    /* 10 s; part of the duration */
    int64_t busy_poll_ns;          /* 50 us; the loop looks so long before it sleeps; 0: never */
    /* --- who may connect */
    char *user, *pass; /* owned; one user in $G (authorization { user pass }, --user --pass) */
    char *token;       /* owned; authorization { token }, --auth; plain or bcrypt */
    struct brk_user_opt *users; /* owned array */
    size_t users_count;
    struct brk_account_opt *accounts; /* owned array */
    size_t accounts_count;
    char *no_auth_user;   /* owned; a connection without credentials is this user */
    char *system_account; /* owned; NULL: BRK_ACC_SYSTEM */
    bool no_system_account;
    /* --- JetStream */
    struct brk_js_opts js;
    /* --- what the command line decided */
    uint32_t flag_bits; /* enum brk_opt_bit */
};

/* Fills in the defaults. Caller's memory; needs one brk_opts_fini. */
void brk_opts_init(struct brk_opts *);
/* Frees what the struct owns and zeroes it; a zeroed struct is a no-op. */
void brk_opts_fini(struct brk_opts *);
/* Gives limits that were set to 0 their defaults (upstream: 0 is "not set"). */
void brk_opts_baseline(struct brk_opts *);
/* Checks what depends on more than one option (unknown no_auth_user, users twice, unknown system
 * account...), with upstream's words. ST_INVALID. */
MUST_USE enum st brk_opts_check(const struct brk_opts *, struct err *);

/* Replaces *slot (owned, may be NULL) by a copy of `value` (NULL unsets). */
void brk_opts_set_str(char **slot, const char *value);
/* Appends; the strings are copied. */
void brk_opts_add_user(struct brk_opts *, const char *user, const char *pass, const char *account);
/* Appends; the result is valid until the next call. */
struct brk_account_opt *brk_opts_add_account(struct brk_opts *, const char *name);

/* Borrowed until the options change; NULL when there is none. */
const struct brk_account_opt *brk_opts_account(const struct brk_opts *, const char *name);
const struct brk_user_opt *brk_opts_user(const struct brk_opts *, const char *user);
/* The system account's name. Borrowed. */
const char *brk_opts_system_account(const struct brk_opts *);
/* True when a connection must present a user, password or token (INFO auth_required). */
bool brk_opts_auth_required(const struct brk_opts *);
/* True when JetStream is on in this account: it is on in the server and either the account asks for
 * it, or the account is $G and the file defines no account of its own (upstream's rule). */
bool brk_opts_account_jetstream(const struct brk_opts *, const char *account);
struct brk_js_account_limits brk_opts_account_limits(const struct brk_opts *, const char *account);
/* True for text that is a bcrypt hash ($2a$..., $2b$..., $2x$..., $2y$...). */
bool brk_pass_is_bcrypt(const char *pass);

#endif
