#include "engine/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum st err_set(struct err *err, enum st code, int os_errno, const char *fmt, ...)
{
    if (err == NULL) {
        return code;
    }
    /* The arguments may point into *err itself, so the text is made aside. */
    char text[sizeof(err->msg)];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    err->code = code;
    err->os_errno = os_errno;
    memcpy(err->msg, text, sizeof(text));
    return code;
}

void err_prefix(struct err *err, const char *fmt, ...)
{
    if (err == NULL) {
        return;
    }
    char text[sizeof(err->msg)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0) {
        return;
    }
    /* The reason at the end matters more than the context in front: a long prefix is cut, not the
     * message. */
    size_t msg_len = strnlen(err->msg, sizeof(err->msg) - 1);
    size_t len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
    size_t room = sizeof(err->msg) - 1 - msg_len;
    if (room <= 2) {
        return;
    }
    if (len > room - 2) {
        len = room - 2;
    }
    memmove(err->msg + len + 2, err->msg, msg_len);
    memcpy(err->msg, text, len);
    memcpy(err->msg + len, ": ", 2);
    err->msg[len + 2 + msg_len] = '\0';
}

void err_clear(struct err *err)
{
    if (err != NULL) {
        err->code = ST_OK;
        err->os_errno = 0;
        err->msg[0] = '\0';
    }
}
