/* HighwayHash-64 against the published vectors, and against what a nats-server wrote. */
#include "tests/lib/testlib.h"

#include "engine/base/base.h"
#include "engine/base/highway.h"

static void published(void **state)
{
    static const uint64_t want[] = {
        0x907A56DE22C26E53, 0x7EAB43AAC7CDDD78, 0xB8D0569AB0B53D62, 0x5C6BEFAB8A463D80,
        0xF205A46893007EDA, 0x2B8A1668E4A94541, 0xBD4CCC325BEFCA6F, 0x4D02AE1738F59482,
        0xE1205108E55F3171, 0x32D2644EC77A1584, 0xF6E10ACDB103A90B, 0xC3BBF4615B415C15,
        0x243CC2040063FA9C, 0xA89A58CE65E641FF, 0x24B031A348455A23, 0x40793F86A449F33B,
        0xCFAB3489F97EB832, 0x19FE67D2C8C5C0E2,
    };
    uint8_t key[32], data[64];
    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)i;
        if (i < 32) {
            key[i] = (uint8_t)i;
        }
    }
    for (size_t n = 0; n < ARRAY_LEN(want); n++) {
        assert_int_equal(highway64(key, data, n), want[n]);
    }
}

/* In any pieces the same. */
static void pieces(void **state)
{
    uint8_t key[32] = {7}, data[200];
    (void)state;
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 37);
    }
    for (size_t n = 0; n <= sizeof data; n++) {
        uint64_t whole = highway64(key, data, n);
        for (size_t step = 1; step < 70; step += 3) {
            struct highway h;
            highway_init(&h, key);
            for (size_t at = 0; at < n; at += step) {
                highway_add(&h, data + at, n - at < step ? n - at : step);
            }
            assert_int_equal(highway_end(&h), whole);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published),
        cmocka_unit_test(pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
