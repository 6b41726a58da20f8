/* Status table, error texts, log lines. */
#include "tests/lib/testlib.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"

static void every_status_has_a_row(void **state)
{
    (void)state;
    for (int i = 0; i < ST_COUNT; i++) {
        assert_true(strncmp(st_name((enum st)i), "ST_", 3) == 0);
        assert_true(strlen(st_text((enum st)i)) > 1);
    }
    assert_string_equal(st_text(ST_NOSPACE), "disk full");
    assert_string_equal(st_name(ST_NOSPACE), "ST_NOSPACE");
    assert_string_equal(st_name((enum st)9999), "ST_UNKNOWN");
    assert_int_equal(st_advice(ST_OK), ST_ADV_OK);
    assert_int_equal(st_advice(ST_CORRUPT), ST_ADV_CORRUPT);
}

static void merge_keeps_the_first_but_fatal(void **state)
{
    (void)state;
    assert_int_equal(st_merge(ST_OK, ST_BUSY), ST_BUSY);
    assert_int_equal(st_merge(ST_BUSY, ST_OK), ST_BUSY);
    assert_int_equal(st_merge(ST_BUSY, ST_NOTFOUND), ST_BUSY);
    assert_int_equal(st_merge(ST_BUSY, ST_IO), ST_IO);
    assert_int_equal(st_merge(ST_POISONED, ST_IO), ST_POISONED);
    assert_int_equal(st_merge(ST_OK, ST_OK), ST_OK);
}

static void errors_are_set_and_prefixed(void **state)
{
    (void)state;
    struct err e;
    err_clear(&e);
    assert_int_equal(e.code, ST_OK);
    assert_int_equal(err_set(&e, ST_CORRUPT, 5, "short read at %d", 4096), ST_CORRUPT);
    err_prefix(&e, "segment %d", 17);
    err_prefix(&e, "recover stream \"%s\"", "ORDERS");
    assert_string_equal(e.msg, "recover stream \"ORDERS\": segment 17: short read at 4096");
    assert_int_equal(e.os_errno, 5);
    err_set(&e, ST_IO, 0, "again: %s", e.msg); /* an argument may be the message itself */
    assert_string_equal(e.msg, "again: recover stream \"ORDERS\": segment 17: short read at 4096");
    assert_int_equal(err_set(NULL, ST_IO, 0, "x"), ST_IO);
    err_prefix(NULL, "x");
    err_clear(NULL);
}

static void long_texts_are_cut(void **state)
{
    (void)state;
    char big[1000];
    memset(big, 'p', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    struct err e;
    err_set(&e, ST_IO, 0, "the reason");
    err_prefix(&e, "%s", big);
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
    assert_string_equal(e.msg + sizeof(e.msg) - 1 - strlen(": the reason"), ": the reason");
    err_set(&e, ST_IO, 0, "%s", big);
    err_prefix(&e, "more");
    assert_int_equal(strlen(e.msg), sizeof(e.msg) - 1);
}

struct captured {
    unsigned count;
    enum log_level level;
    char line[LOG_LINE_MAX];
};

static void capture(void *arg, enum log_level level, const char *line, size_t len)
{
    struct captured *c = arg;
    c->count++;
    c->level = level;
    memcpy(c->line, line, len);
    c->line[len] = '\0';
}

static void lines_reach_the_sink(void **state)
{
    (void)state;
    struct captured *c = base_calloc(1, sizeof(*c));
    log_set_sink(capture, c);
    log_wrn("slow consumer client=%d", 7);
    assert_int_equal(c->level, LOG_WRN);
    assert_string_equal(c->line, "slow consumer client=7");
    log_dbg("not seen");
    log_trc("not seen");
    assert_int_equal(c->count, 1);
    log_set_level(true, false);
    log_dbg("seen");
    log_trc("not seen");
    assert_int_equal(c->count, 2);
    log_set_level(false, true);
    log_dbg("not seen");
    log_trc("seen");
    assert_int_equal(c->count, 3);
    log_set_level(false, false);
    log_inf("name \"a\r\n[1] 2026/01/01 00:00:00.000000 [ERR] forged\"");
    assert_null(strpbrk(c->line, "\r\n"));
    char big[2 * LOG_LINE_MAX];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    log_err("%s", big);
    assert_int_equal(strlen(c->line), LOG_LINE_MAX - 1);
    assert_string_equal(c->line + LOG_LINE_MAX - 4, "...");
    log_set_sink(NULL, NULL);
    base_free(c);
}

static void layout_is_that_of_nats_server(void **state)
{
    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    char out[128], want[128];
    size_t n = log_layout(out, sizeof(out), 1767366245000000000ll + 12345678, LOG_INF, "hello", 5);
    (void)snprintf(want, sizeof(want), "[%d] 2026/01/02 15:04:05.012345 [INF] hello\n",
                   (int)getpid());
    assert_int_equal(n, strlen(want));
    assert_memory_equal(out, want, n);
    n = log_layout(out, 64, 0, LOG_FTL, "a line that is far too long for what is left here", 49);
    assert_int_equal(n, 64);
    assert_int_equal(out[63], '\n');
    n = log_layout(out, sizeof(out), -1, LOG_ERR, "x", 1);
    out[n] = '\0';
    assert_non_null(strstr(out, "] [ERR] x\n"));
}

static void default_sink_writes_to_stderr(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    int saved = dup(STDERR_FILENO);
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    log_inf("to stderr");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(fds[1]);
    char out[128] = {0};
    assert_true(read(fds[0], out, sizeof(out) - 1) > 0);
    close(fds[0]);
    assert_non_null(strstr(out, "[INF] to stderr\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_status_has_a_row),
        cmocka_unit_test(merge_keeps_the_first_but_fatal),
        cmocka_unit_test(errors_are_set_and_prefixed),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(lines_reach_the_sink),
        cmocka_unit_test(layout_is_that_of_nats_server),
        cmocka_unit_test(default_sink_writes_to_stderr),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
