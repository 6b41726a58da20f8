#include "broker/parser.h"

#include "engine/base/base.h"

enum verb {
    VERB_NONE,
    VERB_PUB,
    VERB_HPUB,
    VERB_SUB,
    VERB_UNSUB,
    VERB_CONNECT,
    VERB_PING,
    VERB_PONG,
    VERB_INFO,
    VERB_ERR,
    VERB_OK
};

/* What stands at the start of an operation. */
enum scan { SCAN_BAD, SCAN_MORE, SCAN_LINE, SCAN_SKIP };

struct verb_def {
    const char *text; /* upper case */
    uint8_t len;
    uint8_t verb;
    bool space;   /* white space must follow; it does not count as arguments */
    bool skipped; /* what stands behind it on the line means nothing */
};

static const struct verb_def verbs[] = {
    {"PUB", 3, VERB_PUB, true, false},          {"HPUB", 4, VERB_HPUB, true, false},
    {"SUB", 3, VERB_SUB, true, false},          {"UNSUB", 5, VERB_UNSUB, true, false},
    {"PING", 4, VERB_PING, false, true},        {"PONG", 4, VERB_PONG, false, true},
    {"CONNECT", 7, VERB_CONNECT, false, false}, {"INFO", 4, VERB_INFO, true, false},
    {"+OK", 3, VERB_OK, false, true},           {"-ERR", 4, VERB_ERR, true, false},
};

#define ARGS_MAX 4
#define SIZE_DIGITS_MAX 9

/* The arguments of one line, and the buffer they stand in. */
struct line {
    enum verb verb;
    size_t start; /* of the operation */
    size_t args;  /* first byte of the arguments */
    size_t end;   /* behind the arguments */
    size_t next;  /* behind the LF */
};

struct input {
    uint8_t *buf;
    size_t len;
};

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t';
}
static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : c;
}

void brk_parser_init(struct brk_parser *p, const struct brk_parse_ops *ops, void *arg)
{
    *p = (struct brk_parser){.ops = ops, .arg = arg};
}

void brk_parser_fini(struct brk_parser *p)
{
    base_free(p->carry);
    base_free(p->blob);
    p->carry = NULL;
    p->blob = NULL;
    p->carry_len = 0;
}

static enum brk_parse fault(struct brk_parser *p, enum brk_parse_error what, const uint8_t *near,
                            size_t len, uint64_t size)
{
    struct brk_parse_fault f = {.what = what, .near = {(const char *)near, len}, .size = size};
    p->ops->fault(p->arg, &f);
    return BRK_PARSE_CLOSE;
}

static enum brk_parse to_parse(enum brk_op op)
{
    return op == BRK_OP_GO ? BRK_PARSE_OK : op == BRK_OP_PAUSE ? BRK_PARSE_PAUSE : BRK_PARSE_CLOSE;
}

/* --- verbs ------------------------------------------------------------------------------------ */

/* Compares as much of the verb as there is. BAD: *bad_out is the first byte that differs. */
static enum scan match_verb(const struct verb_def *v, const uint8_t *p, size_t len, size_t *bad_out)
{
    size_t i = 0;
    while (i < v->len && i < len && upper(p[i]) == (uint8_t)v->text[i]) {
        i++;
    }
    *bad_out = i;
    if (i == len) {
        return SCAN_MORE;
    }
    if (i < v->len || (v->space && !is_space(p[i]))) {
        return SCAN_BAD;
    }
    return v->skipped ? SCAN_SKIP : SCAN_LINE;
}

/* Finds the verb at p. Any byte that can't go on to a verb is an error at once, as upstream does
 * it. */
static enum scan scan_verb(const uint8_t *p, size_t len, const struct verb_def **def_out,
                           size_t *bad_out)
{
    size_t bad = 0;
    enum scan best = SCAN_BAD;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        size_t at;
        enum scan s = match_verb(&verbs[i], p, len, &at);
        if (s == SCAN_LINE || s == SCAN_SKIP) {
            *def_out = &verbs[i];
            return s;
        }
        if (s == SCAN_MORE) {
            best = SCAN_MORE;
            *def_out = &verbs[i];
        }
        bad = at > bad ? at : bad;
    }
    *bad_out = bad;
    return best;
}

