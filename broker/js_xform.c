#include "broker/js_xform.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"
#include "engine/base/subject.h"

enum op {
    OP_LITERAL,
    OP_WILDCARD,
    OP_PARTITION,
    OP_RANDOM,
    OP_SPLIT,
    OP_SPLIT_LEFT,
    OP_SPLIT_RIGHT,
    OP_SLICE_LEFT,
    OP_SLICE_RIGHT,
    OP_REST /* the source's > */
};

struct step {
    enum op op;
    const char *text; /* borrowed from dest: a literal, or the separator of split */
    size_t text_len;
    uint32_t n;       /* buckets, position, size */
    uint32_t *source; /* owned: tokens of the source that the wildcards stand for */
    size_t nsource;
};

struct js_xform {
    char *src, *dest;    /* owned */
    uint32_t *wildcards; /* owned: token index of each * in src */
    size_t nwildcards;
    size_t ntokens;     /* of src, > not counted */
    bool rest;          /* src ends in > */
    struct step *steps; /* owned: one a token of dest */
    size_t nsteps;
};

/* --- making one ------------------------------------------------------------------------------- */

struct function {
    const char *name; /* a large letter begins a word */
    enum op op;
    size_t args_min, args_max;
};
static const struct function functions[] = {
    {"Wildcard", OP_WILDCARD, 1, 1},
    {"Partition", OP_PARTITION, 1, SIZE_MAX},
    {"Random", OP_RANDOM, 1, 1},
    {"Split", OP_SPLIT, 2, 2},
    {"SplitFromLeft", OP_SPLIT_LEFT, 2, 2},
    {"SplitFromRight", OP_SPLIT_RIGHT, 2, 2},
    {"SliceFromLeft", OP_SLICE_LEFT, 2, 2},
    {"SliceFromRight", OP_SLICE_RIGHT, 2, 2},
};

static bool named(const char *p, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        bool large = name[i] >= 'A' && name[i] <= 'Z';
        if (name[i] == '\0' || (p[i] != name[i] && !(large && p[i] == name[i] + 32))) {
            return false;
        }
    }
    return name[n] == '\0';
}

static void trim(const char **p, size_t *n, const char *chars)
{
    while (*n > 0 && strchr(chars, **p) != NULL) {
        (*p)++;
        (*n)--;
    }
    while (*n > 0 && strchr(chars, (*p)[*n - 1]) != NULL) {
        (*n)--;
    }
}

static enum js_xform_fault fault(char why[256], const char *what, const char *token, size_t len)
{
    (void)snprintf(why, 256, "invalid mapping destination: %s in %.*s", what,
                   (int)(len > 128 ? 128 : len), token);
    return JS_XFORM_BAD_DEST;
}

/* A number of 32 bits; negative ones wrap, as upstream has it. */
static bool number(const char *p, size_t n, uint32_t *out)
{
    uint64_t v = 0;
    bool minus = n > 1 && p[0] == '-';
    trim(&p, &n, minus ? "-" : "");
    for (size_t i = 0; i < n; i++) {
        v = v * 10 + (uint64_t)(p[i] - '0');
        if (p[i] < '0' || p[i] > '9' || v > (minus ? INT32_MAX : UINT32_MAX)) {
            return false;
        }
    }
    *out = minus ? (uint32_t)(0 - v) : (uint32_t)v;
    return n > 0;
}

static bool add_source(struct js_xform *x, struct step *s, uint32_t wildcard, char why[256],
                       const char *token, size_t len)
{
    if (wildcard > x->nwildcards) {
        (void)fault(why, "wildcard index out of range", token, len);
        size_t n = strlen(why);
        (void)snprintf(why + n, 256 - n, ": [%d]", (int)wildcard);
        return false;
    }
    s->source = base_realloc(s->source, (s->nsource + 1) * sizeof *s->source);
    s->source[s->nsource++] = wildcard == 0 ? 0 : x->wildcards[wildcard - 1];
    return true;
}

struct args {
    const char *p[JS_XFORM_TOKENS_MAX];
    size_t len[JS_XFORM_TOKENS_MAX];
    size_t n;
};

