/* A load generator for NATS servers, ours and others: one thread, one epoll set, raw protocol, so
 * that it takes as little of the machine as it can and the same for both.
 *
 *     load pub    core publishers               load sub   subscribers, until each has all messages
 *     load req    requests, each waits          load rep   answers requests
 *     load sync   JetStream publishes, each connection waits for its PubAck
 *     load async  JetStream publishes, up to --window unanswered on each connection
 *
 * Prints one JSON line: messages, seconds, rate, latencies (req, sync), its own CPU seconds and its
 * share of a core. A PubAck that is an error, a lost message, or a closed connection ends the run
 * with exit code 1: a figure of a failed run is none. */
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum mode { MODE_PUB, MODE_SUB, MODE_REQ, MODE_REP, MODE_SYNC, MODE_ASYNC };

static struct {
    enum mode mode;
    unsigned conns, window, subjects;
    bool random;   /* payloads that do not compress */
    uint64_t msgs; /* in all; for sub: each connection */
    size_t size;
    uint16_t port;
    const char *subject, *queue, *user, *pass;
} o = {.conns = 1,
       .window = 1000,
       .subjects = 1,
       .msgs = 100000,
       .size = 128,
       .port = 4222,
       .subject = "bench.x"};

struct conn {
    int fd;
    unsigned no;
    bool want_out, ready, done;
    char *in, *out; /* owned */
    size_t in_len, out_off, out_len;
    uint64_t todo, sent, answered; /* messages of this connection */
    uint64_t skip;                 /* payload bytes of the current MSG still to come */
    double asked;                  /* when the open request was sent */
};

static struct conn *conns;
static size_t buf_bytes; /* of each direction of a connection; two messages fit */
static int ep;
static uint64_t total;      /* what came back, or went out (pub) */
static unsigned open_conns; /* not done yet */
static float *lat_us;
static size_t nlat;
static char *payload;
static char inbox[40];

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void die(const char *what, const char *more)
{
    fprintf(stderr, "load: %s%s%s\n", what, more != NULL ? ": " : "", more != NULL ? more : "");
    exit(1);
}

static void out_put(struct conn *c, const char *p, size_t n)
{
    if (c->out_len + n > buf_bytes) {
        die("output buffer too small", NULL);
    }
    memcpy(c->out + c->out_len, p, n);
    c->out_len += n;
}

static void flush_out(struct conn *c)
{
    while (c->out_off < c->out_len) {
        ssize_t n =
            send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN) {
            break;
        }
        if (n < 0) {
            die("send", strerror(errno));
        }
        c->out_off += (size_t)n;
    }
    if (c->out_off == c->out_len) {
        c->out_off = 0;
        c->out_len = 0;
    }
    bool want = c->out_len != 0 || (o.mode == MODE_PUB && !c->done);
    if (want != c->want_out) {
        c->want_out = want;
        struct epoll_event ev = {.events = EPOLLIN | (want ? (uint32_t)EPOLLOUT : 0u),
                                 .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
    }
}

static size_t message_max(void)
{
    return o.size + strlen(o.subject) + 120;
}

static void put_message(struct conn *c)
{
    char head[300];
    char subject[200];
    if (o.subjects > 1) {
        snprintf(subject, sizeof subject, "%s.%llu", o.subject,
                 (unsigned long long)((c->sent * o.conns + c->no) % o.subjects));
    } else {
        snprintf(subject, sizeof subject, "%s", o.subject);
    }
    int n = o.mode == MODE_PUB ? snprintf(head, sizeof head, "PUB %s %zu\r\n", subject, o.size)
                               : snprintf(head, sizeof head, "PUB %s %s.%u.%llu %zu\r\n", subject,
                                          inbox, c->no, (unsigned long long)c->sent, o.size);
    out_put(c, head, (size_t)n);
    out_put(c, payload, o.size);
    out_put(c, "\r\n", 2);
    c->sent++;
}

/* Sends what this connection may send now. */
static void drive(struct conn *c)
{
    if (!c->ready || c->done) {
        return;
    }
    switch (o.mode) {
    case MODE_PUB:
        while (c->sent < c->todo && c->out_len + message_max() < buf_bytes) {
            put_message(c);
        }
        break;
    case MODE_REQ:
    case MODE_SYNC:
        if (c->sent == c->answered && c->sent < c->todo) {
            c->asked = now_s();
            put_message(c);
        }
        break;
    case MODE_ASYNC:
        while (c->sent < c->todo && c->sent - c->answered < o.window &&
               c->out_len + message_max() < buf_bytes) {
            put_message(c);
        }
        break;
    case MODE_SUB:
    case MODE_REP:
        break;
    }
    if (o.mode == MODE_PUB && c->sent == c->todo && !c->done) {
        out_put(c, "PING\r\n", 6); /* its PONG says that the server has read all of it */
        c->done = true;
    }
    flush_out(c);
}

