/* jsadmin: looks after a stopped store, under its lock (engine/engine.h). Exit codes: 0 fine, 1
 * could not do it, 2 wrong usage, 3 damage was found. */
#include "tools/jsadmin.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/version.h"
#include "tools/jsadmin_place.h"

#define BAR_NAME_MAX 30u /* characters before a progress bar, of 80 */

static const struct command {
    const char *name;
    int how; /* enum ja_how; -1: no store */
    int (*run)(struct ja_ctx *x);
    const char *options; /* getopt's letters of what it takes */
} commands[] = {
    {"info", JA_READ_ONLY, ja_info, ""},
    {"check", JA_READ_ONLY, ja_check, ""},
    {"compact", JA_READ_WRITE, ja_compact, ""},
    {"backup", JA_READ_ONLY, ja_backup, "tasr"},
    {"restore", -1, ja_restore, "fasASr"},
    {"verify", -1, ja_verify, ""},
    {"quarantine", JA_READ_ONLY, ja_quarantine, "e"},
};

/* --- text helpers ----------------------------------------------------------------------------- */

const char *ja_bytes(uint64_t n, char *buf, size_t len)
{
    static const char *unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)n;
    size_t u = 0;
    while (v >= 1024 && u + 1 < ARRAY_LEN(unit)) {
        v /= 1024;
        u++;
    }
    snprintf(buf, len, u == 0 ? "%.0f %s" : "%.1f %s", v, unit[u]);
    return buf;
}

const char *ja_things(uint64_t n, const char *thing, char *buf, size_t len)
{
    char digits[40];
    (void)snprintf(buf, len, "%s %s%s", ja_count(n, digits, sizeof digits), thing,
                   n == 1 ? "" : "s");
    return buf;
}

const char *ja_count(uint64_t n, char *buf, size_t len)
{
    char digits[32];
    int nd = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t o = 0;
    for (int i = 0; i < nd && o + 2 < len; i++) {
        if (i > 0 && (nd - i) % 3 == 0) {
            buf[o++] = ',';
        }
        buf[o++] = digits[i];
    }
    buf[o] = 0;
    return buf;
}

void ja_complain(struct ja_ctx *x, const char *command, const char *text)
{
    fprintf(stderr, "jsadmin: %s %s: %s\n", command, x->dir, text);
}

int ja_printed(int code)
{
    if (fflush(stdout) == 0 && ferror(stdout) == 0) {
        return code;
    }
    fprintf(stderr, "jsadmin: could not write what was found: %s\n", strerror(errno));
    return code == JA_OK ? JA_FAILED : code;
}

int ja_usage(const char *how)
{
    fprintf(stderr, "jsadmin %s tells more\n", how);
    return JA_USAGE;
}

void ja_progress(struct ja_ctx *x, const char *what, uint64_t done, uint64_t total)
{
    if (x->json || total == 0 || !isatty(2)) {
        return;
    }
    if (done >= total && x->full == what) {
        return; /* its end was told */
    }
    x->full = done >= total ? what : NULL;
    unsigned width = 40, n = (unsigned)(done >= total ? width : done * width / total);
    size_t len = strlen(what);
    what += len > BAR_NAME_MAX ? len - BAR_NAME_MAX : 0; /* the end of a path says more */
    fprintf(stderr, "\r%s [%.*s%*s] %3llu %%", what, (int)n,
            "########################################", (int)(width - n), "",
            (unsigned long long)(done >= total ? 100 : done * 100 / total));
    x->bar = done < total;
    if (!x->bar) {
        fputc('\n', stderr);
    }
}

/* --- the store's owner ------------------------------------------------------------------------ */

static void doorbell(void *arg)
{
    struct ja_ctx *x = arg;
    base_mutex_lock(&x->mutex);
    x->rung = true;
    (void)pthread_cond_signal(&x->rings);
    base_mutex_unlock(&x->mutex);
}

/* Sleeps until the doorbell rings, at most a fifth of a second. */
bool ja_wait(void *arg, int64_t deadline_boot_ns)
{
    struct ja_ctx *x = arg;
    struct timespec until;
    int64_t rest = i64_max(deadline_boot_ns - env_boot_ns(x->env), 0);
    int64_t at = env_real_ns(x->env) + (rest < NS_PER_S / 5 ? rest : NS_PER_S / 5);
    until.tv_sec = at / NS_PER_S;
    until.tv_nsec = at % NS_PER_S;
    base_mutex_lock(&x->mutex);
    while (!x->rung && base_cond_timedwait(&x->rings, &x->mutex, &until) == 0) {
    }
    x->rung = false;
    base_mutex_unlock(&x->mutex);
    return true;
}

