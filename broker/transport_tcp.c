#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

#include "broker/loop.h"
#include "broker/transport.h"
#include "engine/base/base.h"
#include "engine/base/log.h"

#define TCP_BACKLOG 1024
#define DISCARD_BYTES (1u << 20)
#define DISCARD_CALLS_MAX 16

struct tcp {
    struct brk_transport base;
    uv_tcp_t uv;
    uv_write_t write;
    bool writing, closing;
};

struct brk_listener {
    uv_tcp_t uv;
    brk_accept_fn fn;
    void *arg; /* borrowed */
    struct brk_loop *loop;
    uint16_t port;
};

static struct tcp *tcp_of(struct brk_transport *t)
{
    return CONTAINER_OF(t, struct tcp, base);
}

static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct tcp *t = h->data;
    size_t len = 0;
    uint8_t *p = t->base.events->room(t->base.arg, &len);
    *buf = uv_buf_init((char *)p, (unsigned)u64_min(len, 1u << 30));
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct tcp *t = s->data;
    if (n > 0) {
        t->base.events->read(t->base.arg, (uint8_t *)buf->base, (size_t)n);
    } else if (n < 0) {
        (void)uv_read_stop(s);
        t->base.events->end(t->base.arg, n == UV_EOF ? 0 : (int)-n);
    }
}

static void tcp_read_start(struct brk_transport *b)
{
    struct tcp *t = tcp_of(b);
    if (!t->closing) {
        int rc = uv_read_start((uv_stream_t *)&t->uv, on_room, on_read);
        ASSERT(rc == 0 || rc == UV_EALREADY);
    }
}

static void tcp_read_stop(struct brk_transport *b)
{
    (void)uv_read_stop((uv_stream_t *)&tcp_of(b)->uv);
}

/* iovec and uv_buf_t have the same layout on POSIX systems, in libuv's own words. */
static unsigned to_bufs(uv_buf_t *bufs, const struct iovec *iov, int count)
{
    ASSERT(count > 0 && count <= BRK_IOV_MAX);
    for (int i = 0; i < count; i++) {
        bufs[i].base = iov[i].iov_base;
        bufs[i].len = iov[i].iov_len;
    }
    return (unsigned)count;
}

static ptrdiff_t tcp_try_writev(struct brk_transport *b, const struct iovec *iov, int count)
{
    struct tcp *t = tcp_of(b);
    ASSERT(!t->writing);
    if (t->closing) {
        return -EPIPE;
    }
    uv_buf_t bufs[BRK_IOV_MAX];
    int n = uv_try_write((uv_stream_t *)&t->uv, bufs, to_bufs(bufs, iov, count));
    return n == UV_EAGAIN ? 0 : n;
}

static void on_written(uv_write_t *req, int status)
{
    struct tcp *t = req->data;
    t->writing = false;
    if (!t->closing) {
        t->base.events->written(t->base.arg, -status);
    }
}

static enum st tcp_writev(struct brk_transport *b, const struct iovec *iov, int count)
{
    struct tcp *t = tcp_of(b);
    ASSERT(!t->writing);
    if (t->closing) {
        return ST_CLOSED;
    }
    uv_buf_t bufs[BRK_IOV_MAX];
    t->write.data = t;
    int rc =
        uv_write(&t->write, (uv_stream_t *)&t->uv, bufs, to_bufs(bufs, iov, count), on_written);
    t->writing = rc == 0;
    return rc == 0 ? ST_OK : ST_IO;
}

static void on_closed(uv_handle_t *h)
{
    struct tcp *t = h->data;
    if (t->base.events != NULL) {
        t->base.events->closed(t->base.arg);
    }
    base_free(t);
}

/* A socket closed with unread bytes resets the connection, and a reset takes the last words (-ERR)
 * from the peer: what has arrived is thrown away first. What is still under way may reset it all
 * the same. */
static void discard_unread(struct tcp *t)
{
    uv_os_fd_t fd;
    if (uv_fileno((const uv_handle_t *)&t->uv, &fd) != 0) {
        return;
    }
    for (int i = 0; i < DISCARD_CALLS_MAX; i++) {
        if (recv(fd, NULL, DISCARD_BYTES, MSG_DONTWAIT | MSG_TRUNC) <=
            0) { /* TRUNC: nothing is copied */
            return;
        }
    }
}

static void tcp_close(struct brk_transport *b)
{
    struct tcp *t = tcp_of(b);
    if (!t->closing) {
        t->closing = true;
        discard_unread(t);
        uv_close((uv_handle_t *)&t->uv, on_closed);
    }
}

static const struct brk_transport_ops tcp_ops = {
    .read_start = tcp_read_start,
    .read_stop = tcp_read_stop,
    .try_writev = tcp_try_writev,
    .writev = tcp_writev,
    .close = tcp_close,
    .kind = "tcp",
};

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET) {
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    const struct in6_addr *six = &((const struct sockaddr_in6 *)a)->sin6_addr;
    return a->ss_family == AF_INET6 &&
           (IN6_IS_ADDR_LOOPBACK(six) ||
            (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == IN_LOOPBACKNET));
}

