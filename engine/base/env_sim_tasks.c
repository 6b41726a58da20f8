/* The scheduler: steps runnable tasks one at a time, chosen by the seed. */
#include "engine/base/env_sim_world.h"

enum st sim_task_start(struct env *e, const char *name, int nice, env_step_fn step, void *arg,
                       struct env_task **task_out, struct err *err)
{
    (void)nice;
    struct env_sim *sim = sim_of(e);
    *task_out = NULL;
    if (sim->down) {
        return err_set(err, ST_IO, 0, "could not start task \"%s\": the simulated machine is down",
                       name);
    }
    struct env_task *t = base_calloc(1, sizeof(*t));
    t->step = step;
    t->arg = arg;
    t->name = base_strdup(name);
    t->woken = true;
    t->due_ns = INT64_MAX;
    list_push_back(&sim->tasks, &t->link);
    *task_out = t;
    return ST_OK;
}

void sim_task_wake(struct env *e, struct env_task *t)
{
    (void)e;
    t->woken = true;
}

void sim_task_stop(struct env *e, struct env_task *t)
{
    (void)e;
    ASSERT(!t->stepping); /* in the real world it would wait for itself */
    list_remove(&t->link);
    base_free(t->name);
    base_free(t);
}

static bool task_runnable(const struct env_sim *sim, const struct env_task *t)
{
    return !t->dead && (t->woken || t->due_ns <= sim->boot_ns);
}

static uint64_t count_runnable(struct env_sim *sim)
{
    uint64_t count = 0;
    if (!sim->down) {
        LIST_EACH(&sim->tasks, n)
        {
            count += task_runnable(sim, task_of(n));
        }
    }
    return count;
}

static void task_step(struct env_sim *sim, struct env_task *t)
{
    t->woken = false;
    t->stepping = true;
    uint64_t rest = t->step(t->arg);
    t->stepping = false;
    if (rest == ENV_STEP_AGAIN) {
        t->woken = true;
    }
    /* "Idle" and far future alike: no timer. */
    t->due_ns =
        rest >= (uint64_t)(INT64_MAX - sim->boot_ns) ? INT64_MAX : sim->boot_ns + (int64_t)rest;
}

bool env_sim_step_one(struct env_sim *sim)
{
    uint64_t count = count_runnable(sim);
    if (count == 0) {
        return false;
    }
    uint64_t pick = prng_below(&sim->rng_tasks, count);
    LIST_EACH(&sim->tasks, n)
    {
        if (task_runnable(sim, task_of(n)) && pick-- == 0) {
            task_step(sim, task_of(n));
            break;
        }
    }
    return true;
}

uint64_t env_sim_run(struct env_sim *sim, uint64_t max_steps)
{
    uint64_t steps = 0;
    while (steps < max_steps && env_sim_step_one(sim)) {
        steps++;
    }
    return steps;
}

bool env_sim_idle(struct env_sim *sim)
{
    return count_runnable(sim) == 0;
}

int64_t env_sim_next_timer_ns(struct env_sim *sim)
{
    int64_t next = INT64_MAX;
    if (!sim->down) {
        LIST_EACH(&sim->tasks, n)
        {
            if (!task_of(n)->dead && task_of(n)->due_ns < next) {
                next = task_of(n)->due_ns;
            }
        }
    }
    return next;
}

bool env_sim_advance_to_timer(struct env_sim *sim)
{
    int64_t next = env_sim_next_timer_ns(sim);
    if (next == INT64_MAX) {
        return false;
    }
    if (next > sim->boot_ns) {
        env_sim_advance(sim, next - sim->boot_ns);
    }
    return true;
}

bool env_sim_run_until(struct env_sim *sim, bool (*is_done)(void *arg), void *arg,
                       uint64_t max_steps)
{
    for (uint64_t i = 0; i < max_steps && !is_done(arg); i++) {
        if (!env_sim_step_one(sim) && !env_sim_advance_to_timer(sim)) {
            break;
        }
    }
    return is_done(arg);
}
