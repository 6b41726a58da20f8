/* One flipped bit at a time anywhere in a store of about 200 messages, 3 streams and 4 consumers,
 * after a clean stop and after a kill with the idle group written (I18). Each time the store opens,
 * no stream or consumer is missing, no wrong byte is served and nothing removed comes back,
 * sequences are not issued again; at most one record (journal) or one block (segment) is lost and
 * nothing by a flip elsewhere, and a loss is reported.
 *
 * bit_flips [--count N] [--seed S]: N flips, drawn; --all: every bit of every byte that is in use;
 * --file PART --off N --bit N
 * [--kill]: one. Free space (pages of zeros) is only sampled. */
#include <stdio.h>
#include <string.h>

#include "engine/base/env_sim_world.h"
#include "engine/consumer_impl.h"
#include "engine/eng.h"
#include "tests/sim/sim_main.h"
#include "tests/sim/sim_world.h"

struct range {
    char path[120];
    uint64_t off, len;
    bool free_space;
};
struct store_image {
    struct world w;
    struct env_sim_disk *disk; /* owned */
    int64_t real_ns, boot_ns;
    uint8_t boot_id[16];
    struct range *v; /* owned */
    size_t n, cap;
    uint64_t used_bytes;
    bool clean;
};
struct flip {
    const char *path;
    uint64_t off;
    unsigned bit;
};

static uint64_t losses;

/* --- the store -------------------------------------------------------------------------------- */

static void add_range(struct store_image *im, const char *path, uint64_t off, uint64_t len,
                      bool free_space)
{
    if (im->n == im->cap) {
        im->cap = im->cap == 0 ? 64 : im->cap * 2;
        im->v = base_realloc(im->v, im->cap * sizeof *im->v);
    }
    struct range *r = &im->v[im->n++];
    snprintf(r->path, sizeof r->path, "%s", path);
    r->off = off;
    r->len = len;
    r->free_space = free_space;
    im->used_bytes += free_space ? 0 : len;
}

static void on_file(void *arg, const char *path, uint64_t size)
{
    struct store_image *im = arg;
    const char *name = strrchr(path, '/') + 1;
    if (strcmp(name, "LOCK") == 0 || strcmp(name, "ballast") == 0 ||
        strncmp(name, "spare-", 6) == 0) {
        return;
    }
    for (uint64_t off = 0; off < size; off += 4096) {
        uint8_t page[4096];
        uint64_t len = size - off < 4096 ? size - off : 4096;
        bool zero = true;
        ASSERT(env_sim_file_read(im->w.sim, path, off, page, len) == ST_OK);
        for (uint64_t i = 0; i < len; i++) {
            zero = zero && page[i] == 0;
        }
        add_range(im, path, off, len, zero);
    }
}

static void publish(struct world *w, uint32_t slot, unsigned n, uint32_t max)
{
    for (unsigned i = 0; i < n; i++) {
        sw_publish(w, sw_slot(w, slot), 1 + (uint32_t)prng_below(&w->rnd, max));
        if (i % 5 == 4) {
            sw_settle(w);
        }
    }
    sw_settle(w);
}

static void work(struct world *w, uint32_t slot, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        sw_fetch(w, sw_slot(w, slot));
        sw_ack_some(w, sw_slot(w, slot));
    }
    sw_settle(w);
}

static void checkpoint(struct world *w)
{
    sw_checkpoint(w);
    sw_settle(w);
    for (int i = 0; i < 3; i++) {
        sw_advance(w, NS_PER_S);
        sw_settle(w);
    }
}

