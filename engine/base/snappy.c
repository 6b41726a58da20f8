#include "engine/base/snappy.h"

enum { TAG_LITERAL = 0, TAG_COPY1 = 1, TAG_COPY2 = 2, TAG_COPY4 = 3 };
enum { HASH_BITS = 13, MIN_INPUT = 16 };
enum {
    CHUNK_COMPRESSED = 0x00,
    CHUNK_RAW = 0x01,
    CHUNK_SKIPPABLE = 0x80, /* from here on, but for the identifier */
    CHUNK_IDENTIFIER = 0xff,
};

/* --- packing ---------------------------------------------------------------------------------- */

static uint8_t *put_literal(uint8_t *o, const uint8_t *p, size_t n)
{
    size_t len = n - 1;
    if (len < 60) {
        *o++ = (uint8_t)(len << 2 | TAG_LITERAL);
    } else if (len < 256) {
        *o++ = 60 << 2 | TAG_LITERAL;
        *o++ = (uint8_t)len;
    } else {
        *o++ = 61 << 2 | TAG_LITERAL;
        *o++ = (uint8_t)len;
        *o++ = (uint8_t)(len >> 8);
    }
    memcpy(o, p, n);
    return o + n;
}

static uint8_t *put_copy2(uint8_t *o, size_t offset, size_t len)
{
    *o++ = (uint8_t)((len - 1) << 2 | TAG_COPY2);
    *o++ = (uint8_t)offset;
    *o++ = (uint8_t)(offset >> 8);
    return o;
}

static uint8_t *put_copy(uint8_t *o, size_t offset, size_t len)
{
    while (len >= 68) {
        o = put_copy2(o, offset, 64);
        len -= 64;
    }
    if (len > 64) {
        o = put_copy2(o, offset, 60); /* what is left is 4 at least */
        len -= 60;
    }
    if (len >= 12 || offset >= 2048) {
        return put_copy2(o, offset, len);
    }
    *o++ = (uint8_t)(offset >> 8 << 5 | (len - 4) << 2 | TAG_COPY1);
    *o++ = (uint8_t)offset;
    return o;
}

static uint32_t hash_at(const uint8_t *p)
{
    return get_u32le(p) * 0x1e35a7bdu >> (32 - HASH_BITS);
}

static uint8_t *pack(const uint8_t *in, size_t n, uint8_t *o)
{
    uint16_t table[1 << HASH_BITS] = {0};
    size_t from = 0, at = 1, misses = 32;
    size_t limit = n - 15; /* the rest goes as a literal */
    while (at < limit) {
        uint32_t h = hash_at(in + at);
        size_t seen = table[h];
        table[h] = (uint16_t)at;
        if (seen >= at || get_u32le(in + seen) != get_u32le(in + at)) {
            at += misses++ >> 5;
            continue;
        }
        size_t len = 4;
        while (at + len < n && in[seen + len] == in[at + len]) {
            len++;
        }
        if (at > from) {
            o = put_literal(o, in + from, at - from);
        }
        o = put_copy(o, at - seen, len);
        at += len;
        from = at;
        misses = 32;
        if (at < limit) {
            table[hash_at(in + at - 1)] = (uint16_t)(at - 1);
        }
    }
    return from < n ? put_literal(o, in + from, n - from) : o;
}

size_t snappy_block_put(const uint8_t *in, size_t n, uint8_t *out)
{
    ASSERT(n <= SNAPPY_RAW_MAX);
    uint8_t *o = out + varint_put(out, n);
    if (n >= MIN_INPUT + 1) {
        o = pack(in, n, o);
    } else if (n > 0) {
        o = put_literal(o, in, n);
    }
    return (size_t)(o - out);
}

/* --- unpacking -------------------------------------------------------------------------------- */

