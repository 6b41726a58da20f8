#include "engine/store_time.h"

#include "engine/base/base.h"

#define FOLLOW_NS (60 * NS_PER_S)
#define DOWNTIME_MAX_NS (30 * 24 * 3600 * NS_PER_S)
#define STEP_SLACK_NS NS_PER_S

void store_time_init(struct store_time *t, int64_t real_ns, int64_t boot_ns, int64_t floor_ns,
                     int64_t hold_ns)
{
    memset(t, 0, sizeof *t);
    t->hold_ns = hold_ns;
    int64_t start = i64_max(real_ns, floor_ns);
    if (floor_ns != 0 && real_ns - floor_ns > DOWNTIME_MAX_NS) {
        start = floor_ns;
    }
    t->offset_ns = start - boot_ns;
    t->last_ns = start;
}

int64_t store_time_read(struct store_time *t, int64_t real_ns, int64_t boot_ns)
{
    int64_t now = boot_ns + t->offset_ns;
    int64_t ahead = real_ns - now;
    if (ahead >= -FOLLOW_NS && ahead <= FOLLOW_NS) {
        /* Small differences are followed; backwards only as far as T has not been given out. */
        now = i64_max(real_ns, t->last_ns);
        t->offset_ns = now - boot_ns;
        t->step_since_boot_ns = 0;
        t->alarm = TIME_FINE;
    } else if (ahead > FOLLOW_NS) {
        int64_t wanted = real_ns - boot_ns;
        bool same = t->step_since_boot_ns != 0 && wanted - t->step_ns < STEP_SLACK_NS &&
                    t->step_ns - wanted < STEP_SLACK_NS;
        if (!same) {
            t->step_ns = wanted;
            t->step_since_boot_ns = boot_ns;
        } else if (boot_ns - t->step_since_boot_ns >= t->hold_ns) {
            t->offset_ns = wanted;
            t->step_since_boot_ns = 0;
            now = real_ns;
        }
        t->alarm = TIME_WALL_AHEAD;
    } else {
        t->alarm = TIME_WALL_BEHIND;
    }
    if (now < t->last_ns) {
        now = t->last_ns;
    }
    t->last_ns = now;
    return now;
}
