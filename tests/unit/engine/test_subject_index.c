/* The subject index against a brute-force model: a flat list of (subject, sequence). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/base/subject.h"
#include "engine/subject_index.h"

static uint64_t rng_state = 42;
static uint64_t rnd(uint64_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % n;
}

enum { MODEL_MAX = 4000 };
struct row {
    char subj[40];
    uint64_t seq;
};
struct model {
    struct row v[MODEL_MAX]; /* ascending by sequence */
    size_t n;
};
static struct model model;

static void make_subject(char *out)
{
    static const char *const part[] = {"a",
                                       "b",
                                       "ab",
                                       "orders",
                                       "ordersx",
                                       "x1",
                                       "long-token-of-many-bytes",
                                       "long-token-of-many-bytez",
                                       "*x",
                                       "\xc3\xa9"};
    size_t tokens = 1 + rnd(3);
    out[0] = 0;
    for (size_t i = 0; i < tokens && strlen(out) < 12; i++) {
        if (i > 0) {
            strcat(out, ".");
        }
        if (rnd(3) == 0) {
            sprintf(out + strlen(out), "%u", (unsigned)rnd(60));
        } else {
            strcat(out, part[rnd(ARRAY_LEN(part))]);
        }
    }
}

static void make_filter(char *out)
{
    static const char *const fixed[] = {">",     "*",        "*.*",
                                        "a.>",   "*.a",      "a.*.b",
                                        "*.*.>", "orders.*", "long-token-of-many-bytes.>",
                                        "*x",    "*.*x",     "a",
                                        "zz",    "*.>"};
    if (rnd(2) == 0) {
        strcpy(out, fixed[rnd(ARRAY_LEN(fixed))]);
    } else if (model.n > 0) {
        strcpy(out, model.v[rnd(model.n)].subj);
    } else {
        strcpy(out, "a.b");
    }
}

static bool matches(const char *subj, const char *const *filters, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (subject_match(subj, strlen(subj), filters[i], strlen(filters[i]))) {
            return true;
        }
    }
    return n == 0;
}

struct seen {
    char last[64];
    size_t n, stop_at;
    const char *filter;
};

static bool see(void *arg, const struct sidx_entry *e)
{
    struct seen *s = arg;
    size_t len;
    const char *subj = sidx_subject(e, &len);
    char z[64];
    memcpy(z, subj, len);
    z[len] = 0;
    assert_true(strcmp(s->last, z) < 0);
    assert_true(subject_match(z, len, s->filter, strlen(s->filter)));
    strcpy(s->last, z);
    s->n++;
    return s->n != s->stop_at;
}

