/* Options: defaults, ownership, and what must hold between them. */
#include "broker/opts.h"

#include "engine/base/limits.h"

static void default_to(int64_t *limit, int64_t value)
{
    if (*limit == 0) {
        *limit = value;
    }
}

/* NULL, or with a slash in front and none at the end. */
static void fix_base_path(char **path)
{
    if (*path == NULL) {
        return;
    }
    const char *p = *path + strspn(*path, "/");
    size_t len = strlen(p);
    while (len > 0 && p[len - 1] == '/') {
        len--;
    }
    char *fixed = NULL;
    if (len > 0) {
        fixed = base_malloc(len + 2);
        fixed[0] = '/';
        memcpy(fixed + 1, p, len);
        fixed[len + 1] = '\0';
    }
    base_free(*path);
    *path = fixed;
}

void brk_opts_baseline(struct brk_opts *o)
{
    default_to(&o->max_payload, (int64_t)LIM_PAYLOAD_BYTES_DEFAULT);
    default_to(&o->max_control_line, (int64_t)LIM_CONTROL_LINE_BYTES_DEFAULT);
    default_to(&o->max_pending, (int64_t)LIM_PENDING_BYTES_DEFAULT);
    default_to(&o->max_connections, LIM_CONNECTIONS_DEFAULT);
    default_to(&o->max_closed_clients, LIM_CLOSED_CLIENTS_DEFAULT);
    default_to(&o->ping_interval_ns, 120 * NS_PER_S);
    default_to(&o->ping_max, LIM_PINGS_OUT_DEFAULT);
    default_to(&o->write_deadline_ns, 10 * NS_PER_S);
    default_to(&o->auth_timeout_ns, 2 * NS_PER_S);
    default_to(&o->lame_duck_duration_ns, 120 * NS_PER_S);
    default_to(&o->lame_duck_grace_ns, 10 * NS_PER_S);
    default_to(&o->js.request_queue_limit, 10000);
    if (o->port == 0) {
        o->port = BRK_PORT_DEFAULT;
    }
    if (o->host == NULL || o->host[0] == '\0') {
        brk_opts_set_str(&o->host, "0.0.0.0");
    }
    fix_base_path(&o->http_base_path);
}

void brk_opts_init(struct brk_opts *o)
{
    memset(o, 0, sizeof *o);
    o->logtime = true;
    o->js.max_memory_store = -1;
    o->js.max_file_store = -1;
    o->js.sync_always = true;
    o->js.strict = true;
    o->busy_poll_ns = BRK_BUSY_POLL_NS_DEFAULT;
    brk_opts_baseline(o);
}

void brk_opts_fini(struct brk_opts *o)
{
    base_free(o->host);
    base_free(o->server_name);
    base_free(o->http_host);
    base_free(o->http_base_path);
    base_free(o->config_file);
    base_free(o->log_file);
    base_free(o->pid_file);
    base_free(o->ports_file_dir);
    base_free(o->user);
    base_free(o->pass);
    base_free(o->token);
    for (size_t i = 0; i < o->users_count; i++) {
        base_free(o->users[i].user);
        base_free(o->users[i].pass);
        base_free(o->users[i].account);
    }
    base_free(o->users);
    for (size_t i = 0; i < o->accounts_count; i++) {
        base_free(o->accounts[i].name);
    }
    base_free(o->accounts);
    base_free(o->no_auth_user);
    base_free(o->system_account);
    base_free(o->js.store_dir);
    base_free(o->js.domain);
    memset(o, 0, sizeof *o);
}

void brk_opts_set_str(char **slot, const char *value)
{
    char *copy = value == NULL ? NULL : base_strdup(value);
    base_free(*slot);
    *slot = copy;
}

void brk_opts_add_user(struct brk_opts *o, const char *user, const char *pass, const char *account)
{
    o->users = base_realloc(o->users, (o->users_count + 1) * sizeof *o->users);
    o->users[o->users_count++] = (struct brk_user_opt){
        .user = base_strdup(user),
        .pass = base_strdup(pass),
        .account = base_strdup(account),
    };
}

struct brk_account_opt *brk_opts_add_account(struct brk_opts *o, const char *name)
{
    o->accounts = base_realloc(o->accounts, (o->accounts_count + 1) * sizeof *o->accounts);
    struct brk_account_opt *a = &o->accounts[o->accounts_count++];
    *a = (struct brk_account_opt){.name = base_strdup(name), .limits = brk_js_no_limits()};
    return a;
}

const struct brk_account_opt *brk_opts_account(const struct brk_opts *o, const char *name)
{
    for (size_t i = 0; i < o->accounts_count; i++) {
        if (strcmp(o->accounts[i].name, name) == 0) {
            return &o->accounts[i];
        }
    }
    return NULL;
}

const struct brk_user_opt *brk_opts_user(const struct brk_opts *o, const char *user)
{
    for (size_t i = 0; i < o->users_count; i++) {
        if (strcmp(o->users[i].user, user) == 0) {
            return &o->users[i];
        }
    }
    return NULL;
}