static void finished(struct conn *c)
{
    c->done = true;
    open_conns--;
}

static void one_message(struct conn *c, char *line, const char *body, size_t body_len)
{
    total++;
    if (o.mode == MODE_SUB) {
        if (++c->answered == c->todo) {
            finished(c);
        }
        return;
    }
    if (o.mode == MODE_REP) {
        char *reply = NULL, *save = NULL, *word = strtok_r(line, " ", &save);
        for (int i = 0; word != NULL; word = strtok_r(NULL, " ", &save), i++) {
            if (i == 3) {
                reply = word;
            }
        }
        char head[300];
        int n = snprintf(head, sizeof head, "PUB %s %zu\r\n", reply, o.size);
        out_put(c, head, (size_t)n);
        out_put(c, payload, o.size);
        out_put(c, "\r\n", 2);
        if (++c->answered == c->todo) {
            finished(c);
        }
        return;
    }
    if ((o.mode == MODE_SYNC || o.mode == MODE_ASYNC) &&
        (body_len < 10 || memcmp(body, "{\"stream\":", 10) != 0)) {
        char text[300];
        snprintf(text, sizeof text, "%.*s", (int)(body_len < 250 ? body_len : 250), body);
        die("a publish was not acknowledged", text);
    }
    if (o.mode != MODE_ASYNC) {
        lat_us[nlat++] = (float)((now_s() - c->asked) * 1e6);
    }
    if (++c->answered == c->todo) {
        finished(c);
    }
}

/* Takes whole lines and messages off the input; false: more is needed. */
static bool take(struct conn *c, size_t *at)
{
    char *p = c->in + *at;
    size_t left = c->in_len - *at;
    char *end = memchr(p, '\n', left);
    if (end == NULL) {
        return false;
    }
    size_t line = (size_t)(end - p) + 1;
    if (p[0] == 'M' || p[0] == 'H') { /* [H]MSG subject sid [reply] [header bytes] bytes */
        char *last = end - 1;
        size_t bytes = 0, scale = 1;
        for (char *d = last - 1; *d >= '0' && *d <= '9'; d--, scale *= 10) {
            bytes += (size_t)(*d - '0') * scale;
        }
        if (left < line + bytes + 2) {
            return false;
        }
        *last = 0;
        if (p[0] == 'H') {
            die("an answer without a responder or with a status", p);
        }
        one_message(c, p, end + 1, bytes);
        *at += line + bytes + 2;
        return true;
    }
    if (strncmp(p, "PING", 4) == 0) {
        out_put(c, "PONG\r\n", 6);
    } else if (strncmp(p, "PONG", 4) == 0) {
        if (!c->ready) {
            c->ready = true;
        } else if (o.mode == MODE_PUB) {
            open_conns--;
        }
    } else if (strncmp(p, "-ERR", 4) == 0) {
        *end = 0;
        die("the server says", p);
    }
    *at += line;
    return true;
}

static void on_input(struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, buf_bytes - c->in_len, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        die("the server closed a connection", n < 0 ? strerror(errno) : NULL);
    }
    c->in_len += n > 0 ? (size_t)n : 0;
    size_t at = 0;
    while (take(c, &at)) {
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    if (c->in_len == buf_bytes) {
        die("a message does not fit the input buffer", NULL);
    }
}

static void open_conn(struct conn *c, unsigned no)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(o.port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM, 0), .no = no};
    c->in = malloc(buf_bytes);
    c->out = malloc(buf_bytes);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0) {
        die("connect", strerror(errno));
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->todo = o.mode == MODE_SUB ? o.msgs : o.msgs / o.conns + (no < o.msgs % o.conns);
    char line[400];
    int n = snprintf(
        line, sizeof line,
        "CONNECT "
        "{\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\",\"protocol\":1,"
        "\"headers\":true,\"no_responders\":true%s%s%s%s%s}\r\n",
        o.user != NULL ? ",\"user\":\"" : "", o.user != NULL ? o.user : "",
        o.user != NULL ? "\",\"pass\":\"" : "", o.user != NULL ? o.pass : "",
        o.user != NULL ? "\"" : "");
    out_put(c, line, (size_t)n);
    if (o.mode == MODE_SUB || o.mode == MODE_REP) {
        n = snprintf(line, sizeof line, "SUB %s %s 1\r\n", o.subject,
                     o.queue != NULL ? o.queue : "");
        out_put(c, line, (size_t)n);
    } else if (o.mode != MODE_PUB) {
        n = snprintf(line, sizeof line, "SUB %s.%u.* 1\r\n", inbox, no);
        out_put(c, line, (size_t)n);
    }
    out_put(c, "PING\r\n", 6);
    if (write(c->fd, c->out, c->out_len) != (ssize_t)c->out_len) {
        die("send", strerror(errno));
    }
    c->out_len = 0;
    while (!c->ready) { /* blocking until the server has said PONG */
        on_input(c);
    }
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
}

