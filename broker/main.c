/* The program millrace (alias nats-server): builds the real world, reads flags and config, starts
 * the parts in order, waits, and takes them down in the reverse order.
 *
 *   flags -> config file -> log -> server (id) -> banner -> monitoring port -> JetStream -> listen
 * -> pid and ports files -> ready -> run
 *
 * A failure before the log is open is one line on stderr, `nats-server: reason`; after that it is a
 * [FTL] line. Both exit with 1. A server that was asked to stop exits with 0.
 *
 * Signals are blocked in every thread but the signal thread, which waits for them: INT and TERM
 * stop, USR1 reopens the log file, HUP and USR2 are logged as not served. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "broker/banner.h"
#include "broker/boot.h"
#include "broker/cli.h"
#include "broker/conf_load.h"
#include "broker/logfile.h"
#include "broker/server.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/base/version.h"

struct app {
    struct env *env;
    struct brk_opts opts;
    struct brk_conf_notes notes;
    struct brk_logfile *log;
    struct brk_server *server;
    struct boot boot;
    struct monitor *monitor; /* owned; NULL without -m */
    char *ports_file;        /* owned; NULL when there is none */
    pthread_t signal_thread;
    bool signal_thread_started;
    atomic_bool ending; /* main tells the signal thread to end */
};

/* --- signals ---------------------------------------------------------------------------------- */

static void signal_set(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGUSR1);
    sigaddset(set, SIGUSR2);
    sigaddset(set, SIGHUP);
}

static void reopen_log(struct app *a)
{
    struct err err = {0};
    enum st st = brk_logfile_reopen(a->log, &err);
    if (st == ST_OK) {
        log_inf("File log re-opened");
    } else if (st == ST_UNSUPPORTED) {
        log_inf("File log re-open ignored, not a file logger");
    } else {
        log_err("could not re-open the log file: %s", err.msg);
    }
}

static void *signal_main(void *arg)
{
    struct app *a = arg;
    sigset_t set;
    signal_set(&set);
    for (;;) {
        int sig = 0;
        if (sigwait(&set, &sig) != 0) {
            continue;
        }
        if (atomic_load(&a->ending)) {
            return NULL;
        }
        switch (sig) {
        case SIGINT:
        case SIGTERM:
            log_inf("Trapped \"%s\" signal", sig == SIGINT ? "interrupt" : "terminated");
            log_inf("Initiating Shutdown...");
            brk_server_stop(a->server);
            break;
        case SIGUSR1:
            log_inf("Trapped \"user defined signal 1\" signal");
            reopen_log(a);
            break;
        case SIGUSR2:
            log_wrn("Trapped \"user defined signal 2\" signal: lame duck mode is not served yet");
            break;
        default:
            log_wrn("Trapped \"hangup\" signal: reloading the configuration is not served yet; "
                    "restart to apply it");
            break;
        }
    }
}

