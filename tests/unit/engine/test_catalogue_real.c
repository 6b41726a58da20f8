/* The catalogue on a real disk with its real thread: several threads submit, the meta task commits.
 */
#include "tests/lib/testlib.h"

#include <pthread.h>
#include <stdio.h>

#include "engine/catalogue.h"
#include "engine/store_file.h"

#define THREADS 3u
#define TXNS 120u

static struct {
    struct cat *cat;
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned done, failed, waiting; /* guarded by: lock */
} w = {.lock = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER};

static void on_done(void *arg, struct cat_txn *txn, enum st st, uint64_t gen, const struct err *err)
{
    (void)arg;
    (void)err;
    (void)pthread_mutex_lock(&w.lock);
    w.done++;
    w.waiting--;
    w.failed += st != ST_OK || gen > cat_generation(w.cat);
    (void)pthread_cond_broadcast(&w.moved);
    (void)pthread_mutex_unlock(&w.lock);
    cat_txn_destroy(txn);
}

static void *submitter(void *arg)
{
    uint32_t base = *(const uint32_t *)arg;
    char name[16];
    for (uint32_t i = 0; i < TXNS; i++) {
        struct cat_txn *txn = cat_txn_create();
        (void)snprintf(name, sizeof(name), "S%u", base + i);
        struct cat_stream s = {.gid = base + i, .account = {"$G", 2}, .name = {name, strlen(name)}};
        cat_put_stream(txn, &s);
        (void)pthread_mutex_lock(&w.lock);
        while (w.waiting >= CAT_QUEUE_MAX) { /* as an owner does: no more than the queue takes */
            (void)pthread_cond_wait(&w.moved, &w.lock);
        }
        w.waiting++;
        (void)pthread_mutex_unlock(&w.lock);
        enum st st = cat_submit(w.cat, txn, on_done, NULL);
        ASSERT(st == ST_OK);
    }
    return NULL;
}

static enum st count(void *arg, const struct cat_stream *row, struct err *err)
{
    (void)row;
    (void)err;
    *(unsigned *)arg += 1;
    return ST_OK;
}

static void test_threads(void **state)
{
    (void)state;
    struct env *env = env_real_create();
    char *dir = test_mkdtemp();
    struct store_ident id;
    enum store_file_note note;
    struct err err = {0};
    pthread_t threads[THREADS];
    uint32_t bases[THREADS];
    unsigned streams = 0;

    TEST_OK(store_file_open(env, dir, true, &id, &note, &err), &err);
    struct cat_opts opts = {
        .root = dir, .store_uuid = id.store_uuid, .crc_seed = id.crc_seed, .create = true};
    TEST_OK(cat_open(env, &opts, &w.cat, &err), &err);
    TEST_OK(cat_start(w.cat, &err), &err);
    for (uint32_t i = 0; i < THREADS; i++) {
        bases[i] = 1 + i * 1000;
        assert_int_equal(pthread_create(&threads[i], NULL, submitter, &bases[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    (void)pthread_mutex_lock(&w.lock);
    while (w.done < THREADS * TXNS) {
        (void)pthread_cond_wait(&w.moved, &w.lock);
    }
    assert_int_equal(w.failed, 0);
    (void)pthread_mutex_unlock(&w.lock);
    (void)cat_ballast_release(w.cat);
    assert_int_equal(cat_incidents(w.cat, NULL, NULL), 0);
    cat_stop(w.cat);
    cat_close(w.cat, true);
    opts.create = false;
    TEST_OK(cat_open(env, &opts, &w.cat, &err), &err);
    TEST_OK(cat_load(w.cat, &(struct cat_loader){.stream = count}, &streams, &err), &err);
    assert_int_equal(streams, THREADS * TXNS);
    cat_close(w.cat, false);
    test_rmdir(dir);
    env_real_destroy(env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests_name("catalogue, real", tests, NULL, NULL);
}
