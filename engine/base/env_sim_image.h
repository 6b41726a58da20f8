/* File contents of the simulated disk: sparse, copy-on-write, so that a whole disk is cloned by
 * counting references. Private to env_sim*.c. Single-threaded. */
#ifndef ENGINE_BASE_ENV_SIM_IMAGE_H
#define ENGINE_BASE_ENV_SIM_IMAGE_H

#include "engine/base/base.h"

#define SIM_LEAF_PAGES 64u
#define SIM_FILE_BYTES_MAX (1ull << 40) /* a caller's arithmetic went wrong before this */

struct sim_page {
    unsigned refs;
    uint8_t data[BASE_PAGE];
};

struct sim_leaf {
    unsigned refs;
    struct sim_page *page[SIM_LEAF_PAGES]; /* shared (refcount); NULL reads as zeros */
};

struct sim_image {
    struct sim_leaf **leaf; /* owned array of shared (refcount) leaves; NULL reads as zeros */
    size_t nleaf;
    uint64_t size; /* bytes; every page byte at or past it is zero */
};

void sim_image_fini(struct sim_image *im);
/* Makes *to (fini'd or zeroed) a copy that shares all pages. */
void sim_image_copy(struct sim_image *to, const struct sim_image *from);
/* Reads zeros outside of what was written; does not look at size. */
void sim_image_read(const struct sim_image *im, uint64_t off, uint8_t *buf, size_t len);
/* data NULL writes zeros. Does not change size. */
void sim_image_write(struct sim_image *im, uint64_t off, const uint8_t *data, size_t len);
/* Zeroes everything from off on. */
void sim_image_zero_from(struct sim_image *im, uint64_t off);
/* Lets page `index` of `to` be the one of `from`. */
void sim_image_share_page(struct sim_image *to, const struct sim_image *from, uint64_t index);
/* True when both have the very same page, or both a hole, at `index`. */
bool sim_image_same_page(const struct sim_image *a, const struct sim_image *b, uint64_t index);

#endif