void ja_drive(struct ja_ctx *x, const bool *done, void (*tick)(void *arg), void *arg)
{
    const struct store_ops *ops = x->store->ops;
    int64_t next = 0;
    while (!*done) {
        ops->poll(x->store);
        int64_t deadline = ops->timers(x->store);
        if (*done) {
            break;
        }
        (void)ja_wait(x, deadline);
        if (tick != NULL && env_boot_ns(x->env) >= next) {
            tick(arg);
            next = env_boot_ns(x->env) + NS_PER_S / 5;
        }
    }
}

static void count_entry(void *arg, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    (*(int *)arg)++;
}

static void find_store_file(void *arg, const char *name, bool is_dir)
{
    *(bool *)arg = *(bool *)arg || (!is_dir && strcmp(name, "STORE") == 0);
}

/* The folder "millrace" itself, which the server prints, means the folder around it. */
static void step_out(struct ja_ctx *x)
{
    static const char own[] = "millrace";
    size_t n = strlen(x->dir);
    while (n > 1 && x->dir[n - 1] == '/') {
        n--;
    }
    size_t rest = n >= strlen(own) ? n - strlen(own) : 0;
    bool store = false;
    if (n < sizeof own - 1 || memcmp(x->dir + rest, own, strlen(own)) != 0 ||
        (rest > 0 && x->dir[rest - 1] != '/') || rest >= sizeof x->outer ||
        env_list(x->env, x->dir, find_store_file, &store, NULL) != ST_OK || !store) {
        return;
    }
    while (rest > 1 && x->dir[rest - 1] == '/') {
        rest--;
    }
    (void)snprintf(x->outer, sizeof x->outer, "%.*s", rest == 0 ? 1 : (int)rest,
                   rest == 0 ? "." : x->dir);
    x->dir = x->outer;
}

int ja_open(struct ja_ctx *x, enum ja_how how)
{
    step_out(x);
    struct eng_opts o = {.store_dir = x->dir,
                         .max_file_bytes = UINT64_MAX,
                         .max_mem_bytes = UINT64_MAX,
                         .read_only_check = how == JA_READ_ONLY,
                         .doorbell = doorbell,
                         .doorbell_arg = x};
    struct err err = {0};
    char path[4200];
    snprintf(path, sizeof path, "%s/millrace", x->dir);
    if (how != JA_CREATE && env_list(x->env, path, count_entry, &(int){0}, &err) != ST_OK) {
        fprintf(stderr, "jsadmin: no store in \"%s\": there is no folder \"millrace\" in it\n",
                x->dir);
        return JA_FAILED;
    }
    enum st st = eng_open(x->env, &o, &x->store, &err);
    if (st != ST_OK) {
        fprintf(stderr, "jsadmin: could not open the store in \"%s\": %s\n", x->dir, err.msg);
        if (st == ST_BUSY) {
            fprintf(stderr, "jsadmin: stop the server first\n");
        }
        return st == ST_CORRUPT ? JA_DAMAGE : JA_FAILED;
    }
    return JA_OK;
}

/* --- main ------------------------------------------------------------------------------------- */

static int run(struct ja_ctx *x, const struct command *c)
{
    int code = c->how >= 0 ? ja_open(x, (enum ja_how)c->how) : JA_OK;
    if (code != JA_OK) {
        return code;
    }
    if (x->json) {
        json_out_begin(&x->out);
    }
    code = c->run(x);
    if (x->json && (code == JA_OK || code == JA_DAMAGE)) { /* else it holds half of the answer */
        json_out_end(&x->out);
        printf("%.*s\n", (int)x->out.len, x->out.buf);
    }
    json_out_fini(&x->out);
    if (x->store != NULL) {
        eng_close(x->store);
    }
    return ja_printed(code);
}

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

