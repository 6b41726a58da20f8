/* Fixture of the segment tests (seg_fixture.h). */
#include "tests/lib/seg_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static void must(enum st st, const struct err *err)
{
    if (st != ST_OK) {
        fprintf(stderr, "fixture: %s: %s\n", st_name(st), err->msg);
        abort();
    }
}

void seg_fix_reopen(struct seg_fix *f)
{
    struct err err = {0};
    segs_close(f->segs);
    struct segs_opts o = {.root = f->root, .crc_seed = FIX_SEED, .store_uuid = {1, 2, 3}};
    must(segs_open(f->env, &o, &f->segs, &err), &err);
}

void seg_fix_open(struct seg_fix *f, struct env *env, const char *root)
{
    memset(f, 0, sizeof(*f));
    f->env = env;
    if (env == NULL) {
        f->own_env = true;
        f->env = env_real_create();
        snprintf(f->root, sizeof(f->root), "/tmp/seg-test-XXXXXX");
        if (mkdtemp(f->root) == NULL) {
            abort();
        }
    } else {
        snprintf(f->root, sizeof(f->root), "%s", root);
    }
    seg_fix_reopen(f);
}

static void unlink_one(void *arg, uint32_t gid, uint64_t segno, uint32_t gen, bool dropped,
                       uint64_t generation, const char *path)
{
    struct seg_fix *f = arg;
    (void)gid, (void)segno, (void)gen, (void)dropped, (void)generation;
    enum st st = env_unlink(f->env, path, NULL);
    (void)st;
}

static void unlink_quarantined(void *arg, const char *name, bool is_dir)
{
    struct seg_fix *f = arg;
    char path[512];
    (void)is_dir;
    snprintf(path, sizeof(path), "%s/quarantine/%s", f->root, name);
    enum st st = env_unlink(f->env, path, NULL);
    (void)st;
}

void seg_fix_close(struct seg_fix *f)
{
    if (f->own_env) {
        char quarantine[256];
        snprintf(quarantine, sizeof(quarantine), "%s/quarantine", f->root);
        enum st ignored = env_list(f->env, quarantine, unlink_quarantined, f, NULL);
        (void)ignored;
        static const char *const dirs[] = {"s/00000007", "s", "quarantine", ""};
        enum st st = segs_list(f->segs, unlink_one, f, NULL);
        (void)st;
        for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
            char path[256];
            snprintf(path, sizeof(path), "%s/%s", f->root, dirs[i]);
            st = env_rmdir(f->env, path, NULL);
        }
    }
    segs_close(f->segs);
    if (f->own_env) {
        env_real_destroy(f->env);
    }
    memset(f, 0, sizeof(*f));
}

/* --- messages --------------------------------------------------------------------------------- */

static size_t fill(uint64_t seq, unsigned subjects, char *subj, size_t cap)
{
    return (size_t)snprintf(
        subj, cap, "s.%llu.x",
        (unsigned long long)(seq / ((subjects >> 16) + 1) % (subjects & 0xffff)));
}

static uint8_t byte_of(uint64_t seq, size_t i)
{
    return (uint8_t)((seq * 31 + i / 16 * 7 + (i & 3)) & 0xff);
}

void msg_set_add(struct msg_set *m, uint64_t first, size_t n, uint64_t step, unsigned subjects,
                 fix_size_fn size)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t seq = first + i * step;
        char subj[64];
        size_t subj_len = fill(seq, subjects, subj, sizeof(subj));
        size_t len = size(seq);
        uint8_t *data = base_malloc(len + 1);
        for (size_t k = 0; k < len; k++) {
            data[k] = byte_of(seq, k);
        }
        struct msg msg = {.seq = seq,
                          .ts_ns = (int64_t)seq * NS_PER_MS,
                          .subj = (const uint8_t *)subj,
                          .data = data,
                          .data_len = (uint32_t)len,
                          .subj_len = (uint16_t)subj_len};
        uint8_t *form = base_malloc(msg_size(subj_len, 0, len));
        size_t form_len = msg_put(form, &msg, FIX_SEED);
        base_free(data);
        if (m->n == m->cap) {
            m->cap = m->cap == 0 ? 64 : m->cap * 2;
            m->src = base_realloc(m->src, m->cap * sizeof(*m->src));
            m->bytes = base_realloc(m->bytes, m->cap * sizeof(*m->bytes));
        }
        m->bytes[m->n] = form;
        m->src[m->n++] = (struct seg_src){.msg = form, .len = (uint32_t)form_len};
    }
}

void msg_set_fini(struct msg_set *m)
{
    for (size_t i = 0; i < m->n; i++) {
        base_free(m->bytes[i]);
    }
    base_free(m->bytes);
    base_free(m->src);
    *m = (struct msg_set){0};
}

bool msg_is_right(const struct msg *m, unsigned subjects, fix_size_fn size)
{
    char subj[64];
    size_t subj_len = fill(m->seq, subjects, subj, sizeof(subj));
    if (m->subj_len != subj_len || memcmp(m->subj, subj, subj_len) != 0 ||
        m->data_len != size(m->seq) || m->ts_ns != (int64_t)m->seq * NS_PER_MS || m->hdr_len != 0) {
        return false;
    }
    for (size_t i = 0; i < m->data_len; i++) {
        if (m->data[i] != byte_of(m->seq, i)) {
            return false;
        }
    }
    return true;
}

/* --- visitor ---------------------------------------------------------------------------------- */

static void on_subject(void *arg, const uint8_t *subj, size_t len, const uint64_t *seqs,
                       const uint32_t *sizes, size_t n)
{
    struct seen *s = arg;
    (void)subj, (void)len;
    s->subjects++;
    s->subject_msgs += n;
    for (size_t i = 0; i < n; i++) {
        s->seq_sum += seqs[i] * (1 + hash64(0, subj, len) % 1000);
        s->bytes += sizes[i];
    }
}

static void on_removed(void *arg, uint64_t floor, const struct seq_runs *runs)
{
    struct seen *s = arg;
    s->floor = u64_max(s->floor, floor);
    for (size_t i = 0; i < runs->n; i++) {
        s->removed += runs->v[i].count;
    }
}

static void on_ttl(void *arg, uint64_t seq, int64_t expire_ns)
{
    struct seen *s = arg;
    s->ttl++;
    s->seq_sum += seq ^ (uint64_t)expire_ns;
}

static void on_damage(void *arg, enum seg_damage_cause cause, const struct seg_row *row,
                      uint64_t off, uint64_t lo, uint64_t hi, bool lost, const char *text)
{
    struct seen *s = arg;
    (void)row;
    s->damage[cause]++;
    snprintf(s->text, sizeof(s->text), "%s at %llu: %s", seg_damage_text(cause),
             (unsigned long long)off, text);
    if (lost) {
        s->lost++;
        s->lost_lo = s->lost_lo == 0 ? lo : u64_min(s->lost_lo, lo);
        s->lost_hi = u64_max(s->lost_hi, hi);
    }
}

void seen_visitor(struct seg_visitor *v, struct seen *s)
{
    memset(s, 0, sizeof(*s));
    *v = (struct seg_visitor){
        .arg = s, .subject = on_subject, .removed = on_removed, .ttl = on_ttl, .damage = on_damage};
}

unsigned seen_damage(const struct seen *s)
{
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(s->damage); i++) {
        n += s->damage[i];
    }
    return n;
}
