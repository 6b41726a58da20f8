/* The load generator of what reads JetStream: one thread, one epoll set, raw protocol, like load.c.
 *
 *     reader get   --subject P --subjects N   DIRECT.GET of keys P.0 .. P.N-1 in scattered order;
 * each connection waits for its answer reader push  --request S --body JSON    asks for a push
 * consumer (ordered consumer, watch, keys, object), answers flow control, reads --msgs messages
 *     reader pull  --request S --batch N      pulls from a consumer as nats.go's Consume does: asks
 * again at half a batch; --ack 1 acknowledges each message
 *
 * %d in --body becomes the inbox of the connection. Prints one JSON line as load.c does. An answer
 * that is an error, a gap in the consumer's sequence (push), messages that still wait behind the
 * last one, or a closed connection end the run with exit code 1. */
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
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

enum mode { MODE_GET, MODE_PUSH, MODE_PULL };

static struct {
    enum mode mode;
    unsigned conns, subjects, batch, ack;
    uint64_t msgs; /* in all */
    uint16_t port;
    const char *subject, *request, *body;
} o = {.conns = 1, .subjects = 1, .batch = 500, .msgs = 100000, .port = 4222};

enum { IN_BYTES = 1 << 20, OUT_BYTES = 1 << 18 };

struct conn {
    int fd;
    unsigned no;
    bool want_out, ready, closing, done;
    char *in, *out; /* owned */
    size_t in_len, out_off, out_len;
    uint64_t todo, sent, pending; /* get: of this connection; pull: asked for and not come */
    double asked;
};

static struct conn *conns;
static int ep;
static uint64_t total, bytes;
static unsigned open_conns;
static float *lat_us;
static size_t nlat;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static _Noreturn void die(const char *what, const char *more)
{
    fprintf(stderr, "reader: %s%s%.300s\n", what, more != NULL ? ": " : "",
            more != NULL ? more : "");
    exit(1);
}

