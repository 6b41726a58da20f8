#include "broker/js.h"

#include <openssl/sha.h>
#include <stdio.h>

#include "broker/js_int.h"
#include "broker/js_zone.h"
#include "engine/base/base.h"
#include "engine/base/env.h"
#include "engine/base/log.h"
#include "engine/base/subject.h"

/* --- small things ----------------------------------------------------------------------------- */

char *js_put_u64(char *p, uint64_t v)
{
    static const char pairs[] = "000102030405060708091011121314151617181920212223242526272829303132"
                                "33343536373839404142434445"
                                "464748495051525354555657585960616263646566676869707172737475767778"
                                "79808182838485868788899091"
                                "9293949596979899";
    char t[20];
    size_t at = sizeof t;
    while (v >= 100) {
        at -= 2;
        memcpy(t + at, pairs + 2 * (v % 100), 2);
        v /= 100;
    }
    if (v >= 10) {
        at -= 2;
        memcpy(t + at, pairs + 2 * v, 2);
    } else {
        t[--at] = (char)('0' + v);
    }
    memcpy(p, t + at, sizeof t - at);
    return p + (sizeof t - at);
}

uint64_t js_name_hash(const char *p, size_t n)
{
    return hash64(0x6a73, p, n);
}

int64_t js_now_ms(struct js *js)
{
    return brk_loop_now_ms(js->d.loop);
}

void js_send(struct js_account *ja, struct brk_str to, const void *hdr, size_t hdr_len,
             const void *data, size_t len)
{
    if (to.n == 0 || ja->stopped) {
        return;
    }
    struct brk_msg m = {
        .subject = to, .hdr = hdr, .hdr_len = hdr_len, .payload = data, .payload_len = len};
    (void)brk_publish(ja->acc, &m);
}

void js_send_status(struct js_account *ja, struct brk_str to, const char *status,
                    const char *headers)
{
    char buf[512 + 2 * LIM_NAME_BYTES_MAX];
    int n =
        snprintf(buf, sizeof buf, "NATS/1.0 %s\r\n%s\r\n", status, headers != NULL ? headers : "");
    if (n <= 0 || (size_t)n >= sizeof buf) {
        return;
    }
    js_send(ja, to, buf, (size_t)n, NULL, 0);
}

void js_unique_id(struct js *js, char out[23])
{
    static const char abc[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t r[22];
    env_random(js->d.env, r, sizeof r);
    for (size_t i = 0; i < sizeof r; i++) {
        out[i] = abc[r[i] % 62];
    }
    out[22] = '\0';
}

/* --- driving the store ------------------------------------------------------------------------ */

static void arm_store_timer(struct js *js)
{
    int64_t due = js->ops->timers(js->store);
    if (due == INT64_MAX) {
        brk_timer_stop(js->store_timer);
        return;
    }
    int64_t left = due - env_boot_ns(js->d.env);
    uint64_t ms = left <= 0 ? 1 : (uint64_t)((left + NS_PER_MS - 1) / NS_PER_MS);
    brk_timer_start(js->store_timer, ms, 0);
}

static void store_turn(void *arg)
{
    struct js *js = arg;
    js->ops->turn(js->store);
    js->turns++;
    arm_store_timer(js);
}

static void store_poll(void *arg)
{
    struct js *js = arg;
    js->ops->poll(js->store);
    js_publish_retry(js);
    js_copiers_retry(js);
}

static void store_due(void *arg)
{
    /* the turn hook runs the timers and arms the next */
    (void)arg;
}

/* --- life ------------------------------------------------------------------------------------- */

struct js *js_create(const struct js_deps *deps)
{
    struct js *js = base_calloc(1, sizeof *js);
    js->d = *deps;
    js->store = deps->store;
    js->ops = deps->store->ops;
    js->lim = (struct js_limits){.strict = deps->opts->strict,
                                 .max_ack_pending = deps->opts->limit_max_ack_pending,
                                 .max_request_batch = deps->opts->limit_max_request_batch,
                                 .duplicate_window_ns = deps->opts->limit_duplicate_window_ns};
    int64_t most = deps->opts->request_queue_limit;
    js->requests_max = most > 0 && most < UINT32_MAX ? (uint32_t)most : JS_REQUESTS_MAX;
    /* Half of what cuts a client off, and room for what is sent between two looks. */
    uint64_t pending = deps->max_pending > 0 ? (uint64_t)deps->max_pending : UINT64_MAX;
    js->pending_high = (size_t)u64_min(JS_CLIENT_PENDING_HIGH, pending / 2);
    js->check_bytes = (size_t)u64_min(JS_CHECK_BYTES, pending / 8);
    js->api_slice = brk_slice_create(deps->loop, js_api_slice, js);
    js->run_slice = brk_slice_create(deps->loop, js_run_slice, js);
    js->store_timer = brk_timer_create(deps->loop, store_due, js);
    return js;
}

/* Upstream's API hears all of $JS.API.> and is silent on what it does not know; only direct gets
 * and pull requests are subscriptions of their own. */
static bool api_silent(struct brk_str subject)
{
    static const char *const own[] = {"DIRECT.GET", "CONSUMER.MSG.NEXT."};
    static const char api[] = "$JS.API.";
    size_t n = sizeof api - 1;
    if (subject.n <= n || memcmp(subject.p, api, n) != 0 || !subject_valid(subject.p, subject.n)) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        size_t len = strlen(own[i]);
        if (subject.n >= n + len && memcmp(subject.p + n, own[i], len) == 0) {
            return false;
        }
    }
    return true;
}

