#include "engine/msgmap.h"

enum { PAGE_BITS = 12, PAGE_SEQS = 1 << PAGE_BITS };

struct msgmap_page {
    uint32_t live; /* slots with an id */
    uint32_t id[PAGE_SEQS];
    uint32_t size[PAGE_SEQS];
};

void msgmap_init(struct msgmap *m)
{
    memset(m, 0, sizeof *m);
}

void msgmap_reset(struct msgmap *m)
{
    for (size_t i = 0; i < m->npages; i++) {
        base_free(m->pages[i]);
    }
    m->npages = 0;
}

void msgmap_fini(struct msgmap *m)
{
    msgmap_reset(m);
    base_free(m->pages);
    memset(m, 0, sizeof *m);
}

/* Drops empty pages at the front, so that the table does not grow with the sequence. Amortised by
 * halving. */
static void trim_front(struct msgmap *m)
{
    size_t n = 0;
    while (n < m->npages && m->pages[n] == NULL) {
        n++;
    }
    if (n == m->npages) {
        m->npages = 0;
    } else if (n > 16 && n * 2 > m->npages) {
        memmove(m->pages, m->pages + n, (m->npages - n) * sizeof *m->pages);
        m->npages -= n;
        m->base += n;
    }
}

static void reserve(struct msgmap *m, size_t npages)
{
    if (npages > m->cap) {
        size_t cap = m->cap == 0 ? 8 : m->cap * 2;
        m->cap = cap > npages ? cap : npages;
        m->pages = base_realloc(m->pages, m->cap * sizeof *m->pages);
    }
}

static struct msgmap_page **page_slot(struct msgmap *m, uint64_t number)
{
    if (m->npages == 0) {
        m->base = number;
    }
    if (number < m->base) {
        size_t add = (size_t)(m->base - number);
        reserve(m, m->npages + add);
        memmove(m->pages + add, m->pages, m->npages * sizeof *m->pages);
        memset(m->pages, 0, add * sizeof *m->pages);
        m->npages += add;
        m->base = number;
    }
    size_t i = (size_t)(number - m->base);
    if (i >= m->npages) {
        trim_front(m);
        if (m->npages == 0) {
            m->base = number;
        }
        i = (size_t)(number - m->base);
        reserve(m, i + 1);
        memset(m->pages + m->npages, 0, (i + 1 - m->npages) * sizeof *m->pages);
        m->npages = i + 1;
    }
    return &m->pages[i];
}

static struct msgmap_page *page_of(const struct msgmap *m, uint64_t seq)
{
    uint64_t number = seq >> PAGE_BITS;
    if (number < m->base || number - m->base >= m->npages) {
        return NULL;
    }
    return m->pages[number - m->base];
}

void msgmap_set(struct msgmap *m, uint64_t seq, uint32_t id, uint32_t size)
{
    ASSERT(id != 0);
    struct msgmap_page *p = page_of(m, seq);
    if (p == NULL) {
        p = base_calloc(1, sizeof *p);
        *page_slot(m, seq >> PAGE_BITS) = p;
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
        m->pages[(seq >> PAGE_BITS) - m->base] = NULL;
        base_free(p);
    }
    return true;
}
