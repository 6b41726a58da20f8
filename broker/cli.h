/* The command line, as Go programs read it: `-x v`, `-x=v`, one dash or two; a boolean takes a
 * value only with `=`. Flags override the config file. A flag of nats-server that is not served
 * here is an error that names it.
 *
 * Role: main thread, at start. Prints nothing. */
#ifndef BROKER_CLI_H
#define BROKER_CLI_H

#include "broker/opts.h"
#include "engine/base/err.h"

enum brk_cli_action {
    BRK_CLI_RUN,
    BRK_CLI_TEST,     /* -t: check the config file */
    BRK_CLI_HELP,     /* -h, help */
    BRK_CLI_VERSION,  /* -v, version */
    BRK_CLI_HELP_TLS, /* --help_tls */
    BRK_CLI_SIGNAL,   /* --signal: sendsig.h */
};

struct brk_cli {
    enum brk_cli_action action;
    bool show_usage;       /* set when parsing failed in a way that the usage text answers */
    char *config_file;     /* owned; NULL without -c */
    char *signal;          /* owned; NULL without --signal */
    struct brk_opts flags; /* owned; holds what flags.flag_bits names */
};

/* Parses argv[1..]. *cli needs brk_cli_fini, also after a failure. ST_INVALID: a message as Go's
 * flag package has it; ST_UNSUPPORTED: a flag of nats-server that is not served. */
MUST_USE enum st brk_cli_parse(int argc, char *const argv[], struct brk_cli *cli, struct err *err);
void brk_cli_fini(struct brk_cli *cli);
/* Puts what the flags say over *opts. */
void brk_cli_apply(const struct brk_cli *cli, struct brk_opts *opts);
/* The help text. Static. */
const char *brk_cli_usage(void);

#endif
