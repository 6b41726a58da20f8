/* splitmix64: a seeded generator for simulation and tests. Never for nonces or keys (those come
 * from env_random). */
#ifndef ENGINE_BASE_PRNG_H
#define ENGINE_BASE_PRNG_H

#include <stdint.h>

struct prng {
    uint64_t state;
};

static inline uint64_t prng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}
static inline uint64_t prng_next(struct prng *p)
{
    p->state += 0x9e3779b97f4a7c15ull;
    return prng_mix(p->state);
}
/* Uniform enough in [0, n); n > 0. */
static inline uint64_t prng_below(struct prng *p, uint64_t n)
{
    return prng_next(p) % n;
}

#endif
