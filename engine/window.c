/* A stream's duplicate window outside of memory. Ids are kept as hashes, so a window is worth
 * nothing without their seed: each stream has a random one of its own, which goes wherever the
 * window goes.
 *
 *   column   u8 4, seed u64, then the rest (schedset.c, srcpos.c, dedup.c)
 *   export   seed u64, the encoded window (archive frame WINDOW; SKIP record of reason WINDOW,
 * behind last_seq u64, reason u8, zero 7)
 *
 * A window from before that is hashed with the store's crc_seed. It is not exported, for that seed
 * is never shown outside; once nothing of it is left at a start, the stream gets a seed of its own.
 */
#include "engine/eng.h"

enum { WRAPPED = 4, BODY_HEAD = 16 };

uint8_t *window_wrap(const struct store_stream *s, uint8_t *rest, size_t rest_len, size_t *len_out)
{
    if (s->id_seed == s->eng->ident.crc_seed) {
        *len_out = rest_len;
        return rest;
    }
    uint8_t *out = base_malloc(9 + rest_len);
    out[0] = WRAPPED;
    put_u64le(out + 1, s->id_seed);
    if (rest_len > 0) {
        memcpy(out + 9, rest, rest_len);
    }
    base_free(rest);
    *len_out = 9 + rest_len;
    return out;
}

const uint8_t *window_unwrap(struct store_stream *s, const uint8_t *in, size_t *len)
{
    if (*len < 9 || in[0] != WRAPPED) {
        s->id_seed = s->eng->ident.crc_seed;
        return in;
    }
    s->id_seed = get_u64le(in + 1);
    *len -= 9;
    return in + 9;
}

uint8_t *window_export(const struct store_stream *s, size_t *len_out)
{
    *len_out = 0;
    if (s->id_seed == s->eng->ident.crc_seed) {
        return NULL;
    }
    size_t id_len = 0;
    const char *last_id = dedup_last_id(s->dedup, &id_len);
    uint8_t *out = base_malloc(8 + dedup_encode_bound(s->dedup, id_len) + 1);
    put_u64le(out, s->id_seed);
    *len_out = 8 + dedup_encode(s->dedup, UINT64_MAX, last_id, id_len, out + 8);
    return out;
}

enum st window_check(const uint8_t *p, size_t len)
{
    struct dedup d = {0};
    if (len < 8) {
        return ST_CORRUPT;
    }
    enum st st = dedup_decode(&d, p + 8, len - 8, NULL);
    dedup_fini(&d);
    return st;
}

static enum st apply(struct store_stream *s, const uint8_t *p, size_t len)
{
    enum st st = window_check(p, len);
    if (st == ST_OK) {
        s->id_seed = get_u64le(p);
        st = dedup_decode(s->dedup, p + 8, len - 8, NULL);
    }
    return st;
}

void window_import(struct store_stream *s, const uint8_t *p, size_t len, store_done_fn fn,
                   void *arg)
{
    enum st st = s->eng->poisoned != ST_OK ? ST_POISONED : window_check(p, len);
    if (st == ST_OK && !s->memory) {
        uint8_t *body = base_calloc(1, BODY_HEAD + len);
        put_u64le(body, s->last_seq);
        body[8] = REASON_WINDOW;
        memcpy(body + BODY_HEAD, p, len);
        st = stream_log(s, REC_SKIP, 0, 0, body, BODY_HEAD + len, NULL, true, true);
        base_free(body);
    }
    if (st == ST_OK) {
        st = apply(s, p, len);
    }
    eng_wait(s->eng, stream_ticket(s), fn, arg, st, 0);
}

enum st window_replay(struct store_stream *s, const uint8_t *body, size_t len)
{
    return len < BODY_HEAD ? ST_CORRUPT : apply(s, body + BODY_HEAD, len - BODY_HEAD);
}
