/* Fuzz target: a snapshot in nats-server's format. The input is the tar; it is packed here, so that
 * the fuzzer need not find checksums of frames. Hashes of records are set right when the first byte
 * asks for it: wrong content under right checksums. */
#include <stdlib.h>

#include "broker/snap_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum st one(void *arg, const struct msg *m, struct err *err)
{
    uint64_t *sum = arg;
    (void)err;
    for (size_t i = 0; i < m->subj_len; i++) {
        *sum += m->subj[i];
    }
    for (size_t i = 0; i < m->data_len; i++) {
        *sum += m->data[i];
    }
    return *sum % 5 == 0 ? (++*sum, ST_FULL) : ST_OK;
}

static enum st meta(void *arg, const void *p, size_t n, struct err *err)
{
    (void)arg, (void)p, (void)n, (void)err;
    return ST_OK;
}

static void run(const struct snap_buf *b)
{
    uint64_t sum = 0;
    struct snap_in in = {.stream = "S", .msg = one, .got_meta = meta, .arg = &sum};
    struct err err;
    const uint8_t *p = b->v;
    size_t n = b->n;
    enum st st;
    while ((st = snap_in_step(&in, &p, &n, &err)) == ST_OK || st == ST_FULL) {
    }
    if (st == ST_AGAIN) {
        st = snap_in_end(&in, &err);
    }
    for (size_t i = 0; i < in.ncons; i++) {
        struct snap_cons k = {0};
        (void)!snap_cons_get(in.cons[i].state.v, in.cons[i].state.n, &k);
        base_free(k.pend);
    }
    snap_in_fini(&in);
}

/* A block of one record whose hash fits, with the input as subject and payload. */
static void add_sound(struct snap_buf *tar, const uint8_t *data, size_t n)
{
    struct snap_buf rec = {0};
    uint8_t key[SNAP_KEY_SIZE];
    struct msg m = {.seq = n > 8 ? get_u64le(data) : 1,
                    .subj = data,
                    .subj_len = (uint16_t)(n > 3 ? n / 3 : n),
                    .data = data,
                    .data_len = (uint32_t)n};
    snap_key_block("S", 1, key);
    snap_rec_put(&rec, key, &m, 0);
    snap_tar_head(tar, "msgs/1.blk", rec.n, 0);
    snap_add(tar, rec.v, rec.n);
    snap_tar_pad(tar, rec.n);
    snap_buf_fini(&rec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snap_buf tar = {0}, out = {0};
    if (size < 1 || size > 60000) {
        return 0;
    }
    if (data[0] % 4 == 0) {
        add_sound(&tar, data + 1, size - 1);
    } else if (data[0] % 4 == 1) {
        snap_tar_head(&tar, "obs/C/o.dat", size - 1, 0);
        snap_add(&tar, data + 1, size - 1);
        snap_tar_pad(&tar, size - 1);
        snap_tar_end(&tar);
    } else {
        snap_add(&tar, data + 1, size - 1);
    }
    snappy_head_put(snap_room(&out, SNAPPY_HEAD_SIZE));
    out.n = SNAPPY_HEAD_SIZE;
    for (size_t at = 0; at < tar.n; at += SNAPPY_RAW_MAX) {
        size_t n = tar.n - at < SNAPPY_RAW_MAX ? tar.n - at : SNAPPY_RAW_MAX;
        out.n += snappy_frame_put(tar.v + at, n, snap_room(&out, snappy_bound(n) + 8));
    }
    run(&out);
    snap_buf_fini(&tar);
    snap_buf_fini(&out);
    return 0;
}