static void out_put(struct conn *c, const char *p, size_t n)
{
    if (c->out_len + n > OUT_BYTES) {
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
    bool want = c->out_len != 0;
    if (want != c->want_out) {
        c->want_out = want;
        struct epoll_event ev = {.events = EPOLLIN | (want ? (uint32_t)EPOLLOUT : 0u),
                                 .data.ptr = c};
        epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
    }
}

static void put_request(struct conn *c, const char *subject, const char *body)
{
    char head[400];
    int n = snprintf(head, sizeof head, "PUB %s _INBOX.reader%d.%u %zu\r\n", subject, (int)getpid(),
                     c->no, strlen(body));
    out_put(c, head, (size_t)n);
    out_put(c, body, strlen(body));
    out_put(c, "\r\n", 2);
}

/* Everything this connection sent before has been read by the server once its PONG is here. */
static void last_ping(struct conn *c)
{
    if (!c->closing) {
        c->closing = true;
        out_put(c, "PING\r\n", 6);
    }
}

static void ask(struct conn *c)
{
    char text[300];
    if (o.mode == MODE_GET) {
        uint64_t i = c->sent * o.conns + c->no;
        snprintf(text, sizeof text, "%s.%llu", o.subject,
                 (unsigned long long)(i * 2654435761u % o.subjects));
        c->sent++;
        c->asked = now_s();
        put_request(c, text, "");
    } else if (o.mode == MODE_PULL && c->pending <= o.batch / 2) {
        uint64_t more = o.batch - c->pending;
        snprintf(text, sizeof text,
                 "{\"expires\":30000000000,\"batch\":%llu,\"max_bytes\":0,\"idle_heartbeat\":"
                 "15000000000}",
                 (unsigned long long)more);
        c->pending += more;
        put_request(c, o.request, text);
    }
}

/* A message without payload and with a status line. */
static void status(struct conn *c, const char *reply, size_t reply_len, const char *hdr, size_t len)
{
    char line[400];
    if (strncmp(hdr, "NATS/1.0 100", 12) == 0) { /* flow control, or a heartbeat that says so */
        static const char stalled[] = "Nats-Consumer-Stalled: ";
        const char *at = memmem(hdr, len, stalled, sizeof stalled - 1);
        if (reply_len == 0 && at != NULL) {
            reply = at + sizeof stalled - 1;
            reply_len = strcspn(reply, "\r");
        }
        if (reply_len > 0) {
            int n = snprintf(line, sizeof line, "PUB %.*s 0\r\n\r\n", (int)reply_len, reply);
            out_put(c, line, (size_t)n);
        }
        return;
    }
    snprintf(line, sizeof line, "%.*s", (int)len, hdr);
    if (o.mode != MODE_PULL || (hdr[9] == '4' && hdr[11] != '8' && hdr[11] != '4')) {
        die("the server answers", line);
    }
    c->pending = 0; /* 404, 408: the request is over */
    ask(c);
}

/* The field `from_end` of an ack subject: $JS.ACK.stream.consumer.tries.sseq.cseq.time.pending */
static uint64_t ack_field(const char *reply, size_t n, int from_end)
{
    const char *p = reply + n;
    for (int dots = 0; p > reply; p--) {
        if (p[-1] == '.' && dots++ == from_end) {
            break;
        }
    }
    return strtoull(p, NULL, 10);
}

static void one_message(struct conn *c, const char *reply, size_t reply_len, size_t size)
{
    total++;
    bytes += size;
    if (o.mode == MODE_GET) {
        lat_us[nlat++] = (float)((now_s() - c->asked) * 1e6);
        if (c->sent < c->todo) {
            ask(c);
        } else {
            last_ping(c);
        }
        return;
    }
    if (o.mode == MODE_PUSH && ack_field(reply, reply_len, 2) != total) {
        die("a gap in the consumer's sequence", reply);
    }
    if (o.mode == MODE_PULL) {
        c->pending -= c->pending > 0;
        if (o.ack != 0) {
            char line[400];
            int n = snprintf(line, sizeof line, "PUB %.*s 4\r\n+ACK\r\n", (int)reply_len, reply);
            out_put(c, line, (size_t)n);
        }
    }
    if (total < o.msgs) {
        ask(c);
        return;
    }
    if (o.conns == 1 && ack_field(reply, reply_len, 0) != 0) {
        die("messages still wait behind the last one", reply);
    }
    for (unsigned i = 0; i < o.conns; i++) {
        last_ping(&conns[i]);
        flush_out(&conns[i]);
    }
}

/* What came on sid 1: line holds [H]MSG subject sid [reply] [header bytes] bytes. */
static void message(struct conn *c, const char *line, size_t line_len, const char *body,
                    size_t hdr_bytes, size_t size)
{
    const char *word[6];
    size_t len[6], words = 0;
    for (const char *p = line, *end = line + line_len; p < end && words < 6; words++) {
        const char *stop = memchr(p, ' ', (size_t)(end - p));
        stop = stop != NULL ? stop : end;
        word[words] = p;
        len[words] = (size_t)(stop - p);
        p = stop + 1;
    }
    bool has_reply = words == (line[0] == 'H' ? 6u : 5u);
    const char *reply = has_reply ? word[3] : "";
    size_t reply_len = has_reply ? len[3] : 0;
    if (*word[2] == '2' && o.mode == MODE_PUSH) { /* the answer to a request for a consumer */
        if (memmem(body, size, "\"error\"", 7) != NULL) {
            die("the server refuses the consumer", body);
        }
    } else if (hdr_bytes > 12 && body[8] == ' ') {
        status(c, reply, reply_len, body, hdr_bytes);
    } else {
        one_message(c, reply, reply_len, size);
    }
}

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

static bool take(struct conn *c, size_t *at)
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
        size_t size = number_before(end - 1, &before), hdr = 0;
        if (p[0] == 'H') {
            hdr = number_before(before, &before);
        }
        if (left < line + size + 2) {
            return false;
        }
        message(c, p, line - 2, end + 1, hdr, size);
        *at += line + size + 2;
        return true;
    }
    if (strncmp(p, "PING", 4) == 0) {
        out_put(c, "PONG\r\n", 6);
    } else if (strncmp(p, "PONG", 4) == 0) {
        if (!c->ready) {
            c->ready = true;
        } else if (c->closing && !c->done) {
            c->done = true;
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
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_BYTES - c->in_len, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        die("the server closed a connection", n < 0 ? strerror(errno) : NULL);
    }
    c->in_len += n > 0 ? (size_t)n : 0;
    size_t at = 0;
    while (take(c, &at)) {
    }
    memmove(c->in, c->in + at, c->in_len - at);
    c->in_len -= at;
    if (c->in_len == IN_BYTES) {
        die("a message does not fit the input buffer", NULL);
    }
}

