#include "engine/archive.h"

#include <stdio.h>
#include <zstd.h>

#define HEAD_SIZE 128u
#define FRAME_SIZE 40u
#define TRAILER_SIZE 64u
#define FRAME_MAGIC 0x5246414du /* "MAFR" */
static const char head_magic[8] = "MLRARCHV", trailer_magic[8] = "MLRAREND";
enum { CODEC_RAW = 0, CODEC_ZSTD = 1 };
enum { OUT_BYTES = 1024 * 1024 };

/* Seed of a checksum at `off`: a frame is good only in its archive and at its place. */
static uint32_t seed_at(const uint8_t uuid[16], uint64_t off)
{
    uint8_t b[8];
    put_u64le(b, off);
    return crc32c(crc32c(0, uuid, 16), b, 8);
}

/* --- buffers ---------------------------------------------------------------------------------- */

uint8_t *arc_room(struct arc_buf *b, size_t more)
{
    if (b->n + more > b->cap) {
        b->cap = (b->n + more) * 2;
        b->v = base_realloc(b->v, b->cap);
    }
    return b->v + b->n;
}

void arc_put_u32(struct arc_buf *b, uint32_t v)
{
    put_u32le(arc_room(b, 4), v);
    b->n += 4;
}

void arc_put_u64(struct arc_buf *b, uint64_t v)
{
    put_u64le(arc_room(b, 8), v);
    b->n += 8;
}

void arc_put_bytes(struct arc_buf *b, const void *p, size_t n)
{
    if (n > 0) {
        memcpy(arc_room(b, n), p, n);
        b->n += n;
    }
}

/* --- header and trailer ----------------------------------------------------------------------- */

static void head_put(uint8_t p[HEAD_SIZE], const struct arc_head *h)
{
    memset(p, 0, HEAD_SIZE);
    memcpy(p, head_magic, 8);
    put_u32le(p + 8, ARC_VERSION);
    memcpy(p + 16, h->archive_uuid, 16);
    memcpy(p + 32, h->store_uuid, 16);
    put_u64le(p + 48, (uint64_t)h->created_ns);
    put_u64le(p + 56, h->generation);
    put_u32le(p + 64, h->streams);
    put_u32le(p + 124, crc32c(0, p, 124));
}

static enum st head_get(const uint8_t p[HEAD_SIZE], struct arc_head *h, struct err *err)
{
    if (memcmp(p, head_magic, 8) != 0) {
        return err_set(err, ST_FOREIGN, 0, "this is no archive of millrace");
    }
    if (get_u32le(p + 124) != crc32c(0, p, 124)) {
        return err_set(err, ST_CORRUPT, 0, "header at 0: checksum does not fit");
    }
    uint32_t version = get_u32le(p + 8);
    if (version < 1 || version > ARC_VERSION || get_u32le(p + 12) != 0) {
        return err_set(err, ST_VERSION, 0, "archive has format version %u, this program reads %u",
                       version, ARC_VERSION);
    }
    memcpy(h->archive_uuid, p + 16, 16);
    memcpy(h->store_uuid, p + 32, 16);
    h->created_ns = (int64_t)get_u64le(p + 48);
    h->generation = get_u64le(p + 56);
    h->streams = get_u32le(p + 64);
    return ST_OK;
}

static void trailer_put(uint8_t p[TRAILER_SIZE], const struct arc_head *h, uint64_t manifest_off,
                        uint32_t manifest_crc, uint64_t file_len)
{
    memset(p, 0, TRAILER_SIZE);
    memcpy(p, trailer_magic, 8);
    put_u64le(p + 8, manifest_off);
    put_u64le(p + 16, file_len);
    put_u32le(p + 24, manifest_crc);
    memcpy(p + 32, h->archive_uuid, 16);
    put_u32le(p + 60, crc32c(seed_at(h->archive_uuid, file_len), p, 60));
}

/* --- writing ---------------------------------------------------------------------------------- */

struct arc_writer {
    struct env *env;    /* borrowed */
    struct env_file *f; /* owned */
    char *path, *part;  /* owned */
    struct arc_head head;
    uint8_t *out; /* owned: OUT_BYTES */
    size_t used;
    uint64_t off; /* written to the file */
    uint64_t ordinal, last_off;
    uint32_t prev_crc;
    uint8_t *packed; /* owned */
    size_t packed_cap;
    bool named; /* the file has its own name */
};

