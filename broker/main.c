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
 * stop, USR1 reopens the log file, USR2 enters lame duck mode, HUP reloads. A reload reads the file
 * on the signal thread, hands the options to the loop, waits for its verdict, and then moves the
 * files (log, pid, ports) that the options name. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "broker/banner.h"
#include "broker/boot.h"
#include "broker/cli.h"
#include "broker/conf_load.h"
#include "broker/cpus.h"
#include "broker/lameduck.h"
#include "broker/logfile.h"
#include "broker/reload.h"
#include "broker/sendsig.h"
#include "broker/server.h"
#include "engine/base/base.h"
#include "engine/base/log.h"
#include "engine/base/mutex.h"
#include "engine/base/version.h"

struct app {
    struct env *env;
    const struct brk_cli *cli; /* borrowed */
    const char *program;       /* borrowed; argv[0] */
    struct brk_opts opts;      /* the loop's, once it runs */
    struct brk_conf_notes notes;
    struct brk_logfile *log;
    struct brk_server *server;
    struct boot boot;
    struct monitor *monitor; /* owned; NULL without -m */
    char *ports_file;        /* owned; NULL when there is none */
    pthread_t signal_thread;
    bool signal_thread_started;
    atomic_bool ending;      /* main tells the signal thread to end */
    atomic_bool lame_wanted; /* the signal thread tells the loop */
    struct base_mutex reload_mutex;
    pthread_cond_t reload_done;
    struct brk_opts *fresh; /* guarded by: reload_mutex; what the loop shall take over */
    enum st verdict;        /* guarded by: reload_mutex; with its reason */
    struct err verdict_err;
    bool loop_over; /* guarded by: reload_mutex; nobody will take anything over any more */
};

/* --- options ---------------------------------------------------------------------------------- */

/* Options from the file, then the flags. err has the first of the file's errors; all are in notes.
 */
static enum st read_options(const struct app *a, struct brk_opts *opts,
                            struct brk_conf_notes *notes, struct err *err)
{
    const char *file = a->cli->config_file;
    brk_opts_init(opts);
    if (file != NULL && brk_conf_load(a->env, file, opts, notes) != ST_OK) {
        return err_set(err, ST_INVALID, 0, "%s",
                       notes->errors.count > 0 ? notes->errors.lines[0] : "bad config file");
    }
    brk_cli_apply(a->cli, opts);
    return brk_opts_check(opts, err);
}

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

/* Loop thread, in a callback of its own. */
static void on_signal_work(void *arg)
{
    struct app *a = arg;
    if (atomic_exchange(&a->lame_wanted, false)) {
        brk_lame_duck_enter(a->server);
    }
    base_mutex_lock(&a->reload_mutex);
    if (a->fresh != NULL) {
        a->verdict = brk_reload_check(&a->opts, a->fresh, &a->verdict_err);
        if (a->verdict == ST_OK) {
            brk_server_reload(a->server, &a->opts, a->fresh);
            boot_accounts(&a->boot);
        }
        a->fresh = NULL;
        pthread_cond_signal(&a->reload_done);
    }
    base_mutex_unlock(&a->reload_mutex);
}

/* Waits for the loop. Afterwards *next holds what was replaced. */
static enum st hand_over(struct app *a, struct brk_opts *next, struct err *err)
{
    base_mutex_lock(&a->reload_mutex);
    a->fresh = next;
    brk_loop_wake(a->server->loop);
    while (a->fresh != NULL && !a->loop_over) {
        base_cond_wait(&a->reload_done, &a->reload_mutex);
    }
    enum st st = a->verdict;
    *err = a->verdict_err;
    if (a->fresh != NULL) {
        a->fresh = NULL;
        st = err_set(err, ST_CLOSED, 0, "the server is shutting down");
    }
    base_mutex_unlock(&a->reload_mutex);
    return st;
}

/* Main thread: a reload that is under way is not taken over any more. */
static void end_reloads(struct app *a)
{
    base_mutex_lock(&a->reload_mutex);
    a->loop_over = true;
    pthread_cond_signal(&a->reload_done);
    base_mutex_unlock(&a->reload_mutex);
}

static bool changed(const char *a, const char *b)
{
    return a != b && (a == NULL || b == NULL || strcmp(a, b) != 0);
}

static enum st write_ports(struct app *a, struct err *err)
{
    return brk_write_ports_file(a->env, &a->opts, a->program, a->server->port,
                                a->monitor != NULL ? mon_port(a->monitor) : 0, &a->ports_file, err);
}

static void move_ports(struct app *a)
{
    struct err err = {0};
    if (a->ports_file != NULL && env_unlink(a->env, a->ports_file, &err) != ST_OK) {
        log_err("Error cleaning up ports file %s: %s", a->ports_file, err.msg);
    }
    base_free(a->ports_file);
    a->ports_file = NULL;
    if (a->opts.ports_file_dir != NULL && write_ports(a, &err) != ST_OK) {
        log_err("%s", err.msg);
    }
}

