/* The load generator of what reads JetStream, on tests/lib/load_client like load.c.
 *
 *     reader get   --subject P --subjects N   DIRECT.GET of keys P.0 .. P.N-1 in scattered order;
 *                                             each connection waits for its answer
 *     reader push  --request S --body JSON    asks for a push consumer (ordered consumer, watch,
 *                                             keys, object), answers flow control, reads --msgs
 *     reader pull  --request S --batch N      pulls from a consumer as nats.go's Consume does: asks
 *                                             again at half a batch; --ack 1 acknowledges each
 *
 * %d in --body becomes the inbox of the connection. Prints one JSON line as load.c does. An answer
 * that is an error, a gap in the consumer's sequence (push), messages that still wait behind the
 * last one, or a closed connection end the run with exit code 1. */
#include "tests/lib/load_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum mode { MODE_GET, MODE_PUSH, MODE_PULL };

static struct {
    enum mode mode;
    unsigned conns, subjects, batch, ack;
    uint64_t msgs; /* in all */
    uint16_t port;
    const char *subject, *request, *body;
} o = {.conns = 1, .subjects = 1, .batch = 500, .msgs = 100000, .port = 4222};

static struct lc lc;
static uint64_t total, bytes;
static uint64_t *pending; /* pull: asked for and not come, of each connection */

static void put_request(struct lc_conn *c, const char *subject, const char *body)
{
    char head[400];
    int n = snprintf(head, sizeof head, "PUB %s _INBOX.reader%d.%u %zu\r\n", subject, (int)getpid(),
                     c->no, strlen(body));
    lc_put(&lc, c, head, (size_t)n);
    lc_put(&lc, c, body, strlen(body));
    lc_put(&lc, c, "\r\n", 2);
}

/* Everything this connection sent before has been read by the server once its PONG is here. */
static void last_ping(struct lc_conn *c)
{
    if (!c->closing) {
        c->closing = true;
        lc_put(&lc, c, "PING\r\n", 6);
    }
}

static void ask(struct lc_conn *c)
{
    char text[300];
    if (o.mode == MODE_GET) {
        uint64_t i = c->sent * o.conns + c->no;
        snprintf(text, sizeof text, "%s.%llu", o.subject,
                 (unsigned long long)(i * 2654435761u % o.subjects));
        c->sent++;
        c->asked = lc_now_s();
        put_request(c, text, "");
    } else if (o.mode == MODE_PULL && pending[c->no] <= o.batch / 2) {
        uint64_t more = o.batch - pending[c->no];
        snprintf(text, sizeof text,
                 "{\"expires\":30000000000,\"batch\":%llu,\"max_bytes\":0,\"idle_heartbeat\":"
                 "15000000000}",
                 (unsigned long long)more);
        pending[c->no] += more;
        put_request(c, o.request, text);
    }
}

/* A message without payload and with a status line. */
static void status(struct lc_conn *c, const char *reply, size_t reply_len, const char *hdr,
                   size_t len)
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
            lc_put(&lc, c, line, (size_t)n);
        }
        return;
    }
    snprintf(line, sizeof line, "%.*s", (int)len, hdr);
    if (o.mode != MODE_PULL || (hdr[9] == '4' && hdr[11] != '8' && hdr[11] != '4')) {
        lc_die("the server answers", line);
    }
    pending[c->no] = 0; /* 404, 408: the request is over */
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

