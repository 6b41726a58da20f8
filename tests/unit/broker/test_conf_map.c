/* Config files into options: what each key sets, which keys warn, which refuse, with the exact
 * texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/conf_keys.h"
#include "broker/conf_map.h"
#include "engine/base/base.h"

static enum st read_none(void *arg, const char *path, char **text_out, size_t *len_out,
                         struct err *err)
{
    (void)arg;
    (void)path;
    (void)text_out;
    (void)len_out;
    return err_set(err, ST_NOTFOUND, 0, "no such file");
}

static const char *env_none(void *arg, const char *name)
{
    (void)arg;
    (void)name;
    return NULL;
}

static const struct brk_conf_source source = {read_none, env_none, NULL};

struct loaded {
    struct brk_opts o;
    struct brk_conf_notes notes;
    enum st st;
};

static void load(struct loaded *l, const char *text)
{
    struct brk_conf *c = NULL;
    struct err err = {0};
    memset(l, 0, sizeof *l);
    brk_opts_init(&l->o);
    if (brk_conf_parse_text(&source, "t.conf", text, strlen(text), &c, &err) != ST_OK) {
        fail_msg("%s: %s", text, err.msg);
    }
    l->st = brk_conf_apply(c, &l->o, &l->notes);
    brk_conf_destroy(c);
}

static void unload(struct loaded *l)
{
    brk_opts_fini(&l->o);
    brk_conf_notes_fini(&l->notes);
}

static void load_ok(struct loaded *l, const char *text)
{
    load(l, text);
    if (l->st != ST_OK) {
        fail_msg("%s: %s", text, l->notes.errors.lines[0]);
    }
}

static void plain_keys_set_their_options(void **state)
{
    struct loaded l;
    (void)state;
    load_ok(
        &l,
        "listen: \"127.0.0.1:4333\"\nserver_name: s1\nhttp: 8222\nhttp_base_path: mon/\nDebug: on\n"
        "trace_verbose: yes\nlogtime: no\nlogtime_utc: true\nlog_file: /tmp/l\npid_file: /tmp/p\n"
        "ports_file_dir: /tmp\nmax_control_line: 8k\nmax_payload: 2MB\nmax_pending: "
        "128MB\nmax_conn: 77\n"
        "max_subs: 12\nmax_sub_tokens: 9\nmax_closed_clients: 5\nping_interval: \"30s\"\nping_max: "
        "3\n"
        "write_deadline: \"4s\"\nno_header_support: true\nsystem: SYS\nno_system: false\n"
        "busy_poll: 200us\n");
    assert_string_equal(l.o.host, "127.0.0.1");
    assert_int_equal(l.o.port, 4333);
    assert_string_equal(l.o.server_name, "s1");
    assert_int_equal(l.o.http_port, 8222);
    assert_null(l.o.http_host);
    assert_string_equal(l.o.http_base_path, "/mon");
    assert_true(l.o.debug && l.o.trace && l.o.trace_verbose && !l.o.logtime && l.o.logtime_utc);
    assert_string_equal(l.o.log_file, "/tmp/l");
    assert_string_equal(l.o.pid_file, "/tmp/p");
    assert_string_equal(l.o.ports_file_dir, "/tmp");
    assert_int_equal(l.o.max_control_line, 8000);
    assert_int_equal(l.o.max_payload, 2 * MIB);
    assert_int_equal(l.o.max_pending, 128 * MIB);
    assert_int_equal(l.o.max_connections, 77);
    assert_int_equal(l.o.max_subscriptions, 12);
    assert_int_equal(l.o.max_sub_tokens, 9);
    assert_int_equal(l.o.max_closed_clients, 5);
    assert_int_equal(l.o.ping_interval_ns, 30 * NS_PER_S);
    assert_int_equal(l.o.ping_max, 3);
    assert_int_equal(l.o.write_deadline_ns, 4 * NS_PER_S);
    assert_true(l.o.no_header_support);
    assert_int_equal(l.o.busy_poll_ns, 200 * NS_PER_US);
    assert_string_equal(brk_opts_system_account(&l.o), "SYS");
    assert_int_equal(l.notes.warnings.count, 0);
    assert_int_equal(l.notes.not_served.count, 0);
    unload(&l);
}

static void addresses(void **state)
{
    static const struct {
        const char *text, *host;
        int port;
    } ok[] = {
        {"a:5", "a", 5}, {"[::1]:5", "::1", 5}, {":5", NULL, 5},
        {"5", NULL, 5},  {"-1", NULL, -1},      {"0.0.0.0:-1", "0.0.0.0", -1},
    };
    static const char *const wrong[][2] = {
        {"a:b", "could not parse port \"b\""},
        {"a:b:c", "could not parse address string \"a:b:c\""},
        {"localhost", "could not parse address string \"localhost\""},
        {"a:", "could not parse port \"\""},
        {"a:70000", "could not parse port \"70000\""},
        {"::1:5", "could not parse address string \"::1:5\""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ok); i++) {
        char *host = NULL;
        int port = 0;
        assert_int_equal(brk_parse_hostport(ok[i].text, &host, &port, NULL), ST_OK);
        assert_int_equal(port, ok[i].port);
        if (ok[i].host == NULL) {
            assert_null(host);
        } else {
            assert_string_equal(host, ok[i].host);
        }
        base_free(host);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char *host = NULL;
        int port = 0;
        struct err err = {0};
        assert_int_equal(brk_parse_hostport(wrong[i][0], &host, &port, &err), ST_INVALID);
        assert_string_equal(err.msg, wrong[i][1]);
        assert_null(host);
    }
}

static void users_and_accounts(void **state)
{
    struct loaded l;
    (void)state;
    load_ok(&l, "authorization { timeout: 1.5, users: [ {user: u, password: p}, {username: v, "
                "pass: $2a$11$x} ] }\n"
                "accounts { A { jetstream: enabled, users: [ {user: a, password: pa} ] }\n B { "
                "jetstream { enabled: "
                "false } }, C {jetstream: {}} }\nno_auth_user: a\njetstream: true\n");
    assert_int_equal(l.o.users_count, 3);
    assert_string_equal(brk_opts_user(&l.o, "u")->account, "$G");
    assert_string_equal(brk_opts_user(&l.o, "a")->account, "A");
    assert_true(brk_pass_is_bcrypt(brk_opts_user(&l.o, "v")->pass));
    assert_int_equal(l.o.accounts_count, 3);
    assert_true(brk_opts_account_jetstream(&l.o, "A"));
    assert_false(brk_opts_account_jetstream(&l.o, "B"));
    assert_true(brk_opts_account_jetstream(&l.o, "C"));
    assert_false(brk_opts_account_jetstream(&l.o, "$G"));
    assert_int_equal(l.o.auth_timeout_ns, 1500000000);
    assert_true(brk_opts_auth_required(&l.o));
    assert_int_equal(brk_opts_check(&l.o, NULL), ST_OK);
    unload(&l);
    load_ok(&l, "accounts: [A, B]");
    assert_int_equal(l.o.accounts_count, 2);
    unload(&l);
    load_ok(&l, "PW = secret\naccounts { SHARED: x, A { users: [ {user: a, password: $PW} ] }, B { "
                "users: [ "
                "{user: $SHARED}"
                "] } }");
    assert_string_equal(brk_opts_user(&l.o, "a")->pass, "secret");
    assert_string_equal(brk_opts_user(&l.o, "x")->pass, "");
    unload(&l);
}

static void jetstream_block(void **state)
{
    struct loaded l;
    (void)state;
    load_ok(&l, "jetstream { store_dir: /d, max_mem: 64MB, max_file: \"10G\", sync_interval: "
                "\"2m\", strict: false,\n"
                "request_queue_limit: 5, limits { max_ack_pending: 7, max_request_batch: 8, "
                "duplicate_window: \"9s\" "
                "} }");
    assert_true(l.o.js.enabled);
    assert_false(l.o.js.strict);
    assert_string_equal(l.o.js.store_dir, "/d");
    assert_int_equal(l.o.js.max_memory_store, 64 * MIB);
    assert_int_equal(l.o.js.max_file_store, 10 * GIB);
    assert_false(l.o.js.sync_always);
    assert_int_equal(l.o.js.sync_interval_ns, 120 * NS_PER_S);
    assert_int_equal(l.o.js.request_queue_limit, 5);
    assert_int_equal(l.o.js.limit_max_ack_pending, 7);
    assert_int_equal(l.o.js.limit_max_request_batch, 8);
    assert_int_equal(l.o.js.limit_duplicate_window_ns, 9 * NS_PER_S);
    unload(&l);
    static const struct {
        const char *text;
        bool enabled, always;
    } cases[] = {
        {"jetstream: enabled", true, true},
        {"jetstream: disabled", false, true},
        {"jetstream: true", true, true},
        {"jetstream {}", true, true},
        {"jetstream { enabled: false }", false, true},
        {"jetstream { disabled: true }", false, true},
        {"jetstream { sync_interval: always }", true, true},
        {"jetstream { sync: 5 }", true, false},
        {"store_dir: /x", false, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        load_ok(&l, cases[i].text);
        assert_int_equal(l.o.js.enabled, cases[i].enabled);
        assert_int_equal(l.o.js.sync_always, cases[i].always);
        unload(&l);
    }
}

static void zero_means_default(void **state)
{
    struct loaded l;
    (void)state;
    load_ok(&l, "max_payload: 0, max_pending: 0, max_control_line: 0, max_connections: 0, "
                "ping_max: 0, port: 0, busy_poll: 0");
    assert_int_equal(l.o.max_payload, MIB);
    assert_int_equal(l.o.max_pending, 64 * MIB);
    assert_int_equal(l.o.max_control_line, 4096);
    assert_int_equal(l.o.max_connections, 65536);
    assert_int_equal(l.o.ping_max, 2);
    assert_int_equal(l.o.port, 4222);
    assert_int_equal(l.o.busy_poll_ns, 0); /* off; the default is what stands in opts.h */
    assert_int_equal(l.notes.warnings.count, 0);
    unload(&l);
}

