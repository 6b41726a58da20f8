/* The table of flags, Go's way of reading them, and the help text. */
#include "broker/cli.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "engine/base/base.h"

enum flag_kind { F_STRING, F_INT, F_BOOL, F_REFUSED, F_REFUSED_BOOL };

enum flag_id {
    ID_HOST,
    ID_PORT,
    ID_NAME,
    ID_PID,
    ID_HTTP,
    ID_CONFIG,
    ID_TEST,
    ID_LOG,
    ID_LOGTIME,
    ID_LOGTIME_UTC,
    ID_DEBUG,
    ID_TRACE,
    ID_TRACE_VERBOSE,
    ID_DEBUG_TRACE,
    ID_DEBUG_VERBOSE,
    ID_JETSTREAM,
    ID_STORE,
    ID_PORTS_DIR,
    ID_USER,
    ID_PASS,
    ID_AUTH,
    ID_HELP,
    ID_VERSION,
    ID_HELP_TLS,
    ID_SIGNAL,
    ID_REFUSED,
};

struct flag {
    const char *names; /* '|' between */
    enum flag_kind kind;
    enum flag_id id;
    const char *note; /* REFUSED: what to do instead, or NULL */
};

static const struct flag flags[] = {
    {"a|addr|net", F_STRING, ID_HOST, NULL},
    {"p|port", F_INT, ID_PORT, NULL},
    {"n|name|server_name", F_STRING, ID_NAME, NULL},
    {"P|pid", F_STRING, ID_PID, NULL},
    {"m|http_port", F_INT, ID_HTTP, NULL},
    {"c|config", F_STRING, ID_CONFIG, NULL},
    {"t", F_BOOL, ID_TEST, NULL},
    {"ports_file_dir", F_STRING, ID_PORTS_DIR, NULL},
    {"l|log", F_STRING, ID_LOG, NULL},
    {"T|logtime", F_BOOL, ID_LOGTIME, NULL},
    {"logtime_utc", F_BOOL, ID_LOGTIME_UTC, NULL},
    {"D|debug", F_BOOL, ID_DEBUG, NULL},
    {"V|trace", F_BOOL, ID_TRACE, NULL},
    {"VV", F_BOOL, ID_TRACE_VERBOSE, NULL},
    {"DV", F_BOOL, ID_DEBUG_TRACE, NULL},
    {"DVV", F_BOOL, ID_DEBUG_VERBOSE, NULL},
    {"js|jetstream", F_BOOL, ID_JETSTREAM, NULL},
    {"sd|store_dir", F_STRING, ID_STORE, NULL},
    {"user", F_STRING, ID_USER, NULL},
    {"pass", F_STRING, ID_PASS, NULL},
    {"auth", F_STRING, ID_AUTH, NULL},
    {"h|help", F_BOOL, ID_HELP, NULL},
    {"v|version", F_BOOL, ID_VERSION, NULL},
    {"help_tls", F_BOOL, ID_HELP_TLS, NULL},
    {"sl|signal", F_STRING, ID_SIGNAL, NULL},
    /* known to nats-server, not served */
    {"ms|https_port", F_REFUSED, ID_REFUSED, "use -m for monitoring without TLS"},
    {"client_advertise", F_REFUSED, ID_REFUSED, NULL},
    {"s|syslog", F_REFUSED_BOOL, ID_REFUSED, "use -l or stderr"},
    {"r|remote_syslog", F_REFUSED, ID_REFUSED, "use -l or stderr"},
    {"log_size_limit", F_REFUSED, ID_REFUSED, "rename the file and send USR1"},
    {"max_traced_msg_len", F_REFUSED, ID_REFUSED, NULL},
    {"tls", F_REFUSED_BOOL, ID_REFUSED, NULL},
    {"tlsverify", F_REFUSED_BOOL, ID_REFUSED, NULL},
    {"tlscert", F_REFUSED, ID_REFUSED, NULL},
    {"tlskey", F_REFUSED, ID_REFUSED, NULL},
    {"tlscacert", F_REFUSED, ID_REFUSED, NULL},
    {"routes", F_REFUSED, ID_REFUSED, NULL},
    {"cluster", F_REFUSED, ID_REFUSED, NULL},
    {"cluster_name", F_REFUSED, ID_REFUSED, NULL},
    {"cluster_listen", F_REFUSED, ID_REFUSED, NULL},
    {"cluster_advertise", F_REFUSED, ID_REFUSED, NULL},
    {"no_advertise", F_REFUSED_BOOL, ID_REFUSED, NULL},
    {"connect_retries", F_REFUSED, ID_REFUSED, NULL},
    {"profile", F_REFUSED, ID_REFUSED, NULL},
};

