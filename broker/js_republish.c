/* `subject_transform` and `republish` of a stream: what is published is stored under another
 * subject; what was stored is sent on, with headers that say where it stands. A republished message
 * is sent once its record is durable (as the stream's durability has it), in order, at most once.
 */
#include "broker/js_int.h"

#include "engine/base/base.h"
#include "engine/base/env.h"

static uint32_t random_of(struct js *js)
{
    uint32_t v;
    env_random(js->d.env, (uint8_t *)&v, sizeof v);
    return v;
}

/* False: nothing changes. */
static bool change(struct js *js, char **buf, const struct js_xform *x, struct brk_str subject,
                   struct brk_str *out)
{
    size_t n;
    if (*buf == NULL) {
        *buf = base_malloc(JS_XFORM_SUBJECT_MAX);
    }
    if (!js_xform_apply(x, subject, random_of(js), *buf, &n)) {
        return false;
    }
    *out = (struct brk_str){*buf, n};
    return true;
}

struct brk_str js_subject_of(struct js_stream *s, struct brk_str subject)
{
    if (s->transform != NULL) {
        (void)change(s->ja->js, &s->ja->js->subject, s->transform, subject, &subject);
    }
    return subject;
}

static void add_number(struct js_hdr_edit *e, const char *name, uint64_t v)
{
    char text[24];
    char *end = js_put_u64(text, v);
    js_hdr_edit_add(e, name, text, (size_t)(end - text));
}

static void stored(void *arg, const struct msg *m, uint64_t last_seq)
{
    struct js_stream *s = arg;
    struct js *js = s->ja->js;
    struct js_hdr_edit *e = &js->resend;
    struct brk_str subject = {(const char *)m->subj, m->subj_len}, to;
    char time[JSON_TIME_MAX];
    if (s->gone || s->republish == NULL ||
        !change(js, &js->resend_to, s->republish, subject, &to)) {
        return;
    }
    js_hdr_edit_begin(e, m->hdr, m->hdr_len);
    js_hdr_edit_add(e, "Nats-Stream", s->name, s->name_len);
    js_hdr_edit_add(e, "Nats-Subject", subject.p, subject.n);
    add_number(e, "Nats-Sequence", m->seq);
    js_hdr_edit_add(e, "Nats-Time-Stamp", time, json_time_text(time, m->ts_ns));
    add_number(e, "Nats-Last-Sequence", last_seq);
    if (s->republish_headers_only) {
        add_number(e, "Nats-Msg-Size", m->data_len);
    }
    js_stream_ref(s);
    js_send(s->ja, to, e->buf, e->len, m->data, s->republish_headers_only ? 0 : m->data_len);
    js_stream_unref(s);
}

void js_subjects_stop(struct js_stream *s)
{
    if (s->republish != NULL && s->ss != NULL) {
        s->ja->js->ops->stream_tap(s->ss, NULL, NULL);
    }
    js_xform_destroy(s->republish);
    js_xform_destroy(s->transform);
    s->republish = s->transform = NULL;
}

void js_subjects_reload(struct js_stream *s)
{
    struct js_extra x;
    char why[256];
    js_subjects_stop(s);
    js_extra_read(s->ja->js->ops->stream_cfg(s->ss), &x);
    const struct js_subject_change *t = js_extra_transform(&x);
    const struct js_republish *r = js_extra_republish(&x);
    if (t != NULL) {
        (void)js_xform_create(t->src, t->dest, &s->transform, why);
    }
    if (r != NULL) {
        (void)js_xform_create(r->src, r->dest, &s->republish, why);
        s->republish_headers_only = r->headers_only;
    }
    if (s->republish != NULL) {
        s->ja->js->ops->stream_tap(s->ss, stored, s);
    }
    js_extra_fini(&x);
}
