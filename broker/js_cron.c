#include "broker/js_cron.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "broker/json_in.h"
#include "broker/tzif.h"
#include "engine/base/base.h"
#include "engine/base/godur.h"

#define DAY_S (24 * 3600)
#define YEARS_AHEAD 5 /* a schedule that is not due within is invalid */

/* --- calendar --------------------------------------------------------------------------------- */

struct date {
    int64_t year;
    int month, day;
};

/* Days since 1970-01-01, in the calendar of 400-year cycles that begin in March. */
static struct date date_of(int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    struct date d = {.day = (int)(doy - (153 * mp + 2) / 5 + 1),
                     .month = (int)(mp < 10 ? mp + 3 : mp - 9)};
    d.year = yoe + era * 400 + (d.month <= 2);
    return d;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

size_t js_cron_time(char *out, int64_t ns, const struct tzif *zone)
{
    int64_t s = floor_div(ns, NS_PER_S), until;
    int32_t east = tzif_offset(zone, s, &until);
    s += east;
    int64_t days = floor_div(s, DAY_S), of_day = s - days * DAY_S;
    struct date d = date_of(days);
    int n = snprintf(out, JS_CRON_TIME_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", (int)d.year, d.month,
                     d.day, (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60));
    int32_t minutes = (east < 0 ? -east : east) / 60;
    n += minutes == 0 ? snprintf(out + n, JS_CRON_TIME_MAX - (size_t)n, "Z")
                      : snprintf(out + n, JS_CRON_TIME_MAX - (size_t)n, "%c%02d:%02d",
                                 east < 0 ? '-' : '+', minutes / 60, minutes % 60);
    return (size_t)n;
}

/* --- fields ----------------------------------------------------------------------------------- */

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                     "jul", "aug", "sep", "oct", "nov", "dec"};
static const char *const weekdays[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct field {
    int min, max;
    const char *const *names; /* of min.. ; or NULL */
    int nnames;
};

static bool number(const char **pp, const char *end, const struct field *f, int *out)
{
    const char *p = *pp;
    for (int i = 0; i < f->nnames && end - p >= 3; i++) {
        if (strncasecmp(p, f->names[i], 3) == 0) {
            *pp = p + 3;
            *out = f->min + i;
            return true;
        }
    }
    int v = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        v = v * 10 + (*p - '0');
        if (v > 9999) {
            return false;
        }
    }
    if (p == *pp) {
        return false;
    }
    *pp = p;
    *out = v;
    return true;
}

/* `*`, `5`, `1-5`, each with an optional `/step`. */
static bool range(const char *p, const char *end, const struct field *f, uint64_t *bits, bool *star)
{
    int lo = f->min, hi = f->max, step = 1;
    bool open = false, any = p < end && (*p == '*' || *p == '?');
    if (any) {
        p++;
    } else {
        if (!number(&p, end, f, &lo)) {
            return false;
        }
        hi = lo;
        open = true; /* `5/2` goes on to the end */
        if (p < end && *p == '-') {
            p++;
            open = false;
            if (!number(&p, end, f, &hi)) {
                return false;
            }
        }
    }
    if (p < end && *p == '/') {
        static const struct field plain = {0, 9999, NULL, 0};
        p++;
        if (!number(&p, end, &plain, &step) || step == 0) {
            return false;
        }
        hi = open ? f->max : hi;
    }
    if (p != end || lo < f->min || hi > f->max || lo > hi) {
        return false;
    }
    *star = *star || (any && step == 1);
    for (int v = lo; v <= hi; v += step) {
        *bits |= 1ull << v;
    }
    return true;
}

static bool list(const char *p, size_t len, const struct field *f, uint64_t *bits, bool *star)
{
    const char *end = p + len;
    *bits = 0;
    *star = false;
    for (;;) {
        const char *comma = memchr(p, ',', (size_t)(end - p));
        if (!range(p, comma != NULL ? comma : end, f, bits, star)) {
            return false;
        }
        if (comma == NULL) {
            return true;
        }
        p = comma + 1;
    }
}

static bool parse_fields(struct js_cron *c, const char *p, size_t len)
{
    static const struct field fields[6] = {
        {0, 59, NULL, 0}, {0, 59, NULL, 0},    {0, 23, NULL, 0},
        {1, 31, NULL, 0}, {1, 12, months, 12}, {0, 6, weekdays, 7},
    };
    const char *end = p + len;
    uint64_t bits[6];
    bool star[6];
    for (int i = 0; i < 6; i++) {
        while (p < end && *p == ' ') {
            p++;
        }
        const char *from = p;
        while (p < end && *p != ' ') {
            p++;
        }
        if (from == p || !list(from, (size_t)(p - from), &fields[i], &bits[i], &star[i])) {
            return false;
        }
    }
    while (p < end && *p == ' ') {
        p++;
    }
    *c = (struct js_cron){.kind = JS_CRON_FIELDS,
                          .second = bits[0],
                          .minute = bits[1],
                          .hour = (uint32_t)bits[2],
                          .day = (uint32_t)bits[3],
                          .month = (uint32_t)bits[4],
                          .weekday = (uint8_t)bits[5],
                          .any_day = star[3],
                          .any_weekday = star[5]};
    return p == end;
}

