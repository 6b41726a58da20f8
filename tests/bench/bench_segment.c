/* Segments: 5 M messages of 128 B over 10 k subjects are flushed, opened as at start-up, read in
 * order and at random. One JSON line. Not part of `make test`. Build by `make
 * build/release/tests/bench/bench_segment`; an argument sets the number of messages. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/lib/seg_fixture.h"

#define SUBJECTS 10000u
#define PER_FLUSH 500000u
#define VIEWS_MAX 1024u

static uint64_t rng_state = 11;
static uint64_t rnd(uint64_t n)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % n;
}

static void must(enum st st, const struct err *err)
{
    if (st != ST_OK) {
        fprintf(stderr, "%s\n", err->msg);
        exit(1);
    }
}

struct stream {
    struct seg_view *v[VIEWS_MAX];
    size_t n;
    uint64_t bytes;
};

/* Log-like text: compresses, but not to nothing. */
static size_t make(uint8_t *out, uint64_t seq)
{
    char subj[32];
    char body[129];
    int subj_len = snprintf(subj, sizeof(subj), "orders.eu.%05u", (unsigned)rnd(SUBJECTS));
    int len =
        snprintf(body, sizeof(body),
                 "{\"id\":\"%016llx\",\"n\":%llu,\"state\":\"received\",\"sum\":%u.%02u,\"to\":\"",
                 (unsigned long long)rnd(UINT64_MAX), (unsigned long long)seq, (unsigned)rnd(1000),
                 (unsigned)rnd(100));
    while (len < 128) {
        body[len++] = (char)('a' + rnd(16));
    }
    struct msg m = {.seq = seq,
                    .ts_ns = (int64_t)seq * 1000,
                    .subj = (const uint8_t *)subj,
                    .subj_len = (uint16_t)subj_len,
                    .data = (const uint8_t *)body,
                    .data_len = 128};
    return msg_put(out, &m, FIX_SEED);
}

static void flush(struct seg_fix *f, struct stream *s, const struct seg_src *src, size_t n)
{
    struct seg_view *last = s->n != 0 ? s->v[s->n - 1] : NULL;
    struct seg_flush_req req = {.gid = FIX_GID,
                                .active =
                                    last != NULL && last->row.state == SEG_ACTIVE ? last : NULL,
                                .next_segno = last != NULL ? last->row.segno + 1 : 1,
                                .msgs = src,
                                .n = n};
    struct seg_flush_result out;
    struct err err = {0};
    must(seg_flush(f->segs, &req, &out, &err), &err);
    must(segs_sync_dirs(f->segs, FIX_GID, &err), &err);
    for (size_t i = 0; i < out.n; i++) {
        if (out.v[i].replaces_active) {
            seg_view_release(s->v[--s->n]);
        }
        s->v[s->n++] = out.v[i].view;
        out.v[i].view = NULL;
    }
    s->bytes += out.bytes_written;
    seg_flush_result_fini(&out);
}

static double ms_since(struct env *env, int64_t start)
{
    return (double)(env_boot_ns(env) - start) / 1e6;
}

static double write_all(struct seg_fix *f, struct stream *s, size_t total)
{
    uint8_t *bytes = base_malloc((size_t)PER_FLUSH * 256);
    struct seg_src *src = base_calloc(PER_FLUSH, sizeof(*src));
    double ms = 0;
    for (uint64_t seq = 1; seq <= total;) {
        size_t n = (size_t)u64_min(PER_FLUSH, total - seq + 1);
        uint8_t *p = bytes;
        for (size_t i = 0; i < n; i++) {
            size_t len = make(p, seq++);
            src[i] = (struct seg_src){.msg = p, .len = (uint32_t)len};
            p += len;
        }
        int64_t start = env_boot_ns(f->env);
        flush(f, s, src, n);
        ms += ms_since(f->env, start);
    }
    base_free(src);
    base_free(bytes);
    return ms;
}

static double open_all(struct seg_fix *f, struct stream *s, struct seen *seen)
{
    struct seg_row rows[VIEWS_MAX];
    struct seg_visitor v;
    struct err err = {0};
    size_t n = s->n;
    for (size_t i = 0; i < n; i++) {
        rows[i] = s->v[i]->row;
        seg_view_release(s->v[i]);
    }
    seg_fix_reopen(f);
    seen_visitor(&v, seen);
    int64_t start = env_boot_ns(f->env);
    for (size_t i = 0; i < n; i++) {
        must(seg_open(f->segs, &rows[i], &v, &s->v[i], &err), &err);
    }
    return ms_since(f->env, start);
}

static double read_in_order(struct seg_fix *f, struct stream *s, uint64_t *msgs)
{
    struct err err = {0};
    int64_t start = env_boot_ns(f->env);
    for (size_t i = 0; i < s->n; i++) {
        for (uint32_t k = 0; k < s->v[i]->ndata; k++) {
            struct block *b = NULL;
            must(reader_read_sync(f->segs, NULL, s->v[i], k, &b, &err), &err);
            *msgs += b->nmsgs;
            block_release(b);
        }
    }
    return ms_since(f->env, start);
}

static double read_random(struct seg_fix *f, struct stream *s, size_t total, unsigned n)
{
    struct err err = {0};
    int64_t start = env_boot_ns(f->env);
    for (unsigned i = 0; i < n; i++) {
        uint64_t seq = 1 + rnd(total);
        uint32_t no = 0;
        struct block *b = NULL;
        struct msg m;
        size_t at = seg_views_find(s->v, s->n, seq);
        if (!seg_view_block_of(s->v[at], seq, &no)) {
            exit(1);
        }
        must(reader_read_sync(f->segs, NULL, s->v[at], no, &b, &err), &err);
        must(block_find(b, seq, &m), &err);
        block_release(b);
    }
    return ms_since(f->env, start);
}

int main(int argc, char **argv)
{
    size_t total = argc > 1 ? strtoull(argv[1], NULL, 10) : 5000000;
    static struct stream s;
    struct seg_fix f;
    struct seen seen;
    uint64_t msgs = 0;
    seg_fix_open(&f, NULL, NULL);
    double write_ms = write_all(&f, &s, total);
    double open_ms = open_all(&f, &s, &seen);
    double order_ms = read_in_order(&f, &s, &msgs);
    double random_ms = read_random(&f, &s, total, 1000);
    uint64_t blocks = 0;
    for (size_t i = 0; i < s.n; i++) {
        blocks += s.v[i]->ndata;
        seg_view_release(s.v[i]);
    }
    printf("{\"bench\":\"segment\",\"msgs\":%zu,\"segments\":%zu,\"blocks\":%llu,\"bytes_per_msg\":"
           "%.1f,"
           "\"write_ms\":%.0f,\"write_msgs_s\":%.0f,\"open_ms\":%.1f,\"open_ns_per_msg\":%.1f,"
           "\"read_ms\":%.0f,"
           "\"read_msgs_s\":%.0f,\"random_get_us\":%.1f,\"seen\":%llu,\"damage\":%u}\n",
           total, s.n, (unsigned long long)blocks, (double)s.bytes / (double)total, write_ms,
           (double)total / write_ms * 1e3, open_ms, open_ms * 1e6 / (double)total, order_ms,
           (double)msgs / order_ms * 1e3, random_ms, (unsigned long long)seen.subject_msgs,
           seen_damage(&seen));
    seg_fix_close(&f);
    return 0;
}
