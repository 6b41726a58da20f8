#include "engine/filter_index.h"

struct filter_node {
    struct htab_node link;           /* of literal tokens: in children */
    struct filter_node *parent;      /* NULL: the root */
    struct filter_node *star, *rest; /* owned: `*` and `>` */
    void **who;                      /* owned array: of the filters that end here */
    uint32_t nwho, who_cap;
    uint32_t below; /* children of all kinds */
    uint32_t len;
    char token[];
};

struct token {
    const char *s;
    size_t len;
};

/* The first token of [*p, end); *p moves behind its dot, or to NULL when it was the last. */
static struct token next_token(const char **p, const char *end)
{
    const char *from = *p, *dot = memchr(from, '.', (size_t)(end - from));
    *p = dot != NULL ? dot + 1 : NULL;
    return (struct token){from, (size_t)((dot != NULL ? dot : end) - from)};
}

static bool is(struct token t, char wildcard)
{
    return t.len == 1 && t.s[0] == wildcard;
}

static uint64_t hash_of(const struct filter_index *x, const struct filter_node *parent,
                        struct token t)
{
    return hash64(x->seed ^ (uintptr_t)parent, t.s, t.len);
}

static struct filter_node *literal(const struct filter_index *x, const struct filter_node *parent,
                                   struct token t)
{
    uint64_t hash = hash_of(x, parent, t);
    for (struct htab_node *n = htab_chain(&x->children, hash); n != NULL; n = n->next) {
        struct filter_node *f = CONTAINER_OF(n, struct filter_node, link);
        if (n->hash == hash && f->parent == parent && f->len == t.len &&
            memcmp(f->token, t.s, t.len) == 0) {
            return f;
        }
    }
    return NULL;
}

static struct filter_node *child(const struct filter_index *x, const struct filter_node *parent,
                                 struct token t)
{
    return is(t, '*') ? parent->star : is(t, '>') ? parent->rest : literal(x, parent, t);
}

static struct filter_node *make(struct filter_index *x, struct filter_node *parent, struct token t)
{
    struct filter_node *f = base_calloc(1, sizeof *f + t.len);
    f->parent = parent;
    f->len = (uint32_t)t.len;
    memcpy(f->token, t.s, t.len);
    if (parent == NULL) {
        return f;
    }
    parent->below++;
    if (is(t, '*')) {
        parent->star = f;
    } else if (is(t, '>')) {
        parent->rest = f;
    } else {
        htab_add(&x->children, &f->link, hash_of(x, parent, t));
    }
    return f;
}

static void unmake(struct filter_index *x, struct filter_node *f)
{
    struct filter_node *parent = f->parent;
    if (parent == NULL) {
        x->root = NULL;
    } else if (parent->star == f) {
        parent->star = NULL;
    } else if (parent->rest == f) {
        parent->rest = NULL;
    } else {
        htab_del(&x->children, &f->link);
    }
    if (parent != NULL) {
        parent->below--;
    }
    base_free(f->who);
    base_free(f);
}

/* Frees nodes that nothing needs, from f upwards. */
static void prune(struct filter_index *x, struct filter_node *f)
{
    while (f != NULL && f->nwho == 0 && f->below == 0) {
        struct filter_node *parent = f->parent;
        unmake(x, f);
        f = parent;
    }
}

void filter_index_init(struct filter_index *x, uint64_t seed)
{
    *x = (struct filter_index){.seed = seed};
}

void filter_index_fini(struct filter_index *x)
{
    ASSERT(x->root == NULL && x->children.count == 0);
}

/* The node of a filter; makes it, or NULL. */
static struct filter_node *node_of(struct filter_index *x, const char *filter, size_t len,
                                   bool makes)
{
    if (x->root == NULL && makes) {
        x->root = make(x, NULL, (struct token){"", 0});
    }
    struct filter_node *f = x->root;
    for (const char *p = filter; p != NULL && f != NULL;) {
        struct token t = next_token(&p, filter + len);
        struct filter_node *next = child(x, f, t);
        f = next == NULL && makes ? make(x, f, t) : next;
    }
    return f;
}

void filter_index_add(struct filter_index *x, const char *filter, size_t len, void *who)
{
    struct filter_node *f = node_of(x, filter, len, true);
    if (f->nwho == f->who_cap) {
        f->who_cap = f->who_cap == 0 ? 1 : f->who_cap * 2;
        f->who = base_realloc(f->who, f->who_cap * sizeof f->who[0]);
    }
    f->who[f->nwho++] = who;
}

void filter_index_remove(struct filter_index *x, const char *filter, size_t len, const void *who)
{
    struct filter_node *f = node_of(x, filter, len, false);
    uint32_t i = 0;
    ASSERT(f != NULL);
    while (i < f->nwho && f->who[i] != who) {
        i++;
    }
    ASSERT(i < f->nwho);
    f->who[i] = f->who[--f->nwho];
    prune(x, f);
}

static bool each(const struct filter_node *f, filter_index_fn fn, void *arg)
{
    for (uint32_t i = 0; i < f->nwho; i++) {
        if (!fn(arg, f->who[i])) {
            return false;
        }
    }
    return true;
}

/* p: the rest of the subject; NULL: all of it was matched by what leads to f. */
static bool match(const struct filter_index *x, const struct filter_node *f, const char *p,
                  const char *end, filter_index_fn fn, void *arg)
{
    while (p != NULL) {
        struct token t = next_token(&p, end);
        const struct filter_node *next = literal(x, f, t);
        if (f->rest != NULL && !each(f->rest, fn, arg)) {
            return false;
        }
        if (next == NULL && f->star == NULL) {
            return true;
        }
        if (next != NULL && f->star != NULL && !match(x, f->star, p, end, fn, arg)) {
            return false; /* only where the ways part: subjects may have thousands of tokens */
        }
        f = next != NULL ? next : f->star;
    }
    return each(f, fn, arg);
}

bool filter_index_match(const struct filter_index *x, const char *subject, size_t len,
                        filter_index_fn fn, void *arg)
{
    return x->root == NULL || match(x, x->root, subject, subject + len, fn, arg);
}
