/* The tree of the subject index: nodes of 4, 16, 48 and 256 children with shared paths folded into
 * them. */
#include "engine/subject_index_impl.h"

static const size_t node_bytes[] = {
    [NODE4] = sizeof(struct sidx_node4),
    [NODE16] = sizeof(struct sidx_node16),
    [NODE48] = sizeof(struct sidx_node48),
    [NODE256] = sizeof(struct sidx_node256),
};
_Static_assert(sizeof(struct sidx_node4) == 32, "children of a small node are handles");

static struct sidx_node4 *as4(struct sidx_node *n)
{
    return (struct sidx_node4 *)(void *)n;
}
static struct sidx_node16 *as16(struct sidx_node *n)
{
    return (struct sidx_node16 *)(void *)n;
}
static struct sidx_node48 *as48(struct sidx_node *n)
{
    return (struct sidx_node48 *)(void *)n;
}
static struct sidx_node256 *as256(struct sidx_node *n)
{
    return (struct sidx_node256 *)(void *)n;
}

/* --- reading nodes ---------------------------------------------------------------------------- */

/* Place of the child for byte c; NULL = none. */
static sidx_ref *node_child(struct sidx_node *n, uint8_t c)
{
    switch (n->type) {
    case NODE4:
        for (unsigned i = 0; i < n->n; i++) {
            if (n->k.key[i] == c) {
                return &as4(n)->child[i];
            }
        }
        return NULL;
    case NODE16: {
        const uint8_t *hit = memchr(as16(n)->key, c, n->n);
        return hit == NULL ? NULL : &as16(n)->child[hit - as16(n)->key];
    }
    case NODE48: {
        unsigned at = as48(n)->at[c];
        return at == 0 ? NULL : &as48(n)->child[at - 1];
    }
    default: {
        sidx_ref *r = &as256(n)->child[c];
        return *r == 0 ? NULL : r;
    }
    }
}

sidx_ref node_next(const struct sidx_node *n, unsigned from, uint8_t *byte_out)
{
    const uint8_t *keys;
    const sidx_ref *child;
    switch (n->type) {
    case NODE4:
        keys = n->k.key;
        child = ((const struct sidx_node4 *)(const void *)n)->child;
        break;
    case NODE16:
        keys = ((const struct sidx_node16 *)(const void *)n)->key;
        child = ((const struct sidx_node16 *)(const void *)n)->child;
        break;
    case NODE48: {
        const struct sidx_node48 *n48 = (const void *)n;
        for (unsigned c = from; c < 256; c++) {
            if (n48->at[c] != 0) {
                *byte_out = (uint8_t)c;
                return n48->child[n48->at[c] - 1];
            }
        }
        return 0;
    }
    default: {
        const struct sidx_node256 *n256 = (const void *)n;
        for (unsigned c = from; c < 256; c++) {
            if (n256->child[c] != 0) {
                *byte_out = (uint8_t)c;
                return n256->child[c];
            }
        }
        return 0;
    }
    }
    for (unsigned i = 0; i < n->n; i++) {
        if (keys[i] >= from) {
            *byte_out = keys[i];
            return child[i];
        }
    }
    return 0;
}

/* Any entry below: the leftmost. */
static const struct sidx_entry *any_entry(const struct sidx *x, sidx_ref r)
{
    uint8_t c;
    while (!ref_is_entry(r)) {
        r = node_next(ref_node(x, r), 0, &c);
        ASSERT(r != 0);
    }
    return ref_entry(x, r);
}

const uint8_t *node_path(const struct sidx *x, const struct sidx_node *n, size_t depth)
{
    if (n->plen <= NODE_PREFIX_MAX) {
        return n->prefix;
    }
    uint8_t c;
    const struct sidx_entry *e = any_entry(x, node_next(n, 0, &c));
    return (const uint8_t *)e->subj + depth;
}

static void set_path(struct sidx_node *n, const uint8_t *path, size_t len)
{
    ASSERT(len <= UINT16_MAX);
    n->plen = (uint16_t)len;
    memmove(n->prefix, path, u64_min(len, NODE_PREFIX_MAX));
}

