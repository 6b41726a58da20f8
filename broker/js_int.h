/* Private to broker/js_*.c: the objects JetStream keeps above the store.
 *
 *   js ── js_account ── js_stream ── js_consumer ── js_wait (pull requests)
 *               └─ js_req (API requests, in order)
 *
 * Objects are counted: a stream or consumer that is deleted leaves its list at once (`gone`), the
 * memory goes with the last callback that still names it. Loop thread only. */
#ifndef BROKER_JS_INT_H
#define BROKER_JS_INT_H

#include "broker/api_errors.h"
#include "engine/base/htab.h"
#include "broker/internal.h"
#include "broker/js.h"
#include "broker/js_config.h"
#include "broker/js_hdr_edit.h"
#include "broker/js_header.h"
#include "broker/js_level.h"
#include "broker/json_out.h"
#include "engine/base/limits.h"
#include "engine/store.h"

#define JS_REQUESTS_MAX 10000u /* API requests that wait, without an option; beyond: 10023 */
#define JS_REQUEST_BYTES_MAX                                                                       \
    ((size_t)64 * 1024 * 1024) /* of requests not answered yet; one is always taken */
#define JS_HELD_MSGS_MAX                                                                           \
    100000u /* publishes held while the journal window is full; beyond: 10167 */
#define JS_HELD_BYTES_MAX ((size_t)128 * 1024 * 1024)
/* From here on nothing more is read from a connection whose publish is held; half of it ends that.
 */
#define JS_HELD_REST_MSGS 8192u
#define JS_HELD_REST_BYTES ((size_t)8 * 1024 * 1024)
#define JS_DELIVER_BUDGET 256u /* messages one consumer delivers before others get their turn */
#define JS_CLIENT_PENDING_HIGH                                                                     \
    ((size_t)8 * 1024 * 1024) /* bytes in a client's buffer at which delivery to it rests */
#define JS_CHECK_BYTES                                                                             \
    ((size_t)256 * 1024) /* delivered bytes between two looks at the client's buffer */
#define JS_RETRY_MS 5u   /* rest of a consumer whose client is slow */
#define JS_FC_WINDOW_START ((uint64_t)2 * 1024 * 1024)
#define JS_FC_WINDOW_MAX ((uint64_t)32 * 1024 * 1024)
#define JS_FAST_STREAM_MAX 1000u /* fast-ingest batches open; beyond: 10211 */
#define JS_FAST_SERVER_MAX 50000u
#define JS_FAST_FLOW_DEFAULT 10u
#define JS_BATCH_BYTES_MAX ((size_t)64 * 1024 * 1024) /* kept of one; beyond: 10199 */
#define JS_BATCH_BYTES_ALL_MAX ((size_t)256 * 1024 * 1024)
#define JS_REPLY_INLINE                                                                            \
    72u /* bytes of a reply subject kept in a context; longer ones are allocated */
#define JS_NO_TAKER_MAX 320u /* bytes of an ack subject that a 503 answer still names */

struct js_consumer;
struct js_copier;
struct js_req;
struct js_route;
struct js_snapshot;
struct js_restore;

struct js_api_sub {
    struct js_account *ja;        /* borrowed */
    const struct js_route *route; /* static */
    struct brk_sub *sub;          /* owned */
};

struct js_account {
    struct js *js;           /* borrowed */
    struct brk_account *acc; /* borrowed */
    struct js_account *next;
    struct htab streams;    /* js_stream by name */
    struct js_api_sub *api; /* owned array */
    size_t api_count;
    struct brk_sub *ack_sub, *fc_sub;    /* owned */
    char hash[9];                        /* of the account's name, in v2 ack subjects */
    struct js_req *req_first, *req_last; /* waiting, in order */
    size_t requests;                     /* that many */
    size_t request_bytes;                /* of those that wait or run */
    uint32_t changing; /* requests under way that change something: later requests wait */
    uint32_t making;   /* consumers on their way to the disk: all but others like them wait */
    uint64_t api_total, api_errors, api_inflight;
    bool disabled; /* JetStream is not on in this account: requests are answered with 10039, nothing
                      else is served */
    bool going_off; /* disabled; its streams leave when no request is under way */
    bool stopped;
};

