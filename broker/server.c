#include "broker/server.h"

#include "broker/conn_priv.h"
#include "broker/lameduck.h"
#include "broker/loop_turn.h"
#include "broker/transport.h"
#include "engine/base/base.h"

/* --- server id: an nkey of kind "server": kind byte, 32 random bytes, CRC-16 of both, in base32 */

#define NKEY_SERVER (13u << 3)

static uint16_t crc16(const uint8_t *p, size_t len)
{
    uint16_t crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc = (uint16_t)(crc ^ (p[i] << 8));
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)((crc & 0x8000u) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
        }
    }
    return crc;
}

static void make_id(struct env *env, char out[57])
{
    static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t raw[35];
    raw[0] = NKEY_SERVER;
    env_random(env, raw + 1, 32);
    put_u16le(raw + 33, crc16(raw, 33));
    uint32_t bits = 0, acc = 0;
    size_t n = 0;
    for (size_t i = 0; i < sizeof raw; i++) {
        acc = acc << 8 | raw[i];
        bits += 8;
        while (bits >= 5) {
            bits -= 5;
            out[n++] = base32[acc >> bits & 31];
        }
    }
    ASSERT(n == 56);
    out[n] = 0;
}

/* --- turns ------------------------------------------------------------------------------------ */

static void turn_begin(void *arg)
{
    brk_watches_run(arg);
}

static void turn_end(void *arg)
{
    struct brk_server *s = arg;
    struct brk_impl *im = brk_impl_of(s);
    /* A flush can end a connection, and its end can flush: until nothing is left of either. */
    while (im->dirty != NULL || im->closing != NULL) {
        brk_conns_flush(s);
        brk_conns_reap(s);
    }
    brk_conns_next_turn(s);
    if (s->shutting_down && im->conns_alive == 0) {
        brk_loop_stop(s->loop);
    }
}

static void on_wake(void *arg)
{
    if (atomic_exchange(&brk_impl_of(arg)->stop_wanted, false)) {
        brk_server_shutdown(arg);
    }
}

/* --- life ------------------------------------------------------------------------------------- */

static struct brk_impl *impl_create(const struct brk_opts *opts, struct env *env)
{
    struct brk_impl *im = base_calloc(1, sizeof *im);
    env_random(env, &im->random_state, sizeof im->random_state);
    im->random_state |= 1;
    env_random(env, &im->hash_seed, sizeof im->hash_seed);
    im->read_len = BRK_READ_BYTES + (size_t)opts->max_control_line + BRK_CARRY_PAYLOAD_MAX;
    im->read_buf = base_malloc(im->read_len);
    uint64_t stall = BRK_STALL_PART((uint64_t)opts->max_pending);
    im->flush_early = u64_min(BRK_FLUSH_EARLY_BYTES, stall);
    im->flush_kept = u64_min(BRK_FLUSH_KEPT_BYTES, stall);
    return im;
}

static void make_accounts(struct brk_server *s)
{
    const struct brk_opts *o = s->opts;
    s->global = brk_account_get(s, BRK_STR(BRK_ACCOUNT_GLOBAL));
    if (!o->no_system_account) {
        const char *name = brk_opts_system_account(o);
        s->system = brk_account_get(s, (struct brk_str){name, strlen(name)});
        s->system->system = true;
    }
    for (size_t i = 0; i < o->accounts_count; i++) {
        const char *name = o->accounts[i].name;
        (void)brk_account_get(s, (struct brk_str){name, strlen(name)});
    }
    for (size_t i = 0; i < o->users_count; i++) {
        const char *name = o->users[i].account;
        (void)brk_account_get(s, (struct brk_str){name, strlen(name)});
    }
    for (struct brk_account *a = s->accounts_first; a != NULL; a = a->next) {
        a->jetstream = !a->system && brk_opts_account_jetstream(o, a->name);
        a->js_limits = brk_opts_account_limits(o, a->name);
    }
}

