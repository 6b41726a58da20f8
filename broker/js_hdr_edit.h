/* A header block that the server changes before it stores or sends a message: lines are dropped,
 * lines are added at the end, the rest stays as it came. Grows; one owner uses it for message after
 * message. Takes hostile bytes. */
#ifndef BROKER_JS_HDR_EDIT_H
#define BROKER_JS_HDR_EDIT_H

#include <stddef.h>
#include <stdint.h>

struct js_hdr_edit {
    char *buf; /* owned: a whole block, with its empty line */
    size_t len, cap;
};

/* Starts with a copy of a block; len 0: with an empty one. */
void js_hdr_edit_begin(struct js_hdr_edit *e, const void *hdr, size_t len);
/* Drops every line of this name (compared exactly). A block without lines is length 0. */
void js_hdr_edit_drop(struct js_hdr_edit *e, const char *name);
/* Drops every line whose name begins so. */
void js_hdr_edit_drop_prefix(struct js_hdr_edit *e, const char *prefix);
void js_hdr_edit_add(struct js_hdr_edit *e, const char *name, const char *value, size_t value_len);
void js_hdr_edit_add_str(struct js_hdr_edit *e, const char *name, const char *value);
void js_hdr_edit_fini(struct js_hdr_edit *e);

#endif