static void build(struct store_image *im, bool clean)
{
    struct world *w = &im->w;
    struct stream_cfg cfg;
    memset(im, 0, sizeof *im);
    im->clean = clean;
    sw_init(w, 4711);
    w->opts.journal_file_min_bytes = w->opts.journal_file_max_bytes = 128 * KIB;
    w->opts.journal_window_bytes = 4 * MIB;
    w->opts.sync_interval_ns = 0;
    if (!sw_open(w)) {
        return;
    }
    stream_cfg_init(&cfg);
    cfg.duplicates_ns = 3600 * NS_PER_S;
    sw_stream_create(w, 0, &cfg);
    cfg.retention = RETENTION_WORKQUEUE;
    sw_stream_create(w, 1, &cfg);
    cfg.retention = RETENTION_LIMITS;
    cfg.max_msgs = 30;
    cfg.max_msgs_per_subject = 4;
    sw_stream_create(w, 2, &cfg);
    stream_cfg_fini(&cfg);
    sw_settle(w);
    for (unsigned i = 0;
         i < 40 && sw_slot(w, 0)->md.ncons + sw_slot(w, 1)->md.ncons + sw_slot(w, 2)->md.ncons < 4;
         i++) {
        struct sw_inst *in = sw_slot(w, i % 3);
        if (in->md.ncons < (i % 3 == 0 ? 2u : 1u)) {
            sw_cons_create(w, in);
        }
        sw_settle(w);
    }
    publish(w, 0, 30, 600);
    publish(w, 1, 25, 400);
    publish(w, 2, 20, 60);
    work(w, 0, 4);
    work(w, 1, 4);
    checkpoint(w);
    publish(w, 0, 25, 900);
    publish(w, 1, 20, 900);
    work(w, 1, 5);
    sw_delete_msg(w, sw_slot(w, 0));
    sw_delete_msg(w, sw_slot(w, 0));
    checkpoint(w);
    publish(w, 0, 20, 300);
    publish(w, 2, 25, 100);
    publish(w, 1, 15, 300);
    sw_delete_msg(w, sw_slot(w, 0));
    sw_stream_update(w, sw_slot(w, 2));
    work(w, 0, 3);
    work(w, 1, 3);
    work(w, 2, 3);
    publish(w, 0, 15, 3000);
    sw_delete_msg(w, sw_slot(w, 0));
    sw_settle(w);
    for (int i = 0; i < 20; i++) { /* the last deltas, and the idle group */
        sw_advance(w, 20 * NS_PER_MS);
        sw_settle(w);
    }
    ASSERT(sw_compare(w));
    if (clean) {
        sw_close(w);
    } else {
        sw_abandon(w);
        env_sim_process_crash(w->sim);
    }
    im->disk = env_sim_disk_save(w->sim);
    im->real_ns = w->sim->real_ns;
    im->boot_ns = w->sim->boot_ns;
    memcpy(im->boot_id, w->sim->boot_id, 16);
    env_sim_each_file(w->sim, on_file, im);
}

static void image_fini(struct store_image *im)
{
    env_sim_disk_free(im->disk);
    base_free(im->v);
    sw_fini(&im->w);
}

/* --- one flip --------------------------------------------------------------------------------- */

struct lost {
    struct store_stream *s;
    uint64_t n, lo, hi;
    unsigned streams;
};

static void count_incident(void *arg, const char *account, const char *stream, const char *text)
{
    (void)account;
    (void)stream;
    (void)text;
    ++*(uint64_t *)arg;
}

static bool same_block(const struct store_stream *s, uint64_t lo, uint64_t hi)
{
    uint32_t a, b;
    for (size_t i = 0; s->segs != NULL && i < s->segs->n; i++) {
        struct seg_view *v = s->segs->v[i];
        if (lo >= v->row.first_seq && hi <= v->row.last_seq) {
            return seg_view_block_of(v, lo, &a) && seg_view_block_of(v, hi, &b) && a == b;
        }
    }
    return true; /* the file itself is unknown to the store: one flip cannot do that, the caller
                    sees the damage */
}

static void check_messages(struct world *w, struct env_sim *sim, struct store *store,
                           struct sw_inst *in, struct store_stream *h, struct lost *lost)
{
    char why[200];
    uint64_t before = lost->n;
    if (h->last_seq < in->md.last_seq) {
        sw_fail(w, "i%u: last sequence %llu, it was %llu", in->uid, (unsigned long long)h->last_seq,
                (unsigned long long)in->md.last_seq);
    }
    for (uint64_t seq = in->md.first_made; seq <= h->last_seq && !w->failed; seq++) {
        struct md_msg *want = md_find(&in->md, seq);
        struct msg m;
        enum st st = sw_read(sim, store, h, seq, &m);
        if (want == NULL || !want->live) {
            if (st == ST_OK) {
                sw_fail(w, "i%u: message %llu was removed and is back", in->uid,
                        (unsigned long long)seq);
            }
        } else if (st == ST_OK) {
            if (!sw_same_msg(want, &m, why, sizeof why)) {
                sw_fail(w, "i%u: %s", in->uid, why);
            }
        } else {
            lost->s = h;
            lost->lo = lost->n == before ? seq : lost->lo;
            lost->hi = seq;
            lost->n++;
        }
    }
    lost->streams += lost->n > before;
}

