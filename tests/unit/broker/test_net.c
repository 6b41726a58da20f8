/* The broker's network half in one process: a real loop and real sockets on loopback, stepped by
 * the test. */
#include "tests/lib/testlib.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/conn.h"
#include "broker/internal.h"
#include "broker/server.h"
#include "engine/base/log.h"

#define STEPS_MAX 2000000

struct fixture {
    struct env *env;
    struct brk_opts opts;
    struct brk_server *s;
};

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg, (void)level, (void)line, (void)len;
}

static int setup(void **state)
{
    struct fixture *f = base_calloc(1, sizeof *f);
    struct err err;
    log_set_sink(quiet, NULL);
    f->env = env_real_create();
    brk_opts_init(&f->opts);
    brk_opts_set_str(&f->opts.host, "127.0.0.1");
    f->opts.port = BRK_PORT_RANDOM;
    f->opts.max_closed_clients = 3;
    TEST_OK(brk_server_create(&f->opts, f->env, &f->s, &err), &err);
    TEST_OK(brk_server_start(f->s, &err), &err);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    brk_server_destroy(f->s);
    brk_opts_fini(&f->opts);
    env_real_destroy(f->env);
    base_free(f);
    log_set_sink(NULL, NULL);
    return 0;
}

static struct brk_str str(const char *s)
{
    return (struct brk_str){s, strlen(s)};
}
#define NONE ((struct brk_str){NULL, 0})

/* --- a client, stepped together with the loop ------------------------------------------------- */

static void turn(struct fixture *f)
{
    (void)brk_loop_poll(f->s->loop);
}

static void expect(struct fixture *f, int fd, const char *want)
{
    char got[8192];
    size_t n = 0, len = strlen(want);
    assert_true(len < sizeof got);
    for (int i = 0; i < STEPS_MAX && n < len; i++) {
        turn(f);
        ssize_t k = recv(fd, got + n, len - n, MSG_DONTWAIT);
        if (k == 0) {
            break;
        }
        n += k > 0 ? (size_t)k : 0;
    }
    got[n] = 0;
    assert_string_equal(got, want);
}

