/* What a reload takes and what it refuses; what it does to connections is
 * tests/integration/reload.py. */
#include "tests/lib/testlib.h"

#include "broker/reload.h"

struct pair {
    struct brk_opts now, next;
    struct err err;
};

static void begin(struct pair *p)
{
    brk_opts_init(&p->now);
    brk_opts_init(&p->next);
    p->err = (struct err){0};
}

static void end(struct pair *p)
{
    brk_opts_fini(&p->now);
    brk_opts_fini(&p->next);
}

static void nothing_changed(void **state)
{
    struct pair p;
    (void)state;
    begin(&p);
    assert_int_equal(brk_reload_check(&p.now, &p.next, &p.err), ST_OK);
    end(&p);
}

static void what_may_change(void **state)
{
    struct pair p;
    (void)state;
    begin(&p);
    p.next.debug = true;
    p.next.max_payload = 1000;
    p.next.ping_interval_ns = NS_PER_S;
    brk_opts_set_str(&p.next.log_file, "other");
    (void)brk_opts_add_account(&p.next, "A");
    brk_opts_add_user(&p.next, "u", "p", "A");
    assert_int_equal(brk_reload_check(&p.now, &p.next, &p.err), ST_OK);
    end(&p);
}

static void what_needs_a_restart(void **state)
{
    struct pair p;
    (void)state;
    begin(&p);
    p.next.port = 4999;
    assert_int_equal(brk_reload_check(&p.now, &p.next, &p.err), ST_UNSUPPORTED);
    assert_string_equal(p.err.msg, "config reload not supported for Port: old=4222, new=4999");
    p.next.port = p.now.port;
    brk_opts_set_str(&p.next.server_name, "b");
    assert_int_equal(brk_reload_check(&p.now, &p.next, &p.err), ST_UNSUPPORTED);
    assert_string_equal(p.err.msg, "config reload not supported for ServerName: old=, new=b");
    brk_opts_set_str(&p.next.server_name, NULL);
    p.next.js.sync_always = false;
    assert_int_equal(brk_reload_check(&p.now, &p.next, &p.err), ST_UNSUPPORTED);
    assert_string_equal(p.err.msg, "config reload not supported for SyncAlways: old=true, "
                                   "new=false");
    p.next.js.sync_always = true;
    p.next.lame_duck_duration_ns = 35 * NS_PER_S;
    assert_int_equal(brk_reload_check(&p.now, &p.next, &p.err), ST_UNSUPPORTED);
    assert_string_equal(p.err.msg, "config reload not supported for LameDuckDuration: old=120s, "
                                   "new=35s");
    end(&p);
}

static void jetstream_of_an_account(void **state)
{
    struct pair p;
    (void)state;
    begin(&p);
    p.now.js.enabled = p.next.js.enabled = true;
    (void)brk_opts_add_account(&p.now, "A");
    (void)brk_opts_add_account(&p.next, "A");
    p.next.accounts[0].jetstream = true; /* switched on */
    assert_int_equal(brk_reload_check(&p.now, &p.next, &p.err), ST_OK);
    assert_int_equal(brk_reload_check(&p.next, &p.now, &p.err), ST_OK); /* and off */
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_changed),
        cmocka_unit_test(what_may_change),
        cmocka_unit_test(what_needs_a_restart),
        cmocka_unit_test(jetstream_of_an_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