/* Before any other thread exists, so that all inherit the mask. */
static void block_signals(void)
{
    sigset_t set;
    signal_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void start_signals(struct app *a)
{
    a->signal_thread_started = pthread_create(&a->signal_thread, NULL, signal_main, a) == 0;
    if (!a->signal_thread_started) {
        log_wrn("could not start the signal thread; only SIGKILL will stop this server");
    }
}

static void stop_signals(struct app *a)
{
    if (a->signal_thread_started) {
        atomic_store(&a->ending, true);
        pthread_kill(a->signal_thread, SIGTERM);
        pthread_join(a->signal_thread, NULL);
    }
}

/* --- start ------------------------------------------------------------------------------------ */

static int complain(const char *text)
{
    fprintf(stderr, "nats-server: %s\n", text);
    return 1;
}

static int fatal(const char *text)
{
    log_line(LOG_FTL, "%s", text);
    return 1;
}

/* Options from the file, then the flags. */
static int load_options(struct app *a, const struct brk_cli *cli)
{
    struct err err = {0};
    brk_opts_init(&a->opts);
    if (cli->config_file != NULL &&
        brk_conf_load(a->env, cli->config_file, &a->opts, &a->notes) != ST_OK) {
        for (size_t i = 0; i < a->notes.errors.count; i++) {
            complain(a->notes.errors.lines[i]);
        }
        return 1;
    }
    brk_cli_apply(cli, &a->opts);
    if (brk_opts_check(&a->opts, &err) != ST_OK) {
        return complain(err.msg);
    }
    return 0;
}

/* -t: what a start would warn about, then the verdict, as upstream words it. */
static int report_valid(const struct app *a)
{
    for (size_t i = 0; i < a->notes.warnings.count; i++) {
        fprintf(stderr, "%s\n", a->notes.warnings.lines[i]);
    }
    for (size_t i = 0; i < a->notes.not_served.count; i++) {
        fprintf(stderr, "not served yet, without effect: %s\n", a->notes.not_served.lines[i]);
    }
    fprintf(stderr, "nats-server: configuration file %s is valid\n", a->opts.config_file);
    return 0;
}

static enum st start_parts(struct app *a, struct err *err)
{
    enum st st = a->opts.http_port != 0 ? mon_create(a->server, &a->monitor, err) : ST_OK;
    if (st == ST_OK) {
        st = boot_jetstream(&a->boot, a->server, err);
    }
    if (st == ST_OK) {
        boot_show(&a->boot, a->monitor);
    }
    return st;
}

static void stop_parts(struct app *a)
{
    mon_stop(a->monitor);
    boot_stop(&a->boot);
    mon_destroy(a->monitor);
}

static enum st tell_others(struct app *a, const char *program, struct err *err)
{
    enum st st = ST_OK;
    if (a->opts.pid_file != NULL) {
        st = brk_write_pid_file(a->env, a->opts.pid_file, err);
    }
    if (st == ST_OK && a->opts.ports_file_dir != NULL) {
        st = brk_write_ports_file(a->env, &a->opts, program, a->server->port,
                                  a->monitor != NULL ? mon_port(a->monitor) : 0, &a->ports_file,
                                  err);
    }
    return st;
}

static int serve(struct app *a, const char *program)
{
    struct err err = {0};
    log_set_level(a->opts.debug, a->opts.trace);
    if (brk_server_create(&a->opts, a->env, &a->server, &err) != ST_OK) {
        return fatal(err.msg);
    }
    brk_banner_start(&a->opts, a->server->name, a->server->id, &a->notes);
    int rc = 0;
    if (start_parts(a, &err) != ST_OK) {
        rc = fatal(err.msg);
    } else if (brk_server_start(a->server, &err) != ST_OK) {
        err_prefix(&err, "Error listening on port");
        rc = fatal(err.msg);
    } else if (tell_others(a, program, &err) != ST_OK) {
        rc = fatal(err.msg);
    } else {
        start_signals(a);
        log_inf("Server is ready");
        brk_server_run(a->server);
        stop_signals(a);
    }
    stop_parts(a);
    if (rc == 0) {
        log_inf("Server Exiting..");
    }
    return rc;
}

static int run(struct app *a, const struct brk_cli *cli, const char *program)
{
    struct err err = {0};
    int rc = load_options(a, cli);
    if (rc != 0 || cli->action == BRK_CLI_TEST) {
        return rc != 0 ? rc : report_valid(a);
    }
    if (brk_logfile_open(a->env, a->opts.log_file, a->opts.logtime, a->opts.logtime_utc, &a->log,
                         &err) != ST_OK) {
        return complain(err.msg);
    }
    rc = serve(a, program);
    brk_server_destroy(a->server);
    if (a->ports_file != NULL && env_unlink(a->env, a->ports_file, &err) != ST_OK) {
        log_wrn("could not remove the ports file: %s", err.msg);
    }
    base_free(a->ports_file);
    brk_logfile_close(a->log);
    return rc;
}

/* --- main ------------------------------------------------------------------------------------- */

static int bad_command_line(const struct brk_cli *cli, const struct err *err)
{
    if (cli->show_usage) {
        fprintf(stderr, "%s\n", err->msg);
        fputs(brk_cli_usage(), stdout);
        return 1;
    }
    return complain(err->msg);
}

int main(int argc, char *argv[])
{
    struct brk_cli cli;
    struct err err = {0};
    int rc = 0;
    if (brk_cli_parse(argc, argv, &cli, &err) != ST_OK) {
        rc = bad_command_line(&cli, &err);
    } else if (cli.action == BRK_CLI_VERSION) {
        printf("nats-server: v%s\nmillrace: v%s\n", BRK_NATS_VERSION, MILLRACE_VERSION);
    } else if (cli.action == BRK_CLI_HELP) {
        fputs(brk_cli_usage(), stdout);
    } else if (cli.action == BRK_CLI_HELP_TLS) {
        printf("TLS is not served yet: a config file with a tls block is refused.\n");
    } else {
        struct app app = {.server = NULL};
        block_signals();
        app.env = env_real_create();
        rc = run(&app, &cli, argv[0]);
        brk_conf_notes_fini(&app.notes);
        brk_opts_fini(&app.opts);
        env_real_destroy(app.env);
    }
    brk_cli_fini(&cli);
    return rc;
}