static void a_domain(void **state)
{
    struct loaded l;
    char text[400];
    (void)state;
    load_ok(&l, "jetstream { domain: hub }");
    assert_string_equal(l.o.js.domain, "hub");
    unload(&l);
    load_ok(&l, "jetstream { domain: \"\" }");
    assert_null(l.o.js.domain);
    unload(&l);
    for (int n = BRK_DOMAIN_MAX; n <= BRK_DOMAIN_MAX + 1; n++) {
        (void)snprintf(text, sizeof text, "jetstream { domain: \"%0*d\" }", n, 0);
        load(&l, text);
        assert_int_equal(l.st, n == BRK_DOMAIN_MAX ? ST_OK : ST_INVALID);
        unload(&l);
    }
}

static const char *const bad[][2] = {
    {"foo: 1", "t.conf:1:1: unknown field \"foo\""},
    {"port: 1\n  foo: 1", "t.conf:2:3: unknown field \"foo\""},
    {"host|net: 1", "t.conf:1:1: unknown field \"host|net\""},
    {"port: abc", "t.conf:1:7: \"port\" must be an integer, not a string"},
    {"port: 70000", "t.conf:1:7: port value is too big"},
    {"port: -2", "t.conf:1:7: \"port\" cannot be below -1"},
    {"debug: 1", "t.conf:1:8: \"debug\" must be a boolean, not an integer"},
    {"log_file: 5", "t.conf:1:11: \"log_file\" must be a string, not an integer; put it in quotes"},
    {"log_file: {}", "t.conf:1:11: \"log_file\" must be a string, not a block"},
    {"server_name: \"a b\"", "t.conf:1:14: server name cannot contain spaces"},
    {"max_payload: 3gb", "t.conf:1:14: max_payload value is too big"},
    {"max_payload: -1", "t.conf:1:14: \"max_payload\" cannot be below 0"},
    {"max_payload: \"1MB\"", "t.conf:1:14: \"max_payload\" must be an integer, not a string"},
    {"ping_interval: \"2x\"",
     "t.conf:1:16: error parsing ping_interval: unknown unit in duration \"2x\""},
    {"ping_interval: \"-2s\"", "t.conf:1:16: \"ping_interval\" cannot be negative"},
    {"ping_interval: 99999999999", "t.conf:1:16: ping_interval value is too big"},
    {"ping_interval: []",
     "t.conf:1:16: \"ping_interval\" must be a duration such as \"2m\", not an array"},
    {"busy_poll: \"-1us\"", "t.conf:1:12: \"busy_poll\" cannot be negative"},
    {"busy_poll: \"1001us\"", "t.conf:1:12: \"busy_poll\" cannot be above 1ms"},
    {"\n busy_poll: 1", "t.conf:2:13: \"busy_poll\" cannot be above 1ms"},
    {"busy_poll: true",
     "t.conf:1:12: \"busy_poll\" must be a duration such as \"2m\", not a boolean"},
    {"busy_poll: \"50\"", "t.conf:1:12: error parsing busy_poll: missing unit in duration \"50\""},
    {"listen: a:b:c", "t.conf:1:9: could not parse address string \"a:b:c\""},
    {"listen: {}", "t.conf:1:9: \"listen\" must be a port or \"host:port\", not a block"},
    {"authorization: x", "t.conf:1:16: \"authorization\" must be a block, not a string"},
    {"authorization { user: a, token: b, password: c }",
     "t.conf:1:1: Cannot have a user/pass and token"},
    {"authorization { user: a, users: [{user: x}] }",
     "t.conf:1:1: Can not have a single user/pass and a users array"},
    {"authorization { token: a, users: [{user: x}] }",
     "t.conf:1:1: Can not have a token and a users array"},
    {"authorization { password: a }", "t.conf:1:1: \"password\" stands without \"user\""},
    {"authorization { token: 1234 }",
     "t.conf:1:24: \"token\" must be a string, not an integer; put it in quotes"},
    {"authorization { users: [{password: x}] }", "t.conf:1:25: User entry requires a user"},
    {"authorization { users: [x] }",
     "t.conf:1:25: expected a user entry to be a block, got a string"},
    {"authorization { users: {} }", "t.conf:1:24: \"users\" must be an array, not a block"},
    {"authorization { users: [{user: x}, {user: x}] }",
     "t.conf:1:36: Duplicate user \"x\" detected"},
    {"authorization { users: [{user: x, foo: 1}] }", "t.conf:1:35: unknown field \"foo\""},
    {"authorization { timeout: x }", "t.conf:1:26: error parsing timeout: invalid duration \"x\""},
    {"authorization { timeout: -1 }",
     "t.conf:1:26: \"timeout\" must lie between 0 and 1000000000 seconds"},
    {"accounts { A { users: [{user: a}] }, B { users: [{user: a}] } }",
     "t.conf:1:50: Duplicate user \"a\" detected"},
    {"accounts: A", "t.conf:1:11: \"accounts\" must be a block or an array of names, not a string"},
    {"accounts { A: 5 }", "t.conf:1:12: Expected map entries for accounts"},
    {"accounts { $G {} }", "t.conf:1:12: \"$G\" is a Reserved Account"},
    {"accounts { A { frob: 1 } }", "t.conf:1:16: unknown field \"frob\""},
    {"accounts { A { jetstream: foo } }",
     "t.conf:1:27: Expected 'enabled' or 'disabled' for string value, got 'foo'"},
    {"jetstream: 5",
     "t.conf:1:12: Expected map, bool or string to define JetStream, got an integer"},
    {"jetstream { foo: 5 }", "t.conf:1:13: unknown field \"foo\""},
    {"jetstream { max_mem: 1.5 }", "t.conf:1:22: \"max_mem\" must be an integer, not a float"},
    {"jetstream { max_mem: 10X }",
     "t.conf:1:22: max_mem sizes defined as strings must end in K, M, G, T"},
    {"jetstream { max_mem: \"99999999999T\" }", "t.conf:1:22: max_mem value is too big"},
    {"jetstream { sync_interval: foo }",
     "t.conf:1:28: error parsing sync_interval: invalid duration \"foo\""},
    {"jetstream { sync_interval: \"0s\" }",
     "t.conf:1:28: \"sync_interval\" must be more than 0, or \"always\""},
    {"jetstream { limits: 5 }", "t.conf:1:21: \"limits\" must be a block, not an integer"},
    {"jetstream { limits { foo: 1 } }", "t.conf:1:22: unknown field \"foo\""},
    {"store_dir: /a\njetstream { store_dir: /b }",
     "t.conf:2:13: Duplicate 'store_dir' configuration"},
    {"jetstream { domain: 5 }",
     "t.conf:1:21: \"domain\" must be a string, not an integer; put it in quotes"},
    {"jetstream { domain: \"a.b\" }",
     "t.conf:1:21: invalid domain name: may not contain ., * or >"},
    {"jetstream { domain: \"a b\" }",
     "t.conf:1:21: invalid domain name: derived \"$JS.a b.API.>\" is not a valid subject"},
    {"jetstream { domain: \">\" }",
     "t.conf:1:21: invalid domain name: derived \"$JS.>.API.>\" is not a valid subject"},
    /* refused */
    {"\n  tls {}", "t.conf:2:3: \"tls\" is not served yet; remove it to start without TLS"},
    {"cluster { name: x }",
     "t.conf:1:1: \"cluster\" is not served yet; remove it to start a single server"},
    {"leafnodes { listen: \"127.0.0.1:-1\" }",
     "t.conf:1:1: \"leafnodes\" is not served yet; remove it to start without leaf nodes"},
    {"leafnodes: []",
     "t.conf:1:1: \"leafnodes\" is not served yet; remove it to start without leaf nodes"},
    {"websocket { port: -1, no_tls: true }",
     "t.conf:1:1: \"websocket\" is not served yet; remove it to start without WebSocket"},
    {"gateway { name: x }",
     "t.conf:1:1: \"gateway\" is not served yet; remove it to start without gateways"},
    {"mqtt { port: 1883 }",
     "t.conf:1:1: \"mqtt\" is not served yet; remove it to start without MQTT"},
    {"mappings { a: b }",
     "t.conf:1:1: \"mappings\" is not served yet; remove it to start without subject mapping"},
    {"accounts { A { imports: [{stream: {account: B, subject: b}}] } }",
     "t.conf:1:16: \"imports\" is not served yet; remove it to start without imports"},
    {"resolver_tls {}", "t.conf:1:1: \"resolver_tls\" is not served yet; remove it to start "
                        "without JWT authentication"},
    {"operator: x",
     "t.conf:1:1: \"operator\" is not served yet; remove it to start without JWT authentication"},
    {"jetstream { key: x }",
     "t.conf:1:13: \"key\" is not served yet; remove it to start without encryption at rest"},
    {"authorization { users: [{user: a, permissions: {}}] }",
     "t.conf:1:35: \"permissions\" is not served yet; remove it to start without permissions: the "
     "user may "
     "do anything"},
    {"accounts { A { limits {} } }",
     "t.conf:1:16: \"limits\" is not served yet; remove it to start without limits on the account"},
};

