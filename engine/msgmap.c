#include "engine/msgmap.h"

enum {
    PAGE_BITS = 12,
    PAGE_SEQS = 1 << PAGE_BITS,
    TABLE_PAGE_BITS = 9,
    TABLE_PAGES = 1 << TABLE_PAGE_BITS,
    TABLE_BITS = PAGE_BITS + TABLE_PAGE_BITS,
};

struct msgmap_page {
    uint32_t live; /* slots with an id */
    uint32_t id[PAGE_SEQS];
    uint32_t size[PAGE_SEQS];
};

struct msgmap_table {
    uint64_t number;                       /* sequence / 2 Mi */
    uint32_t pages;                        /* that are there */
    struct msgmap_page *page[TABLE_PAGES]; /* owned; NULL = none live */
};

void msgmap_init(struct msgmap *m)
{
    memset(m, 0, sizeof *m);
}

static void free_table(struct msgmap_table *t)
{
    for (size_t i = 0; i < TABLE_PAGES; i++) {
        base_free(t->page[i]);
    }
    base_free(t);
}

void msgmap_reset(struct msgmap *m)
{
    for (size_t i = 0; i < m->ntables; i++) {
        free_table(m->tables[i]);
    }
    m->ntables = 0;
}

void msgmap_fini(struct msgmap *m)
{
    msgmap_reset(m);
    base_free(m->tables);
    memset(m, 0, sizeof *m);
}

/* Index of the first table whose number is not below that one. Where they follow on each other,
 * which is nearly always, the number says it. */
static size_t find(const struct msgmap *m, uint64_t number)
{
    size_t lo = 0, hi = m->ntables;
    if (hi == 0 || number > m->tables[hi - 1]->number) {
        return hi;
    }
    uint64_t guess = number - m->tables[0]->number;
    if (guess < hi && m->tables[guess]->number == number) {
        return guess;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (m->tables[mid]->number < number) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static struct msgmap_table *table_of(const struct msgmap *m, uint64_t seq)
{
    size_t i = find(m, seq >> TABLE_BITS);
    return i < m->ntables && m->tables[i]->number == seq >> TABLE_BITS ? m->tables[i] : NULL;
}

static struct msgmap_table *make_table(struct msgmap *m, uint64_t number)
{
    size_t i = find(m, number);
    if (m->ntables == m->cap) {
        m->cap = m->cap * 2 + 4;
        m->tables = base_realloc(m->tables, m->cap * sizeof(struct msgmap_table *));
    }
    memmove(m->tables + i + 1, m->tables + i, (m->ntables - i) * sizeof(struct msgmap_table *));
    m->ntables++;
    m->tables[i] = base_calloc(1, sizeof *m->tables[i]);
    m->tables[i]->number = number;
    return m->tables[i];
}

static size_t page_no(uint64_t seq)
{
    return (seq >> PAGE_BITS) & (TABLE_PAGES - 1);
}

static struct msgmap_page *page_of(const struct msgmap *m, uint64_t seq)
{
    const struct msgmap_table *t = table_of(m, seq);
    return t != NULL ? t->page[page_no(seq)] : NULL;
}

static struct msgmap_page *make_page(struct msgmap *m, uint64_t seq)
{
    struct msgmap_table *t = table_of(m, seq);
    if (t == NULL) {
        t = make_table(m, seq >> TABLE_BITS);
    }
    t->pages++;
    return t->page[page_no(seq)] = base_calloc(1, sizeof *t->page[0]);
}

static void free_page(struct msgmap *m, uint64_t seq)
{
    size_t i = find(m, seq >> TABLE_BITS);
    struct msgmap_table *t = m->tables[i];
    base_free(t->page[page_no(seq)]);
    t->page[page_no(seq)] = NULL;
    if (--t->pages == 0) {
        base_free(t);
        m->ntables--;
        memmove(m->tables + i, m->tables + i + 1, (m->ntables - i) * sizeof(struct msgmap_table *));
    }
}

void msgmap_set(struct msgmap *m, uint64_t seq, uint32_t id, uint32_t size)
{
    ASSERT(id != 0);
    struct msgmap_page *p = page_of(m, seq);
    if (p == NULL) {
        p = make_page(m, seq);
    }
    size_t i = seq & (PAGE_SEQS - 1);
    p->live += p->id[i] == 0;
    p->id[i] = id;
    p->size[i] = size;
}

bool msgmap_get(const struct msgmap *m, uint64_t seq, uint32_t *id_out, uint32_t *size_out)
{
    const struct msgmap_page *p = page_of(m, seq);
    size_t i = seq & (PAGE_SEQS - 1);
    if (p == NULL || p->id[i] == 0) {
        return false;
    }
    *id_out = p->id[i];
    *size_out = p->size[i];
    return true;
}

bool msgmap_clear(struct msgmap *m, uint64_t seq)
{
    struct msgmap_page *p = page_of(m, seq);
    size_t i = seq & (PAGE_SEQS - 1);
    if (p == NULL || p->id[i] == 0) {
        return false;
    }
    p->id[i] = 0;
    p->live--;
    if (p->live == 0) {
        free_page(m, seq);
    }
    return true;
}
