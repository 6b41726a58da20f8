/* Defaults and rules of consumers' configurations. The order of the checks is upstream's where two
 * could fail at once. Streams': js_config.c. */
#include "broker/js_config.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/js_config_rules.h"
#include "engine/base/godur.h"

static bool policy(struct api_error *e, const char *text)
{
    api_error_set2(e, API_CONSUMER_INVALID_POLICY, text, NULL);
    return false;
}

static bool check_start(const struct cons_cfg *c, struct api_error *e)
{
    static const char *const names[] = {
        "all", "last", "new", "by start sequence", "by start time", "last per subject"};
    char text[128];
    bool seq = c->opt_start_seq != 0;
    bool time = c->opt_start_time_ns != 0;
    const char *wrong = NULL;
    switch (c->deliver) {
    case DELIVER_BY_START_SEQ:
        if (!seq) {
            return policy(e, "consumer delivery policy is deliver by start sequence, but optional "
                             "start sequence is "
                             "not set");
        }
        wrong = time ? "start time is also set" : NULL;
        break;
    case DELIVER_BY_START_TIME:
        if (!time) {
            return policy(e, "consumer delivery policy is deliver by start time, but optional "
                             "start time is not set");
        }
        wrong = seq ? "start start sequence is also set" : NULL;
        break;
    case DELIVER_LAST_PER_SUBJECT:
        wrong = seq ? "start sequence is also set" : time ? "start time is also set" : NULL;
        if (wrong == NULL && c->nfilters == 0) {
            return policy(e, "consumer delivery policy is deliver last per subject, but optional "
                             "filter subject is "
                             "not set");
        }
        break;
    case DELIVER_ALL:
    case DELIVER_LAST:
    case DELIVER_NEW:
    default:
        wrong = seq ? "start sequence is also set" : time ? "start time is also set" : NULL;
        break;
    }
    if (wrong == NULL) {
        return true;
    }
    (void)snprintf(text, sizeof text, "consumer delivery policy is deliver %s, but optional %s",
                   names[c->deliver], wrong);
    return policy(e, text);
}

static bool within(const char *a, const char *b)
{
    return subject_subset(a, strlen(a), b, strlen(b));
}

static bool check_filters(const struct cons_cfg *c, struct api_error *e)
{
    if (c->single_filter && c->nfilters > 1) {
        return fail(e, API_CONSUMER_DUPLICATE_FILTER_SUBJECTS);
    }
    for (size_t i = 0; i < c->nfilters; i++) {
        if (c->filters[i][0] == '\0') {
            return fail(e, API_CONSUMER_EMPTY_FILTER);
        }
        if (!subject_valid(c->filters[i], strlen(c->filters[i]))) {
            return fail_cfg(e, "invalid subject");
        }
    }
    for (size_t i = 0; i < c->nfilters; i++) {
        for (size_t k = i + 1; k < c->nfilters; k++) {
            /* as upstream: only where one holds the other */
            if (within(c->filters[i], c->filters[k]) || within(c->filters[k], c->filters[i])) {
                return fail(e, API_CONSUMER_OVERLAPPING_SUBJECT_FILTERS);
            }
        }
    }
    return true;
}

/* As strconv.Atoi: an optional sign and digits. */
static bool check_sampling(const struct cons_cfg *c, struct api_error *e)
{
    const char *s = c->sample_freq;
    if (s == NULL) {
        return true;
    }
    size_t n = strlen(s), sign = s[0] == '+' || s[0] == '-' ? 1 : 0;
    size_t end = n > 0 && s[n - 1] == '%' ? n - 1 : n;
    if (end <= sign || end - sign > 9 || strspn(s + sign, "0123456789") < end - sign) {
        api_error_setf(e, API_CONSUMER_INVALID_SAMPLING,
                       "strconv.Atoi: parsing \"%.*s\": invalid syntax", (int)(end > 64 ? 64 : end),
                       s);
        return false;
    }
    if (strtol(s, NULL, 10) < 0) {
        api_error_setf(e, API_CONSUMER_INVALID_SAMPLING, "%s", "<nil>");
        return false;
    }
    return true;
}

