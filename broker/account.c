/* Accounts and what watches their interest. */
#include "broker/account.h"

#include "broker/conn_priv.h"
#include "engine/base/base.h"
#include "engine/base/subject.h"

struct brk_watch {
    struct htab_node node; /* in acc->watches, by hash of the subject */
    struct brk_account *acc;
    struct brk_str subject, queue; /* owned, inside text */
    brk_watch_fn fn;
    void *arg;
    bool active, due;
    struct brk_watch *next_due, *prev_due;
    char text[];
};

struct brk_account *brk_account_lookup(struct brk_server *s, struct brk_str name)
{
    uint64_t hash = hash64(brk_impl_of(s)->hash_seed, name.p, name.n);
    for (struct htab_node *n = htab_chain(&s->accounts, hash); n != NULL; n = n->next) {
        struct brk_account *a = CONTAINER_OF(n, struct brk_account, by_name);
        if (n->hash == hash && strlen(a->name) == name.n && memcmp(a->name, name.p, name.n) == 0) {
            return a;
        }
    }
    return NULL;
}

struct brk_account *brk_account_get(struct brk_server *s, struct brk_str name)
{
    struct brk_account *a = brk_account_lookup(s, name);
    if (a != NULL) {
        return a;
    }
    struct brk_impl *im = brk_impl_of(s);
    a = base_calloc(1, sizeof *a);
    a->magic = BRK_ACCOUNT_MAGIC;
    a->server = s;
    a->name = base_strndup(name.p, name.n);
    brk_interest_init(&a->interest, brk_random(im), brk_sub_free);
    htab_add(&s->accounts, &a->by_name, hash64(im->hash_seed, name.p, name.n));
    *s->accounts_tail = a;
    s->accounts_tail = &a->next;
    s->accounts_count++;
    return a;
}

struct brk_account *brk_account_first(struct brk_server *s)
{
    return s->accounts_first;
}

void brk_accounts_fini(struct brk_server *s)
{
    struct brk_account *a = s->accounts_first;
    htab_fini(&s->accounts);
    while (a != NULL) {
        struct brk_account *next = a->next;
        ASSERT(a->conns == NULL);
        ASSERT(a->watches.count == 0);
        brk_interest_fini(&a->interest);
        base_free(a->name);
        a->magic = 0;
        base_free(a);
        a = next;
    }
    s->accounts_first = NULL;
}

/* --- watches ---------------------------------------------------------------------------------- */

static void watch_due(struct brk_watch *w)
{
    if (w->due) {
        return;
    }
    struct brk_impl *im = brk_impl_of(w->acc->server);
    w->due = true;
    w->prev_due = NULL;
    w->next_due = im->watches_due;
    if (w->next_due != NULL) {
        w->next_due->prev_due = w;
    }
    im->watches_due = w;
}

static void watch_undue(struct brk_watch *w)
{
    if (!w->due) {
        return;
    }
    struct brk_impl *im = brk_impl_of(w->acc->server);
    *(w->prev_due != NULL ? &w->prev_due->next_due : &im->watches_due) = w->next_due;
    if (w->next_due != NULL) {
        w->next_due->prev_due = w->prev_due;
    }
    w->due = false;
}

/* A subscription to `subject` came or went: marks the watches that it may concern. A literal one
 * costs a look-up, one with wildcards a walk over the account's watches. */
static void watches_touch(struct brk_account *acc, struct brk_str subject)
{
    if (acc->watches.count == 0) {
        return;
    }
    if (subject_has_wildcard(subject.p, subject.n)) {
        for (struct htab_node *n = htab_first(&acc->watches); n != NULL;
             n = htab_next(&acc->watches, n)) {
            struct brk_watch *w = CONTAINER_OF(n, struct brk_watch, node);
            if (subject_match(w->subject.p, w->subject.n, subject.p, subject.n)) {
                watch_due(w);
            }
        }
        return;
    }
    uint64_t hash = hash64(acc->interest.seed, subject.p, subject.n);
    for (struct htab_node *n = htab_chain(&acc->watches, hash); n != NULL; n = n->next) {
        struct brk_watch *w = CONTAINER_OF(n, struct brk_watch, node);
        if (n->hash == hash && w->subject.n == subject.n &&
            memcmp(w->subject.p, subject.p, subject.n) == 0) {
            watch_due(w);
        }
    }
}

void brk_account_insert(struct brk_account *acc, struct brk_sub *sub)
{
    sub->account = acc;
    brk_interest_insert(&acc->interest, sub);
    watches_touch(acc, sub->subject);
}

void brk_account_remove(struct brk_account *acc, struct brk_sub *sub)
{
    watches_touch(acc, sub->subject);
    brk_interest_remove(&acc->interest, sub);
}

/* Without a queue name only plain subscriptions count: a member of some queue group does not make a
 * consumer without a group deliver, as upstream has it. */
static bool watch_looks(const struct brk_watch *w)
{
    if (w->queue.n > 0) {
        return brk_interest_any(&w->acc->interest, w->subject, w->queue);
    }
    struct brk_match m;
    bool any = false;
    brk_interest_match(&w->acc->interest, w->subject, &m);
    struct brk_leaf **leaves = brk_match_leaves(&m);
    for (uint32_t i = 0; i < m.count && !any; i++) {
        for (uint32_t k = 0; k < leaves[i]->subs_count && !any; k++) {
            any = !leaves[i]->subs[k]->dead;
        }
    }
    brk_match_fini(&m);
    return any;
}

void brk_watches_run(struct brk_server *s)
{
    struct brk_impl *im = brk_impl_of(s);
    while (im->watches_due != NULL) {
        struct brk_watch *w = im->watches_due;
        watch_undue(w);
        bool active = watch_looks(w);
        if (active != w->active) {
            w->active = active;
            w->fn(w->arg, active); /* may destroy w */
        }
    }
}

struct brk_watch *brk_watch_create(struct brk_account *acc, struct brk_str subject,
                                   struct brk_str queue, brk_watch_fn fn, void *arg)
{
    ASSERT(acc->magic == BRK_ACCOUNT_MAGIC);
    struct brk_watch *w = base_calloc(1, sizeof *w + subject.n + queue.n);
    memcpy(w->text, subject.p, subject.n);
    if (queue.n > 0) {
        memcpy(w->text + subject.n, queue.p, queue.n);
    }
    w->subject = (struct brk_str){w->text, subject.n};
    w->queue = (struct brk_str){w->text + subject.n, queue.n};
    w->acc = acc;
    w->fn = fn;
    w->arg = arg;
    w->active = watch_looks(w);
    htab_add(&acc->watches, &w->node, hash64(acc->interest.seed, subject.p, subject.n));
    return w;
}

void brk_watch_destroy(struct brk_watch *w)
{
    if (w != NULL) {
        watch_undue(w);
        htab_del(&w->acc->watches, &w->node);
        base_free(w);
    }
}

bool brk_watch_active(const struct brk_watch *w)
{
    return w->active;
}
