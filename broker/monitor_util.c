/* What the pages of the monitoring port share: parameters, Go's ways of writing, indentation. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/monitor_int.h"
#include "engine/base/base.h"

/* --- errors and parameters -------------------------------------------------------------------- */

void mon_fail(struct mon_job *job, int status, const char *fmt, ...)
{
    char text[BRK_HTTP_VALUE_MAX + 256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_out_reset(&job->out);
    json_out_raw(&job->out, text, n < 0 ? 0 : u64_min((uint64_t)n, sizeof text - 1));
    job->status = status;
    job->type = "text/plain; charset=utf-8";
}

bool mon_param_str(struct mon_job *job, const char *name, char *out)
{
    if (brk_http_param(&job->req, name, out) == BRK_HTTP_BAD) {
        mon_fail(job, 400, "Error decoding '%s': too long, or a bad escape", name);
        return false;
    }
    return true;
}

static bool bool_text(const char *s, bool *out)
{
    static const char *const words[] = {"1", "t", "T", "TRUE",  "true",  "True",
                                        "0", "f", "F", "FALSE", "false", "False"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(s, words[i]) == 0) {
            *out = i < 6;
            return true;
        }
    }
    return false;
}

bool mon_param_bool(struct mon_job *job, const char *name, bool *out)
{
    char v[BRK_HTTP_VALUE_MAX + 1];
    if (!mon_param_str(job, name, v)) {
        return false;
    }
    if (v[0] != 0 && !bool_text(v, out)) {
        mon_fail(
            job, 400,
            "Error decoding boolean for '%s': strconv.ParseBool: parsing \"%s\": invalid syntax",
            name, v);
        return false;
    }
    return true;
}

/* Why a number is none, in Go's words; NULL: it is one. */
static const char *number_fault(const char *v, bool sign)
{
    const char *digits = v + (sign && (*v == '-' || *v == '+'));
    if (*digits == 0 || digits[strspn(digits, "0123456789")] != 0) {
        return "invalid syntax";
    }
    return errno == ERANGE ? "value out of range" : NULL;
}

bool mon_param_int(struct mon_job *job, const char *name, int64_t *out)
{
    char v[BRK_HTTP_VALUE_MAX + 1];
    if (!mon_param_str(job, name, v) || v[0] == 0) {
        return job->status == 200;
    }
    errno = 0;
    long long n = strtoll(v, NULL, 10);
    const char *fault = number_fault(v, true);
    if (fault != NULL) {
        mon_fail(job, 400, "Error decoding int for '%s': strconv.Atoi: parsing \"%s\": %s", name, v,
                 fault);
        return false;
    }
    *out = n;
    return true;
}

bool mon_param_u64(struct mon_job *job, const char *name, uint64_t *out)
{
    char v[BRK_HTTP_VALUE_MAX + 1];
    if (!mon_param_str(job, name, v) || v[0] == 0) {
        return job->status == 200;
    }
    errno = 0;
    unsigned long long n = strtoull(v, NULL, 10);
    const char *fault = number_fault(v, false);
    if (fault != NULL) {
        mon_fail(job, 400, "Error decoding uint64 for '%s': strconv.ParseUint: parsing \"%s\": %s",
                 name, v, fault);
        return false;
    }
    *out = n;
    return true;
}

/* --- times ------------------------------------------------------------------------------------ */

void mon_put_uptime(struct json_out *j, const char *key, int64_t ns)
{
    static const struct {
        int64_t s;
        char unit;
    } parts[] = {{365LL * 86400, 'y'}, {86400, 'd'}, {3600, 'h'}, {60, 'm'}};
    char text[64];
    int n = 0;
    int64_t s = ns > 0 ? ns / NS_PER_S : 0;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (n > 0 || s >= parts[i].s) {
            n += snprintf(text + n, sizeof text - (size_t)n, "%lld%c", (long long)(s / parts[i].s),
                          parts[i].unit);
            s %= parts[i].s;
        }
    }
    (void)snprintf(text + n, sizeof text - (size_t)n, "%llds", (long long)s);
    json_out_str(j, key, text);
}

