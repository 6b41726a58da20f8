/* Subject transforms: what nats-server 2.14.5 makes of the same, and what it refuses. */
#include "broker/js_xform.h"

#include <stdio.h>
#include <string.h>

#include "tests/lib/testlib.h"

static void apply(const char *src, const char *dest, const char *subject, const char *want)
{
    struct js_xform *x;
    char why[256] = "", out[JS_XFORM_SUBJECT_MAX];
    size_t n = 0;
    assert_int_equal(js_xform_create(src, dest, &x, why), JS_XFORM_OK);
    bool done = js_xform_apply(x, (struct brk_str){subject, strlen(subject)}, 7, out, &n);
    if (want == NULL) {
        assert_false(done);
    } else {
        assert_true(done);
        assert_int_equal(n, strlen(want));
        assert_memory_equal(out, want, n);
    }
    js_xform_destroy(x);
}

static void refuse(const char *src, const char *dest, enum js_xform_fault fault, const char *words)
{
    struct js_xform *x;
    char why[256] = "";
    assert_int_equal(js_xform_create(src, dest, &x, why), fault);
    assert_string_equal(why, words);
    assert_null(x);
}

static void tokens_and_rest(void **state)
{
    (void)state;
    apply("s.*", "t.{{wildcard(1)}}", "s.abcdef", "t.abcdef");
    apply("s.*", "t.{{wildcard(1)}}", "s.x.y", NULL);
    apply("s.>", "t.>", "s.x.y", "t.x.y");
    apply("", "x.>", "s.x.y", "x.s.x.y");
    apply("s.*.*", "z.$2.{{ Wildcard( 1 ) }}", "s.x.y", "z.y.x");
    apply("s.*.>", "t.{{wildcard(1)}}.>", "s.x.y.z", "t.x.y.z");
    apply("s.*", "pre{{wildcard(1)}}", "s.a", "pre{{wildcard(1)}}");
    apply("s.*", "t.{{{wildcard(1)}}}", "s.a", "t.a");
    apply("s.*", "t.$0", "s.a", "t.s");
    apply("s.*", "t.$1x.{{}}", "s.a", "t.$1x.{{}}");
    apply("s.a", "q.w", "s.a", "q.w");
}

static void functions(void **state)
{
    (void)state;
    static const char *const in[] = {"s.a", "s.abcdef", "s.a-b-cd", "s.-a--b-", "s.ab", "s.abc"};
    static const struct {
        const char *dest, *out[6];
    } t[] = {
        {"t.{{partition(10,1)}}", {"t.0", "t.6", "t.9", "t.4", "t.6", "t.1"}},
        {"t.{{partition(10)}}", {"t.3", "t.3", "t.8", "t.5", "t.9", "t.8"}},
        {"t.{{partition(0,1)}}", {"t.0", "t.0", "t.0", "t.0", "t.0", "t.0"}},
        {"t.{{split(1,-)}}", {"t.a", "t.abcdef", "t.a.b.cd", "t.a.b", "t.ab", "t.abc"}},
        {"t.{{split(1,)}}",
         {"t.a", "t.a.b.c.d.e.f", "t.a.-.b.-.c.d", "t.-.a.-.-.b.-", "t.a.b", "t.a.b.c"}},
        {"t.{{split(1,--)}}", {"t.a", "t.abcdef", "t.a-b-cd", "t.-a.b-", "t.ab", "t.abc"}},
        {"t.{{splitfromleft(1,3)}}",
         {"t.a", "t.abc.def", "t.a-b.-cd", "t.-a-.-b-", "t.ab", "t.abc"}},
        {"t.{{SplitFromRight(1,3)}}",
         {"t.a", "t.abc.def", "t.a-b.-cd", "t.-a-.-b-", "t.ab", "t.abc"}},
        {"t.{{SliceFromLeft(1,2)}}",
         {"t.a", "t.ab.cd.ef", "t.a-.b-.cd", "t.-a.--.b-", "t.ab", "t.ab.c"}},
        {"t.{{slicefromright(1,2)}}",
         {"t.a", "t.ab.cd.ef", "t.a-.b-.cd", "t.-a.--.b-", "t.ab", "t.a.bc"}},
        {"t.{{splitfromleft(1,0)}}", {"t.a", "t.abcdef", "t.a-b-cd", "t.-a--b-", "t.ab", "t.abc"}},
        {"t.{{splitfromleft(1,-1)}}", {"t.a", "t.abcdef", "t.a-b-cd", "t.-a--b-", "t.ab", "t.abc"}},
        {"t.{{random(5)}}", {"t.2", "t.2", "t.2", "t.2", "t.2", "t.2"}},
        {"t.{{partition(-1,1)}}",
         {"t.3826002220", "t.4282878506", "t.3746220989", "t.3155690784", "t.1294271946",
          "t.440920331"}},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        for (size_t k = 0; k < 6; k++) {
            apply("s.*", t[i].dest, in[k], t[i].out[k]);
        }
    }
    apply("s.*.*", "t.{{partition(5,1,2)}}.{{partition(7,2)}}", "s.x.y", "t.2.6");
}

