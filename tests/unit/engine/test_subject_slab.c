/* The slab of the subject index against a list of what was taken: handles lead to their slots,
 * slots do not move or overlap, and what is empty is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/subject_slab.h"

static uint64_t rng_state = 7;
static uint64_t rnd(uint64_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % n;
}

enum { TAKEN_MAX = 20000, CLASSES = 5 };
static const uint32_t strides[CLASSES] = {28, 44, 96, 1040, 67 * 1024};

struct taken {
    uint32_t handle;
    uint16_t cls;
    uint8_t fill;
    void *p;
};
static struct taken taken[TAKEN_MAX];
static size_t ntaken;

static void take(struct slab *s, uint16_t cls)
{
    struct taken *t = &taken[ntaken++];
    *t = (struct taken){.cls = cls, .fill = (uint8_t)rnd(256)};
    t->p = slab_take(s, cls, strides[cls], &t->handle);
    memset(t->p, t->fill, strides[cls]);
}

static void give(struct slab *s, size_t i)
{
    const struct taken *t = &taken[i];
    const uint8_t *p = slab_at(s, t->handle);
    assert_true(t->handle != 0 && t->handle <= INT32_MAX);
    assert_ptr_equal(p, t->p);
    for (uint32_t b = 0; b < strides[t->cls]; b++) {
        assert_int_equal(p[b], t->fill);
    }
    slab_give(s, t->handle);
    taken[i] = taken[--ntaken];
}

static void as_a_list(void **state)
{
    (void)state;
    struct slab s = {0};
    for (int round = 0; round < 6; round++) {
        size_t upto = round % 2 == 0 ? 9000 : 100;
        while (ntaken != upto) {
            if (ntaken < upto && rnd(4) != 0) {
                take(&s, (uint16_t)(rnd(300) == 0 ? 4 : rnd(4)));
            } else if (ntaken > 0) {
                give(&s, rnd(ntaken));
            }
        }
    }
    while (ntaken > 0) {
        give(&s, rnd(ntaken));
    }
    /* only the tables are left */
    assert_int_equal(s.bytes, s.cap * sizeof *s.chunks + s.nclasses * sizeof *s.classes);
    slab_fini(&s);
}

static void little_for_few(void **state)
{
    (void)state;
    struct slab s = {0};
    take(&s, 1);
    assert_true(s.bytes < 400);
    for (int i = 1; i < 15000; i++) {
        take(&s, 1);
    }
    assert_true(s.bytes < 15000 * 44 + 64 * 1024 + 2048); /* at most one chunk is not full */
    slab_fini(&s);
    ntaken = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_a_list),
                                       cmocka_unit_test(little_for_few)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
