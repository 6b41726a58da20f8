/* jsadmin compact: segments without what was removed, at full speed; says bytes before and after.
 */
#include "tools/jsadmin.h"

struct compact_run {
    struct ja_ctx *x;
    bool done;
    enum st st;
};

static void on_done(void *arg, enum st st, uint64_t n, const struct err *err)
{
    struct compact_run *r = arg;
    (void)n, (void)err;
    r->st = st;
    r->done = true;
}

static void tick(void *arg)
{
    struct compact_run *r = arg;
    struct eng_compact_progress p;
    eng_compact_progress(r->x->store, &p);
    ja_progress(r->x, "Compacting", p.rewritten, p.todo);
}

/* Bytes in segment files and segments of all streams. */
static uint64_t space(struct ja_ctx *x, uint64_t *segments_out)
{
    const struct store_ops *ops = x->store->ops;
    uint64_t sum = 0;
    *segments_out = 0;
    for (struct store_stream *s = ops->stream_next(x->store, NULL, NULL); s != NULL;
         s = ops->stream_next(x->store, NULL, s)) {
        uint64_t segments, bytes, tail;
        eng_stream_space(s, &segments, &bytes, &tail);
        sum += bytes;
        *segments_out += segments;
    }
    return sum;
}

static void report(struct ja_ctx *x, uint64_t before, uint64_t after, uint64_t segments,
                   const struct eng_compact_progress *p)
{
    char b[2][40];
    if (x->json) {
        json_out_u64(&x->out, "bytes_before", before);
        json_out_u64(&x->out, "bytes_after", after);
        json_out_u64(&x->out, "segments", segments);
        json_out_u64(&x->out, "segments_rewritten", p->rewritten);
        json_out_u64(&x->out, "segments_damaged", p->damaged);
        return;
    }
    printf("Before        %s in segments\n", ja_bytes(before, b[0], sizeof b[0]));
    printf("After         %s in segments\n", ja_bytes(after, b[0], sizeof b[0]));
    printf("Rewritten     %s of ", ja_count(p->rewritten, b[0], sizeof b[0]));
    printf("%s segments\n", ja_count(segments, b[1], sizeof b[1]));
    if (p->damaged > 0) {
        printf("\n%s segments are damaged and were left as they are (see jsadmin check).\n",
               ja_count(p->damaged, b[0], sizeof b[0]));
    }
}

int ja_compact(struct ja_ctx *x)
{
    struct compact_run r = {.x = x};
    struct eng_compact_progress p;
    uint64_t segments, left;
    uint64_t before = space(x, &segments);
    eng_compact(x->store, on_done, &r);
    ja_drive(x, &r.done, tick, &r);
    eng_compact_progress(x->store, &p);
    if (p.rewritten > 0) {
        ja_progress(x, "Compacting", p.todo, p.todo);
    }
    report(x, before, space(x, &left), segments, &p);
    if (r.st != ST_OK) {
        ja_complain(x, "compact", st_text(r.st));
        return JA_FAILED;
    }
    return p.damaged > 0 ? JA_DAMAGE : JA_OK;
}