enum st s2_block_len(const uint8_t *in, size_t n, size_t *raw_len_out, size_t *head_out)
{
    uint64_t v;
    size_t used = varint_get(in, n, &v);
    if (used == 0 || v > UINT32_MAX) {
        return ST_CORRUPT;
    }
    *raw_len_out = (size_t)v;
    *head_out = used;
    return ST_OK;
}

struct unpack {
    const uint8_t *p, *end;
    uint8_t *out;
    size_t at, len;
    size_t offset; /* of the copy before; 0 = none yet */
};

static bool literal(struct unpack *u)
{
    size_t n = *u->p++ >> 2;
    if (n >= 60) {
        size_t bytes = n - 59;
        if ((size_t)(u->end - u->p) < bytes) {
            return false;
        }
        n = 0;
        for (size_t i = 0; i < bytes; i++) {
            n |= (size_t)u->p[i] << (8 * i);
        }
        u->p += bytes;
    }
    n++;
    if (n > (size_t)(u->end - u->p) || n > u->len - u->at) {
        return false;
    }
    memcpy(u->out + u->at, u->p, n);
    u->p += n;
    u->at += n;
    return true;
}

/* S2: a copy of the kind with one byte of offset and offset 0 repeats the offset before; lengths
 * above 8 follow in 1, 2 or 3 bytes. */
static bool repeat_len(struct unpack *u, size_t *n)
{
    static const uint32_t base[] = {8, 260, 65540};
    if (*n < 5) {
        *n += 4;
        return true;
    }
    size_t bytes = *n - 4;
    if ((size_t)(u->end - u->p) < bytes) {
        return false;
    }
    size_t v = 0;
    for (size_t i = 0; i < bytes; i++) {
        v |= (size_t)u->p[i] << (8 * i);
    }
    *n = v + base[bytes - 1];
    u->p += bytes;
    return true;
}

static bool copy_head(struct unpack *u, size_t *n)
{
    uint8_t tag = *u->p & 3;
    size_t size = tag == TAG_COPY1 ? 2 : tag == TAG_COPY2 ? 3 : 5;
    if ((size_t)(u->end - u->p) < size) {
        return false;
    }
    const uint8_t *p = u->p;
    u->p += size;
    if (tag == TAG_COPY1) {
        size_t offset = (size_t)(p[0] & 0xe0) << 3 | p[1];
        *n = p[0] >> 2 & 7;
        if (offset == 0) {
            return repeat_len(u, n);
        }
        *n += 4;
        u->offset = offset;
        return true;
    }
    *n = (size_t)(p[0] >> 2) + 1;
    u->offset = tag == TAG_COPY2 ? get_u16le(p + 1) : get_u32le(p + 1);
    return true;
}

static bool copy(struct unpack *u)
{
    size_t n = 0;
    if (!copy_head(u, &n) || u->offset == 0 || u->offset > u->at || n > u->len - u->at) {
        return false;
    }
    uint8_t *to = u->out + u->at;
    const uint8_t *from = to - u->offset;
    if (u->offset >= n) {
        memcpy(to, from, n);
    } else {
        for (size_t i = 0; i < n; i++) {
            to[i] = from[i];
        }
    }
    u->at += n;
    return true;
}

enum st s2_block_get(const uint8_t *in, size_t n, uint8_t *out, size_t out_len)
{
    size_t len, head;
    if (s2_block_len(in, n, &len, &head) != ST_OK || len != out_len) {
        return ST_CORRUPT;
    }
    struct unpack u = {.p = in + head, .end = in + n, .out = out, .len = len};
    while (u.p < u.end) {
        if (!((*u.p & 3) == TAG_LITERAL ? literal(&u) : copy(&u))) {
            return ST_CORRUPT;
        }
    }
    return u.at == len ? ST_OK : ST_CORRUPT;
}

/* --- frames ----------------------------------------------------------------------------------- */

