/* Micro benchmarks of the in-memory structures of a stream; one JSON line each. Not part of `make
 * test`. Build by `make build/release/tests/bench/bench_index`. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/env.h"
#include "engine/dedup.h"
#include "engine/liveset.h"
#include "engine/subject_index.h"

static struct env *env;
static int64_t started_ns;

static void start(void)
{
    started_ns = env_boot_ns(env);
}
static void report(const char *what, uint64_t ops, double bytes_per)
{
    double ns = (double)(env_boot_ns(env) - started_ns);
    printf("{\"bench\":\"%s\",\"ops\":%llu,\"ms\":%.2f,\"ns_per_op\":%.1f,\"bytes_per\":%.1f}\n",
           what, (unsigned long long)ops, ns / 1e6, ns / (double)ops, bytes_per);
    fflush(stdout);
}

static uint64_t rng_state = 11;
static uint64_t rnd(uint64_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % n;
}

static double bytes_per(const struct sidx *x, uint64_t n)
{
    struct sidx_stats st;
    sidx_stats_get(x, &st);
    return (double)st.memory_bytes / (double)n;
}

/* 5 M messages over 10 k subjects: start-up, then what consumers and gets ask. */
static void bench_few_subjects(void)
{
    enum { SUBJECTS = 10000, PER = 500 };
    static uint64_t seqs[PER];
    char s[64];
    struct sidx *x = sidx_create();
    start();
    for (uint64_t i = 0; i < SUBJECTS; i++) {
        for (uint64_t k = 0; k < PER; k++) {
            seqs[k] = 1 + i + k * SUBJECTS;
        }
        (void)sidx_load(x, s, (size_t)sprintf(s, "orders.eu.%05u", (unsigned)i), seqs, PER);
    }
    report("load_5M_over_10k", (uint64_t)SUBJECTS * PER, bytes_per(x, (uint64_t)SUBJECTS * PER));
    start();
    for (uint64_t k = 0; k < 1000000; k++) {
        (void)sidx_add(x, s, (size_t)sprintf(s, "orders.eu.%05u", (unsigned)rnd(SUBJECTS)),
                       5000001 + k);
    }
    report("add_1M", 1000000, bytes_per(x, 6000000));
    struct sidx_filter f = {"orders.*.0*", 11}, g = {"orders.>", 8};
    start();
    uint64_t n = sidx_count_from(x, &f, 1, 2000000) + sidx_count_from(x, &g, 1, 2000000);
    report(n > 0 ? "count_from_wildcard_10k" : "?", 1, 0);
    static uint64_t out[256];
    start();
    uint64_t from = 1;
    for (int i = 0; i < 100; i++) {
        size_t got = sidx_collect(x, &g, 1, from, out, 256);
        from = out[got - 1] + 1;
    }
    report("collect_256_of_10k_subjects", 100, 0);
    start();
    for (uint64_t k = 1; k <= 1000000; k++) { /* limits: always the oldest */
        (void)sidx_remove(x, s,
                          (size_t)sprintf(s, "orders.eu.%05u", (unsigned)((k - 1) % SUBJECTS)), k);
    }
    report("evict_1M", 1000000, bytes_per(x, 5000000));
    start();
    sidx_destroy(x);
    report("destroy", SUBJECTS, 0);
}

static void bench_many_subjects(void)
{
    enum { SUBJECTS = 1000000 };
    char s[64];
    struct sidx *x = sidx_create();
    start();
    for (uint64_t i = 1; i <= SUBJECTS; i++) {
        (void)sidx_add(
            x, s,
            (size_t)sprintf(s, "device.%04u.sensor.%05u", (unsigned)rnd(10000), (unsigned)rnd(100)),
            i);
    }
    struct sidx_stats st;
    sidx_stats_get(x, &st);
    report("add_1M_device_sensor", SUBJECTS, bytes_per(x, st.subjects));
    start();
    uint64_t hits = 0;
    for (uint64_t i = 0; i < 1000000; i++) {
        size_t len =
            (size_t)sprintf(s, "device.%04u.sensor.%05u", (unsigned)rnd(10000), (unsigned)rnd(100));
        hits += sidx_find(x, s, len) != NULL;
    }
    report("find_1M", hits, 0);
    struct sidx_filter f = {"device.*.sensor.00042", 21};
    start();
    hits = sidx_count_from(x, &f, 1, 1);
    report("count_star_in_middle", hits, 0);
    sidx_destroy(x);
}

static void bench_one_subject(void)
{
    enum { N = 5000000 };
    struct sidx *x = sidx_create();
    start();
    for (uint64_t i = 1; i <= N; i++) {
        (void)sidx_add(x, "one", 3, i);
    }
    report("add_5M_one_subject", N, bytes_per(x, N));
    start();
    for (uint64_t i = 0; i < 200000; i++) {
        (void)sidx_remove(x, "one", 3, 1 + rnd(N));
    }
    report("remove_200k_middle", 200000, 0);
    const struct sidx_entry *e = sidx_find(x, "one", 3);
    start();
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        sum += sidx_rank_from(e, 1 + rnd(N));
    }
    report(sum > 0 ? "rank_5M" : "?", 100000, 0);
    sidx_destroy(x);
}

static void bench_liveset(void)
{
    struct liveset l;
    liveset_init(&l, 1, 1000000000);
    start();
    for (uint64_t i = 0; i < 1000000; i++) {
        (void)liveset_remove(&l, 1 + rnd(1000000000));
    }
    report("liveset_remove_1M_of_1G", 1000000, (double)l.memory_bytes / 1e9);
    start();
    uint64_t sum = 0;
    for (uint64_t i = 0; i < 10000; i++) {
        uint64_t a = 1 + rnd(1000000000);
        sum += liveset_rank(&l, a, 1000000001);
    }
    report(sum > 0 ? "liveset_rank_1G" : "?", 10000, 0);
    liveset_fini(&l);
}

static void bench_dedup(void)
{
    struct dedup d;
    dedup_init(&d);
    start();
    for (uint64_t i = 1; i <= 1000000; i++) {
        uint64_t seq;
        struct hash128 id = hash128(3, &i, sizeof i);
        if (!dedup_find(&d, id, &seq)) {
            dedup_add(&d, id, i, (int64_t)i);
        }
    }
    report("dedup_find_add_1M", 1000000, (double)dedup_memory_bytes(&d) / 1e6);
    start();
    (void)dedup_expire(&d, 1000000);
    report("dedup_expire_1M", 1000000, 0);
    dedup_fini(&d);
}

int main(void)
{
    env = env_real_create();
    bench_few_subjects();
    bench_many_subjects();
    bench_one_subject();
    bench_liveset();
    bench_dedup();
    env_real_destroy(env);
    return 0;
}
