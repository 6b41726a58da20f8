/* An intrusive doubly linked list: the node lies in the object, so that linking cannot fail and
 * unlinking is O(1). Not thread-safe. A zeroed node is "not linked"; list_remove leaves it so. */
#ifndef ENGINE_BASE_LIST_H
#define ENGINE_BASE_LIST_H

#include "engine/base/base.h"

struct list_node {
    struct list_node *prev, *next;
};

struct list {
    struct list_node head; /* circular; points to itself when empty */
};

static inline void list_init(struct list *l)
{
    l->head.prev = l->head.next = &l->head;
}
static inline bool list_empty(const struct list *l)
{
    return l->head.next == &l->head;
}
static inline void list_insert_before(struct list_node *at, struct list_node *n)
{
    ASSERT(n->next == NULL);
    n->prev = at->prev;
    n->next = at;
    at->prev->next = n;
    at->prev = n;
}
static inline void list_push_back(struct list *l, struct list_node *n)
{
    list_insert_before(&l->head, n);
}
static inline void list_push_front(struct list *l, struct list_node *n)
{
    list_insert_before(l->head.next, n);
}

/* Unlinks; a no-op on a node that is not linked. */
static inline void list_remove(struct list_node *n)
{
    if (n->next != NULL) {
        n->prev->next = n->next;
        n->next->prev = n->prev;
        n->prev = n->next = NULL;
    }
}

/* First or next node, NULL at the end. */
static inline struct list_node *list_first(const struct list *l)
{
    return list_empty(l) ? NULL : l->head.next;
}
/* Walks; the current node may be removed (or freed) in the body, no other. */
#define LIST_EACH(l, n)                                                                            \
    for (struct list_node *n = (l)->head.next, *n##_next = n->next; n != &(l)->head;               \
         n = n##_next, n##_next = n->next)

#endif
