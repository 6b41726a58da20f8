#include "broker/tzif.h"

#include <string.h>

#include "engine/base/base.h"

#define HEAD 44u
#define DAY_S 86400
#define OFFSET_MAX (26 * 3600)   /* of a local time type, as the RFC recommends */
#define FAR_S ((int64_t)1 << 40) /* rules are not looked at beyond: 34,000 years */

/* A day of the year in a rule: Mm.w.d, Jn (no leap day) or n (from 0, with it). */
struct rule {
    char kind; /* 'M', 'J' or '0' */
    int month, week, day;
    int32_t time_s; /* of the wall clock, from midnight; may lie outside the day */
};

struct tzif {
    int64_t *at; /* owned: transitions, rising */
    int32_t *to; /* owned: the offset from each on */
    size_t n;
    int32_t first; /* the offset before all of them */
    bool tail;     /* the rest holds from the last on */
    bool has_dst;
    int32_t std, dst;
    struct rule from, until; /* of daylight saving time */
};

void tzif_destroy(struct tzif *z)
{
    if (z != NULL) {
        base_free(z->at);
        base_free(z->to);
        base_free(z);
    }
}

/* --- the string at the end -------------------------------------------------------------------- */

struct text {
    const char *p, *end;
};

static bool take_char(struct text *t, char c)
{
    if (t->p < t->end && *t->p == c) {
        t->p++;
        return true;
    }
    return false;
}

static bool take_int(struct text *t, int max, int *out)
{
    const char *from = t->p;
    int v = 0;
    for (; t->p < t->end && *t->p >= '0' && *t->p <= '9'; t->p++) {
        v = v * 10 + (*t->p - '0');
        if (v > max) {
            return false;
        }
    }
    *out = v;
    return t->p > from;
}

static bool take_name(struct text *t)
{
    const char *from = t->p;
    if (take_char(t, '<')) {
        while (t->p < t->end && *t->p != '>') {
            t->p++;
        }
        return take_char(t, '>');
    }
    while (t->p < t->end && ((*t->p >= 'A' && *t->p <= 'Z') || (*t->p >= 'a' && *t->p <= 'z'))) {
        t->p++;
    }
    return t->p - from >= 3;
}

/* [+-]hh[:mm[:ss]] */
static bool take_hms(struct text *t, int32_t *out)
{
    int sign = take_char(t, '-') ? -1 : 1, h, m = 0, s = 0;
    if (sign > 0) {
        (void)take_char(t, '+');
    }
    if (!take_int(t, 167, &h)) {
        return false;
    }
    if (take_char(t, ':')) {
        if (!take_int(t, 59, &m)) {
            return false;
        }
        if (take_char(t, ':') && !take_int(t, 59, &s)) {
            return false;
        }
    }
    *out = sign * (h * 3600 + m * 60 + s);
    return true;
}

static bool take_rule(struct text *t, struct rule *r)
{
    *r = (struct rule){.kind = '0', .time_s = 2 * 3600};
    if (take_char(t, 'M')) {
        r->kind = 'M';
        if (!take_int(t, 12, &r->month) || r->month == 0 || !take_char(t, '.') ||
            !take_int(t, 5, &r->week) || r->week == 0 || !take_char(t, '.') ||
            !take_int(t, 6, &r->day)) {
            return false;
        }
    } else {
        r->kind = take_char(t, 'J') ? 'J' : '0';
        if (!take_int(t, 365, &r->day) || (r->kind == 'J' && r->day == 0)) {
            return false;
        }
    }
    return !take_char(t, '/') || take_hms(t, &r->time_s);
}

static bool read_tail(struct tzif *z, struct text t)
{
    int32_t west;
    if (!take_name(&t) || !take_hms(&t, &west) || west < -OFFSET_MAX || west > OFFSET_MAX) {
        return false;
    }
    z->std = -west;
    if (t.p == t.end) {
        return true;
    }
    z->has_dst = true;
    z->dst = z->std + 3600; /* unless it says another */
    if (!take_name(&t)) {
        return false;
    }
    if (t.p < t.end && *t.p != ',') {
        if (!take_hms(&t, &west) || west < -OFFSET_MAX || west > OFFSET_MAX) {
            return false;
        }
        z->dst = -west;
    }
    return z->dst <= OFFSET_MAX && take_char(&t, ',') && take_rule(&t, &z->from) &&
           take_char(&t, ',') && take_rule(&t, &z->until) && t.p == t.end;
}

/* --- the rules -------------------------------------------------------------------------------- */

static bool leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days from 1970-01-01 to the first of January. */
static int64_t days_to(int64_t year)
{
    int64_t y = year - 1;
    return 365 * (year - 1970) + floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400) - 477;
}

static int64_t year_of(int64_t days)
{
    int64_t y = 1970 + floor_div(days * 400, 146097);
    while (days_to(y) > days) {
        y--;
    }
    while (days_to(y + 1) <= days) {
        y++;
    }
    return y;
}

/* When the rule strikes in a year, in seconds of that wall clock. */
static int64_t strikes(const struct rule *r, int64_t year)
{
    static const int before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    int64_t first = days_to(year), day = r->day;
    if (r->kind == 'J') {
        day = r->day - 1 + (leap(year) && r->day >= 60 ? 1 : 0);
    } else if (r->kind == 'M') {
        int m = r->month;
        int64_t begin = before[m - 1] + (leap(year) && m > 2 ? 1 : 0);
        int64_t end = before[m] + (leap(year) && m >= 2 ? 1 : 0);
        int64_t weekday = (((first + begin) % 7 + 7) % 7 + 4) % 7; /* day 0 was a Thursday */
        day = begin + (r->day - weekday + 7) % 7 + 7 * (r->week - 1);
        while (day >= end) {
            day -= 7;
        }
    }
    return (first + day) * DAY_S + r->time_s;
}

