/* What the files of the remote store share. Private. */
#ifndef TOOLS_REMOTE_INT_H
#define TOOLS_REMOTE_INT_H

#include <json-c/json.h>
#include <nats/nats.h>
#include <pthread.h>

#include "engine/base/base.h"
#include "engine/base/list.h"
#include "engine/base/mutex.h"
#include "engine/base/vec.h"
#include "tools/remote.h"

#define REMOTE_TIMEOUT_NS (10 * NS_PER_S) /* of a request */
#define REMOTE_BATCH 64u                  /* messages a consumer asks for at first */
#define REMOTE_BATCH_MAX 4000u

struct remote;

/* What came: a message and for whom. Messages of a consumer carry their own subjects, so each has a
 * subscription of its own. */
struct remote_in {
    uint64_t id; /* of a consumer; 0: the answer to a request, by its subject */
    natsMsg *m;
};
/* What a consumer's subscription hands to libnats; lives until the store closes, since libnats may
 * still call. */
struct remote_door {
    struct remote *r;
    uint64_t id;
    natsSubscription *sub; /* owned */
};

/* A request under way. fn is called once: with the answer, or with NULL and err. */
typedef void (*remote_fn)(void *arg, natsMsg *answer, const struct err *err);
struct remote_req {
    struct list_node node; /* in remote->requests, oldest first */
    uint64_t id;
    int64_t deadline_ns; /* boot; 0: it could not be sent */
    natsStatus sent;
    remote_fn fn;
    void *arg;
};

struct remote {
    struct store base; /* first */
    struct env *env;   /* borrowed */
    natsConnection *nc;
    natsSubscription *sub; /* inbox.> */
    char inbox[64];
    size_t inbox_len;
    struct base_mutex mutex;
    pthread_cond_t came;
    bool closing;                    /* guarded by: mutex */
    VEC(struct remote_in) queue;     /* guarded by: mutex */
    VEC(struct remote_in) taken;     /* being dispatched */
    VEC(struct remote_door *) doors; /* owned */
    struct list requests;            /* struct remote_req.node */
    struct list conses;              /* struct store_cons.node */
    uint64_t next_id;
    VEC(struct store_stream *) streams; /* owned: every handle given, until close */
    VEC(struct store_stream *) listed;  /* by name: what stream_next walks */
    struct err last; /* why the operation whose callback runs failed; else ST_OK */
};

static inline struct remote *remote_of(struct store *s)
{
    return CONTAINER_OF(s, struct remote, base);
}

struct store_stream {
    struct remote *r;
    struct stream_cfg cfg;
    json_object *raw; /* owned: the config as the server gave it */
    struct stream_state state;
};

struct store_cons {
    struct list_node node; /* in remote->conses */
    struct store_stream *s;
    uint64_t id;              /* its inbox is <inbox>.c.<id> */
    struct remote_door *door; /* borrowed */
    char *name;               /* owned */
    uint64_t pending_at_start;
    struct cons_events ev;
    bool attached, hungry, caught_up, no_wait;
    enum st failed;
    unsigned asked, outstanding; /* messages it was for, and may still bring */
    uint64_t msgs_seen, bytes_seen;
    int64_t deadline_ns; /* when it counts as lost */
    VEC(natsMsg *) held; /* owned */
    size_t held_at;
    char *hdr; /* owned: of the message peeked */
};

/* Sends a request to subject; hdr (a block, may be empty) and data are copied. */
void remote_request(struct remote *r, const char *subject, const uint8_t *hdr, size_t hdr_len,
                    const void *data, size_t len, remote_fn fn, void *arg);
/* The same to $JS.API.<what><name>. json may be NULL; it is released. */
void remote_api(struct remote *r, const char *what, const char *name, json_object *json,
                remote_fn fn, void *arg);
/* Subscribes for the consumer `id`; NULL where the connection cannot. The door is the store's. */
struct remote_door *remote_door_open(struct remote *r, uint64_t id);
void remote_door_shut(struct remote_door *d); /* nothing comes any more; NULL is a no-op */
/* Publishes without waiting for anything. */
enum st remote_publish(struct remote *r, const char *subject, const char *reply, const char *json);
/* An answer of the API as JSON (to be put), or NULL with err filled: also for its "error". */
json_object *remote_answer(natsMsg *answer, struct err *err);
/* Sends and waits: what remote_answer gives. For stream_find and stream_next. */
json_object *remote_ask(struct remote *r, const char *what, const char *name, json_object *json,
                        struct err *err);
/* Fills err from an API error; returns its code. */
enum st remote_api_err(json_object *error, struct err *err);

/* remote_json.c */
json_object *remote_cfg_json(const struct stream_cfg *c);
/* raw with what differs between from and to. */
json_object *remote_cfg_changed(json_object *raw, const struct stream_cfg *from,
                                const struct stream_cfg *to);
void remote_cfg_read(json_object *config, struct stream_cfg *out);
void remote_state_read(json_object *info, struct stream_state *out);
int64_t remote_time(const char *rfc3339);                /* unix ns; 0 = none */
const char *remote_str(json_object *o, const char *key); /* "" where it is none */
int64_t remote_i64(json_object *o, const char *key, int64_t none);
bool remote_bool(json_object *o, const char *key);
/* The JSON's base64 (may be missing), base_malloc'ed. */
uint8_t *remote_base64(json_object *o, const char *key, size_t *len_out);

/* remote_msg.c */
enum st remote_append(struct store_stream *s, const struct store_append *a, store_append_fn fn,
                      void *arg);
void remote_get(struct store_stream *s, const struct store_get *g, store_get_fn fn, void *arg);
void remote_purge(struct store_stream *s, const struct store_purge *p, store_done_fn fn, void *arg);

/* remote_cons.c */
void remote_cons_create(struct store_stream *s, const struct cons_cfg *cfg, store_cons_fn fn,
                        void *arg);
void remote_cons_delete(struct store_cons *c, store_done_fn fn, void *arg);
void remote_cons_state(struct store_cons *c, struct cons_state *out);
void remote_cons_attach(struct store_cons *c, const struct cons_events *ev);
enum st remote_cons_peek(struct store_cons *c, struct cons_peek *out);
void remote_cons_take(struct store_cons *c);
/* A message or status for it. Takes m. */
void remote_cons_deliver(struct store_cons *c, natsMsg *m);
/* Asks anew where a pull request was lost. Returns its next deadline. */
int64_t remote_cons_timer(struct store_cons *c, int64_t now_ns);
void remote_cons_free(struct store_cons *c);

#endif