static void split_args(struct args *a, const char *p, size_t n)
{
    a->n = 0;
    while (a->n < JS_XFORM_TOKENS_MAX) {
        const char *comma = memchr(p, ',', n);
        size_t len = comma != NULL ? (size_t)(comma - p) : n;
        a->p[a->n] = p;
        a->len[a->n] = len;
        trim(&a->p[a->n], &a->len[a->n], " \t");
        a->n++;
        if (comma == NULL) {
            return;
        }
        p += len + 1;
        n -= len + 1;
    }
}

static enum js_xform_fault set_args(struct js_xform *x, struct step *s, const struct args *a,
                                    char why[256], const char *token, size_t len)
{
    static const char wrong[] = "function argument is invalid or in the wrong format";
    uint32_t v;
    bool counts = s->op == OP_PARTITION || s->op == OP_RANDOM; /* the first is no wildcard */
    for (size_t i = 0; i < a->n; i++) {
        if (s->op == OP_SPLIT && i == 1) {
            s->text = a->p[i];
            s->text_len = a->len[i];
            if (memchr(s->text, ' ', s->text_len) != NULL) {
                return fault(why, wrong, token, len);
            }
            continue;
        }
        if (!number(a->p[i], a->len[i], &v)) {
            return fault(why, wrong, token, len);
        }
        if (i == 0 ? counts : s->op != OP_PARTITION) {
            s->n = v;
        } else if (!add_source(x, s, v, why, token, len)) {
            return JS_XFORM_BAD_DEST;
        }
    }
    return JS_XFORM_OK;
}

static enum js_xform_fault call(struct js_xform *x, struct step *s, char why[256],
                                const char *token, size_t len)
{
    const char *p = token, *open;
    size_t n = len;
    trim(&p, &n, "{} \t");
    open = memchr(p, '(', n);
    if (open == NULL || p[n - 1] != ')') {
        return fault(why, "unknown function", token, len);
    }
    const char *args = open + 1;
    size_t args_len = n - (size_t)(args - p) - 1, name_len = (size_t)(open - p);
    trim(&p, &name_len, " \t");
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        const struct function *f = &functions[i];
        if (!named(p, name_len, f->name)) {
            continue;
        }
        struct args *a = base_malloc(sizeof *a);
        enum js_xform_fault bad;
        split_args(a, args, args_len);
        bool none = a->n == 1 && a->len[0] == 0;
        s->op = f->op;
        if (a->n < f->args_min || (none && f->op == OP_WILDCARD)) {
            bad = fault(why, "not enough arguments passed to the function", token, len);
        } else if (a->n > f->args_max) {
            bad = fault(why, "too many arguments passed to the function", token, len);
        } else {
            bad = set_args(x, s, a, why, token, len);
        }
        base_free(a);
        return bad;
    }
    return fault(why, "unknown function", token, len);
}

static bool is_call(const char *token, size_t len)
{
    return len > 4 && memcmp(token, "{{", 2) == 0 && memcmp(token + len - 2, "}}", 2) == 0;
}

static enum js_xform_fault add_token(struct js_xform *x, const char *token, size_t len,
                                     char why[256])
{
    struct step *s = &x->steps[x->nsteps++];
    uint32_t v;
    *s = (struct step){.op = OP_LITERAL, .text = token, .text_len = len};
    if (len == 1 && token[0] == '>') {
        s->op = OP_REST;
        return JS_XFORM_OK;
    }
    if (len > 1 && token[0] == '$' && token[1] != '-' && number(token + 1, len - 1, &v)) {
        s->op = OP_WILDCARD;
        return add_source(x, s, v, why, token, len) ? JS_XFORM_OK : JS_XFORM_BAD_DEST;
    }
    if (is_call(token, len)) {
        return call(x, s, why, token, len);
    }
    return JS_XFORM_OK;
}

static size_t count_tokens(const char *s)
{
    size_t n = 1;
    for (; *s != '\0'; s++) {
        n += *s == '.';
    }
    return n;
}

