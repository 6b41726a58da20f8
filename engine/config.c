#include "engine/config.h"

enum kind { K_STR, K_STRS, K_U32, K_I32, K_U64, K_I64, K_I64S, K_BOOL, K_ENUM, K_KVS, K_BYTES };

/* One line per field; init, fini, copy, encode, decode and equal are made from the table. `aux` is
 * the offset of the count of a list; `max` the highest value of an enum. */
struct field {
    uint8_t id;
    enum kind kind;
    size_t off, aux;
    uint32_t max;
};

#define S(m) offsetof(struct stream_cfg, m)
static const struct field stream_fields[] = {
    {1, K_STR, S(account), 0, 0},
    {2, K_STR, S(name), 0, 0},
    {3, K_STR, S(description), 0, 0},
    {4, K_STRS, S(subjects), S(nsubjects), 0},
    {5, K_ENUM, S(retention), 0, RETENTION_WORKQUEUE},
    {6, K_ENUM, S(storage), 0, STORAGE_MEMORY},
    {7, K_ENUM, S(discard), 0, DISCARD_NEW},
    {8, K_ENUM, S(compression), 0, COMPRESSION_S2},
    {9, K_ENUM, S(persist), 0, PERSIST_ASYNC},
    {10, K_I64, S(max_consumers), 0, 0},
    {11, K_I64, S(max_msgs), 0, 0},
    {12, K_I64, S(max_bytes), 0, 0},
    {13, K_I64, S(max_msgs_per_subject), 0, 0},
    {14, K_I64, S(max_age_ns), 0, 0},
    {15, K_I32, S(max_msg_size), 0, 0},
    {16, K_I64, S(duplicates_ns), 0, 0},
    {17, K_U64, S(first_seq), 0, 0},
    {18, K_U32, S(replicas), 0, 0},
    {19, K_BOOL, S(no_ack), 0, 0},
    {20, K_BOOL, S(sealed), 0, 0},
    {21, K_BOOL, S(deny_delete), 0, 0},
    {22, K_BOOL, S(deny_purge), 0, 0},
    {23, K_BOOL, S(allow_rollup), 0, 0},
    {24, K_BOOL, S(allow_direct), 0, 0},
    {25, K_BOOL, S(mirror_direct), 0, 0},
    {26, K_BOOL, S(discard_new_per_subject), 0, 0},
    {27, K_BOOL, S(allow_msg_ttl), 0, 0},
    {28, K_I64, S(subject_delete_marker_ttl_ns), 0, 0},
    {29, K_KVS, S(metadata), S(nmetadata), 0},
    {30, K_BYTES, S(opaque), S(opaque_len), 0},
    {31, K_BOOL, S(mirror), 0, 0},
    {32, K_BOOL, S(allow_msg_counter), 0, 0},
    {33, K_BOOL, S(allow_atomic), 0, 0},
    {34, K_BOOL, S(allow_msg_schedules), 0, 0},
    {35, K_BOOL, S(allow_batched), 0, 0},
};
#undef S
#define C(m) offsetof(struct cons_cfg, m)
static const struct field cons_fields[] = {
    {1, K_STR, C(name), 0, 0},
    {2, K_BOOL, C(durable), 0, 0},
    {3, K_STR, C(description), 0, 0},
    {4, K_ENUM, C(deliver), 0, DELIVER_LAST_PER_SUBJECT},
    {5, K_ENUM, C(ack), 0, ACK_FLOW_CONTROL},
    {6, K_ENUM, C(replay), 0, REPLAY_ORIGINAL},
    {7, K_U64, C(opt_start_seq), 0, 0},
    {8, K_I64, C(opt_start_time_ns), 0, 0},
    {9, K_I64, C(ack_wait_ns), 0, 0},
    {10, K_I64, C(max_deliver), 0, 0},
    {11, K_I64S, C(backoff_ns), C(nbackoff), 0},
    {12, K_STRS, C(filters), C(nfilters), 0},
    {13, K_BOOL, C(single_filter), 0, 0},
    {14, K_I64, C(max_ack_pending), 0, 0},
    {15, K_I64, C(max_waiting), 0, 0},
    {16, K_I64, C(max_batch), 0, 0},
    {17, K_I64, C(max_bytes), 0, 0},
    {18, K_I64, C(max_expires_ns), 0, 0},
    {19, K_STR, C(deliver_subject), 0, 0},
    {20, K_STR, C(deliver_group), 0, 0},
    {21, K_BOOL, C(flow_control), 0, 0},
    {22, K_BOOL, C(headers_only), 0, 0},
    {23, K_BOOL, C(mem_storage), 0, 0},
    {24, K_BOOL, C(direct), 0, 0},
    {25, K_I64, C(heartbeat_ns), 0, 0},
    {26, K_I64, C(inactive_threshold_ns), 0, 0},
    {27, K_U64, C(rate_limit_bps), 0, 0},
    {28, K_STR, C(sample_freq), 0, 0},
    {29, K_U32, C(replicas), 0, 0},
    {30, K_KVS, C(metadata), C(nmetadata), 0},
    {31, K_BYTES, C(opaque), C(opaque_len), 0},
    {32, K_I64, C(pause_until_ns), 0, 0},
    {33, K_ENUM, C(priority), 0, PRIORITY_PRIORITIZED},
    {34, K_STRS, C(priority_groups), C(npriority_groups), 0},
    {35, K_I64, C(priority_timeout_ns), 0, 0},
    {36, K_BOOL, C(sourcing), 0, 0},
};
#undef C