static void check_consumers(struct world *w, struct sw_inst *in, struct store_stream *h)
{
    for (size_t i = 0; i < in->md.ncons && !w->failed; i++) {
        struct md_cons *mc = in->md.cons[i];
        struct store_cons *c = NULL;
        for (size_t k = 0; k < h->ncons; k++) {
            c = strcmp(h->cons[k]->cfg.name, mc->cfg.name) == 0 ? h->cons[k] : c;
        }
        if (c == NULL) {
            sw_fail(w, "i%u: consumer %s is missing", in->uid, mc->cfg.name);
        } else if (strcmp(c->cfg.description, mc->cfg.description) != 0 ||
                   c->cfg.ack != mc->cfg.ack || c->cfg.nfilters != mc->cfg.nfilters ||
                   c->cfg.ack_wait_ns != mc->cfg.ack_wait_ns) {
            sw_fail(w, "i%u: consumer %s has another config", in->uid, mc->cfg.name);
        } else if (c->floor_sseq > mc->floor_sseq || c->delivered_sseq > mc->delivered_sseq) {
            sw_fail(w, "i%u: consumer %s stands at %llu floor %llu, beyond %llu and %llu", in->uid,
                    mc->cfg.name, (unsigned long long)c->delivered_sseq,
                    (unsigned long long)c->floor_sseq, (unsigned long long)mc->delivered_sseq,
                    (unsigned long long)mc->floor_sseq);
        }
    }
}

static void check_store(struct store_image *im, struct env_sim *sim, struct store *store,
                        const struct flip *f)
{
    struct world *w = &im->w;
    struct lost lost = {0};
    uint64_t reports = 0;
    for (uint32_t slot = 0; slot < 3 && !w->failed; slot++) {
        char name[8];
        snprintf(name, sizeof name, "S%u", slot);
        struct sw_inst *in = NULL;
        for (size_t i = 0; i < w->ninst; i++) {
            in = w->inst[i]->slot == slot ? w->inst[i] : in;
        }
        struct store_stream *h = store->ops->stream_find(store, "$G", name);
        if (h == NULL) {
            sw_fail(w, "stream %s is missing", name);
        } else if (strcmp(h->cfg.description, in->md.cfg.description) != 0 ||
                   h->cfg.max_msgs != in->md.cfg.max_msgs ||
                   h->cfg.max_bytes != in->md.cfg.max_bytes ||
                   h->cfg.retention != in->md.cfg.retention) {
            sw_fail(w, "stream %s has another config", name);
        } else {
            check_messages(w, sim, store, in, h, &lost);
            check_consumers(w, in, h);
            reports += h->ndamage;
        }
    }
    eng_incidents(store, count_incident, &reports);
    if (w->failed || lost.n == 0) {
        return;
    }
    losses++;
    bool journal = strstr(f->path, ".jnl") != NULL, segment = strstr(f->path, ".seg") != NULL;
    if (!journal && !segment) {
        sw_fail(w, "%llu messages are lost", (unsigned long long)lost.n);
    } else if (lost.streams > 1 || (journal && lost.n > 1) ||
               (segment && !same_block(lost.s, lost.lo, lost.hi))) {
        sw_fail(w, "%llu messages of %u streams are lost (%llu..%llu)", (unsigned long long)lost.n,
                lost.streams, (unsigned long long)lost.lo, (unsigned long long)lost.hi);
    } else if (reports == 0 || sim_warnings == 0) {
        sw_fail(w, "message %llu is lost and nobody says so (%llu reports, %llu warnings)",
                (unsigned long long)lost.lo, (unsigned long long)reports,
                (unsigned long long)sim_warnings);
    }
}

static bool try_flip(struct store_image *im, struct env_sim *sim, const struct flip *f)
{
    struct world *w = &im->w;
    struct store *store = NULL;
    struct err err = {0};
    sim_doing("--file %s --off %llu --bit %u%s", f->path == NULL ? "" : f->path,
              (unsigned long long)f->off, f->bit, im->clean ? "" : " --kill");
    sim_warnings = 0;
    env_sim_disk_load(sim, im->disk);
    sim->real_ns = im->real_ns;
    sim->boot_ns = im->boot_ns;
    memcpy(sim->boot_id, im->boot_id, 16);
    if (f->path != NULL) {
        ASSERT(env_sim_flip_bit(sim, f->path, f->off, f->bit) == ST_OK);
    }
    enum st st = eng_open(env_sim_env(sim), &w->opts, &store, &err);
    if (st != ST_OK) {
        sw_fail(w, "the store does not open: %s (%s)", err.msg, st_text(st));
    } else {
        check_store(im, sim, store, f);
        if (!w->failed && f->off % 8 == 3 && f->bit == 0) { /* it goes on, and comes back */
            eng_close(store);
            sim_warnings = 0;
            st = eng_open(env_sim_env(sim), &w->opts, &store, &err);
            if (st != ST_OK) {
                sw_fail(w, "the store does not open a second time: %s (%s)", err.msg, st_text(st));
            } else {
                check_store(im, sim, store, f); /* what was lost is still told */
            }
        }
        if (st == ST_OK) {
            eng_abandon(store);
        }
    }
    if (w->failed) {
        printf("FAIL --file %s --off %llu --bit %u%s: %s\n", f->path, (unsigned long long)f->off,
               f->bit, im->clean ? "" : " --kill", w->fail);
        fflush(stdout);
        w->failed = false;
        w->fail[0] = 0;
        return false;
    }
    return true;
}

