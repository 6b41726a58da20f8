#include "tests/lib/load_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static const char *program = "load";

double lc_now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double lc_cpu_s(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

_Noreturn void lc_die(const char *what, const char *more)
{
    fprintf(stderr, "%s: %s%s%.300s\n", program, what, more != NULL ? ": " : "",
            more != NULL ? more : "");
    exit(1);
}

void lc_init(struct lc *l, size_t latencies)
{
    program = l->name;
    l->ep = epoll_create1(EPOLL_CLOEXEC);
    l->conns = calloc(l->nconns, sizeof *l->conns);
    l->open_conns = l->nconns;
    l->nlat_max = latencies;
    l->lat_us = malloc((latencies + 1) * sizeof *l->lat_us);
    if (l->ep < 0 || l->conns == NULL || l->lat_us == NULL) {
        lc_die("no memory", NULL);
    }
}

void lc_put(struct lc *l, struct lc_conn *c, const char *p, size_t n)
{
    if (c->out_len + n > l->out_bytes) {
        lc_die("output buffer too small", NULL);
    }
    memcpy(c->out + c->out_len, p, n);
    c->out_len += n;
}

void lc_flush(struct lc *l, struct lc_conn *c)
{
    while (c->out_off < c->out_len) {
        ssize_t n =
            send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        if (n < 0) {
            lc_die("send", strerror(errno));
        }
        c->out_off += (size_t)n;
    }
    if (c->out_off == c->out_len) {
        c->out_off = 0;
        c->out_len = 0;
    }
    bool want = c->out_len != 0 || c->more;
    if (want != c->want_out) {
        c->want_out = want;
        struct epoll_event ev = {.events = EPOLLIN | (want ? (uint32_t)EPOLLOUT : 0u),
                                 .data.ptr = c};
        epoll_ctl(l->ep, EPOLL_CTL_MOD, c->fd, &ev);
    }
}

/* The decimal number that ends at `end`; *start is the character before it. */
static size_t number_before(const char *end, const char **start)
{
    size_t n = 0, scale = 1;
    const char *d = end - 1;
    for (; *d >= '0' && *d <= '9'; d--, scale *= 10) {
        n += (size_t)(*d - '0') * scale;
    }
    *start = d;
    return n;
}

/* Takes whole lines and messages off the input; false: more is needed. */
static bool take(struct lc *l, struct lc_conn *c, size_t *at)
{
    char *p = c->in + *at;
    size_t left = c->in_len - *at;
    char *end = memchr(p, '\n', left);
    if (end == NULL) {
        return false;
    }
    size_t line = (size_t)(end - p) + 1;
    if (p[0] == 'M' || p[0] == 'H') {
        const char *before = NULL;
        struct lc_msg m = {.line = p, .line_len = line - 2, .body = end + 1};
        m.size = number_before(end - 1, &before);
        m.hdr = p[0] == 'H' ? number_before(before, &before) : 0;
        if (left < line + m.size + 2) {
            return false;
        }
        l->msg(c, &m);
        *at += line + m.size + 2;
        return true;
    }
    if (strncmp(p, "PING", 4) == 0) {
        lc_put(l, c, "PONG\r\n", 6);
    } else if (strncmp(p, "PONG", 4) == 0) {
        if (!c->ready) {
            c->ready = true;
        } else {
            l->pong(c);
        }
    } else if (strncmp(p, "-ERR", 4) == 0) {
        *end = 0;
        lc_die("the server says", p);
    }
    *at += line;
    return true;
}

static void on_input(struct lc *l, struct lc_conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, l->in_bytes - c->in_len, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        lc_die("the server closed a connection", n < 0 ? strerror(errno) : NULL);
    }
    c->in_len += n > 0 ? (size_t)n : 0;
    size_t at = 0;
    while (take(l, c, &at)) {
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    if (c->in_len == l->in_bytes) {
        lc_die("a message does not fit the input buffer", NULL);
    }
}

void lc_open(struct lc *l, unsigned no, const char *login, const char *text)
{
    struct lc_conn *c = &l->conns[no];
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(l->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *c = (struct lc_conn){.fd = socket(AF_INET, SOCK_STREAM, 0), .no = no};
    c->in = malloc(l->in_bytes);
    c->out = malloc(l->out_bytes);
    if (c->fd < 0 || c->in == NULL || c->out == NULL ||
        connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0) {
        lc_die("connect", strerror(errno));
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char hello[1000];
    int n = snprintf(hello, sizeof hello,
                     "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":"
                     "\"1\",\"protocol\":1,\"headers\":true,\"no_responders\":true%s}\r\n"
                     "%sPING\r\n",
                     login, text);
    if (n >= (int)sizeof hello || send(c->fd, hello, (size_t)n, MSG_NOSIGNAL) != n) {
        lc_die("send", strerror(errno));
    }
    while (!c->ready) { /* blocking until the server has said PONG */
        on_input(l, c);
    }
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(l->ep, EPOLL_CTL_ADD, c->fd, &ev);
}

void lc_wait_input(struct lc *l)
{
    struct epoll_event ev;
    if (epoll_wait(l->ep, &ev, 1, 60000) <= 0) {
        lc_die("nothing came for 60 s", NULL);
    }
}

void lc_run(struct lc *l)
{
    struct epoll_event ev[256];
    while (l->open_conns > 0) {
        int n = epoll_wait(l->ep, ev, 256, 30000);
        if (n == 0) {
            lc_die("nothing came for 30 s", NULL);
        }
        for (int i = 0; i < n; i++) {
            struct lc_conn *c = ev[i].data.ptr;
            if ((ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                on_input(l, c);
            }
            if (l->turn != NULL) {
                l->turn(c);
            }
            lc_flush(l, c);
        }
    }
}

void lc_latency(struct lc *l, double since)
{
    if (l->nlat < l->nlat_max) {
        l->lat_us[l->nlat++] = (float)((lc_now_s() - since) * 1e6);
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const struct lc *l, double p)
{
    return (double)l->lat_us[(size_t)floor(p * (double)(l->nlat - 1))];
}

void lc_report(struct lc *l, uint64_t msgs, const char *extra, double began, double cpu_began)
{
    double took = lc_now_s() - began, cpu = lc_cpu_s() - cpu_began;
    printf("{\"msgs\":%llu,%s\"seconds\":%.4f,\"msgs_per_s\":%.0f,\"load_cpu_s\":%.3f,"
           "\"load_core\":%.2f",
           (unsigned long long)msgs, extra, took, (double)msgs / took, cpu, cpu / took);
    if (l->nlat > 0) {
        qsort(l->lat_us, l->nlat, sizeof *l->lat_us, by_value);
        printf(",\"p50_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f", percentile(l, 0.5),
               percentile(l, 0.99), percentile(l, 0.999));
    }
    printf("}\n");
}
