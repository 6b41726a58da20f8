/* Stream and consumer configurations: from a request's JSON to the store's structs and back,
 * defaults, and the rules of create and update, with upstream's error codes and words.
 *
 * What the store does not know (consumer_limits, mirror, sources, placement,
 * republish, subject_transform) stands as JSON in cfg.opaque.
 * Pure functions; any thread. */
#ifndef BROKER_JS_CONFIG_H
#define BROKER_JS_CONFIG_H

#include "broker/api_errors.h"
#include "broker/json_in.h"
#include "broker/js_extra.h"
#include "broker/js_origin.h"
#include "broker/json_out.h"
#include "engine/base/limits.h"
#include "engine/store.h"

#define JS_INACTIVE_DEFAULT_NS (5 * NS_PER_S)
#define JS_GROUP_NAME_MAX 16u /* bytes of a priority group's name */
#define JS_PINNED_TIMEOUT_NS (120 * NS_PER_S)
#define JS_FC_HEARTBEAT_NS (1 * NS_PER_S)
#define JS_HEARTBEAT_MIN_NS (100 * NS_PER_MS)

/* What the server's options say (0: no limit). */
struct js_limits {
    bool strict;
    int64_t max_ack_pending;
    int64_t max_request_batch;
    int64_t duplicate_window_ns;
};

/* consumer_limits of a stream: bounds and defaults of its consumers. 0: none. */
struct js_cons_limits {
    int64_t inactive_threshold_ns;
    int64_t max_ack_pending;
};

/* A STREAM.CREATE or STREAM.UPDATE request. */
struct js_stream_req {
    struct stream_cfg cfg; /* owned */
    struct js_cons_limits limits;
    struct js_origins origins; /* owned; the same stands in cfg.opaque */
    struct js_extra extra;     /* the same */
    bool pedantic;
    /* set by the caller before the check */
    bool create; /* of a stream that may not be there yet */
    bool (*others)(void *arg, struct js_stream_req *r, struct api_error *e); /* what other streams
                                         say about copying from them; NULL: they are not asked */
    void *others_arg;
};
void js_stream_req_init(struct js_stream_req *r);
void js_stream_req_fini(struct js_stream_req *r);
/* Reads the JSON; does not judge. False: *e says why (10025, or 10052 for what is not served). */
bool js_stream_req_parse(struct js_stream_req *r, const void *p, size_t len,
                         const struct js_limits *lim, struct api_error *e);
/* Puts what the store keeps for us unread into cfg.opaque; after every change of it. */
void js_stream_req_seal(struct js_stream_req *r);
/* Fills in defaults and checks everything that needs only the config itself. */
bool js_stream_req_check(struct js_stream_req *r, const struct js_limits *lim, struct api_error *e);
/* Checks the update of `old` to r (already checked); may fill in what sealing implies. */
bool js_stream_update_check(struct js_stream_req *r, const struct stream_cfg *old,
                            struct api_error *e);
bool js_stream_cfg_equal(const struct stream_cfg *a, const struct stream_cfg *b);
/* Writes the config as an object value. server: its metadata also says what we are (js_level.h). */
void js_stream_cfg_put(struct json_out *j, const struct stream_cfg *c, bool server);
/* The consumer_limits kept in c->opaque. */
void js_stream_limits(const struct stream_cfg *c, struct js_cons_limits *out);

enum js_cons_action { JS_ACTION_CREATE_OR_UPDATE, JS_ACTION_CREATE, JS_ACTION_UPDATE };

/* A CONSUMER.CREATE request. */
struct js_cons_req {
    char *stream_name;   /* owned; NULL: not given */
    char *durable;       /* owned; NULL: not given */
    struct cons_cfg cfg; /* owned */
    enum js_cons_action action;
    bool pedantic;
};
void js_cons_req_init(struct js_cons_req *r);
void js_cons_req_fini(struct js_cons_req *r);
bool js_cons_req_parse(struct js_cons_req *r, const void *p, size_t len,
                       const struct js_limits *lim, struct api_error *e);
/* Fills in defaults and checks against the stream's config. The name is set (or made up) by the
 * caller. */
bool js_cons_req_check(struct js_cons_req *r, const struct stream_cfg *stream,
                       const struct js_limits *lim, struct api_error *e);
/* What only a new consumer is checked for: the rules of a work queue. */
bool js_cons_check_new(const struct cons_cfg *c, const struct stream_cfg *stream,
                       struct api_error *e);
bool js_cons_update_check(const struct cons_cfg *old, const struct cons_cfg *next,
                          struct api_error *e);
bool js_cons_cfg_equal(const struct cons_cfg *a, const struct cons_cfg *b);
void js_cons_cfg_put(struct json_out *j, const struct cons_cfg *c, bool server);
/* The server made up the name: the config does not show it (kept in c->opaque). */
void js_cons_mark_made_up(struct cons_cfg *c);
bool js_cons_name_made_up(const struct cons_cfg *c);

/* True for a name without white space, '.', '*', '>', '/', '\' and control characters. */
bool js_name_valid(const char *s);

#endif