struct js_stream {
    struct htab_node by_name;
    struct js_account *ja;   /* borrowed */
    struct store_stream *ss; /* borrowed; NULL once deleted */
    uint32_t refs;
    bool gone;                     /* not in the account's table any more */
    char *offline;                 /* owned: why it is not served (js_offline.h); NULL: it is */
    bool purged;                   /* as a whole, since the start, by a request */
    bool counter;                  /* allow_msg_counter */
    bool schedules;                /* allow_msg_schedules */
    struct htab scheds;            /* js_sched.c: subjects with a schedule */
    struct brk_timer *sched_timer; /* owned; NULL until needed */
    int64_t sched_at_ms;
    char **sched_scan; /* owned: subjects still to be looked at */
    size_t sched_scan_n;
    bool no_ack, allow_rollup, allow_direct,
        sealed;            /* copies of the config, for the publish path */
    struct brk_sub **subs; /* owned: one per subject */
    size_t subs_count;
    struct brk_sub *direct[2];        /* owned: both forms of DIRECT.GET, or NULL */
    struct brk_sub *mirror_direct[2]; /* owned: the same in the name of what it mirrors */
    struct js_xform *transform;       /* owned: of what is published; NULL: none */
    struct js_xform *republish;       /* owned: of what was stored; NULL: none */
    bool republish_headers_only;
    struct js_copier **copiers; /* owned array; each is counted */
    size_t copiers_count;
    struct htab consumers;        /* js_consumer by name */
    struct htab fasts;            /* open fast-ingest batches (js_fast.c) */
    struct brk_timer *fast_timer; /* owned; NULL until needed */
    struct js_batch *batches;     /* owned: open atomic batches (js_batch.c) */
    uint32_t batch_count;
    struct brk_timer *batch_timer; /* owned; NULL until needed */
    char *ack_head;                /* owned: {"stream":"NAME","seq": */
    size_t ack_head_len;
    size_t name_len;
    char name[];
};

/* A pull request that waits for messages. */
struct js_wait {
    struct js_wait *next;
    int64_t n;                  /* messages still wanted */
    int64_t max_bytes;          /* 0: no limit; else bytes left */
    int64_t less_n, less_bytes; /* below 0: so much less was asked for, and is told at the end */
    bool no_wait;
    bool delivered;       /* got at least one message */
    int64_t expires_ms;   /* loop time; 0: never */
    int64_t heartbeat_ms; /* period; 0: none */
    int64_t beat_ms;      /* next one */
    uint64_t checked;     /* js->runs when inbox and client were last looked at */
    char *group, *id;     /* owned; "" = none. id: of the pinned client, as it says or as we said */
    int64_t min_pending, min_ack_pending; /* overflow */
    int64_t priority;                     /* prioritized: 0 first */
    size_t reply_len;
    char reply[];
};

struct js_consumer {
    struct htab_node by_name;
    struct js_stream *stream; /* counted */
    struct store_cons *sc;    /* borrowed; NULL once deleted */
    uint32_t refs;
    bool gone;
    bool push, headers_only;
    bool in_run_list;
    bool held; /* an update waits to be durable: its answer shows what was before it delivers */
    struct js_consumer *run_next;
    /* pull */
    struct brk_sub *next_sub; /* owned: CONSUMER.MSG.NEXT */
    struct js_wait *wait_first, *wait_last;
    uint32_t waiting;
    uint64_t waiting_msgs; /* that they ask for */
    int64_t max_waiting, max_batch, max_bytes;
    int64_t max_expires_ns;
    uint64_t swept_removes; /* the account's unsubscriptions when a full queue was swept, + 1 */
    int64_t due_ms; /* when the timer fires; 0: not running. Never later than the first thing due */
    /* push */
    char *deliver_text, *group_text; /* owned */
    struct brk_str deliver, group;
    struct brk_watch *watch; /* owned */
    bool active;
    int64_t heartbeat_ms, last_sent_ms;
    bool flow_control;
    uint64_t fc_window, fc_bytes,
        fc_sent_bytes; /* window; bytes out; of those, before the open request */
    char fc_reply[64 + 3 * (LIM_NAME_BYTES_MAX + 1)]; /* the open request; "" = none */
    uint32_t fc_next;
    uint64_t fc_asked_cseq; /* ack policy flow_control: what was out when a full one last asked */
    /* pace (js_pace.c) */
    bool replaying;          /* replay original, until it has caught up */
    int64_t replay_ts_ns;    /* of the message sent last; 0: none */
    int64_t replay_at_ns;    /* boot clock: when that was */
    double rate_bytes;       /* bytes a second; 0: no limit */
    double tokens;           /* bytes that may go now */
    double burst;            /* most tokens */
    int64_t tokens_at_ns;    /* boot clock */
    struct brk_timer *pace;  /* owned; NULL until needed */
    struct brk_timer *pause; /* owned; NULL unless paused */
    int64_t pause_until_ns;  /* 0: not paused */
    /* priority groups (js_priority.c) */
    enum cons_priority priority;
    char pin[23];                /* the pinned client; "" = none */
    int64_t pinned_ns;           /* real time; 0: none */
    int64_t pin_ms;              /* how long a silent client stays pinned */
    char *pin_group;             /* owned; of the pinned request, or NULL */
    struct brk_timer *pin_timer; /* owned; NULL until needed */
    /* both */
    enum cons_ack_policy ack;
    uint32_t sample;         /* percent of acks that make a metric */
    struct brk_timer *timer; /* owned: expiries and heartbeats */
    struct brk_timer *idle;  /* owned: inactive_threshold */
    int64_t idle_ms;         /* 0: never removed */
    int64_t last_use_ms;
    char *ack_head; /* owned: $JS.ACK.<stream>.<consumer>. */
    size_t ack_head_len;
    size_t name_len;
    char name[];
};

