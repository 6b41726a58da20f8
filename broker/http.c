#include "broker/http.h"

#include <http_parser.h>
#include <stdio.h>
#include <strings.h>

#include "broker/json_out.h"
#include "engine/base/base.h"

/* --- what a head may hold --------------------------------------------------------------------- */

static enum brk_http_take refuse(struct brk_http_request *r, int status, const char *why)
{
    r->status = status;
    r->why = why;
    r->keep_alive = false;
    return BRK_HTTP_REFUSED;
}

/* Bytes that stand in names of headers and in methods (RFC 9110, 5.6.2). */
static bool is_token(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* Looks at the bytes from *seen on. READY: the head's length stands in *used_out. */
static enum brk_http_take find_end(const uint8_t *buf, size_t len, size_t *seen,
                                   struct brk_http_request *r, size_t *used_out)
{
    size_t top = len < BRK_HTTP_HEAD_MAX ? len : BRK_HTTP_HEAD_MAX;
    for (size_t i = *seen; i < top; i++) {
        uint8_t c = buf[i];
        bool after_cr = i > 0 && buf[i - 1] == '\r';
        if ((c == '\n') != after_cr) {
            return refuse(r, 400, "a line must end in CR LF");
        }
        if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f) {
            return refuse(r, 400, "control byte in the request");
        }
        if (c == '\n' && i < 2) {
            return refuse(r, 400, "empty request line");
        }
        if (c == '\n' && i >= 3 && buf[i - 2] == '\n') {
            *used_out = i + 1;
            return BRK_HTTP_READY;
        }
    }
    *seen = top;
    return top == BRK_HTTP_HEAD_MAX ? refuse(r, 431, "the request's head is too large")
                                    : BRK_HTTP_MORE;
}

/* Every header line is name ":" value; counts Host. */
static bool lines_ok(const uint8_t *buf, size_t len, unsigned *hosts_out)
{
    const uint8_t *p = memchr(buf, '\n', len);
    const uint8_t *end = buf + len - 2; /* the empty line */
    *hosts_out = 0;
    for (p++; p < end;) {
        const uint8_t *name = p;
        while (is_token(*p)) {
            p++;
        }
        size_t n = (size_t)(p - name);
        if (n == 0 || *p != ':') {
            return false;
        }
        *hosts_out += n == 4 && strncasecmp((const char *)name, "host", 4) == 0;
        p = (const uint8_t *)memchr(p, '\n', (size_t)(end - p)) + 1;
    }
    return true;
}

/* --- the library ------------------------------------------------------------------------------ */

struct head {
    const char *url;
    size_t url_len;
    bool whole, keep_alive, body;
};

static int on_url(http_parser *p, const char *at, size_t len)
{
    struct head *h = p->data;
    if (h->url == NULL) {
        h->url = at;
    }
    h->url_len += len;
    return 0;
}

static int on_headers(http_parser *p)
{
    struct head *h = p->data;
    h->whole = true;
    h->keep_alive = http_should_keep_alive(p) != 0;
    h->body = p->uses_transfer_encoding != 0 ||
              ((p->flags & F_CONTENTLENGTH) != 0 && p->content_length != 0);
    return 0;
}

/* --- decoding --------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Decodes %XX (and + where `plus`) into out, which has room for max bytes and a NUL. */
static bool decode(const char *p, size_t n, bool plus, char *out, size_t max)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];
        if (c == '%') {
            int hi = n - i > 2 ? hex(p[i + 1]) : -1;
            int lo = hi >= 0 ? hex(p[i + 2]) : -1;
            if (lo < 0) {
                return false;
            }
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        if (len == max || (unsigned char)c < ' ' || c == 0x7f) {
            return false;
        }
        out[len++] = c;
    }
    out[len] = 0;
    return true;
}

static enum brk_http_take split_url(struct brk_http_request *r, const struct head *h)
{
    struct http_parser_url u;
    http_parser_url_init(&u);
    if (h->url_len == 0 || http_parser_parse_url(h->url, h->url_len, 0, &u) != 0) {
        return refuse(r, 400, "cannot read the request's target");
    }
    if ((u.field_set & 1u << UF_QUERY) != 0) {
        if (u.field_data[UF_QUERY].len > BRK_HTTP_QUERY_MAX) {
            return refuse(r, 414, "the query is too long");
        }
        memcpy(r->query, h->url + u.field_data[UF_QUERY].off, u.field_data[UF_QUERY].len);
        r->query[u.field_data[UF_QUERY].len] = 0;
    }
    if ((u.field_set & 1u << UF_PATH) == 0) {
        memcpy(r->path, "/", 2);
        return BRK_HTTP_READY;
    }
    if (u.field_data[UF_PATH].len > BRK_HTTP_PATH_MAX) {
        return refuse(r, 414, "the path is too long");
    }
    if (!decode(h->url + u.field_data[UF_PATH].off, u.field_data[UF_PATH].len, false, r->path,
                BRK_HTTP_PATH_MAX)) {
        return refuse(r, 400, "bad escape in the path");
    }
    return BRK_HTTP_READY;
}