static uint64_t sample(struct store_image *im, struct env_sim *sim, struct prng *rnd,
                       uint64_t count, uint64_t fail_max)
{
    uint64_t failed = 0;
    for (uint64_t i = 0; i < count && failed < fail_max; i++) {
        const struct range *r;
        do {
            r = &im->v[prng_below(rnd, im->n)];
        } while (r->free_space && prng_below(rnd, 50) != 0);
        struct flip f = {
            r->path,
            r->off + prng_below(rnd, prng_below(rnd, 3) == 0 && r->len > 200 ? 200 : r->len),
            (unsigned)prng_below(rnd, 8)};
        failed += !try_flip(im, sim, &f);
    }
    return failed;
}

/* Hours of work: each file is told when it is done. */
static uint64_t all(struct store_image *im, struct env_sim *sim, const char *part,
                    uint64_t fail_max, uint64_t *done)
{
    uint64_t failed = 0, before = *done;
    for (size_t i = 0; i < im->n; i++) {
        const struct range *r = &im->v[i];
        for (uint64_t k = 0;
             k < r->len && failed < fail_max && !r->free_space && strstr(r->path, part) != NULL;
             k++) {
            for (unsigned bit = 0; bit < 8 && failed < fail_max; bit++, ++*done) {
                struct flip f = {r->path, r->off + k, bit};
                failed += !try_flip(im, sim, &f);
            }
        }
        if ((i + 1 == im->n || strcmp(r->path, im->v[i + 1].path) != 0) && *done > before) {
            printf("%s: %llu flips%s, %llu failed so far\n", r->path,
                   (unsigned long long)(*done - before), im->clean ? "" : " after a kill",
                   (unsigned long long)failed);
            fflush(stdout);
            before = *done;
        }
    }
    return failed;
}

struct options {
    uint64_t count, seed, off, bit, fail_max;
    const char *file;
    bool whole, kill_only;
};

/* One store, stopped cleanly or killed, with the flips asked for. Returns the failures. */
static uint64_t one_store(const struct options *o, int variant, uint64_t *done, uint64_t *used)
{
    struct store_image im;
    struct prng rnd = {prng_mix(o->seed + (uint64_t)variant)};
    build(&im, variant == 0);
    if (im.w.failed) {
        printf("FAIL: %s\n", im.w.fail);
        return 1;
    }
    *used += im.used_bytes;
    struct env_sim *sim = env_sim_create(o->seed);
    struct flip none = {NULL, 0, 0};
    uint64_t failed = !try_flip(&im, sim, &none);
    if (o->off != UINT64_MAX) {
        struct flip f = {o->file, o->off, (unsigned)o->bit};
        failed += !try_flip(&im, sim, &f);
        (*done)++;
    } else if (o->whole) {
        failed += all(&im, sim, o->file, o->fail_max, done);
    } else {
        failed += sample(&im, sim, &rnd, o->count / 2, o->fail_max);
        *done += o->count / 2;
    }
    env_sim_destroy(sim);
    image_fini(&im);
    return failed;
}

int main(int argc, char **argv)
{
    struct options o = {.count = 2000, .seed = 1, .off = UINT64_MAX, .fail_max = 1, .file = ""};
    uint64_t failed = 0, done = 0, used = 0;
    const struct sim_option options[] = {
        {.name = "count", .hint = "N", .number = &o.count},
        {.name = "seed", .hint = "S", .number = &o.seed},
        {.name = "all", .flag = &o.whole},
        {.name = "file", .hint = "PART", .text = &o.file},
        {.name = "off", .hint = "N", .number = &o.off},
        {.name = "bit", .hint = "N", .number = &o.bit},
        {.name = "kill", .flag = &o.kill_only},
        {.name = "fails", .hint = "N", .number = &o.fail_max},
    };
    if (!sim_begin("bit_flips", options, ARRAY_LEN(options), argc, argv)) {
        return 2;
    }
    double began = sim_seconds();
    for (int variant = o.kill_only ? 1 : 0; variant < 2 && failed < o.fail_max; variant++) {
        failed += one_store(&o, variant, &done, &used);
        if (o.off != UINT64_MAX && !o.kill_only) {
            break;
        }
    }
    double took = sim_seconds() - began;
    printf("bit_flips: %llu flips in %llu bytes in use, %llu cost a message or a block, %.1f s, "
           "%.2f ms a flip, %llu failed\n",
           (unsigned long long)done, (unsigned long long)used, (unsigned long long)losses, took,
           done > 0 ? took * 1000 / (double)done : 0, (unsigned long long)failed);
    return failed != 0;
}
