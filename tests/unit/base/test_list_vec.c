/* Intrusive list and growing array. */
#include "tests/lib/testlib.h"

#include "engine/base/list.h"
#include "engine/base/vec.h"

struct item {
    struct list_node link;
    int v;
};

static void list_keeps_order(void **state)
{
    (void)state;
    struct list l;
    list_init(&l);
    struct item it[4] = {{.v = 0}, {.v = 1}, {.v = 2}, {.v = 3}};
    assert_true(list_empty(&l));
    assert_null(list_first(&l));
    list_push_back(&l, &it[1].link);
    list_push_back(&l, &it[3].link);
    list_push_front(&l, &it[0].link);
    list_insert_before(&it[3].link, &it[2].link);
    int want = 0;
    LIST_EACH(&l, n)
    {
        assert_int_equal(CONTAINER_OF(n, struct item, link)->v, want++);
        if (want == 2) {
            list_remove(n); /* the walk goes on */
        }
    }
    assert_int_equal(want, 4);
    list_remove(&it[1].link); /* again: nothing happens */
    for (int left = 0; left < 4; left++) {
        if (left != 1) {
            assert_ptr_equal(list_first(&l), &it[left].link);
            list_remove(&it[left].link);
        }
    }
    assert_null(list_first(&l));
}

static void vec_grows_and_removes(void **state)
{
    (void)state;
    VEC(struct item) v = {0};
    for (int i = 0; i < 1000; i++) {
        VEC_PUSH(&v, (struct item){.v = i});
    }
    assert_int_equal(v.len, 1000);
    VEC_REMOVE(&v, 0);
    VEC_REMOVE(&v, 998);
    assert_int_equal(v.len, 998);
    assert_int_equal(v.items[0].v, 1);
    assert_int_equal(v.items[997].v, 998);
    VEC_RESERVE(&v, 5000);
    assert_true(v.cap >= 5998);
    VEC_FREE(&v);
    assert_int_equal(v.cap, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_keeps_order),
        cmocka_unit_test(vec_grows_and_removes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
