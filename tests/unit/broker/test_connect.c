/* The JSON of CONNECT, and logins. */
#include "tests/lib/testlib.h"

#include "broker/auth.h"
#include "broker/connect.h"

static enum st parse(struct brk_connect *c, const char *json)
{
    struct err err;
    return brk_connect_parse(c, (struct brk_str){json, strlen(json)}, &err);
}

static void fields(void **state)
{
    (void)state;
    struct brk_connect c = {.verbose = true, .echo = true};
    TEST_ST(
        parse(&c,
              "{\"verbose\":false,\"PEDANTIC\":true,\"echo\":null,\"protocol\":1,\"headers\":true,"
              "\"no_responders\":true,\"user\":\"u\",\"pass\":\"p\\u0041\",\"auth_token\":\"t\","
              "\"name\":\"n\",\"lang\":\"l\",\"version\":\"\",\"tls_required\":false,\"other\":{"
              "\"a\":[1]}}"),
        ST_OK);
    assert_false(c.verbose);
    assert_true(c.pedantic);
    assert_true(c.echo);
    assert_int_equal(c.protocol, 1);
    assert_true(c.headers);
    assert_true(c.no_responders);
    assert_string_equal(c.user, "u");
    assert_string_equal(c.pass, "pA");
    assert_string_equal(c.token, "t");
    assert_string_equal(c.name, "n");
    assert_null(c.version);
    /* the last of two wins; a second CONNECT keeps what it does not name */
    TEST_ST(parse(&c, "{\"name\":\"x\",\"name\":\"y\"} "), ST_OK);
    assert_string_equal(c.name, "y");
    assert_string_equal(c.user, "u");
    TEST_ST(parse(&c, "null"), ST_OK);
    brk_connect_fini(&c);
}

static void refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "1",
                                      "\"x\"",
                                      "{} x",
                                      "{}{}",
                                      "{\"verbose\":1}",
                                      "{\"verbose\":\"true\"}",
                                      "{\"protocol\":1.5}",
                                      "{\"protocol\":\"1\"}",
                                      "{\"name\":1}",
                                      "{\"name\":\"a\\u0000b\"}",
                                      "{'name':'x'}",
                                      "{\"name\":\"\xff\"}",
                                      "[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct brk_connect c = {0};
        if (parse(&c, bad[i]) != ST_INVALID) {
            fail_msg("accepted: %s", bad[i]);
        }
        brk_connect_fini(&c);
    }
}

/* --- logins ----------------------------------------------------------------------------------- */

struct answers {
    int good, bad;
    uint64_t last_cid;
};

static void on_answer(void *arg, uint64_t cid, const struct brk_auth_user *user)
{
    struct answers *a = arg;
    *(user != NULL ? &a->good : &a->bad) += 1;
    a->last_cid = cid;
}

static void logins(void **state)
{
    (void)state;
    struct err err;
    struct env *env = env_real_create();
    struct brk_loop *loop;
    struct brk_opts opts;
    struct answers got = {0};
    TEST_OK(brk_loop_create(env, &loop, &err), &err);
    brk_opts_init(&opts);
    brk_opts_add_user(&opts, "plain", "secret", "A");
    brk_opts_add_user(&opts, "hashed",
                      "$2b$04$8IHbvzdtTDgi3tC2cC7QQu6ujjdu4Fao53/NNd9u2n3/MBQyGPbiG", "B");
    struct brk_auth *a = brk_auth_create(&opts, env, loop, on_answer, &got);
    const struct brk_auth_user *u;
    assert_true(brk_auth_enabled(a));
    assert_null(brk_auth_no_auth_user(a));
    assert_int_equal(brk_auth_check(a, 1, "plain", "secret", NULL, &u), BRK_AUTH_OK);
    assert_string_equal(u->account, "A");
    assert_int_equal(brk_auth_check(a, 1, "plain", "secre", NULL, &u), BRK_AUTH_DENIED);
    assert_int_equal(brk_auth_check(a, 1, "plain", "secretx", NULL, &u), BRK_AUTH_DENIED);
    assert_int_equal(brk_auth_check(a, 1, "plain", NULL, NULL, &u), BRK_AUTH_DENIED);
    assert_int_equal(brk_auth_check(a, 1, "nobody", "secret", NULL, &u), BRK_AUTH_DENIED);
    assert_int_equal(brk_auth_check(a, 1, NULL, NULL, NULL, &u), BRK_AUTH_DENIED);
    assert_int_equal(brk_auth_check(a, 1, NULL, NULL, "secret", &u), BRK_AUTH_DENIED);
    assert_int_equal(brk_auth_check(a, 7, "hashed", "wrong", NULL, &u), BRK_AUTH_PENDING);
    assert_int_equal(brk_auth_check(a, 8, "hashed", "secret", NULL, &u), BRK_AUTH_PENDING);
    for (long i = 0; i < 100000000 && got.good + got.bad < 2; i++) {
        (void)brk_loop_poll(loop);
    }
    assert_int_equal(got.good, 1);
    assert_int_equal(got.bad, 1);
    assert_int_equal(got.last_cid == 7 || got.last_cid == 8, 1);
    /* the queue is bounded */
    int denied = 0;
    for (uint64_t i = 0; i < BRK_AUTH_QUEUE_MAX + 200; i++) {
        denied += brk_auth_check(a, 100 + i, "hashed", "x", NULL, &u) == BRK_AUTH_DENIED;
    }
    assert_true(denied > 0);
    brk_auth_destroy(a);
    brk_opts_fini(&opts);
    brk_loop_destroy(loop);
    env_real_destroy(env);
}

static void token(void **state)
{
    (void)state;
    struct err err;
    struct env *env = env_real_create();
    struct brk_loop *loop;
    struct brk_opts opts;
    TEST_OK(brk_loop_create(env, &loop, &err), &err);
    brk_opts_init(&opts);
    brk_opts_set_str(&opts.token, "sesame");
    struct brk_auth *a = brk_auth_create(&opts, env, loop, on_answer, NULL);
    const struct brk_auth_user *u;
    assert_int_equal(brk_auth_check(a, 1, NULL, NULL, "sesame", &u), BRK_AUTH_OK);
    assert_null(u->user);
    assert_int_equal(brk_auth_check(a, 1, NULL, NULL, "Sesame", &u), BRK_AUTH_DENIED);
    assert_int_equal(brk_auth_check(a, 1, "sesame", "sesame", NULL, &u), BRK_AUTH_DENIED);
    brk_auth_destroy(a);
    brk_opts_fini(&opts);
    brk_loop_destroy(loop);
    env_real_destroy(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fields), cmocka_unit_test(refusals),
                                       cmocka_unit_test(logins), cmocka_unit_test(token)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
