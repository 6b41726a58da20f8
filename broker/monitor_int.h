/* Private to broker/monitor*.c: connections of the monitoring port, jobs, pages. Loop thread only.
 *
 *   READING --request--> RUNNING --page made--> WRITING --written--> READING (keep-alive)
 *      |                                           |
 *      +--refused: an error is written-------------+--> DRAINING (reads what the client still
 * sends) --> closed
 *
 * A job outlives its connection while the store still owes it a callback (`barriers`). */
#ifndef BROKER_MONITOR_INT_H
#define BROKER_MONITOR_INT_H

#include "broker/http.h"
#include "broker/json_out.h"
#include "broker/monitor.h"
#include "broker/transport.h"

#define MON_CONNS_MAX 64u    /* beyond: the longest idle one is closed, or the new one gets 503 */
#define MON_IDLE_MS 60000    /* between requests */
#define MON_REQUEST_MS 10000 /* from a request's first byte to its last */
#define MON_WRITE_MS 30000   /* for each MON_WRITE_BYTES */
#define MON_DRAIN_MS 1000    /* for what a refused client still sends */
#define MON_TICK_MS 500      /* how often times are looked at */
#define MON_WRITE_BYTES ((size_t)256 * 1024)
#define MON_PAGE_MAX ((size_t)64 * 1024 * 1024) /* bytes of a page, not indented; beyond: 503 */
#define MON_HELD_MAX                                                                               \
    ((size_t)64 * 1024 * 1024) /* bytes of finished pages; beyond: no further page is begun */
#define MON_INDENT_BYTES ((size_t)64 * 1024) /* indented in one step */
#define MON_ROWS 8u                          /* connections or consumers written in one step */
#define MON_DAMAGE_MAX 1024u                 /* findings listed on a page; beyond: counted */

struct mon_job;
struct mon_conn;

/* MON_WAITS: for the store; mon_job_kick goes on. */
enum mon_step { MON_DONE, MON_GOES_ON, MON_WAITS };

struct mon_page {
    const char *path;                           /* behind the base path */
    enum mon_step (*step)(struct mon_job *job); /* makes a piece of the page */
    void (*fini)(struct mon_job *job);          /* frees job->state; NULL: nothing to free */
    bool indent;
};

/* Turns compact JSON into Go's MarshalIndent with two blanks, piece by piece. Zero-initialised at
 * the start.
 */
struct mon_indent {
    unsigned depth;
    bool in_string, escaped, opened; /* opened: the last byte was { or [ */
};
void mon_indent(struct mon_indent *in, struct json_out *to, const char *p, size_t n);

struct mon_job {
    struct monitor *m;     /* borrowed */
    struct mon_conn *conn; /* borrowed; NULL once the connection is gone */
    struct mon_job *next, *all_next, *all_prev;
    const struct mon_page *page;
    struct brk_http_request req;
    int status;
    const char *type;    /* content type */
    struct json_out out; /* the page, compact */
    struct mon_indent indent;
    struct json_out body; /* the page, indented */
    size_t indented;      /* bytes of out that are in body */
    void *state;          /* the page's own; owned, freed by page->fini */
    uint32_t barriers;    /* callbacks the store still owes */
    bool made;            /* page->step is through */
    bool waits;           /* for the store: not in the list of jobs to be made */
};

enum mon_conn_state { MON_READING, MON_RUNNING, MON_WRITING, MON_DRAINING };

struct mon_conn {
    struct monitor *m;
    struct brk_transport *t; /* owned until closed */
    struct mon_conn *next, *prev;
    enum mon_conn_state state;
    bool closing;        /* waits for the transport's last word */
    bool keep_alive;     /* after the answer under way */
    bool refused;        /* the client may still be sending: drain before closing */
    int64_t since_ms;    /* in this state, or since the first byte of a request */
    struct mon_job *job; /* RUNNING: borrowed */
    char head[BRK_HTTP_ANSWER_HEAD_MAX];
    size_t head_len;
    char *body;            /* owned */
    size_t body_len, sent; /* sent: of head and body together */
    size_t in_len, seen;
    uint8_t in[BRK_HTTP_HEAD_MAX];
};