static void expect_end(struct fixture *f, int fd)
{
    char c;
    ssize_t k = -1;
    for (int i = 0; i < STEPS_MAX && k < 0; i++) {
        turn(f);
        k = recv(fd, &c, 1, MSG_DONTWAIT);
    }
    assert_int_equal(k, 0);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

static void sync_with(struct fixture *f, int fd)
{
    say(fd, "PING\r\n");
    expect(f, fd, "PONG\r\n");
}

static int client(struct fixture *f)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(f->s->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    char c = 0;
    for (int i = 0; i < STEPS_MAX && c != '\n'; i++) {
        turn(f);
        if (recv(fd, &c, 1, MSG_DONTWAIT) != 1) {
            c = 0;
        }
    }
    assert_int_equal(c, '\n');
    say(fd, "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n");
    sync_with(f, fd);
    return fd;
}

/* --- internal client -------------------------------------------------------------------------- */

struct seen {
    char text[1024];
    size_t n;
    struct brk_account *acc;
    struct brk_sub *drop; /* destroyed by the callback */
    const char *publish;  /* published by the callback */
    uint64_t from_cid;
};

static void on_msg(void *arg, const struct brk_msg *m)
{
    struct seen *s = arg;
    s->n += (size_t)snprintf(s->text + s->n, sizeof s->text - s->n, "%.*s|%.*s|%.*s|%.*s;",
                             (int)m->subject.n, m->subject.p, (int)m->reply.n,
                             m->reply.n > 0 ? m->reply.p : "", (int)m->hdr_len,
                             m->hdr_len > 0 ? (const char *)m->hdr : "", (int)m->payload_len,
                             m->payload_len > 0 ? (const char *)m->payload : "");
    s->from_cid = m->from == NULL ? 0 : m->from->cid;
    if (s->drop != NULL) {
        struct brk_sub *drop = s->drop;
        s->drop = NULL;
        brk_isub_destroy(drop);
    }
    if (s->publish != NULL) {
        struct brk_msg out = {
            .subject = str(s->publish), .payload = (const uint8_t *)"nested", .payload_len = 6};
        (void)brk_publish(s->acc, &out);
    }
}

static void internal_sub(void **state)
{
    struct fixture *f = *state;
    struct brk_account *g = f->s->global;
    struct seen seen = {.acc = g};
    struct brk_sub *sub = brk_isub_create(g, str("orders.*"), NONE, on_msg, &seen);
    int fd = client(f);
    /* a stream's subscription counts: no 503 */
    say(fd, "SUB inbox 1\r\nPUB orders.new inbox 2\r\nok\r\nHPUB orders.hdr 12 "
            "14\r\nNATS/1.0\r\n\r\nhi\r\n");
    sync_with(f, fd);
    assert_string_equal(seen.text, "orders.new|inbox||ok;orders.hdr||NATS/1.0\r\n\r\n|hi;");
    assert_int_equal(seen.from_cid, 1);
    /* the answer goes out in the same turn */
    seen.publish = "inbox";
    say(fd, "PUB orders.x 0\r\n\r\n");
    expect(f, fd, "MSG inbox 1 6\r\nnested\r\n");
    seen.publish = NULL;
    /* destroyed from inside its own callback */
    seen.drop = sub;
    say(fd, "PUB orders.y 0\r\n\r\nPUB orders.z inbox 0\r\n\r\n");
    expect(f, fd, "HMSG inbox 1 40 40\r\nNATS/1.0 503\r\nNats-Subject: orders.z\r\n\r\n\r\n");
    assert_int_equal(f->s->global->interest.count, 1);
    close(fd);
}

static void publish_and_deliver(void **state)
{
    struct fixture *f = *state;
    struct brk_account *g = f->s->global;
    struct brk_msg m = {.subject = str("a.b"), .payload = (const uint8_t *)"xyz", .payload_len = 3};
    assert_int_equal(brk_publish(g, &m), 0);
    assert_false(brk_account_has_interest(g, str("a.b")));
    int fd = client(f);
    say(fd, "SUB a.* 1\r\nSUB a.b q 2\r\nSUB inbox 3\r\n");
    sync_with(f, fd);
    assert_true(brk_account_has_interest(g, str("a.b")));
    assert_int_equal(brk_publish(g, &m), 2);
    expect(f, fd, "MSG a.b 2 3\r\nxyz\r\nMSG a.b 1 3\r\nxyz\r\n");
    /* a consumer's delivery: found by `inbox`, shown as the stored subject */
    m.reply = str("$JS.ACK.x");
    m.hdr = (const uint8_t *)"NATS/1.0\r\nA: b\r\n\r\n";
    m.hdr_len = 18;
    assert_int_equal(brk_deliver(g, str("inbox"), &m), 1);
    expect(f, fd, "HMSG a.b 3 $JS.ACK.x 18 21\r\nNATS/1.0\r\nA: b\r\n\r\nxyz\r\n");
    char h1[] = "NATS/1.0\r\n", h2[] = "C: d\r\n\r\n", p1[] = "pay", p2[] = "load";
    struct iovec parts[] = {{h1, 10}, {h2, 8}, {p1, 3}, {p2, 4}};
    assert_int_equal(brk_deliver_iov(g, str("inbox"), &m, 18, parts, 4), 1);
    expect(f, fd, "HMSG a.b 3 $JS.ACK.x 18 25\r\nNATS/1.0\r\nC: d\r\n\r\npayload\r\n");
    /* a callback gets it in one piece */
    struct seen seen = {.acc = g};
    struct brk_sub *sub = brk_isub_create(g, str("in"), NONE, on_msg, &seen);
    assert_int_equal(brk_deliver_iov(g, str("in"), &m, 18, parts, 4), 1);
    assert_string_equal(seen.text, "a.b|$JS.ACK.x|NATS/1.0\r\nC: d\r\n\r\n|payload;");
    brk_isub_destroy(sub);
    assert_int_equal(f->s->counters.flow.out_msgs, 4);
    close(fd);
}

/* --- watches ---------------------------------------------------------------------------------- */

struct watched {
    int came, went;
    struct brk_watch *w, *destroy;
};

static void on_watch(void *arg, bool active)
{
    struct watched *w = arg;
    *(active ? &w->came : &w->went) += 1;
    if (w->destroy != NULL) {
        brk_watch_destroy(w->destroy);
        w->destroy = NULL;
    }
}

static void watches(void **state)
{
    struct fixture *f = *state;
    struct brk_account *g = f->s->global;
    struct watched plain = {0}, queue = {0};
    plain.w = brk_watch_create(g, str("deliver.x"), NONE, on_watch, &plain);
    queue.w = brk_watch_create(g, str("deliver.x"), str("grp"), on_watch, &queue);
    assert_false(brk_watch_active(plain.w));
    int fd = client(f);
    say(fd, "SUB deliver.* 1\r\n");
    sync_with(f, fd);
    assert_int_equal(plain.came, 1);
    assert_true(brk_watch_active(plain.w));
    assert_int_equal(queue.came, 0);
    /* came and went in one turn: nothing is told */
    say(fd, "SUB deliver.x grp 2\r\nUNSUB 2\r\n");
    sync_with(f, fd);
    say(fd, "SUB deliver.x grp 3\r\nUNSUB 1\r\n");
    sync_with(f, fd);
    assert_int_equal(queue.came, 1);
    assert_int_equal(plain.went, 1); /* a member of a group is no plain subscriber */
    close(fd);
    for (int i = 0; i < STEPS_MAX && queue.went == 0; i++) {
        turn(f);
    }
    assert_int_equal(queue.went, 1);
    assert_int_equal(plain.went, 1);
    /* one destroyed from inside, the other while it is due */
    fd = client(f);
    plain.destroy = plain.w;
    say(fd, "SUB deliver.x grp 3\r\nSUB deliver.x 4\r\n");
    sync_with(f, fd);
    assert_int_equal(plain.came, 2);
    brk_watch_destroy(queue.w);
    close(fd);
}

/* --- mapping ---------------------------------------------------------------------------------- */

static struct brk_str map_to_b(void *arg, struct brk_str subject, char *room)
{
    (void)arg;
    if (subject.n == 300) {
        memset(room, 'l', subject.n);
        return (struct brk_str){room, subject.n};
    }
    return subject.n == 1 && subject.p[0] == 'a' ? str("b") : subject;
}

static void mapping(void **state)
{
    struct fixture *f = *state;
    f->s->global->map_subject = map_to_b;
    int fd = client(f);
    say(fd, "SUB a 1\r\nSUB b 2\r\nPUB a 1\r\nx\r\nPUB b 1\r\ny\r\n");
    expect(f, fd, "MSG b 2 1\r\nx\r\nMSG b 2 1\r\ny\r\n");
    char ls[301], text[700];
    memset(ls, 'l', 300);
    ls[300] = '\0';
    (void)snprintf(text, sizeof text, "SUB %s 3\r\nPUB %.299sx 1\r\nz\r\n", ls, ls);
    say(fd, text);
    (void)snprintf(text, sizeof text, "MSG %s 3 1\r\nz\r\n", ls);
    expect(f, fd, text);
    sync_with(f, fd);
    close(fd);
}

/* --- connections ------------------------------------------------------------------------------ */

struct closed_seen {
    uint64_t cids[8];
    int n;
};

static bool on_closed(void *arg, const struct brk_closed *c)
{
    struct closed_seen *s = arg;
    assert_int_equal(c->reason, BRK_CLOSE_CLIENT);
    assert_string_equal(c->account, "$G");
    s->cids[s->n++] = c->cid;
    return true;
}

static void closed_ring(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++) {
        int fd = client(f);
        assert_int_equal(f->s->conns_count, 1);
        assert_non_null(brk_server_conn(f->s, (uint64_t)i + 1));
        close(fd);
        for (int k = 0; k < STEPS_MAX && f->s->conns_count > 0; k++) {
            turn(f);
        }
        struct closed_seen seen = {.n = 0};
        brk_server_each_closed(f->s, on_closed, &seen);
        assert_int_equal(seen.n, i < 3 ? i + 1 : 3);
        for (int k = 0; k < seen.n; k++) {
            assert_int_equal(seen.cids[k], i + 1 - k);
        }
    }
    assert_int_equal(f->s->closed_total, 5);
    assert_int_equal(f->s->counters.total_connections, 5);
}

