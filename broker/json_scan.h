/* The syntax of one JSON value, checked with the rules and in the words of Go's encoding/json,
 * which NATS clients know from nats-server: `invalid character 'x' after object key at offset 7`.
 * What it lets through is read by json-c afterwards (json_in.h). Any thread; allocates nothing. */
#ifndef BROKER_JSON_SCAN_H
#define BROKER_JSON_SCAN_H

#include <stddef.h>

#include "engine/base/err.h"

enum json_scan_form {
    JSON_SCAN_NEXT,  /* the next of several values: errors name their offset */
    JSON_SCAN_WHOLE, /* nothing but blanks may follow: errors name none */
};

/* Looks at the value behind the blanks at *at. ST_OK: *from is its first byte and *at is behind it.
 * ST_NOTFOUND: there are only blanks. ST_INVALID: err->msg says what is wrong. */
MUST_USE enum st json_scan(const void *p, size_t len, enum json_scan_form form, size_t *at,
                           size_t *from, struct err *err);

#endif