static const char usage[] =
    "\n"
    "Usage: nats-server [options]\n"
    "\n"
    "Server Options:\n"
    "    -a, --addr, --net <host>         Bind to host address (default: 0.0.0.0)\n"
    "    -p, --port <port>                Use port for clients (default: 4222; -1 picks a free "
    "one)\n"
    "    -n, --name\n"
    "        --server_name <server_name>  Server name (default: auto)\n"
    "    -P, --pid <file>                 File to store PID\n"
    "    -m, --http_port <port>           Use port for http monitoring (-1 picks a free one)\n"
    "    -c, --config <file>              Configuration file\n"
    "    -t                               Test configuration and exit\n"
    "    -sl, --signal <signal>[=<pid>]   Send signal to nats-server process (ldm, stop, quit, "
    "term, "
    "reopen, reload)\n"
    "                                     <pid> can be either a PID (e.g. 1) or the path to a PID "
    "file\n"
    "        --ports_file_dir <dir>       Creates a ports file in the specified directory "
    "(<executable_name>_<pid>.ports).\n"
    "\n"
    "Logging Options:\n"
    "    -l, --log <file>                 File to redirect log output\n"
    "    -T, --logtime                    Timestamp log entries (default: true)\n"
    "        --logtime_utc                Timestamps in UTC\n"
    "    -D, --debug                      Enable debugging output\n"
    "    -V, --trace                      Trace the raw protocol\n"
    "    -VV                              Verbose trace (traces system account as well)\n"
    "    -DV                              Debug and trace\n"
    "    -DVV                             Debug and verbose trace (traces system account as well)\n"
    "\n"
    "JetStream Options:\n"
    "    -js, --jetstream                 Enable JetStream functionality\n"
    "    -sd, --store_dir <dir>           Set the storage directory (data go to <dir>/millrace)\n"
    "\n"
    "Authorization Options:\n"
    "        --user <user>                User required for connections\n"
    "        --pass <password>            Password required for connections\n"
    "        --auth <token>               Authorization token required for connections\n"
    "\n"
    "Common Options:\n"
    "    -h, --help                       Show this message\n"
    "    -v, --version                    Show version\n"
    "\n"
    "This is Millrace, a JetStream server that takes nats-server's flags and config files. Flags "
    "override "
    "the\n"
    "file. An acknowledged publish is on disk, unless the file's sync_interval says otherwise.\n"
    "Not served yet, and refused when given: TLS, clusters, gateways, leaf nodes, syslog, "
    "profiling.\n"
    "Signals: INT and TERM stop the server, HUP reloads the config file, USR1 reopens the log "
    "file, "
    "USR2 enters\n"
    "lame duck mode.\n"
    "\n";

const char *brk_cli_usage(void)
{
    return usage;
}

static const struct flag *find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        for (const char *n = flags[i].names; n != NULL; n = strchr(n, '|')) {
            n += *n == '|';
            if (strcspn(n, "|") == len && strncmp(n, name, len) == 0) {
                return &flags[i];
            }
        }
    }
    return NULL;
}