static void counters(void **state)
{
    struct fixture *f = *state;
    int a = client(f), b = client(f);
    say(a, "SUB x 1\r\n");
    sync_with(f, a);
    say(b, "SUB x 1\r\nHPUB x 12 15\r\nNATS/1.0\r\n\r\nabc\r\n");
    expect(f, a, "HMSG x 1 12 15\r\nNATS/1.0\r\n\r\nabc\r\n");
    struct brk_conn *ca = brk_server_conn(f->s, 1), *cb = brk_server_conn(f->s, 2);
    assert_int_equal(ca->flow.out_msgs, 1);
    assert_int_equal(ca->flow.out_bytes, 15);
    assert_int_equal(cb->flow.in_msgs, 1);
    assert_int_equal(cb->flow.in_bytes, 15);
    assert_int_equal(f->s->counters.flow.out_msgs, 2);
    assert_int_equal(f->s->global->flow.in_bytes, 15);
    assert_int_equal(f->s->global->conns_count, 2);
    assert_int_equal(f->s->subs_count, 2);
    assert_ptr_equal(ca->next, cb);
    close(a);
    close(b);
}

static void shutdown_closes(void **state)
{
    struct fixture *f = *state;
    int fd = client(f);
    say(fd, "SUB a 1\r\n");
    sync_with(f, fd);
    struct brk_msg m = {.subject = str("a"), .payload = (const uint8_t *)"last", .payload_len = 4};
    (void)brk_publish(f->s->global, &m);
    brk_server_stop(f->s);
    brk_server_run(f->s);
    expect(f, fd, "MSG a 1 4\r\nlast\r\n");
    expect_end(f, fd);
    close(fd);
}