static bool group_name_ok(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++) {
        bool word = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
                    (s[i] >= '0' && s[i] <= '9');
        if (!word && strchr("-_/=)+", s[i]) == NULL) {
            return false;
        }
    }
    return n <= JS_GROUP_NAME_MAX;
}

static bool check_priority(struct cons_cfg *c, struct api_error *e)
{
    if (c->priority == PRIORITY_NONE) {
        if (c->npriority_groups > 0) {
            return fail(e, API_CONSUMER_PRIORITY_GROUP_WITH_POLICY_NONE);
        }
        if (c->priority_timeout_ns > 0) {
            return fail(e, API_CONSUMER_PINNED_TTL_WITHOUT_PRIORITY_POLICY_NONE);
        }
        return true;
    }
    if (c->deliver_subject != NULL) {
        return fail(e, API_CONSUMER_PUSH_WITH_PRIORITY_GROUP);
    }
    if (c->npriority_groups == 0) {
        return fail(e, API_CONSUMER_PRIORITY_POLICY_WITHOUT_GROUP);
    }
    for (size_t i = 0; i < c->npriority_groups; i++) {
        if (c->priority_groups[i][0] == '\0') {
            return fail(e, API_CONSUMER_EMPTY_GROUP_NAME);
        }
        if (!group_name_ok(c->priority_groups[i])) {
            return fail(e, API_CONSUMER_INVALID_GROUP_NAME);
        }
    }
    if (c->priority == PRIORITY_PINNED && c->priority_timeout_ns <= 0) {
        c->priority_timeout_ns = JS_PINNED_TIMEOUT_NS;
    }
    return true;
}

/* Acknowledged by flow control: what another stream reads by. Some of it is filled in, whatever the
 * request says. */
static bool check_flow_ack(struct cons_cfg *c, bool pedantic, const struct js_cons_limits *cl,
                           struct api_error *e)
{
    if (c->ack != ACK_FLOW_CONTROL) {
        return true;
    }
    if (c->deliver_subject == NULL) {
        return fail(e, API_CONSUMER_ACK_FC_REQUIRES_PUSH);
    }
    if (pedantic && !c->flow_control) {
        return fail(e, API_CONSUMER_ACK_FC_REQUIRES_FC);
    }
    if (c->max_ack_pending < 0 || (c->max_ack_pending == 0 && cl->max_ack_pending < 0)) {
        return fail(e, API_CONSUMER_ACK_FC_REQUIRES_MAX_ACK_PENDING);
    }
    if (c->ack_wait_ns != 0 || c->nbackoff > 0) {
        return fail(e, API_CONSUMER_ACK_FC_REQUIRES_NO_ACK_WAIT);
    }
    if (c->max_deliver > 0) {
        return fail(e, API_CONSUMER_ACK_FC_REQUIRES_NO_MAX_DELIVER);
    }
    if (pedantic && c->heartbeat_ns != JS_FC_HEARTBEAT_NS) {
        return fail_cfg(e, "flow control ack policy heartbeat needs to be 1s");
    }
    c->flow_control = true;
    c->heartbeat_ns = JS_FC_HEARTBEAT_NS;
    return true;
}

static int64_t default_ack_pending(const struct js_limits *server, const struct js_cons_limits *lim)
{
    if (lim->max_ack_pending != 0) {
        return lim->max_ack_pending;
    }
    bool low = server->max_ack_pending > 0 && server->max_ack_pending < LIM_ACK_PENDING_DEFAULT;
    return low ? server->max_ack_pending : LIM_ACK_PENDING_DEFAULT;
}