static void *at(const void *c, size_t off)
{
    return (char *)(uintptr_t)c + off;
}

/* --- init, fini, copy ------------------------------------------------------------------------- */

void stream_cfg_init(struct stream_cfg *c)
{
    memset(c, 0, sizeof *c);
    c->max_consumers = c->max_msgs = c->max_bytes = c->max_msgs_per_subject = -1;
    c->max_msg_size = -1;
    c->replicas = 1;
}

void cons_cfg_init(struct cons_cfg *c)
{
    memset(c, 0, sizeof *c);
    c->max_deliver = -1;
    c->max_ack_pending = -1;
    c->replicas = 0;
}

static void fields_fini(void *c, const struct field *f, size_t n)
{
    for (; n > 0; n--, f++) {
        void *p = at(c, f->off);
        if (f->kind == K_STRS) {
            char **v = *(char ***)p;
            for (size_t i = 0; i < *(size_t *)at(c, f->aux); i++) {
                base_free(v[i]);
            }
        } else if (f->kind == K_KVS) {
            struct store_kv *v = *(struct store_kv **)p;
            for (size_t i = 0; i < *(size_t *)at(c, f->aux); i++) {
                base_free(v[i].key);
                base_free(v[i].value);
            }
        }
        if (f->kind == K_STR || f->kind == K_STRS || f->kind == K_KVS || f->kind == K_BYTES ||
            f->kind == K_I64S) {
            base_free(*(void **)p);
        }
    }
}

void stream_cfg_fini(struct stream_cfg *c)
{
    fields_fini(c, stream_fields, ARRAY_LEN(stream_fields));
    memset(c, 0, sizeof *c);
}

void cons_cfg_fini(struct cons_cfg *c)
{
    fields_fini(c, cons_fields, ARRAY_LEN(cons_fields));
    memset(c, 0, sizeof *c);
}

static void *dup_bytes(const void *p, size_t len)
{
    if (p == NULL || len == 0) {
        return NULL;
    }
    void *q = base_malloc(len);
    memcpy(q, p, len);
    return q;
}

/* The struct has been copied byte by byte; gives it its own strings and lists. */
static void fields_own(void *c, const struct field *f, size_t n)
{
    for (; n > 0; n--, f++) {
        void **p = at(c, f->off);
        size_t count = f->aux != 0 ? *(size_t *)at(c, f->aux) : 0;
        if (f->kind == K_STR && *p != NULL) {
            *p = base_strdup(*p);
        } else if (f->kind == K_BYTES) {
            *p = dup_bytes(*p, count);
        } else if (f->kind == K_I64S) {
            *p = dup_bytes(*p, count * sizeof(int64_t));
        } else if (f->kind == K_STRS) {
            char **v = *p = dup_bytes(*p, count * sizeof(char *));
            for (size_t i = 0; i < count; i++) {
                v[i] = base_strdup(v[i]);
            }
        } else if (f->kind == K_KVS) {
            struct store_kv *v = *p = dup_bytes(*p, count * sizeof *v);
            for (size_t i = 0; i < count; i++) {
                v[i].key = base_strdup(v[i].key);
                v[i].value = base_strdup(v[i].value);
            }
        }
    }
}

void stream_cfg_copy(struct stream_cfg *to, const struct stream_cfg *from)
{
    *to = *from;
    fields_own(to, stream_fields, ARRAY_LEN(stream_fields));
}

void cons_cfg_copy(struct cons_cfg *to, const struct cons_cfg *from)
{
    *to = *from;
    fields_own(to, cons_fields, ARRAY_LEN(cons_fields));
}

/* --- encode ----------------------------------------------------------------------------------- */

struct out {
    uint8_t *p;
    size_t n, cap;
};

static void out_bytes(struct out *o, const void *p, size_t len)
{
    if (o->n + len > o->cap) {
        o->cap = (o->n + len) * 2 + 64;
        o->p = base_realloc(o->p, o->cap);
    }
    if (len > 0) {
        memcpy(o->p + o->n, p, len);
    }
    o->n += len;
}