static void read_source(struct js_xform *x)
{
    x->wildcards = base_calloc(count_tokens(x->src), sizeof *x->wildcards);
    for (const char *p = x->src; p != NULL;) {
        size_t len = strcspn(p, ".");
        if (len == 1 && *p == '>') {
            x->rest = true;
            return;
        }
        if (len == 1 && *p == '*') {
            x->wildcards[x->nwildcards++] = (uint32_t)x->ntokens;
        }
        x->ntokens++;
        p = p[len] == '.' ? p + len + 1 : NULL;
    }
}

/* What comes out stands in the lines of the protocol. nats-server checks it for a stream's
 * transform and for sources, but not for republish. */
static bool has_space(const char *token, size_t len)
{
    return strcspn(token, " \t\n\f\r") < len;
}

static enum js_xform_fault read_dest(struct js_xform *x, char why[256])
{
    bool rest = false;
    x->steps = base_calloc(count_tokens(x->dest), sizeof *x->steps);
    for (const char *p = x->dest; p != NULL;) {
        size_t len = strcspn(p, ".");
        if (len == 0 || rest || (!is_call(p, len) && has_space(p, len))) {
            (void)snprintf(why, 256, "invalid mapping destination: invalid transform");
            return JS_XFORM_BAD_DEST;
        }
        if (len == 1 && *p == '*') {
            (void)snprintf(why, 256, "invalid subject");
            return JS_XFORM_BAD_DEST;
        }
        enum js_xform_fault bad = add_token(x, p, len, why);
        if (bad != JS_XFORM_OK) {
            return bad;
        }
        rest = len == 1 && *p == '>';
        p = p[len] == '.' ? p + len + 1 : NULL;
    }
    if (rest != x->rest) {
        (void)snprintf(why, 256, "invalid subject");
        return JS_XFORM_BAD_DEST;
    }
    return JS_XFORM_OK;
}

enum js_xform_fault js_xform_create(const char *src, const char *dest, struct js_xform **out,
                                    char why[256])
{
    *out = NULL;
    src = src == NULL || src[0] == '\0' ? ">" : src;
    if (!subject_valid(src, strlen(src)) || count_tokens(src) > JS_XFORM_TOKENS_MAX) {
        (void)snprintf(why, 256, "invalid subject %.200s", src);
        return JS_XFORM_BAD_SOURCE;
    }
    if (dest == NULL || dest[0] == '\0') {
        return JS_XFORM_OK;
    }
    if (count_tokens(dest) > JS_XFORM_TOKENS_MAX) {
        (void)snprintf(why, 256, "invalid subject");
        return JS_XFORM_BAD_DEST;
    }
    struct js_xform *x = base_calloc(1, sizeof *x);
    x->src = base_strdup(src);
    x->dest = base_strdup(dest);
    read_source(x);
    enum js_xform_fault bad = read_dest(x, why);
    if (bad != JS_XFORM_OK) {
        js_xform_destroy(x);
        return bad;
    }
    *out = x;
    return JS_XFORM_OK;
}

void js_xform_destroy(struct js_xform *x)
{
    if (x == NULL) {
        return;
    }
    for (size_t i = 0; i < x->nsteps; i++) {
        base_free(x->steps[i].source);
    }
    base_free(x->steps);
    base_free(x->wildcards);
    base_free(x->src);
    base_free(x->dest);
    base_free(x);
}

/* --- using one -------------------------------------------------------------------------------- */

struct sink {
    char *p;
    size_t n;
    bool full;
};

static void put(struct sink *o, const char *p, size_t n)
{
    if (n > JS_XFORM_SUBJECT_MAX - o->n) {
        o->full = true;
    } else if (n > 0) {
        memcpy(o->p + o->n, p, n);
        o->n += n;
    }
}

static struct brk_str token_at(struct brk_str subject, uint32_t index)
{
    const char *p = subject.p, *end = subject.p + subject.n;
    while (index > 0 && p < end) {
        index -= *p++ == '.';
    }
    const char *dot = memchr(p, '.', (size_t)(end - p));
    return (struct brk_str){p, (size_t)((dot != NULL ? dot : end) - p)};
}

/* Where the rest begins: behind as many tokens as the source has before its >. */
static struct brk_str rest_of(const struct js_xform *x, struct brk_str subject)
{
    const char *p = subject.p, *end = subject.p + subject.n;
    for (size_t left = x->ntokens; left > 0 && p < end;) {
        left -= *p++ == '.';
    }
    return (struct brk_str){p, (size_t)(end - p)};
}

