/* --signal: commands, pids and pid files. Nothing is sent here but signal 0's refusals. */
#include "tests/lib/testlib.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "broker/sendsig.h"

static void commands(void **state)
{
    static const struct {
        const char *text;
        int sig;
        pid_t pid;
    } cases[] = {
        {"stop=7", SIGKILL, 7},     {"quit=8", SIGINT, 8},     {"term=9", SIGTERM, 9},
        {"reopen=10", SIGUSR1, 10}, {"RELOAD", SIGHUP, 0},     {"ldm", SIGUSR2, 0},
        {"quit=", SIGINT, 0},       {"quit= 12 ", SIGINT, 12},
    };
    struct env *env = env_real_create();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int sig;
        pid_t pid;
        struct err err;
        TEST_OK(brk_signal_parse(env, cases[i].text, &sig, &pid, &err), &err);
        assert_int_equal(sig, cases[i].sig);
        assert_int_equal(pid, cases[i].pid);
    }
    env_real_destroy(env);
}

/* kill(2) means a group, or everybody, by 0 and below: such a number is never a process here. */
static void refused(void **state)
{
    static const char *const cases[][2] = {
        {"", "unknown signal \"\""},
        {"foo=1", "unknown signal \"foo\""},
        {"quit=-1", "invalid pid: -1"},
        {"quit=0", "invalid pid: 0"},
        {"quit=+5", "invalid pid: +5"},
        {"quit=12x", "invalid pid: 12x"},
        {"quit=99999999999", "invalid pid: 99999999999"},
        {"quit=/no/such/file", "invalid pid: /no/such/file"},
    };
    struct env *env = env_real_create();
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err;
        assert_int_equal(brk_signal_send(env, cases[i][0], &err), ST_INVALID);
        assert_string_equal(err.msg, cases[i][1]);
    }
    env_real_destroy(env);
}

static void pid_files(void **state)
{
    char path[] = "/tmp/millrace-test-pid-XXXXXX";
    int fd = mkstemp(path), sig;
    pid_t pid;
    struct err err;
    char text[128];
    struct env *env = env_real_create();
    (void)state;
    snprintf(text, sizeof text, "reload=%s", path);
    assert_int_equal(brk_signal_parse(env, text, &sig, &pid, &err), ST_INVALID); /* empty */
    assert_int_equal(write(fd, "4321\n", 5), 5);
    TEST_OK(brk_signal_parse(env, text, &sig, &pid, &err), &err);
    assert_int_equal(pid, 4321);
    assert_int_equal(sig, SIGHUP);
    assert_int_equal(pwrite(fd, "-1\n\n\n", 5, 0), 5);
    assert_int_equal(brk_signal_parse(env, text, &sig, &pid, &err), ST_INVALID);
    close(fd);
    unlink(path);
    env_real_destroy(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands),
        cmocka_unit_test(refused),
        cmocka_unit_test(pid_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
