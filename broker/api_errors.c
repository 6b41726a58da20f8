#include "broker/api_errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "broker/json_out.h"
#include "engine/base/base.h"

static const struct row {
    enum api_err id;
    int code;
    const char *text;
} rows[] = {
#define X(name, err_code, code, text) {API_##name, code, text},
    API_ERROR_LIST(X)
#undef X
};

unsigned api_error_count(void)
{
    return ARRAY_LEN(rows);
}

bool api_error_row(unsigned i, enum api_err *id_out, int *code_out, const char **text_out)
{
    if (i >= ARRAY_LEN(rows)) {
        return false;
    }
    *id_out = rows[i].id;
    *code_out = rows[i].code;
    *text_out = rows[i].text;
    return true;
}

static const struct row *find(enum api_err id)
{
    size_t lo = 0, hi = ARRAY_LEN(rows);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (rows[mid].id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    ASSERT(lo < ARRAY_LEN(rows));
    ASSERT(rows[lo].id == id);
    return &rows[lo];
}

static void append(char *out, size_t *len, const char *s, size_t n)
{
    size_t left = API_ERROR_TEXT_MAX - 1 - *len;
    if (n > left) {
        n = left;
    }
    memcpy(out + *len, s, n);
    *len += n;
    out[*len] = '\0';
}

enum api_err api_error_set2(struct api_error *e, enum api_err id, const char *a, const char *b)
{
    const struct row *r = find(id);
    const char *args[2] = {a, b};
    unsigned next = 0;
    size_t len = 0;
    e->err_code = id;
    e->code = r->code;
    e->text[0] = '\0';
    for (const char *p = r->text; *p != '\0';) {
        const char *close = *p == '{' ? strchr(p, '}') : NULL;
        if (close != NULL) {
            const char *v = next < 2 && args[next] != NULL ? args[next] : "";
            next++;
            append(e->text, &len, v, strlen(v));
            p = close + 1;
        } else {
            append(e->text, &len, p, 1);
            p++;
        }
    }
    return id;
}

enum api_err api_error_set(struct api_error *e, enum api_err id)
{
    return api_error_set2(e, id, NULL, NULL);
}

enum api_err api_error_setf(struct api_error *e, enum api_err id, const char *fmt, ...)
{
    char arg[API_ERROR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(arg, sizeof arg, fmt, ap);
    va_end(ap);
    return api_error_set2(e, id, arg, NULL);
}

enum api_err api_error_text(struct api_error *e, enum api_err id, const char *fmt, ...)
{
    va_list ap;
    e->err_code = id;
    e->code = find(id)->code;
    va_start(ap, fmt);
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    return id;
}

enum api_err api_error_from_st(struct api_error *e, enum api_err id, enum st st,
                               const struct err *err)
{
    if (st == ST_NOSPACE) {
        return api_error_set(e, API_STORAGE_RESOURCES_EXCEEDED);
    }
    if (st == ST_NOMEM) {
        return api_error_set(e, API_MEMORY_RESOURCES_EXCEEDED);
    }
    const char *text = err != NULL && err->msg[0] != '\0' ? err->msg : st_text(st);
    return api_error_set2(e, id, text, NULL);
}

void api_error_put(struct json_out *j, const struct api_error *e)
{
    json_out_open(j, "error");
    json_out_i64(j, "code", e->code);
    if (e->err_code != 0) { /* another server's error may be empty */
        json_out_i64(j, "err_code", (int64_t)e->err_code);
    }
    if (e->text[0] != '\0') {
        json_out_str(j, "description", e->text);
    }
    json_out_end(j);
}