static void out_varint(struct out *o, uint64_t v)
{
    uint8_t b[10];
    out_bytes(o, b, varint_put(b, v));
}

static void out_str(struct out *o, const char *s)
{
    out_varint(o, strlen(s));
    out_bytes(o, s, strlen(s));
}

static void put_value(struct out *o, const void *c, const struct field *f)
{
    const void *p = at(c, f->off);
    size_t count = f->aux != 0 ? *(const size_t *)at(c, f->aux) : 0;
    switch (f->kind) {
    case K_STR: {
        const char *s = *(char *const *)p;
        out_bytes(o, s, strlen(s));
        break;
    }
    case K_BYTES:
        out_bytes(o, *(uint8_t *const *)p, count);
        break;
    case K_U32:
    case K_ENUM:
        out_varint(o, *(const uint32_t *)p);
        break;
    case K_I32:
        out_varint(o, zigzag(*(const int32_t *)p));
        break;
    case K_U64:
        out_varint(o, *(const uint64_t *)p);
        break;
    case K_I64:
        out_varint(o, zigzag(*(const int64_t *)p));
        break;
    case K_BOOL:
        out_varint(o, *(const bool *)p);
        break;
    case K_I64S:
        for (size_t i = 0; i < count; i++) {
            out_varint(o, zigzag((*(int64_t *const *)p)[i]));
        }
        break;
    case K_STRS:
        for (size_t i = 0; i < count; i++) {
            out_str(o, (*(char **const *)p)[i]);
        }
        break;
    case K_KVS:
        for (size_t i = 0; i < count; i++) {
            out_str(o, (*(struct store_kv *const *)p)[i].key);
            out_str(o, (*(struct store_kv *const *)p)[i].value);
        }
        break;
    }
}

/* A NULL string and an empty list are absent; everything else is written, so that a changed default
 * never changes what an old config says. */
static bool is_absent(const void *c, const struct field *f)
{
    if (f->kind == K_STR) {
        return *(char *const *)at(c, f->off) == NULL;
    }
    return f->aux != 0 && *(const size_t *)at(c, f->aux) == 0;
}

static void encode(const struct cfg_head *h, const void *c, const struct field *f, size_t n,
                   uint8_t **out, size_t *len)
{
    struct out o = {0}, v = {0};
    uint8_t head[16] = {h->kind, h->op};
    put_u32le(head + 4, h->cfg_version);
    put_u64le(head + 8, (uint64_t)h->created_ns);
    out_bytes(&o, head, sizeof head);
    for (; n > 0; n--, f++) {
        if (is_absent(c, f)) {
            continue;
        }
        v.n = 0;
        put_value(&v, c, f);
        out_bytes(&o, &f->id, 1);
        out_varint(&o, v.n);
        out_bytes(&o, v.p, v.n);
    }
    base_free(v.p);
    *out = o.p;
    *len = o.n;
}

void stream_cfg_encode(const struct cfg_head *h, const struct stream_cfg *c, uint8_t **out,
                       size_t *len_out)
{
    encode(h, c, stream_fields, ARRAY_LEN(stream_fields), out, len_out);
}

void cons_cfg_encode(const struct cfg_head *h, const struct cons_cfg *c, uint8_t **out,
                     size_t *len_out)
{
    encode(h, c, cons_fields, ARRAY_LEN(cons_fields), out, len_out);
}

/* --- decode ----------------------------------------------------------------------------------- */

struct in {
    const uint8_t *p;
    size_t n;
};

static bool in_varint(struct in *i, uint64_t *v)
{
    size_t used = varint_get(i->p, i->n, v);
    i->p += used;
    i->n -= used;
    return used != 0;
}

/* A string without NUL inside, as a C string. */
static char *in_str(const uint8_t *p, size_t len)
{
    return memchr(p, 0, len) == NULL ? base_strndup((const char *)p, len) : NULL;
}

static char *in_lstr(struct in *i)
{
    uint64_t len;
    if (!in_varint(i, &len) || len > i->n) {
        return NULL;
    }
    char *s = in_str(i->p, (size_t)len);
    i->p += len;
    i->n -= (size_t)len;
    return s;
}

/* Grows a list by one zeroed element; the count is raised at once, so that fini frees what is
 * there. */
static void *grow(void *c, const struct field *f, size_t elem)
{
    void **v = at(c, f->off);
    size_t *count = at(c, f->aux);
    *v = base_realloc(*v, (*count + 1) * elem);
    char *e = (char *)*v + *count * elem;
    memset(e, 0, elem);
    (*count)++;
    return e;
}

