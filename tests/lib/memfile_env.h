/* An env with exactly one file, in memory and read-only, whatever its path: for bit flips and
 * fuzzing, where a real file would cost more than what is tested. Writes are refused; tasks do not
 * exist. */
#ifndef TESTS_LIB_MEMFILE_ENV_H
#define TESTS_LIB_MEMFILE_ENV_H

#include "engine/base/env.h"

struct memfile_env {
    struct env env;
    const uint8_t *bytes; /* borrowed */
    size_t len;
    bool missing; /* open says ST_NOTFOUND */
    uint64_t reads;
};
void memfile_env_init(struct memfile_env *m);

#endif