/* --- changing nodes --------------------------------------------------------------------------- */

static struct sidx_node *node_create(struct sidx *x, enum sidx_node_type type, sidx_ref *ref_out)
{
    uint32_t handle;
    struct sidx_node *n = slab_take(&x->slab, (uint16_t)type, (uint32_t)node_bytes[type], &handle);
    memset(n, 0, node_bytes[type]);
    n->type = (uint8_t)type;
    *ref_out = handle << 1;
    return n;
}

static void node_destroy(struct sidx *x, sidx_ref r)
{
    slab_give(&x->slab, r >> 1);
}

static unsigned node_count(const struct sidx_node *n)
{
    return n->type == NODE256 ? n->k.n256 : n->n;
}

static bool node_full(const struct sidx_node *n)
{
    static const unsigned max[] = {4, 16, 48, 256};
    return node_count(n) == max[n->type];
}

/* Puts a child into a node with room. */
static void put_child(struct sidx_node *n, uint8_t c, sidx_ref r)
{
    if (n->type == NODE256) {
        as256(n)->child[c] = r;
        n->k.n256++;
        return;
    }
    if (n->type == NODE48) {
        unsigned at = 0;
        while (as48(n)->child[at] != 0) {
            at++;
        }
        as48(n)->child[at] = r;
        as48(n)->at[c] = (uint8_t)(at + 1);
        n->n++;
        return;
    }
    uint8_t *keys = n->type == NODE4 ? n->k.key : as16(n)->key;
    sidx_ref *child = n->type == NODE4 ? as4(n)->child : as16(n)->child;
    unsigned i = n->n;
    for (; i > 0 && keys[i - 1] > c; i--) {
        keys[i] = keys[i - 1];
        child[i] = child[i - 1];
    }
    keys[i] = c;
    child[i] = r;
    n->n++;
}

/* Puts a node of another type, with path and children, into its place. */
static struct sidx_node *node_convert(struct sidx *x, sidx_ref *at, enum sidx_node_type type)
{
    sidx_ref old = *at;
    struct sidx_node *to = node_create(x, type, at), *n = ref_node(x, old);
    to->plen = n->plen;
    memcpy(to->prefix, n->prefix, sizeof n->prefix);
    uint8_t c = 0;
    sidx_ref r;
    for (unsigned from = 0; from < 256 && (r = node_next(n, from, &c)) != 0; from = c + 1u) {
        put_child(to, c, r);
    }
    node_destroy(x, old);
    return to;
}

static void add_child(struct sidx *x, sidx_ref *at, uint8_t c, sidx_ref r)
{
    struct sidx_node *n = ref_node(x, *at);
    if (node_full(n)) {
        n = node_convert(x, at, (enum sidx_node_type)(n->type + 1));
    }
    put_child(n, c, r);
}

/* A node with one child left is folded into that child. `depth` is where the node's path starts. */
static void fold(struct sidx *x, sidx_ref *at, size_t depth)
{
    sidx_ref gone = *at;
    struct sidx_node *n = ref_node(x, gone);
    uint8_t c;
    sidx_ref only = node_next(n, 0, &c);
    if (!ref_is_entry(only)) {
        struct sidx_node *kid = ref_node(x, only);
        size_t len = (size_t)n->plen + 1 + kid->plen;
        const struct sidx_entry *e = any_entry(x, only);
        set_path(kid, (const uint8_t *)e->subj + depth, len);
    }
    *at = only;
    node_destroy(x, gone);
}