/* What a publish or an ack needs when its record is durable. Pooled. */
struct js_ctx {
    bool used;
    struct js_ctx *next;
    struct js_account *ja;       /* borrowed */
    struct js_stream *stream;    /* counted, or NULL */
    uint32_t kind;               /* of the user */
    size_t reply_len, extra_len; /* behind the reply: of the user */
    char *reply;                 /* small, or owned */
    char small[JS_REPLY_INLINE];
};

/* Contexts are made in slabs, so that the end finds those whose callback never comes. */
#define JS_CTX_SLAB 32u
struct js_ctx_slab {
    struct js_ctx_slab *next; /* owned */
    struct js_ctx ctx[JS_CTX_SLAB];
};

/* A publish that waits because the journal window is full. */
struct js_held {
    struct js_held *next;
    struct js_stream *stream; /* counted */
    uint32_t subject_len, reply_len, hdr_len, data_len;
    uint8_t bytes[]; /* subject, reply, header block, payload */
};

struct js {
    struct js_deps d;
    const struct store_ops *ops;
    struct store *store;
    struct js_limits lim;
    uint32_t requests_max;
    size_t pending_high; /* JS_CLIENT_PENDING_HIGH, less where max_pending is small */
    size_t check_bytes;  /* JS_CHECK_BYTES, likewise */
    struct js_account *accounts, *api_turn;   /* api_turn: whose request is next */
    uint32_t requests;                        /* waiting, of all accounts */
    size_t request_bytes;                     /* of requests that wait or run */
    uint64_t dropped;                         /* requests refused since the last advisory */
    struct brk_slice *api_slice, *run_slice;  /* owned */
    struct js_consumer *run_first, *run_last; /* consumers with something to deliver; counted */
    uint64_t runs;                 /* looks at inboxes and clients; what was seen holds for one */
    struct brk_timer *store_timer; /* owned */
    struct js_ctx *free_ctx;
    struct js_ctx_slab *slabs;     /* owned */
    struct js_req *active;         /* requests under way; owned */
    struct js_snapshot *snapshots; /* owned */
    struct js_restore *restores;   /* owned */
    uint32_t snapshots_count, restores_count;
    uint32_t going_off; /* accounts whose JetStream is being switched off */
    struct js_held *held_first, *held_last;
    size_t held_msgs, held_bytes;
    uint32_t batch_count; /* open atomic batches */
    char *counter_buf;    /* owned: the payload of the counter that is being published */
    size_t counter_cap;
    struct brk_str counter_val;   /* its sum, in counter_buf */
    struct js_fast *fasts;        /* all fast-ingest batches; owned */
    uint32_t fast_count;          /* open ones */
    struct api_error *error_sink; /* NULL, or where an error of a publish goes instead */
    size_t batch_bytes;           /* kept for them */
    struct brk_server *resting;   /* its publishers are held; NULL: none are */
    struct js_hdr_edit edit;      /* headers of the message that is being published */
    struct js_system *system;     /* owned; NULL: no system account */
    struct js_zones *zones;       /* owned; time zones of schedules */
    struct js_copier *copiers;    /* all; owned */
    uint64_t turns;               /* of the store */
    struct js_direct *directs;    /* DIRECT.GETs of several messages; owned */
    uint32_t directs_count;
    char *subject, *resend_to; /* owned: JS_XFORM_SUBJECT_MAX bytes each, once they are used */
    struct js_hdr_edit resend; /* headers of what is republished */
    bool started;
};

