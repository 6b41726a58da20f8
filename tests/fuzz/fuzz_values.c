/* Fuzz target: the small languages in values that clients send: schedules, durations, times, TTLs,
 * counters, subjects and their transforms, header blocks that are edited. The first byte chooses,
 * what follows is parted by newlines where more than one text is needed. Must hold: no crash; what
 * is written is read back as the same; laws that hold for every input. */
#include <stdlib.h>

#include "broker/bigdec.h"
#include "broker/js_cron.h"
#include "broker/js_hdr_edit.h"
#include "broker/js_xform.h"
#include "broker/json_in.h"
#include "broker/json_out.h"
#include "engine/base/base.h"
#include "engine/base/godur.h"
#include "engine/base/subject.h"
#include "engine/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok) {
        abort();
    }
}

struct text {
    const char *p;
    size_t n;
};

/* Up to the next newline, which is taken too. */
static struct text cut(struct text *rest)
{
    const char *end = rest->n > 0 ? memchr(rest->p, '\n', rest->n) : NULL;
    struct text t = {rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n};
    size_t used = t.n + (end != NULL);
    *rest = (struct text){rest->p + used, rest->n - used};
    return t;
}

/* Eight bytes of it, as they stand. */
static int64_t number(struct text *rest)
{
    uint8_t b[8] = {0};
    size_t n = rest->n < 8 ? rest->n : 8;
    memcpy(b, rest->p, n);
    *rest = (struct text){rest->p + n, rest->n - n};
    return (int64_t)get_u64le(b);
}

static void cron(struct text t)
{
    struct js_cron c;
    char out[JS_CRON_TIME_MAX];
    int64_t after = number(&t), now = number(&t);
    if (!js_cron_parse(&c, t.p, t.n)) {
        return;
    }
    int64_t next = js_cron_next(&c, after);
    must(c.kind == JS_CRON_AT || next > after || after == INT64_MAX);
    must(c.kind != JS_CRON_FIELDS || next == INT64_MAX || next % NS_PER_S == 0);
    must(js_cron_time(out, next, NULL) < sizeof out);
    (void)js_cron_first(&c, after, now);
}

static void duration(struct text t)
{
    int64_t ns, again, ttl;
    char out[GODUR_MAX];
    if (godur_parse(t.p, t.n, &ns)) {
        size_t n = godur_put(out, ns);
        must(n < sizeof out && godur_parse(out, n, &again) && again == ns);
    }
    must(!store_ttl_parse(t.p, t.n, &ttl) || ttl >= TTL_NEVER);
}

static void time_text(struct text t)
{
    int64_t ns, again;
    char out[JSON_TIME_MAX];
    if (json_time_parse(t.p, t.n, &ns)) {
        size_t n = json_time_text(out, ns);
        must(n <= sizeof out && json_time_parse(out, n, &again) && again == ns);
    }
}

static void counter(struct text t)
{
    static char sum[4200], back[4300], plain[2200];
    struct text a = cut(&t), b = cut(&t);
    if (a.n > 2000 || b.n > 2000 || !bigdec_valid(a.p, a.n) || !bigdec_valid(b.p, b.n)) {
        return;
    }
    size_t n = bigdec_add(a.p, a.n, b.p, b.n, sum);
    must(n <= (a.n > b.n ? a.n : b.n) + 3 && bigdec_valid(sum, n));
    size_t k = bigdec_sub(sum, n, b.p, b.n, back);
    size_t p = bigdec_add(a.p, a.n, "0", 1, plain); /* the shortest form of a */
    must(k == p && memcmp(back, plain, p) == 0);
}

static void transform(struct text t)
{
    static char out[JS_XFORM_SUBJECT_MAX];
    struct text s = cut(&t), d = cut(&t), subject = cut(&t);
    char *src = base_strndup(s.p, strnlen(s.p, s.n)), *dest = base_strndup(d.p, strnlen(d.p, d.n));
    struct js_xform *x = NULL;
    char why[256] = "";
    size_t n = 0;
    enum js_xform_fault fault = js_xform_create(src, dest, &x, why);
    must(fault == JS_XFORM_OK ? dest[0] == '\0' || x != NULL : x == NULL && why[0] != '\0');
    if (x != NULL && subject_literal(subject.p, subject.n) &&
        js_xform_apply(x, (struct brk_str){subject.p, subject.n}, 12345, out, &n)) {
        must(n <= sizeof out);
        must(subject_match(subject.p, subject.n, src[0] != '\0' ? src : ">",
                           src[0] != '\0' ? strlen(src) : 1));
        /* a piece of a token like "ab>" may come out as a wildcard, as nats-server's does */
        must(subject_literal(out, n) || memchr(subject.p, '>', subject.n) != NULL ||
             memchr(subject.p, '*', subject.n) != NULL);
    }
    js_xform_destroy(x);
    base_free(src);
    base_free(dest);
}

static void subjects(struct text t)
{
    struct text a = cut(&t), b = cut(&t);
    bool va = subject_valid(a.p, a.n), vb = subject_valid(b.p, b.n);
    bool lit = subject_literal(a.p, a.n);
    must(lit == (va && !subject_has_wildcard(a.p, a.n)));
    if (!va || !vb) {
        return;
    }
    bool overlap = subject_overlap(a.p, a.n, b.p, b.n), in = subject_subset(a.p, a.n, b.p, b.n);
    must(overlap == subject_overlap(b.p, b.n, a.p, a.n));
    must(overlap || !in);
    must(!lit || subject_match(a.p, a.n, b.p, b.n) == in);
    must(!lit || in == overlap);
    must(subject_subset(a.p, a.n, a.p, a.n) && subject_tokens(a.p, a.n) >= 1);
}

static void headers(struct text t)
{
    static const char added[] = "Nats-Sequence: 5\r\n\r\n";
    struct js_hdr_edit e = {0};
    js_hdr_edit_begin(&e, t.p, t.n);
    js_hdr_edit_drop(&e, "Nats-TTL");
    js_hdr_edit_drop_prefix(&e, "Nats-Expected-");
    must(e.len <= t.n);
    js_hdr_edit_add(&e, "Nats-Sequence", "5", 1);
    must(e.len >= sizeof added - 1 &&
         memcmp(e.buf + e.len - (sizeof added - 1), added, sizeof added - 1) == 0);
    js_hdr_edit_fini(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const all[])(struct text) = {cron,      duration, time_text, counter,
                                               transform, subjects, headers};
    if (size > 0) {
        all[data[0] % ARRAY_LEN(all)]((struct text){(const char *)data + 1, size - 1});
    }
    return 0;
}