bool js_cron_parse(struct js_cron *c, const char *p, size_t len)
{
    static const char *const known[][2] = {
        {"@yearly", "0 0 0 1 1 *"}, {"@annually", "0 0 0 1 1 *"}, {"@monthly", "0 0 0 1 * *"},
        {"@weekly", "0 0 0 * * 0"}, {"@daily", "0 0 0 * * *"},    {"@midnight", "0 0 0 * * *"},
        {"@hourly", "0 0 * * * *"},
    };
    *c = (struct js_cron){0};
    if (len > 4 && memcmp(p, "@at ", 4) == 0) {
        c->kind = JS_CRON_AT;
        return json_time_parse(p + 4, len - 4, &c->ns);
    }
    if (len > 7 && memcmp(p, "@every ", 7) == 0) {
        c->kind = JS_CRON_EVERY;
        return godur_parse(p + 7, len - 7, &c->ns) && c->ns >= NS_PER_S;
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strlen(known[i][0]) == len && memcmp(p, known[i][0], len) == 0) {
            return parse_fields(c, known[i][1], strlen(known[i][1]));
        }
    }
    return parse_fields(c, p, len) && js_cron_next(c, 0) != INT64_MAX;
}

/* --- next ------------------------------------------------------------------------------------- */

static bool day_fits(const struct js_cron *c, int64_t days)
{
    struct date d = date_of(days);
    bool day = (c->day >> d.day & 1u) != 0;
    bool weekday = (c->weekday >> (unsigned)((days % 7 + 11) % 7) & 1u) != 0; /* day 0: Thursday */
    if ((c->month >> d.month & 1u) == 0) {
        return false;
    }
    return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

/* First second of the day at or after `from` that fits; -1: none. */
static int64_t in_day(const struct js_cron *c, int64_t from)
{
    for (int64_t h = from / 3600; h < 24; h++) {
        if ((c->hour >> h & 1u) == 0) {
            continue;
        }
        for (int64_t m = h * 3600 < from ? from / 60 % 60 : 0; m < 60; m++) {
            if ((c->minute >> m & 1u) == 0) {
                continue;
            }
            int64_t base = h * 3600 + m * 60;
            for (int64_t s = base < from ? from - base : 0; s < 60; s++) {
                if ((c->second >> s & 1u) != 0) {
                    return base + s;
                }
            }
        }
    }
    return -1;
}

/* The first second of a wall clock that fits, t_s or later; INT64_MAX: none for years. */
static int64_t next_on_clock(const struct js_cron *c, int64_t t_s)
{
    int64_t days = floor_div(t_s, DAY_S), from = t_s - days * DAY_S;
    for (int64_t last = days + YEARS_AHEAD * 366; days <= last; days++, from = 0) {
        int64_t s = day_fits(c, days) ? in_day(c, from) : -1;
        if (s >= 0) {
            return days * DAY_S + s;
        }
    }
    return INT64_MAX;
}

/* One stretch of equal offset after the other: a time that the clock steps over does not come, one
 * that it shows twice comes twice. */
static int64_t next_in_zone(const struct js_cron *c, int64_t t_s)
{
    int64_t last = t_s + (int64_t)YEARS_AHEAD * 366 * DAY_S, until_s;
    while (t_s <= last) {
        int32_t east = tzif_offset(c->zone, t_s, &until_s);
        int64_t next = next_on_clock(c, t_s + east);
        if (next == INT64_MAX || next - east < until_s) {
            return next == INT64_MAX ? next : next - east;
        }
        t_s = until_s;
    }
    return INT64_MAX;
}

int64_t js_cron_next(const struct js_cron *c, int64_t after_ns)
{
    int64_t at;
    if (c->kind == JS_CRON_AT) {
        return c->ns;
    }
    if (c->kind == JS_CRON_EVERY) {
        return __builtin_add_overflow(after_ns, c->ns, &at) ? INT64_MAX : at;
    }
    int64_t t_s = floor_div(after_ns, NS_PER_S) + 1;
    t_s = c->zone == NULL ? next_on_clock(c, t_s) : next_in_zone(c, t_s);
    return __builtin_mul_overflow(t_s, NS_PER_S, &at) ? INT64_MAX : at;
}

static int64_t round_s(int64_t ns)
{
    int64_t room = i64_max(ns, INT64_MIN + NS_PER_S); /* the stamp of a message may be any */
    return floor_div(i64_add_sat(room, NS_PER_S / 2), NS_PER_S) * NS_PER_S;
}

int64_t js_cron_first(const struct js_cron *c, int64_t ts_ns, int64_t now_ns)
{
    if (c->kind != JS_CRON_EVERY) {
        return js_cron_next(c, now_ns);
    }
    int64_t next = js_cron_next(c, round_s(ts_ns));
    return next < now_ns ? js_cron_next(c, round_s(now_ns)) : next;
}