static uint32_t fnv1a(uint32_t h, struct brk_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        h = (h ^ (uint8_t)s.p[i]) * 16777619u;
    }
    return h;
}

static void put_bucket(struct sink *o, uint32_t v, uint32_t buckets)
{
    char text[12];
    int n = snprintf(text, sizeof text, "%u", buckets == 0 ? 0 : v % buckets);
    put(o, text, (size_t)n);
}

static void put_partition(struct sink *o, const struct step *s, struct brk_str subject)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < s->nsource; i++) {
        h = fnv1a(h, token_at(subject, s->source[i]));
    }
    put_bucket(o, s->nsource == 0 ? fnv1a(h, subject) : h, s->n);
}

/* The pieces between separators; empty ones are left out. No separator: byte by byte. */
static void put_split(struct sink *o, const struct step *s, struct brk_str t)
{
    size_t start = o->n, from = 0;
    for (size_t i = 0; i <= t.n && !o->full;) {
        bool at_end = i == t.n;
        bool cut = at_end || (s->text_len == 0 && i > from) ||
                   (s->text_len > 0 && t.n - i >= s->text_len &&
                    memcmp(t.p + i, s->text, s->text_len) == 0);
        if (!cut) {
            i++;
            continue;
        }
        if (i > from) {
            put(o, ".", o->n > start ? 1 : 0);
            put(o, t.p + from, i - from);
        }
        from = i + s->text_len;
        i = at_end ? t.n + 1 : s->text_len > 0 ? from : i + 1;
    }
    put(o, t.p, o->n == start ? t.n : 0); /* nothing but separators */
}

static void put_pieces(struct sink *o, struct brk_str t, size_t first, size_t each)
{
    put(o, t.p, first);
    for (size_t at = first; at < t.n && !o->full; at += each) {
        put(o, ".", at > 0 ? 1 : 0);
        put(o, t.p + at, t.n - at < each ? t.n - at : each);
    }
}

static void put_cut(struct sink *o, const struct step *s, struct brk_str t)
{
    if (s->n == 0 || s->n > INT32_MAX || s->n >= t.n) {
        put(o, t.p, t.n);
    } else if (s->op == OP_SPLIT_LEFT) {
        put_pieces(o, t, s->n, t.n);
    } else if (s->op == OP_SPLIT_RIGHT) {
        put_pieces(o, t, t.n - s->n, t.n);
    } else {
        put_pieces(o, t, s->op == OP_SLICE_RIGHT ? t.n % s->n : 0, s->n);
    }
}

bool js_xform_apply(const struct js_xform *x, struct brk_str subject, uint32_t random,
                    char out[JS_XFORM_SUBJECT_MAX], size_t *len_out)
{
    struct sink o = {.p = out};
    if (!subject_match(subject.p, subject.n, x->src, strlen(x->src))) {
        return false;
    }
    for (size_t i = 0; i < x->nsteps && !o.full; i++) {
        const struct step *s = &x->steps[i];
        struct brk_str t = s->nsource > 0 ? token_at(subject, s->source[0]) : (struct brk_str){0};
        put(&o, ".", i > 0 ? 1 : 0);
        switch (s->op) {
        case OP_LITERAL:
            put(&o, s->text, s->text_len);
            break;
        case OP_WILDCARD:
            put(&o, t.p, t.n);
            break;
        case OP_PARTITION:
            put_partition(&o, s, subject);
            break;
        case OP_RANDOM:
            put_bucket(&o, random, s->n);
            break;
        case OP_SPLIT:
            put_split(&o, s, t);
            break;
        case OP_REST:
            t = rest_of(x, subject);
            put(&o, t.p, t.n);
            break;
        case OP_SPLIT_LEFT:
        case OP_SPLIT_RIGHT:
        case OP_SLICE_LEFT:
        case OP_SLICE_RIGHT:
            put_cut(&o, s, t);
            break;
        }
    }
    *len_out = o.n;
    return !o.full && o.n > 0;
}
