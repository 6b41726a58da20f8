/* What /healthz says of a store that has failed, of a full disk, of damage; with a store and a
 * monitor made up here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#include "broker/monitor_int.h"
#include "engine/base/base.h"

static bool store_failed;
static struct mon_facts facts;
static unsigned findings;

static enum st fake_health(struct store *s, struct err *err)
{
    (void)s;
    return store_failed ? err_set(err, ST_POISONED, 5, "journal j1: could not sync") : ST_OK;
}
static const struct store_ops ops = {.health = fake_health};
static struct store store = {.ops = &ops};

static void fake_facts(struct store *s, struct mon_facts *out)
{
    (void)s;
    *out = facts;
}

static void fake_incidents(struct store *s, mon_incident_fn fn, void *arg)
{
    (void)s;
    for (unsigned i = 0; i < findings; i++) {
        fn(arg, i == 0 ? NULL : "A", i == 0 ? NULL : "S",
           i == 0 ? "catalogue \"rebuilt\"" : "1 message lost");
    }
}

/* The page for a query, or with JetStream off. */
static const char *page(const char *query, bool jetstream, int status)
{
    static char text[400000];
    struct monitor m = {.server = NULL};
    struct mon_job job = {.m = &m, .status = 200};
    if (jetstream) {
        m.s = (struct mon_store){.js = (struct js *)&store,
                                 .store = &store,
                                 .facts = fake_facts,
                                 .incidents = fake_incidents};
    }
    (void)snprintf(job.req.query, sizeof job.req.query, "%s", query);
    assert_int_equal(mon_healthz(&job), MON_DONE);
    assert_int_equal(job.status, status);
    (void)snprintf(text, sizeof text, "%.*s", (int)job.out.len, job.out.buf);
    json_out_fini(&job.out);
    return text;
}

static int begin(void **state)
{
    (void)state;
    store_failed = false;
    facts = (struct mon_facts){.clean = true};
    findings = 0;
    return 0;
}

static void test_fine(void **state)
{
    (void)state;
    assert_string_equal(page("", true, 200), "{\"status\":\"ok\"}");
    assert_string_equal(page("details=1&js-enabled-only=1", false, 200), "{\"status\":\"ok\"}");
    store_failed = true;
    assert_string_equal(page("", false, 200), "{\"status\":\"ok\"}");
}

static void test_failed(void **state)
{
    (void)state;
    store_failed = true;
    static const char *const asks[] = {"", "js-enabled-only=1", "js-server-only=true", "account=A"};
    for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
        assert_string_equal(page(asks[i], true, 503),
                            "{\"status\":\"unavailable\",\"error\":\"JetStream has "
                            "stopped until a restart: journal j1: could "
                            "not sync\"}");
    }
    assert_string_equal(page("details=1", true, 503),
                        "{\"status\":\"error\",\"errors\":[{\"type\":\"JETSTREAM\",\"error\":"
                        "\"JetStream has stopped until a "
                        "restart: journal j1: could not sync\"}]}");
}

static void test_low_space(void **state)
{
    (void)state;
    facts.low_space = true;
    assert_non_null(strstr(page("", true, 503), "disk is nearly full"));
    (void)page("js-server-only=1", true, 503);
    assert_string_equal(page("js-enabled-only=1", true, 200), "{\"status\":\"ok\"}");
}

static void test_warnings(void **state)
{
    (void)state;
    facts.clock_alarm = true;
    assert_string_equal(
        page("", true, 200),
        "{\"status\":\"ok\",\"warning\":\"the wall clock jumped and is not followed yet\"}");
    findings = 2;
    assert_string_equal(page("", true, 200),
                        "{\"status\":\"ok\",\"warning\":\"damage was found and "
                        "contained: 2 findings; details=1 lists them; the "
                        "wall clock jumped and is not followed yet\"}");
    facts.clock_alarm = false;
    assert_string_equal(
        page("details=1", true, 200),
        "{\"status\":\"ok\",\"warning\":\"damage was found and contained: 2 findings\",\"damage\":["
        "{\"type\":\"JETSTREAM\",\"error\":\"catalogue \\\"rebuilt\\\"\"},"
        "{\"type\":\"STREAM\",\"account\":\"A\",\"stream\":\"S\",\"error\":\"1 message lost\"}]}");
}

/* A page never grows with the damage without bound. */
static void test_much_damage(void **state)
{
    (void)state;
    findings = 100000;
    const char *text = page("details=1", true, 200);
    assert_non_null(strstr(text, "100000 findings"));
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, "{\"type\"")) != NULL; p++) {
        n++;
    }
    assert_int_equal(n, MON_DAMAGE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_fine, begin),
        cmocka_unit_test_setup(test_failed, begin),
        cmocka_unit_test_setup(test_low_space, begin),
        cmocka_unit_test_setup(test_warnings, begin),
        cmocka_unit_test_setup(test_much_damage, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