/* CRC-32C as others compute it, turned and shifted as the framing format has it. */
static uint32_t masked_crc(const uint8_t *p, size_t n)
{
    uint32_t c = crc32c(0, p, n);
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

void snappy_head_put(uint8_t out[SNAPPY_HEAD_SIZE])
{
    memcpy(out, "\xff\x06\x00\x00sNaPpY", SNAPPY_HEAD_SIZE);
}

size_t snappy_frame_put(const uint8_t *in, size_t n, uint8_t *out)
{
    size_t packed = snappy_block_put(in, n, out + 8);
    bool raw = packed >= n - n / 8;
    if (raw) {
        memcpy(out + 8, in, n);
        packed = n;
    }
    put_u32le(out, (uint32_t)(packed + 4) << 8 | (raw ? CHUNK_RAW : CHUNK_COMPRESSED));
    put_u32le(out + 4, masked_crc(in, n));
    return packed + 8;
}

void s2_reader_fini(struct s2_reader *r)
{
    base_free(r->part);
    base_free(r->raw);
    *r = (struct s2_reader){0};
}

bool s2_at_end(const struct s2_reader *r)
{
    return r->begun && r->npart == 0;
}

static void room(uint8_t **p, size_t *cap, size_t need)
{
    if (need > *cap) {
        *p = base_realloc(*p, need);
        *cap = need;
    }
}

/* Fills r->part up to `want` bytes. */
static bool gather(struct s2_reader *r, const uint8_t **in, size_t *n, size_t want)
{
    room(&r->part, &r->part_cap, want);
    size_t take = want > r->npart ? want - r->npart : 0;
    take = take < *n ? take : *n;
    if (take > 0) {
        memcpy(r->part + r->npart, *in, take);
        r->npart += take;
        *in += take;
        *n -= take;
    }
    return r->npart >= want;
}

static enum st content(struct s2_reader *r, size_t len, const uint8_t **raw, size_t *raw_len)
{
    const uint8_t *p = r->part + 4;
    if (len < 4) {
        return ST_CORRUPT;
    }
    if (r->part[0] == CHUNK_RAW) {
        *raw = p + 4;
        *raw_len = len - 4;
    } else {
        size_t head;
        if (s2_block_len(p + 4, len - 4, raw_len, &head) != ST_OK || *raw_len > S2_RAW_MAX) {
            return ST_CORRUPT;
        }
        room(&r->raw, &r->raw_cap, *raw_len + 1);
        if (s2_block_get(p + 4, len - 4, r->raw, *raw_len) != ST_OK) {
            return ST_CORRUPT;
        }
        *raw = r->raw;
    }
    return masked_crc(*raw, *raw_len) == get_u32le(p) ? ST_OK : ST_CORRUPT;
}

static bool identifies(const struct s2_reader *r, size_t len)
{
    return len == 6 &&
           (memcmp(r->part + 4, "sNaPpY", 6) == 0 || memcmp(r->part + 4, "S2sTwO", 6) == 0);
}

enum st s2_read(struct s2_reader *r, const uint8_t **in, size_t *n, const uint8_t **raw_out,
                size_t *raw_len_out)
{
    while (gather(r, in, n, 4)) {
        uint8_t type = r->part[0];
        size_t len = get_u32le(r->part) >> 8;
        if (len > S2_STORED_MAX || (!r->begun && type != CHUNK_IDENTIFIER) ||
            (type > CHUNK_RAW && type < CHUNK_SKIPPABLE)) {
            return ST_CORRUPT;
        }
        if (!gather(r, in, n, 4 + len)) {
            return ST_AGAIN;
        }
        r->npart = 0;
        if (type == CHUNK_IDENTIFIER) {
            r->begun = identifies(r, len);
            if (!r->begun) {
                return ST_CORRUPT;
            }
        } else if (type <= CHUNK_RAW) {
            enum st st = content(r, len, raw_out, raw_len_out);
            if (st != ST_OK || *raw_len_out > 0) {
                return st;
            }
        }
    }
    return ST_AGAIN;
}
