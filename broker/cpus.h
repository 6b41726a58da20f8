/* How many processors the process may use: what decides whether its loop may poll before it sleeps.
 * Where the machine has one, polling would keep from running what is polled for; where a control
 * group limits the time (a container with a CPU limit, systemd's CPUQuota), polling would use it up
 * and the whole process would be held. Main thread, at start; reads small files of /sys and /proc.
 */
#ifndef BROKER_CPUS_H
#define BROKER_CPUS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/env.h"

#define BRK_CPUS_NO_QUOTA INT64_MAX

/* Percent of one processor that a control group's cpu.max allows ("50000 100000" is 50);
 * BRK_CPUS_NO_QUOTA for "max ..." and for what is no such file. */
int64_t brk_cpus_quota_of(const char *text);
/* The least of our control group and those above it (version 2), percent of one processor. */
int64_t brk_cpus_quota(struct env *env);
/* Processors that are online on the machine, whether we may run on all of them or not. */
unsigned brk_cpus_online(void);
/* True when a loop that polls leaves a processor for others: two are online and the quota, if there
 * is one, is that of two. */
bool brk_cpus_to_spare(struct env *env);

#endif
