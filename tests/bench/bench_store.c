/* Publishes through engine/store.h on the real disk, with `window` publishes outstanding: what the
 * engine alone can do. usage: bench_store [messages] [payload bytes] [window] [subjects] [dir];
 * prints one JSON line. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "engine/base/base.h"
#include "engine/engine.h"

struct bench {
    struct store *store;
    struct store_stream *s;
    int efd;
    uint64_t acked, failed;
};

static void ring(void *arg)
{
    uint64_t one = 1;
    if (write(((struct bench *)arg)->efd, &one, sizeof one) < 0) {
        abort();
    }
}

static void on_stream(void *arg, enum st st, struct store_stream *s, const struct err *err)
{
    if (st != ST_OK) {
        fprintf(stderr, "%s\n", err->msg);
        exit(1);
    }
    ((struct bench *)arg)->s = s;
}

static void on_append(void *arg, const struct store_append_result *r)
{
    struct bench *b = arg;
    b->acked++;
    b->failed += r->verdict != APPEND_STORED;
}

static void wait_bell(struct bench *b)
{
    uint64_t n;
    if (read(b->efd, &n, sizeof n) < 0) {
        abort();
    }
    b->store->ops->poll(b->store);
}

int main(int argc, char **argv)
{
    uint64_t total = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint32_t size = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 128;
    uint64_t window = argc > 3 ? strtoull(argv[3], NULL, 10) : 1000;
    unsigned subjects = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 1;
    const char *dir = argc > 5 ? argv[5] : "/tmp/bench_store";
    struct bench b = {.efd = eventfd(0, 0)};
    struct env *env = env_real_create();
    struct err err = {0};
    struct eng_opts o = {.store_dir = dir,
                         .max_file_bytes = UINT64_MAX,
                         .max_mem_bytes = UINT64_MAX,
                         .doorbell = ring,
                         .doorbell_arg = &b};
    if (eng_open(env, &o, &b.store, &err) != ST_OK) {
        fprintf(stderr, "bench_store: %s\n", err.msg);
        return 1;
    }
    struct stream_cfg cfg;
    stream_cfg_init(&cfg);
    cfg.account = base_strdup("$G");
    cfg.name = base_strdup("BENCH");
    b.s = b.store->ops->stream_find(b.store, "$G", "BENCH");
    if (b.s == NULL) {
        b.store->ops->stream_create(b.store, &cfg, on_stream, &b);
        b.store->ops->turn(b.store);
        while (b.s == NULL) {
            wait_bell(&b);
            b.store->ops->turn(b.store);
        }
    }
    stream_cfg_fini(&cfg);
    uint8_t *data = base_calloc(1, size + 1);
    int64_t t0 = env_boot_ns(env);
    uint64_t sent = 0;
    while (b.acked < total) {
        bool full = false;
        char subject[32];
        for (int i = 0; i < 256 && sent < total && sent - b.acked < window && !full; i++) {
            struct store_append a = {.subject = subject, .data = data, .data_len = size};
            a.subject_len = (uint32_t)snprintf(subject, sizeof subject, "bench.%u",
                                               (unsigned)(sent % subjects));
            full = b.store->ops->append(b.s, &a, on_append, &b) != ST_OK;
            sent += !full;
        }
        b.store->ops->turn(b.store);
        if (sent == total || sent - b.acked >= window || full) {
            wait_bell(&b);
        } else {
            b.store->ops->poll(b.store);
        }
    }
    double s = (double)(env_boot_ns(env) - t0) / 1e9;
    struct eng_info info;
    eng_info_get(b.store, &info);
    printf("{\"bench\":\"store_append\",\"messages\":%llu,\"bytes\":%u,\"window\":%llu,"
           "\"subjects\":%u,\"msgs_per_s\":%.0f,"
           "\"failed\":%llu,\"syncs\":%llu,\"journal_bytes\":%llu,\"checkpoints\":%llu,\"segment_"
           "bytes\":%llu}\n",
           (unsigned long long)total, size, (unsigned long long)window, subjects, (double)total / s,
           (unsigned long long)b.failed, (unsigned long long)info.syncs,
           (unsigned long long)info.journal_bytes_written, (unsigned long long)info.checkpoints,
           (unsigned long long)info.segment_bytes_written);
    eng_close(b.store);
    env_real_destroy(env);
    base_free(data);
    close(b.efd);
    return b.failed != 0;
}
