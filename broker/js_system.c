/* The JetStream API in the system account: JetStream is never on there, so everything is answered
 * with 10039, but ACCOUNT.PURGE.<account>, which deletes all streams of an account. It is answered
 * when the deletes are durable. Loop thread. */
#include "broker/js_int.h"

#include "engine/base/base.h"

#define API "$JS.API."
#define PURGE API "ACCOUNT.PURGE."

struct js_system {
    struct js *js;
    struct brk_account *acc; /* borrowed */
    struct brk_sub *sub;     /* owned; NULL once stopped */
    size_t purges;           /* under way */
};

struct purge {
    struct js_system *sys;
    size_t pending; /* deletes, and one until all are asked for */
    bool failed;
    size_t reply_len;
    char reply[];
};

struct one_delete {
    struct purge *p;
    struct js_account *ja;
    struct store_stream *ss;
};

static void answer(struct js_system *sys, struct brk_str reply, const char *type,
                   const struct api_error *e)
{
    struct json_out j = {0};
    json_out_begin(&j);
    json_out_str(&j, "type", type);
    if (e != NULL) {
        api_error_put(&j, e);
    } else {
        json_out_bool(&j, "initiated", true);
    }
    json_out_end(&j);
    struct brk_msg m = {.subject = reply, .payload = (const uint8_t *)j.buf, .payload_len = j.len};
    if (reply.n > 0 && sys->sub != NULL) {
        (void)brk_publish(sys->acc, &m);
    }
    json_out_fini(&j);
}

static void purge_unref(struct purge *p)
{
    struct api_error e = {0};
    if (--p->pending > 0) {
        return;
    }
    if (p->failed) {
        api_error_set2(&e, API_STREAM_DELETE, "not all streams could be deleted", NULL);
    }
    answer(p->sys, (struct brk_str){p->reply, p->reply_len},
           "io.nats.jetstream.api.v1.account_purge_response", p->failed ? &e : NULL);
    p->sys->purges--;
    base_free(p);
}

static void deleted(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct one_delete *d = arg;
    (void)n;
    (void)err;
    if (st != ST_OK) {
        d->p->failed = true;
        if (!d->ja->stopped) {
            (void)js_stream_attach(d->ja, d->ss); /* it is still there */
        }
    }
    purge_unref(d->p);
    base_free(d);
}

static void delete_all(struct purge *p, struct js_account *ja)
{
    struct htab_node *n;
    while ((n = htab_first(&ja->streams)) != NULL) {
        struct js_stream *s = CONTAINER_OF(n, struct js_stream, by_name);
        struct one_delete *d = base_calloc(1, sizeof *d);
        *d = (struct one_delete){p, ja, s->ss};
        p->pending++;
        js_stream_advise_deleted(s);
        js_stream_detach(s);
        ja->js->ops->stream_delete(ja->js->store, d->ss, deleted, d);
    }
}

static void purge(struct js_system *sys, struct brk_str account, struct brk_str reply)
{
    struct purge *p = base_calloc(1, sizeof *p + reply.n);
    p->sys = sys;
    p->pending = 1;
    p->reply_len = reply.n;
    memcpy(p->reply, reply.p, reply.n);
    sys->purges++;
    for (struct js_account *ja = sys->js->accounts; ja != NULL; ja = ja->next) {
        if (!ja->stopped && js_str_eq(account, ja->acc->name, strlen(ja->acc->name))) {
            delete_all(p, ja);
        }
    }
    purge_unref(p); /* an account that is not there has nothing to purge */
}

static void on_request(void *arg, const struct brk_msg *m)
{
    struct js_system *sys = arg;
    size_t head = sizeof PURGE - 1;
    struct api_error e = {0};
    if (m->reply.n == 0) {
        return;
    }
    if (js_level_too_high(m->hdr, m->hdr_len)) {
        api_error_set(&e, API_REQUIRED_API_LEVEL);
    } else if (m->subject.n > head && memcmp(m->subject.p, PURGE, head) == 0 &&
               memchr(m->subject.p + head, '.', m->subject.n - head) == NULL) {
        purge(sys, (struct brk_str){m->subject.p + head, m->subject.n - head}, m->reply);
        return;
    } else {
        api_error_set(&e, API_NOT_ENABLED_FOR_ACCOUNT);
    }
    bool info = js_str_eq(m->subject, API "INFO", sizeof API "INFO" - 1);
    answer(sys, m->reply,
           info ? "io.nats.jetstream.api.v1.account_info_response"
                : "io.nats.jetstream.api.v1.system_response",
           &e);
}

void js_system_start(struct js *js, struct brk_account *acc)
{
    struct js_system *sys = base_calloc(1, sizeof *sys);
    sys->js = js;
    sys->acc = acc;
    sys->sub = brk_isub_create(acc, BRK_STR("$JS.API.>"), (struct brk_str){0}, on_request, sys);
    js->system = sys;
}

void js_system_stop(struct js *js)
{
    if (js->system != NULL) {
        brk_isub_destroy(js->system->sub);
        js->system->sub = NULL;
    }
}

void js_system_fini(struct js *js)
{
    ASSERT(IMPLIES(js->system != NULL, js->system->purges == 0));
    base_free(js->system);
    js->system = NULL;
}
