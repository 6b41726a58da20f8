/* Streaming JSON writer: the bytes that Go's encoding/json would make (escapes included), written
 * member by member, so that field order and omission are decided where the call stands.
 *
 * Commas are put in by the writer. The buffer grows; reset keeps it. Numbers are exact. One thread
 * at a time.
 */
#ifndef BROKER_JSON_OUT_H
#define BROKER_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json_out {
    char *buf;  /* owned */
    size_t len; /* bytes used; no NUL behind them */
    size_t cap;
    bool comma; /* the next member or element needs one before it */
};

/* Zero-initialised is an empty writer. */
void json_out_fini(struct json_out *j);
void json_out_reset(struct json_out *j);
/* Takes the bytes; the writer is empty again. The caller frees with base_free. */
char *json_out_take(struct json_out *j, size_t *len_out);

void json_out_raw(struct json_out *j, const char *p, size_t len); /* as is, no comma */
void json_out_begin(struct json_out *j);                          /* { as a value */
void json_out_end(struct json_out *j);
void json_out_key(struct json_out *j, const char *key);   /* key must need no escapes */
void json_out_open(struct json_out *j, const char *key);  /* "key":{ */
void json_out_array(struct json_out *j, const char *key); /* "key":[ ; NULL: [ */
void json_out_array_end(struct json_out *j);

/* Values: after a key, or as an array element. */
void json_out_val_str(struct json_out *j, const char *s, size_t len);
void json_out_val_u64(struct json_out *j, uint64_t v);
void json_out_val_i64(struct json_out *j, int64_t v);
void json_out_val_bool(struct json_out *j, bool v);
void json_out_val_null(struct json_out *j);
/* RFC 3339 with nanoseconds, UTC, trailing zeros cut; 0 = Go's zero time 0001-01-01T00:00:00Z. */
void json_out_val_time(struct json_out *j, int64_t unix_ns);
void json_out_val_base64(struct json_out *j, const void *p, size_t len);

/* Members. */
void json_out_str(struct json_out *j, const char *key, const char *s);
void json_out_strn(struct json_out *j, const char *key, const char *s, size_t len);
void json_out_u64(struct json_out *j, const char *key, uint64_t v);
void json_out_i64(struct json_out *j, const char *key, int64_t v);
void json_out_bool(struct json_out *j, const char *key, bool v);
void json_out_time(struct json_out *j, const char *key, int64_t unix_ns);
/* A member whose name needs escapes, as in maps. */
void json_out_key_escaped(struct json_out *j, const char *key, size_t len);

/* Length of the valid UTF-8 sequence at p (left > 0 bytes), 0 when there is none. */
size_t json_utf8_len(const unsigned char *p, size_t left);

/* The text of a time as above. `out` has room for JSON_TIME_MAX bytes; returns the length, no NUL.
 */
#define JSON_ZERO_TIME INT64_MIN /* Go's zero time and 1970, where 0 means that none was given */
#define JSON_EPOCH_TIME (INT64_MIN + 1)
#define JSON_TIME_MAX 40u
size_t json_time_text(char *out, int64_t unix_ns);

#endif
