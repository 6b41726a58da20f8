/* An error that a human may read: code, the system's errno, one line of text.
 *
 * Lower layers set, upper layers prefix: `recover stream "ORDERS": segment 17: short read at 4096`.
 * Text is lower case, without a full stop, names the object and never holds a secret. */
#ifndef ENGINE_BASE_ERR_H
#define ENGINE_BASE_ERR_H

#include "engine/base/st.h"

struct err {
    enum st code;
    int os_errno; /* 0 where the system was not involved */
    char msg[256];
};

/* Fills *err (may be NULL) and returns `code`, so that `return err_set(err, ST_IO, errno, "...")`
 * reads well. */
enum st err_set(struct err *err, enum st code, int os_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Puts "<text>: " before the message of *err (may be NULL). */
void err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Resets *err (may be NULL) to ST_OK and an empty message. */
void err_clear(struct err *err);

#endif
