#include "broker/interest.h"

#include "engine/base/base.h"
#include "engine/base/subject.h"

#define CACHE_SLOTS 1024u
#define CACHE_KEY_MAX 72u
#define CACHE_LEAVES_MAX 4u

/* One node of the wildcard trie; `*` is a child of its own, `>` a leaf. */
struct brk_trie {
    struct htab_node node;   /* in parent->children */
    struct brk_trie *parent; /* borrowed; NULL: root */
    struct htab children;    /* by literal token; owned */
    struct brk_trie *star;   /* owned */
    struct brk_leaf *leaf;   /* owned; subjects that end here */
    struct brk_leaf *full;   /* owned; subjects that end with `>` here */
    size_t token_len;
    char token[];
};

struct cache_slot {
    uint64_t generation; /* 0: empty */
    uint64_t hash;
    uint16_t leaves_count, key_len;
    struct brk_leaf *leaves[CACHE_LEAVES_MAX]; /* borrowed; invariant 3 of the header */
    char key[CACHE_KEY_MAX];
};

struct brk_interest_cache {
    struct cache_slot slots[CACHE_SLOTS];
};

static bool str_eq(struct brk_str a, const char *p, size_t n)
{
    return a.n == n && memcmp(a.p, p, n) == 0;
}

static struct brk_str str_put(char **at, struct brk_str s)
{
    struct brk_str out = {*at, s.n};
    if (s.n > 0) {
        memcpy(*at, s.p, s.n);
    }
    *at += s.n;
    return out;
}

struct brk_sub *brk_sub_create(struct brk_str subject, struct brk_str queue, struct brk_str sid)
{
    struct brk_sub *sub = base_calloc(1, sizeof *sub + subject.n + queue.n + sid.n);
    char *at = sub->text;
    sub->subject = str_put(&at, subject);
    sub->queue = str_put(&at, queue);
    sub->sid = str_put(&at, sid);
    return sub;
}

void brk_sub_free(struct brk_sub *sub)
{
    base_free(sub);
}

void brk_interest_init(struct brk_interest *in, uint64_t seed, void (*release)(struct brk_sub *))
{
    *in = (struct brk_interest){.seed = seed, .release = release, .generation = 1};
}

static void trie_free(struct brk_trie *t)
{
    ASSERT(t->leaf == NULL);
    ASSERT(t->full == NULL);
    ASSERT(t->star == NULL);
    ASSERT(t->children.count == 0);
    base_free(t);
}

void brk_interest_fini(struct brk_interest *in)
{
    ASSERT(in->held == 0);
    ASSERT(in->count == 0);
    ASSERT(in->literals.count == 0);
    ASSERT(in->root == NULL);
    htab_fini(&in->literals);
    base_free(in->cache);
    *in = (struct brk_interest){0};
}

/* --- leaves ----------------------------------------------------------------------------------- */

static struct brk_leaf *leaf_create(struct brk_str subject, struct brk_trie *trie)
{
    struct brk_leaf *leaf = base_calloc(1, sizeof *leaf + subject.n);
    char *at = leaf->text;
    leaf->subject = str_put(&at, subject);
    leaf->trie = trie;
    return leaf;
}

static void leaf_free(struct brk_leaf *leaf)
{
    base_free(leaf->subs);
    base_free(leaf->groups);
    base_free(leaf);
}

static struct brk_leaf *literal_find(const struct brk_interest *in, struct brk_str subject,
                                     uint64_t hash)
{
    for (struct htab_node *n = htab_chain(&in->literals, hash); n != NULL; n = n->next) {
        struct brk_leaf *leaf = CONTAINER_OF(n, struct brk_leaf, node);
        if (n->hash == hash && str_eq(leaf->subject, subject.p, subject.n)) {
            return leaf;
        }
    }
    return NULL;
}

static void cache_drop(struct brk_interest *in, uint64_t hash)
{
    if (in->cache != NULL) {
        struct cache_slot *slot = &in->cache->slots[hash % CACHE_SLOTS];
        if (slot->hash == hash) {
            slot->generation = 0;
        }
    }
}