/* A slow reader that is cut off in the middle of a fan-out, and one that unsubscribes through its
 * limit. */
static void ends_in_fan_out(void **state)
{
    struct fixture *f = *state;
    f->opts.max_pending = 1 << 20;
    int slow = client(f), quick = client(f), pub = client(f);
    say(slow, "SUB x 1\r\nSUB x 2\r\nSUB x 3\r\n");
    say(quick, "SUB x 1\r\nUNSUB 1 1\r\n");
    sync_with(f, slow);
    sync_with(f, quick);
    size_t size = 1000000;
    uint8_t *big = base_calloc(1, size);
    struct brk_msg m = {.subject = str("x"), .payload = big, .payload_len = size};
    for (int i = 0; i < 30; i++) {
        (void)brk_publish(f->s->global, &m);
    }
    assert_int_equal(f->s->counters.slow_pending, 1);
    for (int i = 0; i < STEPS_MAX && f->s->conns_count > 2; i++) {
        turn(f);
    }
    assert_int_equal(f->s->conns_count, 2);
    assert_int_equal(f->s->global->interest.count, 0);
    base_free(big);
    sync_with(f, pub);
    close(slow);
    close(quick);
    close(pub);
}

/* --- bytes that are kept where they are ------------------------------------------------------- */

enum { KEPT_BYTES = 200000 };

/* A payload that is freed with its last reference: whoever looks at it later is seen by ASan. */
struct kept {
    unsigned refs;
    unsigned *alive;
    uint8_t bytes[KEPT_BYTES];
};

static void kept_acquire(void *what)
{
    ((struct kept *)what)->refs++;
}

static void kept_release(void *what)
{
    struct kept *k = what;
    if (--k->refs == 0) {
        *k->alive -= 1;
        base_free(k);
    }
}