/* --- API requests (js_api.c) --- */

typedef void (*js_handler_fn)(struct js_req *r);

struct js_route {
    const char *pattern; /* behind $JS.API. */
    const char *type;    /* io.nats.jetstream.api.v1.<type> */
    js_handler_fn fn;
    bool changes;         /* later requests of the account wait for it, see js_req_applied */
    const char *on_error; /* members behind "error", ready JSON, or NULL */
};

/* Which requests of the account may not start before this one is answered. */
enum js_hold { JS_HOLD_NONE, JS_HOLD_ALL, JS_HOLD_BUT_CONSUMERS };

struct js_req {
    struct js_req *next, *prev;
    struct js_account *ja;
    struct js *js;
    const struct js_route *route;
    struct json_out out;
    struct api_error err;
    size_t size;                         /* counted in js->request_bytes */
    bool level_too_high;                 /* asks for an API level we do not have */
    enum js_hold hold;                   /* while it runs */
    uint32_t pending;                    /* barriers still open */
    uint32_t learnt;                     /* times that js_req_learn_first made it wait */
    void (*again)(struct js_req *);      /* what then runs */
    struct js_stream *stream;            /* counted; set by js_req_stream */
    struct js_consumer *consumer;        /* counted */
    uint64_t number;                     /* handler's */
    char *audit;                         /* owned: who asks, as JSON; NULL: nobody wants to know */
    void *extra;                         /* handler's; freed by it */
    struct brk_str subject, reply, body; /* in bytes; each ends in a NUL */
    struct brk_str token[3];             /* tokens behind the route's literal part */
    size_t tokens;
    char bytes[];
};

void js_api_enable(struct js_account *ja);
void js_api_disable(struct js_account *ja);
bool js_api_slice(void *arg);

/* --- js_system.c --- */
void js_system_start(struct js *js, struct brk_account *acc);
void js_system_stop(struct js *js);
void js_system_fini(struct js *js);

/* Frees requests that are still under way. */
void js_api_fini(struct js *js);
/* Begins the answer: {"type":"...". The handler writes members and ends with js_req_answer. */
struct json_out *js_req_begin(struct js_req *r);
/* Sends the answer (closing the object) and frees the request. */
void js_req_answer(struct js_req *r);
/* Sends it when the stream's state is durable. */
void js_req_answer_durable(struct js_req *r, struct js_stream *s);
/* One of several barriers; js_req_answer_all ends the list. */
void js_req_barrier(struct js_req *r, struct js_stream *s);
void js_req_answer_all(struct js_req *r);
/* Called before an answer with the states of v is begun. True: the time of some first message has
 * to be read from the disk; again(r), the handler, runs when it is known. */
bool js_req_learn_first(struct js_req *r, struct store_stream *const *v, size_t n,
                        void (*again)(struct js_req *));
/* Said right before the one call of the store that makes the whole change in memory: later requests
 * start, see it, and are on disk behind it; so changes that come together share a group commit. */
void js_req_applied(struct js_req *r);
/* Said before a consumer is made that concerns no other one (no limit, no overlap to look at):
 * requests to create others may start, the rest waits until it stands. */
void js_req_making(struct js_req *r);
/* Sends r->err. */
void js_req_fail(struct js_req *r);
/* Sends it when the stream's state, which it rests on, is durable. */
void js_req_fail_durable(struct js_req *r, struct js_stream *s);
void js_req_fail_with(struct js_req *r, enum api_err id);
void js_req_fail_st(struct js_req *r, enum api_err id, enum st st, const struct err *err);
/* Finds token[0] as a stream; answers 10059 and returns NULL when there is none. The request holds
 * a count.
 */
struct js_stream *js_req_stream(struct js_req *r);
/* The same where being offline does not matter; js_req_stream answers 10194 then. */
struct js_stream *js_req_stream_any(struct js_req *r);
struct js_consumer *js_req_consumer(struct js_req *r);
/* True for a body that asks for nothing: none at all, or an object without members. */
bool js_req_empty(const struct js_req *r);
/* Whether the body looks like an object or an array; where it does not, some requests pass it over.
 */
bool js_req_is_json(const struct js_req *r);
/* Decodes the body (empty: nothing). False: answered with 10025. */
bool js_req_decode(struct js_req *r, const struct json_schema *s, void *base);

/* Of a change to the account's streams that no request makes: requests wait until it has ended.
 * False: a request that changes something is under way; ask again. */
