/* What the programs of tests/sim begin with: options, log lines only on demand, what was under way
 * when a signal ends them. */
#ifndef TESTS_SIM_SIM_MAIN_H
#define TESTS_SIM_SIM_MAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An option "--name", with a value where `hint` names one. Exactly one target. */
struct sim_option {
    const char *name, *hint;
    uint64_t *number;
    double *decimal;
    const char **text;
    bool *flag;
};

extern bool sim_verbose;      /* --verbose, which each program has */
extern uint64_t sim_warnings; /* log lines of warnings and worse so far */

/* Reads the options; then log lines are counted, and shown with --verbose, and SIGABRT and SIGSEGV
 * say what was under way. False: usage was printed, the program returns 2. */
bool sim_begin(const char *program, const struct sim_option *options, size_t n, int argc,
               char **argv);
/* What is under way from now on: the arguments that replay it. */
__attribute__((format(printf, 1, 2))) void sim_doing(const char *fmt, ...);
/* Of the machine's clock. */
double sim_seconds(void);

#endif
