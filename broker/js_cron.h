/* When a schedule is due (ADR-51): `@at <RFC 3339>`, `@every <duration>`, `@hourly` and its kin, or
 * six fields (second minute hour day month weekday), in UTC or a time zone. Pure; takes hostile
 * bytes. */
#ifndef BROKER_JS_CRON_H
#define BROKER_JS_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tzif;

enum js_cron_kind { JS_CRON_AT, JS_CRON_EVERY, JS_CRON_FIELDS };

struct js_cron {
    enum js_cron_kind kind;
    int64_t ns;              /* at: unix; every: the interval */
    uint64_t second, minute; /* bit per value */
    uint32_t hour, day, month;
    uint8_t weekday;
    bool any_day, any_weekday; /* a star: the other field alone decides */
    const struct tzif *zone;   /* borrowed; of fields. NULL: UTC. Set by the caller */
};

bool js_cron_parse(struct js_cron *c, const char *p, size_t len);
/* The first time it is due after `after_ns`; at: its time, whenever that is. INT64_MAX: never. */
int64_t js_cron_next(const struct js_cron *c, int64_t after_ns);
/* The first time of a schedule that was stored at ts_ns, looked at now. */
int64_t js_cron_first(const struct js_cron *c, int64_t ts_ns, int64_t now_ns);
#define JS_CRON_TIME_MAX 48u
/* `2026-11-21T13:29:27Z`, or with the offset of the zone (NULL: UTC); returns the length. */
size_t js_cron_time(char *out, int64_t ns, const struct tzif *zone);

#endif