bool js_change_begin(struct js_account *ja);
void js_change_end(struct js_account *ja);

/* --- handlers --- */
void js_h_info(struct js_req *r);
void js_h_stream_create(struct js_req *r);
void js_h_stream_update(struct js_req *r);
void js_h_stream_info(struct js_req *r);
void js_h_stream_list(struct js_req *r);
void js_h_stream_names(struct js_req *r);
void js_h_stream_delete(struct js_req *r);
void js_h_stream_purge(struct js_req *r);
void js_h_msg_get(struct js_req *r);
void js_h_msg_delete(struct js_req *r);
void js_h_consumer_create(struct js_req *r);
void js_h_consumer_durable_create(struct js_req *r);
void js_h_consumer_info(struct js_req *r);
void js_h_consumer_list(struct js_req *r);
void js_h_consumer_names(struct js_req *r);
void js_h_consumer_delete(struct js_req *r);

/* --- streams (js_stream.c) --- */
struct js_stream *js_stream_find(struct js_account *ja, struct brk_str name);
/* Takes over a store stream: subscriptions, consumers. */
struct js_stream *js_stream_attach(struct js_account *ja, struct store_stream *ss);
/* The config changed. */
void js_stream_reload(struct js_stream *s);
/* Takes it out of the tables, with its consumers (their waiting requests are told). The store's
 * handle stays.
 */
void js_stream_detach(struct js_stream *s);
/* Puts away the streams of accounts that were switched off and have no request under way. */
void js_accounts_settle(struct js *js);
/* Says that it and its consumers are deleted. */
void js_stream_advise_deleted(struct js_stream *s);
/* Drops subscriptions only (at the server's stop). */
void js_stream_silence(struct js_stream *s);
void js_stream_ref(struct js_stream *s);
void js_stream_unref(struct js_stream *s);
/* max_bytes of all streams of an account (NULL: of all) but `self`. */
int64_t js_reserved(struct js *js, const char *account, enum store_storage storage,
                    const struct store_stream *self);

/* A mirror has caught up: it may answer DIRECT.GET for its origin. */
void js_stream_mirror_synced(struct js_stream *s);

/* --- transform and republish (js_republish.c) --- */
/* The config is new or changed. */
void js_subjects_reload(struct js_stream *s);
void js_subjects_stop(struct js_stream *s);
/* The subject a message is stored under: the given one, or bytes of js->subject, valid until the
 * next call. */
struct brk_str js_subject_of(struct js_stream *s, struct brk_str subject);

/* --- mirrors and sources (js_copier.c) --- */
/* The config is new or changed: starts, keeps and stops copiers. */
void js_copiers_reload(struct js_stream *s);
void js_copiers_stop(struct js_stream *s);
/* The members `mirror` and `sources` of a stream's info; nothing for other streams. */
void js_copiers_put(struct js *js, struct json_out *j, struct store_stream *ss);
/* A stream of the account came or went: who copies from it looks again. */
void js_copiers_kick(struct js_account *ja, const char *origin);
void js_copiers_retry(struct js *js); /* the journal has room again, perhaps */
void js_copiers_fini(struct js *js);

/* --- publish (js_publish.c) --- */
void js_publish_cb(void *arg, const struct brk_msg *msg);
/* Error answers and verdicts of a publish; nothing without a reply or with no_ack. */
void js_pub_error(struct js_stream *s, struct brk_str reply, const struct api_error *e);
void js_pub_verdict(struct js_stream *s, struct brk_str reply, const struct store_append_result *r);
/* What is wrong with a message, but only said when no earlier check fails (enum append_refuse). */
struct js_late {
    enum api_err id;
    uint8_t stage; /* REFUSE_NOT: nothing is wrong */
    bool batch;    /* of an atomic batch: nothing is refused at once, and the order is another */
    struct brk_str value;
};
void js_pub_late_note(struct js_late *l, enum append_refuse stage, enum api_err id);
void js_pub_late_error(struct api_error *e, enum api_err id, struct brk_str value);
/* What the headers ask for; a->hdr may then lie in js->edit. False: refused, and answered. With
 * `late` NULL all that is wrong is refused at once. */
bool js_pub_read_headers(struct js_stream *s, const struct js_headers *h, struct store_append *a,
                         struct brk_str reply, struct js_late *late);
