/* Damage in segment files: every bit of a small segment is flipped, active and sealed. Each time
 * the segment opens; no wrong byte is served; at most one block is lost, and what is lost is an
 * error on read, in the range reported; the check finds every flip. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* cmocka wants these first */
#include <cmocka.h>

#include <stdio.h>

#include "tests/lib/memfile_env.h"
#include "tests/lib/seg_fixture.h"

#define NMSGS 60u
#define SUBJECTS 7u

static size_t size_of(uint64_t seq)
{
    return 1 + seq % 40;
}

struct image {
    uint8_t *bytes;
    size_t len;
    struct seg_row row;
    struct seen good; /* what an undamaged opening shows */
};

static void image_make(struct image *img, bool sealed, bool compress)
{
    struct seg_fix f;
    struct msg_set m = {0};
    struct err err = {0};
    struct seg_flush_result out;
    seg_fix_open(&f, NULL, NULL);
    msg_set_add(&m, 100, NMSGS, 2, SUBJECTS, size_of);
    m.src[5].expire_ns = 77;
    struct seq_runs gone = {0};
    seq_runs_add_run(&gone, 90, 3);
    struct seg_flush_req req = {.gid = FIX_GID,
                                .account = "A",
                                .name = "N",
                                .next_segno = 1,
                                .created_generation = 2,
                                .msgs = m.src,
                                .n = NMSGS / 2,
                                .floor = 95,
                                .removed = &gone,
                                .block_raw_bytes = 700,
                                .no_compress = !compress};
    assert_int_equal(seg_flush(f.segs, &req, &out, &err), ST_OK);
    struct seg_view *v = out.v[0].view;
    out.v[0].view = NULL;
    seg_flush_result_fini(&out);
    req.active = v;
    req.msgs = m.src + NMSGS / 2;
    req.seal = sealed;
    assert_int_equal(seg_flush(f.segs, &req, &out, &err), ST_OK);
    img->row = out.v[0].view->row;
    assert_int_equal(img->row.state, sealed ? SEG_SEALED : SEG_ACTIVE);
    seg_flush_result_fini(&out);
    seg_view_release(v);
    char path[256];
    snprintf(path, sizeof(path), "%s/s/%08x/1.0.seg", f.root, FIX_GID);
    assert_int_equal(env_read_file(f.env, path, MIB, &img->bytes, &img->len, &err), ST_OK);
    assert_int_equal(img->len, img->row.durable_len);
    seq_runs_fini(&gone);
    msg_set_fini(&m);
    seg_fix_close(&f);
}

static void image_free(struct image *img)
{
    base_free(img->bytes);
}

struct outcome {
    unsigned right, corrupt;
    unsigned blocks_lost;
    uint64_t lo, hi; /* hull of the sequences that gave errors */
};

/* Reads all messages of an opened view. */
static void read_all(struct segs *s, struct seg_view *v, struct outcome *o)
{
    memset(o, 0, sizeof(*o));
    uint32_t last_bad = UINT32_MAX;
    uint32_t have = UINT32_MAX;
    struct block *b = NULL;
    enum st b_st = ST_OK;
    for (uint64_t seq = 100; seq < 100 + 2 * NMSGS; seq++) {
        uint32_t no = 0;
        struct msg m = {0};
        bool there = (seq - 100) % 2 == 0;
        bool inside = seg_view_block_of(v, seq, &no);
        assert_true(inside || !there);
        if (inside && no != have) {
            block_release(b);
            b_st = reader_read_sync(s, NULL, v, no, &b, NULL);
            have = no;
        }
        enum st st = inside ? b_st : ST_NOTFOUND;
        if (st == ST_OK) {
            st = block_find(b, seq, &m);
        }
        if (st == ST_OK) {
            assert_true(there);
            assert_true(msg_is_right(&m, SUBJECTS, size_of));
            o->right++;
        } else if (there) {
            assert_int_equal(st, ST_CORRUPT); /* never "not found" */
            o->corrupt++;
            o->blocks_lost += no != last_bad;
            last_bad = no;
            o->lo = o->lo == 0 ? seq : o->lo;
            o->hi = seq;
        }
    }
    block_release(b);
    assert_int_equal(o->right + o->corrupt, NMSGS);
}

static void flip_one(const struct image *img, struct memfile_env *m, struct segs *s, size_t bit)
{
    struct seg_visitor v;
    struct seen seen;
    struct err err = {0};
    struct seg_view *view = NULL;
    struct outcome o;
    seen_visitor(&v, &seen);
    m->bytes = img->bytes;
    m->len = img->len;
    enum st st = seg_open(s, &img->row, &v, &view, &err);
    if (st != ST_OK) {
        fail_msg("bit %zu: %s", bit, err.msg);
    }
    read_all(s, view, &o);
    assert_true(o.blocks_lost <= 1);
    struct seen checked;
    seen_visitor(&v, &checked);
    struct seg_check_report rep = {0};
    assert_int_equal(seg_check(s, &img->row, &v, &rep, &err), ST_OK);
    if (rep.findings == 0) {
        fail_msg("bit %zu (byte %zu) is not found by the check", bit, bit / 8);
    }
    if (o.corrupt != 0) {
        assert_true(checked.lost >= 1);
        assert_true(checked.lost_lo <= o.lo && checked.lost_hi >= o.hi);
    } else {
        assert_int_equal(checked.lost, 0);
        /* an index that was rebuilt says the same */
        assert_int_equal(seen.subject_msgs, NMSGS);
        assert_int_equal(seen.seq_sum - (seen.ttl != 0 ? 77 ^ 110 : 0),
                         img->good.seq_sum - (77 ^ 110));
        assert_int_equal(seen.bytes, img->good.bytes);
    }
    seg_view_release(view);
}

