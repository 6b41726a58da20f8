#include "broker/auth.h"

#include <crypt.h>
#include <sodium.h>

#include "broker/connect.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"

#define DIGEST_LEN 32u
#define WORKER_NICE 5

struct job {
    struct job *next;
    uint64_t cid;
    const struct brk_auth_user *user; /* borrowed; NULL after the check: denied */
    char *pass;                       /* owned; wiped after the check */
};

struct brk_auth {
    struct env *env;       /* borrowed */
    struct brk_loop *loop; /* borrowed */
    brk_auth_fn fn;
    void *arg;
    struct brk_auth_user *users; /* owned */
    size_t users_count;
    struct brk_auth_user token; /* secret NULL: none */
    const struct brk_auth_user *no_auth_user;
    uint8_t key[crypto_generichash_KEYBYTES];
    struct env_task *worker; /* owned; started at the first bcrypt check */
    struct base_mutex mutex;
    struct job *todo, **todo_tail; /* guarded by: mutex */
    struct job *done;              /* guarded by: mutex */
    uint32_t queued;               /* guarded by: mutex; todo and running */
};

static void add_user(struct brk_auth *a, const char *user, const char *pass, const char *account)
{
    a->users[a->users_count++] =
        (struct brk_auth_user){user, account, pass, brk_pass_is_bcrypt(pass)};
}

static void on_wake(void *arg);

struct brk_auth *brk_auth_create(const struct brk_opts *opts, struct env *env,
                                 struct brk_loop *loop, brk_auth_fn fn, void *arg)
{
    struct brk_auth *a = base_calloc(1, sizeof *a);
    a->env = env;
    a->loop = loop;
    a->fn = fn;
    a->arg = arg;
    a->todo_tail = &a->todo;
    base_mutex_init(&a->mutex);
    env_random(env, a->key, sizeof a->key);
    a->users = base_calloc(opts->users_count + 1, sizeof *a->users);
    if (opts->user != NULL && opts->pass != NULL) {
        add_user(a, opts->user, opts->pass, BRK_ACC_GLOBAL);
    }
    for (size_t i = 0; i < opts->users_count; i++) {
        add_user(a, opts->users[i].user, opts->users[i].pass, opts->users[i].account);
    }
    if (opts->token != NULL) {
        a->token = (struct brk_auth_user){NULL, BRK_ACC_GLOBAL, opts->token,
                                          brk_pass_is_bcrypt(opts->token)};
    }
    for (size_t i = 0; opts->no_auth_user != NULL && i < a->users_count; i++) {
        if (strcmp(a->users[i].user, opts->no_auth_user) == 0) {
            a->no_auth_user = &a->users[i];
        }
    }
    brk_loop_on_wake(loop, on_wake, a);
    return a;
}

static void job_free(struct job *j)
{
    brk_secret_free(j->pass);
    base_free(j);
}

static void jobs_free(struct job *j)
{
    while (j != NULL) {
        struct job *next = j->next;
        job_free(j);
        j = next;
    }
}

void brk_auth_destroy(struct brk_auth *a)
{
    if (a == NULL) {
        return;
    }
    brk_loop_off(a->loop, on_wake, a);
    env_task_stop(a->env, a->worker);
    jobs_free(a->todo);
    jobs_free(a->done);
    base_mutex_destroy(&a->mutex);
    sodium_memzero(a->key, sizeof a->key);
    base_free(a->users);
    base_free(a);
}

bool brk_auth_enabled(const struct brk_auth *a)
{
    return a->users_count > 0 || a->token.secret != NULL;
}
const struct brk_auth_user *brk_auth_no_auth_user(const struct brk_auth *a)
{
    return a->no_auth_user;
}

/* --- the worker ------------------------------------------------------------------------------- */

static bool bcrypt_matches(const char *hash, const char *pass)
{
    struct crypt_data *data = base_calloc(1, sizeof *data);
    const char *out = crypt_r(pass, hash, data);
    size_t len = strlen(hash);
    bool ok =
        out != NULL && out[0] != '*' && strlen(out) == len && sodium_memcmp(out, hash, len) == 0;
    sodium_memzero(data, sizeof *data);
    base_free(data);
    return ok;
}