static void cons_defaults(struct cons_cfg *c, const struct js_limits *server,
                          const struct js_cons_limits *lim)
{
    if (c->nbackoff > 0) {
        c->ack_wait_ns = c->backoff_ns[0];
    }
    if (c->ack != ACK_NONE && c->ack != ACK_FLOW_CONTROL && c->ack_wait_ns == 0) {
        c->ack_wait_ns = LIM_ACK_WAIT_NS_DEFAULT;
    }
    if (c->max_deliver <= 0) {
        c->max_deliver = -1;
    }
    if (c->max_ack_pending < -1) {
        c->max_ack_pending = -1;
    }
    if (c->max_ack_pending == 0 && (c->ack != ACK_NONE || lim->max_ack_pending != 0)) {
        c->max_ack_pending = default_ack_pending(server, lim);
    }
    if (c->deliver_subject == NULL && c->max_waiting <= 0) {
        c->max_waiting = LIM_PULL_WAITING_DEFAULT;
    }
    c->max_waiting = i64_max(c->max_waiting, 0);
    c->priority_timeout_ns = i64_max(c->priority_timeout_ns, 0);
    c->max_batch = i64_max(c->max_batch, 0);
    if (c->max_batch == 0 && c->deliver_subject == NULL && server->max_request_batch > 0) {
        c->max_batch = server->max_request_batch;
    }
    c->max_bytes = i64_max(c->max_bytes, 0);
    c->max_expires_ns = i64_max(c->max_expires_ns, 0);
    c->inactive_threshold_ns = i64_max(c->inactive_threshold_ns, 0);
    if (c->inactive_threshold_ns == 0 && lim->inactive_threshold_ns > 0) {
        c->inactive_threshold_ns = lim->inactive_threshold_ns;
    }
    if (c->inactive_threshold_ns == 0 && !c->durable) {
        c->inactive_threshold_ns = JS_INACTIVE_DEFAULT_NS;
    }
}

static bool check_push(const struct cons_cfg *c, const struct stream_cfg *stream,
                       const struct js_cons_limits *cl, struct api_error *e)
{
    const char *to = c->deliver_subject;
    size_t len = strlen(to);
    if (!subject_valid(to, len)) {
        return fail(e, API_CONSUMER_INVALID_DELIVER_SUBJECT);
    }
    if (subject_has_wildcard(to, len)) {
        return fail(e, API_CONSUMER_DELIVER_TO_WILDCARDS);
    }
    for (size_t i = 0; i < stream->nsubjects; i++) {
        if (overlap(to, stream->subjects[i])) {
            return fail(e, API_CONSUMER_DELIVER_CYCLE);
        }
    }
    if (c->max_waiting > 0) {
        return fail(e, API_CONSUMER_PUSH_MAX_WAITING);
    }
    /* the stream's default counts as if it stood in the request */
    int64_t pending = c->max_ack_pending != 0 ? c->max_ack_pending : cl->max_ack_pending;
    if (c->ack == ACK_NONE && pending > 0) {
        return fail(e, API_CONSUMER_MAX_PENDING_ACK_POLICY_REQUIRED);
    }
    if (c->heartbeat_ns != 0 && c->heartbeat_ns < JS_HEARTBEAT_MIN_NS) {
        return fail(e, API_CONSUMER_SMALL_HEARTBEAT);
    }
    return true;
}

static bool check_pull(const struct cons_cfg *c, const struct stream_cfg *stream,
                       struct api_error *e)
{
    if (stream->retention == RETENTION_WORKQUEUE && c->ack == ACK_NONE) {
        return fail(e, API_CONSUMER_PULL_REQUIRES_ACK);
    }
    if (c->rate_limit_bps != 0) {
        return fail(e, API_CONSUMER_PULL_WITH_RATE_LIMIT);
    }
    if (c->heartbeat_ns != 0) {
        return fail(e, API_CONSUMER_HB_REQUIRES_PUSH);
    }
    if (c->flow_control) {
        return fail(e, API_CONSUMER_FC_REQUIRES_PUSH);
    }
    if (c->max_expires_ns > 0 && c->max_expires_ns < NS_PER_MS) {
        return fail(e, API_CONSUMER_MAX_REQUEST_EXPIRES_TOO_SMALL);
    }
    return true;
}