static void each_bad_file_has_its_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct loaded l;
        load(&l, bad[i][0]);
        assert_int_equal(l.st, ST_INVALID);
        assert_string_equal(l.notes.errors.lines[0], bad[i][1]);
        assert_int_equal(l.notes.errors.count, 1);
        unload(&l);
    }
}

static void all_errors_are_told_at_once_and_no_more_than_the_bound(void **state)
{
    struct loaded l;
    char text[2048] = "";
    (void)state;
    load(&l, "foo: 1\ntls {}\nport: x\n");
    assert_int_equal(l.notes.errors.count, 3);
    assert_string_equal(l.notes.errors.lines[2],
                        "t.conf:3:7: \"port\" must be an integer, not a string");
    unload(&l);
    for (int i = 0; i < 200; i++) {
        strcat(text, "foo: 1\n");
    }
    load(&l, text);
    assert_int_equal(l.notes.errors.count, BRK_CONF_ERRORS_MAX);
    unload(&l);
}

static void keys_without_effect_are_listed(void **state)
{
    struct loaded l;
    (void)state;
    load_ok(&l, "prof_port: 5\n server_tags: [a]\nping_interval: 5\nproxy_protocol: false");
    assert_int_equal(l.notes.not_served.count, 2);
    assert_string_equal(l.notes.not_served.lines[1],
                        "\"server_tags\" at t.conf:2:2 (tags are not shown)");
    assert_int_equal(l.notes.warnings.count, 1);
    assert_string_equal(l.notes.warnings.lines[0],
                        "t.conf:3:16: ping_interval should be converted to a duration");
    assert_int_equal(l.o.ping_interval_ns, 5 * NS_PER_S);
    unload(&l);
}

