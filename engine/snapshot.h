/* A snapshot's insides. Private to engine/. */
#ifndef ENGINE_SNAPSHOT_H
#define ENGINE_SNAPSHOT_H

#include "engine/eng.h"
#include "engine/store_snap.h"

struct store_snap {
    struct eng *eng;   /* borrowed */
    struct segs *segs; /* borrowed */
    struct snap_info info;
    struct seg_view **views; /* owned references */
    size_t nviews;
    struct jr_chunk **chunks; /* owned references that keep tail[] alive */
    size_t nchunks;
    const uint8_t **tail; /* owned array: MSG forms, ascending */
    size_t ntail;
    /* where reading stands */
    size_t view, block_no, tail_at;
    size_t run; /* into info.deleted */
    uint32_t msg;
    struct block *block; /* owned reference */
};

/* Takes hold of the stream as it is in memory; its state may rest on records that are not durable.
 * Also for stores opened with read_only_check. */
struct store_snap *snap_take(struct store_stream *s, bool consumers);

void store_snap_open(struct store_stream *s, bool consumers, store_snap_fn fn, void *arg);
void store_snap_close(struct store_snap *n);
const struct snap_info *store_snap_info(const struct store_snap *n);
enum st store_snap_next(struct store_snap *n, struct msg *m_out, struct err *err);
void store_snap_rewind(struct store_snap *n);

/* consumer_delta.c */
void cons_capture(const struct store_cons *c, struct snap_cons *out);
/* The CONS_DELTA body that gives `c` the state of `k`. ST_INVALID: it makes no sense. */
MUST_USE enum st cons_delta_of(const struct store_cons *c, const struct snap_cons *k,
                               uint8_t **body_out, size_t *len_out);

/* import.c */
bool stream_is_import(const struct store_stream *s);
void import_cons(struct store_stream *s, const struct snap_cons *k, store_cons_fn fn, void *arg);
/* Start-up: drops what an import left behind that never ended. */
MUST_USE enum st import_drop_left(struct eng *e);
/* ddl.c */
MUST_USE enum st ddl_drop_now(struct eng *e, struct store_stream *s); /* logs DROP and applies it */
void ddl_stream_adopt(struct store *st, struct store_stream *s, const struct stream_cfg *cfg,
                      int64_t created_ns, struct store_stream *replaced, store_stream_fn fn,
                      void *arg);

#endif
