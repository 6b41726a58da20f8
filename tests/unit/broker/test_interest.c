/* Interest against brute force: random subscriptions come and go, every match must give exactly
 * those whose subject matches, also out of the cache and while a delivery is held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "broker/interest.h"
#include "engine/base/base.h"
#include "engine/base/subject.h"

#define SUBS_MAX 400

static uint64_t rnd_state = 88172645463325252ull;
static uint64_t rnd(uint64_t n)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 7;
    rnd_state ^= rnd_state << 17;
    return rnd_state % n;
}

static int released;
static void release(struct brk_sub *s)
{
    released++;
    brk_sub_free(s);
}

static struct brk_str str(const char *s)
{
    return (struct brk_str){s, strlen(s)};
}

static void random_subject(char *out, bool wild)
{
    static const char *const words[] = {"a", "b", "c", "foo", "bar"};
    size_t tokens = 1 + rnd(4), n = 0;
    for (size_t i = 0; i < tokens; i++) {
        const char *w = words[rnd(ARRAY_LEN(words))];
        if (wild && rnd(4) == 0) {
            w = "*";
        }
        if (wild && i + 1 == tokens && rnd(4) == 0) {
            w = ">";
        }
        n += (size_t)sprintf(out + n, "%s%s", i > 0 ? "." : "", w);
    }
}

/* How often `sub` stands in what the match gave. */
static size_t count_in(struct brk_match *m, const struct brk_sub *sub)
{
    size_t n = 0;
    for (uint32_t i = 0; i < m->count; i++) {
        struct brk_leaf *leaf = brk_match_leaves(m)[i];
        for (uint32_t k = 0; k < leaf->subs_count; k++) {
            n += leaf->subs[k] == sub && !sub->dead;
        }
        for (uint32_t g = 0; g < leaf->groups_count; g++) {
            for (uint32_t k = 0; k < leaf->groups[g]->count; k++) {
                n += leaf->groups[g]->subs[k] == sub && !sub->dead;
            }
        }
    }
    return n;
}

static void check(struct brk_interest *in, struct brk_sub **subs, size_t count, const char *subject)
{
    struct brk_match m;
    brk_interest_match(in, str(subject), &m);
    for (size_t i = 0; i < count; i++) {
        bool want = subject_match(subject, strlen(subject), subs[i]->subject.p, subs[i]->subject.n);
        if (count_in(&m, subs[i]) != (want ? 1u : 0u)) {
            fail_msg("%s against %.*s: want %d", subject, (int)subs[i]->subject.n,
                     subs[i]->subject.p, (int)want);
        }
    }
    brk_match_fini(&m);
}

static void remove_one(struct brk_interest *in, struct brk_sub **subs, size_t *count)
{
    char text[64];
    size_t i = rnd(*count);
    struct brk_sub *s = subs[i];
    subs[i] = subs[--*count];
    bool held = rnd(3) == 0;
    if (held) {
        brk_interest_hold(in);
    }
    brk_interest_remove(in, s);
    if (held) {
        random_subject(text, false);
        check(in, subs, *count, text);
        brk_interest_unhold(in);
    }
}

static void random_walk(void **state)
{
    (void)state;
    struct brk_interest in;
    brk_interest_init(&in, 42, release);
    struct brk_sub *subs[SUBS_MAX];
    size_t count = 0;
    int made = 0;
    released = 0;
    char text[64];
    for (int step = 0; step < 60000; step++) {
        uint64_t what = rnd(10);
        if (what < 2 && count < SUBS_MAX) {
            random_subject(text, true);
            struct brk_str queue = rnd(3) == 0 ? str(rnd(2) == 0 ? "q1" : "q2") : str("");
            subs[count] = brk_sub_create(str(text), queue, str("1"));
            brk_interest_insert(&in, subs[count++]);
            made++;
        } else if (what < 4 && count > 0) {
            remove_one(&in, subs, &count);
        } else {
            random_subject(text, false);
            check(&in, subs, count, text);
        }
        assert_int_equal(in.count, count);
    }
    assert_true(in.cache_hits > 1000);
    while (count > 0) {
        brk_interest_remove(&in, subs[--count]);
    }
    assert_int_equal(released, made);
    brk_interest_fini(&in);
}

static struct brk_sub *add(struct brk_interest *in, const char *subject, const char *queue)
{
    struct brk_sub *s = brk_sub_create(str(subject), str(queue), str("1"));
    brk_interest_insert(in, s);
    return s;
}

static void any_interest(void **state)
{
    (void)state;
    struct brk_interest in;
    brk_interest_init(&in, 1, release);
    assert_false(brk_interest_any(&in, str("a.b"), str("")));
    struct brk_sub *q = add(&in, "a.*", "grp");
    assert_true(brk_interest_any(&in, str("a.b"), str("")));
    assert_true(brk_interest_any(&in, str("a.b"), str("grp")));
    assert_false(brk_interest_any(&in, str("a.b"), str("other")));
    struct brk_sub *p = add(&in, "a.b", "");
    brk_interest_hold(&in);
    brk_interest_remove(&in, q);
    assert_false(brk_interest_any(&in, str("a.b"), str("grp")));
    assert_true(brk_interest_any(&in, str("a.b"), str("")));
    brk_interest_unhold(&in);
    brk_interest_remove(&in, p);
    assert_false(brk_interest_any(&in, str("a.b"), str("")));
    brk_interest_fini(&in);
}

/* What upstream does with odd subjects of a publish: wildcard characters are bytes like others,
 * empty tokens reach nobody. */
static void odd_subjects(void **state)
{
    (void)state;
    static const struct {
        const char *subject;
        uint32_t leaves;
    } cases[] = {{"foo.*", 2}, {"foo.>", 2},  {">", 2}, {"foo.", 0},
                 {".foo", 0},  {"foo..x", 0}, {".", 0}, {"", 0}};
    struct brk_interest in;
    brk_interest_init(&in, 1, release);
    struct brk_sub *subs[] = {add(&in, ">", ""), add(&in, "foo.*", ""), add(&in, "*", "")};
    struct brk_match m;
    for (int twice = 0; twice < 2; twice++) {
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            brk_interest_match(&in, str(cases[i].subject), &m);
            assert_int_equal(m.count, cases[i].leaves);
            brk_match_fini(&m);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(subs); i++) {
        brk_interest_remove(&in, subs[i]);
    }
    brk_interest_fini(&in);
}

/* More leaves than fit on the stack. */
static void many_leaves(void **state)
{
    (void)state;
    struct brk_interest in;
    brk_interest_init(&in, 1, release);
    struct brk_sub *subs[256];
    for (size_t bits = 0; bits < 256; bits++) {
        char text[64];
        size_t n = 0;
        for (int t = 0; t < 8; t++) {
            n += (size_t)sprintf(text + n, "%s%s", t > 0 ? "." : "",
                                 (bits >> t & 1) != 0 ? "*" : "x");
        }
        subs[bits] = add(&in, text, "");
    }
    struct brk_match m;
    for (int twice = 0; twice < 2; twice++) {
        brk_interest_match(&in, str("x.x.x.x.x.x.x.x"), &m);
        assert_int_equal(m.count, 256);
        for (size_t i = 0; i < 256; i++) {
            assert_int_equal(count_in(&m, subs[i]), 1);
        }
        brk_match_fini(&m);
    }
    for (size_t i = 0; i < 256; i++) {
        brk_interest_remove(&in, subs[i]);
    }
    brk_interest_fini(&in);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_walk),
        cmocka_unit_test(any_interest),
        cmocka_unit_test(odd_subjects),
        cmocka_unit_test(many_leaves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
