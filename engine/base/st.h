/* Status codes: the one list of what can go wrong below the API.
 *
 * Every fallible function returns `enum st`. The table gives each code a text and an advice, so
 * that a layer that only passes an error on can still say whether a retry makes sense. */
#ifndef ENGINE_BASE_ST_H
#define ENGINE_BASE_ST_H

/*   code          text                                   advice */
#define ST_LIST(X)                                                                                 \
    X(ST_OK, "ok", OK)                                                                             \
    X(ST_AGAIN, "resource temporarily unavailable", RETRY)                                         \
    X(ST_FULL, "a limit was reached", CALLER)                                                      \
    X(ST_NOMEM, "out of memory", RETRY)                                                            \
    X(ST_NOSPACE, "disk full", RETRY)                                                              \
    X(ST_NOTFOUND, "not found", CALLER)                                                            \
    X(ST_EXISTS, "already exists", CALLER)                                                         \
    X(ST_INVALID, "invalid argument", CALLER)                                                      \
    X(ST_MISMATCH, "does not match", CALLER)                                                       \
    X(ST_TOOBIG, "too large", CALLER)                                                              \
    X(ST_DENIED, "permission denied", CALLER)                                                      \
    X(ST_BUSY, "in use", RETRY)                                                                    \
    X(ST_CLOSED, "closed", CALLER)                                                                 \
    X(ST_TIMEOUT, "timed out", RETRY)                                                              \
    X(ST_UNSUPPORTED, "not served by this version", CALLER)                                        \
    X(ST_VERSION, "written by a newer version", FATAL)                                             \
    X(ST_FOREIGN, "belongs to another store", FATAL)                                               \
    X(ST_CORRUPT, "damaged", CORRUPT)                                                              \
    X(ST_IO, "input/output error", FATAL)                                                          \
    X(ST_POISONED, "the journal failed; outcome unknown until restart", FATAL)                     \
    X(ST_INTERNAL, "internal error", FATAL)

enum st {
#define X(code, text, advice) code,
    ST_LIST(X)
#undef X
        ST_COUNT
};

enum st_advice { ST_ADV_OK, ST_ADV_RETRY, ST_ADV_CALLER, ST_ADV_CORRUPT, ST_ADV_FATAL };

#define MUST_USE __attribute__((warn_unused_result))

/* Returns the static text of a code ("disk full"); never NULL. Any thread. */
const char *st_text(enum st code);
/* Returns the static name of a code ("ST_NOSPACE"); never NULL. Any thread. */
const char *st_name(enum st code);
enum st_advice st_advice(enum st code);
/* Returns the error to report when `next` happens after `first`: the first error wins, fatal
 * outranks all. */
enum st st_merge(enum st first, enum st next);

#endif
