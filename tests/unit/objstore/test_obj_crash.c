/* From the n-th write or sync of the journal on they fail (n = 1, 2, ... until a run meets none),
 * while an object is replaced and keys are written, and then power is lost: afterwards the old
 * object stands whole, or the new one does (which it must, once it was acknowledged), and every
 * acknowledged key has its value. Every call is answered all the same. */
#include "tests/lib/testlib.h"

#include <stdio.h>

#include "kv/kv_sync.h"
#include "objstore/obj_sync.h"
#include "tests/lib/drivefix.h"

#define OBJECT_BYTES 300000u
#define KEYS 20u

struct bytes {
    uint64_t size, at;
    uint8_t salt;
    bool wrong;
};

static enum st source(void *arg, uint8_t *buf, size_t cap, size_t *n_out, struct err *err)
{
    struct bytes *s = arg;
    (void)err;
    *n_out = (size_t)u64_min(cap, s->size - s->at);
    for (size_t i = 0; i < *n_out; i++) {
        buf[i] = (uint8_t)((s->at + i) * 31 + s->salt);
    }
    s->at += *n_out;
    return ST_OK;
}

static enum st sink(void *arg, const uint8_t *data, size_t len, struct err *err)
{
    struct bytes *s = arg;
    (void)err;
    if (s->at == 0 && len > 0) {
        s->salt = data[0];
    }
    for (size_t i = 0; i < len; i++) {
        s->wrong = s->wrong || data[i] != (uint8_t)((s->at + i) * 31 + s->salt);
    }
    s->at += len;
    return ST_OK;
}

static enum st put(struct drivefix *f, struct obj_bucket *b, uint8_t salt)
{
    struct bytes s = {.size = OBJECT_BYTES, .salt = salt};
    struct obj_meta m = {.name = "o", .chunk_bytes = 20000};
    return obj_sync_put(&f->drive, b, &m, source, &s, NULL, NULL);
}

struct outcome {
    enum st object;
    unsigned keys; /* acknowledged */
};

/* fail_at 0: runs to the end. */
static struct outcome scenario(struct drivefix *f, uint64_t fail_at)
{
    struct outcome out = {0};
    struct err err = {0};
    struct obj_home oh = {f->store, f->env, "$G"};
    struct kv_home kh = {f->store, f->env, "$G"};
    struct obj_bucket *b;
    struct kv *kv;
    TEST_OK(obj_sync_create(&f->drive, &oh, &(struct obj_config){.bucket = "B"}, &b, &err), &err);
    TEST_OK(kv_sync_create(&f->drive, &kh, &(struct kv_config){.bucket = "B"}, &kv, &err), &err);
    TEST_OK(put(f, b, 1), NULL);
    if (fail_at > 0) {
        struct env_sim_fault fault = {
            .kinds = ENV_SIM_BIT(ENV_SIM_WRITE) | ENV_SIM_BIT(ENV_SIM_DATASYNC),
            .glob = "*/journal/*",
            .skip = fail_at - 1,
            .effect = fail_at % 2 == 0 ? ENV_SIM_FAIL : ENV_SIM_FAIL_PART};
        env_sim_fault(f->sim, &fault);
    }
    out.object = put(f, b, 2);
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        uint64_t rev;
        (void)snprintf(key, sizeof key, "k%u", i);
        if (kv_sync_put(&f->drive, kv, key, "v", 1, &rev, &err) != ST_OK) {
            break;
        }
        out.keys++;
    }
    kv_close(kv);
    obj_close(b);
    return out;
}

static void verify(struct drivefix *f, const struct outcome *out)
{
    struct err err = {0};
    struct obj_home oh = {f->store, f->env, "$G"};
    struct kv_home kh = {f->store, f->env, "$G"};
    struct obj_bucket *b;
    struct kv *kv;
    struct bytes s = {0};
    struct obj_sink to = {.arg = &s, .data = sink};
    TEST_OK(obj_open(&oh, "B", &b, &err), &err);
    TEST_OK(kv_open(&kh, "B", &kv, &err), &err);
    TEST_OK(obj_sync_get(&f->drive, b, "o", &(struct obj_get_opts){0}, &to, &err), &err);
    assert_false(s.wrong);
    assert_int_equal(s.at, OBJECT_BYTES);
    assert_true(s.salt == 2 || (s.salt == 1 && out->object != ST_OK));
    for (unsigned i = 0; i < out->keys; i++) {
        char key[16];
        struct kv_value v;
        (void)snprintf(key, sizeof key, "k%u", i);
        TEST_OK(kv_sync_get(&f->drive, kv, key, 0, &v, &err), &err);
        kv_value_fini(&v);
    }
    TEST_OK(put(f, b, 3), NULL); /* and it goes on */
    kv_close(kv);
    obj_close(b);
}

static void test_power_loss(void **state)
{
    (void)state;
    struct drivefix f;
    drivefix_init_as(&f, false, true, test_seed());
    struct outcome whole = scenario(&f, 0);
    assert_int_equal(whole.object, ST_OK);
    assert_int_equal(whole.keys, KEYS);
    drivefix_settle(&f);
    drivefix_fini(&f);
    bool hit = true;
    unsigned n = 0;
    while (hit) {
        n++;
        drivefix_init_as(&f, false, true, test_seed() + n);
        struct outcome out = scenario(&f, n);
        hit = env_sim_fault_hits(f.sim) > 0;
        eng_abandon(f.store);
        env_sim_faults_clear(f.sim);
        env_sim_power_loss(f.sim, test_seed() + n);
        drivefix_open_store(&f);
        verify(&f, &out);
        drivefix_settle(&f);
        drivefix_fini(&f);
    }
    assert_true(n > KEYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_power_loss)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
