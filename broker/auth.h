/* Who may connect: users with plain or bcrypt passwords, and the token, from the options.
 *
 * Plain secrets are compared in constant time (keyed digests of both sides). bcrypt takes tens of
 * milliseconds, so it runs on a worker task, one check after the other: logins can never take more
 * than one core, and the queue is bounded (BRK_AUTH_QUEUE_MAX; beyond that a login is denied). The
 * loop gets the answer through its doorbell.
 *
 * Roles: everything on the loop thread, but the worker's step. */
#ifndef BROKER_AUTH_H
#define BROKER_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/loop.h"
#include "broker/opts.h"
#include "engine/base/env.h"

#define BRK_AUTH_QUEUE_MAX 1024u

struct brk_auth;

struct brk_auth_user {
    const char *user;    /* borrowed from the options; NULL: the token */
    const char *account; /* borrowed from the options */
    const char *secret;  /* borrowed from the options */
    bool bcrypt;
};

enum brk_auth_result { BRK_AUTH_OK, BRK_AUTH_DENIED, BRK_AUTH_PENDING };

/* user is NULL: denied. Called on the loop thread, once per PENDING. */
typedef void (*brk_auth_fn)(void *arg, uint64_t cid, const struct brk_auth_user *user);

struct brk_auth *brk_auth_create(const struct brk_opts *opts, struct env *env,
                                 struct brk_loop *loop, brk_auth_fn fn, void *arg);
/* Waits for a running check; pending ones are dropped. NULL is a no-op. */
void brk_auth_destroy(struct brk_auth *a);
/* True when a CONNECT's credentials are looked at (users, a token); false: everybody is let in to
 * $G. */
bool brk_auth_enabled(const struct brk_auth *a);
/* The user of connections that present nothing; NULL when there is none. */
const struct brk_auth_user *brk_auth_no_auth_user(const struct brk_auth *a);
/* Checks; arguments may be NULL. OK: *user_out is set (borrowed until destroy). */
enum brk_auth_result brk_auth_check(struct brk_auth *a, uint64_t cid, const char *user,
                                    const char *pass, const char *token,
                                    const struct brk_auth_user **user_out);

#endif