/* --- arguments -------------------------------------------------------------------------------- */

/* Splits at white space. Returns the number of arguments, or ARGS_MAX + 1 when there are more or a
 * stray CR.
 */
static int split(const uint8_t *p, const uint8_t *end, struct brk_str args[ARGS_MAX])
{
    int n = 0;
    for (;;) {
        while (p < end && is_space(*p)) {
            p++;
        }
        if (p == end) {
            return n;
        }
        const uint8_t *start = p;
        while (p < end && !is_space(*p)) {
            if (*p == '\r') {
                return ARGS_MAX + 1;
            }
            p++;
        }
        if (n == ARGS_MAX) {
            return ARGS_MAX + 1;
        }
        args[n++] = (struct brk_str){(const char *)start, (size_t)(p - start)};
    }
}

/* Upstream's sizes: decimal, at most 9 digits. */
static bool parse_size(struct brk_str s, size_t *size_out)
{
    if (s.n == 0 || s.n > SIZE_DIGITS_MAX) {
        return false;
    }
    size_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned)(uint8_t)s.p[i] - '0';
        if (d > 9) {
            return false;
        }
        v = v * 10 + d;
    }
    *size_out = v;
    return true;
}

static enum brk_parse line_fault(struct brk_parser *p, enum brk_parse_error what,
                                 const struct input *in, const struct line *l)
{
    return fault(p, what, in->buf + l->args, l->end - l->args, 0);
}

static enum brk_parse pub_args(struct brk_parser *p, const struct input *in, const struct line *l,
                               struct brk_pub_args *out)
{
    bool h = l->verb == VERB_HPUB;
    if (h && !p->headers) {
        return line_fault(p, BRK_PERR_NO_HEADERS, in, l);
    }
    struct brk_str a[ARGS_MAX];
    int sizes = h ? 2 : 1;
    int n = split(in->buf + l->args, in->buf + l->end, a);
    if (n != sizes + 1 && n != sizes + 2) {
        return line_fault(p, h ? BRK_PERR_HPUB_ARGS : BRK_PERR_PUB_ARGS, in, l);
    }
    *out = (struct brk_pub_args){.subject = a[0]};
    if (n == sizes + 2) {
        out->reply = a[1];
    }
    if (h && !parse_size(a[n - 2], &out->hdr_len)) {
        return line_fault(p, BRK_PERR_HPUB_HDR, in, l);
    }
    if (!parse_size(a[n - 1], &out->total_len)) {
        return line_fault(p, h ? BRK_PERR_HPUB_SIZE : BRK_PERR_PUB_SIZE, in, l);
    }
    if (out->hdr_len > out->total_len) {
        return line_fault(p, BRK_PERR_HPUB_LARGER, in, l);
    }
    if (out->total_len > p->payload_max) {
        return fault(p, BRK_PERR_MAX_PAYLOAD, in->buf + l->args, l->end - l->args, out->total_len);
    }
    return BRK_PARSE_OK;
}

static enum brk_parse do_sub(struct brk_parser *p, const struct input *in, const struct line *l)
{
    struct brk_str a[ARGS_MAX];
    int n = split(in->buf + l->args, in->buf + l->end, a);
    if (n != 2 && n != 3) {
        return line_fault(p, BRK_PERR_SUB_ARGS, in, l);
    }
    struct brk_str queue = n == 3 ? a[1] : (struct brk_str){NULL, 0};
    return to_parse(p->ops->sub(p->arg, a[0], queue, a[n - 1]));
}

static enum brk_parse do_unsub(struct brk_parser *p, const struct input *in, const struct line *l)
{
    struct brk_str a[ARGS_MAX];
    int n = split(in->buf + l->args, in->buf + l->end, a);
    if (n != 1 && n != 2) {
        return line_fault(p, BRK_PERR_UNSUB_ARGS, in, l);
    }
    size_t max = 0;
    if (n == 2 && !parse_size(a[1], &max)) {
        max = 0; /* as upstream: what is no number means now */
    }
    return to_parse(p->ops->unsub(p->arg, a[0], max));
}