/* A message of an atomic batch (js_batch.c). False: the journal window is full, try again. */
bool js_batch_publish(struct js_stream *s, const struct brk_msg *m, const struct js_headers *h);
void js_batch_drop_all(struct js_stream *s);
/* Counters (js_counter.c). check: what the message says (API_OK: fine). apply: makes the payload in
 * js->counter_buf; `earlier` is the subject's last message of the same batch, or NULL;
 * sourced: its headers say what sources have brought. */
enum js_counter { JS_COUNTER_OK, JS_COUNTER_REFUSED, JS_COUNTER_AGAIN };
/* The number in {"val":"..."}, to be freed. NULL: there is none. */
char *js_counter_value(const uint8_t *data, size_t len);
/* Writes what a header Nats-Counter-Sources says, as it goes on to the next message; nothing where
 * it says nothing. False: it cannot be read, and the counter is broken. */
bool js_counter_sources_kept(struct brk_str text, struct json_out *out);
enum api_err js_counter_check(const struct js_headers *h, const struct store_append *a);
enum js_counter js_counter_apply(struct js_stream *s, const struct js_headers *h,
                                 const struct msg *earlier, bool sourced, struct store_append *a,
                                 struct brk_str reply);
/* Schedules (js_sched.c). read: what a publish asks for; may change its headers (js->edit). note: a
 * schedule was stored, or perhaps. start: looks for those that are there. */
enum api_err js_sched_read(struct js_stream *s, const struct js_headers *h, struct store_append *a);
void js_sched_note(struct js_stream *s, const struct store_append *a);
void js_sched_start(struct js_stream *s);
void js_sched_drop_all(struct js_stream *s);
/* A message whose reply ends in .$FI (js_fast.c). */
bool js_fast_is(struct brk_str reply);
bool js_fast_publish(struct js_stream *s, const struct brk_msg *m);
void js_fast_drop_all(struct js_stream *s);
void js_fast_fini(struct js *js);
struct store_append js_pub_append_of(const struct brk_msg *m);
void js_publish_retry(struct js *js);
void js_publish_fini(struct js *js);
struct js_ctx *js_ctx_take(struct js *js, struct js_account *ja, struct js_stream *s,
                           struct brk_str reply);
/* With `extra` behind the reply. */
struct js_ctx *js_ctx_take2(struct js *js, struct js_account *ja, struct js_stream *s,
                            struct brk_str reply, struct brk_str extra);
void js_ctx_free(struct js *js, struct js_ctx *c);
void js_pool_fini(struct js *js);

/* --- consumers that others copy by (js_sourcing.c) --- */
/* Turns a request into what fits the stream's retention. False: answered, or will be. */
bool js_sourcing_adapt(struct js_req *r, struct js_stream *s, struct js_cons_req *q);
/* Consumer info as the answer to a create request (js_api_consumer.c). */
void js_answer_consumer(struct js_req *r, struct js_consumer *c);

/* --- consumers (js_consumer.c) --- */
struct js_consumer *js_consumer_find(struct js_stream *s, struct brk_str name);
struct js_consumer *js_consumer_attach(struct js_stream *s, struct store_cons *sc);
void js_consumer_reload(struct js_consumer *c);
/* Takes it out; waiting requests get `status` ("409 Consumer Deleted"), NULL: nothing. */
void js_consumer_detach(struct js_consumer *c, const char *status);
void js_consumer_silence(struct js_consumer *c);
void js_consumer_ref(struct js_consumer *c);
void js_consumer_unref(struct js_consumer *c);
void js_consumer_used(struct js_consumer *c);
/* There may be something to deliver. */
void js_consumer_run(struct js_consumer *c);
void js_consumer_queue_run(struct js_consumer *c);
bool js_run_slice(void *arg);
bool js_consumer_bound(const struct js_consumer *c);
/* Sends the peeked message to `to`, with the reply subject that js_consumer_reply made. */
void js_consumer_send(struct js_consumer *c, struct brk_str to, const struct cons_peek *p,
                      struct brk_str reply);
/* Size of the message as max_bytes of a pull request counts it. */
size_t js_consumer_msg_size(const struct js_consumer *c, const struct cons_peek *p,
                            size_t reply_len);
void js_consumer_reply(const struct js_consumer *c, const struct cons_peek *p, char *out,
                       size_t *len_out);
#define JS_PIN_LEN 22u
#define JS_ACK_SUBJECT_MAX (3 * (LIM_NAME_BYTES_MAX + 1) + 8 + 9 + 5 * 21)