/* The files that the options name; what fails is said and stays as it was. */
static void move_files(struct app *a, const struct brk_opts *was)
{
    const struct brk_opts *o = &a->opts;
    struct err err = {0};
    if ((changed(o->log_file, was->log_file) || o->logtime != was->logtime) &&
        brk_logfile_change(a->log, o->log_file, o->logtime, &err) != ST_OK) {
        log_err("could not open the new log file: %s", err.msg);
    }
    if (o->pid_file != NULL && changed(o->pid_file, was->pid_file) &&
        brk_write_pid_file(a->env, o->pid_file, &err) != ST_OK) {
        log_err("%s", err.msg);
    }
    if (changed(o->ports_file_dir, was->ports_file_dir)) {
        move_ports(a);
    }
}

static void reload(struct app *a)
{
    struct brk_opts next;
    struct brk_conf_notes notes = {0};
    struct err err = {0};
    if (a->cli->config_file == NULL) {
        log_err("Failed to reload server configuration: can only reload config when a file is "
                "provided using -c or --config");
        return;
    }
    enum st st = read_options(a, &next, &notes, &err);
    if (st == ST_OK) {
        st = hand_over(a, &next, &err);
    }
    if (st == ST_OK) {
        move_files(a, &next);
        brk_banner_notes(&notes);
        log_inf("Reloaded server configuration");
    } else {
        log_err("Failed to reload server configuration: %s", err.msg);
    }
    brk_opts_fini(&next);
    brk_conf_notes_fini(&notes);
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
            log_inf("Trapped \"user defined signal 2\" signal");
            atomic_store(&a->lame_wanted, true);
            brk_loop_wake(a->server->loop);
            break;
        default:
            log_inf("Trapped \"hangup\" signal");
            reload(a);
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

static int load_options(struct app *a)
{
    struct err err = {0};
    if (read_options(a, &a->opts, &a->notes, &err) == ST_OK) {
        return 0;
    }
    for (size_t i = 0; i < a->notes.errors.count; i++) {
        complain(a->notes.errors.lines[i]);
    }
    return a->notes.errors.count > 0 ? 1 : complain(err.msg);
}

/* -t: what a start would warn about, then the verdict, as upstream words it. */
static int report_valid(const struct app *a)
{
    if (a->notes.empty) {
        return complain(a->notes.warnings.lines[0]);
    }
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

static enum st tell_others(struct app *a, struct err *err)
{
    enum st st = ST_OK;
    if (a->opts.pid_file != NULL) {
        st = brk_write_pid_file(a->env, a->opts.pid_file, err);
    }
    if (st == ST_OK && a->opts.ports_file_dir != NULL) {
        st = write_ports(a, err);
    }
    return st;
}

static void run_server(struct app *a)
{
    base_mutex_init(&a->reload_mutex);
    pthread_cond_init(&a->reload_done, NULL);
    brk_loop_on_wake(a->server->loop, on_signal_work, a);
    start_signals(a);
    log_inf("Server is ready");
    if (brk_cpus_to_spare(a->env)) {
        brk_loop_set_busy_poll(a->server->loop, a->opts.busy_poll_ns);
    }
    brk_server_run(a->server);
    end_reloads(a);
    stop_signals(a);
    brk_loop_off(a->server->loop, on_signal_work, a);
    pthread_cond_destroy(&a->reload_done);
    base_mutex_destroy(&a->reload_mutex);
}

static int serve(struct app *a)
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
    } else if (tell_others(a, &err) != ST_OK) {
        rc = fatal(err.msg);
    } else {
        run_server(a);
    }
    stop_parts(a);
    if (rc == 0) {
        log_inf("Server Exiting..");
    }
    return rc;
}

static int run(struct app *a)
{
    struct err err = {0};
    int rc = load_options(a);
    if (rc != 0 || a->cli->action == BRK_CLI_TEST) {
        return rc != 0 ? rc : report_valid(a);
    }
    if (brk_logfile_open(a->env, a->opts.log_file, a->opts.logtime, a->opts.logtime_utc, &a->log,
                         &err) != ST_OK) {
        return complain(err.msg);
    }
    rc = serve(a);
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

static int send_signal(const struct brk_cli *cli)
{
    struct err err = {0};
    struct env *env = env_real_create();
    enum st st = brk_signal_send(env, cli->signal, &err);
    env_real_destroy(env);
    return st == ST_OK ? 0 : complain(err.msg);
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
    } else if (cli.action == BRK_CLI_SIGNAL) {
        rc = send_signal(&cli);
    } else {
        struct app app = {.cli = &cli, .program = argv[0]};
        block_signals();
        app.env = env_real_create();
        rc = run(&app);
        brk_conf_notes_fini(&app.notes);
        brk_opts_fini(&app.opts);
        env_real_destroy(app.env);
    }
    brk_cli_fini(&cli);
    return rc;
}
