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
#include "tests/lib/load_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static struct lc lc;
static uint64_t total; /* what came back */
static char *payload;
static char inbox[40];

static void put_message(struct lc_conn *c)
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
    lc_put(&lc, c, head, (size_t)n);
    lc_put(&lc, c, payload, o.size);
    lc_put(&lc, c, "\r\n", 2);
    c->sent++;
}

static bool has_room(const struct lc_conn *c)
{
    return c->out_len + o.size + strlen(o.subject) + 120 < lc.out_bytes;
}

/* Sends what this connection may send now. */
static void drive(struct lc_conn *c)
{
    if (c->done) {
        return;
    }
    switch (o.mode) {
    case MODE_PUB:
        while (c->sent < c->todo && has_room(c)) {
            put_message(c);
        }
        break;
    case MODE_REQ:
    case MODE_SYNC:
        if (c->sent == c->answered && c->sent < c->todo) {
            c->asked = lc_now_s();
            put_message(c);
        }
        break;
    case MODE_ASYNC:
        while (c->sent < c->todo && c->sent - c->answered < o.window && has_room(c)) {
            put_message(c);
        }
        break;
    case MODE_SUB:
    case MODE_REP:
        break;
    }
    if (o.mode == MODE_PUB && c->sent == c->todo) {
        lc_put(&lc, c, "PING\r\n", 6); /* its PONG says that the server has read all of it */
        c->done = true;
    }
    /* what the buffer had no room for goes when the socket takes more, not with the next answer */
    c->more = !c->done && c->sent < c->todo &&
              (o.mode == MODE_PUB || (o.mode == MODE_ASYNC && c->sent - c->answered < o.window));
}

static void answered(struct lc_conn *c)
{
    if (++c->answered == c->todo) {
        c->done = true;
        lc.open_conns--;
    }
}

static void answer(struct lc_conn *c, const struct lc_msg *m)
{
    char line[400], head[450];
    char *save = NULL, *word = NULL;
    snprintf(line, sizeof line, "%.*s", (int)m->line_len, m->line);
    word = strtok_r(line, " ", &save);
    for (int i = 0; i < 3 && word != NULL; i++) {
        word = strtok_r(NULL, " ", &save);
    }
    int n = snprintf(head, sizeof head, "PUB %s %zu\r\n", word, o.size);
    lc_put(&lc, c, head, (size_t)n);
    lc_put(&lc, c, payload, o.size);
    lc_put(&lc, c, "\r\n", 2);
}

static void on_message(struct lc_conn *c, const struct lc_msg *m)
{
    char text[300];
    total++;
    if (m->line[0] == 'H') {
        snprintf(text, sizeof text, "%.*s", (int)m->line_len, m->line);
        lc_die("an answer without a responder or with a status", text);
    }
    if ((o.mode == MODE_SYNC || o.mode == MODE_ASYNC) &&
        (m->size < 10 || memcmp(m->body, "{\"stream\":", 10) != 0)) {
        snprintf(text, sizeof text, "%.*s", (int)(m->size < 250 ? m->size : 250), m->body);
        lc_die("a publish was not acknowledged", text);
    }
    if (o.mode == MODE_REP) {
        answer(c, m);
    } else if (o.mode == MODE_REQ || o.mode == MODE_SYNC) {
        lc_latency(&lc, c->asked);
    }
    answered(c);
}

static void on_pong(struct lc_conn *c)
{
    (void)c;
    lc.open_conns -= o.mode == MODE_PUB;
}

static void open_conn(unsigned no)
{
    char login[300] = "", text[400] = "";
    if (o.user != NULL) {
        snprintf(login, sizeof login, ",\"user\":\"%s\",\"pass\":\"%s\"", o.user, o.pass);
    }
    if (o.mode == MODE_SUB || o.mode == MODE_REP) {
        snprintf(text, sizeof text, "SUB %s %s 1\r\n", o.subject, o.queue != NULL ? o.queue : "");
    } else if (o.mode != MODE_PUB) {
        snprintf(text, sizeof text, "SUB %s.%u.* 1\r\n", inbox, no);
    }
    lc_open(&lc, no, login, text);
    lc.conns[no].todo = o.mode == MODE_SUB ? o.msgs : o.msgs / o.conns + (no < o.msgs % o.conns);
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
    size_t buf_bytes = 2 * o.size + (256u << 10); /* two messages fit */
    payload = malloc(o.size + 1);
    memset(payload, 'm', o.size);
    for (size_t i = 0; o.random && i < o.size; i++) {
        payload[i] = (char)(rand() >> 8);
    }
    snprintf(inbox, sizeof inbox, "_INBOX.load%d", (int)getpid());
    lc = (struct lc){.name = "load",
                     .port = o.port,
                     .nconns = o.conns,
                     .in_bytes = buf_bytes,
                     .out_bytes = buf_bytes,
                     .msg = on_message,
                     .pong = on_pong,
                     .turn = drive};
    lc_init(&lc, o.msgs);
    for (unsigned i = 0; i < o.conns; i++) {
        open_conn(i);
    }
    bool listens = o.mode == MODE_SUB || o.mode == MODE_REP;
    if (listens) {
        printf("ready\n"); /* the publishers may start */
        fflush(stdout);
    }
    double cpu = lc_cpu_s();
    if (listens) { /* the clock starts with the first message */
        lc_wait_input(&lc);
    }
    double began = lc_now_s();
    for (unsigned i = 0; i < o.conns; i++) {
        drive(&lc.conns[i]);
        lc_flush(&lc, &lc.conns[i]);
    }
    lc_run(&lc);
    lc_report(&lc, o.mode == MODE_PUB ? o.msgs : total, "", began, cpu);
    return 0;
}
