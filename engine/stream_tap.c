/* Telling somebody of each message that is stored. A message waits for its record's ticket; its
 * bytes stay in the chunk they were written to, which is held until it is told. Bound: the
 * journal's window; memory and async streams tell at the next turn. Owner thread. */
#include "engine/eng.h"

struct stream_tap {
    store_tap_fn fn; /* NULL: nobody listens any more */
    void *arg;
    uint32_t refs; /* the stream's, and one a message under way */
};

struct tapped {
    struct stream_tap *tap; /* counted */
    struct jr_chunk *chunk; /* held: m lies in it */
    struct msg m;
    uint64_t last_seq;
};

static void unref(struct stream_tap *t)
{
    if (--t->refs == 0) {
        base_free(t);
    }
}

void stream_op_tap(struct store_stream *s, store_tap_fn fn, void *arg)
{
    if (s->tap != NULL) {
        s->tap->fn = NULL;
        unref(s->tap);
        s->tap = NULL;
    }
    if (fn != NULL) {
        s->tap = base_malloc(sizeof *s->tap);
        *s->tap = (struct stream_tap){fn, arg, 1};
    }
}

static void tell(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct tapped *t = arg;
    (void)n;
    (void)err;
    if (st == ST_OK && t->tap->fn != NULL) {
        t->tap->fn(t->tap->arg, &t->m, t->last_seq);
    }
    unref(t->tap);
    jr_chunk_release(t->chunk);
    base_free(t);
}

void stream_tap_stored(struct store_stream *s, struct jr_chunk *chunk, const uint8_t *p, size_t len,
                       uint64_t last_seq)
{
    struct tapped *t = base_malloc(sizeof *t);
    *t = (struct tapped){.tap = s->tap, .chunk = chunk, .last_seq = last_seq};
    if (msg_get(p, len, &t->m) != ST_OK) {
        base_free(t);
        return;
    }
    s->tap->refs++;
    jr_chunk_acquire(chunk);
    eng_wait_own(s->eng, stream_ticket(s), tell, t, ST_OK, 0);
}
