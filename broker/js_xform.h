/* Subject transforms: `s.*.*` to `t.{{wildcard(2)}}.{{partition(10,1)}}`. A source with wildcards,
 * a destination whose tokens are literal, `$n`, or a function of the source's wildcards; both end
 * in
 * `>`, or neither.
 *
 * Functions: wildcard(n) partition(n[,w...]) random(n) split(w,sep) splitFromLeft(w,n)
 * splitFromRight(w,n) sliceFromLeft(w,n) sliceFromRight(w,n). Their first letters may be large.
 *
 * Made once, used for each message without allocation. Takes hostile bytes. Any thread. */
#ifndef BROKER_JS_XFORM_H
#define BROKER_JS_XFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "broker/msg.h"

#define JS_XFORM_SUBJECT_MAX 16384u /* bytes of what comes out; beyond, the subject stays */
#define JS_XFORM_TOKENS_MAX 1024u   /* of source and destination */

struct js_xform;
enum js_xform_fault { JS_XFORM_OK, JS_XFORM_BAD_SOURCE, JS_XFORM_BAD_DEST };

/* An empty source is `>`; an empty destination makes NULL, which changes nothing. A fault is told
 * in upstream's words. */
enum js_xform_fault js_xform_create(const char *src, const char *dest, struct js_xform **out,
                                    char why[256]);
void js_xform_destroy(struct js_xform *x); /* NULL is a no-op */
/* False: the subject does not match, or what comes out is too long; nothing is to change. `random`
 * is for random(n). */
bool js_xform_apply(const struct js_xform *x, struct brk_str subject, uint32_t random,
                    char out[JS_XFORM_SUBJECT_MAX], size_t *len_out);

#endif
