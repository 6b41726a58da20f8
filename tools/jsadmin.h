/* jsadmin's insides: what the commands share. Each command has a file of its own,
 * tools/jsadmin_<command>.c; tools/jsadmin.c parses arguments, opens the store and prints what is
 * common. */
#ifndef TOOLS_JSADMIN_H
#define TOOLS_JSADMIN_H

#include <pthread.h>
#include <stdio.h>

#include "broker/json_out.h"
#include "engine/base/mutex.h"
#include "engine/engine.h"
#include "tools/table.h"

/* Exit codes. */
enum { JA_OK = 0, JA_FAILED = 1, JA_USAGE = 2, JA_DAMAGE = 3 };

struct ja_ctx {
    struct env *env;     /* borrowed */
    struct store *store; /* owned by main; NULL for commands that open it themselves */
    const char *dir;
    const char *to, *from, *account, *stream, *as_account, *as_stream; /* options, or NULL */
    bool replace, empty;
    bool json;
    struct json_out out; /* --json: the document's object is open */
    struct table findings;
    struct base_mutex mutex;
    pthread_cond_t rings;
    bool rung;        /* guarded by: mutex */
    const char *full; /* what the last full progress bar was of; compared, not read */
    bool bar;         /* a progress line stands on the terminal */
    char outer[4096]; /* dir, where the user named the folder "millrace" in it */
};

int ja_info(struct ja_ctx *x);
int ja_check(struct ja_ctx *x);
int ja_compact(struct ja_ctx *x);
int ja_backup(struct ja_ctx *x);
int ja_restore(struct ja_ctx *x);
int ja_verify(struct ja_ctx *x);
int ja_quarantine(struct ja_ctx *x);

/* Opens the store in x->dir; says why it cannot. Returns an exit code. */
enum ja_how { JA_READ_ONLY, JA_READ_WRITE, JA_CREATE };
int ja_open(struct ja_ctx *x, enum ja_how how);
/* Drives the store until *done; calls tick(arg) about five times a second (may be NULL). */
void ja_drive(struct ja_ctx *x, const bool *done, void (*tick)(void *arg), void *arg);
/* A line that overwrites the one before, on a terminal and without --json; done == total ends it.
 */
void ja_progress(struct ja_ctx *x, const char *what, uint64_t done, uint64_t total);
/* For store_drive: rests until the doorbell rings. arg is the context. */
bool ja_wait(void *arg, int64_t deadline_boot_ns);
/* "jsadmin: <command> <dir>: <text>" on stderr. */
void ja_complain(struct ja_ctx *x, const char *command, const char *text);
const char *ja_bytes(uint64_t n, char *buf, size_t len);
const char *ja_count(uint64_t n, char *buf, size_t len);
/* "1 stream", "2,000 streams". */
const char *ja_things(uint64_t n, const char *thing, char *buf, size_t len);
/* Says where help is; returns JA_USAGE. how: "--help", "backup --help". */
int ja_usage(const char *how);
/* What a command does and takes; of NULL, or of a word that is none, all commands. Static. */
const char *ja_help(const char *command);
/* The exit code when all output is out: code, or JA_FAILED, said why, where stdout could not be
 * written. */
int ja_printed(int code);

#endif
