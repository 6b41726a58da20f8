#include "engine/base/highway.h"

#include "engine/base/base.h"

static uint64_t half_turn(uint64_t x)
{
    return x >> 32 | x << 32;
}

void highway_init(struct highway *h, const uint8_t key[32])
{
    static const uint64_t mul0[4] = {0xdbe6d5d5fe4cce2f, 0xa4093822299f31d0, 0x13198a2e03707344,
                                     0x243f6a8885a308d3};
    static const uint64_t mul1[4] = {0x3bd39e10cb0ef593, 0xc0acf169b5f18a8c, 0xbe5466cf34e90c6c,
                                     0x452821e638d01377};
    for (size_t i = 0; i < 4; i++) {
        uint64_t k = get_u64le(key + 8 * i);
        h->mul0[i] = mul0[i];
        h->mul1[i] = mul1[i];
        h->v0[i] = mul0[i] ^ k;
        h->v1[i] = mul1[i] ^ half_turn(k);
    }
    h->npart = 0;
}

/* Byte i of the result, from low to high, is byte from[i] of b:a (0-7 of a, 8-15 of b). */
static void zipper(uint64_t b, uint64_t a, uint64_t *to_b, uint64_t *to_a)
{
    *to_a += ((a & 0xff000000) | (b & 0xff00000000)) >> 24 |
             ((a & 0xff0000000000) | (b & 0xff000000000000)) >> 16 | (a & 0xff0000) |
             (a & 0xff00) << 32 | (b & 0xff00000000000000) >> 8 | a << 56;
    *to_b += ((b & 0xff000000) | (a & 0xff00000000)) >> 24 | (b & 0xff0000) |
             (b & 0xff0000000000) >> 16 | (b & 0xff00) << 24 | (a & 0xff000000000000) >> 8 |
             (b & 0xff) << 48 | (a & 0xff00000000000000);
}

static void update(struct highway *h, const uint64_t lane[4])
{
    for (size_t i = 0; i < 4; i++) {
        h->v1[i] += h->mul0[i] + lane[i];
        h->mul0[i] ^= (h->v1[i] & UINT32_MAX) * (h->v0[i] >> 32);
        h->v0[i] += h->mul1[i];
        h->mul1[i] ^= (h->v0[i] & UINT32_MAX) * (h->v1[i] >> 32);
    }
    zipper(h->v1[1], h->v1[0], &h->v0[1], &h->v0[0]);
    zipper(h->v1[3], h->v1[2], &h->v0[3], &h->v0[2]);
    zipper(h->v0[1], h->v0[0], &h->v1[1], &h->v1[0]);
    zipper(h->v0[3], h->v0[2], &h->v1[3], &h->v1[2]);
}

static void packet(struct highway *h, const uint8_t p[32])
{
    const uint64_t lane[4] = {get_u64le(p), get_u64le(p + 8), get_u64le(p + 16), get_u64le(p + 24)};
    update(h, lane);
}

void highway_add(struct highway *h, const void *data, size_t len)
{
    const uint8_t *p = data;
    if (len == 0) {
        return; /* data may be NULL */
    }
    if (h->npart > 0) {
        size_t n = 32 - h->npart < len ? 32 - h->npart : len;
        if (n > 0) {
            memcpy(h->part + h->npart, p, n);
        }
        h->npart += n;
        p += n;
        len -= n;
        if (h->npart < 32) {
            return;
        }
        packet(h, h->part);
        h->npart = 0;
    }
    for (; len >= 32; p += 32, len -= 32) {
        packet(h, p);
    }
    if (len > 0) {
        memcpy(h->part, p, len);
        h->npart = len;
    }
}

static void rest(struct highway *h)
{
    uint8_t p[32] = {0};
    size_t n = h->npart, mod4 = n & 3, whole = n & ~(size_t)3;
    for (size_t i = 0; i < 4; i++) {
        h->v0[i] += ((uint64_t)n << 32) + n;
        uint32_t lo = (uint32_t)h->v1[i], hi = (uint32_t)(h->v1[i] >> 32);
        h->v1[i] = (uint64_t)(lo << n | lo >> (32 - n)) | (uint64_t)(hi << n | hi >> (32 - n))
                                                              << 32;
    }
    memcpy(p, h->part, whole);
    if ((n & 16) != 0) {
        for (size_t i = 0; i < 4; i++) {
            p[28 + i] = h->part[whole + i + mod4 - 4];
        }
    } else if (mod4 != 0) {
        p[16] = h->part[whole];
        p[17] = h->part[whole + (mod4 >> 1)];
        p[18] = h->part[whole + mod4 - 1];
    }
    packet(h, p);
}

uint64_t highway_end(struct highway *h)
{
    if (h->npart > 0) {
        rest(h);
    }
    for (int i = 0; i < 4; i++) {
        const uint64_t lane[4] = {half_turn(h->v0[2]), half_turn(h->v0[3]), half_turn(h->v0[0]),
                                  half_turn(h->v0[1])};
        update(h, lane);
    }
    return h->v0[0] + h->v1[0] + h->mul0[0] + h->mul1[0];
}

uint64_t highway64(const uint8_t key[32], const void *data, size_t len)
{
    struct highway h;
    highway_init(&h, key);
    highway_add(&h, data, len);
    return highway_end(&h);
}
