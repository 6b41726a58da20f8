/* JetStream above the engine on a simulated disk, through the server's internal client: start,
 * request, look, die, start again. A header only, since other tests replace parts of the engine. */
#ifndef TESTS_LIB_JS_FIXTURE_H
#define TESTS_LIB_JS_FIXTURE_H

#include "tests/lib/small_store.h"

#include <stdio.h>
#include <string.h>

#include "broker/internal.h"
#include "broker/js.h"
#include "broker/server.h"
#include "engine/base/log.h"
#include "engine/eng.h"

#define JSF_STEPS_MAX 2000000

struct jsf {
    struct env *env; /* of the loop */
    struct env_sim *sim;
    struct brk_opts opts;
    struct brk_server *server;
    struct store *store;
    struct js *js;
    struct brk_sub *inbox;
    char got[4096]; /* the last answer */
    unsigned n, too_many;
};

static inline void jsf_quiet(void *arg, enum log_level level, const char *line, size_t len)
{
    (void)arg, (void)level, (void)line, (void)len;
}

static inline void jsf_ring(void *arg)
{
    brk_loop_wake(((struct jsf *)arg)->server->loop);
}

static inline void jsf_on_inbox(void *arg, const struct brk_msg *m)
{
    struct jsf *f = arg;
    (void)snprintf(f->got, sizeof f->got, "%.*s", (int)m->payload_len, (const char *)m->payload);
    static const char status[] = "NATS/1.0 429 Too Many Requests\r\n\r\n";
    if (m->hdr_len == sizeof status - 1 && memcmp(m->hdr, status, m->hdr_len) == 0) {
        assert_string_equal(f->got, "{\"error\":{\"code\":429,\"err_code\":10167,\"description\":"
                                    "\"too many requests\"},\"stream\":\"S\",\"seq\":0}");
        f->too_many++;
    }
    f->n++;
}

static inline void jsf_start(struct jsf *f)
{
    struct err err = {0};
    assert_int_equal(brk_server_create(&f->opts, f->env, &f->server, &err), ST_OK);
    struct eng_opts o = small_store_opts(MIB);
    o.doorbell = jsf_ring;
    o.doorbell_arg = f;
    f->store = small_store_open(f->sim, &o);
    struct js_deps deps = {.loop = f->server->loop,
                           .store = f->store,
                           .env = env_sim_env(f->sim),
                           .opts = &f->opts.js,
                           .server_name = "test"};
    f->js = js_create(&deps);
    js_start(f->js, brk_account_first(f->server));
    f->inbox = brk_isub_create(f->server->global, BRK_STR("inbox.>"), (struct brk_str){0},
                               jsf_on_inbox, f);
}

/* The process dies; what the disk holds stays. */
static inline void jsf_stop(struct jsf *f)
{
    brk_isub_destroy(f->inbox);
    js_destroy(f->js);
    eng_abandon(f->store);
    env_sim_process_crash(f->sim);
    env_sim_faults_clear(f->sim);
    brk_server_destroy(f->server);
}

static inline int jsf_setup(void **state)
{
    struct jsf *f = base_calloc(1, sizeof *f);
    log_set_sink(jsf_quiet, NULL);
    f->env = env_real_create();
    f->sim = env_sim_create(7);
    env_sim_set_real_ns(f->sim, 1700000000 * NS_PER_S);
    brk_opts_init(&f->opts);
    f->opts.js.enabled = true;
    f->opts.js.strict = true;
    jsf_start(f);
    *state = f;
    return 0;
}

static inline int jsf_teardown(void **state)
{
    struct jsf *f = *state;
    jsf_stop(f);
    brk_opts_fini(&f->opts);
    env_sim_destroy(f->sim);
    env_real_destroy(f->env);
    base_free(f);
    log_set_sink(NULL, NULL);
    return 0;
}

/* One step of the engine's tasks, and a turn of the loop. */
static inline void jsf_step(struct jsf *f)
{
    (void)env_sim_step_one(f->sim);
    jsf_ring(f);
    (void)brk_loop_poll(f->server->loop);
}

static inline const char *jsf_request(struct jsf *f, const char *subject, const char *data)
{
    struct brk_msg m = {.subject = {subject, strlen(subject)},
                        .reply = BRK_STR("inbox.r"),
                        .payload = (const uint8_t *)data,
                        .payload_len = strlen(data)};
    unsigned before = f->n;
    (void)brk_publish(f->server->global, &m);
    for (int i = 0; i < JSF_STEPS_MAX && f->n == before; i++) {
        jsf_step(f);
    }
    if (f->n != before + 1) {
        fail_msg("%u answers to %s", f->n - before, subject);
    }
    return f->got;
}

static inline void jsf_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        fail_msg("no %s in %s", part, text);
    }
}

#endif
