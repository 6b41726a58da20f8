/* Fuzz target: a snapshot in nats-server's format. The input is the tar; it is packed here, so that
 * the fuzzer need not find checksums of frames. The first byte, modulo 8: 0 a record whose hash
 * fits, the input its subject and payload; 1 a consumer's state, which is written and read again
 * when it was taken; 4 many records with right hashes, erased ones and tombstones among them; 5
 * files with right sums, under names that may be long; else the tar as it stands. */
#include <stdio.h>
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
    sum[1] = sum[1] == 0 && *sum % 5 == 0; /* never twice in a row: the same message comes again */
    return sum[1] != 0 ? ST_FULL : ST_OK;
}

static enum st meta(void *arg, const void *p, size_t n, struct err *err)
{
    (void)arg, (void)p, (void)n, (void)err;
    return ST_OK;
}

/* What was understood says the same when it is written and read again: times to the second. */
static void state_again(const struct snap_buf *state)
{
    struct snap_cons k = {0}, again = {0};
    struct snap_buf b = {0};
    if (snap_cons_get(state->v, state->n, &k) == ST_OK) {
        snap_cons_put(&b, &k, 1700000000 * NS_PER_S);
        if (snap_cons_get(b.v, b.n, &again) != ST_OK || again.npend != k.npend ||
            again.delivered_sseq != k.delivered_sseq || again.floor_cseq != k.floor_cseq) {
            abort();
        }
        for (size_t i = 0; i < k.npend; i++) {
            const struct snap_pend *x = &k.pend[i], *y = &again.pend[i];
            if (x->sseq != y->sseq || x->cseq != y->cseq || x->dcount != y->dcount ||
                x->exhausted != y->exhausted || x->ts_ns / NS_PER_S != y->ts_ns / NS_PER_S) {
                abort();
            }
        }
    }
    base_free(k.pend);
    base_free(again.pend);
    snap_buf_fini(&b);
}

static void run(const struct snap_buf *b)
{
    uint64_t sum[2] = {0}; /* of all bytes; the last message was not taken */
    struct snap_in in = {.stream = "S", .msg = one, .got_meta = meta, .arg = sum};
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
        state_again(&in.cons[i].state);
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

static size_t part(size_t want, size_t left)
{
    return want < left ? want : left;
}

/* Records one after the other: flags, lengths, sequence, then what they say. */
static void add_records(struct snap_buf *tar, const uint8_t *p, size_t left)
{
    struct snap_buf rec = {0};
    uint8_t key[SNAP_KEY_SIZE];
    snap_key_block("S", 7, key);
    while (left > 6) {
        const uint8_t *head = p;
        p += 6;
        left -= 6;
        size_t subj = part(head[1] % 16, left), hdr = part(head[2] % 32, left - subj),
               data = part(head[3], left - subj - hdr);
        struct msg m = {.seq = get_u16le(head + 4),
                        .ts_ns = (int64_t)head[4] << 55,
                        .subj = p,
                        .subj_len = (uint16_t)subj,
                        .hdr = p + subj,
                        .hdr_len = (uint32_t)hdr,
                        .data = p + subj + hdr,
                        .data_len = (uint32_t)data};
        snap_rec_put(&rec, key, &m,
                     (head[0] & 1 ? SNAP_TOMBSTONE : 0) | (head[0] & 2 ? SNAP_ERASED : 0));
        p += subj + hdr + data;
        left -= subj + hdr + data;
    }
    snap_tar_head(tar, "msgs/7.blk", rec.n, 0);
    snap_add(tar, rec.v, rec.n);
    snap_tar_pad(tar, rec.n);
    snap_buf_fini(&rec);
}

static void add_file(struct snap_buf *tar, const char *name, const void *p, size_t n)
{
    snap_tar_head(tar, name, n, 0);
    snap_add(tar, p, n);
    snap_tar_pad(tar, n);
}

/* The stream's meta.inf, then a consumer whose name is given, both with sums that fit. */
static void add_metas(struct snap_buf *tar, const uint8_t *p, size_t left)
{
    char name[420], path[500], sum[17];
    uint8_t key[SNAP_KEY_SIZE];
    size_t n = left > 0 ? part((size_t)p[0] * 2, part(left - 1, sizeof name - 1)) : 0, len = 0;
    for (size_t i = 0; i < n; i++) {
        char c = (char)p[1 + i];
        if (c != 0 && c != '/' && c != '\n') {
            name[len++] = c;
        }
    }
    name[len] = 0;
    const uint8_t *text = left > 0 ? p + 1 + n : p;
    size_t text_len = left > 0 ? left - 1 - n : 0;
    snap_key_meta("S", NULL, key);
    snap_sum_text(key, text, text_len, sum);
    add_file(tar, "meta.inf", text, text_len);
    add_file(tar, "meta.sum", sum, 16);
    snap_key_meta("S", name, key);
    snap_sum_text(key, text, text_len, sum);
    (void)snprintf(path, sizeof path, "obs/%s/meta.inf", name);
    add_file(tar, path, text, text_len);
    (void)snprintf(path, sizeof path, "obs/%s/meta.sum", name);
    add_file(tar, path, sum, 16);
    (void)snprintf(path, sizeof path, "obs/%s/o.dat", name);
    add_file(tar, path, text, text_len);
    snap_tar_end(tar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct snap_buf tar = {0}, out = {0};
    if (size < 1 || size > 60000) {
        return 0;
    }
    if (data[0] % 8 == 0) {
        add_sound(&tar, data + 1, size - 1);
    } else if (data[0] % 8 == 4) {
        add_records(&tar, data + 1, size - 1);
    } else if (data[0] % 8 == 5) {
        add_metas(&tar, data + 1, size - 1);
    } else if (data[0] % 8 == 1) {
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