static void drop_child(struct sidx *x, sidx_ref *at, uint8_t c, size_t depth)
{
    struct sidx_node *n = ref_node(x, *at);
    if (n->type == NODE256) {
        as256(n)->child[c] = 0;
        n->k.n256--;
        if (n->k.n256 == 36) {
            (void)node_convert(x, at, NODE48);
        }
        return;
    }
    if (n->type == NODE48) {
        as48(n)->child[as48(n)->at[c] - 1] = 0;
        as48(n)->at[c] = 0;
        n->n--;
        if (n->n == 12) {
            (void)node_convert(x, at, NODE16);
        }
        return;
    }
    uint8_t *keys = n->type == NODE4 ? n->k.key : as16(n)->key;
    sidx_ref *child = n->type == NODE4 ? as4(n)->child : as16(n)->child;
    unsigned i = 0;
    while (keys[i] != c) {
        i++;
    }
    n->n--;
    memmove(keys + i, keys + i + 1, n->n - i);
    memmove(child + i, child + i + 1, (n->n - i) * sizeof *child);
    if (n->type == NODE16 && n->n == 3) {
        (void)node_convert(x, at, NODE4);
    } else if (n->n == 1) {
        fold(x, at, depth);
    }
}

/* --- entries ---------------------------------------------------------------------------------- */

_Static_assert(offsetof(struct sidx_entry, id) + 4 <= SLAB_FREE_HEAD, "the mark of a free entry");

/* Classes of slots: those of the nodes, then one for each 4 B, of long subjects for each KiB. */
#define ENTRY_FINE_MAX 1056u
#define CLASS_FINE (NODE256 + 1u)
#define CLASS_COARSE (CLASS_FINE + ENTRY_FINE_MAX / 4)

static uint16_t entry_class(size_t len, uint32_t *stride_out)
{
    uint32_t bytes = (uint32_t)(offsetof(struct sidx_entry, subj) + len);
    bool fine = bytes <= ENTRY_FINE_MAX;
    uint32_t unit = fine ? 4 : (uint32_t)KIB;
    uint32_t units = (bytes + unit - 1) / unit;
    *stride_out = units * unit;
    return (uint16_t)((fine ? CLASS_FINE : CLASS_COARSE) + units);
}

static struct sidx_entry *entry_create(struct sidx *x, const char *subj, size_t len)
{
    ASSERT(len > 0 && len <= SIDX_SUBJECT_MAX);
    uint32_t stride, id;
    uint16_t cls = entry_class(len, &stride);
    struct sidx_entry *e = slab_take(&x->slab, cls, stride, &id);
    memset(e, 0, offsetof(struct sidx_entry, subj));
    e->len = (uint16_t)len;
    memcpy(e->subj, subj, len);
    e->id = id;
    x->subjects++;
    return e;
}

static struct sidx_entry *entry_of(const struct sidx *x, uint32_t id)
{
    uint32_t no = id >> SLAB_SLOT_BITS, slot = id & (SLAB_SLOTS_MAX - 1);
    if (no == 0 || no >= x->slab.n || slot >= x->slab.chunks[no].used) {
        return NULL;
    }
    struct sidx_entry *e = slab_at(&x->slab, id);
    return e->id == id ? e : NULL;
}

static void entry_destroy(struct sidx *x, struct sidx_entry *e)
{
    uint32_t id = e->id;
    posts_free(e, &x->posts_bytes);
    e->id = 0; /* what sidx_by_id() and each_entry() know a free slot by */
    x->subjects--;
    slab_give(&x->slab, id);
}

static bool entry_is(const struct sidx_entry *e, const char *subj, size_t len)
{
    return e->len == len && memcmp(e->subj, subj, len) == 0;
}

/* Puts a node between *at (an entry or node whose path starts at depth) and its parent: they share
 * `same` bytes from depth on, then differ. `other` is one subject below *at. */
static void split(struct sidx *x, sidx_ref *at, size_t depth, size_t same,
                  const struct sidx_entry *other, struct sidx_entry *fresh)
{
    sidx_ref ref;
    struct sidx_node *n = node_create(x, NODE4, &ref);
    size_t branch = depth + same;
    set_path(n, (const uint8_t *)fresh->subj + depth, same);
    if (!ref_is_entry(*at)) {
        struct sidx_node *old = ref_node(x, *at);
        set_path(old, (const uint8_t *)other->subj + branch + 1, old->plen - same - 1);
    }
    put_child(n, key_at(other->subj, other->len, branch), *at);
    put_child(n, key_at(fresh->subj, fresh->len, branch), entry_ref(fresh));
    *at = ref;
}