/* One check a step. Worker task. */
static uint64_t worker_step(void *arg)
{
    struct brk_auth *a = arg;
    base_mutex_lock(&a->mutex);
    struct job *j = a->todo;
    if (j != NULL) {
        a->todo = j->next;
        if (a->todo == NULL) {
            a->todo_tail = &a->todo;
        }
    }
    base_mutex_unlock(&a->mutex);
    if (j == NULL) {
        return ENV_STEP_IDLE;
    }
    if (!bcrypt_matches(j->user->secret, j->pass)) {
        j->user = NULL;
    }
    base_mutex_lock(&a->mutex);
    j->next = a->done;
    a->done = j;
    a->queued--;
    base_mutex_unlock(&a->mutex);
    brk_loop_wake(a->loop);
    return ENV_STEP_AGAIN;
}

static void on_wake(void *arg)
{
    struct brk_auth *a = arg;
    base_mutex_lock(&a->mutex);
    struct job *j = a->done;
    a->done = NULL;
    base_mutex_unlock(&a->mutex);
    while (j != NULL) {
        struct job *next = j->next;
        a->fn(a->arg, j->cid, j->user);
        job_free(j);
        j = next;
    }
}

static enum brk_auth_result queue_check(struct brk_auth *a, uint64_t cid,
                                        const struct brk_auth_user *u, const char *pass)
{
    if (a->worker == NULL) {
        struct err err;
        if (env_task_start(a->env, "auth", WORKER_NICE, worker_step, a, &a->worker, &err) !=
            ST_OK) {
            log_err("could not start the login worker: %s", err.msg);
            return BRK_AUTH_DENIED;
        }
    }
    struct job *j = base_calloc(1, sizeof *j);
    j->cid = cid;
    j->user = u;
    j->pass = base_strdup(pass);
    base_mutex_lock(&a->mutex);
    bool full = a->queued >= BRK_AUTH_QUEUE_MAX;
    if (!full) {
        a->queued++;
        *a->todo_tail = j;
        a->todo_tail = &j->next;
    }
    base_mutex_unlock(&a->mutex);
    if (full) {
        job_free(j);
        return BRK_AUTH_DENIED;
    }
    env_task_wake(a->env, a->worker);
    return BRK_AUTH_PENDING;
}

/* --- checks ----------------------------------------------------------------------------------- */

/* Compares in a time that depends on neither content. */
static bool secret_eq(const struct brk_auth *a, const char *x, const char *y)
{
    uint8_t dx[DIGEST_LEN], dy[DIGEST_LEN];
    (void)crypto_generichash(dx, sizeof dx, (const uint8_t *)x, strlen(x), a->key, sizeof a->key);
    (void)crypto_generichash(dy, sizeof dy, (const uint8_t *)y, strlen(y), a->key, sizeof a->key);
    return sodium_memcmp(dx, dy, sizeof dx) == 0;
}

static enum brk_auth_result check_secret(struct brk_auth *a, uint64_t cid,
                                         const struct brk_auth_user *u, const char *given,
                                         const struct brk_auth_user **user_out)
{
    if (u->bcrypt) {
        return queue_check(a, cid, u, given);
    }
    if (!secret_eq(a, u->secret, given)) {
        return BRK_AUTH_DENIED;
    }
    *user_out = u;
    return BRK_AUTH_OK;
}

enum brk_auth_result brk_auth_check(struct brk_auth *a, uint64_t cid, const char *user,
                                    const char *pass, const char *token,
                                    const struct brk_auth_user **user_out)
{
    *user_out = NULL;
    if (user == NULL && token == NULL) {
        *user_out = a->no_auth_user;
        return a->no_auth_user != NULL ? BRK_AUTH_OK : BRK_AUTH_DENIED;
    }
    if (a->token.secret != NULL) {
        return token == NULL ? BRK_AUTH_DENIED : check_secret(a, cid, &a->token, token, user_out);
    }
    if (user == NULL) {
        return BRK_AUTH_DENIED;
    }
    for (size_t i = 0; i < a->users_count; i++) {
        if (strcmp(a->users[i].user, user) == 0) {
            return check_secret(a, cid, &a->users[i], pass != NULL ? pass : "", user_out);
        }
    }
    /* As slow as a wrong password. */
    (void)secret_eq(a, user, pass != NULL ? pass : "");
    return BRK_AUTH_DENIED;
}
