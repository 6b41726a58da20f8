/* One value out of a header block as NATS clients write it (`NATS/1.0\r\nName:
 * value\r\n...\r\n\r\n`, ADR-4): the engine needs the message id again at replay. Names compare
 * exactly, as in nats-server. Pure. */
#ifndef ENGINE_MSG_HEADER_H
#define ENGINE_MSG_HEADER_H

#include <stddef.h>
#include <stdint.h>

/* Gives the value (leading spaces skipped, up to CR LF or the end of the block), pointing into hdr;
 * NULL when the name is not there. Reads as broker/js_header.h does, so that what was noted of a
 * message is found again. */
const char *msg_header_get(const uint8_t *hdr, size_t len, const char *name, size_t *value_len_out);

#endif
