/* Priority groups of a pull consumer: who of those that wait is served.
 *
 *   overflow     a request may say "only when at least so many messages are pending, or so many
 *                unacknowledged"
 *   prioritized  the lowest number first
 *   pinned       one client gets everything: the first that is served is given an id
 *                (`Nats-Pin-Id`), names it in its next requests, and stays pinned until it is
 *                silent for priority_timeout, also when its inbox has gone, or it is unpinned
 *
 * Who is pinned is not kept over a restart, as upstream's: clients that name an id nobody knows are
 * told (423) and ask again without one. Loop thread only. */
#include "broker/js_int.h"

#include "engine/base/base.h"
#include "engine/base/env.h"

#define JS_PIN_DEFAULT_NS (120 * NS_PER_S)

static const struct cons_cfg *cfg_of(const struct js_consumer *c)
{
    return c->stream->ja->js->ops->cons_cfg(c->sc);
}

bool js_priority_has_group(const struct js_consumer *c, const char *group)
{
    const struct cons_cfg *k = cfg_of(c);
    for (size_t i = 0; i < k->npriority_groups; i++) {
        if (strcmp(k->priority_groups[i], group) == 0) {
            return true;
        }
    }
    return false;
}

const char *js_priority_refuses(const struct js_consumer *c, const struct js_pull_ask *ask)
{
    if (ask->id[0] != '\0' && c->priority != PRIORITY_PINNED) {
        return "400 Bad Request - Not a Pinned Client Priority consumer";
    }
    if (ask->priority < 0 || ask->priority > 9) {
        return "400 Bad Request - Priority must be between 0 and 9";
    }
    if ((ask->min_pending != 0 || ask->min_ack_pending != 0) && c->priority != PRIORITY_OVERFLOW) {
        return "400 Bad Request - Not a Overflow Priority consumer";
    }
    if (c->priority == PRIORITY_NONE) {
        return NULL;
    }
    if (ask->group[0] == '\0') {
        return "400 Bad Request - Priority Group missing";
    }
    if (!js_priority_has_group(c, ask->group)) {
        return "400 Bad Request - Invalid Priority Group";
    }
    if (ask->id[0] != '\0' && c->pin[0] != '\0' && strcmp(ask->id, c->pin) != 0) {
        return "423 Nats-Pin-Id mismatch";
    }
    return NULL;
}

/* --- the pinned client ------------------------------------------------------------------------ */

void js_priority_unpin(struct js_consumer *c, const char *group, const char *reason)
{
    c->pin[0] = '\0';
    c->pinned_ns = 0;
    base_free(c->pin_group);
    c->pin_group = NULL;
    if (c->pin_timer != NULL) {
        brk_timer_stop(c->pin_timer);
    }
    js_adv_pinned(c, group, NULL, reason);
    js_consumer_queue_run(c);
}

static void silent(struct js_consumer *c)
{
    char *group = c->pin_group;
    c->pin_group = NULL;
    js_priority_unpin(c, group != NULL ? group : "", "timeout");
    base_free(group);
}

static void silent_due(void *arg)
{
    struct js_consumer *c = arg;
    if (!c->gone && c->pin[0] != '\0') {
        silent(c);
    }
}

void js_priority_heard(struct js_consumer *c, const char *id)
{
    if (c->pin[0] != '\0' && strcmp(id, c->pin) == 0 && c->pin_timer != NULL) {
        brk_timer_start(c->pin_timer, (uint64_t)c->pin_ms, 0);
    }
}

static void pin(struct js_consumer *c, struct js_wait *w)
{
    struct js *js = c->stream->ja->js;
    js_unique_id(js, c->pin);
    c->pinned_ns = env_real_ns(js->d.env);
    base_free(c->pin_group);
    c->pin_group = base_strdup(w->group);
    base_free(w->id);
    w->id = base_strdup(c->pin);
    if (c->pin_timer == NULL) {
        c->pin_timer = brk_timer_create(js->d.loop, silent_due, c);
    }
    brk_timer_start(c->pin_timer, (uint64_t)c->pin_ms, 0);
    js_adv_pinned(c, w->group, c->pin, NULL);
}