static bool get_number(struct in i, void *p, const struct field *f)
{
    uint64_t v;
    if (!in_varint(&i, &v) || i.n != 0) {
        return false;
    }
    switch (f->kind) {
    case K_U32:
        *(uint32_t *)p = (uint32_t)v;
        return v <= UINT32_MAX;
    case K_ENUM:
        *(uint32_t *)p = (uint32_t)v;
        return v <= f->max;
    case K_I32:
        *(int32_t *)p = (int32_t)unzigzag(v);
        return unzigzag(v) >= INT32_MIN && unzigzag(v) <= INT32_MAX;
    case K_U64:
        *(uint64_t *)p = v;
        return true;
    case K_I64:
        *(int64_t *)p = unzigzag(v);
        return true;
    default:
        *(bool *)p = v == 1;
        return v <= 1;
    }
}

static bool get_list(void *c, struct in i, const struct field *f)
{
    while (i.n > 0) {
        if (f->kind == K_I64S) {
            uint64_t v;
            if (!in_varint(&i, &v)) {
                return false;
            }
            *(int64_t *)grow(c, f, sizeof(int64_t)) = unzigzag(v);
        } else if (f->kind == K_STRS) {
            char *s = in_lstr(&i);
            if (s == NULL) {
                return false;
            }
            *(char **)grow(c, f, sizeof(char *)) = s;
        } else {
            struct store_kv *kv = grow(c, f, sizeof *kv);
            kv->key = in_lstr(&i);
            kv->value = kv->key != NULL ? in_lstr(&i) : NULL;
            if (kv->value == NULL) {
                return false;
            }
        }
    }
    return true;
}

static bool get_value(void *c, struct in v, const struct field *f)
{
    void *p = at(c, f->off);
    switch (f->kind) {
    case K_STR:
        return (*(char **)p = in_str(v.p, v.n)) != NULL;
    case K_BYTES:
        *(uint8_t **)p = dup_bytes(v.p, v.n);
        *(size_t *)at(c, f->aux) = v.n;
        return true;
    case K_STRS:
    case K_I64S:
    case K_KVS:
        return get_list(c, v, f);
    default:
        return get_number(v, p, f);
    }
}

/* Reads the head only. */
static enum st head_decode(const uint8_t *in, size_t len, struct cfg_head *h_out)
{
    if (len < 16 || in[0] > CFG_KIND_CONSUMER || in[1] > CFG_OP_UPDATE || get_u16le(in + 2) != 0) {
        return ST_CORRUPT;
    }
    *h_out = (struct cfg_head){in[0], in[1], get_u32le(in + 4), (int64_t)get_u64le(in + 8)};
    return ST_OK;
}

static enum st decode(const uint8_t *in, size_t len, uint8_t kind, struct cfg_head *h, void *c,
                      const struct field *f, size_t n)
{
    enum st st = head_decode(in, len, h);
    if (st != ST_OK || h->kind != kind) {
        return ST_CORRUPT;
    }
    struct in i = {in + 16, len - 16};
    unsigned last = 0;
    while (i.n > 0) {
        uint8_t id = *i.p++;
        i.n--;
        uint64_t vlen;
        if (id <= last || !in_varint(&i, &vlen) || vlen > i.n) {
            return ST_CORRUPT;
        }
        last = id;
        if (id > n) {
            return ST_VERSION;
        }
        ASSERT(f[id - 1].id == id);
        if (!get_value(c, (struct in){i.p, (size_t)vlen}, &f[id - 1])) {
            return ST_CORRUPT;
        }
        i.p += vlen;
        i.n -= (size_t)vlen;
    }
    return ST_OK;
}

enum st stream_cfg_decode(const uint8_t *in, size_t len, struct cfg_head *h_out,
                          struct stream_cfg *c_out)
{
    stream_cfg_init(c_out);
    enum st st =
        decode(in, len, CFG_KIND_STREAM, h_out, c_out, stream_fields, ARRAY_LEN(stream_fields));
    if (st == ST_OK && (c_out->name == NULL || c_out->account == NULL)) {
        st = ST_CORRUPT;
    }
    if (st != ST_OK) {
        stream_cfg_fini(c_out);
    }
    return st;
}

enum st cons_cfg_decode(const uint8_t *in, size_t len, struct cfg_head *h_out,
                        struct cons_cfg *c_out)
{
    cons_cfg_init(c_out);
    enum st st =
        decode(in, len, CFG_KIND_CONSUMER, h_out, c_out, cons_fields, ARRAY_LEN(cons_fields));
    if (st == ST_OK && c_out->name == NULL) {
        st = ST_CORRUPT;
    }
    if (st != ST_OK) {
        cons_cfg_fini(c_out);
    }
    return st;
}
