/* jsadmin object put and get: files.
 *
 * A get writes OUTPUT.<nuid>.part and renames it when everything is there, verified and synced, so
 * OUTPUT is never half an object. The nuid names one writing of an object: a partial file of an
 * older one is never gone on with. --resume hashes what is there, compares its end with the store,
 * and goes on behind it; the object's digest then covers the whole file. */
#include "tools/jsadmin_object.h"

#include <inttypes.h>
#include <stdio.h>

/* --- put -------------------------------------------------------------------------------------- */

struct source {
    struct place *p;
    struct env_file *file; /* NULL: standard input */
    uint64_t at, size;     /* size 0: not known */
    int64_t shown_ns;
    const char *what;
};

static void show(struct place *p, const char *what, uint64_t done, uint64_t total, int64_t *shown)
{
    int64_t now = env_boot_ns(p->ja.env);
    if (total >= 8 * MIB && (done == total || now - *shown >= NS_PER_S / 5)) {
        ja_progress(&p->ja, what, done, total);
        *shown = now;
    }
}

static enum st read_source(void *arg, uint8_t *buf, size_t cap, size_t *n_out, struct err *err)
{
    struct source *s = arg;
    enum st st = ST_OK;
    if (place_interrupted()) {
        return err_set(err, ST_CLOSED, 0, "interrupted; nothing was put");
    }
    if (s->file != NULL) {
        st = env_pread(s->p->ja.env, s->file, buf, cap, s->at, n_out, err);
    } else {
        *n_out = fread(buf, 1, cap, stdin);
    }
    if (st == ST_OK) {
        s->at += *n_out;
        show(s->p, s->what, s->at, s->size, &s->shown_ns);
    }
    return st;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

int object_put(struct place *p, int argc, char **argv)
{
    struct obj_bucket *b;
    struct obj_info i = {0};
    const struct place_opts *o = &p->o;
    bool from_stdin = strcmp(argv[1], "-") == 0;
    struct source src = {.p = p, .what = argv[1]};
    struct obj_meta m = {.name = o->name != NULL ? o->name : base_name(argv[1]),
                         .description = o->description,
                         .metadata = o->metadata,
                         .nmetadata = o->nmetadata,
                         .chunk_bytes = (uint32_t)u64_min(o->chunk, UINT32_MAX)};
    (void)argc;
    enum st st = object_bucket(p, argv[0], &b);
    if (st == ST_OK && from_stdin && o->name == NULL) {
        st = err_set(&p->err, ST_INVALID, 0, "standard input needs a --name");
    }
    if (st == ST_OK && !from_stdin) {
        st = env_open(p->ja.env, argv[1], ENV_RDONLY, &src.file, &p->err);
    }
    if (st == ST_OK && !from_stdin) {
        st = env_size(p->ja.env, src.file, &src.size, &p->err);
    }
    if (st == ST_OK) {
        st = obj_sync_put(&p->drive, b, &m, read_source, &src, &i, &p->err);
    }
    env_close(p->ja.env, src.file);
    if (st == ST_OK) {
        object_print(p, &i);
    }
    obj_info_fini(&i);
    int code = place_result(p, st);
    obj_close(b);
    return code;
}

/* --- get -------------------------------------------------------------------------------------- */

struct target {
    struct place *p;
    struct env_file *file; /* NULL: standard output */
    char *part;            /* owned */
    uint64_t at, total;
    int64_t shown_ns;
    const char *what;
};

static enum st write_target(void *arg, const uint8_t *data, size_t len, struct err *err)
{
    struct target *t = arg;
    enum st st = ST_OK;
    if (place_interrupted()) {
        return err_set(err, ST_CLOSED, 0, "interrupted%s",
                       t->file != NULL ? "; --resume goes on" : "");
    }
    if (t->file != NULL) {
        st = env_pwrite(t->p->ja.env, t->file, data, len, t->at, err);
    } else if (fwrite(data, 1, len, stdout) != len) {
        st = err_set(err, ST_IO, 0, "could not write to standard output");
    }
    if (st == ST_OK) {
        t->at += len;
        show(t->p, t->what, t->at, t->total, &t->shown_ns);
    }
    return st;
}

/* What a range of the object must be. */
struct compare {
    const uint8_t *want;
    size_t len, at;
    bool differs;
};

static enum st compare_data(void *arg, const uint8_t *data, size_t len, struct err *err)
{
    struct compare *c = arg;
    (void)err;
    c->differs = c->differs || len > c->len - c->at || memcmp(c->want + c->at, data, len) != 0;
    c->at += u64_min(len, c->len - c->at);
    return ST_OK;
}

/* The end of what is there, up to a chunk of it, is what the store has at that place. */
static enum st compare_end(struct place *p, struct obj_bucket *b, const struct obj_info *i,
                           const uint8_t *tail, size_t len, uint64_t size)
{
    struct compare c = {.want = tail, .len = len};
    struct obj_sink sink = {.arg = &c, .data = compare_data};
    struct obj_get_opts o = {.offset = size - len, .length = len, .nuid = i->nuid};
    enum st st = len == 0 ? ST_OK : obj_sync_get(&p->drive, b, i->name, &o, &sink, &p->err);
    return st != ST_OK ? st : c.differs || c.at != len ? ST_MISMATCH : ST_OK;
}

/* Hashes and checks what is there; *o_out then says where to go on. ST_MISMATCH: it is no beginning
 * of the object. */
static enum st verify_part(struct place *p, struct obj_bucket *b, const struct obj_info *i,
                           struct target *t, struct obj_get_opts *o_out)
{
    uint64_t size = 0, at = 0;
    int64_t shown = 0;
    size_t cap = OBJ_CHUNK_BYTES_DEFAULT, got = 0, last = 0;
    enum st st = env_size(p->ja.env, t->file, &size, &p->err);
    if (st == ST_OK && size > i->size) {
        st = ST_MISMATCH;
    }
    uint8_t *buf = base_malloc(cap);
    struct obj_digest *d = obj_digest_create();
    while (st == ST_OK && at < size) {
        st = env_pread(p->ja.env, t->file, buf, cap, at, &got, &p->err);
        if (st == ST_OK && got == 0) {
            st = err_set(&p->err, ST_IO, 0, "\"%.150s\" became shorter", t->part);
        }
        obj_digest_add(d, buf, st == ST_OK ? got : 0);
        at += got;
        last = got;
        show(p, "verifying what is there", at, size, &shown);
    }
    if (st == ST_OK) {
        st = compare_end(p, b, i, buf, last, size);
    }
    base_free(buf);
    if (st != ST_OK) {
        obj_digest_destroy(d);
        return st;
    }
    o_out->before = d;
    o_out->offset = t->at = size;
    return ST_OK;
}

/* Opens the partial file, old (--resume) or new. */
static enum st open_part(struct place *p, struct obj_bucket *b, const struct obj_info *i,
                         const char *output, struct target *t, struct obj_get_opts *o)
{
    size_t n = strlen(output) + strlen(i->nuid) + 8;
    t->part = base_malloc(n);
    (void)snprintf(t->part, n, "%s.%s.part", output, i->nuid);
    enum st st = env_open(p->ja.env, t->part, ENV_RDWR | ENV_CREATE, &t->file, &p->err);
    if (st == ST_OK && p->o.resume) {
        st = verify_part(p, b, i, t, o);
        if (st == ST_MISMATCH) {
            fprintf(stderr,
                    "jsadmin: what stands in \"%s\" is no beginning of the object; starting "
                    "over\n",
                    t->part);
        } else {
            return st;
        }
    }
    return st == ST_OK || st == ST_MISMATCH ? env_truncate(p->ja.env, t->file, 0, &p->err) : st;
}

static enum st sync_dir_of(struct place *p, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL   ? base_strdup(".")
                : slash == path ? base_strdup("/")
                                : base_strndup(path, (size_t)(slash - path));
    enum st st = env_dirsync(p->ja.env, dir, &p->err);
    base_free(dir);
    return st;
}

/* Everything is in the partial file: it becomes the output. */
static enum st finish_part(struct place *p, struct target *t, const char *output)
{
    enum st st = env_datasync(p->ja.env, t->file, &p->err);
    if (st == ST_OK) {
        st = env_rename(p->ja.env, t->part, output, &p->err);
    }
    return st == ST_OK ? sync_dir_of(p, output) : st;
}

/* The object behind a name: links are followed here already, because the partial file is named
 * after what they lead to. *b may become another bucket. */
static enum st resolve(struct place *p, struct obj_bucket **b, const char *name, struct obj_info *i)
{
    enum st st = obj_sync_info(&p->drive, *b, name, i, &p->err);
    if (st != ST_OK || i->link_bucket == NULL || i->link_name == NULL) {
        return st;
    }
    struct obj_bucket *to;
    char *target = base_strdup(i->link_name);
    st = object_bucket(p, i->link_bucket, &to);
    obj_info_fini(i);
    if (st == ST_OK) {
        obj_close(*b);
        *b = to;
        st = obj_sync_info(&p->drive, to, target, i, &p->err);
    }
    base_free(target);
    return st;
}

static bool exists(struct place *p, const char *path)
{
    struct env_file *f;
    bool there = env_open(p->ja.env, path, ENV_RDONLY, &f, NULL) == ST_OK;
    env_close(p->ja.env, there ? f : NULL);
    return there;
}

static enum st get_to_file(struct place *p, struct obj_bucket *b, const struct obj_info *i,
                           const char *output)
{
    struct target t = {.p = p, .what = output};
    struct obj_get_opts o = {.nuid = i->nuid};
    struct obj_sink sink = {.arg = &t, .data = write_target};
    bool range = p->o.offset != 0 || p->o.length != 0;
    if (exists(p, output) && !p->o.replace) {
        return err_set(&p->err, ST_EXISTS, 0, "\"%.150s\" exists; --replace writes over it",
                       output);
    }
    if (range && p->o.resume) {
        return err_set(&p->err, ST_INVALID, 0, "--resume is for whole objects");
    }
    if (i->nuid == NULL || i->link_bucket != NULL) {
        return err_set(&p->err, ST_INVALID, 0, "\"%.150s\" is a link without an object", i->name);
    }
    t.total = range ? 0 : i->size;
    enum st st = open_part(p, b, i, output, &t, &o);
    if (st == ST_OK) {
        o.offset += p->o.offset;
        o.length = p->o.length;
        st = obj_sync_get(&p->drive, b, i->name, &o, &sink, &p->err);
    }
    if (st == ST_OK) {
        st = finish_part(p, &t, output);
    }
    env_close(p->ja.env, t.file);
    if (st == ST_CORRUPT && t.part != NULL) { /* nothing to go on with */
        st = st_merge(st, env_unlink(p->ja.env, t.part, NULL));
    }
    base_free(t.part);
    return st;
}

int object_get(struct place *p, int argc, char **argv)
{
    struct obj_bucket *b;
    struct obj_info i = {0};
    const char *output = p->o.output != NULL ? p->o.output : base_name(argv[1]);
    (void)argc;
    enum st st = object_bucket(p, argv[0], &b);
    if (st == ST_OK && strcmp(output, "-") == 0) {
        struct target t = {.p = p, .what = argv[1]};
        struct obj_sink sink = {.arg = &t, .data = write_target};
        struct obj_get_opts o = {.offset = p->o.offset, .length = p->o.length};
        st = obj_sync_get(&p->drive, b, argv[1], &o, &sink, &p->err);
        int code = place_result(p, st);
        obj_close(b);
        return code;
    }
    if (st == ST_OK) {
        st = resolve(p, &b, argv[1], &i);
    }
    if (st == ST_OK) {
        st = get_to_file(p, b, &i, output);
    }
    if (st == ST_OK && p->o.json) {
        object_print(p, &i);
    } else if (st == ST_OK) {
        printf("%s\n", output);
    }
    obj_info_fini(&i);
    int code = place_result(p, st);
    obj_close(b);
    return code;
}