/* us as whole and up to `digits` decimals, without trailing zeros. */
static void put_decimal(char *out, size_t size, int64_t us, int64_t per, int digits,
                        const char *unit)
{
    char frac[16] = ".";
    (void)snprintf(frac + 1, sizeof frac - 1, "%0*lld", digits, (long long)(us % per));
    size_t n = strlen(frac);
    while (n > 0 && (frac[n - 1] == '0' || frac[n - 1] == '.')) {
        bool dot = frac[n - 1] == '.';
        frac[--n] = 0;
        if (dot) {
            break;
        }
    }
    (void)snprintf(out, size, "%lld%s%s", (long long)(us / per), frac, unit);
}

void mon_put_duration(struct json_out *j, const char *key, int64_t ns)
{
    char text[80];
    int64_t us = ns > 0 ? ns / NS_PER_US : 0;
    if (us == 0) {
        (void)snprintf(text, sizeof text, "0s");
    } else if (us < 1000) {
        (void)snprintf(text, sizeof text, "%lld\xc2\xb5s", (long long)us);
    } else if (us < 1000000) {
        put_decimal(text, sizeof text, us, 1000, 3, "ms");
    } else {
        int64_t min = us / 60000000;
        int n = 0;
        if (min >= 60) {
            n = snprintf(text, sizeof text, "%lldh", (long long)(min / 60));
        }
        if (min > 0) {
            n += snprintf(text + n, sizeof text - (size_t)n, "%lldm", (long long)(min % 60));
        }
        put_decimal(text + n, sizeof text - (size_t)n, us % 60000000, 1000000, 6, "s");
    }
    json_out_str(j, key, text);
}

/* --- indentation ------------------------------------------------------------------------------ */

static void newline(struct json_out *to, unsigned depth)
{
    json_out_raw(to, "\n", 1);
    for (unsigned i = 0; i < depth; i++) {
        json_out_raw(to, "  ", 2);
    }
}

/* A byte outside strings. Empty objects and lists stay {} and []. */
static void indent_byte(struct mon_indent *in, struct json_out *to, char c)
{
    bool opens = c == '{' || c == '[';
    bool closes = c == '}' || c == ']';
    if (closes) {
        ASSERT(in->depth > 0);
        in->depth--;
    }
    if (closes ? !in->opened : in->opened) {
        newline(to, in->depth);
    }
    json_out_raw(to, &c, 1);
    in->opened = opens;
    in->depth += opens ? 1 : 0;
    in->in_string = c == '"';
    if (c == ',') {
        newline(to, in->depth);
    } else if (c == ':') {
        json_out_raw(to, " ", 1);
    }
}

void mon_indent(struct mon_indent *in, struct json_out *to, const char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (!in->in_string) {
            indent_byte(in, to, p[i++]);
            continue;
        }
        size_t from = i;
        while (i < n && in->in_string) {
            in->in_string = in->escaped || p[i] != '"';
            in->escaped = !in->escaped && p[i] == '\\';
            i++;
        }
        json_out_raw(to, p + from, i - from);
    }
}

/* --- accounts and damage ---------------------------------------------------------------------- */

struct brk_account *mon_js_account(struct monitor *m, const char *name)
{
    struct brk_account *acc = brk_account_lookup(m->server, (struct brk_str){name, strlen(name)});
    return m->s.js != NULL && acc != NULL && acc->jetstream ? acc : NULL;
}

static void put_finding(void *arg, const char *account, const char *stream, const char *text)
{
    struct mon_damage_list *l = arg;
    if ((l->account != NULL && (account == NULL || strcmp(account, l->account) != 0)) ||
        (l->stream != NULL && (stream == NULL || strcmp(stream, l->stream) != 0))) {
        return;
    }
    if (l->count++ >= MON_DAMAGE_MAX || l->j == NULL) {
        return;
    }
    json_out_begin(l->j);
    json_out_str(l->j, "type", stream != NULL ? "STREAM" : "JETSTREAM");
    if (account != NULL) {
        json_out_str(l->j, "account", account);
    }
    if (stream != NULL) {
        json_out_str(l->j, "stream", stream);
    }
    json_out_str(l->j, "error", text);
    json_out_end(l->j);
}

void mon_put_damage(struct monitor *m, struct mon_damage_list *list)
{
    if (m->s.js != NULL) {
        m->s.incidents(m->s.store, put_finding, list);
    }
}