/* Finds the entry or makes one (without postings). */
static struct sidx_entry *find_or_make(struct sidx *x, const char *subj, size_t len)
{
    sidx_ref *at = &x->root;
    size_t depth = 0;
    while (*at != 0) {
        const struct sidx_entry *e = NULL;
        size_t same = 0, limit = SIZE_MAX;
        if (ref_is_entry(*at)) {
            e = ref_entry(x, *at);
            if (entry_is(e, subj, len)) {
                return ref_entry(x, *at);
            }
            while (depth + same < len &&
                   key_at(e->subj, e->len, depth + same) == (uint8_t)subj[depth + same]) {
                same++;
            }
            ASSERT(key_at(e->subj, e->len, depth + same) !=
                   key_at(subj, len, depth + same)); /* no NUL in subjects */
        } else {
            struct sidx_node *n = ref_node(x, *at);
            const uint8_t *path = node_path(x, n, depth);
            limit = n->plen;
            while (same < limit && key_at(subj, len, depth + same) == path[same]) {
                same++;
            }
        }
        if (same < limit) {
            e = e != NULL ? e : any_entry(x, *at);
            struct sidx_entry *fresh = entry_create(x, subj, len);
            split(x, at, depth, same, e, fresh);
            return fresh;
        }
        depth += same;
        uint8_t c = key_at(subj, len, depth);
        sidx_ref *next = node_child(ref_node(x, *at), c);
        if (next == NULL) {
            struct sidx_entry *fresh = entry_create(x, subj, len);
            add_child(x, at, c, entry_ref(fresh));
            return fresh;
        }
        at = next;
        depth++;
    }
    struct sidx_entry *fresh = entry_create(x, subj, len);
    *at = entry_ref(fresh);
    return fresh;
}

/* Where the tree refers to the entry, with the place of its parent node and that one's depth; NULL
 * = not there. */
static sidx_ref *lookup(struct sidx *x, const char *subj, size_t len, sidx_ref **parent_out,
                        size_t *depth_out)
{
    sidx_ref *at = &x->root;
    size_t depth = 0;
    *parent_out = NULL;
    while (*at != 0 && !ref_is_entry(*at)) {
        struct sidx_node *n = ref_node(x, *at);
        *parent_out = at;
        *depth_out = depth;
        size_t stored = u64_min(n->plen, NODE_PREFIX_MAX);
        /* the entry at the end is compared in full: bytes of a path that are not stored need no
         * look here */
        if (depth + n->plen > len || memcmp(n->prefix, subj + depth, stored) != 0) {
            return NULL;
        }
        depth += n->plen;
        at = node_child(n, key_at(subj, len, depth));
        if (at == NULL) {
            return NULL;
        }
        depth++;
    }
    return *at != 0 && entry_is(ref_entry(x, *at), subj, len) ? at : NULL;
}

static void drop_entry(struct sidx *x, struct sidx_entry *e)
{
    sidx_ref *parent;
    size_t depth = 0;
    sidx_ref *at = lookup(x, e->subj, e->len, &parent, &depth);
    ASSERT(at != NULL && *at == entry_ref(e));
    if (parent == NULL) {
        *at = 0;
    } else {
        size_t branch = depth + ref_node(x, *parent)->plen;
        drop_child(x, parent, key_at(e->subj, e->len, branch), depth);
    }
    entry_destroy(x, e);
}

/* --- public ----------------------------------------------------------------------------------- */

struct sidx *sidx_create(void)
{
    return base_calloc(1, sizeof(struct sidx));
}