void js_priority_reload(struct js_consumer *c, const struct cons_cfg *k)
{
    c->priority = k->priority;
    c->pin_ms = js_ms_up(k->priority_timeout_ns > 0 ? k->priority_timeout_ns : JS_PIN_DEFAULT_NS);
    if (c->priority != PRIORITY_PINNED) {
        js_priority_stop(c);
    }
}

void js_priority_stop(struct js_consumer *c)
{
    brk_timer_destroy(c->pin_timer);
    base_free(c->pin_group);
    c->pin_timer = NULL;
    c->pin_group = NULL;
    c->pin[0] = '\0';
    c->pinned_ns = 0;
}

void js_priority_put(struct js_consumer *c, struct json_out *j)
{
    const struct cons_cfg *k = cfg_of(c);
    if (k->npriority_groups == 0) {
        return;
    }
    json_out_array(j, "priority_groups"); /* upstream shows the first, whatever else there is */
    json_out_begin(j);
    json_out_str(j, "group", k->priority_groups[0]);
    if (c->pin[0] != '\0') {
        json_out_str(j, "pinned_client_id", c->pin);
    }
    js_put_go_time(j, "pinned_ts", c->pinned_ns);
    json_out_end(j);
    json_out_array_end(j);
}

/* --- picking ---------------------------------------------------------------------------------- */

enum verdict { MAY_HAVE, NOT_NOW, WRONG_PIN };

/* there: messages that are pending, the one to be given among them. */
static bool enough(const struct js_consumer *c, const struct js_wait *w, uint64_t there)
{
    if (w->min_pending <= 0 && w->min_ack_pending <= 0) {
        return true;
    }
    struct cons_state st;
    c->stream->ja->js->ops->cons_state(c->sc, &st);
    return (w->min_pending > 0 && there >= (uint64_t)w->min_pending) ||
           (w->min_ack_pending > 0 && st.num_ack_pending >= (uint64_t)w->min_ack_pending);
}

static enum verdict judge(const struct js_consumer *c, const struct js_wait *w, uint64_t there)
{
    if (c->priority == PRIORITY_OVERFLOW) {
        return enough(c, w, there) ? MAY_HAVE : NOT_NOW;
    }
    if (c->priority != PRIORITY_PINNED) {
        return MAY_HAVE;
    }
    if (w->id[0] == '\0') {
        return c->pin[0] == '\0' ? MAY_HAVE : NOT_NOW;
    }
    return strcmp(w->id, c->pin) == 0 ? MAY_HAVE : WRONG_PIN;
}

/* The queue turns round once and ends as it began, but for those that left; so the order among
 * equals stays. */
bool js_priority_pick(struct js_consumer *c, const struct cons_peek *p, bool *slow)
{
    struct js_wait *best = NULL, *w;
    uint32_t n = c->waiting;
    bool pinned_found = false;
    for (; n > 0 && c->wait_first != NULL; n--) {
        w = c->wait_first;
        if (!js_pull_usable(c, w, slow)) {
            continue; /* dropped, or at the end already */
        }
        enum verdict v = judge(c, w, p->num_pending + 1);
        (void)js_wait_pop(c);
        if (v == WRONG_PIN) {
            js_pull_status_pending(c, w, "423 Nats-Wrong-Pin-Id");
            js_wait_free(w);
            continue;
        }
        js_wait_push(c, w);
        if (v == MAY_HAVE && !pinned_found &&
            (best == NULL ||
             (c->priority == PRIORITY_PRIORITIZED && w->priority < best->priority))) {
            best = w;
            if (c->priority == PRIORITY_PINNED && c->pin[0] == '\0') {
                pin(c, w); /* from here on the others are judged by it */
            }
            pinned_found = c->priority == PRIORITY_PINNED;
        }
    }
    if (best == NULL) {
        return false;
    }
    js_wait_to_front(c, best);
    return true;
}