/* Publishes a payload of byte `no` and lets it go, as the engine does at the end of its turn. */
static void publish_kept(struct fixture *f, uint8_t no, unsigned *alive)
{
    struct kept *k = base_malloc(sizeof *k);
    k->refs = 1;
    k->alive = alive;
    *alive += 1;
    memset(k->bytes, no, sizeof k->bytes);
    struct msg_keep keep = {k, kept_acquire, kept_release};
    struct brk_msg m = {
        .subject = str("x"), .payload = k->bytes, .payload_len = KEPT_BYTES, .keep = &keep};
    (void)brk_publish(f->s->global, &m);
    kept_release(k);
}

static void expect_kept(struct fixture *f, int fd, uint8_t no)
{
    static uint8_t got[KEPT_BYTES];
    size_t n = 0;
    expect(f, fd, "MSG x 1 200000\r\n");
    for (int i = 0; i < STEPS_MAX && n < KEPT_BYTES; i++) {
        turn(f);
        ssize_t k = recv(fd, got + n, KEPT_BYTES - n, MSG_DONTWAIT);
        assert_int_not_equal(k, 0);
        n += k > 0 ? (size_t)k : 0;
    }
    assert_int_equal(n, KEPT_BYTES);
    for (size_t i = 0; i < KEPT_BYTES; i++) {
        assert_int_equal(got[i], no);
    }
    expect(f, fd, "\r\n");
}

static void until_conns(struct fixture *f, uint64_t n)
{
    for (int i = 0; i < STEPS_MAX && f->s->conns_count != n; i++) {
        turn(f);
    }
    assert_int_equal(f->s->conns_count, n);
}

/* One receiver takes what is kept, one takes nothing, is cut off, and holds nothing any more. */
static void kept_for_a_slow_reader(void **state)
{
    struct fixture *f = *state;
    unsigned alive = 0;
    f->opts.max_pending = 4 << 20;
    int slow = client(f), quick = client(f);
    say(slow, "SUB x 1\r\n");
    say(quick, "SUB x 1\r\n");
    sync_with(f, slow);
    sync_with(f, quick);
    unsigned most = 0;
    for (int i = 0; i < 100; i++) {
        publish_kept(f, (uint8_t)i, &alive);
        expect_kept(f, quick, (uint8_t)i);
        most = alive > most ? alive : most;
    }
    assert_int_equal(f->s->counters.slow_pending, 1);
    assert_true(most <= (4 << 20) / KEPT_BYTES + 1);
    until_conns(f, 1);
    assert_int_equal(alive, 0);
    close(slow);
    close(quick);
}

/* The receiver goes while a write of kept bytes is queued; another with the server. */
static void kept_until_closed(void **state)
{
    struct fixture *f = *state;
    unsigned alive = 0;
    int gone = client(f);
    say(gone, "SUB x 1\r\n");
    sync_with(f, gone);
    for (int i = 0; i < 100; i++) {
        publish_kept(f, 7, &alive);
    }
    turn(f);
    assert_true(alive > 0);
    assert_true(f->s->conns_first->writing);
    close(gone);
    until_conns(f, 0);
    for (int i = 0; i < STEPS_MAX && alive > 0; i++) {
        turn(f);
    }
    assert_int_equal(alive, 0);
    int fd = client(f);
    say(fd, "SUB x 1\r\n");
    sync_with(f, fd);
    for (int i = 0; i < 100; i++) {
        publish_kept(f, 8, &alive);
    }
    assert_true(alive > 0);
    brk_server_destroy(f->s);
    assert_int_equal(alive, 0);
    close(fd);
    struct err err;
    TEST_OK(brk_server_create(&f->opts, f->env, &f->s, &err), &err);
}

/* --- the loop --------------------------------------------------------------------------------- */

struct loop_seen {
    struct brk_loop *loop;
    int turns, wakes, ticks, steps, want_steps;
    char order[64];
    size_t n;
};

