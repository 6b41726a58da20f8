/* The command line: Go's syntax, what overrides what, and the exact texts of errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/cli.h"
#include "engine/base/base.h"

#define ARGS_MAX 32

/* Parses words separated by blanks. */
static enum st parse(const char *words, struct brk_cli *cli, struct err *err)
{
    static char buf[512]; /* flags keep copies */
    static char program[] = "nats-server";
    char *argv[ARGS_MAX] = {program};
    int argc = 1;
    snprintf(buf, sizeof buf, "%s", words);
    for (char *w = strtok(buf, " "); w != NULL && argc < ARGS_MAX; w = strtok(NULL, " ")) {
        argv[argc++] = w;
    }
    return brk_cli_parse(argc, argv, cli, err);
}

static void every_spelling_sets_the_option(void **state)
{
    static const char *const ports[] = {"-p 77",     "-p=77",    "--p 77",
                                        "--port=77", "-port 77", "-p 0x4d"};
    struct brk_cli c;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
        assert_int_equal(parse(ports[i], &c, NULL), ST_OK);
        assert_int_equal(c.flags.port, 77);
        assert_int_equal(c.flags.flag_bits, BRK_OPT_PORT);
        brk_cli_fini(&c);
    }
    assert_int_equal(
        parse("--addr h -n s -P p -m -1 -c f --log l -sd d --user u --pass w", &c, NULL), ST_OK);
    brk_cli_fini(&c);
    assert_int_equal(parse("--net h --server_name s --pid p --http_port -1 --config f", &c, NULL),
                     ST_OK);
    assert_string_equal(c.flags.host, "h");
    assert_string_equal(c.flags.server_name, "s");
    assert_string_equal(c.flags.pid_file, "p");
    assert_int_equal(c.flags.http_port, -1);
    assert_string_equal(c.config_file, "f");
    brk_cli_fini(&c);
}

static void booleans(void **state)
{
    static const struct {
        const char *words;
        bool debug, trace, verbose;
    } cases[] = {
        {"-D", true, false, false},        {"-V", false, true, false},
        {"-DV", true, true, false},        {"-VV", false, true, true},
        {"-DVV", true, true, true},        {"-D=false", false, false, false},
        {"--debug=T", true, false, false}, {"-D=0 -V=1", false, true, false},
    };
    struct brk_cli c;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(cases[i].words, &c, NULL), ST_OK);
        assert_int_equal(c.flags.debug, cases[i].debug);
        assert_int_equal(c.flags.trace, cases[i].trace);
        assert_int_equal(c.flags.trace_verbose, cases[i].verbose);
        brk_cli_fini(&c);
    }
}

static void actions(void **state)
{
    static const struct {
        const char *words;
        enum brk_cli_action action;
    } cases[] = {
        {"", BRK_CLI_RUN},
        {"-v", BRK_CLI_VERSION},
        {"--version", BRK_CLI_VERSION},
        {"version", BRK_CLI_VERSION},
        {"-h", BRK_CLI_HELP},
        {"--help", BRK_CLI_HELP},
        {"help", BRK_CLI_HELP},
        {"-t -c x", BRK_CLI_TEST},
        {"-t -c x -v", BRK_CLI_VERSION},
        {"-h -v", BRK_CLI_VERSION},
        {"--help_tls", BRK_CLI_HELP_TLS},
        {"-v=false", BRK_CLI_RUN},
        {"-v x", BRK_CLI_VERSION},
        {"-- version", BRK_CLI_VERSION},
        {"--", BRK_CLI_RUN},
    };
    struct brk_cli c;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(cases[i].words, &c, NULL), ST_OK);
        assert_int_equal(c.action, cases[i].action);
        brk_cli_fini(&c);
    }
    assert_non_null(strstr(brk_cli_usage(), "-js, --jetstream"));
}

static void errors(void **state)
{
    static const struct {
        const char *words, *text;
        bool usage;
    } cases[] = {
        {"-foo", "flag provided but not defined: -foo", true},
        {"--foo=1", "flag provided but not defined: -foo", true},
        {"-p abc", "invalid value \"abc\" for flag -p: parse error", true},
        {"-p 4x", "invalid value \"4x\" for flag -p: parse error", true},
        {"-p 70000", "invalid value \"70000\" for flag -p: value out of range", true},
        {"-p", "flag needs an argument: -p", true},
        {"-js=maybe", "invalid boolean value \"maybe\" for -js: parse error", true},
        {"---p 3", "bad flag syntax: ---p", true},
        {"-=3", "bad flag syntax: -=3", true},
        {"bar", "unrecognized command: \"bar\"", false},
        {"-", "unrecognized command: \"-\"", false},
        {"-js true", "unrecognized command: \"true\"", false},
        {"-- -p 1", "unrecognized command: \"-p\"", false},
        {"-t", "must specify [-c, --config] option to check configuration file syntax", false},
        {"--auth t --user u", "--auth cannot be combined with --user and --pass", false},
        {"--pass w", "--pass needs --user", false},
        {"--tls", "flag --tls is not served yet", false},
        {"--tlscert x", "flag --tlscert is not served yet", false},
        {"-routes=x", "flag --routes is not served yet", false},
        {"--cluster x", "flag --cluster is not served yet", false},
        {"-sl", "flag needs an argument: -sl", true},
        {"-s", "flag -s is not served yet; use -l or stderr", false},
        {"-ms 1", "flag -ms is not served yet; use -m for monitoring without TLS", false},
    };
    struct brk_cli c;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err err = {0};
        assert_int_not_equal(parse(cases[i].words, &c, &err), ST_OK);
        assert_string_equal(err.msg, cases[i].text);
        assert_int_equal(c.show_usage, cases[i].usage);
        brk_cli_fini(&c);
    }
    assert_int_equal(parse("--tls=false", &c, NULL), ST_OK);
    brk_cli_fini(&c);
    assert_int_equal(parse("-sl reload=12", &c, NULL), ST_OK);
    assert_int_equal(c.action, BRK_CLI_SIGNAL);
    assert_string_equal(c.signal, "reload=12");
    brk_cli_fini(&c);
}

static void flags_win_over_the_file(void **state)
{
    struct brk_cli c;
    struct brk_opts o;
    (void)state;
    brk_opts_init(&o);
    o.port = 1;
    o.http_port = 2;
    o.debug = o.logtime = o.js.enabled = true;
    brk_opts_set_str(&o.token, "file");
    brk_opts_set_str(&o.server_name, "file");
    assert_int_equal(
        parse("-p 9 -D=false -js=false --user u --pass w -c f.conf -T=false -sd d", &c, NULL),
        ST_OK);
    brk_cli_apply(&c, &o);
    assert_int_equal(o.port, 9);
    assert_int_equal(o.http_port, 2); /* not on the command line */
    assert_string_equal(o.server_name, "file");
    assert_false(o.debug || o.logtime || o.js.enabled);
    assert_null(o.token); /* a login on the command line replaces the file's */
    assert_string_equal(o.user, "u");
    assert_string_equal(o.pass, "w");
    assert_string_equal(o.js.store_dir, "d");
    assert_string_equal(o.config_file, "f.conf");
    brk_cli_fini(&c);
    brk_opts_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_sets_the_option),
        cmocka_unit_test(booleans),
        cmocka_unit_test(actions),
        cmocka_unit_test(errors),
        cmocka_unit_test(flags_win_over_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
