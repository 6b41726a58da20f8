/* The meta task: a bounded queue of transactions in front of cat_commit_many. */
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/catalogue_priv.h"

/* Takes the oldest jobs, together at most CAT_TXN_ROWS_TARGET rows but at least one. */
static unsigned queue_take(struct cat *cat, struct cat_job *jobs)
{
    unsigned n = 0;
    size_t rows = 0;
    base_mutex_lock(&cat->queue_lock);
    while (cat->queue_len > 0 && n < CAT_MERGE_MAX) {
        struct cat_job *job = &cat->queue[cat->queue_head];
        rows += cat_txn_rows(job->txn);
        if (n > 0 && rows > CAT_TXN_ROWS_TARGET) {
            break;
        }
        jobs[n++] = *job;
        cat->queue_head = (cat->queue_head + 1) % CAT_QUEUE_MAX;
        cat->queue_len--;
    }
    base_mutex_unlock(&cat->queue_lock);
    return n;
}

static void commit_one_by_one(struct cat *cat, struct cat_job *jobs, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct err err = {0};
        uint64_t gen = 0;
        enum st st = cat_commit_many(cat, &jobs[i].txn, 1, &gen, &err);
        jobs[i].done(jobs[i].arg, jobs[i].txn, st, gen, &err);
    }
}

static uint64_t step(void *arg)
{
    struct cat *cat = arg;
    struct cat_job jobs[CAT_MERGE_MAX];
    struct cat_txn *txns[CAT_MERGE_MAX];
    struct err err = {0};
    uint64_t gen = 0;

    unsigned n = queue_take(cat, jobs);
    if (n == 0) {
        cat_maintain(cat);
        ballast_grow(&cat->ballast, 2 * cat->c4_bytes_max);
        return ENV_STEP_IDLE;
    }
    for (unsigned i = 0; i < n; i++) {
        txns[i] = jobs[i].txn;
    }
    enum st st = cat_commit_many(cat, txns, n, &gen, &err);
    if (n > 1 && st_advice(st) == ST_ADV_CALLER) {
        commit_one_by_one(cat, jobs, n); /* one of them is at fault, not its neighbours */
    } else {
        for (unsigned i = 0; i < n; i++) {
            jobs[i].done(jobs[i].arg, jobs[i].txn, st, gen, &err);
        }
    }
    cat_maintain(cat);
    return ENV_STEP_AGAIN;
}

enum st cat_start(struct cat *cat, struct err *err)
{
    ASSERT(cat->magic == CAT_MAGIC);
    ASSERT(cat->task == NULL);
    ASSERT(!cat->read_only);
    enum st st = env_task_start(cat->env, "meta", 0, step, cat, &cat->task, err);
    if (st == ST_OK) {
        base_mutex_lock(&cat->queue_lock);
        cat->queue_open = true;
        base_mutex_unlock(&cat->queue_lock);
        env_task_wake(cat->env, cat->task);
    }
    return st;
}

void cat_stop(struct cat *cat)
{
    struct cat_job jobs[CAT_MERGE_MAX];
    struct err err;
    unsigned n;

    base_mutex_lock(&cat->queue_lock);
    cat->queue_open = false;
    base_mutex_unlock(&cat->queue_lock);
    env_task_stop(cat->env, cat->task);
    cat->task = NULL;
    (void)err_set(&err, ST_CLOSED, 0, "the catalogue was closed");
    while ((n = queue_take(cat, jobs)) > 0) {
        for (unsigned i = 0; i < n; i++) {
            jobs[i].done(jobs[i].arg, jobs[i].txn, ST_CLOSED, 0, &err);
        }
    }
}

enum st cat_submit(struct cat *cat, struct cat_txn *txn, cat_done_fn done, void *arg)
{
    enum st st = ST_OK;
    ASSERT(done != NULL);
    base_mutex_lock(&cat->queue_lock);
    if (!cat->queue_open) {
        st = ST_CLOSED;
    } else if (cat->queue_len == CAT_QUEUE_MAX) {
        st = ST_AGAIN;
    } else {
        cat->queue[(cat->queue_head + cat->queue_len) % CAT_QUEUE_MAX] =
            (struct cat_job){.txn = txn, .done = done, .arg = arg};
        cat->queue_len++;
        env_task_wake(
            cat->env,
            cat->task); /* under the lock: cat_stop closes the queue before it stops the task */
    }
    base_mutex_unlock(&cat->queue_lock);
    return st;
}