/* --- payload ---------------------------------------------------------------------------------- */

static enum brk_parse deliver(struct brk_parser *p, const struct brk_pub_args *a,
                              const uint8_t *body)
{
    struct brk_msg m = {.subject = a->subject, .reply = a->reply, .payload = body + a->hdr_len};
    m.payload_len = a->total_len - a->hdr_len;
    if (a->hdr_len > 0) {
        m.hdr = body;
        m.hdr_len = a->hdr_len;
    }
    return to_parse(p->ops->pub(p->arg, &m));
}

/* Checks as much of the CRLF behind a payload as there is; -1: fine so far, else the offset of the
 * wrong byte. */
static int crlf_bad(const uint8_t *p, size_t len)
{
    if (len > 0 && p[0] != '\r') {
        return 0;
    }
    return len > 1 && p[1] != '\n' ? 1 : -1;
}

/* Starts the assembly of a large message; `have` bytes of it are here. */
static enum brk_parse blob_start(struct brk_parser *p, const struct brk_pub_args *a,
                                 const uint8_t *body, size_t have)
{
    size_t head = a->subject.n + a->reply.n;
    uint8_t *blob = base_try_malloc(head + a->total_len + 2);
    if (blob == NULL) {
        return fault(p, BRK_PERR_NO_MEMORY, NULL, 0, a->total_len);
    }
    memcpy(blob, a->subject.p, a->subject.n);
    if (a->reply.n > 0) {
        memcpy(blob + a->subject.n, a->reply.p, a->reply.n);
    }
    memcpy(blob + head, body, have);
    p->blob = blob;
    p->blob_at = head;
    p->blob_have = have;
    p->blob_args = *a;
    p->blob_args.subject.p = (const char *)blob;
    p->blob_args.reply.p = (const char *)blob + a->subject.n;
    p->line_seen = false;
    return BRK_PARSE_OK;
}

static enum brk_parse blob_feed(struct brk_parser *p, size_t len)
{
    struct brk_pub_args a = p->blob_args;
    p->blob_have += len;
    ASSERT(p->blob_have <= a.total_len + 2);
    uint8_t *body = p->blob + p->blob_at;
    if (p->blob_have > a.total_len) {
        size_t tail = p->blob_have - a.total_len;
        int bad = crlf_bad(body + a.total_len, tail);
        if (bad >= 0) {
            return fault(p, BRK_PERR_UNKNOWN_OP, body + a.total_len + bad, tail - (size_t)bad, 0);
        }
    }
    if (p->blob_have < a.total_len + 2) {
        return BRK_PARSE_OK;
    }
    uint8_t *blob = p->blob;
    p->blob = NULL;
    enum brk_parse r = deliver(p, &a, body);
    base_free(blob);
    return r;
}

/* --- one operation ---------------------------------------------------------------------------- */

/* Keeps [from, len) for the next read. */
static void carry_keep(struct brk_parser *p, const struct input *in, size_t from)
{
    ASSERT(p->carry == NULL);
    if (from == in->len) {
        return;
    }
    p->carry_len = in->len - from;
    p->carry = base_malloc(p->carry_len);
    memcpy(p->carry, in->buf + from, p->carry_len);
}

/* Keeps an unfinished line: its verb and what stands of its arguments, without the white space
 * between them, which could be endless. */
static void carry_line(struct brk_parser *p, const struct input *in, const struct line *l,
                       size_t verb_len)
{
    size_t have = in->len - l->args;
    p->carry_len = verb_len + have;
    p->carry = base_malloc(p->carry_len);
    memcpy(p->carry, in->buf + l->start, verb_len);
    memcpy(p->carry + verb_len, in->buf + l->args, have);
}

/* What one operation came to. */
enum step { STEP_DONE, STEP_MORE, STEP_STOP };

static enum step stop(enum brk_parse r, enum brk_parse *result_out)
{
    *result_out = r;
    return r == BRK_PARSE_OK ? STEP_DONE : STEP_STOP;
}

