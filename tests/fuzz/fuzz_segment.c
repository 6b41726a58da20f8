/* Fuzz target: opening, reading and checking a segment file of hostile bytes. The first byte
 * chooses: bit 0: a sealed image instead of an active one; bit 1: checksums are made right again
 * over what was changed, so that the parsers behind them are reached; bit 2: the input is the file
 * itself instead of edits of a good image; bit 3: the row's numbers are edited too; bit 4: the file
 * is cut short. Edits are (offset u16, length 1..8, bytes). Must hold: no crash, no wild read,
 * opening and check succeed or name a reason, and every message that is served matches its content
 * checksum. */
#include <stdlib.h>

#include "engine/base/env_sim.h"
#include "engine/segment_format.h"
#include "engine/segment_index.h"
#include "tests/lib/memfile_env.h"
#include "tests/lib/seg_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define IMAGE_MAX (64 * KIB)

struct image {
    uint8_t *bytes;
    size_t len;
    struct seg_row row;
    uint64_t data_off[64]; /* of the blocks, from a clean walk */
    size_t ndata;
    uint64_t sect_off[8];
    size_t nsect;
};
static struct image images[2];
static struct memfile_env mem;
static struct segs *segs;

static size_t size_of(uint64_t seq)
{
    return 1 + seq % 50;
}

static void find_blocks(struct image *img)
{
    for (uint64_t off = SEG_PAGE; off + SEG_BLOCK_HEAD <= img->len; off += SEG_ALIGN) {
        struct seg_bh bh;
        if (seg_bh_get(img->bytes + off, img->row.seg_uuid, off, &bh) != ST_OK) {
            continue;
        }
        if (bh.type == SEG_BT_DATA) {
            img->data_off[img->ndata++] = off;
        } else {
            img->sect_off[img->nsect++] = off;
        }
    }
}

static void image_make(struct image *img, bool sealed)
{
    struct env_sim *sim = env_sim_create(42);
    struct seg_fix f;
    struct msg_set m = {0};
    struct err err = {0};
    struct seg_flush_result out;
    struct seq_runs gone = {0};
    enum st st = env_mkdir(env_sim_env(sim), "/s0", &err);
    seg_fix_open(&f, env_sim_env(sim), "/s0");
    msg_set_add(&m, 1000, 60, 1, FIX_RUNS(6, 4), size_of);
    msg_set_add(&m, 1060, 60, 1, 40, size_of);
    m.src[7].expire_ns = 12345;
    m.src[70].expire_ns = 99999;
    seq_runs_add_run(&gone, 3, 4);
    seq_runs_add_run(&gone, 300, 1);
    struct seg_flush_req req = {.gid = FIX_GID,
                                .next_segno = 1,
                                .msgs = m.src,
                                .n = 60,
                                .removed = &gone,
                                .floor = 2,
                                .block_raw_bytes = 1000,
                                .no_compress = true};
    st = st_merge(st, seg_flush(f.segs, &req, &out, &err));
    struct seg_view *v = out.v[0].view;
    out.v[0].view = NULL;
    seg_flush_result_fini(&out);
    req.active = v;
    req.msgs += 60;
    req.seal = sealed;
    req.no_compress = sealed; /* the active one has zstd blocks too */
    st = st_merge(st, seg_flush(f.segs, &req, &out, &err));
    img->row = out.v[0].view->row;
    seg_flush_result_fini(&out);
    seg_view_release(v);
    st = st_merge(st, env_read_file(f.env, "/s0/s/00000007/1.0.seg", IMAGE_MAX, &img->bytes,
                                    &img->len, &err));
    if (st != ST_OK) {
        abort();
    }
    find_blocks(img);
    seq_runs_fini(&gone);
    msg_set_fini(&m);
    seg_fix_close(&f);
    env_sim_destroy(sim);
}

static void setup(void)
{
    if (segs != NULL) {
        return;
    }
    image_make(&images[0], false);
    image_make(&images[1], true);
    memfile_env_init(&mem);
    struct segs_opts so = {.root = "/m", .crc_seed = FIX_SEED, .store_uuid = {1, 2, 3}};
    if (segs_open(&mem.env, &so, &segs, NULL) != ST_OK) {
        abort();
    }
}

/* --- right checksums over changed bytes ------------------------------------------------------- */

static uint32_t fix_block(uint8_t *f, size_t len, const struct seg_row *row, uint64_t off)
{
    uint8_t *h = f + off;
    uint32_t stored = get_u32le(h + 16);
    if (stored <= len - off - SEG_BLOCK_HEAD) {
        put_u32le(h + 24, crc32c(seg_block_seed(row->seg_uuid, off), h + SEG_BLOCK_HEAD, stored));
    }
    uint32_t crc = crc32c(seg_block_seed(row->seg_uuid, off), h + 8, SEG_BLOCK_HEAD - 8);
    put_u32le(h + 4, crc);
    return crc;
}

/* Messages of raw blocks get a content CRC that fits where their head makes sense: half of the
 * time. */
static void fix_msgs(uint8_t *f, uint64_t off)
{
    uint32_t raw = get_u32le(f + off + 16);
    uint8_t *p = f + off + SEG_BLOCK_HEAD;
    size_t at = 0;
    if (f[off + 9] != SEG_CODEC_RAW || raw > 2000) {
        return;
    }
    while (at + MSG_HEAD_SIZE <= raw) {
        struct msg m;
        if (msg_get(p + at, raw - at, &m) != ST_OK) {
            return;
        }
        size_t n = (size_t)(m.data + m.data_len - (p + at));
        put_u32le(p + at + 4, crc32c(FIX_SEED, p + at + MSG_HEAD_SIZE, n - MSG_HEAD_SIZE));
        at += n;
    }
}