enum st brk_server_create(const struct brk_opts *opts, struct env *env,
                          struct brk_server **server_out, struct err *err)
{
    *server_out = NULL;
    struct brk_loop *loop;
    enum st st = brk_loop_create(env, &loop, err);
    if (st != ST_OK) {
        return st;
    }
    struct brk_server *s = base_calloc(1, sizeof *s);
    s->magic = BRK_SERVER_MAGIC;
    s->opts = opts;
    s->env = env;
    s->loop = loop;
    s->impl = impl_create(opts, env);
    s->accounts_tail = &s->accounts_first;
    s->start_real_ns = env_real_ns(env);
    s->start_boot_ns = env_boot_ns(env);
    s->jetstream = opts->js.enabled;
    make_id(env, s->id);
    s->name = opts->server_name != NULL ? opts->server_name : s->id;
    make_accounts(s);
    s->auth = brk_auth_create(opts, env, loop, brk_conn_login_done, s);
    s->auth_required = brk_auth_enabled(s->auth) && brk_auth_no_auth_user(s->auth) == NULL;
    brk_impl_of(s)->stall_timer = brk_timer_create(loop, brk_conns_unstall, s);
    brk_loop_set_ends(loop, turn_begin, turn_end, s);
    brk_loop_on_wake(loop, on_wake, s);
    *server_out = s;
    return ST_OK;
}

static void on_accept(void *arg, struct brk_transport *t)
{
    brk_conn_accept(arg, t);
}

enum st brk_server_start(struct brk_server *s, struct err *err)
{
    ASSERT(s->magic == BRK_SERVER_MAGIC);
    ASSERT(s->listener == NULL);
    uint16_t port = s->opts->port == BRK_PORT_RANDOM ? 0 : (uint16_t)s->opts->port;
    enum st st = brk_tcp_listen(s->loop, s->opts->host, port, on_accept, s, &s->listener, err);
    if (st != ST_OK) {
        return st;
    }
    s->port = brk_listener_port(s->listener);
    bool v6 = strchr(s->opts->host, ':') != NULL;
    log_inf("Listening for client connections on %s%s%s:%u", v6 ? "[" : "", s->opts->host,
            v6 ? "]" : "", (unsigned)s->port);
    return ST_OK;
}

void brk_server_run(struct brk_server *s)
{
    ASSERT(s->magic == BRK_SERVER_MAGIC);
    brk_loop_run(s->loop);
}

void brk_server_stop(struct brk_server *s)
{
    atomic_store(&brk_impl_of(s)->stop_wanted, true);
    brk_loop_wake(s->loop);
}

void brk_server_shutdown(struct brk_server *s)
{
    ASSERT(s->magic == BRK_SERVER_MAGIC);
    if (s->shutting_down) {
        return;
    }
    s->shutting_down = true;
    brk_listener_close(s->listener);
    s->listener = NULL;
    if (s->on_shutdown != NULL) {
        s->on_shutdown(s->on_shutdown_arg);
    }
    for (struct brk_conn *c = s->conns_first; c != NULL; c = c->next) {
        brk_conn_close(c, BRK_CLOSE_SHUTDOWN, NULL);
    }
    brk_loop_wake(s->loop);
}

void brk_server_destroy(struct brk_server *s)
{
    if (s == NULL) {
        return;
    }
    ASSERT(s->magic == BRK_SERVER_MAGIC);
    struct brk_impl *im = brk_impl_of(s);
    brk_server_shutdown(s);
    while (im->conns_alive > 0) {
        (void)brk_loop_turn(s->loop);
    }
    brk_loop_set_ends(s->loop, NULL, NULL, NULL);
    brk_auth_destroy(s->auth);
    brk_accounts_fini(s);
    brk_closed_fini(s);
    brk_timer_destroy(im->stall_timer);
    brk_lame_duck_fini(s);
    brk_loop_off(s->loop, on_wake, s);
    brk_loop_destroy(s->loop);
    brk_chunk_pool_trim(&im->pool);
    htab_fini(&im->by_cid);
    base_free(im->read_buf);
    base_free(im);
    s->magic = 0;
    base_free(s);
}

struct brk_conn *brk_server_conn(struct brk_server *s, uint64_t cid)
{
    for (struct htab_node *n = htab_chain(&brk_impl_of(s)->by_cid, cid); n != NULL; n = n->next) {
        if (n->hash == cid) {
            return CONTAINER_OF(n, struct brk_conn, by_cid);
        }
    }
    return NULL;
}