static void open_conn(struct conn *c, unsigned no)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(o.port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *c = (struct conn){.fd = socket(AF_INET, SOCK_STREAM, 0), .no = no};
    c->in = malloc(IN_BYTES);
    c->out = malloc(OUT_BYTES);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0) {
        die("connect", strerror(errno));
    }
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->todo = o.msgs / o.conns + (no < o.msgs % o.conns);
    char line[400];
    int n =
        snprintf(line, sizeof line,
                 "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"c\",\"version\":\"1\","
                 "\"protocol\":1,\"headers\":true,\"no_responders\":true}\r\n"
                 "SUB _INBOX.reader%d.%u %d\r\nSUB _INBOX.reader%d.%u.d %d\r\nPING\r\n",
                 (int)getpid(), no, o.mode == MODE_PUSH ? 2 : 1, (int)getpid(), no,
                 o.mode == MODE_PUSH ? 1 : 2);
    out_put(c, line, (size_t)n);
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

/* The request for a push consumer, with this connection's inbox in place of %d. */
static void ask_for_consumer(struct conn *c)
{
    char body[1000];
    const char *mark = strstr(o.body, "%d");
    if (mark == NULL) {
        die("no %d in --body", NULL);
    }
    snprintf(body, sizeof body, "%.*s_INBOX.reader%d.%u.d%s", (int)(mark - o.body), o.body,
             (int)getpid(), c->no, mark + 2);
    put_request(c, o.request, body);
}

static void run(void)
{
    struct epoll_event ev[256];
    for (unsigned i = 0; i < o.conns; i++) {
        if (o.mode == MODE_PUSH) {
            ask_for_consumer(&conns[i]);
        } else {
            ask(&conns[i]);
        }
        flush_out(&conns[i]);
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
    return (double)lat_us[(size_t)floor(p * (double)(nlat - 1))];
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
    printf("{\"msgs\":%llu,\"bytes\":%llu,\"seconds\":%.4f,\"msgs_per_s\":%.0f,\"load_cpu_s\":%.3f,"
           "\"load_core\":%.2f",
           (unsigned long long)total, (unsigned long long)bytes, took, (double)total / took, cpu,
           cpu / took);
    if (nlat > 0) {
        qsort(lat_us, nlat, sizeof *lat_us, by_value);
        printf(",\"p50_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f", percentile(0.5),
               percentile(0.99), percentile(0.999));
    }
    printf("}\n");
}

static void usage(void)
{
    fprintf(stderr,
            "usage: reader get|push|pull [--port N] [--conns N] [--msgs N] [--subject S]\n"
            "            [--subjects N] [--request S] [--body JSON] [--batch N] [--ack 1]\n");
    exit(2);
}

static bool number_option(const char *k, const char *v)
{
    const struct {
        const char *name;
        unsigned *to;
    } numbers[] = {{"--conns", &o.conns},
                   {"--subjects", &o.subjects},
                   {"--batch", &o.batch},
                   {"--ack", &o.ack}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(k, numbers[i].name) == 0) {
            *numbers[i].to = (unsigned)atoi(v);
            return true;
        }
    }
    return false;
}

static void arguments(int argc, char **argv)
{
    static const char *modes[] = {"get", "push", "pull"};
    int mode = -1;
    for (int i = 0; argc > 1 && i < 3; i++) {
        mode = strcmp(argv[1], modes[i]) == 0 ? i : mode;
    }
    if (mode < 0 || argc % 2 != 0) {
        usage();
    }
    o.mode = (enum mode)mode;
    for (int i = 2; i < argc; i += 2) {
        const char *k = argv[i], *v = argv[i + 1];
        if (number_option(k, v)) {
            continue;
        }
        if (strcmp(k, "--port") == 0) {
            o.port = (uint16_t)atoi(v);
        } else if (strcmp(k, "--msgs") == 0) {
            o.msgs = strtoull(v, NULL, 10);
        } else if (strcmp(k, "--subject") == 0) {
            o.subject = v;
        } else if (strcmp(k, "--request") == 0) {
            o.request = v;
        } else if (strcmp(k, "--body") == 0) {
            o.body = v;
        } else {
            usage();
        }
    }
    if (o.conns == 0 || o.msgs < o.conns || o.subjects == 0 || o.batch == 0 ||
        (o.mode == MODE_GET ? o.subject == NULL : o.request == NULL) ||
        (o.mode == MODE_PUSH && (o.body == NULL || o.conns != 1))) {
        usage();
    }
}

int main(int argc, char **argv)
{
    arguments(argc, argv);
    lat_us = malloc((o.msgs + 1) * sizeof *lat_us);
    ep = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc(o.conns, sizeof *conns);
    for (unsigned i = 0; i < o.conns; i++) {
        open_conn(&conns[i], i);
    }
    open_conns = o.conns;
    double began = now_s(), cpu = cpu_s();
    run();
    report(began, cpu);
    return 0;
}
