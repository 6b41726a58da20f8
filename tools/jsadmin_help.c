/* What jsadmin says of itself: all commands, and each alone (`jsadmin backup --help`). kv and
 * object have their own (jsadmin_kv.c, jsadmin_object.c). */
#include "tools/jsadmin.h"

static const char all_text[] =
    "usage: jsadmin [--json] <command> [options] DIR\n"
    "\n"
    "Looks after the store of a server that is not running. DIR is what the server was given with\n"
    "-sd or store_dir, or the folder \"millrace\" in it (what it prints as Store Directory).\n"
    "\n"
    "  info DIR                    streams, consumers, segments and journal\n"
    "  check DIR                   verifies every checksum\n"
    "  compact DIR                 rewrites segments without their removed messages\n"
    "  quarantine DIR              what was set aside as damaged or unknown\n"
    "  backup DIR --to ARCHIVE     streams with their consumers into one file\n"
    "  verify ARCHIVE              reads an archive and every checksum in it\n"
    "  restore DIR --from ARCHIVE  streams of an archive into a store, all or none\n"
    "\n"
    "  kv, object                  buckets, on a store or through a server\n"
    "\n"
    "  --json                      one JSON document instead of tables\n"
    "  -h, --help                  this text; behind a command, all of that command\n"
    "  -v, --version               the version\n"
    "\n"
    "Exit codes: 0 done, 1 could not, 2 wrong usage, 3 damage was found.\n";

static const char info_text[] =
    "usage: jsadmin [--json] info DIR\n"
    "\n"
    "Shows what is in a store: how the last stop was, each stream with its messages, sizes and\n"
    "damage, each consumer with its positions.\n"
    "\n"
    "Changes no message. A damaged second copy of STORE or of the catalogue is written again from\n"
    "the good one, as at any start.\n";

static const char check_text[] =
    "usage: jsadmin [--json] check DIR\n"
    "\n"
    "Reads the whole store and verifies every checksum: STORE, both copies of the catalogue,\n"
    "segments, journal. Lists what is damaged, with its place; the exit code is 3 then.\n"
    "\n"
    "Changes no message. A damaged second copy of STORE or of the catalogue is written again from\n"
    "the good one, as at any start.\n";

static const char compact_text[] =
    "usage: jsadmin [--json] compact DIR\n"
    "\n"
    "Rewrites each segment that holds removed messages without them, and shows the bytes before\n"
    "and after. What a client sees of a stream stays as it is. Damaged segments are left alone.\n"
    "(A running server compacts by itself what is mostly dead.)\n";

static const char quarantine_text[] =
    "usage: jsadmin [--json] quarantine DIR [--empty]\n"
    "\n"
    "Lists the files that a start set aside because they were damaged or unknown.\n"
    "\n"
    "  --empty  removes them, for good\n";

static const char backup_text[] =
    "usage: jsadmin [--json] backup DIR --to ARCHIVE [--account A] [--stream S] [--replace]\n"
    "\n"
    "Writes all streams, with their consumers, into one file, which gets its name when it is "
    "whole\n"
    "and synced. A damaged message ends it; nothing is left behind then.\n"
    "\n"
    "  --to ARCHIVE  the file\n"
    "  --account A   only streams of this account\n"
    "  --stream S    only streams of this name\n"
    "  --replace     an archive that is there is replaced\n";

static const char verify_text[] =
    "usage: jsadmin [--json] verify ARCHIVE\n"
    "\n"
    "Reads every byte of an archive that backup wrote, verifies every "
    "checksum in it, and lists its\n"
    "streams.\n";

static const char restore_text[] =
    "usage: jsadmin [--json] restore DIR --from ARCHIVE [options]\n"
    "\n"
    "Verifies an archive, then puts its streams, with their consumers, into the store, which is\n"
    "made when missing: all of them, or none where one cannot be.\n"
    "\n"
    "  --from ARCHIVE  the file\n"
    "  --account A     only streams of this account\n"
    "  --stream S      only streams of this name\n"
    "  --as-account B  into this account\n"
    "  --as-stream T   under this name; for one stream\n"
    "  --replace       a stream of that name is replaced; else it refuses the whole\n";

static const struct help {
    const char *command; /* NULL: all of them */
    const char *text;
} helps[] = {
    {NULL, all_text},
    {"info", info_text},
    {"check", check_text},
    {"compact", compact_text},
    {"quarantine", quarantine_text},
    {"backup", backup_text},
    {"verify", verify_text},
    {"restore", restore_text},
};

const char *ja_help(const char *command)
{
    for (size_t i = 1; command != NULL && i < ARRAY_LEN(helps); i++) {
        if (strcmp(helps[i].command, command) == 0) {
            return helps[i].text;
        }
    }
    return helps[0].text;
}