static bool check_beats(const struct cons_cfg *c, struct api_error *e)
{
    return !c->flow_control || c->heartbeat_ns != 0 ||
           fail(e, API_CONSUMER_WITH_FLOW_CONTROL_NEEDS_HEARTBEATS);
}

static bool check_direct(const struct cons_cfg *c, struct api_error *e)
{
    if (c->direct && c->deliver_subject == NULL) {
        return fail(e, API_CONSUMER_DIRECT_REQUIRES_PUSH);
    }
    return !c->direct || !c->durable || fail(e, API_CONSUMER_DIRECT_REQUIRES_EPHEMERAL);
}

static bool check_limits(const struct cons_cfg *c, const struct js_limits *lim,
                         const struct js_cons_limits *cl, struct api_error *e)
{
    int64_t most = lim->max_ack_pending;
    if (cl->max_ack_pending > 0 && (most == 0 || cl->max_ack_pending < most)) {
        most = cl->max_ack_pending;
    }
    bool counts = c->ack != ACK_NONE || cl->max_ack_pending > 0;
    if (most > 0 && counts && c->max_ack_pending > most) {
        api_error_setf(e, API_CONSUMER_MAX_PENDING_ACK_EXCESS, "%lld", (long long)most);
        return false;
    }
    if (cl->inactive_threshold_ns > 0 && c->inactive_threshold_ns > cl->inactive_threshold_ns) {
        char text[GODUR_MAX];
        (void)godur_put(text, cl->inactive_threshold_ns);
        api_error_set2(e, API_CONSUMER_INACTIVE_THRESHOLD_EXCESS, text, NULL);
        return false;
    }
    if (lim->max_request_batch > 0 && c->max_batch > lim->max_request_batch) {
        api_error_setf(e, API_CONSUMER_MAX_REQUEST_BATCH_EXCEEDED, "%lld",
                       (long long)lim->max_request_batch);
        return false;
    }
    return true;
}

bool js_cons_check_new(const struct cons_cfg *c, const struct stream_cfg *stream,
                       struct api_error *e)
{
    if (stream->retention != RETENTION_WORKQUEUE || c->sourcing) {
        return true;
    }
    if (c->ack != ACK_EXPLICIT && c->ack != ACK_FLOW_CONTROL) {
        return fail(e, API_CONSUMER_WQ_REQUIRES_EXPLICIT_ACK);
    }
    if (c->deliver != DELIVER_ALL) {
        return fail(e, API_CONSUMER_WQ_CONSUMER_NOT_DELIVER_ALL);
    }
    return true;
}

static bool check_cons_values(const struct cons_cfg *c, struct api_error *e)
{
    if (c->replicas == UINT32_MAX) {
        return fail(e, API_REPLICAS_COUNT_CANNOT_BE_NEGATIVE);
    }
    for (size_t i = 0; i < c->nbackoff; i++) {
        if (c->backoff_ns[i] < 0) {
            return fail(e, API_CONSUMER_BACK_OFF_NEGATIVE);
        }
    }
    if (c->nbackoff == 0 && c->ack_wait_ns < 0) {
        return fail(e, API_CONSUMER_ACK_WAIT_NEGATIVE);
    }
    if (c->nbackoff > 0 && c->max_deliver > 0 && (uint64_t)c->max_deliver < c->nbackoff) {
        return fail(e, API_CONSUMER_MAX_DELIVER_BACKOFF);
    }
    return true;
}

static bool check_description(const struct cons_cfg *c, struct api_error *e)
{
    if (c->description != NULL && strlen(c->description) > LIM_DESCRIPTION_BYTES_MAX) {
        api_error_setf(e, API_CONSUMER_DESCRIPTION_TOO_LONG, "%u", LIM_DESCRIPTION_BYTES_MAX);
        return false;
    }
    return true;
}