static void refusals(void **state)
{
    (void)state;
    static const char *const subject[] = {"t", "t.*"};
    refuse("s..", "t", JS_XFORM_BAD_SOURCE, "invalid subject s..");
    refuse("s.>", subject[0], JS_XFORM_BAD_DEST, "invalid subject");
    refuse("s.*", subject[1], JS_XFORM_BAD_DEST, "invalid subject");
    refuse("s.*", "t..", JS_XFORM_BAD_DEST, "invalid mapping destination: invalid transform");
    /* what comes out is written into MSG lines */
    refuse("s.*", "t x.$1", JS_XFORM_BAD_DEST, "invalid mapping destination: invalid transform");
    refuse("s.*", "t\r\nPING.$1", JS_XFORM_BAD_DEST,
           "invalid mapping destination: invalid transform");
    refuse("s.*", "{{split(1\t", JS_XFORM_BAD_DEST,
           "invalid mapping destination: invalid transform");
    refuse("s.*", "t.{{wildcard(2)}}", JS_XFORM_BAD_DEST,
           "invalid mapping destination: wildcard index out of range in {{wildcard(2)}}: [2]");
    refuse("s.*", "t.$2", JS_XFORM_BAD_DEST,
           "invalid mapping destination: wildcard index out of range in $2: [2]");
    refuse("s.*", "t.{{foo(1)}}", JS_XFORM_BAD_DEST,
           "invalid mapping destination: unknown function in {{foo(1)}}");
    refuse("s.*", "t.{{unknown}}", JS_XFORM_BAD_DEST,
           "invalid mapping destination: unknown function in {{unknown}}");
    static const char *const wrong[] = {"{{partition()}}",     "{{wildcard(x)}}",
                                        "{{random()}}",        "{{partition(4294967296,1)}}",
                                        "{{partition(10,x)}}", "{{split(1,a b)}}"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char dest[64], words[160];
        (void)snprintf(dest, sizeof dest, "t.%s", wrong[i]);
        (void)snprintf(words, sizeof words,
                       "invalid mapping destination: function argument is invalid or in the wrong "
                       "format in %s",
                       wrong[i]);
        refuse("s.*", dest, JS_XFORM_BAD_DEST, words);
    }
    refuse("s.*", "t.{{wildcard()}}", JS_XFORM_BAD_DEST,
           "invalid mapping destination: not enough arguments passed to the function in "
           "{{wildcard()}}");
    refuse("s.*", "t.{{split(1)}}", JS_XFORM_BAD_DEST,
           "invalid mapping destination: not enough arguments passed to the function in "
           "{{split(1)}}");
    refuse("s.*", "t.{{wildcard(1,2)}}", JS_XFORM_BAD_DEST,
           "invalid mapping destination: too many arguments passed to the function in "
           "{{wildcard(1,2)}}");
}

static void too_long(void **state)
{
    (void)state;
    static char subject[12000], out[JS_XFORM_SUBJECT_MAX];
    struct js_xform *x;
    char why[256];
    size_t n;
    memset(subject, 'x', sizeof subject - 1);
    assert_int_equal(js_xform_create("*", "{{slicefromleft(1,1)}}", &x, why), JS_XFORM_OK);
    assert_false(js_xform_apply(x, (struct brk_str){subject, sizeof subject - 1}, 0, out, &n));
    js_xform_destroy(x);
    assert_int_equal(js_xform_create("a", "", &x, why), JS_XFORM_OK);
    assert_null(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_and_rest),
        cmocka_unit_test(functions),
        cmocka_unit_test(refusals),
        cmocka_unit_test(too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