static int32_t by_rules(const struct tzif *z, int64_t t, int64_t *until)
{
    *until = INT64_MAX;
    if (!z->has_dst || t > FAR_S || t < -FAR_S) {
        return z->std;
    }
    int64_t year = year_of(floor_div(t, DAY_S)), last = INT64_MIN;
    int32_t is = z->std;
    for (int64_t y = year - 1; y <= year + 1; y++) {
        int64_t on = strikes(&z->from, y) - z->std, off = strikes(&z->until, y) - z->dst;
        for (int i = 0; i < 2; i++) {
            int64_t at = i == 0 ? on : off;
            if (at <= t && at >= last) {
                last = at;
                is = i == 0 ? z->dst : z->std;
            } else if (at > t && at < *until) {
                *until = at;
            }
        }
    }
    return is;
}

int32_t tzif_offset(const struct tzif *z, int64_t t, int64_t *until)
{
    *until = INT64_MAX;
    if (z == NULL) {
        return 0;
    }
    size_t lo = 0, hi = z->n; /* the first transition behind t */
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (z->at[mid] <= t) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == z->n && z->tail) {
        return by_rules(z, t, until);
    }
    if (lo < z->n) {
        *until = z->at[lo];
    }
    return lo == 0 ? z->first : z->to[lo - 1];
}

/* --- the file --------------------------------------------------------------------------------- */

struct counts {
    size_t isut, isstd, leap, time, type, chars;
};

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static int64_t be64(const uint8_t *p)
{
    return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4));
}

static bool read_head(const uint8_t *p, size_t len, struct counts *c)
{
    if (len < HEAD || memcmp(p, "TZif", 4) != 0) {
        return false;
    }
    size_t *const to[] = {&c->isut, &c->isstd, &c->leap, &c->time, &c->type, &c->chars};
    for (size_t i = 0; i < ARRAY_LEN(to); i++) {
        *to[i] = be32(p + 20 + 4 * i);
        if (*to[i] > TZIF_BYTES_MAX) {
            return false;
        }
    }
    return c->type > 0 && c->type <= 256;
}

static size_t body_len(const struct counts *c, size_t word)
{
    return c->time * (word + 1) + c->type * 6 + c->chars + c->leap * (word + 4) + c->isstd +
           c->isut;
}

static bool offset_of(const uint8_t *types, size_t i, int32_t *out)
{
    *out = (int32_t)be32(types + 6 * i);
    return *out >= -OFFSET_MAX && *out <= OFFSET_MAX;
}

/* Before the first transition: the first standard time, or the first type. */
static bool read_first(struct tzif *z, const uint8_t *types, size_t ntypes)
{
    size_t i = 0;
    while (i < ntypes && types[6 * i + 4] != 0) {
        i++;
    }
    return offset_of(types, i < ntypes ? i : 0, &z->first);
}

static bool read_body(struct tzif *z, const uint8_t *p, const struct counts *c, size_t word)
{
    const uint8_t *index = p + c->time * word, *types = index + c->time;
    z->n = c->time;
    z->at = base_calloc(c->time + 1, sizeof *z->at);
    z->to = base_calloc(c->time + 1, sizeof *z->to);
    for (size_t i = 0; i < c->time; i++) {
        z->at[i] = word == 8 ? be64(p + 8 * i) : (int32_t)be32(p + 4 * i);
        if ((i > 0 && z->at[i] <= z->at[i - 1]) || index[i] >= c->type ||
            !offset_of(types, index[i], &z->to[i])) {
            return false;
        }
    }
    return read_first(z, types, c->type);
}

static bool read_all(struct tzif *z, const uint8_t *p, size_t len)
{
    struct counts c;
    size_t word = 4;
    if (!read_head(p, len, &c) || body_len(&c, word) > len - HEAD) {
        return false;
    }
    uint8_t version = p[4];
    p += HEAD;
    len -= HEAD;
    if (version >= '2') { /* the same once more, with times of 64 bits */
        p += body_len(&c, word);
        len -= body_len(&c, word);
        word = 8;
        if (!read_head(p, len, &c) || body_len(&c, word) > len - HEAD) {
            return false;
        }
        p += HEAD;
        len -= HEAD;
    }
    if (!read_body(z, p, &c, word)) {
        return false;
    }
    if (version < '2') {
        return true;
    }
    p += body_len(&c, word);
    len -= body_len(&c, word);
    const uint8_t *nl = len > 0 && p[0] == '\n' ? memchr(p + 1, '\n', len - 1) : NULL;
    z->tail = nl != NULL && nl > p + 1;
    return !z->tail || read_tail(z, (struct text){(const char *)p + 1, (const char *)nl});
}

enum st tzif_parse(const uint8_t *p, size_t len, struct tzif **out)
{
    struct tzif *z = base_calloc(1, sizeof *z);
    *out = NULL;
    if (!read_all(z, p, len)) {
        tzif_destroy(z);
        return ST_CORRUPT;
    }
    *out = z;
    return ST_OK;
}
