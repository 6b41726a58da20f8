/* HighwayHash-64: the keyed hash that nats-server puts on its messages and files. Only for its
 * formats; our own use CRC-32C. Pure. */
#ifndef ENGINE_BASE_HIGHWAY_H
#define ENGINE_BASE_HIGHWAY_H

#include <stddef.h>
#include <stdint.h>

struct highway {
    uint64_t v0[4], v1[4], mul0[4], mul1[4];
    uint8_t part[32]; /* bytes that make no packet yet */
    size_t npart;
};

void highway_init(struct highway *h, const uint8_t key[32]);
void highway_add(struct highway *h, const void *data, size_t len);
/* The hash of everything added; h is used up. Files hold it little-endian. */
uint64_t highway_end(struct highway *h);
uint64_t highway64(const uint8_t key[32], const void *data, size_t len);

#endif