/* Bits that are flipped: all of bytes that say something; of zeros (padding, unused fields) one bit
 * of each, and in long runs of them one of every eighth byte. */
static bool worth_a_flip(const struct image *img, size_t bit)
{
    size_t at = bit / 8;
    if (img->bytes[at] != 0) {
        return true;
    }
    size_t from = at >= 32 ? at - 32 : 0;
    size_t to = at + 32 < img->len ? at + 32 : img->len;
    bool alone = false;
    for (size_t i = from; i < to; i++) {
        alone = alone || img->bytes[i] != 0;
    }
    return bit % 8 == at % 8 && (alone || at % 8 == 3);
}

static void flip_all(bool sealed, bool compress)
{
    struct image img;
    struct memfile_env m;
    struct segs *s = NULL;
    struct err err = {0};
    struct seg_visitor v;
    image_make(&img, sealed, compress);
    memfile_env_init(&m);
    m.bytes = img.bytes;
    m.len = img.len;
    struct segs_opts so = {.root = "/m", .crc_seed = FIX_SEED, .store_uuid = {1, 2, 3}};
    assert_int_equal(segs_open(&m.env, &so, &s, &err), ST_OK);
    struct seg_view *view = NULL;
    seen_visitor(&v, &img.good);
    assert_int_equal(seg_open(s, &img.row, &v, &view, &err), ST_OK);
    assert_int_equal(seen_damage(&img.good), 0);
    assert_true(view->ndata > 4);
    struct seg_check_report rep = {0};
    struct seen checked;
    seen_visitor(&v, &checked);
    assert_int_equal(seg_check(s, &img.row, &v, &rep, &err), ST_OK);
    if (rep.findings != 0) {
        fail_msg("clean segment: %s", checked.text);
    }
    assert_int_equal(rep.msgs, NMSGS);
    seg_view_release(view);
    for (size_t bit = 0; bit < img.len * 8; bit++) {
        uint8_t mask = (uint8_t)(1u << (bit % 8));
        if (!worth_a_flip(&img, bit)) {
            continue;
        }
        img.bytes[bit / 8] ^= mask;
        flip_one(&img, &m, s, bit);
        img.bytes[bit / 8] ^= mask;
    }
    segs_close(s);
    image_free(&img);
}

static void flips_active(void **state)
{
    (void)state;
    flip_all(false, false);
}
static void flips_sealed(void **state)
{
    (void)state;
    flip_all(true, true);
}

/* Cut short, missing, overwritten with another file: always opens, never a wrong byte. */
static void short_and_missing(void **state)
{
    (void)state;
    struct image img;
    struct memfile_env m;
    struct segs *s = NULL;
    struct err err = {0};
    struct seg_visitor v;
    struct seen seen;
    image_make(&img, true, true);
    memfile_env_init(&m);
    struct segs_opts so = {.root = "/m", .crc_seed = FIX_SEED, .store_uuid = {1, 2, 3}};
    assert_int_equal(segs_open(&m.env, &so, &s, &err), ST_OK);
    for (size_t len = 0; len <= img.len; len += 256) {
        struct seg_view *view = NULL;
        struct outcome o;
        m.bytes = img.bytes;
        m.len = len;
        seen_visitor(&v, &seen);
        assert_int_equal(seg_open(s, &img.row, &v, &view, &err), ST_OK);
        assert_true(len == img.len || seen_damage(&seen) != 0);
        read_all(s, view, &o);
        if (o.corrupt != 0) {
            assert_true(seen.lost != 0 && seen.lost_lo <= o.lo && seen.lost_hi >= o.hi);
        }
        seg_view_release(view);
    }
    m.missing = true;
    struct seg_view *view = NULL;
    seen_visitor(&v, &seen);
    assert_int_equal(seg_open(s, &img.row, &v, &view, &err), ST_OK);
    assert_int_equal(seen.damage[SEG_DAMAGE_FILE_MISSING], 1);
    assert_int_equal(seen.lost_lo, 100);
    assert_int_equal(seen.lost_hi, img.row.last_seq);
    uint32_t no;
    assert_true(seg_view_block_of(view, 120, &no));
    struct block *b;
    assert_true(reader_read_sync(s, NULL, view, no, &b, &err) != ST_OK);
    seg_view_release(view);
    segs_close(s);
    image_free(&img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flips_active),
        cmocka_unit_test(flips_sealed),
        cmocka_unit_test(short_and_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