enum { MON_PAGE_ROOT, MON_PAGE_VARZ, MON_PAGE_HEALTHZ, MON_PAGE_CONNZ, MON_PAGE_JSZ, MON_PAGES };
extern const struct mon_page mon_pages[MON_PAGES];

struct monitor {
    struct brk_server *server;     /* borrowed */
    struct brk_listener *listener; /* owned */
    uint16_t port;
    struct brk_timer *tick;  /* owned; runs while there are connections */
    struct brk_slice *slice; /* owned */
    struct mon_conn *conns;
    unsigned conns_count; /* all of them */
    unsigned open_count;  /* not those that only wait for the last word of their transport */
    struct mon_job *jobs_first, *jobs_last; /* to be made, in order */
    struct mon_job *all;                    /* every job that is not freed */
    size_t held_bytes;                      /* of finished pages */
    bool stopping;
    struct mon_store s; /* js NULL: JetStream is off */
    uint64_t requests[MON_PAGES];
    uint64_t cpu_ns; /* at the last look, and when that was */
    int64_t cpu_boot_ns;
    uint64_t cpu_percent;
};

/* --- connections (monitor.c) --- */
/* Sends an answer; body (owned now) may be NULL where body_len is 0. */
void mon_conn_answer(struct mon_conn *c, int status, const char *type, char *body, size_t body_len,
                     bool head_only);

/* --- jobs (monitor_job.c) --- */
struct mon_job *mon_job_create(struct mon_conn *c, const struct brk_http_request *r);
/* Its connection is gone. */
void mon_job_abandon(struct mon_job *job);
bool mon_jobs_slice(void *monitor);
/* There may be room for the next job. */
void mon_jobs_kick(struct monitor *m);
/* Frees what the store never called back for. */
void mon_jobs_fini(struct monitor *m);

/* --- what pages use (monitor_util.c) --- */

/* Replaces the page by a line of text. */
void mon_fail(struct mon_job *job, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Read a parameter; an absent one leaves *out. False: the page is an error now. */
bool mon_param_bool(struct mon_job *job, const char *name, bool *out);
bool mon_param_int(struct mon_job *job, const char *name, int64_t *out);
bool mon_param_u64(struct mon_job *job, const char *name, uint64_t *out);
/* out has BRK_HTTP_VALUE_MAX + 1 bytes. */
bool mon_param_str(struct mon_job *job, const char *name, char *out);
/* "3d4h5m6s": whole seconds, as uptime and idle are shown. */
void mon_put_uptime(struct json_out *j, const char *key, int64_t ns);
/* "1.234ms": Go's Duration, cut to microseconds. */
void mon_put_duration(struct json_out *j, const char *key, int64_t ns);
/* A callback that the store owed has come: frees the job if nobody wants it any more. False: it is
 * freed. */
bool mon_job_called(struct mon_job *job);
/* The page goes on: its step may be called again. */
void mon_job_kick(struct mon_job *job);
/* The account of that name if JetStream is on in it, else NULL. */
struct brk_account *mon_js_account(struct monitor *m, const char *name);
/* A finding as an object of `damage` lists: {"type","account","stream","error"}. */
struct mon_damage_list {
    struct json_out *j;
    const char *account, *stream; /* NULL: of all */
    uint64_t count;
};
void mon_put_damage(struct monitor *m, struct mon_damage_list *list);

/* --- pages --- */
enum mon_step mon_root(struct mon_job *job);
enum mon_step mon_varz(struct mon_job *job);
enum mon_step mon_healthz(struct mon_job *job);
enum mon_step mon_connz(struct mon_job *job);
void mon_connz_fini(struct mon_job *job);
enum mon_step mon_jsz(struct mon_job *job);
void mon_jsz_fini(struct mon_job *job);
/* The members that /varz and /jsz both show. */
void mon_put_js_stats(struct mon_job *job, const struct brk_account *acc);
void mon_put_js_config(struct mon_job *job);
void mon_put_js_limits(struct mon_job *job);

#endif