static void fix_all(const struct image *img, uint8_t *f, size_t len, struct seg_row *row)
{
    uint32_t chain = 0;
    uint32_t crc[64];
    for (size_t i = 0; i < img->ndata; i++) {
        fix_msgs(f, img->data_off[i]);
        crc[i] = fix_block(f, len, row, img->data_off[i]);
        chain = seg_chain_add(chain, crc[i]);
    }
    row->chain_crc = chain;
    for (size_t k = 0; k < img->nsect; k++) {
        uint8_t *body = f + img->sect_off[k] + SEG_BLOCK_HEAD;
        uint8_t *bidx = body + SEG_SECT_HEAD + SEG_PARTS_MAX * SEG_PART_ENTRY;
        for (size_t i = 0; i < img->ndata && bidx + SEG_BIDX_SIZE <= f + len;
             bidx += SEG_BIDX_SIZE) {
            while (i < img->ndata && img->data_off[i] != get_u64le(bidx)) {
                i++;
            }
            if (i < img->ndata) {
                put_u32le(bidx + 20, crc[i]);
            }
        }
        fix_block(f, len, row, img->sect_off[k]);
    }
    for (size_t off = 0; off < len; off += len - SEG_PAGE) { /* first and last page */
        put_u32le(f + off + SEG_HALF - 4, crc32c(0, f + off, SEG_HALF - 4));
        uint8_t *t = f + off + SEG_HALF;
        if (off != 0 && row->state == SEG_SEALED) {
            put_u32le(t + SEG_HALF - 4, crc32c(seg_block_seed(row->seg_uuid, 0), t, SEG_HALF - 4));
        }
    }
}

/* --- run -------------------------------------------------------------------------------------- */

static void on_subject(void *arg, const uint8_t *subj, size_t len, const uint64_t *seqs,
                       const uint32_t *sizes, size_t n)
{
    uint64_t *sum = arg;
    *sum += hash64(0, subj, len) + seqs[0] + seqs[n - 1] + sizes[n - 1];
    for (size_t i = 1; i < n; i++) {
        if (seqs[i] <= seqs[i - 1]) {
            abort();
        }
    }
}

static void on_ttl(void *arg, uint64_t seq, int64_t expire_ns)
{
    *(uint64_t *)arg += seq ^ (uint64_t)expire_ns;
}

static void on_removed(void *arg, uint64_t floor, const struct seq_runs *runs)
{
    *(uint64_t *)arg += floor + runs->n;
}

static void read_view(struct seg_view *v)
{
    for (uint32_t i = 0; i < v->ndata; i++) {
        struct block *b = NULL;
        if (reader_read_sync(segs, NULL, v, i, &b, NULL) != ST_OK) {
            continue;
        }
        for (uint32_t k = 0; k < b->nmsgs; k++) {
            struct msg m;
            struct msg found;
            enum st st = block_msg(b, k, &m);
            if (st == ST_OK && !msg_check(&m, FIX_SEED)) {
                abort();
            }
            if (block_find(b, m.seq, &found) != st) {
                abort();
            }
        }
        struct msg none;
        block_acquire(b);
        if (block_find(b, b->first_seq - 1, &none) != ST_NOTFOUND ||
            block_find(b, b->last_seq + 1, &none) != ST_NOTFOUND) {
            abort();
        }
        block_release(b);
        block_release(b);
    }
}

static void run(const uint8_t *bytes, size_t len, const struct seg_row *row)
{
    mem.bytes = bytes;
    mem.len = len;
    uint64_t sum = 0;
    struct err err = {0};
    struct seg_visitor v = {
        .arg = &sum, .subject = on_subject, .ttl = on_ttl, .removed = on_removed};
    struct seg_view *view = NULL;
    if (seg_open(segs, row, &v, &view, &err) == ST_OK) {
        read_view(view);
        seg_view_release(view);
    } else if (err.msg[0] == 0) {
        abort();
    }
    struct seg_check_report rep = {0};
    if (seg_check(segs, row, &v, &rep, &err) != ST_OK && err.msg[0] == 0) {
        abort();
    }
}

static void edit(uint8_t *f, size_t len, const uint8_t *data, size_t size)
{
    while (size > 3) {
        size_t off = get_u16le(data) % len;
        size_t n = 1 + data[2] % 8;
        data += 3;
        size -= 3;
        n = n < size ? n : size;
        n = n < len - off ? n : len - off;
        memcpy(f + off, data, n);
        data += n;
        size -= n;
    }
}

static void edit_row(struct seg_row *row, const uint8_t *p)
{
    row->first_seq += p[0];
    row->last_seq += p[1];
    row->last_section += (uint64_t)p[2] * SEG_PAGE;
    row->durable_len = p[3] % 4 == 0 ? row->durable_len + SEG_PAGE : row->durable_len;
    row->nblocks += p[3] % 2;
    row->state = (enum seg_state)(1 + p[3] % 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[IMAGE_MAX];
    if (size < 6 || size > IMAGE_MAX) {
        return 0;
    }
    setup();
    const struct image *img = &images[data[0] & 1];
    struct seg_row row = img->row;
    uint8_t how = data[0];
    if ((how & 8) != 0) {
        edit_row(&row, data + 1);
    }
    data += 5;
    size -= 5;
    if ((how & 4) != 0) {
        run(data, size, &row);
        return 0;
    }
    memcpy(file, img->bytes, img->len);
    edit(file, img->len, data, size);
    if ((how & 2) != 0) {
        fix_all(img, file, img->len, &row);
    }
    run(file, (how & 16) != 0 ? img->len - (size_t)data[-1] * 64 % img->len : img->len, &row);
    return 0;
}
