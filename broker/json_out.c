#include "broker/json_out.h"

#include "engine/base/base.h"

void json_out_fini(struct json_out *j)
{
    base_free(j->buf);
    *j = (struct json_out){0};
}

void json_out_reset(struct json_out *j)
{
    j->len = 0;
    j->comma = false;
}

char *json_out_take(struct json_out *j, size_t *len_out)
{
    char *p = j->buf;
    *len_out = j->len;
    *j = (struct json_out){0};
    return p;
}

static char *room(struct json_out *j, size_t more)
{
    if (j->cap - j->len < more) {
        size_t cap = j->cap == 0 ? 512 : j->cap;
        while (cap - j->len < more) {
            cap *= 2;
        }
        j->buf = base_realloc(j->buf, cap);
        j->cap = cap;
    }
    return j->buf + j->len;
}

void json_out_raw(struct json_out *j, const char *p, size_t len)
{
    if (len == 0) {
        return;
    }
    memcpy(room(j, len), p, len);
    j->len += len;
}

static void put(struct json_out *j, char c)
{
    *room(j, 1) = c;
    j->len++;
}

static void sep(struct json_out *j)
{
    if (j->comma) {
        put(j, ',');
    }
    j->comma = true;
}

void json_out_begin(struct json_out *j)
{
    sep(j);
    put(j, '{');
    j->comma = false;
}

void json_out_end(struct json_out *j)
{
    put(j, '}');
    j->comma = true;
}

void json_out_key(struct json_out *j, const char *key)
{
    sep(j);
    put(j, '"');
    json_out_raw(j, key, strlen(key));
    json_out_raw(j, "\":", 2);
    j->comma = false;
}

void json_out_open(struct json_out *j, const char *key)
{
    json_out_key(j, key);
    json_out_begin(j);
}

void json_out_array(struct json_out *j, const char *key)
{
    if (key != NULL) {
        json_out_key(j, key);
    }
    sep(j);
    put(j, '[');
    j->comma = false;
}

void json_out_array_end(struct json_out *j)
{
    put(j, ']');
    j->comma = true;
}

size_t json_utf8_len(const unsigned char *p, size_t left)
{
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        return left >= 2 && (p[1] & 0xC0) == 0x80 ? 2 : 0;
    }
    if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        if (left < 3 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80) {
            return 0;
        }
        bool overlong = p[0] == 0xE0 && p[1] < 0xA0;
        bool surrogate = p[0] == 0xED && p[1] > 0x9F;
        return overlong || surrogate ? 0 : 3;
    }
    if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        if (left < 4 || (p[1] & 0xC0) != 0x80 || (p[2] & 0xC0) != 0x80 || (p[3] & 0xC0) != 0x80) {
            return 0;
        }
        bool overlong = p[0] == 0xF0 && p[1] < 0x90;
        bool beyond = p[0] == 0xF4 && p[1] > 0x8F;
        return overlong || beyond ? 0 : 4;
    }
    return 0;
}

