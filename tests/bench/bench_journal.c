/* How fast records get through the journal of a real disk: one owner thread, one lane.
 *
 *   bench_journal [--bytes 128] [--seconds 3] [--outstanding 1000000] [--tail-mib 100] [--dir DIR]
 *
 * Every record asks for a sync. `outstanding` bounds what is committed and not yet durable (1 = a
 * lone synchronous publisher). Prints one JSON line; then how long a recovery of what was written
 * takes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "engine/base/log.h"
#include "engine/base/env.h"
#include "engine/journal.h"
#include "tests/lib/testlib.h"

struct bell {
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool rung;
};

static void ring(void *arg)
{
    struct bell *b = arg;
    pthread_mutex_lock(&b->mu);
    b->rung = true;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->mu);
}

static void wait_bell(struct bell *b)
{
    pthread_mutex_lock(&b->mu);
    while (!b->rung) {
        pthread_cond_wait(&b->cond, &b->mu);
    }
    b->rung = false;
    pthread_mutex_unlock(&b->mu);
}

struct run {
    struct env *env;
    struct jr *jr;
    struct jw *jw;
    struct bell bell;
    uint64_t oseq;
    uint64_t durable; /* records */
    uint64_t last_lsn;
    uint32_t len;
    uint8_t payload[1 << 20];
};

static void on_entry(void *arg, uint64_t ticket, const struct jr_entry *e)
{
    struct run *r = arg;
    (void)ticket;
    r->durable += e->nrec;
    r->last_lsn = e->last_lsn;
}