static enum st flush(struct arc_writer *w, struct err *err)
{
    enum st st = w->used > 0 ? env_pwrite(w->env, w->f, w->out, w->used, w->off, err) : ST_OK;
    w->off += w->used;
    w->used = 0;
    return st;
}

static enum st put(struct arc_writer *w, const uint8_t *p, size_t n, struct err *err)
{
    enum st st = ST_OK;
    if (w->used + n > OUT_BYTES) {
        st = flush(w, err);
    }
    if (st == ST_OK && n > OUT_BYTES) {
        st = env_pwrite(w->env, w->f, p, n, w->off, err);
        w->off += n;
    } else if (st == ST_OK) {
        memcpy(w->out + w->used, p, n);
        w->used += n;
    }
    return st;
}

static bool exists(struct env *env, const char *path)
{
    struct env_file *f = NULL;
    enum st st = env_open(env, path, ENV_RDONLY, &f, NULL);
    env_close(env, f);
    return st != ST_NOTFOUND;
}

enum st arc_create(struct env *env, const char *path, bool replace, const struct arc_head *head,
                   struct arc_writer **w_out, struct err *err)
{
    *w_out = NULL;
    if (!replace && exists(env, path)) {
        return err_set(err, ST_EXISTS, 0, "\"%s\" is there already", path);
    }
    struct arc_writer *w = base_calloc(1, sizeof *w);
    size_t len = strlen(path) + 6;
    w->env = env;
    w->head = *head;
    w->path = base_strdup(path);
    w->part = base_malloc(len);
    snprintf(w->part, len, "%s.part", path);
    w->out = base_malloc(OUT_BYTES);
    enum st st = env_unlink(env, w->part, NULL); /* of an attempt that was killed */
    st = env_open(env, w->part, ENV_RDWR | ENV_CREATE | ENV_EXCL, &w->f, err);
    if (st == ST_OK) {
        uint8_t page[HEAD_SIZE];
        head_put(page, head);
        w->prev_crc = get_u32le(page + 124);
        st = put(w, page, sizeof page, err);
    }
    if (st != ST_OK) {
        arc_abandon(w);
        return st;
    }
    *w_out = w;
    return ST_OK;
}

uint64_t arc_offset(const struct arc_writer *w)
{
    return w->off + w->used;
}

static size_t pack(struct arc_writer *w, const uint8_t *raw, size_t len)
{
    size_t bound = ZSTD_compressBound(len);
    if (bound > w->packed_cap) {
        base_free(w->packed);
        w->packed = base_malloc(bound);
        w->packed_cap = bound;
    }
    size_t n = ZSTD_compress(w->packed, bound, raw, len, 1);
    return ZSTD_isError(n) || n > len - len / 8 ? 0 : n;
}

enum st arc_write(struct arc_writer *w, enum arc_type type, uint32_t stream, const uint8_t *raw,
                  size_t len, uint32_t *body_crc_out, struct err *err)
{
    uint8_t h[FRAME_SIZE] = {0};
    ASSERT(len <= ARC_RAW_MAX);
    size_t packed = len >= 64 ? pack(w, raw, len) : 0;
    const uint8_t *body = packed > 0 ? w->packed : raw;
    size_t stored = packed > 0 ? packed : len;
    uint64_t off = arc_offset(w);
    uint32_t seed = seed_at(w->head.archive_uuid, off);
    put_u32le(h, FRAME_MAGIC);
    h[8] = (uint8_t)type;
    h[9] = packed > 0 ? CODEC_ZSTD : CODEC_RAW;
    put_u32le(h + 12, (uint32_t)stored);
    put_u32le(h + 16, (uint32_t)len);
    put_u32le(h + 20, crc32c(seed, body, stored));
    put_u32le(h + 24, w->prev_crc);
    put_u32le(h + 28, stream);
    put_u64le(h + 32, ++w->ordinal);
    put_u32le(h + 4, crc32c(seed, h + 8, FRAME_SIZE - 8));
    w->prev_crc = get_u32le(h + 4);
    w->last_off = off;
    if (body_crc_out != NULL) {
        *body_crc_out = get_u32le(h + 20);
    }
    enum st st = put(w, h, sizeof h, err);
    return st == ST_OK ? put(w, body, stored, err) : st;
}

static enum st sync_dir_of(struct env *env, const char *path, struct err *err)
{
    char *dir = base_strdup(path);
    char *slash = strrchr(dir, '/');
    enum st st;
    if (slash == NULL) {
        st = env_dirsync(env, ".", err);
    } else {
        slash[slash == dir] = 0;
        st = env_dirsync(env, dir, err);
    }
    base_free(dir);
    return st;
}

