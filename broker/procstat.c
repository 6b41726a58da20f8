#include "broker/procstat.h"

#include <uv.h>

#include "engine/base/base.h"

static uint64_t tv_ns(uv_timeval_t t)
{
    return (uint64_t)t.tv_sec * (uint64_t)NS_PER_S + (uint64_t)t.tv_usec * (uint64_t)NS_PER_US;
}

void brk_procstat_get(struct brk_procstat *out)
{
    *out = (struct brk_procstat){.cores = uv_available_parallelism()};
    size_t rss = 0;
    if (uv_resident_set_memory(&rss) == 0) {
        out->mem_bytes = rss;
    }
    uv_rusage_t ru;
    if (uv_getrusage(&ru) == 0) {
        out->cpu_ns = tv_ns(ru.ru_utime) + tv_ns(ru.ru_stime);
    }
}
