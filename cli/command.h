/* command: what a subcommand is, and what it is given. One file each: cmd_*.c. */
#ifndef RONDA_COMMAND_H
#define RONDA_COMMAND_H

#include <jansson.h>
#include <stdbool.h>

#include "cli/exit.h"
#include "cli/term.h"

struct args;
struct client;
struct client_request;

enum {
    COMMAND_NAME = 1,    /* takes --name */
    COMMAND_DIR = 2,     /* takes -o */
    COMMAND_LONG = 4,    /* runs long: Ctrl-C is answered with a sentence */
    COMMAND_NO_JSON = 8, /* its output is neither text nor JSON */
    COMMAND_WORDS_MAX = 4096
};

struct command_context {
    const struct args *args;
    struct client *client;
    struct term term;
};

struct command {
    const char *name;
    const char *words;   /* of the synopsis: "PATH... [--name NAME]" */
    const char *summary; /* a clause for the list of commands */
    const char *details; /* what --help says besides, with examples */
    unsigned flags;      /* COMMAND_* */
    unsigned words_min, words_max;
    int (*run)(struct command_context *ctx); /* exit code */
};

extern const struct command cmd_share, cmd_ls, cmd_get, cmd_status, cmd_peers, cmd_watch,
    cmd_unshare, cmd_verify, cmd_torrent, cmd_version, cmd_help;

/* All of them in the order of the help text; ends with NULL. */
const struct command *const *command_table(void);

void command_usage(FILE *out);
void command_help(FILE *out, const struct command *c);

/* "ronda: SENTENCE" on stderr, escaped; with --json also {"error", "code"} on
 * stdout. Returns code. */
int command_fail(struct command_context *ctx, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with what the client has to say; EXIT_DONE passes through. */
int command_result(struct command_context *ctx, int code);

typedef int command_print_fn(struct command_context *ctx, json_t *reply);
/* Asks the daemon for one document and has it printed. Exit code: print()'s, or that of
 * the request, which is then told. The reply is freed here. */
int command_ask(struct command_context *ctx, const struct client_request *rq,
                command_print_fn *print);

/* One document on one line, in ASCII: nothing in it can move a terminal's cursor.
 * value is taken over; NULL is out of memory. Exit code. */
int command_print_json(struct command_context *ctx, json_t *value);
/* A new object with these keys of object, in this order; a missing one is null. */
json_t *command_pick(const json_t *object, const char *const *keys);

#endif