static const struct option options[] = {{"version", no_argument, NULL, 'v'},
                                        {"json", no_argument, NULL, 'j'},
                                        {"help", no_argument, NULL, 'h'},
                                        {"to", required_argument, NULL, 't'},
                                        {"from", required_argument, NULL, 'f'},
                                        {"account", required_argument, NULL, 'a'},
                                        {"stream", required_argument, NULL, 's'},
                                        {"as-account", required_argument, NULL, 'A'},
                                        {"as-stream", required_argument, NULL, 'S'},
                                        {"replace", no_argument, NULL, 'r'},
                                        {"empty", no_argument, NULL, 'e'},
                                        {0}};

static bool option(struct ja_ctx *x, int c)
{
    switch (c) {
    case 'j':
        x->json = true;
        return true;
    case 'r':
        x->replace = true;
        return true;
    case 'e':
        x->empty = true;
        return true;
    case 't':
        x->to = optarg;
        return true;
    case 'f':
        x->from = optarg;
        return true;
    case 'a':
        x->account = optarg;
        return true;
    case 's':
        x->stream = optarg;
        return true;
    case 'A':
        x->as_account = optarg;
        return true;
    case 'S':
        x->as_stream = optarg;
        return true;
    default:
        return false;
    }
}

static bool takes(const struct command *command, const bool seen[256])
{
    for (const struct option *o = options; o->name != NULL; o++) {
        if (seen[o->val] && o->val != 'j' && strchr(command->options, o->val) == NULL) {
            fprintf(stderr, "jsadmin: %s does not take --%s\n", command->name, o->name);
            return false;
        }
    }
    return true;
}

/* Options into x; -1 where a command follows, else the exit code. */
static int parse(struct ja_ctx *x, int argc, char **argv, bool seen[256])
{
    int c;
    while ((c = getopt_long(argc, argv, "hv", options, NULL)) != -1) {
        if (c == 'v') {
            printf("jsadmin of Millrace %s\n", MILLRACE_VERSION);
            return ja_printed(JA_OK);
        }
        seen[c & 0xff] = true;
        if (c != 'h' && !option(x, c)) {
            return ja_usage("--help");
        }
    }
    if (seen['h']) { /* only now the command stands before all that are none */
        fputs(ja_help(argv[optind]), stdout);
        return ja_printed(JA_OK);
    }
    if (optind == argc) {
        fputs(ja_help(NULL), stderr);
        return JA_USAGE;
    }
    return -1;
}

/* The command that the operands ask for; NULL: said why not. */
static const struct command *chosen(int argc, char **argv, const bool seen[256])
{
    const struct command *command = find(argv[optind]);
    if (command == NULL) {
        fprintf(stderr, "jsadmin: there is no command \"%s\"\n", argv[optind]);
        (void)ja_usage("--help");
        return NULL;
    }
    if (optind + 2 != argc) {
        fprintf(stderr, "jsadmin: %s takes one %s\n", command->name,
                command->run == ja_verify ? "archive" : "store directory");
    } else if (takes(command, seen)) {
        return command;
    }
    char how[32];
    (void)snprintf(how, sizeof how, "%s --help", command->name);
    (void)ja_usage(how);
    return NULL;
}

/* The main of kv and object, when the first word is one of these; --json may stand before it. The
 * word is taken out of argv. */
static place_family_fn family(int argc, char **argv)
{
    int at = 1;
    while (at < argc && strcmp(argv[at], "--json") == 0) {
        at++;
    }
    place_family_fn fn = at < argc ? place_family(argv[at]) : NULL;
    for (; fn != NULL && at > 0; at--) {
        argv[at] = argv[at - 1];
    }
    return fn;
}

int main(int argc, char **argv)
{
    static char name[] = "jsadmin"; /* what getopt's complaints begin with, as ours */
    struct ja_ctx x = {.mutex = BASE_MUTEX_INITIALIZER, .rings = PTHREAD_COND_INITIALIZER};
    bool seen[256] = {0};
    argv[0] = name;
    place_family_fn other = family(argc, argv);
    if (other != NULL) {
        return other(argc - 1, argv + 1);
    }
    int code = parse(&x, argc, argv, seen);
    if (code >= 0) {
        return code;
    }
    const struct command *command = chosen(argc, argv, seen);
    if (command == NULL) {
        return JA_USAGE;
    }
    x.dir = argv[optind + 1];
    log_set_level(false, false);
    x.env = env_real_create();
    code = run(&x, command);
    env_real_destroy(x.env);
    return code;
}
