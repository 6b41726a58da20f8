/* Fuzz target: time zone files. Whatever is read as one gives offsets of at most a day and
 * stretches that lie ahead. */
#include <stdlib.h>

#include "broker/tzif.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t times[] = {INT64_MIN,   -4000000000,  0, 1774652400, 4000000000,
                                    40000000000, INT64_MAX - 1};
    struct tzif *z;
    int64_t until;
    if (tzif_parse(data, size, &z) != ST_OK) {
        return 0;
    }
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        int32_t east = tzif_offset(z, times[i], &until);
        if (east < -26 * 3600 || east > 26 * 3600 || until <= times[i]) {
            abort();
        }
    }
    tzif_destroy(z);
    return 0;
}