/* A PUB or HPUB whose line is complete. */
static enum step pub_op(struct brk_parser *p, const struct input *in, struct line *l,
                        enum brk_parse *r)
{
    struct brk_pub_args a;
    *r = pub_args(p, in, l, &a);
    if (*r != BRK_PARSE_OK) {
        return STEP_STOP;
    }
    if (!p->line_seen) {
        enum brk_op op = p->ops->pub_line(p->arg, &a);
        ASSERT(op != BRK_OP_PAUSE);
        if (op == BRK_OP_CLOSE) {
            return stop(BRK_PARSE_CLOSE, r);
        }
        p->line_seen = true;
    }
    const uint8_t *body = in->buf + l->next;
    size_t have = in->len - l->next;
    if (have > a.total_len) {
        size_t tail = u64_min(have - a.total_len, 2);
        int bad = crlf_bad(body + a.total_len, tail);
        if (bad >= 0) {
            const uint8_t *near = body + a.total_len + bad;
            return stop(fault(p, BRK_PERR_UNKNOWN_OP, near, (size_t)(in->buf + in->len - near), 0),
                        r);
        }
    }
    if (have >= a.total_len + 2) {
        p->line_seen = false;
        l->next += a.total_len + 2;
        return stop(deliver(p, &a, body), r);
    }
    if (a.total_len <= BRK_CARRY_PAYLOAD_MAX) {
        carry_keep(p, in, l->start);
        return STEP_MORE;
    }
    *r = blob_start(p, &a, body, have);
    return *r == BRK_PARSE_OK ? STEP_MORE : STEP_STOP;
}

static enum step line_op(struct brk_parser *p, const struct input *in, struct line *l,
                         enum brk_parse *r)
{
    struct brk_str text = {(const char *)in->buf + l->args, l->end - l->args};
    switch (l->verb) {
    case VERB_PUB:
    case VERB_HPUB:
        return pub_op(p, in, l, r);
    case VERB_SUB:
        return stop(do_sub(p, in, l), r);
    case VERB_UNSUB:
        return stop(do_unsub(p, in, l), r);
    case VERB_CONNECT:
        return stop(to_parse(p->ops->connect(p->arg, text)), r);
    case VERB_INFO:
        return stop(to_parse(p->ops->info(p->arg, text)), r);
    case VERB_ERR:
        return stop(to_parse(p->ops->err(p->arg, text)), r);
    case VERB_NONE:
    case VERB_PING:
    case VERB_PONG:
    case VERB_OK:
        break;
    }
    ASSERT(false);
    return STEP_STOP;
}

/* Finds the end of the line whose arguments start at l->args or behind. */
static enum step read_line(struct brk_parser *p, const struct input *in, struct line *l,
                           size_t verb_len, enum brk_parse *r)
{
    while (l->args < in->len && is_space(in->buf[l->args])) {
        l->args++;
    }
    const uint8_t *from = in->buf + l->args;
    size_t have = in->len - l->args;
    /* Arguments, CR and LF: what lies beyond can't end a line that is short enough. */
    size_t look = u64_min(have, p->control_line_max + 2);
    const uint8_t *lf = memchr(from, '\n', look);
    size_t len = lf != NULL ? (size_t)(lf - from) : have;
    bool cr = len > 0 && from[len - 1] == '\r';
    if (len - (cr ? 1 : 0) > p->control_line_max) {
        return stop(fault(p, BRK_PERR_CONTROL_LINE, from, u64_min(len, 64), 0), r);
    }
    if (lf == NULL) {
        carry_line(p, in, l, verb_len);
        return STEP_MORE;
    }
    l->end = l->args + len - (cr ? 1 : 0);
    l->next = l->args + len + 1;
    return STEP_DONE;
}