const char *brk_opts_system_account(const struct brk_opts *o)
{
    return o->system_account != NULL ? o->system_account : BRK_ACC_SYSTEM;
}

bool brk_opts_auth_required(const struct brk_opts *o)
{
    return o->user != NULL || o->token != NULL || o->users_count > 0;
}

/* True when every account of the file is $G or the system account. */
static bool only_global(const struct brk_opts *o)
{
    for (size_t i = 0; i < o->accounts_count; i++) {
        const char *name = o->accounts[i].name;
        if (strcmp(name, BRK_ACC_GLOBAL) != 0 && strcmp(name, brk_opts_system_account(o)) != 0) {
            return false;
        }
    }
    return true;
}

bool brk_opts_account_jetstream(const struct brk_opts *o, const char *account)
{
    if (!o->js.enabled || strcmp(account, brk_opts_system_account(o)) == 0) {
        return false;
    }
    if (strcmp(account, BRK_ACC_GLOBAL) == 0 && only_global(o)) {
        return true;
    }
    const struct brk_account_opt *a = brk_opts_account(o, account);
    return a != NULL && a->jetstream;
}

struct brk_js_account_limits brk_opts_account_limits(const struct brk_opts *o, const char *account)
{
    const struct brk_account_opt *a = brk_opts_account(o, account);
    return a != NULL ? a->limits : brk_js_no_limits();
}

bool brk_pass_is_bcrypt(const char *pass)
{
    return pass != NULL && pass[0] == '$' && pass[1] == '2' && pass[2] != '\0' &&
           strchr("abxy", pass[2]) != NULL && pass[3] == '$';
}

static enum st check_users(const struct brk_opts *o, struct err *err)
{
    for (size_t i = 0; i < o->users_count; i++) {
        const struct brk_user_opt *u = &o->users[i];
        for (size_t j = 0; j < i; j++) {
            if (strcmp(o->users[j].user, u->user) == 0) {
                return err_set(err, ST_INVALID, 0, "duplicate user \"%s\" detected", u->user);
            }
        }
        if (strcmp(u->account, BRK_ACC_GLOBAL) != 0 && brk_opts_account(o, u->account) == NULL) {
            return err_set(err, ST_INVALID, 0,
                           "user \"%s\" belongs to account \"%s\", which does not exist", u->user,
                           u->account);
        }
    }
    return ST_OK;
}

static enum st check_accounts(const struct brk_opts *o, struct err *err)
{
    for (size_t i = 0; i < o->accounts_count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(o->accounts[i].name, o->accounts[j].name) == 0) {
                return err_set(err, ST_INVALID, 0, "duplicate account \"%s\"", o->accounts[i].name);
            }
        }
    }
    if (o->system_account != NULL && strcmp(o->system_account, BRK_ACC_SYSTEM) != 0 &&
        brk_opts_account(o, o->system_account) == NULL) {
        return err_set(err, ST_INVALID, 0,
                       "error resolving system account: account missing: \"%s\"",
                       o->system_account);
    }
    return ST_OK;
}

enum st brk_opts_check(const struct brk_opts *o, struct err *err)
{
    enum st st = check_accounts(o, err);
    if (st == ST_OK) {
        st = check_users(o, err);
    }
    if (st != ST_OK) {
        return st;
    }
    if (o->no_auth_user != NULL && o->users_count == 0) {
        return err_set(err, ST_INVALID, 0,
                       "no_auth_user: \"%s\" present, but users/nkeys are not defined",
                       o->no_auth_user);
    }
    if (o->no_auth_user != NULL && brk_opts_user(o, o->no_auth_user) == NULL) {
        return err_set(err, ST_INVALID, 0,
                       "no_auth_user: \"%s\" not present as user in authorization block or "
                       "account configuration",
                       o->no_auth_user);
    }
    if (o->max_payload > o->max_pending) {
        return err_set(err, ST_INVALID, 0,
                       "max_payload (%lld) cannot be higher than max_pending (%lld)",
                       (long long)o->max_payload, (long long)o->max_pending);
    }
    if (o->lame_duck_duration_ns < 30 * NS_PER_S) {
        return err_set(err, ST_INVALID, 0,
                       "invalid lame_duck_duration of %gs, minimum is 30 seconds",
                       (double)o->lame_duck_duration_ns / (double)NS_PER_S);
    }
    if (o->lame_duck_grace_ns < 0 || o->lame_duck_grace_ns >= o->lame_duck_duration_ns) {
        return err_set(err, ST_INVALID, 0,
                       "lame duck grace period (%gs) should be strictly lower than lame duck "
                       "duration (%gs)",
                       (double)o->lame_duck_grace_ns / (double)NS_PER_S,
                       (double)o->lame_duck_duration_ns / (double)NS_PER_S);
    }
    return ST_OK;
}