enum brk_http_take brk_http_take(const uint8_t *buf, size_t len, size_t *seen,
                                 struct brk_http_request *r, size_t *used_out)
{
    *used_out = 0;
    *r = (struct brk_http_request){.status = 0};
    size_t used = 0;
    enum brk_http_take t = find_end(buf, len, seen, r, &used);
    if (t != BRK_HTTP_READY) {
        return t;
    }
    unsigned hosts;
    if (!lines_ok(buf, used, &hosts)) {
        return refuse(r, 400, "malformed header line");
    }
    http_parser p;
    struct http_parser_settings s;
    struct head h = {.url = NULL};
    http_parser_init(&p, HTTP_REQUEST);
    http_parser_settings_init(&s);
    s.on_url = on_url;
    s.on_headers_complete = on_headers;
    p.data = &h;
    (void)http_parser_execute(&p, &s, (const char *)buf, used);
    if (HTTP_PARSER_ERRNO(&p) != HPE_OK || !h.whole) {
        return refuse(r, HTTP_PARSER_ERRNO(&p) == HPE_INVALID_VERSION ? 505 : 400,
                      "cannot read the request");
    }
    if (p.http_major != 1 || p.http_minor > 1) {
        return refuse(r, 505, "unsupported protocol version");
    }
    if (p.method != HTTP_GET && p.method != HTTP_HEAD) {
        return refuse(r, 405, "only GET and HEAD are served");
    }
    if (h.body) {
        return refuse(r, 400, "a request's body is not taken");
    }
    if (hosts > 1 || (hosts == 0 && p.http_minor == 1)) {
        return refuse(r, 400, "exactly one Host header is needed");
    }
    r->head = p.method == HTTP_HEAD;
    r->keep_alive = h.keep_alive && p.http_minor == 1;
    *used_out = used;
    return split_url(r, &h);
}

enum brk_http_param brk_http_param(const struct brk_http_request *r, const char *name, char *out)
{
    char key[64];
    out[0] = 0;
    for (const char *p = r->query; *p != 0;) {
        size_t n = strcspn(p, "&");
        size_t k = strcspn(p, "=&");
        if (decode(p, k, true, key, sizeof key - 1) && strcmp(key, name) == 0) {
            const char *v = k < n ? p + k + 1 : p + n;
            if (decode(v, (size_t)(p + n - v), true, out, BRK_HTTP_VALUE_MAX)) {
                return BRK_HTTP_FOUND;
            }
            out[0] = 0;
            return BRK_HTTP_BAD;
        }
        p += n + (p[n] == '&');
    }
    return BRK_HTTP_ABSENT;
}

/* --- answers ---------------------------------------------------------------------------------- */

const char *brk_http_status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 414:
        return "URI Too Long";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Internal Server Error";
    }
}

/* "Sat, 21 Nov 2026 09:43:07 GMT" */
static void put_date(char out[32], int64_t now_ns)
{
    static const char days[] = "ThuFriSatSunMonTueWed",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char t[JSON_TIME_MAX];
    (void)json_time_text(t, now_ns); /* 2026-11-21T09:43:07... */
    int day = (int)(now_ns / NS_PER_S / 86400 % 7) * 3;
    int month = ((t[5] - '0') * 10 + t[6] - '0' - 1) * 3;
    (void)snprintf(out, 32, "%.3s, %.2s %.3s %.4s %.8s GMT", days + day, t + 8, months + month, t,
                   t + 11);
}

size_t brk_http_answer_head(const struct brk_http_answer *a, char *out)
{
    char date[32];
    put_date(date, a->now_ns);
    int n =
        snprintf(out, BRK_HTTP_ANSWER_HEAD_MAX,
                 "HTTP/1.1 %d %s\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: %s\r\n"
                 "X-Content-Type-Options: nosniff\r\nDate: %s\r\nContent-Length: %zu\r\n%s%s\r\n",
                 a->status, brk_http_status_text(a->status), a->type, date, a->body_len,
                 a->status == 405 ? "Allow: GET, HEAD\r\n" : "",
                 a->keep_alive ? "" : "Connection: close\r\n");
    ASSERT(n > 0);
    ASSERT((size_t)n < BRK_HTTP_ANSWER_HEAD_MAX);
    return (size_t)n;
}