/* Blocks that open and change nothing at nats-server either. */
static void empty_blocks_ask_for_nothing(void **state)
{
    struct loaded l;
    (void)state;
    load_ok(&l, "cluster {}\ngateway {}\nleafnodes {}\nleaf { }\nwebsocket {}\nws {}\nmqtt {}\n"
                "mappings {}\naccounts { A { imports: [], exports: [], mappings {} } }");
    assert_int_equal(l.notes.not_served.count, 0);
    assert_int_equal(l.notes.warnings.count, 0);
    unload(&l);
}

static void nothing_in_it(void **state)
{
    struct loaded l;
    (void)state;
    load_ok(&l, "# nothing");
    assert_true(l.notes.empty);
    assert_int_equal(l.notes.warnings.count, 1);
    assert_string_equal(l.notes.warnings.lines[0], "t.conf:1:1: config has no values or is empty");
    unload(&l);
}

/* Every line of the table does what its status says, in every spelling. */
static void the_table_is_sound(void **state)
{
    size_t count = 0;
    const struct brk_key *t = brk_key_table(&count);
    (void)state;
    assert_true(count > 100);
    for (size_t i = 0; i < count; i++) {
        char names[256];
        snprintf(names, sizeof names, "%s", t[i].names);
        for (char *n = strtok(names, "|"); n != NULL; n = strtok(NULL, "|")) {
            assert_ptr_equal(brk_key_find(t[i].block, n), &t[i]); /* no name twice in a block */
        }
        bool plain =
            t[i].kind == BRK_KEY_NONE || t[i].kind == BRK_KEY_GROUP || t[i].kind == BRK_KEY_LIST;
        assert_int_equal(t[i].status == BRK_KEY_SERVED, !plain);
        assert_int_equal(t[i].status == BRK_KEY_SERVED, t[i].note == NULL);
        assert_non_null(brk_key_block_name(t[i].block));
    }
    assert_non_null(brk_key_find(BRK_KEYS_TOP, "MAX_Payload"));
    assert_null(brk_key_find(BRK_KEYS_TOP, "max_payloa"));
    assert_null(brk_key_find(BRK_KEYS_JS, "max_payload"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_keys_set_their_options),
        cmocka_unit_test(addresses),
        cmocka_unit_test(users_and_accounts),
        cmocka_unit_test(jetstream_block),
        cmocka_unit_test(zero_means_default),
        cmocka_unit_test(a_domain),
        cmocka_unit_test(each_bad_file_has_its_error),
        cmocka_unit_test(all_errors_are_told_at_once_and_no_more_than_the_bound),
        cmocka_unit_test(keys_without_effect_are_listed),
        cmocka_unit_test(empty_blocks_ask_for_nothing),
        cmocka_unit_test(nothing_in_it),
        cmocka_unit_test(the_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