/* Goes to the end of a line that means nothing but its verb, then acts. */
static enum step skip_op(struct brk_parser *p, const struct input *in, size_t *pos,
                         enum brk_parse *r)
{
    const uint8_t *lf = memchr(in->buf + *pos, '\n', in->len - *pos);
    if (lf == NULL) {
        *pos = in->len;
        return STEP_MORE;
    }
    *pos = (size_t)(lf - in->buf) + 1;
    enum verb verb = p->skip;
    p->skip = VERB_NONE;
    if (verb == VERB_PING) {
        return stop(to_parse(p->ops->ping(p->arg)), r);
    }
    return verb == VERB_PONG ? stop(to_parse(p->ops->pong(p->arg)), r) : STEP_DONE;
}

/* The hot verb, without the table. */
static bool is_pub(const uint8_t *p, size_t len)
{
    return len >= 4 && (p[0] & 0xdf) == 'P' && (p[1] & 0xdf) == 'U' && (p[2] & 0xdf) == 'B' &&
           is_space(p[3]);
}

static enum step one_op(struct brk_parser *p, const struct input *in, size_t *pos,
                        enum brk_parse *r)
{
    if (p->skip != VERB_NONE) {
        return skip_op(p, in, pos, r);
    }
    const uint8_t *at = in->buf + *pos;
    size_t len = in->len - *pos;
    if (p->login && upper(at[0]) != 'C') {
        *r = to_parse(p->ops->before_login(p->arg));
        if (*r != BRK_PARSE_OK) {
            ASSERT(*r == BRK_PARSE_CLOSE);
            return STEP_STOP;
        }
    }
    const struct verb_def *def = &verbs[0];
    enum scan s = SCAN_LINE;
    if (!is_pub(at, len)) {
        size_t bad = 0;
        s = scan_verb(at, len, &def, &bad);
        if (s == SCAN_BAD) {
            return stop(fault(p, BRK_PERR_UNKNOWN_OP, at + bad, len - bad, 0), r);
        }
        if (s == SCAN_MORE) {
            carry_keep(p, in, *pos);
            return STEP_MORE;
        }
    }
    if (s == SCAN_SKIP) {
        p->skip = def->verb;
        *pos += def->len;
        return skip_op(p, in, pos, r);
    }
    struct line l = {
        .verb = def->verb, .start = *pos, .args = *pos + def->len + (def->space ? 1 : 0)};
    enum step step = read_line(p, in, &l, l.args - l.start, r);
    if (step == STEP_DONE) {
        step = line_op(p, in, &l, r);
        *pos = l.next;
    }
    return step;
}

static enum brk_parse parse(struct brk_parser *p, const struct input *in)
{
    size_t pos = 0;
    while (pos < in->len) {
        enum brk_parse r = BRK_PARSE_OK;
        enum step step = one_op(p, in, &pos, &r);
        if (step == STEP_MORE) {
            return BRK_PARSE_OK;
        }
        if (step == STEP_STOP) {
            if (r == BRK_PARSE_PAUSE) {
                carry_keep(p, in, pos);
            }
            return r;
        }
    }
    return BRK_PARSE_OK;
}

uint8_t *brk_parser_room(struct brk_parser *p, uint8_t *shared, size_t shared_len, size_t *room_out)
{
    if (p->blob != NULL) {
        *room_out = p->blob_args.total_len + 2 - p->blob_have;
        return p->blob + p->blob_at + p->blob_have;
    }
    ASSERT(shared_len > p->carry_len);
    if (p->carry_len > 0) {
        memcpy(shared, p->carry, p->carry_len);
    }
    *room_out = shared_len - p->carry_len;
    return shared + p->carry_len;
}

enum brk_parse brk_parser_feed(struct brk_parser *p, uint8_t *buf, size_t len)
{
    if (p->blob != NULL) {
        return blob_feed(p, len);
    }
    struct input in = {buf - p->carry_len, p->carry_len + len};
    base_free(p->carry);
    p->carry = NULL;
    p->carry_len = 0;
    return parse(p, &in);
}

enum brk_parse brk_parser_resume(struct brk_parser *p)
{
    struct input in = {p->carry, p->carry_len};
    p->carry = NULL;
    p->carry_len = 0;
    enum brk_parse r = in.len == 0 ? BRK_PARSE_OK : parse(p, &in);
    base_free(in.buf);
    return r;
}
