/* Keeps a message's bytes where the engine has them, so that a large payload need not be copied
 * into each receiver's buffer.
 *
 * References are counted; the bytes do not change and go with the last one, also when the stream,
 * its files or the store are gone by then. What is held so counts as what its holder has to send.
 */
#ifndef ENGINE_MSG_KEEP_H
#define ENGINE_MSG_KEEP_H

#include <stddef.h>

struct msg_keep {
    void *what;                  /* NULL: the bytes cannot be kept, copy them */
    void (*acquire)(void *what); /* one reference more */
    void (*release)(void *what); /* gives one back; any thread */
};

/* Only where there is much to copy: what is held may be twice the message. */
#define MSG_KEEP_BYTES_MIN ((size_t)32 * 1024)

#endif
