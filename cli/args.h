/* args: the command line into a struct. PURE.
 *
 * Options may stand before or behind the command and between its words;
 * `--` ends them. Values: `--name N`, `--name=N`, `-o D`, `-oD`.
 */
#ifndef RONDA_ARGS_H
#define RONDA_ARGS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/command.h"

enum { ARGS_ERROR_BYTES = 512 };

struct args {
    const struct command *command; /* NULL: none was given */
    const char *socket;            /* --socket, or NULL */
    const char *name;              /* --name, or NULL */
    const char *dir;               /* -o, or NULL */
    bool json, help, version;
    const char **words; /* what stands behind the command; pointers into argv */
    size_t word_count;
};

/* table: ends with NULL. EXIT_DONE; EXIT_FAILED or EXIT_USAGE with one sentence in error;
 * --help and --version win over a mistake that follows them. */
int args_parse(const struct command *const *table, int argc, char *const argv[], struct args *out,
               char error[static ARGS_ERROR_BYTES]) EXIT_MUST_CHECK;
void args_free(struct args *a);

/* The command of that name, or NULL. */
const struct command *args_find(const struct command *const *table, const char *name);
/* The one that was probably meant, or NULL when nothing is near. */
const struct command *args_guess(const struct command *const *table, const char *name);

#endif
