/* filter_index against the plain matcher: random filters come and go, and each subject must find
 * exactly those that subject_match says. */
#include "engine/filter_index.h"

#include "engine/base/subject.h"
#include "tests/lib/testlib.h"

#include <stdio.h>

enum { FILTERS = 300, ROUNDS = 4000 };

struct filter {
    char s[64];
    size_t len;
    bool in;
    unsigned found;
};

static struct prng rnd;

/* Few tokens and few words, so that much is shared and much overlaps. */
static size_t subject(char *out, bool wildcards)
{
    static const char *const words[] = {"a", "b", "ab", "aa", "*x", ">>"};
    size_t n = 1 + prng_below(&rnd, 5), len = 0;
    for (size_t i = 0; i < n; i++) {
        const char *w = words[prng_below(&rnd, ARRAY_LEN(words))];
        if (wildcards && prng_below(&rnd, 3) == 0) {
            w = i + 1 == n && prng_below(&rnd, 2) == 0 ? ">" : "*";
        }
        len += (size_t)snprintf(out + len, 64 - len, "%s%s", i > 0 ? "." : "", w);
    }
    return len;
}

static bool on_found(void *arg, void *who)
{
    (void)arg;
    ((struct filter *)who)->found++;
    return true;
}

static bool stop(void *arg, void *who)
{
    (void)who;
    ++*(unsigned *)arg;
    return false;
}

static void same_as_the_matcher(void **state)
{
    (void)state;
    static struct filter f[FILTERS];
    struct filter_index x;
    filter_index_init(&x, 7);
    memset(f, 0, sizeof f);
    rnd.state = test_seed();
    unsigned matches = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct filter *one = &f[prng_below(&rnd, FILTERS)];
        if (one->in) {
            filter_index_remove(&x, one->s, one->len, one);
        } else {
            one->len = subject(one->s, true);
            filter_index_add(&x, one->s, one->len, one);
        }
        one->in = !one->in;
        char s[64];
        size_t len = subject(s, false);
        assert_true(filter_index_match(&x, s, len, on_found, NULL));
        for (unsigned i = 0; i < FILTERS; i++) {
            assert_int_equal(f[i].found,
                             f[i].in && subject_match(s, len, f[i].s, f[i].len) ? 1 : 0);
            matches += f[i].found;
            f[i].found = 0;
        }
    }
    assert_true(matches > ROUNDS);
    for (unsigned i = 0; i < FILTERS; i++) {
        if (f[i].in) {
            filter_index_remove(&x, f[i].s, f[i].len, &f[i]);
        }
    }
    filter_index_fini(&x); /* asserts that nothing is left */
}

static void one_by_several_filters(void **state)
{
    (void)state;
    struct filter_index x;
    struct filter who = {.found = 0};
    unsigned calls = 0;
    filter_index_init(&x, 7);
    filter_index_add(&x, "a.*", 3, &who);
    filter_index_add(&x, "*.b", 3, &who);
    filter_index_add(&x, "a.b.>", 5, &who);
    assert_true(filter_index_match(&x, "a.b", 3, on_found, NULL));
    assert_int_equal(who.found, 2);
    assert_false(filter_index_match(&x, "a.b", 3, stop, &calls));
    assert_int_equal(calls, 1);
    filter_index_remove(&x, "a.*", 3, &who);
    filter_index_remove(&x, "*.b", 3, &who);
    assert_true(filter_index_match(&x, "a.b", 3, stop, &calls));
    filter_index_remove(&x, "a.b.>", 5, &who);
    assert_true(filter_index_match(&x, "a.b.c", 5, stop, &calls)); /* empty */
    filter_index_fini(&x);
}

/* No recursion a token: a client chooses how many there are. */
static void many_tokens(void **state)
{
    (void)state;
    enum { TOKENS = 200000, LEN = 2 * TOKENS - 1 };
    static char stars[LEN + 1], words[LEN + 1];
    for (size_t i = 0; i < LEN; i++) {
        stars[i] = i % 2 == 0 ? '*' : '.';
        words[i] = i % 2 == 0 ? 'a' : '.';
    }
    struct filter_index x;
    struct filter who = {.found = 0};
    filter_index_init(&x, 7);
    filter_index_add(&x, stars, LEN, &who);
    filter_index_add(&x, words, LEN, &who);
    assert_true(filter_index_match(&x, words, LEN, on_found, NULL));
    assert_int_equal(who.found, 2);
    filter_index_remove(&x, stars, LEN, &who);
    filter_index_remove(&x, words, LEN, &who);
    filter_index_fini(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_the_matcher),
        cmocka_unit_test(one_by_several_filters),
        cmocka_unit_test(many_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