enum st arc_finish(struct arc_writer *w, struct err *err)
{
    uint8_t t[TRAILER_SIZE];
    trailer_put(t, &w->head, w->last_off, w->prev_crc, arc_offset(w) + TRAILER_SIZE);
    enum st st = put(w, t, sizeof t, err);
    if (st == ST_OK) {
        st = flush(w, err);
    }
    if (st == ST_OK) {
        st = env_datasync(w->env, w->f, err);
    }
    if (st == ST_OK) {
        st = env_rename(w->env, w->part, w->path, err);
        w->named = st == ST_OK;
    }
    if (st == ST_OK) {
        st = sync_dir_of(w->env, w->path, err);
    }
    arc_abandon(w);
    return st;
}

void arc_abandon(struct arc_writer *w)
{
    if (w == NULL) {
        return;
    }
    if (w->f != NULL && !w->named) {
        enum st st = env_unlink(w->env, w->part, NULL);
        (void)st;
    }
    env_close(w->env, w->f);
    base_free(w->path);
    base_free(w->part);
    base_free(w->out);
    base_free(w->packed);
    base_free(w);
}

/* --- reading ---------------------------------------------------------------------------------- */

struct arc_reader {
    struct env *env;    /* borrowed */
    struct env_file *f; /* owned */
    struct arc_head head;
    uint32_t head_crc;
    uint64_t size, manifest_off;
    uint32_t manifest_crc;
    /* where it stands */
    uint64_t off, ordinal;
    uint32_t prev_crc;
    bool ended;
    uint8_t *stored, *raw; /* owned */
    size_t stored_cap, raw_cap;
};

static enum st read_at(struct arc_reader *r, void *p, size_t n, uint64_t off, struct err *err)
{
    size_t got = 0;
    enum st st = env_pread(r->env, r->f, p, n, off, &got, err);
    return st != ST_OK ? st
           : got == n  ? ST_OK
                       : err_set(err, ST_CORRUPT, 0, "at %llu: the file ends at %llu",
                                 (unsigned long long)off, (unsigned long long)(off + got));
}

static enum st read_ends(struct arc_reader *r, struct err *err)
{
    uint8_t h[HEAD_SIZE], t[TRAILER_SIZE];
    enum st st = env_size(r->env, r->f, &r->size, err);
    if (st == ST_OK && r->size < HEAD_SIZE) {
        return err_set(err, ST_FOREIGN, 0, "this is no archive of millrace: it has %llu bytes",
                       (unsigned long long)r->size);
    }
    st = st == ST_OK ? read_at(r, h, sizeof h, 0, err) : st;
    st = st == ST_OK ? head_get(h, &r->head, err) : st;
    if (st != ST_OK) {
        return st;
    }
    r->head_crc = get_u32le(h + 124);
    if (r->size < HEAD_SIZE + TRAILER_SIZE) {
        return err_set(err, ST_CORRUPT, 0, "at %llu: the archive is cut short",
                       (unsigned long long)r->size);
    }
    uint64_t at = r->size - TRAILER_SIZE;
    st = read_at(r, t, sizeof t, at, err);
    if (st == ST_OK &&
        (memcmp(t, trailer_magic, 8) != 0 || get_u64le(t + 16) != r->size ||
         memcmp(t + 32, r->head.archive_uuid, 16) != 0 ||
         get_u32le(t + 60) != crc32c(seed_at(r->head.archive_uuid, r->size), t, 60))) {
        return err_set(err, ST_CORRUPT, 0,
                       "trailer at %llu: the archive is cut short, or its end was altered",
                       (unsigned long long)at);
    }
    r->manifest_off = get_u64le(t + 8);
    r->manifest_crc = get_u32le(t + 24);
    return st;
}

enum st arc_open(struct env *env, const char *path, struct arc_reader **r_out, struct err *err)
{
    struct arc_reader *r = base_calloc(1, sizeof *r);
    *r_out = NULL;
    r->env = env;
    enum st st = env_open(env, path, ENV_RDONLY, &r->f, err);
    if (st == ST_OK) {
        st = read_ends(r, err);
    }
    if (st != ST_OK) {
        err_prefix(err, "archive \"%s\"", path);
        arc_close(r);
        return st;
    }
    arc_rewind(r);
    *r_out = r;
    return ST_OK;
}

void arc_rewind(struct arc_reader *r)
{
    r->off = HEAD_SIZE;
    r->ordinal = 0;
    r->prev_crc = r->head_crc;
    r->ended = false;
}

