/* What a connection runs over: bytes in, gather writes out, close, peer identity. Plain TCP now;
 * TLS and WebSocket come as other implementations, without touching parser or fan-out.
 *
 * Life: an acceptor makes the transport and hands it to a connection, which sets `events`. After
 * close() no event but `closed` comes, exactly once and never from inside close(); in it the owner
 * forgets the pointer and the transport frees itself. Loop thread only. */
#ifndef BROKER_TRANSPORT_H
#define BROKER_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "engine/base/err.h"

struct brk_loop;
struct brk_transport;

struct brk_transport_events {
    /* Asks for room to read into: *len_out > 0. Called directly before the read; the bytes are
     * handed to `read` (or nothing came) before it is asked again, so that all connections of a
     * loop can share one buffer. */
    uint8_t *(*room)(void *arg, size_t *len_out);
    /* len bytes came, at the start of what `room` gave. */
    void (*read)(void *arg, uint8_t *buf, size_t len);
    /* The peer closed its side (os_errno 0) or the connection failed. The owner closes. */
    void (*end)(void *arg, int os_errno);
    /* A queued writev was done whole (os_errno 0) or failed. */
    void (*written)(void *arg, int os_errno);
    /* Nothing will come any more. */
    void (*closed)(void *arg);
};

struct brk_transport_ops {
    void (*read_start)(struct brk_transport *);
    void (*read_stop)(struct brk_transport *);
    /* Writes what goes without waiting: bytes taken (0: none would go now), or -errno. Not while a
     * writev is queued. */
    ptrdiff_t (*try_writev)(struct brk_transport *, const struct iovec *, int count);
    /* Queues; the bytes stay untouched until `written`. At most one at a time. */
    enum st (*writev)(struct brk_transport *, const struct iovec *, int count);
    void (*close)(struct brk_transport *);
    const char *kind; /* "tcp" */
};

#define BRK_IOV_MAX 64

struct brk_transport {
    const struct brk_transport_ops *ops;
    const struct brk_transport_events *events; /* borrowed; set by the owner before read_start */
    void *arg;                                 /* of events */
    char peer_ip[64];                          /* text, without a port */
    uint16_t peer_port;
};

/* --- plain TCP -------------------------------------------------------------------------------- */
struct brk_listener;
typedef void (*brk_accept_fn)(void *arg, struct brk_transport *t);

/* Listens on host:port (port 0: pick one; host "0.0.0.0", "::", an address or "localhost") and
 * calls fn for each connection. ST_BUSY, ST_DENIED, ST_INVALID with a text that names host and
 * port. */
MUST_USE enum st brk_tcp_listen(struct brk_loop *loop, const char *host, uint16_t port,
                                brk_accept_fn fn, void *arg, struct brk_listener **listener_out,
                                struct err *err);
/* The port it is bound to. */
uint16_t brk_listener_port(const struct brk_listener *l);
/* Stops listening and frees itself. NULL is a no-op. */
void brk_listener_close(struct brk_listener *l);

#endif