/* Go's strconv.ParseBool. */
static bool parse_bool(const char *s, bool *out)
{
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0) {
            *out = strcmp(s, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

static void set_bool(struct brk_cli *c, enum flag_id id, bool on)
{
    struct brk_opts *o = &c->flags;
    bool debug = id == ID_DEBUG || id == ID_DEBUG_TRACE || id == ID_DEBUG_VERBOSE;
    bool verbose = id == ID_TRACE_VERBOSE || id == ID_DEBUG_VERBOSE;
    bool trace = verbose || id == ID_TRACE || id == ID_DEBUG_TRACE;
    if (debug) {
        o->debug = on;
        o->flag_bits |= BRK_OPT_DEBUG;
    }
    if (trace) {
        o->trace = on;
        o->trace_verbose = verbose ? on : o->trace_verbose;
        o->flag_bits |= BRK_OPT_TRACE;
    }
    if (id == ID_LOGTIME) {
        o->logtime = on;
        o->flag_bits |= BRK_OPT_LOGTIME;
    } else if (id == ID_LOGTIME_UTC) {
        o->logtime_utc = on;
        o->flag_bits |= BRK_OPT_LOGTIME_UTC;
    } else if (id == ID_JETSTREAM) {
        o->js.enabled = on;
        o->flag_bits |= BRK_OPT_JETSTREAM;
    } else if (on && id == ID_TEST && c->action == BRK_CLI_RUN) {
        c->action = BRK_CLI_TEST;
    } else if (on && id == ID_VERSION) {
        c->action = BRK_CLI_VERSION; /* version wins over help, help over the rest */
    } else if (on && id == ID_HELP && c->action != BRK_CLI_VERSION) {
        c->action = BRK_CLI_HELP;
    } else if (on && id == ID_HELP_TLS && c->action == BRK_CLI_RUN) {
        c->action = BRK_CLI_HELP_TLS;
    }
}

static void set_string(struct brk_cli *c, enum flag_id id, const char *v)
{
    struct brk_opts *o = &c->flags;
    struct {
        enum flag_id id;
        char **slot;
        unsigned bit;
    } slots[] = {
        {ID_HOST, &o->host, BRK_OPT_HOST},
        {ID_NAME, &o->server_name, BRK_OPT_SERVER_NAME},
        {ID_PID, &o->pid_file, BRK_OPT_PID_FILE},
        {ID_LOG, &o->log_file, BRK_OPT_LOG_FILE},
        {ID_STORE, &o->js.store_dir, BRK_OPT_STORE_DIR},
        {ID_PORTS_DIR, &o->ports_file_dir, BRK_OPT_PORTS_DIR},
        {ID_USER, &o->user, BRK_OPT_AUTH},
        {ID_PASS, &o->pass, BRK_OPT_AUTH},
        {ID_AUTH, &o->token, BRK_OPT_AUTH},
        {ID_CONFIG, &c->config_file, 0},
        {ID_SIGNAL, &c->signal, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        if (slots[i].id == id) {
            brk_opts_set_str(slots[i].slot, v);
            o->flag_bits |= slots[i].bit;
            return;
        }
    }
    ASSERT_NEVER("a flag of kind string has no slot");
}

static enum st set_int(struct brk_cli *c, const struct flag *f, const char *name, const char *v,
                       struct err *err)
{
    char *end = NULL;
    errno = 0;
    long n = strtol(v, &end, 0);
    if (end == v || *end != '\0') {
        return err_set(err, ST_INVALID, 0, "invalid value \"%.64s\" for flag -%s: parse error", v,
                       name);
    }
    if (errno != 0 || n < -1 || n > 65535) {
        return err_set(err, ST_INVALID, 0,
                       "invalid value \"%.64s\" for flag -%s: value out of range", v, name);
    }
    if (f->id == ID_PORT) {
        c->flags.port = (int)n;
        c->flags.flag_bits |= BRK_OPT_PORT;
    } else {
        c->flags.http_port = (int)n;
        c->flags.flag_bits |= BRK_OPT_HTTP_PORT;
    }
    return ST_OK;
}

static enum st refuse(const struct flag *f, const char *name, struct err *err)
{
    return err_set(err, ST_UNSUPPORTED, 0, "flag -%s%s is not served yet%s%s",
                   strlen(name) > 2 ? "-" : "", name, f->note != NULL ? "; " : "",
                   f->note != NULL ? f->note : "");
}

/* One flag; *used_next says that it took the next argument as its value. */
static enum st read_flag(struct brk_cli *c, const char *arg, const char *next, bool *used_next,
                         struct err *err)
{
    const char *name = arg + 1 + (arg[1] == '-');
    const char *equals = strchr(name, '=');
    size_t len = equals == NULL ? strlen(name) : (size_t)(equals - name);
    const char *value = equals == NULL ? NULL : equals + 1;
    char shown[64];
    bool on = true;
    snprintf(shown, sizeof shown, "%.*s", (int)(len < 60 ? len : 60), name);
    *used_next = false;
    if (len == 0 || name[0] == '-') {
        return err_set(err, ST_INVALID, 0, "bad flag syntax: %.64s", arg);
    }
    const struct flag *f = find(name, len);
    if (f == NULL) {
        return err_set(err, ST_INVALID, 0, "flag provided but not defined: -%s", shown);
    }
    if (f->kind == F_BOOL || f->kind == F_REFUSED_BOOL) {
        if (value != NULL && !parse_bool(value, &on)) {
            return err_set(err, ST_INVALID, 0,
                           "invalid boolean value \"%.64s\" for -%s: parse error", value, shown);
        }
        if (f->kind == F_REFUSED_BOOL) {
            return on ? refuse(f, shown, err) : ST_OK;
        }
        set_bool(c, f->id, on);
        return ST_OK;
    }
    if (f->kind == F_REFUSED) {
        return refuse(f, shown, err);
    }
    if (value == NULL) {
        value = next;
        *used_next = true;
    }
    if (value == NULL) {
        return err_set(err, ST_INVALID, 0, "flag needs an argument: -%s", shown);
    }
    if (f->kind == F_INT) {
        return set_int(c, f, shown, value, err);
    }
    set_string(c, f->id, value);
    return ST_OK;
}

/* What stands after the flags: nothing, or one of the words `help` and `version`. */
static enum st read_command(struct brk_cli *c, const char *word, struct err *err)
{
    if (word == NULL || c->action == BRK_CLI_HELP || c->action == BRK_CLI_VERSION) {
        return ST_OK;
    }
    if (strcasecmp(word, "version") == 0) {
        c->action = BRK_CLI_VERSION;
        return ST_OK;
    }
    if (strcasecmp(word, "help") == 0) {
        c->action = BRK_CLI_HELP;
        return ST_OK;
    }
    return err_set(err, ST_INVALID, 0, "unrecognized command: \"%.64s\"", word);
}

static enum st check_flags(const struct brk_cli *c, struct err *err)
{
    const struct brk_opts *o = &c->flags;
    if (c->action != BRK_CLI_RUN && c->action != BRK_CLI_TEST) {
        return ST_OK;
    }
    if (o->token != NULL && (o->user != NULL || o->pass != NULL)) {
        return err_set(err, ST_INVALID, 0, "--auth cannot be combined with --user and --pass");
    }
    if (o->pass != NULL && o->user == NULL) {
        return err_set(err, ST_INVALID, 0, "--pass needs --user");
    }
    if (o->server_name != NULL && strpbrk(o->server_name, " \t\r\n") != NULL) {
        return err_set(err, ST_INVALID, 0, "server name cannot contain spaces");
    }
    if (c->action == BRK_CLI_TEST && c->config_file == NULL) {
        return err_set(err, ST_INVALID, 0,
                       "must specify [-c, --config] option to check configuration file syntax");
    }
    return ST_OK;
}

enum st brk_cli_parse(int argc, char *const argv[], struct brk_cli *cli, struct err *err)
{
    memset(cli, 0, sizeof *cli);
    int i = 1;
    while (i < argc && argv[i][0] == '-' && argv[i][1] != '\0') {
        bool used_next = false;
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        enum st st = read_flag(cli, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &used_next, err);
        if (st != ST_OK) {
            cli->show_usage = st == ST_INVALID;
            return st;
        }
        i += used_next ? 2 : 1;
    }
    enum st st = read_command(cli, i < argc ? argv[i] : NULL, err);
    if (st == ST_OK && cli->signal != NULL && cli->signal[0] != '\0' &&
        cli->action == BRK_CLI_RUN) {
        cli->action = BRK_CLI_SIGNAL;
    }
    return st != ST_OK ? st : check_flags(cli, err);
}

void brk_cli_fini(struct brk_cli *cli)
{
    base_free(cli->config_file);
    base_free(cli->signal);
    brk_opts_fini(&cli->flags);
    memset(cli, 0, sizeof *cli);
}

static void apply_strings(const struct brk_opts *f, struct brk_opts *o)
{
    struct {
        unsigned bit;
        const char *from;
        char **to;
    } slots[] = {
        {BRK_OPT_HOST, f->host, &o->host},
        {BRK_OPT_SERVER_NAME, f->server_name, &o->server_name},
        {BRK_OPT_PID_FILE, f->pid_file, &o->pid_file},
        {BRK_OPT_LOG_FILE, f->log_file, &o->log_file},
        {BRK_OPT_STORE_DIR, f->js.store_dir, &o->js.store_dir},
        {BRK_OPT_PORTS_DIR, f->ports_file_dir, &o->ports_file_dir},
        {BRK_OPT_AUTH, f->user, &o->user},
        {BRK_OPT_AUTH, f->pass, &o->pass},
        {BRK_OPT_AUTH, f->token, &o->token},
    };
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        if ((f->flag_bits & slots[i].bit) != 0) {
            brk_opts_set_str(slots[i].to, slots[i].from);
        }
    }
}

void brk_cli_apply(const struct brk_cli *cli, struct brk_opts *o)
{
    const struct brk_opts *f = &cli->flags;
    apply_strings(f, o);
    if ((f->flag_bits & BRK_OPT_PORT) != 0) {
        o->port = f->port;
    }
    if ((f->flag_bits & BRK_OPT_HTTP_PORT) != 0) {
        o->http_port = f->http_port;
    }
    if ((f->flag_bits & BRK_OPT_DEBUG) != 0) {
        o->debug = f->debug;
    }
    if ((f->flag_bits & BRK_OPT_TRACE) != 0) {
        o->trace = f->trace;
        o->trace_verbose = f->trace_verbose;
    }
    if ((f->flag_bits & BRK_OPT_LOGTIME) != 0) {
        o->logtime = f->logtime;
    }
    if ((f->flag_bits & BRK_OPT_LOGTIME_UTC) != 0) {
        o->logtime_utc = f->logtime_utc;
    }
    if ((f->flag_bits & BRK_OPT_JETSTREAM) != 0) {
        o->js.enabled = f->js.enabled;
    }
    brk_opts_set_str(&o->config_file, cli->config_file);
    o->flag_bits = f->flag_bits;
    brk_opts_baseline(o);
}
