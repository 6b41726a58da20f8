/* Tails and checkpoints: when a stream's tail is large enough for a lap of its own, and tails that
 * stand in a catalogue row (checkpoint.c makes the rows).
 *
 * The tail is memory. The journal's window bounds it for all streams together; this bounds it for a
 * stream that is being filled, long before. What is soon removed again is better left to die in the
 * tail than written to a segment: a stream that does not grow may hold twice as much, and many
 * small tails are left to the journal's window. Owner thread; a crash leaves nothing of it. */
#include "engine/checkpoint.h"

/* What a lap writes of the stream beside messages: message ids (as encoded) and consumers. */
#define ID_BYTES 32u
#define CONS_BYTES 1024u

void ckpt_tail_grew(struct store_stream *s)
{
    struct eng *e = s->eng;
    uint64_t tail = s->tail.bytes, budget = e->opts.tail_bytes;
    uint64_t beside = dedup_count(s->dedup) * ID_BYTES + s->ncons * CONS_BYTES;
    bool stays = s->bytes > s->lap_bytes && s->bytes - s->lap_bytes >= tail / 2;
    if (beside < tail / 4 && (stays || tail / 2 >= budget)) {
        e->ckpt->tail_full = true;
        s->lap_at = UINT64_MAX;
    } else {
        s->lap_at = tail + budget / 4 + 1;
    }
}

int64_t ckpt_expires_ns(const uint8_t *p)
{
    struct msg m;
    int64_t at = msg_get(p, get_u32le(p), &m) == ST_OK ? msg_expires_ns(&m) : 0;
    return at == INT64_MAX ? 0 : at;
}

/* --- tail column ------------------------------------------------------------------------------ */

/* A small tail stands in the row: flushed_seq, then the messages, 8 B aligned. */
void ckpt_make_blob(struct ckpt_unit *u, bool with_msgs)
{
    size_t len = 8;
    for (size_t i = 0; with_msgs && i < u->nmsgs; i++) {
        len += align_up(u->msgs[i].len, 8);
    }
    u->tail = base_calloc(1, len);
    u->tail_len = len;
    put_u64le(u->tail, with_msgs ? u->s->flushed_seq : u->last_seq);
    len = 8;
    for (size_t i = 0; with_msgs && i < u->nmsgs; i++) {
        memcpy(u->tail + len, u->msgs[i].msg, u->msgs[i].len);
        len += align_up(u->msgs[i].len, 8);
    }
}

enum st ckpt_load_tail(struct store_stream *s, const uint8_t *blob, size_t len)
{
    if (len < 8) {
        return len == 0 ? ST_OK : ST_CORRUPT;
    }
    s->flushed_seq = get_u64le(blob);
    if (len == 8) {
        return ST_OK;
    }
    struct jr_chunk *c = jr_chunk_create(NULL, len);
    if (c == NULL) {
        return ST_NOMEM;
    }
    memcpy(c->base, blob + 8, len - 8);
    c->used = len - 8;
    enum st st = ST_OK;
    for (size_t off = 0; off + MSG_HEAD_SIZE <= c->used;) {
        struct msg m;
        st = msg_get(c->base + off, c->used - off, &m);
        if (st != ST_OK || m.seq <= s->last_seq || !msg_check(&m, s->eng->ident.crc_seed)) {
            st = ST_CORRUPT;
            break;
        }
        stream_apply_append(s, &m, c, (uint32_t)off, 0, NULL);
        off += align_up(msg_size(m.subj_len, m.hdr_len, m.data_len), 8);
    }
    jr_chunk_release(c);
    return st;
}
