#include "engine/wheel.h"

enum { WAYS = 4 };

static bool before(const struct wheel_node *a, const struct wheel_node *b)
{
    return a->at_boot_ns != b->at_boot_ns ? a->at_boot_ns < b->at_boot_ns : a->order < b->order;
}

static void place(struct wheel *w, size_t i, struct wheel_node *node)
{
    w->heap[i] = node;
    node->index = (uint32_t)i + 1;
}

static void sift_up(struct wheel *w, size_t i, struct wheel_node *node)
{
    while (i > 0 && before(node, w->heap[(i - 1) / WAYS])) {
        place(w, i, w->heap[(i - 1) / WAYS]);
        i = (i - 1) / WAYS;
    }
    place(w, i, node);
}

static void sift_down(struct wheel *w, size_t i, struct wheel_node *node)
{
    for (;;) {
        size_t kid = i * WAYS + 1, best = kid;
        if (kid >= w->n) {
            break;
        }
        for (size_t k = kid + 1; k < kid + WAYS && k < w->n; k++) {
            if (before(w->heap[k], w->heap[best])) {
                best = k;
            }
        }
        if (!before(w->heap[best], node)) {
            break;
        }
        place(w, i, w->heap[best]);
        i = best;
    }
    place(w, i, node);
}

void wheel_init(struct wheel *w)
{
    memset(w, 0, sizeof *w);
}

void wheel_fini(struct wheel *w)
{
    for (size_t i = 0; i < w->n; i++) {
        w->heap[i]->index = 0;
    }
    base_free(w->heap);
    memset(w, 0, sizeof *w);
}

void wheel_arm(struct wheel *w, struct wheel_node *node, int64_t at_boot_ns)
{
    wheel_cancel(w, node);
    if (at_boot_ns == WHEEL_NEVER) {
        return;
    }
    if (w->n == w->cap) {
        ASSERT(w->cap < UINT32_MAX / 2);
        w->cap = w->cap == 0 ? 16 : w->cap * 2;
        w->heap = base_realloc(w->heap, w->cap * sizeof w->heap[0]);
    }
    node->at_boot_ns = at_boot_ns;
    node->order = w->next_order++;
    w->n++;
    sift_up(w, w->n - 1, node);
}

void wheel_cancel(struct wheel *w, struct wheel_node *node)
{
    if (node->index == 0) {
        return;
    }
    size_t i = node->index - 1;
    ASSERT(i < w->n && w->heap[i] == node);
    node->index = 0;
    struct wheel_node *last = w->heap[--w->n];
    if (last == node) {
        return;
    }
    if (i > 0 && before(last, w->heap[(i - 1) / WAYS])) {
        sift_up(w, i, last);
    } else {
        sift_down(w, i, last);
    }
}

int64_t wheel_next(const struct wheel *w)
{
    return w->n == 0 ? WHEEL_NEVER : w->heap[0]->at_boot_ns;
}

struct wheel_node *wheel_pop(struct wheel *w, int64_t now_boot_ns)
{
    if (w->n == 0 || w->heap[0]->at_boot_ns > now_boot_ns) {
        return NULL;
    }
    struct wheel_node *node = w->heap[0];
    wheel_cancel(w, node);
    return node;
}