static struct js_account *add_account(struct js *js, struct brk_account *acc)
{
    ASSERT(acc->js == NULL);
    struct js_account *ja = base_calloc(1, sizeof *ja);
    ja->js = js;
    ja->acc = acc;
    acc->silent = api_silent;
    if (js->d.opts->domain != NULL) {
        acc->map_subject = js_domain_map;
        acc->map_arg = js;
    }
    struct js_account **tail = &js->accounts;
    while (*tail != NULL) {
        tail = &(*tail)->next;
    }
    *tail = ja;
    acc->js = ja;
    js_api_enable(ja);
    return ja;
}

/* How v2 ack subjects name an account: eight characters of its SHA-256. */
static void name_hash(const char *name, char out[9])
{
    static const char abc[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t sum[SHA256_DIGEST_LENGTH];
    (void)SHA256((const unsigned char *)name, strlen(name), sum);
    for (size_t i = 0; i < 8; i++) {
        out[i] = abc[sum[i] % 62];
    }
    out[8] = '\0';
}

void js_enable_account(struct js *js, struct brk_account *acc)
{
    struct js_account *ja = acc->js != NULL ? acc->js : add_account(js, acc);
    ja->disabled = false;
    name_hash(acc->name, ja->hash);
    ja->ack_sub = brk_isub_create(acc, BRK_STR("$JS.ACK.>"), (struct brk_str){0}, js_ack_cb, ja);
    ja->fc_sub = brk_isub_create(acc, BRK_STR("$JS.FC.>"), (struct brk_str){0}, js_push_fc_cb, ja);
    struct store_stream *ss = NULL;
    while ((ss = js->ops->stream_next(js->store, acc->name, ss)) != NULL) {
        (void)js_stream_attach(ja, ss);
    }
}

static void going_off(struct js_account *ja, bool is)
{
    ASSERT(ja->going_off != is);
    ja->going_off = is;
    if (is) {
        ja->js->going_off++;
    } else {
        ja->js->going_off--;
    }
}

/* Waiting requests are told nothing, as at nats-server. */
static void put_streams_away(struct js_account *ja)
{
    struct htab_node *n, *k;
    while ((n = htab_first(&ja->streams)) != NULL) {
        struct js_stream *s = CONTAINER_OF(n, struct js_stream, by_name);
        while ((k = htab_first(&s->consumers)) != NULL) {
            js_consumer_detach(CONTAINER_OF(k, struct js_consumer, by_name), NULL);
        }
        js_stream_detach(s);
    }
    brk_isub_destroy(ja->ack_sub);
    brk_isub_destroy(ja->fc_sub);
    ja->ack_sub = NULL;
    ja->fc_sub = NULL;
    going_off(ja, false);
}

void js_accounts_settle(struct js *js)
{
    for (struct js_account *ja = js->accounts; ja != NULL && js->going_off > 0; ja = ja->next) {
        if (ja->going_off && ja->api_inflight == 0 && ja->changing == 0) {
            put_streams_away(ja);
        }
    }
}

static void switch_account(struct js_account *ja, bool on)
{
    if (!on) {
        ja->disabled = true;
        going_off(ja, true);
        brk_slice_kick(ja->js->api_slice);
    } else if (ja->going_off) {
        ja->disabled = false;
        going_off(ja, false);
    } else {
        js_enable_account(ja->js, ja->acc);
    }
}

void js_accounts_changed(struct js *js, struct brk_account *first)
{
    for (struct brk_account *a = first; a != NULL; a = a->next) {
        if (a->system && js->system == NULL) {
            js_system_start(js, a);
        }
        struct js_account *ja = a->js;
        if (a->system) {
            continue;
        }
        if (ja != NULL) {
            if (ja->disabled == a->jetstream) {
                switch_account(ja, a->jetstream);
            }
        } else if (a->jetstream) {
            js_enable_account(js, a);
        } else {
            add_account(js, a)->disabled = true;
        }
    }
}

void js_start(struct js *js, struct brk_account *first)
{
    js_accounts_changed(js, first);
    brk_loop_on_wake(js->d.loop, store_poll, js);
    brk_loop_on_turn(js->d.loop, store_turn, js);
    js->started = true;
    arm_store_timer(js);
}

void js_tell_shutdown(void *arg)
{
    struct js *js = arg;
    for (struct js_account *ja = js->accounts; ja != NULL; ja = ja->next) {
        for (struct htab_node *n = htab_first(&ja->streams); n != NULL;
             n = htab_next(&ja->streams, n)) {
            struct js_stream *s = CONTAINER_OF(n, struct js_stream, by_name);
            for (struct htab_node *k = htab_first(&s->consumers); k != NULL;
                 k = htab_next(&s->consumers, k)) {
                js_pull_drop_all(CONTAINER_OF(k, struct js_consumer, by_name),
                                 "409 Server Shutdown");
            }
        }
    }
}

void js_stop(struct js *js)
{
    for (struct js_account *ja = js->accounts; ja != NULL; ja = ja->next) {
        if (ja->stopped) {
            continue;
        }
        js_api_disable(ja);
        brk_isub_destroy(ja->ack_sub);
        brk_isub_destroy(ja->fc_sub);
        ja->ack_sub = NULL;
        ja->fc_sub = NULL;
        for (struct htab_node *n = htab_first(&ja->streams); n != NULL;
             n = htab_next(&ja->streams, n)) {
            js_stream_silence(CONTAINER_OF(n, struct js_stream, by_name));
        }
        ja->stopped = true;
    }
    js_system_stop(js);
    js_snapshots_stop(js);
    js_restores_stop(js);
}

static void account_destroy(struct js_account *ja)
{
    struct htab_node *n;
    while ((n = htab_first(&ja->streams)) != NULL) {
        js_stream_detach(CONTAINER_OF(n, struct js_stream, by_name));
    }
    ja->acc->js = NULL;
    base_free(ja->api);
    base_free(ja);
}

void js_destroy(struct js *js)
{
    if (js == NULL) {
        return;
    }
    js_stop(js);
    js_snapshots_fini(js);
    js_restores_fini(js);
    js_publish_fini(js);
    while (js->run_first != NULL) {
        struct js_consumer *c = js->run_first;
        js->run_first = c->run_next;
        c->in_run_list = false;
        js_consumer_unref(c);
    }
    js->run_last = NULL;
    if (js->started) {
        brk_loop_off(js->d.loop, store_poll, js);
        brk_loop_off(js->d.loop, store_turn, js);
    }
    js_direct_fini(js);
    js_api_fini(js); /* requests under way are counted in their accounts */
    while (js->accounts != NULL) {
        struct js_account *ja = js->accounts;
        js->accounts = ja->next;
        account_destroy(ja);
    }
    js_copiers_fini(js);
    brk_slice_destroy(js->api_slice);
    brk_slice_destroy(js->run_slice);
    brk_timer_destroy(js->store_timer);
    js_system_fini(js);
    js_zones_destroy(js->zones);
    js_pool_fini(js);
    base_free(js);
}

void js_figures(struct js *js, const struct brk_account *account, struct js_figures *out)
{
    struct store_usage u = {0};
    *out = (struct js_figures){0};
    js->ops->usage(js->store, account == NULL ? NULL : account->name, &u);
    out->memory_bytes = u.mem_bytes;
    out->storage_bytes = u.file_bytes;
    out->streams = u.streams;
    out->consumers = u.consumers;
    for (struct js_account *ja = js->accounts; ja != NULL; ja = ja->next) {
        if (account != NULL && ja->acc != account) {
            continue;
        }
        out->api_total += ja->api_total;
        out->api_errors += ja->api_errors;
        out->api_inflight += ja->api_inflight;
        struct store_stream *ss = NULL;
        while ((ss = js->ops->stream_next(js->store, ja->acc->name, ss)) != NULL) {
            struct stream_state st;
            js->ops->stream_state(ss, &st);
            out->messages += st.msgs;
            out->bytes += st.bytes;
        }
    }
}