static struct brk_leaf *literal_get(struct brk_interest *in, struct brk_str subject)
{
    uint64_t hash = hash64(in->seed, subject.p, subject.n);
    struct brk_leaf *leaf = literal_find(in, subject, hash);
    if (leaf == NULL) {
        leaf = leaf_create(subject, NULL);
        htab_add(&in->literals, &leaf->node, hash);
        cache_drop(in, hash);
    }
    return leaf;
}

static struct brk_trie *child_find(const struct brk_trie *t, const char *token, size_t len,
                                   uint64_t hash)
{
    for (struct htab_node *n = htab_chain(&t->children, hash); n != NULL; n = n->next) {
        struct brk_trie *c = CONTAINER_OF(n, struct brk_trie, node);
        if (n->hash == hash && c->token_len == len && memcmp(c->token, token, len) == 0) {
            return c;
        }
    }
    return NULL;
}

static struct brk_trie *trie_create(struct brk_trie *parent, const char *token, size_t len)
{
    struct brk_trie *t = base_calloc(1, sizeof *t + len);
    t->parent = parent;
    t->token_len = len;
    memcpy(t->token, token, len);
    return t;
}

static struct brk_trie *child_get(struct brk_interest *in, struct brk_trie *t, const char *token,
                                  size_t len)
{
    if (len == 1 && token[0] == '*') {
        if (t->star == NULL) {
            t->star = trie_create(t, token, len);
        }
        return t->star;
    }
    uint64_t hash = hash64(in->seed, token, len);
    struct brk_trie *c = child_find(t, token, len, hash);
    if (c == NULL) {
        c = trie_create(t, token, len);
        htab_add(&t->children, &c->node, hash);
    }
    return c;
}

static size_t token_len(const char *p, const char *end)
{
    const char *dot = memchr(p, '.', (size_t)(end - p));
    return (size_t)((dot != NULL ? dot : end) - p);
}

static struct brk_leaf *wildcard_get(struct brk_interest *in, struct brk_str subject)
{
    if (in->root == NULL) {
        in->root = trie_create(NULL, "", 0);
    }
    struct brk_trie *t = in->root;
    const char *p = subject.p, *end = subject.p + subject.n;
    struct brk_leaf **slot = NULL;
    while (slot == NULL) {
        size_t len = token_len(p, end);
        if (len == 1 && *p == '>') {
            slot = &t->full;
            break;
        }
        t = child_get(in, t, p, len);
        p += len;
        if (p == end) {
            slot = &t->leaf;
        } else {
            p++;
        }
    }
    if (*slot == NULL) {
        *slot = leaf_create(subject, t);
        in->generation++;
    }
    return *slot;
}

/* Frees trie nodes upwards that hold nothing any more. */
static void trie_prune(struct brk_interest *in, struct brk_trie *t)
{
    while (t != NULL && t->leaf == NULL && t->full == NULL && t->star == NULL &&
           t->children.count == 0) {
        struct brk_trie *parent = t->parent;
        if (parent == NULL) {
            in->root = NULL;
        } else if (parent->star == t) {
            parent->star = NULL;
        } else {
            htab_del(&parent->children, &t->node);
        }
        trie_free(t);
        t = parent;
    }
}

static void leaf_drop(struct brk_interest *in, struct brk_leaf *leaf)
{
    struct brk_trie *t = leaf->trie;
    if (t == NULL) {
        cache_drop(in, leaf->node.hash);
        htab_del(&in->literals, &leaf->node);
    } else {
        in->generation++;
        *(t->leaf == leaf ? &t->leaf : &t->full) = NULL;
        trie_prune(in, t);
    }
    leaf_free(leaf);
}

/* --- insert, remove --------------------------------------------------------------------------- */

static void array_push(struct brk_sub ***subs, uint32_t *count, uint32_t *cap, struct brk_sub *sub)
{
    if (*count == *cap) {
        *cap = *cap == 0 ? 1 : *cap * 2;
        *subs = base_realloc(*subs, *cap * sizeof **subs);
    }
    sub->slot = *count;
    (*subs)[(*count)++] = sub;
}

static void array_take(struct brk_sub **subs, uint32_t *count, struct brk_sub *sub)
{
    ASSERT(sub->slot < *count);
    ASSERT(subs[sub->slot] == sub);
    struct brk_sub *last = subs[--(*count)];
    subs[sub->slot] = last;
    last->slot = sub->slot;
}

