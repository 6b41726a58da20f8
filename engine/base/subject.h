/* Subjects: tokens separated by dots; `*` matches one token, `>` the rest (at least one). The one
 * matcher of the program, used by the engine's filters and the broker's interest. Bytes are opaque
 * (UTF-8 not required); space, tab, CR, LF and NUL never stand in a valid subject. Any thread; no
 * allocation.
 *
 * A `*` or `>` inside a longer token is an ordinary byte, as in nats-server: `foo*` is a literal
 * subject. */
#ifndef ENGINE_BASE_SUBJECT_H
#define ENGINE_BASE_SUBJECT_H

#include <stdbool.h>
#include <stddef.h>

/* True for a subject one may subscribe to: non-empty tokens, wildcards only as whole tokens, `>`
 * only last. */
bool subject_valid(const char *s, size_t len);
/* True for a valid subject without wildcards (one may publish to it). */
bool subject_literal(const char *s, size_t len);
/* True when the subject has a wildcard token. */
bool subject_has_wildcard(const char *s, size_t len);
/* True when the literal subject `s` is matched by `filter`. */
bool subject_match(const char *s, size_t len, const char *filter, size_t filter_len);
/* True when everything that `s` (wildcards allowed) matches is matched by `filter` too. */
bool subject_subset(const char *s, size_t len, const char *filter, size_t filter_len);
/* True when some literal subject is matched by both. */
bool subject_overlap(const char *a, size_t a_len, const char *b, size_t b_len);
/* Number of tokens (dots + 1); 0 for the empty string. */
size_t subject_tokens(const char *s, size_t len);

#endif
