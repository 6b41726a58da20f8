/* The subject matcher: known cases, then random subjects against brute force.
 *
 * Brute force works on a small world: tokens a and b, depth up to 4. A filter's meaning is the set
 * of literal subjects of that world it matches, found by a naive recursive matcher; subset and
 * overlap are then set operations. Depth and alphabet are chosen so that a counter-example, if
 * there is one, exists inside (a third token stands for "any other", one more level for "longer").
 */
#include "tests/lib/testlib.h"

#include <stdio.h>

#include "engine/base/subject.h"

#define S(x) (x), strlen(x)

static void known_valid(void **state)
{
    (void)state;
    const char *good[] = {"a",    "a.b",   "*",  ">",  "a.*",       "a.>",    "*.*.>",
                          "foo*", "a>b.c", "**", ">>", "\xff.\x80", "$JS.API"};
    const char *bad[] = {"",      ".",   "a.",   ".a",  "a..b", ">.a",
                         "a.>.b", "a b", "a\tb", "a\r", "a\n",  "a.>."};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(subject_valid(S(good[i])));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(subject_valid(S(bad[i])));
    }
    assert_false(subject_valid("a\0b", 3));
    assert_true(subject_literal(S("foo*.b")));
    assert_false(subject_literal(S("foo.*")));
    assert_false(subject_literal(S("foo..a")));
    assert_true(subject_has_wildcard(S("a.*.b")));
    assert_true(subject_has_wildcard(S(">")));
    assert_false(subject_has_wildcard(S("a*.b>")));
    assert_int_equal(subject_tokens(S("")), 0);
    assert_int_equal(subject_tokens(S("a")), 1);
    assert_int_equal(subject_tokens(S("a.b.c")), 3);
}

static void known_matches(void **state)
{
    (void)state;
    assert_true(subject_match(S("a.b.c"), S("a.>")));
    assert_true(subject_match(S("a.b.c"), S("*.b.*")));
    assert_false(subject_match(S("a"), S("a.>")));
    assert_false(subject_match(S("a.b"), S("a")));
    assert_false(subject_match(S("a"), S("a.b")));
    assert_false(subject_match(S("ab"), S("a")));
    assert_true(subject_match(S("foo*"), S("foo*")));
    assert_false(subject_match(S("foox"), S("foo*")));
    assert_true(subject_subset(S("a.*"), S("a.>")));
    assert_false(subject_subset(S("a.>"), S("a.*")));
    assert_true(subject_subset(S("a.>"), S("a.>")));
    assert_true(subject_subset(S("a.*.>"), S("a.>")));
    assert_true(subject_subset(S("a.b"), S("*.*")));
    assert_false(subject_subset(S("*.b"), S("a.*")));
    assert_true(subject_overlap(S("*.b"), S("a.*")));
    assert_true(subject_overlap(S("a.>"), S("*.b.c")));
    assert_false(subject_overlap(S("a.>"), S("a")));
    assert_false(subject_overlap(S("a.*.c"), S("a.b.d")));
}

enum { DEPTH = 4, SYMBOLS = 3, SUBJECTS = 3 + 9 + 27 + 81 + 243 };

static char literals[SUBJECTS][2 * (DEPTH + 1) + 1];

static void make_literals(void)
{
    size_t n = 0;
    for (unsigned depth = 1; depth <= DEPTH + 1; depth++) {
        unsigned count = 1;
        for (unsigned i = 0; i < depth; i++) {
            count *= SYMBOLS;
        }
        for (unsigned v = 0; v < count; v++) {
            unsigned x = v;
            for (unsigned i = 0; i < depth; i++) {
                literals[n][2 * i] = (char)('a' + x % SYMBOLS);
                literals[n][2 * i + 1] = i + 1 < depth ? '.' : '\0';
                x /= SYMBOLS;
            }
            n++;
        }
    }
    assert_int_equal(n, SUBJECTS);
}

/* Tokens are one character here, at even places. */
static bool naive_match(const char *s, const char *f)
{
    if (*f == '>') {
        return *s != '\0';
    }
    if (*s == '\0' || *f == '\0') {
        return *s == *f;
    }
    if (*f != '*' && *f != *s) {
        return false;
    }
    return naive_match(s[1] == '.' ? s + 2 : s + 1, f[1] == '.' ? f + 2 : f + 1);
}

static void random_filter(struct prng *p, char *out)
{
    static const char tokens[] = "ab*>";
    unsigned depth = 1 + (unsigned)prng_below(p, DEPTH);
    for (unsigned i = 0; i < depth; i++) {
        out[2 * i] = tokens[prng_below(p, i + 1 == depth ? 4 : 3)];
        out[2 * i + 1] = i + 1 < depth ? '.' : '\0';
    }
}

static void random_against_brute_force(void **state)
{
    (void)state;
    make_literals();
    struct prng p = {test_seed()};
    unsigned rounds = test_rounds(3000);
    for (unsigned r = 0; r < rounds; r++) {
        char a[16], b[16];
        random_filter(&p, a);
        random_filter(&p, b);
        assert_true(subject_valid(S(a)));
        bool subset = true, overlap = false;
        for (size_t i = 0; i < SUBJECTS; i++) {
            bool in_a = naive_match(literals[i], a), in_b = naive_match(literals[i], b);
            if (subject_match(S(literals[i]), S(a)) != in_a) {
                fail_msg("match %s %s: wanted %d", literals[i], a, in_a);
            }
            subset = subset && (!in_a || in_b);
            overlap = overlap || (in_a && in_b);
        }
        if (subject_subset(S(a), S(b)) != subset || subject_overlap(S(a), S(b)) != overlap ||
            subject_overlap(S(b), S(a)) != overlap) {
            fail_msg("%s and %s: subset %d overlap %d", a, b, subset, overlap);
        }
    }
}

/* Random bytes: nothing reads past its input (asan) and the relations hold. */
static void random_bytes(void **state)
{
    (void)state;
    struct prng p = {test_seed() + 1};
    static const char alphabet[] = "ab.*>. \t";
    for (unsigned r = 0; r < 20000; r++) {
        size_t len = (size_t)prng_below(&p, 8);
        char *s = base_malloc(len); /* exact size, so that asan sees an overrun */
        for (size_t i = 0; i < len; i++) {
            s[i] = alphabet[prng_below(&p, sizeof(alphabet) - 1)];
        }
        bool valid = subject_valid(s, len);
        assert_true(IMPLIES(subject_literal(s, len), valid));
        assert_true(IMPLIES(valid, subject_subset(s, len, s, len)));
        assert_true(IMPLIES(valid, subject_overlap(s, len, s, len)));
        assert_true(IMPLIES(valid, subject_subset(s, len, ">", 1)));
        (void)subject_match(s, len, s, len);
        (void)subject_tokens(s, len);
        base_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_valid),
        cmocka_unit_test(known_matches),
        cmocka_unit_test(random_against_brute_force),
        cmocka_unit_test(random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