static struct brk_group *group_get(struct brk_leaf *leaf, struct brk_str name)
{
    for (uint32_t i = 0; i < leaf->groups_count; i++) {
        if (str_eq(leaf->groups[i]->name, name.p, name.n)) {
            return leaf->groups[i];
        }
    }
    struct brk_group *g = base_calloc(1, sizeof *g + name.n);
    char *at = (char *)(g + 1);
    g->name = str_put(&at, name);
    if (leaf->groups_count == leaf->groups_cap) {
        leaf->groups_cap = leaf->groups_cap == 0 ? 1 : leaf->groups_cap * 2;
        leaf->groups = base_realloc(leaf->groups, leaf->groups_cap * sizeof *leaf->groups);
    }
    leaf->groups[leaf->groups_count++] = g;
    return g;
}

void brk_interest_insert(struct brk_interest *in, struct brk_sub *sub)
{
    ASSERT(sub->leaf == NULL);
    bool wild = subject_has_wildcard(sub->subject.p, sub->subject.n);
    struct brk_leaf *leaf = wild ? wildcard_get(in, sub->subject) : literal_get(in, sub->subject);
    sub->leaf = leaf;
    if (sub->queue.n > 0) {
        struct brk_group *g = group_get(leaf, sub->queue);
        sub->group = g;
        array_push(&g->subs, &g->count, &g->cap, sub);
    } else {
        array_push(&leaf->subs, &leaf->subs_count, &leaf->subs_cap, sub);
    }
    in->count++;
    in->inserts++;
}

static void group_take(struct brk_leaf *leaf, struct brk_sub *sub)
{
    struct brk_group *g = sub->group;
    array_take(g->subs, &g->count, sub);
    if (g->count > 0) {
        return;
    }
    uint32_t i = 0;
    while (leaf->groups[i] != g) {
        i++;
    }
    leaf->groups[i] = leaf->groups[--leaf->groups_count];
    base_free(g->subs);
    base_free(g);
}

static void take_out(struct brk_interest *in, struct brk_sub *sub)
{
    struct brk_leaf *leaf = sub->leaf;
    if (sub->group != NULL) {
        group_take(leaf, sub);
    } else {
        array_take(leaf->subs, &leaf->subs_count, sub);
    }
    if (leaf->subs_count == 0 && leaf->groups_count == 0) {
        leaf_drop(in, leaf);
    }
    sub->leaf = NULL;
    sub->group = NULL;
    in->release(sub);
}

void brk_interest_remove(struct brk_interest *in, struct brk_sub *sub)
{
    ASSERT(sub->leaf != NULL);
    ASSERT(!sub->dead);
    sub->dead = true;
    in->count--;
    in->removes++;
    if (in->held > 0) {
        sub->next_dead = in->dead;
        in->dead = sub;
    } else {
        take_out(in, sub);
    }
}

void brk_interest_unhold(struct brk_interest *in)
{
    ASSERT(in->held > 0);
    if (--in->held > 0) {
        return;
    }
    while (in->dead != NULL) {
        struct brk_sub *sub = in->dead;
        in->dead = sub->next_dead;
        take_out(in, sub);
    }
}

/* --- match ------------------------------------------------------------------------------------ */

static void match_add(struct brk_match *m, struct brk_leaf *leaf)
{
    if (m->more == NULL && m->count < BRK_MATCH_LEAVES_MAX) {
        m->leaves[m->count++] = leaf;
        return;
    }
    if (m->more == NULL) {
        m->cap = BRK_MATCH_LEAVES_MAX * 4;
        m->more = base_malloc(m->cap * sizeof *m->more);
        memcpy(m->more, m->leaves, sizeof m->leaves);
    } else if (m->count == m->cap) {
        m->cap *= 2;
        m->more = base_realloc(m->more, m->cap * sizeof *m->more);
    }
    m->more[m->count++] = leaf;
}

void brk_match_fini(struct brk_match *m)
{
    base_free(m->more);
    m->more = NULL;
    m->count = 0;
}

