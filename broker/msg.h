/* One message as the broker passes it around: pointers and lengths, nothing owned.
 *
 * All pointers are borrowed until the call they were handed to returns; whoever wants to keep bytes
 * copies them. */
#ifndef BROKER_MSG_H
#define BROKER_MSG_H

#include <stddef.h>
#include <stdint.h>

#include "engine/msg_keep.h"

struct brk_conn;

/* A piece of text that need not end in NUL. */
struct brk_str {
    const char *p; /* borrowed; may be NULL where n is 0 */
    size_t n;
};

#define BRK_STR(literal) ((struct brk_str){(literal), sizeof(literal) - 1})

struct brk_msg {
    struct brk_str subject;
    struct brk_str reply; /* n = 0: none */
    const uint8_t
        *hdr; /* whole header block, "NATS/1.0\r\n" up to and with the empty line; NULL: none */
    size_t hdr_len;         /* bytes; 0: no headers */
    const uint8_t *payload; /* without headers; may be NULL where payload_len is 0 */
    size_t payload_len;     /* bytes */
    struct brk_conn *from;  /* publishing connection; NULL for the server itself. Borrowed until the
                               call returns */
    /* Borrowed; NULL: none. Keeps payload and headers where they are, as far as a
     * piece of them has MSG_KEEP_BYTES_MIN: then receivers need not copy it. */
    const struct msg_keep *keep;
};

#endif
