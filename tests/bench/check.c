/* What a message costs, counted: parser, subject match, publish, pull and ack, each by a fixed
 * script on one thread, over the simulated world. `make bench-check` runs each part under
 * callgrind, which counts the instructions inside counted(); allocations and calls of the
 * environment are counted here. All of it repeats exactly.
 *
 *     check PART      prints {"part":..., "messages":..., "allocations":..., "env_calls":...} */
#include <stdio.h>
#include <stdlib.h>

#include "broker/interest.h"
#include "broker/parser.h"
#include "engine/base/base.h"
#include "engine/base/env_sim.h"
#include "engine/engine.h"
#include "tests/lib/testlib.h"

#define MESSAGES 2000u
#define ROUND 20u /* messages of one turn */

/* --- counting --------------------------------------------------------------------------------- */

static bool counting;
static uint64_t allocations, env_calls;

void *__real_malloc(size_t n);
void *__real_calloc(size_t k, size_t n);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t k, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n)
{
    allocations += counting;
    return __real_malloc(n);
}
void *__wrap_calloc(size_t k, size_t n)
{
    allocations += counting;
    return __real_calloc(k, n);
}
void *__wrap_realloc(void *p, size_t n)
{
    allocations += counting;
    return __real_realloc(p, n);
}

/* Callgrind collects only inside this function. */
__attribute__((noinline)) static void counted(void (*fn)(void *), void *arg)
{
    counting = true;
    fn(arg);
    counting = false;
    __asm__ volatile("" ::: "memory"); /* no tail call: the frame must stand while fn runs */
}

static struct env_ops ops;
static const struct env_ops *inner;
static int64_t count_real_ns(struct env *e)
{
    env_calls += counting;
    return inner->real_ns(e);
}
static int64_t count_boot_ns(struct env *e)
{
    env_calls += counting;
    return inner->boot_ns(e);
}
static void count_random(struct env *e, void *p, size_t n)
{
    env_calls += counting;
    inner->random(e, p, n);
}
static void count_wake(struct env *e, struct env_task *t)
{
    env_calls += counting;
    inner->task_wake(e, t);
}

/* --- parser ----------------------------------------------------------------------------------- */

static uint64_t parsed;
static enum brk_op go(void *arg)
{
    (void)arg;
    return BRK_OP_GO;
}
static enum brk_op go_str(void *arg, struct brk_str s)
{
    (void)arg;
    (void)s;
    return BRK_OP_GO;
}
static enum brk_op go_sub(void *arg, struct brk_str a, struct brk_str b, struct brk_str c)
{
    (void)arg;
    (void)a;
    (void)b;
    (void)c;
    return BRK_OP_GO;
}
static enum brk_op go_unsub(void *arg, struct brk_str a, uint64_t n)
{
    (void)arg;
    (void)a;
    (void)n;
    return BRK_OP_GO;
}
static enum brk_op go_line(void *arg, const struct brk_pub_args *a)
{
    (void)arg;
    (void)a;
    return BRK_OP_GO;
}
static enum brk_op go_pub(void *arg, const struct brk_msg *m)
{
    (void)arg;
    (void)m;
    parsed++;
    return BRK_OP_GO;
}
static void fault(void *arg, const struct brk_parse_fault *f)
{
    (void)arg;
    (void)f;
    abort();
}
static const struct brk_parse_ops parse_ops = {go,     go_str,   go,      go,     go_str, go_str,
                                               go_sub, go_unsub, go_line, go_pub, fault};

struct feed {
    struct brk_parser p;
    char text[ROUND * 400];
    size_t len;
    uint8_t shared[64 * KIB];
};

static void feed_once(void *arg)
{
    struct feed *f = arg;
    size_t room = 0;
    uint8_t *to = brk_parser_room(&f->p, f->shared, sizeof f->shared, &room);
    memcpy(to, f->text, f->len);
    (void)brk_parser_feed(&f->p, to, f->len);
}

