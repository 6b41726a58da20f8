/* Archives: streams of a store, whole, in one file that outlives stores and versions
 * (engine/FORMAT-archive.md). Written front to back by struct arc_writer, read the same way by
 * struct arc_reader, which believes nothing: every frame has a checksum that is bound to the
 * archive and to its place, and the frame before.
 *
 * A crash while writing leaves <path>.part, never something under the archive's own name. One
 * thread; blocking. */
#ifndef ENGINE_ARCHIVE_H
#define ENGINE_ARCHIVE_H

#include "engine/base/env.h"
#include "engine/snapshot.h"

#define ARC_VERSION 2u /* 1 had no WINDOW; it is read */
#define ARC_RAW_MAX (128u * 1024u * 1024u)

enum arc_type {
    ARC_STREAM = 1,
    ARC_CONSUMER = 2,
    ARC_MESSAGES = 3,
    ARC_STREAM_END = 4,
    ARC_MANIFEST = 5,
    ARC_WINDOW = 6,
};

/* A growable body under construction. */
struct arc_buf {
    uint8_t *v; /* owned */
    size_t n, cap;
};
uint8_t *arc_room(struct arc_buf *b, size_t more); /* room for `more` bytes behind n */
void arc_put_u32(struct arc_buf *b, uint32_t v);
void arc_put_u64(struct arc_buf *b, uint64_t v);
void arc_put_bytes(struct arc_buf *b, const void *p, size_t n);

struct arc_head {
    uint8_t archive_uuid[16], store_uuid[16];
    int64_t created_ns;
    uint64_t generation;
    uint32_t streams;
};

/* --- writing ---------------------------------------------------------------------------------- */

struct arc_writer;
/* Begins <path>.part. ST_EXISTS when `path` is there and `replace` is not set. */
MUST_USE enum st arc_create(struct env *env, const char *path, bool replace,
                            const struct arc_head *head, struct arc_writer **w_out,
                            struct err *err);
/* One frame. body_crc_out (may be NULL): for the stream's chain. */
MUST_USE enum st arc_write(struct arc_writer *w, enum arc_type type, uint32_t stream,
                           const uint8_t *raw, size_t len, uint32_t *body_crc_out, struct err *err);
uint64_t arc_offset(const struct arc_writer *w); /* of the next frame */
/* Writes the trailer (the manifest was the last frame), syncs, gives the file its name, syncs the
 * directory, frees. */
MUST_USE enum st arc_finish(struct arc_writer *w, struct err *err);
void arc_abandon(struct arc_writer *w); /* removes .part, frees; NULL is a no-op */

/* --- reading ---------------------------------------------------------------------------------- */

struct arc_frame {
    enum arc_type type;
    uint32_t stream;
    uint64_t off;       /* of its head */
    const uint8_t *raw; /* valid until the next call */
    size_t len;
    uint32_t body_crc;
};
struct arc_reader;
/* Opens; verifies header, trailer and that the file is as long as it says. ST_FOREIGN: no archive.
 * ST_VERSION: made by a newer version. ST_CORRUPT. */
MUST_USE enum st arc_open(struct env *env, const char *path, struct arc_reader **r_out,
                          struct err *err);
const struct arc_head *arc_head_of(const struct arc_reader *r);
uint64_t arc_file_bytes(const struct arc_reader *r);
uint64_t arc_position(const struct arc_reader *r);
/* The next frame, verified. ST_NOTFOUND behind the manifest. ST_CORRUPT with the place in err. */
MUST_USE enum st arc_next(struct arc_reader *r, struct arc_frame *f_out, struct err *err);
void arc_rewind(struct arc_reader *r);
void arc_close(struct arc_reader *r); /* NULL is a no-op */

/* --- bodies (archive_body.c) ------------------------------------------------------------------ */

struct arc_stream {
    uint32_t gid;
    struct stream_cfg cfg; /* owned */
    int64_t created_ns;
    uint64_t first_seq, last_seq, msgs, bytes;
};
void arc_stream_fini(struct arc_stream *s);
void arc_put_stream(struct arc_buf *b, const struct snap_info *i);
MUST_USE enum st arc_get_stream(const uint8_t *p, size_t n, struct arc_stream *out);
void arc_put_cons(struct arc_buf *b, const struct snap_cons *c);
MUST_USE enum st arc_get_cons(const uint8_t *p, size_t n, struct snap_cons *out);
void arc_put_msg(struct arc_buf *b, const struct msg *m);
/* The message at *off of a MESSAGES body; moves *off. ST_NOTFOUND at the end. */
MUST_USE enum st arc_get_msg(const uint8_t *p, size_t n, size_t *off, struct msg *m_out);

struct arc_entry { /* of the manifest */
    uint32_t gid, consumers, chain_crc;
    uint64_t begin, end; /* offsets of the STREAM frame and behind the STREAM_END frame */
    uint64_t msgs, bytes;
    char *account, *name; /* owned */
};
struct arc_manifest {
    struct arc_entry *v; /* owned */
    size_t n;
};
void arc_manifest_fini(struct arc_manifest *m);
void arc_put_manifest(struct arc_buf *b, const struct arc_manifest *m);
MUST_USE enum st arc_get_manifest(const uint8_t *p, size_t n, struct arc_manifest *out);

#endif
