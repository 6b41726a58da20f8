/* Options: defaults, and what must hold between them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/opts.h"
#include "engine/base/base.h"

static void defaults(void **state)
{
    struct brk_opts o;
    (void)state;
    brk_opts_init(&o);
    assert_string_equal(o.host, "0.0.0.0");
    assert_int_equal(o.port, 4222);
    assert_int_equal(o.http_port, 0);
    assert_int_equal(o.max_payload, MIB);
    assert_int_equal(o.ping_interval_ns, 120 * NS_PER_S);
    assert_true(o.js.sync_always); /* acknowledged means on disk unless the file asks for less */
    assert_false(o.js.enabled);
    assert_int_equal(o.js.max_memory_store, -1);
    assert_false(brk_opts_auth_required(&o));
    assert_string_equal(brk_opts_system_account(&o), "$SYS");
    assert_int_equal(brk_opts_check(&o, NULL), ST_OK);
    brk_opts_fini(&o);
    brk_opts_fini(&o);
}

static void jetstream_in_accounts(void **state)
{
    struct brk_opts o;
    (void)state;
    brk_opts_init(&o);
    assert_false(brk_opts_account_jetstream(&o, "$G")); /* off in the server */
    o.js.enabled = true;
    assert_true(brk_opts_account_jetstream(&o, "$G"));
    assert_false(brk_opts_account_jetstream(&o, "$SYS"));
    brk_opts_add_account(&o, "SYS");
    brk_opts_set_str(&o.system_account, "SYS");
    assert_true(brk_opts_account_jetstream(&o, "$G")); /* only the system account beside $G */
    assert_false(brk_opts_account_jetstream(&o, "SYS"));
    brk_opts_add_account(&o, "A")->jetstream = true;
    assert_false(brk_opts_account_jetstream(&o, "$G"));
    assert_true(brk_opts_account_jetstream(&o, "A"));
    assert_false(brk_opts_account_jetstream(&o, "B"));
    brk_opts_fini(&o);
}

static void bad_combinations(void **state)
{
    struct brk_opts o;
    struct err err = {0};
    (void)state;
    brk_opts_init(&o);
    brk_opts_set_str(&o.no_auth_user, "x");
    assert_int_equal(brk_opts_check(&o, &err), ST_INVALID);
    assert_string_equal(err.msg, "no_auth_user: \"x\" present, but users/nkeys are not defined");
    brk_opts_add_user(&o, "a", "p", "$G");
    assert_int_equal(brk_opts_check(&o, &err), ST_INVALID);
    assert_string_equal(err.msg,
                        "no_auth_user: \"x\" not present as user in authorization block or account "
                        "configuration");
    brk_opts_set_str(&o.no_auth_user, "a");
    assert_int_equal(brk_opts_check(&o, &err), ST_OK);
    brk_opts_set_str(&o.system_account, "Q");
    assert_int_equal(brk_opts_check(&o, &err), ST_INVALID);
    assert_string_equal(err.msg, "error resolving system account: account missing: \"Q\"");
    brk_opts_set_str(&o.system_account, NULL);
    o.lame_duck_duration_ns = 5 * NS_PER_S;
    assert_int_equal(brk_opts_check(&o, &err), ST_INVALID);
    assert_string_equal(err.msg, "invalid lame_duck_duration of 5s, minimum is 30 seconds");
    o.lame_duck_duration_ns = o.lame_duck_grace_ns = 30 * NS_PER_S;
    assert_int_equal(brk_opts_check(&o, &err), ST_INVALID);
    assert_string_equal(err.msg,
                        "lame duck grace period (30s) should be strictly lower than lame duck "
                        "duration (30s)");
    o.max_pending = 10;
    assert_int_equal(brk_opts_check(&o, &err), ST_INVALID);
    assert_string_equal(err.msg, "max_payload (1048576) cannot be higher than max_pending (10)");
    brk_opts_fini(&o);
}

static void bcrypt_hashes(void **state)
{
    (void)state;
    assert_true(brk_pass_is_bcrypt("$2a$11$abc"));
    assert_true(brk_pass_is_bcrypt("$2y$11$abc"));
    assert_false(brk_pass_is_bcrypt("$2z$11$abc"));
    assert_false(brk_pass_is_bcrypt("$2"));
    assert_false(brk_pass_is_bcrypt("secret"));
    assert_false(brk_pass_is_bcrypt(""));
    assert_false(brk_pass_is_bcrypt(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(jetstream_in_accounts),
        cmocka_unit_test(bad_combinations),
        cmocka_unit_test(bcrypt_hashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