static void part_parser(void)
{
    static struct feed f;
    brk_parser_init(&f.p, &parse_ops, NULL);
    f.p.control_line_max = 4096;
    f.p.payload_max = MIB;
    f.p.headers = true;
    for (unsigned i = 0; i < ROUND; i++) {
        f.len += (size_t)sprintf(
            f.text + f.len, "PUB orders.%u.received _INBOX.abcdef.%u 128\r\n%0128u\r\n", i, i, i);
    }
    for (unsigned i = 0; i < MESSAGES / ROUND; i++) {
        counted(feed_once, &f);
    }
    if (parsed != MESSAGES) {
        abort();
    }
    brk_parser_fini(&f.p);
}

/* --- subject match ---------------------------------------------------------------------------- */

struct matching {
    struct brk_interest in;
    unsigned at;
};

static void match_once(void *arg)
{
    struct matching *m = arg;
    char subject[64];
    for (unsigned i = 0; i < ROUND; i++, m->at++) {
        struct brk_match found;
        int n = snprintf(subject, sizeof subject, "orders.%u.received", m->at % 500);
        brk_interest_match(&m->in, (struct brk_str){subject, (size_t)n}, &found);
        if (found.count < 2) {
            abort();
        }
        brk_match_fini(&found);
    }
}

static void part_match(void)
{
    struct matching m = {.at = 0};
    static char text[1002][40];
    static struct brk_sub *subs[1002];
    brk_interest_init(&m.in, 42, brk_sub_free);
    for (unsigned i = 0; i < 1002; i++) {
        snprintf(text[i], sizeof text[i],
                 i < 500     ? "orders.%u.received"
                 : i < 1000  ? "other.%u.>"
                 : i == 1000 ? "orders.*.received"
                             : "orders.>",
                 i);
        subs[i] = brk_sub_create((struct brk_str){text[i], strlen(text[i])},
                                 (struct brk_str){"", 0}, (struct brk_str){"1", 1});
        brk_interest_insert(&m.in, subs[i]);
    }
    for (unsigned i = 0; i < MESSAGES / ROUND; i++) {
        counted(match_once, &m);
    }
    for (unsigned i = 0; i < 1002; i++) {
        brk_interest_remove(&m.in, subs[i]);
    }
    brk_interest_fini(&m.in);
}

/* --- the store -------------------------------------------------------------------------------- */

struct world {
    struct env_sim *sim;
    struct store *store;
    struct store_stream *s;
    struct store_cons *c;
    uint64_t done, at;
    uint64_t seq[ROUND], cseq[ROUND];
};

static void bell(void *arg)
{
    (void)arg;
}
static void on_stream(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    TEST_OK(st, err);
    ((struct world *)arg)->s = s;
}
static void on_cons(void *arg, enum st st, struct store_cons *c, const struct err *err)
{
    TEST_OK(st, err);
    ((struct world *)arg)->c = c;
}
static void on_append(void *arg, const struct store_append_result *r)
{
    if (r->verdict != APPEND_STORED) {
        abort();
    }
    ((struct world *)arg)->done++;
}
static void on_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    (void)n;
    TEST_OK(st, err);
    ((struct world *)arg)->done++;
}

/* What the lane, the flusher and the simulated disk do is not counted: it is per group, not per
 * message. */
static void settle(struct world *w)
{
    while (env_sim_step_one(w->sim)) {
    }
}

static void turn(void *arg)
{
    struct world *w = arg;
    w->store->ops->turn(w->store);
}
static void poll_turn(void *arg)
{
    struct world *w = arg;
    w->store->ops->poll(w->store);
    w->store->ops->turn(w->store);
}

static void world_open(struct world *w)
{
    struct err err = {0};
    w->sim = env_sim_create(1);
    struct env *env = env_sim_env(w->sim);
    inner = env->ops;
    ops = *inner;
    ops.real_ns = count_real_ns;
    ops.boot_ns = count_boot_ns;
    ops.random = count_random;
    ops.task_wake = count_wake;
    env->ops = &ops;
    struct eng_opts o = {.store_dir = "/data",
                         .max_file_bytes = UINT64_MAX,
                         .max_mem_bytes = UINT64_MAX,
                         .doorbell = bell};
    TEST_OK(eng_open(env, &o, &w->store, &err), &err);
    struct stream_cfg cfg;
    stream_cfg_init(&cfg);
    cfg.account = base_strdup("$G");
    cfg.name = base_strdup("S");
    w->store->ops->stream_create(w->store, &cfg, on_stream, w);
    stream_cfg_fini(&cfg);
    while (w->s == NULL) {
        turn(w);
        settle(w);
        poll_turn(w);
    }
}

