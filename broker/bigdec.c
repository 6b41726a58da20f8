#include "broker/bigdec.h"

#include <string.h>

#include "engine/base/base.h"

struct num {
    bool negative;
    const char *p; /* digits without leading zeros; none: zero */
    size_t n;
};

bool bigdec_valid(const char *p, size_t len)
{
    size_t i = len > 0 && (p[0] == '+' || p[0] == '-');
    if (i == len) {
        return false;
    }
    for (; i < len; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return false;
        }
    }
    return true;
}

static struct num read_num(const char *p, size_t len)
{
    struct num v = {.negative = p[0] == '-'};
    size_t i = p[0] == '+' || p[0] == '-';
    while (i < len && p[i] == '0') {
        i++;
    }
    v.p = p + i;
    v.n = len - i;
    return v;
}

static int compare(const struct num *a, const struct num *b)
{
    if (a->n != b->n) {
        return a->n < b->n ? -1 : 1;
    }
    return a->n == 0 ? 0 : memcmp(a->p, b->p, a->n);
}

static int digit(const struct num *v, size_t from_end)
{
    return from_end < v->n ? v->p[v->n - 1 - from_end] - '0' : 0;
}

/* |a| + |b|, or |a| - |b| where |a| >= |b|; `sign` is 1 or -1. */
static size_t combine(const struct num *a, const struct num *b, int sign, bool negative, char *out)
{
    size_t most = (a->n > b->n ? a->n : b->n) + 1, n = 0;
    int carry = 0;
    char *end = out + most + 1, *p = end;
    for (size_t i = 0; i < most; i++) {
        int v = digit(a, i) + sign * digit(b, i) + carry;
        carry = v < 0 ? -1 : v > 9 ? 1 : 0;
        *--p = (char)('0' + v - 10 * carry);
    }
    ASSERT(carry == 0);
    while (p < end - 1 && *p == '0') {
        p++;
    }
    bool zero = *p == '0';
    if (negative && !zero) {
        out[n++] = '-';
    }
    memmove(out + n, p, (size_t)(end - p));
    return n + (size_t)(end - p);
}

static size_t add(const struct num *a, const struct num *b, char *out)
{
    if (a->negative == b->negative) {
        return combine(a, b, 1, a->negative, out);
    }
    return compare(a, b) >= 0 ? combine(a, b, -1, a->negative, out)
                              : combine(b, a, -1, b->negative, out);
}

size_t bigdec_add(const char *a, size_t len_a, const char *b, size_t len_b, char *out)
{
    struct num x = read_num(a, len_a), y = read_num(b, len_b);
    return add(&x, &y, out);
}

size_t bigdec_sub(const char *a, size_t len_a, const char *b, size_t len_b, char *out)
{
    struct num x = read_num(a, len_a), y = read_num(b, len_b);
    y.negative = !y.negative;
    return add(&x, &y, out);
}
