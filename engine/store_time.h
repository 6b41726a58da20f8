/* Store time T (RULES.md, "Store time"): unix ns that never goes back and does not believe sudden
 * jumps of the wall clock.
 *
 * T = boot clock + offset. While the wall is within 60 s of T the offset follows it (T waits for a
 * wall that is behind); a wall further ahead is believed only after it stayed put for hold_ns; a
 * wall further behind never pulls T back. Owner thread. */
#ifndef ENGINE_STORE_TIME_H
#define ENGINE_STORE_TIME_H

#include "engine/base/env.h"

enum store_time_alarm { TIME_FINE, TIME_WALL_AHEAD, TIME_WALL_BEHIND };

struct store_time {
    int64_t offset_ns;          /* T - boot */
    int64_t last_ns;            /* last T given out */
    int64_t hold_ns;            /* how long a forward step must stay put; 10 min */
    int64_t step_ns;            /* offset the wall asks for while it is not believed */
    int64_t step_since_boot_ns; /* 0 = no step is pending */
    enum store_time_alarm alarm;
};

/* floor_ns: the last durable store time of an earlier run (0 = none). A wall more than 30 days
 * ahead of it is a step, less is downtime. */
void store_time_init(struct store_time *t, int64_t real_ns, int64_t boot_ns, int64_t floor_ns,
                     int64_t hold_ns);
/* Reads T. */
int64_t store_time_read(struct store_time *t, int64_t real_ns, int64_t boot_ns);

#endif
