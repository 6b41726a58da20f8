#include "broker/js_hdr_edit.h"

#include <stdbool.h>
#include <string.h>

#include "engine/base/base.h"

static const char first_line[] = "NATS/1.0\r\n";
#define FIRST_LEN (sizeof first_line - 1)

static void need(struct js_hdr_edit *e, size_t len)
{
    if (len > e->cap) {
        e->cap = len < 512 ? 512 : len * 2;
        e->buf = base_realloc(e->buf, e->cap);
    }
}

void js_hdr_edit_begin(struct js_hdr_edit *e, const void *hdr, size_t len)
{
    need(e, len + 1);
    e->len = len;
    if (len > 0) {
        memcpy(e->buf, hdr, len);
    }
}

static void drop(struct js_hdr_edit *e, const char *name, bool prefix)
{
    size_t name_len = strlen(name);
    char *end = e->buf + e->len;
    char *p = e->len > 0 ? memchr(e->buf, '\n', e->len) : NULL;
    char *line = p != NULL ? p + 1 : end;
    char *out = line;
    while (line < end) {
        char *nl = memchr(line, '\n', (size_t)(end - line));
        char *next = nl != NULL ? nl + 1 : end;
        bool match = (size_t)(next - line) > name_len && memcmp(line, name, name_len) == 0 &&
                     (prefix || line[name_len] == ':');
        if (!match) {
            memmove(out, line, (size_t)(next - line));
            out += next - line;
        }
        line = next;
    }
    e->len = (size_t)(out - e->buf);
    if (e->len <= FIRST_LEN + 2) {
        e->len = 0;
    }
}

void js_hdr_edit_drop(struct js_hdr_edit *e, const char *name)
{
    drop(e, name, false);
}

void js_hdr_edit_drop_prefix(struct js_hdr_edit *e, const char *prefix)
{
    drop(e, prefix, true);
}

void js_hdr_edit_add(struct js_hdr_edit *e, const char *name, const char *value, size_t value_len)
{
    size_t name_len = strlen(name);
    need(e, e->len + FIRST_LEN + name_len + value_len + 6);
    if (e->len == 0) {
        memcpy(e->buf, first_line, FIRST_LEN);
        e->len = FIRST_LEN;
    } else if (e->len >= 2 && memcmp(e->buf + e->len - 2, "\r\n", 2) == 0) {
        e->len -= 2;
    }
    char *p = e->buf + e->len;
    memcpy(p, name, name_len);
    p += name_len;
    memcpy(p, ": ", 2);
    p += 2;
    if (value_len > 0) {
        memcpy(p, value, value_len);
        p += value_len;
    }
    memcpy(p, "\r\n\r\n", 4);
    e->len = (size_t)(p + 4 - e->buf);
}

void js_hdr_edit_add_str(struct js_hdr_edit *e, const char *name, const char *value)
{
    js_hdr_edit_add(e, name, value, strlen(value));
}

void js_hdr_edit_fini(struct js_hdr_edit *e)
{
    base_free(e->buf);
    *e = (struct js_hdr_edit){0};
}