static void publish_round(void *arg)
{
    struct world *w = arg;
    static const uint8_t data[128];
    char subject[32];
    for (unsigned i = 0; i < ROUND; i++, w->at++) {
        int n = snprintf(subject, sizeof subject, "orders.%u", (unsigned)(w->at % 500));
        struct store_append a = {
            .subject = subject, .subject_len = (uint32_t)n, .data = data, .data_len = sizeof data};
        if (w->store->ops->append(w->s, &a, on_append, w) != ST_OK) {
            abort();
        }
    }
    turn(w);
}

static void publish(struct world *w, bool count)
{
    for (unsigned i = 0; i < MESSAGES / ROUND; i++) {
        if (count) {
            counted(publish_round, w);
        } else {
            publish_round(w);
        }
        settle(w);
        if (count) {
            counted(poll_turn, w);
        } else {
            poll_turn(w);
        }
    }
}

static void part_publish(void)
{
    struct world w = {0};
    world_open(&w);
    publish(&w, false); /* subjects and tables are there */
    w.done = 0;
    publish(&w, true);
    if (w.done != MESSAGES) {
        abort();
    }
    eng_close(w.store);
    env_sim_destroy(w.sim);
}

static void pull_round(void *arg)
{
    struct world *w = arg;
    struct cons_peek p;
    for (unsigned i = 0; i < ROUND; i++) {
        if (w->store->ops->cons_peek(w->c, &p) != ST_OK) {
            abort();
        }
        w->seq[i] = p.m.seq;
        w->cseq[i] = p.cseq;
        w->store->ops->cons_take(w->c);
    }
    turn(w);
}

static void ack_round(void *arg)
{
    struct world *w = arg;
    for (unsigned i = 0; i < ROUND; i++) {
        w->store->ops->cons_ack(w->c, CONS_ACK, w->seq[i], w->cseq[i], 0, on_done, w);
    }
    turn(w);
}

static void consume(bool pull, bool ack)
{
    struct world w = {0};
    world_open(&w);
    publish(&w, false);
    struct cons_cfg cfg;
    cons_cfg_init(&cfg);
    cfg.name = base_strdup("C");
    cfg.durable = true;
    cfg.ack = ACK_EXPLICIT;
    w.store->ops->cons_create(w.s, &cfg, on_cons, &w);
    cons_cfg_fini(&cfg);
    while (w.c == NULL) {
        turn(&w);
        settle(&w);
        poll_turn(&w);
    }
    w.done = 0;
    for (unsigned i = 0; i < MESSAGES / ROUND; i++) {
        if (pull) {
            counted(pull_round, &w);
        } else {
            pull_round(&w);
        }
        settle(&w);
        poll_turn(&w);
        if (ack) {
            counted(ack_round, &w);
        } else {
            ack_round(&w);
        }
        settle(&w);
        poll_turn(&w);
    }
    if (w.done != MESSAGES) {
        abort();
    }
    eng_close(w.store);
    env_sim_destroy(w.sim);
}

int main(int argc, char **argv)
{
    const char *part = argc == 2 ? argv[1] : "";
    if (strcmp(part, "parser") == 0) {
        part_parser();
    } else if (strcmp(part, "match") == 0) {
        part_match();
    } else if (strcmp(part, "publish") == 0) {
        part_publish();
    } else if (strcmp(part, "pull") == 0) {
        consume(true, false);
    } else if (strcmp(part, "ack") == 0) {
        consume(false, true);
    } else {
        fprintf(stderr, "usage: check parser|match|publish|pull|ack\n");
        return 2;
    }
    printf("{\"part\":\"%s\",\"messages\":%u,\"allocations\":%llu,\"env_calls\":%llu}\n", part,
           MESSAGES, (unsigned long long)allocations, (unsigned long long)env_calls);
    return 0;
}
