/* Fuzz target: Snappy and S2. Blocks and streams that come from outside; and what we pack must
 * unpack to the same. The first byte says which. */
#include <stdlib.h>

#include "engine/base/snappy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void block(const uint8_t *in, size_t n)
{
    size_t len, head;
    if (s2_block_len(in, n, &len, &head) == ST_OK && len <= 1u << 20) {
        uint8_t *out = malloc(len + 1);
        (void)!s2_block_get(in, n, out, len);
        free(out);
    }
}

static void there_and_back(const uint8_t *in, size_t n)
{
    if (n > SNAPPY_RAW_MAX) {
        return;
    }
    uint8_t *packed = malloc(snappy_bound(n)), *out = malloc(n + 1);
    size_t m = snappy_block_put(in, n, packed);
    if (m > snappy_bound(n) || s2_block_get(packed, m, out, n) != ST_OK ||
        (n > 0 && memcmp(in, out, n) != 0)) {
        abort();
    }
    free(packed);
    free(out);
}

/* In pieces of any size the same bytes, and the same end. */
static void stream(const uint8_t *in, size_t n, size_t step)
{
    struct s2_reader whole = {0}, parts = {0};
    const uint8_t *p = in, *raw;
    size_t left = n, len, a = 0, b = 0;
    enum st st, st2 = ST_AGAIN;
    while ((st = s2_read(&whole, &p, &left, &raw, &len)) == ST_OK) {
        a += len;
    }
    for (size_t at = 0; at < n && st2 == ST_AGAIN; at += step) {
        p = in + at;
        left = n - at < step ? n - at : step;
        while ((st2 = s2_read(&parts, &p, &left, &raw, &len)) == ST_OK) {
            b += len;
        }
    }
    if (st != st2 || a != b) {
        abort();
    }
    s2_reader_fini(&whole);
    s2_reader_fini(&parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    switch (data[0] % 3) {
    case 0:
        block(data + 1, size - 1);
        break;
    case 1:
        there_and_back(data + 1, size - 1);
        break;
    default:
        stream(data + 2, size - 2, 1 + data[1]);
        break;
    }
    return 0;
}