static bool check_metadata(const struct cons_cfg *c, struct api_error *e)
{
    if (metadata_bytes(c->metadata, c->nmetadata) > LIM_METADATA_BYTES_MAX) {
        api_error_set2(e, API_CONSUMER_METADATA_LENGTH, "128KB", NULL);
        return false;
    }
    return true;
}

/* What the defaults would put right without a word, pedantic refuses. */
static bool check_pedantic(const struct cons_cfg *c, int64_t heartbeat_ns,
                           const struct js_cons_limits *cl, struct api_error *e)
{
    const char *wrong = NULL;
    bool waits = c->ack != ACK_NONE && c->ack != ACK_FLOW_CONTROL;
    int64_t ack_wait_ns = c->ack_wait_ns == 0 && waits ? LIM_ACK_WAIT_NS_DEFAULT : c->ack_wait_ns;
    if (c->max_deliver < -1) {
        wrong = "max_deliver must be set to -1";
    } else if (c->max_waiting < 0) {
        wrong = "max_waiting must not be negative";
    } else if (c->max_ack_pending < -1) {
        wrong = "max_ack_pending must be set to -1";
    } else if (c->max_batch < 0) {
        wrong = "max_batch must not be negative";
    } else if (c->max_expires_ns < 0) {
        wrong = "max_expires must not be negative";
    } else if (c->max_bytes < 0) {
        wrong = "max_bytes must not be negative";
    } else if (heartbeat_ns < 0) {
        wrong = "idle_heartbeat must not be negative";
    } else if (c->inactive_threshold_ns < 0) {
        wrong = "inactive_threshold must not be negative";
    } else if (c->priority_timeout_ns < 0) {
        wrong = "priority_timeout must not be negative";
    } else if (c->nbackoff > 0 && ack_wait_ns != c->backoff_ns[0]) {
        wrong = "first backoff value has to equal batch AckWait";
    } else if (c->max_ack_pending == 0 && cl->max_ack_pending > 0) {
        wrong = "max_ack_pending must be set if it's configured in stream limits";
    } else if (c->inactive_threshold_ns == 0 && cl->inactive_threshold_ns > 0) {
        wrong = "inactive_threshold must be set if it's configured in stream limits";
    }
    if (wrong != NULL) {
        api_error_set2(e, API_PEDANTIC, wrong, NULL);
    }
    return wrong == NULL;
}

bool js_cons_req_check(struct js_cons_req *r, const struct stream_cfg *stream,
                       const struct js_limits *lim, struct api_error *e)
{
    struct cons_cfg *c = &r->cfg;
    struct js_cons_limits cl;
    js_stream_limits(stream, &cl);
    int64_t heartbeat_ns = c->heartbeat_ns;
    c->heartbeat_ns = i64_max(heartbeat_ns, 0);
    if (c->replicas > 1 && c->replicas != UINT32_MAX) {
        return fail(e, API_STREAM_REPLICAS_NOT_SUPPORTED);
    }
    if ((r->pedantic && !check_pedantic(c, heartbeat_ns, &cl, e)) || !check_cons_values(c, e) ||
        !check_flow_ack(c, r->pedantic, &cl, e) || !check_description(c, e)) {
        return false;
    }
    bool kind_ok =
        c->deliver_subject != NULL ? check_push(c, stream, &cl, e) : check_pull(c, stream, e);
    if (!kind_ok || !check_limits(c, lim, &cl, e) || !check_direct(c, e) || !check_filters(c, e) ||
        !check_start(c, e) || !check_sampling(c, e) || !check_beats(c, e) ||
        !check_metadata(c, e) || !check_priority(c, e)) {
        return false;
    }
    cons_defaults(c, lim, &cl);
    if (!check_limits(c, lim, &cl, e)) {
        return false;
    }
    return true;
}

