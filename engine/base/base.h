/* Small things every folder uses: asserts that stay on, allocation, little-endian access, sizes. */
#ifndef ENGINE_BASE_BASE_H
#define ENGINE_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "engine/base/st.h"

/* ASSERT stays on in every build; ASSERT_SLOW (walks structures) only with -DMR_SLOW_ASSERTS. */
void base_assert_failed(const char *file, int line, const char *expr)
    __attribute__((noreturn, cold));
#define ASSERT(e) ((e) ? (void)0 : base_assert_failed(__FILE__, __LINE__, #e))
/* A place that is not reached, and why (clang refuses ASSERT(!"text")). */
#define ASSERT_NEVER(why) base_assert_failed(__FILE__, __LINE__, why)
#ifdef MR_SLOW_ASSERTS
#define ASSERT_SLOW(e) ASSERT(e)
#else
#define ASSERT_SLOW(e) ((void)sizeof(e))
#endif
#define IMPLIES(a, b) (!(a) || (b))

#define KIB ((size_t)1024)
#define MIB (KIB * 1024)
#define GIB (MIB * 1024)
#define NS_PER_US 1000LL
#define NS_PER_MS 1000000LL
#define NS_PER_S 1000000000LL
#define BASE_PAGE 4096u

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* base_malloc & co never return NULL: small, long-lived things. On exhaustion they print one line
 * and abort. base_try_malloc may return NULL: for every size that comes from outside (payloads,
 * counts in files). All allocation of the program goes through here; tests install a hook that
 * fails the n-th try-call. Any thread. */
void *base_malloc(size_t size) __attribute__((malloc, returns_nonnull));
void *base_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *base_realloc(void *p, size_t size) __attribute__((returns_nonnull));
void *base_try_malloc(size_t size) __attribute__((malloc));
void *base_try_aligned(size_t align, size_t size) __attribute__((malloc));
void *base_try_realloc(void *p, size_t size);
void *base_aligned(size_t align, size_t size) __attribute__((malloc, returns_nonnull));
char *base_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *base_strndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull));
void base_free(void *p);
/* Zeroed memory for large transfers, touched lazily, on 2 MiB and meant to be made of huge pages: a
 * device takes one of those as one piece, small ones as 512. Both sizes are the same. Any thread.
 */
void *base_pages(size_t size) __attribute__((malloc, returns_nonnull));
void base_pages_free(void *p, size_t size); /* NULL is a no-op */
/* For tests: from now on the n-th try-call (1 = the next) returns NULL; 0 disarms. Resets the
 * count, which counts only while armed (UINT64_MAX counts and never fails). */
void base_fail_try_alloc_at(uint64_t n);
uint64_t base_try_alloc_count(void);

static inline uint16_t get_u16le(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}
static inline uint32_t get_u32le(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    return v;
}
static inline uint64_t get_u64le(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}
static inline void put_u16le(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}
static inline void put_u32le(void *p, uint32_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap32(v);
#endif
    memcpy(p, &v, 4);
}
static inline void put_u64le(void *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    memcpy(p, &v, 8);
}

static inline uint64_t u64_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}
static inline uint64_t u64_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}
static inline int64_t i64_max(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
/* Sum and difference, held at the ends of the range: for times that came from outside. */
static inline int64_t i64_add_sat(int64_t a, int64_t b)
{
    int64_t v;
    return !__builtin_add_overflow(a, b, &v) ? v : b < 0 ? INT64_MIN : INT64_MAX;
}
static inline int64_t i64_sub_sat(int64_t a, int64_t b)
{
    int64_t v;
    return !__builtin_sub_overflow(a, b, &v) ? v : b < 0 ? INT64_MAX : INT64_MIN;
}
/* Rounds up to a power-of-two multiple; the caller has checked that it cannot overflow. */
static inline uint64_t align_up(uint64_t v, uint64_t to)
{
    return (v + to - 1) & ~(to - 1);
}

/* Unsigned LEB128. put returns the bytes written (at most 10); get returns the bytes read, 0 when
 * the input is short or longer than 10 bytes. */
size_t varint_put(uint8_t *out, uint64_t v);
size_t varint_get(const uint8_t *in, size_t len, uint64_t *v_out);
/* Signed values as unsigned ones that stay small: 0, -1, 1, -2 are 0, 1, 2, 3. */
static inline uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}
static inline int64_t unzigzag(uint64_t z)
{
    return (int64_t)(z >> 1 ^ (~(z & 1) + 1));
}
/* Reading one after the other; what is short or no varint makes it bad, and all that follows 0. */
struct varint_in {
    const uint8_t *p; /* borrowed */
    size_t left;
    bool bad;
};
static inline uint64_t varint_next(struct varint_in *r)
{
    uint64_t v = 0;
    size_t used = r->bad ? 0 : varint_get(r->p, r->left, &v);
    r->bad = used == 0;
    r->p += used;
    r->left -= used;
    return v;
}

/* CRC-32C with a seed; crc32c(crc32c(s, a), b) == crc32c(s, a then b). Any thread. */
uint32_t crc32c(uint32_t seed, const void *data, size_t len);
/* XXH3 64 bit, seeded. Any thread. */
uint64_t hash64(uint64_t seed, const void *data, size_t len);
struct hash128 {
    uint64_t lo, hi;
};
/* XXH3 128 bit, seeded. Any thread. */
struct hash128 hash128(uint64_t seed, const void *data, size_t len);

#endif