/* Calls fn for every entry, in no order; fn may drop the entry. */
static void each_entry(struct sidx *x, void (*fn)(void *arg, struct sidx_entry *e), void *arg)
{
    for (uint32_t no = 1; no < x->slab.n; no++) {
        uint8_t *mem = x->slab.chunks[no].mem;
        for (uint32_t slot = 0; slot < x->slab.chunks[no].used; slot++) {
            const struct slab_chunk *c = &x->slab.chunks[no];
            if (c->mem == NULL || c->mem != mem || c->cls < CLASS_FINE) {
                break; /* nodes, or given back (and taken for nodes) by fn */
            }
            uint32_t id = no << SLAB_SLOT_BITS | slot;
            struct sidx_entry *e = entry_of(x, id);
            if (e != NULL) {
                fn(arg, e);
            }
        }
    }
}

static void free_posts(void *arg, struct sidx_entry *e)
{
    struct sidx *x = arg;
    posts_free(e, &x->posts_bytes);
}

void sidx_clear(struct sidx *x)
{
    each_entry(x, free_posts, x);
    slab_fini(&x->slab);
    ASSERT(x->posts_bytes == 0);
    memset(x, 0, sizeof *x);
}

void sidx_destroy(struct sidx *x)
{
    if (x != NULL) {
        sidx_clear(x);
        base_free(x);
    }
}

const struct sidx_entry *sidx_load(struct sidx *x, const char *subj, size_t len,
                                   const uint64_t *seqs, size_t n)
{
    ASSERT(n > 0 && seqs[0] > 0);
    struct sidx_entry *e = find_or_make(x, subj, len);
    posts_load(e, seqs, n, &x->posts_bytes);
    x->msgs += n;
    return e;
}

const struct sidx_entry *sidx_add(struct sidx *x, const char *subj, size_t len, uint64_t seq)
{
    ASSERT(seq > 0);
    struct sidx_entry *e = find_or_make(x, subj, len);
    if (e->count > 0 && e->last == seq) {
        return e;
    }
    posts_add(e, seq, &x->posts_bytes);
    x->msgs++;
    return e;
}

bool sidx_remove_from(struct sidx *x, const struct sidx_entry *entry, uint64_t seq)
{
    struct sidx_entry *e = slab_at(&x->slab, entry->id);
    ASSERT(e == entry);
    if (!posts_remove(e, seq, &x->posts_bytes)) {
        return false;
    }
    x->msgs--;
    if (e->count == 0) {
        drop_entry(x, e);
    }
    return true;
}

bool sidx_remove(struct sidx *x, const char *subj, size_t len, uint64_t seq)
{
    const struct sidx_entry *e = sidx_find(x, subj, len);
    return e != NULL && sidx_remove_from(x, e, seq);
}

const struct sidx_entry *sidx_find(const struct sidx *x, const char *subj, size_t len)
{
    sidx_ref r = x->root;
    size_t depth = 0;
    while (r != 0 && !ref_is_entry(r)) {
        struct sidx_node *n = ref_node(x, r);
        if (depth + n->plen > len ||
            memcmp(n->prefix, subj + depth, u64_min(n->plen, NODE_PREFIX_MAX)) != 0) {
            return NULL;
        }
        depth += n->plen;
        const sidx_ref *next = node_child(n, key_at(subj, len, depth));
        r = next == NULL ? 0 : *next;
        depth++;
    }
    return r != 0 && entry_is(ref_entry(x, r), subj, len) ? ref_entry(x, r) : NULL;
}

uint32_t sidx_id(const struct sidx_entry *e)
{
    return e->id;
}

const struct sidx_entry *sidx_by_id(const struct sidx *x, uint32_t id)
{
    return entry_of(x, id);
}

uint64_t sidx_last(const struct sidx_entry *e)
{
    return e->last;
}

const char *sidx_subject(const struct sidx_entry *e, size_t *len_out)
{
    *len_out = e->len;
    return e->subj;
}

void sidx_stats_get(const struct sidx *x, struct sidx_stats *out)
{
    *out = (struct sidx_stats){.subjects = x->subjects,
                               .msgs = x->msgs,
                               .memory_bytes = sizeof *x + x->slab.bytes + x->posts_bytes};
}