/* --- pull (js_pull.c) --- */
void js_pull_request_cb(void *arg, const struct brk_msg *msg);
void js_pull_request(struct js_consumer *c, struct brk_str reply, const void *body, size_t len);
/* Delivers up to `budget`; true: there is more to do. */
bool js_pull_run(struct js_consumer *c, unsigned budget);
void js_pull_tick(struct js_consumer *c);
void js_pull_drop_all(struct js_consumer *c, const char *status);
/* Requests whose inbox is still there. */
uint32_t js_pull_waiting(struct js_consumer *c);

void js_pull_status_pending(struct js_consumer *c, const struct js_wait *w, const char *status);
/* A paused consumer: who does not wait is told that there is nothing. */
void js_pull_while_paused(struct js_consumer *c);
void js_wait_free(struct js_wait *w);
struct js_wait *js_wait_pop(struct js_consumer *c); /* the first, taken out */
void js_wait_push(struct js_consumer *c, struct js_wait *w);
void js_wait_to_front(struct js_consumer *c, struct js_wait *w);
/* True when the request may be served now; false: it was dropped, or passed to the end (its client
 * is slow: *slow). w is the first of the queue. */
bool js_pull_usable(struct js_consumer *c, struct js_wait *w, bool *slow);

/* --- priority groups (js_priority.c) --- */
struct js_pull_ask {
    const char *group, *id; /* "" = none */
    int64_t min_pending, min_ack_pending, priority;
};
/* What a request may ask of this consumer; NULL: fine, else the status that refuses it. */
const char *js_priority_refuses(const struct js_consumer *c, const struct js_pull_ask *ask);
/* Brings the request that is to get the next message to the front. False: nobody may have it. */
bool js_priority_pick(struct js_consumer *c, const struct cons_peek *p, bool *slow);
/* The client that says it is pinned asked again. */
void js_priority_heard(struct js_consumer *c, const char *id);
void js_priority_unpin(struct js_consumer *c, const char *group, const char *reason);
void js_priority_reload(struct js_consumer *c, const struct cons_cfg *k);
void js_priority_stop(struct js_consumer *c);
bool js_priority_has_group(const struct js_consumer *c, const char *group);
void js_priority_put(struct js_consumer *c, struct json_out *j);

/* --- pace: replay original, rate limit (js_pace.c) --- */
void js_pace_reload(struct js_consumer *c, const struct cons_cfg *k);
void js_pace_stop(struct js_consumer *c);
/* False: the message has to wait; the consumer runs again when it may go. */
bool js_pace_ready(struct js_consumer *c, const struct cons_peek *p, size_t size);
void js_pace_sent(struct js_consumer *c, const struct cons_peek *p, size_t size);
/* Nothing is left: a replay is over. */
static inline void js_pace_caught_up(struct js_consumer *c)
{
    c->replaying = false;
}

/* --- pause (js_pause.c) --- */
void js_pause_reload(struct js_consumer *c, const struct cons_cfg *k);
void js_pause_stop(struct js_consumer *c);
static inline bool js_paused(const struct js_consumer *c)
{
    return c->pause != NULL;
}
/* Nanoseconds until it goes on; 0: not paused. */
int64_t js_pause_left_ns(struct js *js, int64_t until_ns);
void js_h_consumer_pause(struct js_req *r);
void js_h_consumer_unpin(struct js_req *r);
void js_h_consumer_reset(struct js_req *r);
/* Writes a time as Go does; 0 is its zero time. */
void js_put_go_time(struct json_out *j, const char *key, int64_t ns);
/* Members of consumer info behind `type`. */
void js_put_consumer_members(struct js *js, struct json_out *j, struct store_cons *sc);

/* --- push (js_push.c) --- */
void js_push_start(struct js_consumer *c);
void js_push_stop(struct js_consumer *c);
bool js_push_run(struct js_consumer *c, unsigned budget);
void js_push_tick(struct js_consumer *c);
void js_push_fc_cb(void *arg, const struct brk_msg *msg); /* arg: js_account */

/* --- the domain (js_domain.c) --- */
/* $JS.<domain>.API.X is $JS.API.X, as a publish's subject. A brk_map_fn; arg: js. */
struct brk_str js_domain_map(void *arg, struct brk_str subject, char *room);
/* Writes the member "domain", when there is one. */
void js_domain_put(const struct js *js, struct json_out *j);

