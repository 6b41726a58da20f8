#include "engine/base/env_sim_image.h"

static void page_unref(struct sim_page *p)
{
    if (p != NULL && --p->refs == 0) {
        base_free(p);
    }
}

static void leaf_unref(struct sim_leaf *l)
{
    if (l == NULL || --l->refs > 0) {
        return;
    }
    for (size_t i = 0; i < SIM_LEAF_PAGES; i++) {
        page_unref(l->page[i]);
    }
    base_free(l);
}

void sim_image_fini(struct sim_image *im)
{
    for (size_t i = 0; i < im->nleaf; i++) {
        leaf_unref(im->leaf[i]);
    }
    base_free(im->leaf);
    *im = (struct sim_image){0};
}

void sim_image_copy(struct sim_image *to, const struct sim_image *from)
{
    *to = (struct sim_image){.nleaf = from->nleaf, .size = from->size};
    if (from->nleaf == 0) {
        return;
    }
    to->leaf = base_malloc(from->nleaf * sizeof(struct sim_leaf *));
    for (size_t i = 0; i < from->nleaf; i++) {
        to->leaf[i] = from->leaf[i];
        if (to->leaf[i] != NULL) {
            to->leaf[i]->refs++;
        }
    }
}

static struct sim_page *page_at(const struct sim_image *im, uint64_t index)
{
    uint64_t l = index / SIM_LEAF_PAGES;
    return l < im->nleaf && im->leaf[l] != NULL ? im->leaf[l]->page[index % SIM_LEAF_PAGES] : NULL;
}

/* The leaf of a page, not shared with any other image. */
static struct sim_leaf *own_leaf(struct sim_image *im, uint64_t index)
{
    size_t l = (size_t)(index / SIM_LEAF_PAGES);
    if (l >= im->nleaf) {
        im->leaf = base_realloc(im->leaf, (l + 1) * sizeof(struct sim_leaf *));
        memset(im->leaf + im->nleaf, 0, (l + 1 - im->nleaf) * sizeof(struct sim_leaf *));
        im->nleaf = l + 1;
    }
    struct sim_leaf *leaf = im->leaf[l];
    if (leaf == NULL) {
        leaf = base_calloc(1, sizeof(*leaf));
        leaf->refs = 1;
    } else if (leaf->refs > 1) {
        struct sim_leaf *copy = base_malloc(sizeof(*copy));
        *copy = *leaf;
        copy->refs = 1;
        for (size_t i = 0; i < SIM_LEAF_PAGES; i++) {
            if (copy->page[i] != NULL) {
                copy->page[i]->refs++;
            }
        }
        leaf->refs--;
        leaf = copy;
    }
    im->leaf[l] = leaf;
    return leaf;
}

static struct sim_page *own_page(struct sim_image *im, uint64_t index)
{
    struct sim_page **slot = &own_leaf(im, index)->page[index % SIM_LEAF_PAGES];
    if (*slot == NULL) {
        *slot = base_calloc(1, sizeof(**slot));
        (*slot)->refs = 1;
    } else if ((*slot)->refs > 1) {
        struct sim_page *copy = base_malloc(sizeof(*copy));
        memcpy(copy->data, (*slot)->data, BASE_PAGE);
        copy->refs = 1;
        (*slot)->refs--;
        *slot = copy;
    }
    return *slot;
}

void sim_image_read(const struct sim_image *im, uint64_t off, uint8_t *buf, size_t len)
{
    while (len > 0) {
        size_t in = (size_t)(off % BASE_PAGE);
        size_t n = (size_t)u64_min(BASE_PAGE - in, len);
        const struct sim_page *p = page_at(im, off / BASE_PAGE);
        if (p == NULL) {
            memset(buf, 0, n);
        } else {
            memcpy(buf, p->data + in, n);
        }
        off += n;
        buf += n;
        len -= n;
    }
}

static bool all_zero(const uint8_t *data, size_t len)
{
    return len == 0 || (data[0] == 0 && memcmp(data, data + 1, len - 1) == 0);
}

void sim_image_write(struct sim_image *im, uint64_t off, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t in = (size_t)(off % BASE_PAGE);
        size_t n = (size_t)u64_min(BASE_PAGE - in, len);
        /* Zeros over a hole stay a hole: journals zero whole files ahead of use. */
        if (page_at(im, off / BASE_PAGE) != NULL || (data != NULL && !all_zero(data, n))) {
            uint8_t *to = own_page(im, off / BASE_PAGE)->data + in;
            if (data == NULL) {
                memset(to, 0, n);
            } else {
                memcpy(to, data, n);
            }
        }
        off += n;
        data = data == NULL ? NULL : data + n;
        len -= n;
    }
}

void sim_image_zero_from(struct sim_image *im, uint64_t off)
{
    size_t in = (size_t)(off % BASE_PAGE);
    if (in != 0) {
        sim_image_write(im, off, NULL, BASE_PAGE - in);
    }
    uint64_t index = align_up(off, BASE_PAGE) / BASE_PAGE;
    while (index % SIM_LEAF_PAGES != 0 && index / SIM_LEAF_PAGES < im->nleaf) {
        if (page_at(im, index) != NULL) {
            struct sim_page **slot = &own_leaf(im, index)->page[index % SIM_LEAF_PAGES];
            page_unref(*slot);
            *slot = NULL;
        }
        index++;
    }
    for (size_t l = (size_t)(index / SIM_LEAF_PAGES); l < im->nleaf; l++) {
        leaf_unref(im->leaf[l]);
        im->leaf[l] = NULL;
    }
}

void sim_image_share_page(struct sim_image *to, const struct sim_image *from, uint64_t index)
{
    struct sim_page *p = page_at(from, index);
    struct sim_page *old = page_at(to, index);
    if (p == old) {
        return;
    }
    if (p != NULL) {
        p->refs++;
    }
    struct sim_leaf *leaf =
        own_leaf(to, index); /* may have raised old's count: the leaf's reference is dropped */
    page_unref(leaf->page[index % SIM_LEAF_PAGES]);
    leaf->page[index % SIM_LEAF_PAGES] = p;
}

bool sim_image_same_page(const struct sim_image *a, const struct sim_image *b, uint64_t index)
{
    return page_at(a, index) == page_at(b, index);
}