static void escape_ascii(struct json_out *j, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char short_form = 0;
    switch (c) {
    case '"':
    case '\\':
        short_form = (char)c;
        break;
    case '\b':
        short_form = 'b';
        break;
    case '\f':
        short_form = 'f';
        break;
    case '\n':
        short_form = 'n';
        break;
    case '\r':
        short_form = 'r';
        break;
    case '\t':
        short_form = 't';
        break;
    default:
        break;
    }
    if (short_form != 0) {
        put(j, '\\');
        put(j, short_form);
        return;
    }
    char u[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    json_out_raw(j, u, sizeof u);
}

static void put_string(struct json_out *j, const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    put(j, '"');
    size_t plain = 0; /* start of the run that needs no escape */
    size_t i = 0;
    while (i < len) {
        unsigned char c = p[i];
        if (c >= 0x20 && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&') {
            i++;
            continue;
        }
        size_t n = json_utf8_len(p + i, len - i);
        bool line_sep =
            n == 3 && p[i] == 0xE2 && p[i + 1] == 0x80 && (p[i + 2] == 0xA8 || p[i + 2] == 0xA9);
        if (n > 1 && !line_sep) {
            i += n;
            continue;
        }
        json_out_raw(j, s + plain, i - plain);
        if (n == 0) {
            json_out_raw(j, "\\ufffd", 6);
            n = 1;
        } else if (n == 1) {
            escape_ascii(j, c);
        } else {
            json_out_raw(j, p[i + 2] == 0xA8 ? "\\u2028" : "\\u2029", 6);
        }
        i += n;
        plain = i;
    }
    json_out_raw(j, s + plain, len - plain);
    put(j, '"');
}

void json_out_val_str(struct json_out *j, const char *s, size_t len)
{
    sep(j);
    put_string(j, s, len);
}

void json_out_key_escaped(struct json_out *j, const char *key, size_t len)
{
    sep(j);
    put_string(j, key, len);
    put(j, ':');
    j->comma = false;
}

static void put_u64(struct json_out *j, uint64_t v)
{
    char t[20];
    size_t n = 0;
    do {
        t[sizeof t - ++n] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    json_out_raw(j, t + sizeof t - n, n);
}

void json_out_val_u64(struct json_out *j, uint64_t v)
{
    sep(j);
    put_u64(j, v);
}

void json_out_val_i64(struct json_out *j, int64_t v)
{
    sep(j);
    if (v < 0) {
        put(j, '-');
    }
    put_u64(j, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

void json_out_val_bool(struct json_out *j, bool v)
{
    sep(j);
    json_out_raw(j, v ? "true" : "false", v ? 4 : 5);
}

void json_out_val_null(struct json_out *j)
{
    sep(j);
    json_out_raw(j, "null", 4);
}

static char *put_digits(char *p, uint64_t v, unsigned width)
{
    for (unsigned i = width; i > 0; i--) {
        p[i - 1] = (char)('0' + v % 10);
        v /= 10;
    }
    return p + width;
}

/* Days since 1970-01-01 to year, month, day (proleptic Gregorian). */
static void civil(int64_t days, int64_t *y_out, unsigned *m_out, unsigned *d_out)
{
    days += 719468; /* from 0000-03-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    uint64_t doe = (uint64_t)(days - era * 146097);
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153;
    *d_out = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
    *m_out = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
    *y_out = (int64_t)yoe + era * 400 + (*m_out <= 2 ? 1 : 0);
}

size_t json_time_text(char *out, int64_t unix_ns)
{
    if (unix_ns == 0 || unix_ns == JSON_ZERO_TIME) {
        memcpy(out, "0001-01-01T00:00:00Z", 20);
        return 20;
    }
    unix_ns = unix_ns == JSON_EPOCH_TIME ? 0 : unix_ns;
    int64_t sec = unix_ns / NS_PER_S;
    int64_t ns = unix_ns % NS_PER_S;
    if (ns < 0) {
        ns += NS_PER_S;
        sec--;
    }
    int64_t days = sec / 86400;
    int64_t rest = sec % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t y;
    unsigned m, d;
    civil(days, &y, &m, &d);
    char *p = put_digits(out, (uint64_t)y, 4);
    *p++ = '-';
    p = put_digits(p, m, 2);
    *p++ = '-';
    p = put_digits(p, d, 2);
    *p++ = 'T';
    p = put_digits(p, (uint64_t)(rest / 3600), 2);
    *p++ = ':';
    p = put_digits(p, (uint64_t)(rest / 60 % 60), 2);
    *p++ = ':';
    p = put_digits(p, (uint64_t)(rest % 60), 2);
    if (ns != 0) {
        *p++ = '.';
        p = put_digits(p, (uint64_t)ns, 9);
        while (p[-1] == '0') {
            p--;
        }
    }
    *p++ = 'Z';
    return (size_t)(p - out);
}

void json_out_val_time(struct json_out *j, int64_t unix_ns)
{
    char t[JSON_TIME_MAX];
    size_t n = json_time_text(t, unix_ns);
    sep(j);
    put(j, '"');
    json_out_raw(j, t, n);
    put(j, '"');
}

void json_out_val_base64(struct json_out *j, const void *p, size_t len)
{
    static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *in = p;
    sep(j);
    put(j, '"');
    char *o = room(j, (len + 2) / 3 * 4);
    for (size_t i = 0; i < len; i += 3) {
        uint32_t b1 = i + 1 < len ? in[i + 1] : 0;
        uint32_t b2 = i + 2 < len ? in[i + 2] : 0;
        uint32_t v = (uint32_t)in[i] << 16 | b1 << 8 | b2;
        *o++ = abc[v >> 18];
        *o++ = abc[v >> 12 & 63];
        *o++ = i + 1 < len ? abc[v >> 6 & 63] : '=';
        *o++ = i + 2 < len ? abc[v & 63] : '=';
    }
    j->len += (len + 2) / 3 * 4;
    put(j, '"');
}

void json_out_str(struct json_out *j, const char *key, const char *s)
{
    json_out_strn(j, key, s, strlen(s));
}

void json_out_strn(struct json_out *j, const char *key, const char *s, size_t len)
{
    json_out_key(j, key);
    json_out_val_str(j, s, len);
}

void json_out_u64(struct json_out *j, const char *key, uint64_t v)
{
    json_out_key(j, key);
    json_out_val_u64(j, v);
}

void json_out_i64(struct json_out *j, const char *key, int64_t v)
{
    json_out_key(j, key);
    json_out_val_i64(j, v);
}

void json_out_bool(struct json_out *j, const char *key, bool v)
{
    json_out_key(j, key);
    json_out_val_bool(j, v);
}

void json_out_time(struct json_out *j, const char *key, int64_t unix_ns)
{
    json_out_key(j, key);
    json_out_val_time(j, unix_ns);
}
