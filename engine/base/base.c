#include "engine/base/base.h"

#include <inttypes.h>
#include <isa-l/crc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

/* --- asserts --- */
static void die(const char *text, size_t len)
{
    /* One write(2) and no allocation: we may be here because the heap is broken. */
    ssize_t n = write(STDERR_FILENO, text, len);
    (void)n;
    abort();
}

void base_assert_failed(const char *file, int line, const char *expr)
{
    char text[512];
    int n = snprintf(text, sizeof(text), "%s:%d: assertion failed: %s\n", file, line, expr);
    die(text, n < 0 ? 0 : u64_min((uint64_t)n, sizeof(text) - 1));
    abort();
}

/* --- allocation --- */
static _Atomic uint64_t try_count;   /* try-calls since the last arming */
static _Atomic uint64_t try_fail_at; /* 0: never */

void base_fail_try_alloc_at(uint64_t n)
{
    atomic_store(&try_count, 0);
    atomic_store(&try_fail_at, n);
}

uint64_t base_try_alloc_count(void)
{
    return atomic_load(&try_count);
}

static bool try_must_fail(void)
{
    uint64_t at = atomic_load_explicit(&try_fail_at, memory_order_relaxed);
    if (at == 0) {
        return false; /* not armed: no shared counter on the usual path */
    }
    return atomic_fetch_add(&try_count, 1) + 1 == at;
}

static void *must(void *p, size_t size)
{
    if (p == NULL) {
        char text[96];
        int n = snprintf(text, sizeof(text), "out of memory: could not allocate %zu bytes\n", size);
        die(text, n < 0 ? 0 : (size_t)n);
    }
    return p;
}

/* malloc(0) may return NULL, which here would read as exhaustion. */
static size_t at_least_one(size_t size)
{
    return size == 0 ? 1 : size;
}

void *base_malloc(size_t size)
{
    return must(malloc(at_least_one(size)), size);
}

void *base_calloc(size_t count, size_t size)
{
    return must(calloc(at_least_one(count), at_least_one(size)), size);
}

void *base_realloc(void *p, size_t size)
{
    return must(realloc(p, at_least_one(size)), size);
}

void *base_try_malloc(size_t size)
{
    return try_must_fail() ? NULL : malloc(at_least_one(size));
}

void *base_try_realloc(void *p, size_t size)
{
    return try_must_fail() ? NULL : realloc(p, at_least_one(size));
}

static void *aligned(size_t align, size_t size)
{
    void *p = NULL;
    return posix_memalign(&p, align, at_least_one(size)) == 0 ? p : NULL;
}

void *base_aligned(size_t align, size_t size)
{
    return must(aligned(align, size), size);
}

void *base_try_aligned(size_t align, size_t size)
{
    return try_must_fail() ? NULL : aligned(align, size);
}

enum { HUGE = 2 * 1024 * 1024 };

void *base_pages(size_t size)
{
    size_t whole = size + HUGE;
    void *at = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint8_t *p = must(at == MAP_FAILED ? NULL : at, whole);
    size_t before = (HUGE - (uintptr_t)p % HUGE) % HUGE;
    if (before != 0) {
        (void)munmap(p, before);
    }
    (void)munmap(p + before + size, whole - before - size);
    (void)madvise(p + before, size, MADV_HUGEPAGE); /* a wish */
    return p + before;
}

void base_pages_free(void *p, size_t size)
{
    if (p != NULL) {
        (void)munmap(p, size);
    }
}

char *base_strndup(const char *s, size_t len)
{
    char *copy = base_malloc(len + 1);
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *base_strdup(const char *s)
{
    return base_strndup(s, strlen(s));
}

void base_free(void *p)
{
    free(p);
}

/* --- varint --- */
size_t varint_put(uint8_t *out, uint64_t v)
{
    size_t n = 0;
    while (v >= 0x80) {
        out[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    out[n++] = (uint8_t)v;
    return n;
}

size_t varint_get(const uint8_t *in, size_t len, uint64_t *v_out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < len && i < 10; i++) {
        /* The tenth byte holds one bit; more would be lost silently. */
        if (i == 9 && in[i] > 1) {
            return 0;
        }
        v |= (uint64_t)(in[i] & 0x7f) << (7 * i);
        if ((in[i] & 0x80) == 0) {
            *v_out = v;
            return i + 1;
        }
    }
    return 0;
}

/* --- checksums and hashes --- */
uint32_t crc32c(uint32_t seed, const void *data, size_t len)
{
    /* ISA-L takes an int length, does not change the buffer in spite of its type, and leaves both
     * inversions of the usual convention to us. */
    union {
        const void *in;
        unsigned char *isal;
    } p = {.in = data};
    uint32_t crc = ~seed;
    while (len > 0) {
        int n = len > (1u << 30) ? 1 << 30 : (int)len;
        crc = crc32_iscsi(p.isal, n, crc);
        p.isal += n;
        len -= (size_t)n;
    }
    return ~crc;
}

uint64_t hash64(uint64_t seed, const void *data, size_t len)
{
    return XXH3_64bits_withSeed(data, len, seed);
}

struct hash128 hash128(uint64_t seed, const void *data, size_t len)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(data, len, seed);
    return (struct hash128){.lo = h.low64, .hi = h.high64};
}