static void one_message(struct lc_conn *c, const char *reply, size_t reply_len, size_t size)
{
    total++;
    bytes += size;
    if (o.mode == MODE_GET) {
        lc_latency(&lc, c->asked);
        if (c->sent < c->todo) {
            ask(c);
        } else {
            last_ping(c);
        }
        return;
    }
    if (o.mode == MODE_PUSH && ack_field(reply, reply_len, 2) != total) {
        lc_die("a gap in the consumer's sequence", reply);
    }
    if (o.mode == MODE_PULL) {
        pending[c->no] -= pending[c->no] > 0;
        if (o.ack != 0) {
            char line[400];
            int n = snprintf(line, sizeof line, "PUB %.*s 4\r\n+ACK\r\n", (int)reply_len, reply);
            lc_put(&lc, c, line, (size_t)n);
        }
    }
    if (total < o.msgs) {
        ask(c);
        return;
    }
    if (o.conns == 1 && ack_field(reply, reply_len, 0) != 0) {
        lc_die("messages still wait behind the last one", reply);
    }
    for (unsigned i = 0; i < o.conns; i++) {
        last_ping(&lc.conns[i]);
        lc_flush(&lc, &lc.conns[i]);
    }
}

/* What came on sid 1. */
static void on_message(struct lc_conn *c, const struct lc_msg *m)
{
    const char *word[6];
    size_t len[6], words = 0;
    for (const char *p = m->line, *end = p + m->line_len; p < end && words < 6; words++) {
        const char *stop = memchr(p, ' ', (size_t)(end - p));
        stop = stop != NULL ? stop : end;
        word[words] = p;
        len[words] = (size_t)(stop - p);
        p = stop + 1;
    }
    bool has_reply = words == (m->line[0] == 'H' ? 6u : 5u);
    const char *reply = has_reply ? word[3] : "";
    size_t reply_len = has_reply ? len[3] : 0;
    if (*word[2] == '2' && o.mode == MODE_PUSH) { /* the answer to a request for a consumer */
        if (memmem(m->body, m->size, "\"error\"", 7) != NULL) {
            lc_die("the server refuses the consumer", m->body);
        }
    } else if (m->hdr > 12 && m->body[8] == ' ') {
        status(c, reply, reply_len, m->body, m->hdr);
    } else {
        one_message(c, reply, reply_len, m->size);
    }
}

static void on_pong(struct lc_conn *c)
{
    if (c->closing && !c->done) {
        c->done = true;
        lc.open_conns--;
    }
}

static void open_conn(unsigned no)
{
    char text[300];
    int pid = (int)getpid(), sid = o.mode == MODE_PUSH ? 2 : 1;
    snprintf(text, sizeof text, "SUB _INBOX.reader%d.%u %d\r\nSUB _INBOX.reader%d.%u.d %d\r\n", pid,
             no, sid, pid, no, 3 - sid);
    lc_open(&lc, no, "", text);
    lc.conns[no].todo = o.msgs / o.conns + (no < o.msgs % o.conns);
}

/* The request for a push consumer, with this connection's inbox in place of %d. */
static void ask_for_consumer(struct lc_conn *c)
{
    char body[1000];
    const char *mark = strstr(o.body, "%d");
    if (mark == NULL) {
        lc_die("no %d in --body", NULL);
    }
    snprintf(body, sizeof body, "%.*s_INBOX.reader%d.%u.d%s", (int)(mark - o.body), o.body,
             (int)getpid(), c->no, mark + 2);
    put_request(c, o.request, body);
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
    lc = (struct lc){.name = "reader",
                     .port = o.port,
                     .nconns = o.conns,
                     .in_bytes = 1 << 20,
                     .out_bytes = 1 << 18,
                     .msg = on_message,
                     .pong = on_pong};
    lc_init(&lc, o.mode == MODE_GET ? o.msgs : 0);
    pending = calloc(o.conns, sizeof *pending);
    for (unsigned i = 0; i < o.conns; i++) {
        open_conn(i);
    }
    double began = lc_now_s(), cpu = lc_cpu_s();
    for (unsigned i = 0; i < o.conns; i++) {
        struct lc_conn *c = &lc.conns[i];
        if (o.mode == MODE_PUSH) {
            ask_for_consumer(c);
        } else {
            ask(c);
        }
        lc_flush(&lc, c);
    }
    lc_run(&lc);
    char read[40];
    snprintf(read, sizeof read, "\"bytes\":%llu,", (unsigned long long)bytes);
    lc_report(&lc, total, read, began, cpu);
    return 0;
}
