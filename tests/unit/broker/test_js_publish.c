/* Publishes while the journal takes none: what waits is bounded because the connections that fill
 * the queue are not read any more; all of it is stored afterwards, in order. Real sockets on
 * loopback above a fake store, stepped by the test. */
#include "tests/lib/testlib.h"

#include <stdio.h>
#include <unistd.h>

#include "broker/js.h"
#include "broker/server.h"
#include "engine/base/log.h"
#include "tests/lib/fake_store.h"
#include "tests/lib/tcp_client.h"

#define STEPS_MAX 2000000
#define BODY 4000u
#define MOST (48 * MIB) /* 8 MiB wait, the kernel keeps some, the rest is not sent */

struct fixture {
    struct env *env;
    struct brk_opts opts;
    struct brk_server *s;
    struct store *store;
    struct js *js;
};

static void quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg, (void)level, (void)line, (void)len;
}

static void ring(void *arg)
{
    brk_loop_wake(((struct fixture *)arg)->s->loop);
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
    f->opts.js.enabled = true;
    TEST_OK(brk_server_create(&f->opts, f->env, &f->s, &err), &err);
    f->store = fake_store_create(f->env, ring, f);
    struct js_deps deps = {.loop = f->s->loop,
                           .store = f->store,
                           .env = f->env,
                           .opts = &f->opts.js,
                           .server_name = "test"};
    f->js = js_create(&deps);
    js_start(f->js, brk_account_first(f->s));
    TEST_OK(brk_server_start(f->s, &err), &err);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    js_destroy(f->js);
    fake_store_destroy(f->store);
    brk_server_destroy(f->s);
    brk_opts_fini(&f->opts);
    env_real_destroy(f->env);
    base_free(f);
    log_set_sink(NULL, NULL);
    return 0;
}

static void turn(struct fixture *f)
{
    (void)brk_loop_poll(f->s->loop);
}

/* Reads until `what` came. */
static void wait_for(struct fixture *f, int fd, const char *what)
{
    char got[4096];
    size_t n = 0;
    for (int i = 0; i < STEPS_MAX; i++) {
        turn(f);
        ssize_t k = tcp_recv(fd, got + n, sizeof got - 1 - n);
        n += k > 0 ? (size_t)k : 0;
        got[n] = 0;
        if (strstr(got, what) != NULL) {
            return;
        }
    }
    fail_msg("no %s in %s", what, got);
}

static void say(int fd, const char *text)
{
    assert_int_equal(tcp_send(fd, text, strlen(text)), strlen(text));
}

static int client(struct fixture *f)
{
    int fd = tcp_client(f->s->port);
    assert_true(fd >= 0);
    wait_for(f, fd, "\r\n");
    say(fd, "CONNECT {\"verbose\":false}\r\nPING\r\n");
    wait_for(f, fd, "PONG\r\n");
    return fd;
}

/* Sends messages until none goes out for a while; returns how many went out whole. `rest` is what
 * the last one still wants to send. */
static unsigned flood(struct fixture *f, int fd, const char *msg, size_t len, size_t *rest)
{
    unsigned sent = 0;
    size_t at = 0;
    for (int idle = 0; idle < 200 && sent < 100000;) {
        ssize_t k = tcp_send(fd, msg + at, len - at);
        if (k > 0) {
            idle = 0;
            at += (size_t)k;
            sent += at == len;
            at = at == len ? 0 : at;
        } else {
            idle++;
        }
        turn(f);
    }
    *rest = at == 0 ? 0 : len - at;
    return sent;
}

static void back_pressure(void **state)
{
    struct fixture *f = *state;
    static char msg[BODY + 64];
    int head = snprintf(msg, sizeof msg, "PUB s.a %u\r\n", BODY);
    size_t len = (size_t)head + BODY + 2;
    memset(msg + head, 'x', BODY);
    memcpy(msg + head + BODY, "\r\n", 2);
    int fd = client(f), other = client(f);
    say(other, "SUB r 1\r\nPUB $JS.API.STREAM.CREATE.S r 31\r\n{\"name\":\"S\",\"subjects\":"
               "[\"s.>\"]}\r\n");
    wait_for(f, other, "did_create");
    fake_store_full(f->store, UINT32_MAX);
    size_t rest;
    unsigned sent = flood(f, fd, msg, len, &rest);
    assert_true(f->s->publishers_held);
    assert_true(sent * len < MOST);
    say(other, "PING\r\n"); /* who did not publish is served */
    wait_for(f, other, "PONG\r\n");
    fake_store_full(f->store, 0);
    for (int i = 0; i < STEPS_MAX && f->s->publishers_held; i++) {
        ring(f);
        turn(f);
    }
    assert_false(f->s->publishers_held);
    for (size_t at = len - rest; rest > 0; turn(f)) {
        ssize_t k = tcp_send(fd, msg + at, rest);
        at += k > 0 ? (size_t)k : 0;
        rest -= k > 0 ? (size_t)k : 0;
        sent += rest == 0;
    }
    say(fd, "PING\r\n"); /* read to the end */
    wait_for(f, fd, "PONG\r\n");
    char want[32];
    (void)snprintf(want, sizeof want, "\"messages\":%u,", sent);
    say(other, "PUB $JS.API.STREAM.INFO.S r 0\r\n\r\n");
    wait_for(f, other, want);
    close(fd);
    close(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(back_pressure, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