static int by_subject(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void check_match(const struct sidx *x, const char *filter)
{
    static char *subj[MODEL_MAX];
    size_t n = 0, distinct = 0;
    for (size_t i = 0; i < model.n; i++) {
        if (matches(model.v[i].subj, &filter, 1)) {
            subj[n++] = model.v[i].subj;
        }
    }
    qsort(subj, n, sizeof subj[0], by_subject);
    for (size_t i = 0; i < n; i++) {
        if (distinct == 0 || strcmp(subj[distinct - 1], subj[i]) != 0) {
            subj[distinct++] = subj[i];
        }
    }
    struct seen all = {.filter = filter};
    sidx_match(x, filter, strlen(filter), NULL, 0, see, &all);
    assert_int_equal(all.n, distinct);
    if (distinct > 0) { /* in two parts, the second continued behind any subject */
        struct seen part = {.filter = filter, .stop_at = 1 + rnd(distinct)};
        sidx_match(x, filter, strlen(filter), NULL, 0, see, &part);
        part.stop_at = 0;
        sidx_match(x, filter, strlen(filter), part.last, strlen(part.last), see, &part);
        assert_int_equal(part.n, distinct);
    }
    char after[64];
    make_subject(after);
    size_t want = 0;
    for (size_t i = 0; i < distinct; i++) {
        want += strcmp(subj[i], after) > 0;
    }
    struct seen behind = {.filter = filter};
    sidx_match(x, filter, strlen(filter), after, strlen(after), see, &behind);
    assert_int_equal(behind.n, want);
}

static void check_filters(const struct sidx *x)
{
    char text[3][64];
    const char *filters[3];
    struct sidx_filter f[3];
    size_t n = rnd(4);
    for (size_t i = 0; i < n; i++) {
        make_filter(text[i]);
        filters[i] = text[i];
        f[i] = (struct sidx_filter){text[i], strlen(text[i])};
    }
    uint64_t from = model.n == 0 ? 1 : rnd(model.v[model.n - 1].seq + 2);
    uint64_t count = 0, last = 0, want[16], got[16];
    size_t nwant = 0, max = 1 + rnd(16);
    for (size_t i = 0; i < model.n; i++) {
        const struct row *r = &model.v[i];
        if (matches(r->subj, filters, n) && r->seq >= from) {
            count++;
            if (nwant < max) {
                want[nwant++] = r->seq;
            }
        }
        if (n > 0 && matches(r->subj, filters, 1)) {
            last = r->seq;
        }
    }
    assert_int_equal(sidx_count_from(x, f, n, from), count);
    assert_int_equal(sidx_collect(x, f, n, from, got, max), nwant);
    assert_memory_equal(want, got, nwant * 8);
    if (n > 0) {
        assert_int_equal(sidx_last_match(x, f[0].s, f[0].len), last);
        check_match(x, text[0]);
    }
}

static void check_subject(const struct sidx *x, const char *subj)
{
    const struct sidx_entry *e = sidx_find(x, subj, strlen(subj));
    uint64_t count = 0;
    uint64_t from = model.n == 0 ? 1 : rnd(model.v[model.n - 1].seq + 2), next = 0, prev = 0,
             rank = 0;
    for (size_t i = 0; i < model.n; i++) {
        if (strcmp(model.v[i].subj, subj) != 0) {
            continue;
        }
        uint64_t seq = model.v[i].seq;
        assert_non_null(e);
        assert_int_equal(sidx_nth(e, count), seq);
        if (count == 0) {
            assert_int_equal(sidx_first(e), seq);
        }
        count++;
        next = next == 0 && seq >= from ? seq : next;
        prev = seq <= from ? seq : prev;
        rank += seq >= from;
    }
    if (e == NULL) {
        assert_int_equal(count, 0);
        return;
    }
    assert_int_equal(sidx_count(e), count);
    assert_int_equal(sidx_last(e), sidx_nth(e, count - 1));
    assert_int_equal(sidx_next(e, from), next);
    assert_int_equal(sidx_prev(e, from), prev);
    assert_int_equal(sidx_rank_from(e, from), rank);
    assert_ptr_equal(sidx_by_id(x, sidx_id(e)), e);
}

static void remove_row(struct sidx *x, size_t i)
{
    struct row *r = &model.v[i];
    if (rnd(2) == 0) {
        assert_true(sidx_remove(x, r->subj, strlen(r->subj), r->seq));
    } else {
        assert_true(sidx_remove_from(x, sidx_find(x, r->subj, strlen(r->subj)), r->seq));
    }
    assert_false(sidx_remove(x, r->subj, strlen(r->subj), r->seq));
    memmove(r, r + 1, (model.n - i - 1) * sizeof *r);
    model.n--;
}

static void test_random_walk(void **state)
{
    (void)state;
    struct sidx *x = sidx_create();
    uint64_t seq = 0;
    model.n = 0;
    for (int i = 0; i < 30000; i++) {
        /* grows for a while, then shrinks, so that nodes and postings pass through all their forms
         */
        bool grow = (i / 3000) % 2 == 0;
        if (model.n < MODEL_MAX && rnd(10) < (grow ? 7u : 2u)) {
            struct row *r = &model.v[model.n++];
            make_subject(r->subj);
            seq += rnd(50) == 0 ? 1 + rnd(3ull << 32) : 1 + rnd(3);
            r->seq = seq;
            const struct sidx_entry *e = sidx_add(x, r->subj, strlen(r->subj), seq);
            assert_int_equal(sidx_last(e), seq);
        } else if (model.n > 0) {
            remove_row(x, rnd(3) == 0 ? 0 : rnd(model.n));
        }
        if (rnd(4000) == 0 && model.n > 0) {
            size_t gone = rnd(model.n / 4 + 1);
            for (size_t k = 0; k < gone; k++) {
                const struct row *r = &model.v[k];
                assert_true(sidx_remove(x, r->subj, strlen(r->subj), r->seq));
            }
            memmove(model.v, model.v + gone, (model.n - gone) * sizeof model.v[0]);
            model.n -= gone;
        }
        if (i % 40 == 0) {
            char subj[64];
            make_subject(subj);
            check_subject(x, subj);
            check_filters(x);
        }
        if (i % 1000 == 0) {
            assert_true(sidx_check(x));
            struct sidx_stats st;
            sidx_stats_get(x, &st);
            assert_int_equal(st.msgs, model.n);
        }
    }
    while (model.n > 0) {
        remove_row(x, rnd(model.n));
    }
    assert_true(sidx_check(x));
    assert_null(sidx_find(x, "a", 1));
    sidx_destroy(x);
}

/* One subject with many postings: chunks, directory, holes at every place, floors. */
static void test_long_postings(void **state)
{
    (void)state;
    enum { N = 50000 };
    static uint64_t seqs[N];
    struct sidx *x = sidx_create();
    uint64_t seq = 0;
    for (size_t i = 0; i < N; i++) {
        seq += 1 + rnd(4) + (i % 9000 == 8999 ? 5ull << 32 : 0);
        seqs[i] = seq;
    }
    const struct sidx_entry *e = sidx_load(x, "s", 1, seqs, N / 2);
    for (size_t i = N / 2; i < N; i++) {
        assert_ptr_equal(sidx_add(x, "s", 1, seqs[i]), e);
    }
    assert_true(sidx_check(x));
    size_t n = N, lo = 0;
    bool *dead = base_calloc(N, sizeof *dead);
    while (n > 0) {
        if (rnd(2000) == 0) {
            size_t to = lo + rnd((N - lo) / 4 + 1), gone = 0;
            for (size_t i = lo; i < to; i++) {
                assert_int_equal(sidx_remove(x, "s", 1, seqs[i]), !dead[i]);
                gone += !dead[i];
                dead[i] = true;
            }
            lo = to;
            n -= gone;
        }
        size_t i = lo + rnd(N - lo);
        while (i < N && dead[i]) {
            i++;
        }
        if (i < N) {
            assert_true(sidx_remove(x, "s", 1, seqs[i]));
            dead[i] = true;
            n--;
        }
        while (lo < N && dead[lo]) {
            lo++;
        }
        if (n > 0 && rnd(300) == 0) {
            assert_true(sidx_check(x));
            assert_int_equal(sidx_count(e), n);
            size_t at = lo + rnd(N - lo), rank = 0, next = N;
            for (size_t k = N; k-- > at;) {
                rank += !dead[k];
                next = dead[k] ? next : k;
            }
            assert_int_equal(sidx_rank_from(e, seqs[at]), rank);
            assert_int_equal(sidx_next(e, seqs[at]), next == N ? 0 : seqs[next]);
            if (rank > 0) {
                assert_int_equal(sidx_nth(e, n - rank), seqs[next]);
            }
        }
    }
    assert_null(sidx_find(x, "s", 1));
    struct sidx_stats st;
    sidx_stats_get(x, &st);
    assert_int_equal(st.msgs, 0);
    base_free(dead);
    sidx_destroy(x);
}

/* Deep paths, every fan-out, and memory that comes back. */
static void test_shapes(void **state)
{
    (void)state;
    struct sidx *x = sidx_create();
    char s[700];
    memset(s, 'd', sizeof s);
    for (size_t len = 1; len <= 600; len++) {
        (void)sidx_add(x, s, len, len);
    }
    for (unsigned c = 1; c < 256; c++) {
        if (c == '.' || c == '*' || c == '>' || c == 'd') {
            continue;
        }
        char t[] = {'d', (char)c, 'q'};
        (void)sidx_add(x, t, 3, 1000 + c);
        (void)sidx_add(x, t, 2, 2000 + c);
    }
    assert_true(sidx_check(x));
    for (size_t len = 600; len >= 1; len--) {
        assert_true(sidx_remove(x, s, len, len));
    }
    assert_true(sidx_check(x));
    for (unsigned c = 1; c < 256; c++) {
        char t[] = {'d', (char)c, 'q'};
        (void)sidx_remove(x, t, 3, 1000 + c);
        assert_true(c % 16 != 0 || sidx_check(x));
    }
    assert_true(sidx_check(x));
    sidx_clear(x);
    assert_true(sidx_check(x));
    (void)sidx_add(x, "again", 5, 1);
    assert_int_equal(sidx_last_match(x, "*", 1), 1);
    assert_int_equal(sidx_next_match(x, ">", 1, 2), 0);
    sidx_destroy(x);
    sidx_destroy(NULL);
}

/* Subjects of every size, many of each: slots of all classes, given back and taken again. */
static void test_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {4, 5, 18, 600, 1030, 1031, 5000, SIDX_SUBJECT_MAX};
    struct sidx *x = sidx_create();
    char *s = base_malloc(SIDX_SUBJECT_MAX);
    uint64_t seq = 0, empty;
    struct sidx_stats st;
    memset(s, 'x', SIDX_SUBJECT_MAX);
    sidx_stats_get(x, &st);
    empty = st.memory_bytes;
    for (int round = 0; round < 2; round++) {
        uint64_t first = seq + 1;
        for (unsigned i = 0; i < 3000; i++) {
            size_t len = sizes[i % ARRAY_LEN(sizes)];
            sprintf(s, "%04x", i);
            s[4] = 'x';
            const struct sidx_entry *e = sidx_add(x, s, len, ++seq);
            assert_ptr_equal(sidx_by_id(x, sidx_id(e)), e);
        }
        assert_true(sidx_check(x));
        for (unsigned i = 0; i < 3000; i++) {
            assert_true(i != 1500 || sidx_check(x));
            sprintf(s, "%04x", i);
            s[4] = 'x';
            assert_true(sidx_remove(x, s, sizes[i % ARRAY_LEN(sizes)], first + i));
        }
        sidx_stats_get(x, &st);
        assert_int_equal(st.subjects, 0);
        assert_true(st.memory_bytes < empty + 64 * 1024); /* tables */
    }
    base_free(s);
    sidx_destroy(x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_walk),
        cmocka_unit_test(test_long_postings),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