/* Depth is bounded by the trie's, breadth by its nodes: each is visited at most once. */
static void walk(const struct brk_interest *in, struct brk_trie *t, const char *p, const char *end,
                 struct brk_match *m)
{
    for (;;) {
        if (t->full != NULL) {
            match_add(m, t->full);
        }
        size_t len = token_len(p, end);
        const char *next = p + len;
        bool last = next == end;
        struct brk_trie *c =
            t->children.count == 0 ? NULL : child_find(t, p, len, hash64(in->seed, p, len));
        struct brk_trie *star = t->star;
        if (last) {
            if (c != NULL && c->leaf != NULL) {
                match_add(m, c->leaf);
            }
            if (star != NULL && star->leaf != NULL) {
                match_add(m, star->leaf);
            }
            return;
        }
        if (c != NULL && star != NULL) {
            walk(in, c, next + 1, end, m);
            c = NULL;
        }
        t = c != NULL ? c : star;
        if (t == NULL) {
            return;
        }
        p = next + 1;
    }
}

/* A subject with an empty token reaches nobody, not even `>`. */
static bool has_empty_token(struct brk_str s)
{
    if (s.n == 0 || s.p[0] == '.' || s.p[s.n - 1] == '.') {
        return true;
    }
    for (const char *p = s.p, *end = s.p + s.n; (p = memchr(p, '.', (size_t)(end - p))) != NULL;
         p++) {
        if (p[1] == '.') {
            return true;
        }
    }
    return false;
}

static void match_slow(struct brk_interest *in, struct brk_str subject, uint64_t hash,
                       struct brk_match *m)
{
    struct brk_leaf *leaf = literal_find(in, subject, hash);
    if (leaf != NULL) {
        match_add(m, leaf);
    }
    if (in->root != NULL && !has_empty_token(subject)) {
        walk(in, in->root, subject.p, subject.p + subject.n, m);
    }
}

static void cache_fill(struct cache_slot *slot, uint64_t generation, struct brk_str subject,
                       uint64_t hash, const struct brk_match *m)
{
    if (subject.n > CACHE_KEY_MAX || m->count > CACHE_LEAVES_MAX) {
        return;
    }
    slot->generation = generation;
    slot->hash = hash;
    slot->key_len = (uint16_t)subject.n;
    memcpy(slot->key, subject.p, subject.n);
    slot->leaves_count = (uint16_t)m->count;
    memcpy(slot->leaves, m->leaves, m->count * sizeof m->leaves[0]);
}

void brk_interest_match(struct brk_interest *in, struct brk_str subject, struct brk_match *m)
{
    m->count = 0;
    m->more = NULL;
    if (in->literals.count == 0 && in->root == NULL) {
        return;
    }
    uint64_t hash = hash64(in->seed, subject.p, subject.n);
    if (in->cache == NULL) {
        in->cache = base_calloc(1, sizeof *in->cache);
    }
    struct cache_slot *slot = &in->cache->slots[hash % CACHE_SLOTS];
    if (slot->generation == in->generation && slot->hash == hash && slot->key_len == subject.n &&
        memcmp(slot->key, subject.p, subject.n) == 0) {
        in->cache_hits++;
        m->count = slot->leaves_count;
        memcpy(m->leaves, slot->leaves, sizeof slot->leaves);
        return;
    }
    match_slow(in, subject, hash, m);
    cache_fill(slot, in->generation, subject, hash, m);
}

static bool any_alive(struct brk_sub **subs, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!subs[i]->dead) {
            return true;
        }
    }
    return false;
}

static bool leaf_any(const struct brk_leaf *leaf, struct brk_str queue)
{
    if (queue.n == 0 && any_alive(leaf->subs, leaf->subs_count)) {
        return true;
    }
    for (uint32_t i = 0; i < leaf->groups_count; i++) {
        const struct brk_group *g = leaf->groups[i];
        if ((queue.n == 0 || str_eq(g->name, queue.p, queue.n)) && any_alive(g->subs, g->count)) {
            return true;
        }
    }
    return false;
}

bool brk_interest_any(struct brk_interest *in, struct brk_str subject, struct brk_str queue)
{
    struct brk_match m;
    brk_interest_match(in, subject, &m);
    struct brk_leaf **leaves = brk_match_leaves(&m);
    bool any = false;
    for (uint32_t i = 0; i < m.count && !any; i++) {
        any = leaf_any(leaves[i], queue);
    }
    brk_match_fini(&m);
    return any;
}
