#include "engine/base/godur.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/base.h"

static const struct {
    const char *unit;
    uint64_t ns;
} units[] = {
    {"ns", 1},           {"us", 1000},      {"\xc2\xb5s", 1000}, /* micro sign */
    {"\xce\xbcs", 1000},                                         /* Greek mu */
    {"ms", 1000000},     {"s", 1000000000}, {"m", 60000000000},  {"h", 3600000000000},
};

/* One number with its unit, as ns. The fraction is cut, as Go does. */
static bool one_part(const char **pp, const char *end, uint64_t *ns_out)
{
    const char *p = *pp;
    uint64_t whole = 0, frac = 0, scale = 1;
    size_t digits = 0;
    for (; p < end && *p >= '0' && *p <= '9'; p++, digits++) {
        uint64_t d = (uint64_t)(*p - '0');
        if (whole > ((uint64_t)INT64_MAX - d) / 10) {
            return false;
        }
        whole = whole * 10 + d;
    }
    if (p < end && *p == '.') {
        for (p++; p < end && *p >= '0' && *p <= '9'; p++, digits++) {
            if (scale < 100000000000000) {
                frac = frac * 10 + (uint64_t)(*p - '0');
                scale *= 10;
            }
        }
    }
    if (digits == 0) {
        return false;
    }
    size_t left = (size_t)(end - p), best = 0;
    uint64_t unit = 0;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t n = strlen(units[i].unit);
        if (n > best && left >= n && memcmp(p, units[i].unit, n) == 0) {
            best = n;
            unit = units[i].ns;
        }
    }
    if (best == 0 || whole > (uint64_t)INT64_MAX / unit) {
        return false;
    }
    *ns_out = whole * unit + (uint64_t)((double)frac * ((double)unit / (double)scale));
    *pp = p + best;
    return true;
}

bool godur_parse(const char *p, size_t len, int64_t *ns_out)
{
    const char *end = p + len;
    bool negative = len > 0 && *p == '-';
    uint64_t sum = 0, part;
    if (len > 0 && (*p == '-' || *p == '+')) {
        p++;
    }
    if (end - p == 1 && *p == '0') {
        *ns_out = 0;
        return true;
    }
    if (p == end) {
        return false;
    }
    while (p < end) {
        if (!one_part(&p, end, &part) || part > (uint64_t)INT64_MAX - sum) {
            return false;
        }
        sum += part;
    }
    *ns_out = negative ? -(int64_t)sum : (int64_t)sum;
    return true;
}

/* `v` / 10^digits without trailing zeros. */
static size_t put_fraction(char *out, uint64_t v, unsigned digits, const char *unit)
{
    uint64_t scale = 1;
    for (unsigned i = 0; i < digits; i++) {
        scale *= 10;
    }
    size_t n = (size_t)snprintf(out, 24, "%llu", (unsigned long long)(v / scale));
    uint64_t rest = v % scale;
    if (rest != 0) {
        out[n++] = '.';
        while (rest != 0) {
            scale /= 10;
            out[n++] = (char)('0' + rest / scale);
            rest %= scale;
        }
    }
    memcpy(out + n, unit, strlen(unit) + 1);
    return n + strlen(unit);
}

size_t godur_put(char *out, int64_t ns)
{
    size_t n = 0;
    uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    if (ns < 0) {
        out[n++] = '-';
    }
    if (v == 0) {
        memcpy(out, "0s", 3);
        return 2;
    }
    if (v < 1000000000) {
        return n + (v < 1000      ? put_fraction(out + n, v, 0, "ns")
                    : v < 1000000 ? put_fraction(out + n, v, 3, "\xc2\xb5s")
                                  : put_fraction(out + n, v, 6, "ms"));
    }
    uint64_t minutes = v / 60000000000, hours = minutes / 60;
    if (hours > 0) {
        n += (size_t)snprintf(out + n, 12, "%lluh", (unsigned long long)hours);
    }
    if (minutes > 0) {
        n += (size_t)snprintf(out + n, 8, "%llum", (unsigned long long)(minutes % 60));
    }
    return n + put_fraction(out + n, v % 60000000000, 9, "s");
}