static bool put(struct run *r)
{
    struct msg m = {.seq = r->oseq + 1,
                    .ts_ns = 1,
                    .subj = (const uint8_t *)"orders.received",
                    .subj_len = 15,
                    .data = r->payload,
                    .data_len = r->len};
    size_t len = REC_HEAD_SIZE + (size_t)msg_size(m.subj_len, 0, m.data_len);
    uint8_t *p;
    struct jr_chunk *chunk;
    uint32_t off;
    if (jw_reserve(r->jw, len, false, &p, &chunk, &off) != ST_OK) {
        return false;
    }
    size_t body = msg_put(p + REC_HEAD_SIZE, &m, 1);
    rec_seal(p, REC_APPEND, 0, 1, 0, (uint32_t)r->oseq, 0, body, 1);
    struct jw_rec w = {.user = r,
                       .gid = 1,
                       .oseq = r->oseq,
                       .last_seq = m.seq,
                       .floor = 1,
                       .type = REC_APPEND,
                       .sync = true};
    (void)jw_commit(r->jw, &w, len);
    r->oseq++;
    return true;
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static enum st count_record(void *arg, uint64_t lsn, const struct rec *r, const uint8_t *bytes,
                            struct jr_chunk *chunk, uint64_t wall_ns, struct err *err)
{
    uint64_t *n = arg;
    (void)lsn;
    (void)r;
    (void)bytes;
    (void)chunk;
    (void)wall_ns;
    (void)err;
    (*n)++;
    return ST_OK;
}

static void work(struct run *r, double seconds, uint64_t outstanding)
{
    int64_t end = env_boot_ns(r->env) + (int64_t)(seconds * 1e9);
    while (env_boot_ns(r->env) < end) {
        unsigned turn = 0; /* one loop turn: what a few sockets hold */
        while (turn < 512 && r->oseq - r->durable < outstanding && put(r)) {
            turn++;
        }
        jw_seal(r->jw);
        (void)jw_poll(r->jw, on_entry, r);
        jr_release(r->jr, r->last_lsn, 1);
        if (turn == 0 && r->durable < r->oseq) {
            wait_bell(&r->bell);
        }
    }
    for (;;) {
        (void)jw_poll(r->jw, on_entry, r);
        if (r->durable == r->oseq) {
            break;
        }
        wait_bell(&r->bell);
    }
}

/* Not released: what the recovery below reads. */
static void fill_tail(struct run *r, uint64_t bytes)
{
    uint64_t until = r->oseq + bytes / (r->len + 80);
    while (r->durable < until) {
        unsigned turn = 0;
        while (turn < 512 && r->oseq < until && put(r)) {
            turn++;
        }
        jw_seal(r->jw);
        (void)jw_poll(r->jw, on_entry, r);
        if (turn == 0 && r->durable < r->oseq) {
            wait_bell(&r->bell);
        }
    }
}

static void recovery(struct run *r, const struct jr_opts *o, uint64_t from_lsn)
{
    struct err err = {0};
    struct jr_recovered rec;
    uint64_t n = 0;
    struct jr_visitor v = {.arg = &n, .record = count_record};
    int64_t from = env_boot_ns(r->env);
    TEST_OK(jr_open(r->env, o, &r->jr, &err), &err);
    TEST_OK(jr_recover(r->jr, from_lsn, 0, &v, &rec, &err), &err);
    double took = (double)(env_boot_ns(r->env) - from) * 1e-9;
    printf("{\"name\":\"journal_recovery\",\"records\":%llu,\"bytes\":%llu,\"seconds\":%.3f,"
           "\"records_per_s\":%.0f}\n",
           (unsigned long long)n, (unsigned long long)(rec.end_lsn - from_lsn), took,
           (double)n / took);
    jr_close(r->jr);
}

int main(int argc, char **argv)
{
    double seconds = 3;
    uint64_t outstanding = 1000000;
    uint64_t tail_mib = 100;
    const char *dir = NULL;
    struct run *r = base_calloc(1, sizeof(*r));
    r->len = 128;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--bytes") == 0) {
            r->len = (uint32_t)u64_min(strtoull(argv[i + 1], NULL, 10), sizeof(r->payload));
        } else if (strcmp(argv[i], "--seconds") == 0) {
            seconds = strtod(argv[i + 1], NULL);
        } else if (strcmp(argv[i], "--outstanding") == 0) {
            outstanding = u64_max(1, strtoull(argv[i + 1], NULL, 10));
        } else if (strcmp(argv[i], "--tail-mib") == 0) {
            tail_mib = strtoull(argv[i + 1], NULL, 10);
        } else if (strcmp(argv[i], "--dir") == 0) {
            dir = argv[i + 1];
        }
    }
    char *tmp = dir == NULL ? test_mkdtemp() : NULL;
    char path[4096];
    (void)snprintf(path, sizeof(path), "%s/journal/0", dir != NULL ? dir : tmp);
    pthread_mutex_init(&r->bell.mu, NULL);
    pthread_cond_init(&r->bell.cond, NULL);
    r->env = env_real_create();
    struct jr_opts o = {.dir = path,
                        .crc_seed = 1,
                        .file_min_bytes = 4 * MIB,
                        .file_max_bytes = 64 * MIB,
                        .window_bytes = 4 * GIB,
                        .doorbell = ring,
                        .doorbell_arg = &r->bell};
    struct err err = {0};
    struct jr_recovered rec;
    struct jr_visitor v = {0};
    TEST_OK(jr_open(r->env, &o, &r->jr, &err), &err);
    TEST_OK(jr_recover(r->jr, 0, 0, &v, &rec, &err), &err);
    TEST_OK(jr_start(r->jr, 1, &err), &err);
    TEST_OK(jw_create(r->jr, &r->jw, &err), &err);
    double cpu = cpu_s();
    int64_t from = env_boot_ns(r->env);
    work(r, seconds, outstanding);
    double took = (double)(env_boot_ns(r->env) - from) * 1e-9;
    cpu = cpu_s() - cpu;
    struct jr_stats s;
    jr_stats_get(r->jr, &s);
    printf("{\"name\":\"journal_write\",\"record_bytes\":%u,\"outstanding\":%llu,\"durability\":"
           "\"every ticket synced\","
           "\"records\":%llu,\"seconds\":%.3f,\"records_per_s\":%.0f,\"records_per_cpu_s\":%.0f,"
           "\"syncs\":%llu,"
           "\"sync_us_mean\":%.0f,\"bytes_written\":%llu,\"mb_per_s\":%.1f,\"files_created\":%llu,"
           "\"files_recycled\":%llu}\n",
           r->len, (unsigned long long)outstanding, (unsigned long long)r->durable, took,
           (double)r->durable / took, (double)r->durable / cpu, (unsigned long long)s.syncs,
           s.syncs != 0 ? (double)s.sync_ns_total / (double)s.syncs / 1000 : 0,
           (unsigned long long)s.bytes_written, (double)s.bytes_written / took / 1e6,
           (unsigned long long)s.files_created, (unsigned long long)s.files_recycled);
    uint64_t end;
    uint64_t tail_from = r->last_lsn;
    fill_tail(r, tail_mib * MIB);
    TEST_OK(jr_stop(r->jr, &end, &err), &err);
    jw_destroy(r->jw);
    jr_close(r->jr);
    recovery(r, &o, tail_from);
    env_real_destroy(r->env);
    base_free(r);
    test_rmdir(tmp);
    return 0;
}
