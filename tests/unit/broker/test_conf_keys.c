/* The table of config keys is the one that broker/CONFIG.md shows: the same lines in the same
 * order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "broker/conf_keys.h"
#include "engine/base/base.h"

static const char *shown_block(enum brk_key_block block)
{
    static const char *const names[BRK_KEYS_BLOCKS] = {
        "top level", "authorization",    "one user",      "one account", "jetstream of an account",
        "jetstream", "jetstream.limits", "feature_flags",
    };
    return names[block];
}

/* One line of the table as the paper has it. */
static void render(const struct brk_key *k, char *out, size_t size)
{
    static const char *const status[] = {"served", "no effect", "refused"};
    char names[256], shown[512] = "";
    size_t at = 0;
    snprintf(names, sizeof names, "%s", k->names);
    for (char *n = strtok(names, "|"); n != NULL; n = strtok(NULL, "|")) {
        at += (size_t)snprintf(shown + at, sizeof shown - at, "%s`%s`", at == 0 ? "" : ", ", n);
    }
    snprintf(out, size, "| %s | %s | %s | %s%s |\n", shown_block(k->block), shown,
             status[k->status], k->status == BRK_KEY_REFUSED ? "remove it to " : "",
             k->note == NULL ? "" : k->note);
}

static void the_paper_shows_the_table(void **state)
{
    FILE *f = fopen("broker/CONFIG.md", "r");
    char line[1024], want[1024];
    size_t count = 0, at = 0;
    const struct brk_key *table = brk_key_table(&count);
    bool in_table = false;
    (void)state;
    assert_non_null(f); /* tests run from the root of the tree */
    while (fgets(line, sizeof line, f) != NULL) {
        if (in_table && line[0] == '|') {
            assert_true(at < count);
            render(&table[at++], want, sizeof want);
            assert_string_equal(line, want);
        }
        in_table = in_table || strncmp(line, "|---|", 5) == 0;
    }
    fclose(f);
    if (at < count) {
        render(&table[at], want, sizeof want);
        fail_msg("broker/CONFIG.md lacks: %s", want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_paper_shows_the_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