const struct arc_head *arc_head_of(const struct arc_reader *r)
{
    return &r->head;
}

uint64_t arc_file_bytes(const struct arc_reader *r)
{
    return r->size;
}

uint64_t arc_position(const struct arc_reader *r)
{
    return r->off;
}

void arc_close(struct arc_reader *r)
{
    if (r != NULL) {
        env_close(r->env, r->f);
        base_free(r->stored);
        base_free(r->raw);
        base_free(r);
    }
}

static enum st bad(struct arc_reader *r, struct err *err, const char *what)
{
    return err_set(err, ST_CORRUPT, 0, "frame %llu at %llu: %s", (unsigned long long)r->ordinal + 1,
                   (unsigned long long)r->off, what);
}

static void grow(uint8_t **p, size_t *cap, size_t need)
{
    if (need > *cap) {
        base_free(*p);
        *p = base_malloc(need);
        *cap = need;
    }
}

/* Unpacks what lies in r->stored; *raw_out is r->stored or r->raw. */
static enum st unpack(struct arc_reader *r, uint8_t codec, size_t stored, size_t len,
                      const uint8_t **raw_out)
{
    if (codec == CODEC_RAW) {
        *raw_out = r->stored;
        return stored == len ? ST_OK : ST_CORRUPT;
    }
    grow(&r->raw, &r->raw_cap, len + 1);
    size_t n = codec == CODEC_ZSTD ? ZSTD_decompress(r->raw, len, r->stored, stored) : SIZE_MAX;
    *raw_out = r->raw;
    return n == len ? ST_OK : ST_CORRUPT;
}

static enum st check_head(struct arc_reader *r, const uint8_t *h, struct err *err)
{
    uint32_t seed = seed_at(r->head.archive_uuid, r->off);
    if (get_u32le(h) != FRAME_MAGIC || get_u32le(h + 4) != crc32c(seed, h + 8, FRAME_SIZE - 8)) {
        return bad(r, err, "its head was altered");
    }
    if (get_u32le(h + 24) != r->prev_crc || get_u64le(h + 32) != r->ordinal + 1) {
        return bad(r, err, "it does not follow the frame before it");
    }
    uint64_t stored = get_u32le(h + 12);
    if (h[8] < ARC_STREAM || h[8] > ARC_WINDOW || get_u16le(h + 10) != 0 ||
        get_u32le(h + 16) > ARC_RAW_MAX || stored > r->size - TRAILER_SIZE - FRAME_SIZE - r->off) {
        return bad(r, err, "it has fields that this version does not know");
    }
    bool last = r->off == r->manifest_off;
    if ((h[8] == ARC_MANIFEST) != last ||
        (last && (get_u32le(h + 4) != r->manifest_crc ||
                  r->off + FRAME_SIZE + stored != r->size - TRAILER_SIZE))) {
        return bad(r, err, "the manifest is not where the trailer says");
    }
    return ST_OK;
}

enum st arc_next(struct arc_reader *r, struct arc_frame *f, struct err *err)
{
    uint8_t h[FRAME_SIZE];
    if (r->ended) {
        return ST_NOTFOUND;
    }
    if (r->off + FRAME_SIZE + TRAILER_SIZE > r->size) {
        return bad(r, err, "the archive is cut short");
    }
    enum st st = read_at(r, h, sizeof h, r->off, err);
    st = st == ST_OK ? check_head(r, h, err) : st;
    if (st != ST_OK) {
        return st;
    }
    size_t stored = get_u32le(h + 12), len = get_u32le(h + 16);
    grow(&r->stored, &r->stored_cap, stored + 1);
    st = read_at(r, r->stored, stored, r->off + FRAME_SIZE, err);
    if (st != ST_OK) {
        return st;
    }
    *f = (struct arc_frame){.type = (enum arc_type)h[8],
                            .stream = get_u32le(h + 28),
                            .off = r->off,
                            .len = len,
                            .body_crc = get_u32le(h + 20)};
    if (f->body_crc != crc32c(seed_at(r->head.archive_uuid, r->off), r->stored, stored)) {
        return bad(r, err, "its content was altered");
    }
    if (unpack(r, h[9], stored, len, &f->raw) != ST_OK) {
        return bad(r, err, "its content cannot be unpacked");
    }
    r->prev_crc = get_u32le(h + 4);
    r->ordinal++;
    r->off += FRAME_SIZE + stored;
    r->ended = f->type == ARC_MANIFEST;
    return ST_OK;
}
