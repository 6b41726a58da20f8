#include "broker/spin.h"

void brk_spin_init(struct brk_spin *s, int64_t window_ns)
{
    ASSERT(window_ns >= 0);
    *s = (struct brk_spin){.window_ns = window_ns, .rest_ns = BRK_SPIN_REST_NS_MIN};
}

bool brk_spin_due(struct brk_spin *s)
{
    if (s->window_ns == 0) {
        return false;
    }
    if (s->skip_left > 0) {
        s->skip_left--;
        return false;
    }
    return true;
}

int64_t brk_spin_window(const struct brk_spin *s, int64_t now_ns)
{
    return s->credit == 0 && now_ns < s->rest_until_ns ? 0 : s->window_ns;
}

static void hit(struct brk_spin *s)
{
    s->hits++;
    if (s->credit < BRK_SPIN_CREDIT_MAX) {
        s->credit++;
    }
    if (s->credit == BRK_SPIN_CREDIT_MAX) {
        s->rest_ns = BRK_SPIN_REST_NS_MIN;
    }
}

static void miss(struct brk_spin *s, int64_t now_ns)
{
    s->misses++;
    if (s->credit > BRK_SPIN_MISS) {
        s->credit -= BRK_SPIN_MISS;
        return;
    }
    s->credit = 0;
    s->rest_until_ns = now_ns + s->rest_ns;
    s->rest_ns = s->rest_ns * 2 < BRK_SPIN_REST_NS_MAX ? s->rest_ns * 2 : BRK_SPIN_REST_NS_MAX;
}

void brk_spin_ended(struct brk_spin *s, enum brk_spin_end end, int64_t began_ns, int64_t now_ns)
{
    if (end == BRK_SPIN_READY) {
        s->skip = s->skip == 0 ? 1 : (uint32_t)u64_min(s->skip * 2, BRK_SPIN_SKIP_MAX);
        s->skip_left = s->skip;
        return;
    }
    s->skip = 0;
    s->spun_ns += now_ns > began_ns ? (uint64_t)(now_ns - began_ns) : 0;
    /* An event seen late counts as none: others needed the processor, and got it instead of us. */
    if (end == BRK_SPIN_CAME && now_ns - began_ns <= s->window_ns) {
        hit(s);
    } else {
        miss(s, now_ns);
    }
}