/* --- acks (js_ack.c) --- */
/* "<domain>.<account hash>." of v2 subjects, or "" where v1 is handed out. */
void js_v2_part(const struct js_account *ja, char *out, size_t size);
/* The two tokens of a v2 subject behind $JS.ACK or $JS.FC name our domain and this account. */
bool js_v2_is_ours(const struct js_account *ja, struct brk_str domain, struct brk_str hash);
void js_ack_cb(void *arg, const struct brk_msg *msg);
/* Nobody takes this ack, or answer to a flow control request. */
void js_no_taker(struct js_account *ja, const struct brk_msg *msg); /* arg: js_account */

/* --- messages by request (js_get.c) --- */
void js_direct_fini(struct js *js);
void js_direct_cb(void *arg, const struct brk_msg *msg); /* arg: js_stream */

/* --- snapshots (js_snapshot.c), restores (js_restore.c) --- */
void js_h_stream_snapshot(struct js_req *r);
void js_h_stream_restore(struct js_req *r);
void js_snapshots_stop(struct js *js); /* before the store is closed */
void js_snapshots_fini(struct js *js);
void js_restores_stop(struct js *js);
void js_restores_fini(struct js *js);
/* A stream of the account has a subject that overlaps. */
bool js_subjects_taken(struct js_account *ja, const struct stream_cfg *c);
/* Subjects are free and max_bytes fits; else r->err says why not. */
bool js_stream_may_be_made(struct js_req *r, const struct stream_cfg *c);
/* Members of stream info behind `type`, as an answer to create has them. */
void js_put_stream_info(struct js *js, struct json_out *j, struct store_stream *ss);
/* The member `state` as a snapshot's answer has it. */
void js_put_snap_state(struct json_out *j, const struct stream_state *st);
/* client: who asked, as JSON; may be NULL. */
void js_adv_snapshot_create(struct js_account *ja, const char *stream, const char *client,
                            const struct stream_state *st);
void js_adv_snapshot_complete(struct js_account *ja, const char *stream, const char *client,
                              int64_t begun_ns);
void js_adv_restore_create(struct js_account *ja, const char *stream, const char *client);
void js_adv_restore_complete(struct js_account *ja, const char *stream, const char *client,
                             int64_t begun_ns, uint64_t bytes);

/* --- audit (js_audit.c) --- */
/* Notes who asks, when somebody listens to the audit. */
void js_audit_begin(struct js_req *r, const struct brk_conn *from);
/* Tells of the request; its answer is complete. */
void js_audit_send(struct js_req *r);

/* --- advisories (js_advisory.c) --- */
void js_adv_stream(struct js_stream *s, const char *verb, const char *action);
void js_adv_batch(struct js_stream *s, const char *id, size_t id_len, const char *reason);
void js_adv_consumer(struct js_consumer *c, const char *verb, const char *action);
void js_adv_max_deliver(struct js_consumer *c, uint64_t stream_seq, uint64_t deliveries);
void js_adv_nak(struct js_consumer *c, uint64_t cseq, uint64_t sseq, uint64_t deliveries);
void js_adv_terminated(struct js_consumer *c, uint64_t cseq, uint64_t sseq, uint64_t deliveries,
                       const char *reason, size_t reason_len);
void js_adv_pause(struct js_consumer *c, bool paused, int64_t until_ns);
/* pin NULL: unpinned, for `reason`. */
void js_adv_pinned(struct js_consumer *c, const char *group, const char *pin, const char *reason);
void js_metric_ack(struct js_consumer *c, uint64_t cseq, uint64_t sseq, uint64_t deliveries,
                   int64_t ack_time_ns);
void js_adv_api_limit(struct js *js, struct js_account *ja);
/* 22 characters that nobody else uses. */
void js_unique_id(struct js *js, char out[23]);

/* --- small things (js.c) --- */
/* Publishes to a subject; nothing happens when it is empty. */
void js_send(struct js_account *ja, struct brk_str to, const void *hdr, size_t hdr_len,
             const void *data, size_t len);
void js_send_status(struct js_account *ja, struct brk_str to, const char *status,
                    const char *headers);
int64_t js_now_ms(struct js *js);
uint64_t js_name_hash(const char *p, size_t n);
static inline struct brk_str js_str(const char *s)
{
    return (struct brk_str){s, strlen(s)};
}
static inline bool js_str_eq(struct brk_str a, const char *p, size_t n)
{
    return a.n == n && memcmp(a.p, p, n) == 0;
}
/* Milliseconds, rounded up; 0 for what is not positive. */
static inline int64_t js_ms_up(int64_t ns)
{
    return ns > 0 ? (ns - 1) / NS_PER_MS + 1 : 0;
}
/* Writes v in decimal; returns the end. */
char *js_put_u64(char *p, uint64_t v);

#endif