static bool no_update(struct api_error *e, const char *what)
{
    api_error_set2(e, API_CONSUMER_CREATE, what, NULL);
    return false;
}

bool js_cons_update_check(const struct cons_cfg *old, const struct cons_cfg *next,
                          struct api_error *e)
{
    if (old->deliver != next->deliver) {
        return no_update(e, "deliver policy can not be updated");
    }
    if (old->opt_start_seq != next->opt_start_seq) {
        return no_update(e, "start sequence can not be updated");
    }
    if (old->opt_start_time_ns != next->opt_start_time_ns) {
        return no_update(e, "start time can not be updated");
    }
    if (old->mem_storage != next->mem_storage) {
        return no_update(e, "storage type can not be updated");
    }
    if (old->ack != next->ack) {
        return no_update(e, "ack policy can not be updated");
    }
    if (old->replay != next->replay) {
        return no_update(e, "replay policy can not be updated");
    }
    if (old->heartbeat_ns != next->heartbeat_ns) {
        return no_update(e, "heart beats can not be updated");
    }
    if (old->flow_control != next->flow_control) {
        return no_update(e, "flow control can not be updated");
    }
    if (old->deliver_subject == NULL && next->deliver_subject != NULL) {
        return no_update(e, "can not update pull consumer to push based");
    }
    if (old->deliver_subject != NULL && next->deliver_subject == NULL) {
        return no_update(e, "can not update push consumer to pull based");
    }
    if (old->max_waiting != next->max_waiting) {
        return no_update(e, "max waiting can not be updated");
    }
    return true;
}

bool js_cons_cfg_equal(const struct cons_cfg *a, const struct cons_cfg *b)
{
    bool policies = a->durable == b->durable && a->deliver == b->deliver && a->ack == b->ack &&
                    a->replay == b->replay && a->opt_start_seq == b->opt_start_seq &&
                    a->opt_start_time_ns == b->opt_start_time_ns;
    bool limits = a->ack_wait_ns == b->ack_wait_ns && a->max_deliver == b->max_deliver &&
                  a->max_ack_pending == b->max_ack_pending && a->max_waiting == b->max_waiting &&
                  a->max_batch == b->max_batch && a->max_bytes == b->max_bytes &&
                  a->max_expires_ns == b->max_expires_ns && a->heartbeat_ns == b->heartbeat_ns &&
                  a->inactive_threshold_ns == b->inactive_threshold_ns &&
                  a->rate_limit_bps == b->rate_limit_bps && a->replicas == b->replicas;
    bool priority = a->priority == b->priority &&
                    a->priority_timeout_ns == b->priority_timeout_ns &&
                    strs_equal(a->priority_groups, a->npriority_groups, b->priority_groups,
                               b->npriority_groups) &&
                    a->pause_until_ns == b->pause_until_ns && a->sourcing == b->sourcing;
    bool flags = a->flow_control == b->flow_control && a->headers_only == b->headers_only &&
                 a->mem_storage == b->mem_storage && a->direct == b->direct;
    bool backoff = a->nbackoff == b->nbackoff &&
                   (a->nbackoff == 0 ||
                    memcmp(a->backoff_ns, b->backoff_ns, a->nbackoff * sizeof *a->backoff_ns) == 0);
    return policies && limits && priority && flags && backoff && str_equal(a->name, b->name) &&
           str_equal(a->description, b->description) &&
           str_equal(a->deliver_subject, b->deliver_subject) &&
           str_equal(a->deliver_group, b->deliver_group) &&
           str_equal(a->sample_freq, b->sample_freq) &&
           (a->single_filter == b->single_filter || a->nfilters == 0) &&
           strs_equal(a->filters, a->nfilters, b->filters, b->nfilters) &&
           kv_equal(a->metadata, a->nmetadata, b->metadata, b->nmetadata);
}
