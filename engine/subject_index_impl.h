/* Insides of the subject index, shared by postings.c (one subject's sequences), subject_index.c
 * (the tree) and subject_match.c (walks). See subject_index.h. */
#ifndef ENGINE_SUBJECT_INDEX_IMPL_H
#define ENGINE_SUBJECT_INDEX_IMPL_H

#include "engine/subject_index.h"
#include "engine/subject_slab.h"

/* --- one subject ------------------------------------------------------------------------------ */

#define POSTS_CHUNK_MAX 4096u /* postings of one chunk */

/* Postings [head, head + n) of `off`, each base + offset. */
struct posts_chunk {
    uint64_t base;
    uint16_t head, n, cap;
    uint32_t off[];
};
struct posts_slot {
    uint64_t base;         /* of the chunk: above the last posting of the chunk before */
    struct posts_chunk *c; /* owned */
    uint32_t n;            /* copy of c->n, so that ranks do not touch the chunks */
};
/* Chunks [head, head + n) of a subject with many postings. */
struct posts_dir {
    uint64_t total;
    uint32_t head, n, cap;
    struct posts_slot v[];
};

/* count 1, 2: the postings are `first` and `last`. Above: `ptr` is a posts_chunk, or a posts_dir
 * with bit 0 set. */
struct sidx_entry {
    uint64_t last;
    union {
        uint64_t first;
        uintptr_t ptr;
    } u;
    uint32_t count; /* of a posts_dir: at most UINT32_MAX, the truth is in `total` */
    uint32_t id;    /* its handle in the slab */
    uint16_t len;
    char subj[];
} __attribute__((packed, aligned(4))); /* a slot's alignment */

/* All keep *mem (bytes of postings) right. An entry without postings has count 0. */
void posts_add(struct sidx_entry *e, uint64_t seq, uint64_t *mem);
void posts_load(struct sidx_entry *e, const uint64_t *seqs, size_t n, uint64_t *mem);
bool posts_remove(struct sidx_entry *e, uint64_t seq, uint64_t *mem);
void posts_free(struct sidx_entry *e, uint64_t *mem);
bool posts_check(const struct sidx_entry *e);

/* --- the tree --------------------------------------------------------------------------------- */

typedef uint32_t sidx_ref; /* 0 = none; else a handle of the slab * 2, + 1 for an entry */

enum sidx_node_type { NODE4, NODE16, NODE48, NODE256 };
#define NODE_PREFIX_MAX 8u

/* A path of plen bytes that all below share, then a branch on one byte. The end of a subject counts
 * as byte 0. Of longer paths only the first 8 bytes stand here; the rest is read from any entry
 * below. Children are in byte order. */
struct sidx_node {
    uint16_t plen;
    uint8_t type;
    uint8_t n; /* children; of NODE256: n256 */
    union {
        uint8_t key[4]; /* NODE4 */
        uint16_t n256;
    } k;
    uint8_t prefix[NODE_PREFIX_MAX];
};
struct sidx_node4 {
    struct sidx_node h;
    sidx_ref child[4];
};
struct sidx_node16 {
    struct sidx_node h;
    uint8_t key[16];
    sidx_ref child[16];
};
struct sidx_node48 {
    struct sidx_node h;
    uint8_t at[256]; /* place in child + 1; 0 = none */
    sidx_ref child[48];
};
struct sidx_node256 {
    struct sidx_node h;
    sidx_ref child[256];
};

struct sidx {
    sidx_ref root;
    uint64_t subjects, msgs;
    uint64_t posts_bytes;
    struct slab slab; /* nodes and entries */
};

static inline bool ref_is_entry(sidx_ref r)
{
    return (r & 1) != 0;
}
static inline struct sidx_entry *ref_entry(const struct sidx *x, sidx_ref r)
{
    return slab_at(&x->slab, r >> 1);
}
static inline struct sidx_node *ref_node(const struct sidx *x, sidx_ref r)
{
    return slab_at(&x->slab, r >> 1);
}
static inline sidx_ref entry_ref(const struct sidx_entry *e)
{
    return e->id << 1 | 1;
}
/* Byte of a subject at depth; its end counts as 0. */
static inline uint8_t key_at(const char *subj, size_t len, size_t depth)
{
    return depth < len ? (uint8_t)subj[depth] : 0;
}
/* The bytes of the path of a node that lies at `depth`. */
const uint8_t *node_path(const struct sidx *x, const struct sidx_node *n, size_t depth);
/* The child with the smallest byte >= from (0..256); 0 = none. */
sidx_ref node_next(const struct sidx_node *n, unsigned from, uint8_t *byte_out);

#endif