static void run(void)
{
    struct epoll_event ev[256];
    for (unsigned i = 0; i < o.conns; i++) {
        drive(&conns[i]);
    }
    while (open_conns > 0) {
        int n = epoll_wait(ep, ev, 256, 30000);
        if (n == 0) {
            die("nothing came for 30 s", NULL);
        }
        for (int i = 0; i < n; i++) {
            struct conn *c = ev[i].data.ptr;
            if ((ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
                on_input(c);
            }
            drive(c);
            flush_out(c);
        }
    }
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(double p)
{
    return nlat == 0 ? 0 : (double)lat_us[(size_t)floor(p * (double)(nlat - 1))];
}

static double cpu_s(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static void report(double began, double cpu_began)
{
    double took = now_s() - began, cpu = cpu_s() - cpu_began;
    uint64_t n = o.mode == MODE_PUB ? o.msgs : total;
    printf("{\"msgs\":%llu,\"seconds\":%.4f,\"msgs_per_s\":%.0f,\"load_cpu_s\":%.3f,\"load_core\":%"
           ".2f",
           (unsigned long long)n, took, (double)n / took, cpu, cpu / took);
    if (nlat > 0) {
        qsort(lat_us, nlat, sizeof *lat_us, by_value);
        printf(",\"p50_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f", percentile(0.5),
               percentile(0.99), percentile(0.999));
    }
    printf("}\n");
}

static void usage(void)
{
    fprintf(
        stderr,
        "usage: load pub|sub|req|rep|sync|async [--port N] [--conns N] [--msgs N] "
        "[--size BYTES] [--window N]\n"
        "            [--subject S] [--subjects N] [--random 1] [--queue Q] [--user U --pass P]\n");
    exit(2);
}

static void arguments(int argc, char **argv)
{
    static const char *modes[] = {"pub", "sub", "req", "rep", "sync", "async"};
    int mode = -1;
    for (int i = 0; argc > 1 && i < 6; i++) {
        mode = strcmp(argv[1], modes[i]) == 0 ? i : mode;
    }
    if (mode < 0 || argc % 2 != 0) {
        usage();
    }
    o.mode = (enum mode)mode;
    for (int i = 2; i < argc; i += 2) {
        const char *k = argv[i], *v = argv[i + 1];
        if (strcmp(k, "--port") == 0) {
            o.port = (uint16_t)atoi(v);
        } else if (strcmp(k, "--conns") == 0) {
            o.conns = (unsigned)atoi(v);
        } else if (strcmp(k, "--msgs") == 0) {
            o.msgs = strtoull(v, NULL, 10);
        } else if (strcmp(k, "--size") == 0) {
            o.size = strtoull(v, NULL, 10);
        } else if (strcmp(k, "--window") == 0) {
            o.window = (unsigned)atoi(v);
        } else if (strcmp(k, "--subject") == 0) {
            o.subject = v;
        } else if (strcmp(k, "--subjects") == 0) {
            o.subjects = (unsigned)atoi(v);
        } else if (strcmp(k, "--random") == 0) {
            o.random = atoi(v) != 0;
        } else if (strcmp(k, "--queue") == 0) {
            o.queue = v;
        } else if (strcmp(k, "--user") == 0) {
            o.user = v;
        } else if (strcmp(k, "--pass") == 0) {
            o.pass = v;
        } else {
            usage();
        }
    }
    if (o.conns == 0 || o.msgs < o.conns || (o.user == NULL) != (o.pass == NULL)) {
        usage();
    }
}

int main(int argc, char **argv)
{
    arguments(argc, argv);
    buf_bytes = 2 * o.size + (256u << 10);
    payload = malloc(o.size + 1);
    memset(payload, 'm', o.size);
    for (size_t i = 0; o.random && i < o.size; i++) {
        payload[i] = (char)(rand() >> 8);
    }
    lat_us = malloc((o.msgs + 1) * sizeof *lat_us);
    snprintf(inbox, sizeof inbox, "_INBOX.load%d", (int)getpid());
    ep = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc(o.conns, sizeof *conns);
    for (unsigned i = 0; i < o.conns; i++) {
        open_conn(&conns[i], i);
    }
    open_conns = o.conns;
    if (o.mode == MODE_SUB || o.mode == MODE_REP) {
        printf("ready\n"); /* the publishers may start */
        fflush(stdout);
    }
    double began = now_s(), cpu = cpu_s();
    if (o.mode == MODE_SUB || o.mode == MODE_REP) { /* the clock starts with the first message */
        struct epoll_event ev;
        if (epoll_wait(ep, &ev, 1, 60000) <= 0) {
            die("nothing came for 60 s", NULL);
        }
        began = now_s();
    }
    run();
    report(began, cpu);
    return 0;
}