static void on_turn(void *arg)
{
    struct loop_seen *s = arg;
    s->turns++;
    s->order[s->n++ % 63] = 't';
}
static void on_wake(void *arg)
{
    struct loop_seen *s = arg;
    s->wakes++;
}
static void on_tick(void *arg)
{
    struct loop_seen *s = arg;
    s->ticks++;
}
static bool on_slice(void *arg)
{
    struct loop_seen *s = arg;
    s->order[s->n++ % 63] = 's';
    return ++s->steps < s->want_steps;
}
static void *ring(void *arg)
{
    struct loop_seen *s = arg;
    for (int i = 0; i < 1000; i++) {
        brk_loop_wake(s->loop);
    }
    return NULL;
}

static void loop_parts(void **state)
{
    struct fixture *f = *state;
    struct loop_seen s = {.loop = f->s->loop, .want_steps = 200};
    brk_loop_on_turn(f->s->loop, on_turn, &s);
    brk_loop_on_wake(f->s->loop, on_wake, &s);
    turn(f);
    assert_true(s.turns > 0);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, ring, &s), 0);
    assert_int_equal(pthread_join(t, NULL), 0);
    for (int i = 0; i < STEPS_MAX && s.wakes == 0; i++) {
        turn(f);
    }
    assert_true(s.wakes >= 1);
    /* a slice runs in pieces, before the turn's hooks, over several turns */
    struct brk_slice *slice = brk_slice_create(f->s->loop, on_slice, &s);
    s.n = 0;
    int before = s.turns;
    brk_slice_kick(slice);
    brk_slice_kick(slice);
    turn(f);
    assert_int_equal(s.order[0], 's');
    assert_true(s.steps <= (int)BRK_SLICE_STEPS_MAX);
    for (int i = 0; i < STEPS_MAX && s.steps < 200; i++) {
        turn(f);
    }
    turn(f);
    assert_int_equal(s.steps, 200);
    assert_true(s.turns - before >= 4);
    brk_slice_kick(slice);
    brk_slice_destroy(slice);
    struct brk_timer *timer = brk_timer_create(f->s->loop, on_tick, &s);
    brk_timer_start(timer, 1, 1);
    for (int i = 0; i < STEPS_MAX && s.ticks < 3; i++) {
        turn(f);
    }
    assert_true(s.ticks >= 3);
    brk_timer_stop(timer);
    assert_false(brk_timer_active(timer));
    brk_timer_destroy(timer);
    brk_loop_off(f->s->loop, on_turn, &s);
    brk_loop_off(f->s->loop, on_wake, &s);
}

/* The server's end of a client's socket. */
static int other_end(int fd)
{
    struct sockaddr_in mine, theirs;
    socklen_t len = sizeof mine;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&mine, &len), 0);
    for (int i = 0; i < 1024; i++) {
        len = sizeof theirs;
        if (getpeername(i, (struct sockaddr *)&theirs, &len) == 0 && theirs.sin_family == AF_INET &&
            theirs.sin_port == mine.sin_port) {
            return i;
        }
    }
    fail_msg("the server has no such socket");
    return -1;
}

/* Says nothing where bbr is not the system's default. */
static void loopback_is_not_paced(void **state)
{
    struct fixture *f = *state;
    char name[16] = "";
    socklen_t len = sizeof name;
    int fd = client(f);
    assert_int_equal(getsockopt(other_end(fd), IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
    assert_string_not_equal(name, "bbr");
    close(fd);
}

int main(void)
{
#define NET_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        NET_TEST(internal_sub),
        NET_TEST(publish_and_deliver),
        NET_TEST(watches),
        NET_TEST(mapping),
        NET_TEST(closed_ring),
        NET_TEST(counters),
        NET_TEST(shutdown_closes),
        NET_TEST(ends_in_fan_out),
        NET_TEST(loop_parts),
        NET_TEST(loopback_is_not_paced),
        NET_TEST(kept_for_a_slow_reader),
        NET_TEST(kept_until_closed),
    };
    (void)signal(SIGPIPE, SIG_IGN); /* as the program does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