/* Where bbr is the system's default it paces by a timer, also within one machine, where there is no
 * path to be careful with: a quarter of what a large delivery costs. */
static void no_pacing(struct tcp *t)
{
    uv_os_fd_t fd;
    char name[16] = "";
    socklen_t len = sizeof name;
    if (uv_fileno((const uv_handle_t *)&t->uv, &fd) == 0 &&
        getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0 &&
        strncmp(name, "bbr", 3) == 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4); /* always there */
    }
}

static void set_peer(struct tcp *t)
{
    struct sockaddr_storage a;
    int len = sizeof a;
    if (uv_tcp_getpeername(&t->uv, (struct sockaddr *)&a, &len) != 0) {
        (void)snprintf(t->base.peer_ip, sizeof t->base.peer_ip, "unknown");
        return;
    }
    char port[16];
    if (getnameinfo((struct sockaddr *)&a, (socklen_t)len, t->base.peer_ip, sizeof t->base.peer_ip,
                    port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        t->base.peer_port = (uint16_t)strtoul(port, NULL, 10);
    }
    if (is_loopback(&a)) {
        no_pacing(t);
    }
    /* An IPv4 peer of a dual-stack listener shows as IPv4, as in Go. */
    if (strncmp(t->base.peer_ip, "::ffff:", 7) == 0 && strchr(t->base.peer_ip, '.') != NULL) {
        memmove(t->base.peer_ip, t->base.peer_ip + 7, strlen(t->base.peer_ip + 7) + 1);
    }
}

static void on_connection(uv_stream_t *s, int status)
{
    struct brk_listener *l = s->data;
    if (status != 0) {
        log_err("Temporary Client Accept Error (%s)", uv_strerror(status));
        return;
    }
    struct tcp *t = base_calloc(1, sizeof *t);
    t->base.ops = &tcp_ops;
    (void)uv_tcp_init(s->loop, &t->uv);
    t->uv.data = t;
    if (uv_accept(s, (uv_stream_t *)&t->uv) != 0) {
        tcp_close(&t->base);
        return;
    }
    (void)uv_tcp_nodelay(&t->uv, 1);
    set_peer(t);
    l->fn(l->arg, &t->base);
}

static enum st listen_error(struct err *err, int rc, const char *host, uint16_t port)
{
    enum st st = rc == UV_EADDRINUSE ? ST_BUSY : rc == UV_EACCES ? ST_DENIED : ST_INVALID;
    const char *text = rc == UV_EADDRINUSE ? "address already in use" : uv_strerror(rc);
    return err_set(err, st, -rc, "%s:%u: %s", host, (unsigned)port, text);
}

/* Start-up may look up a name; a running loop never does. */
static int resolve(const char *host, uint16_t port, struct sockaddr_storage *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char service[8];
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    struct addrinfo *list = NULL;
    if (getaddrinfo(host, service, &hints, &list) != 0 || list == NULL) {
        return UV_EINVAL;
    }
    const struct addrinfo *pick = list;
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            pick = a;
            break;
        }
    }
    memcpy(out, pick->ai_addr, pick->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

static uint16_t bound_port(const uv_tcp_t *uv)
{
    struct sockaddr_storage a;
    int len = sizeof a;
    if (uv_tcp_getsockname(uv, (struct sockaddr *)&a, &len) != 0) {
        return 0;
    }
    return a.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&a)->sin6_port)
                                   : ntohs(((struct sockaddr_in *)&a)->sin_port);
}

static void free_listener(uv_handle_t *h)
{
    base_free(h->data);
}

enum st brk_tcp_listen(struct brk_loop *loop, const char *host, uint16_t port, brk_accept_fn fn,
                       void *arg, struct brk_listener **listener_out, struct err *err)
{
    *listener_out = NULL;
    struct sockaddr_storage addr;
    int rc = resolve(host, port, &addr);
    if (rc != 0) {
        return err_set(err, ST_INVALID, 0, "%s:%u: no such host", host, (unsigned)port);
    }
    struct brk_listener *l = base_calloc(1, sizeof *l);
    l->fn = fn;
    l->arg = arg;
    l->loop = loop;
    (void)uv_tcp_init(brk_loop_uv(loop), &l->uv);
    l->uv.data = l;
    rc = uv_tcp_bind(&l->uv, (struct sockaddr *)&addr, 0);
    if (rc == 0) {
        rc = uv_listen((uv_stream_t *)&l->uv, TCP_BACKLOG, on_connection);
    }
    if (rc != 0) {
        uv_close((uv_handle_t *)&l->uv, free_listener);
        return listen_error(err, rc, host, port);
    }
    l->port = bound_port(&l->uv);
    *listener_out = l;
    return ST_OK;
}

uint16_t brk_listener_port(const struct brk_listener *l)
{
    return l->port;
}

void brk_listener_close(struct brk_listener *l)
{
    if (l != NULL) {
        uv_close((uv_handle_t *)&l->uv, free_listener);
    }
}
