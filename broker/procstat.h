/* What the process itself takes: memory, processor time, processors, for /varz. Loop thread; asks
 * the kernel, no disk. */
#ifndef BROKER_PROCSTAT_H
#define BROKER_PROCSTAT_H

#include <stdint.h>

struct brk_procstat {
    uint64_t mem_bytes; /* resident */
    uint64_t cpu_ns;    /* user and system, since the start */
    unsigned cores;
};

void brk_procstat_get(struct brk_procstat *out);

#endif
