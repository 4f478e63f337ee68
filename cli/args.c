#include "cli/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUESS_MAX = 24 };

struct option {
    const char *longer, *shorter;
    enum { OPTION_SOCKET, OPTION_NAME, OPTION_DIR, OPTION_JSON, OPTION_HELP, OPTION_VERSION } id;
    bool has_value;
};

static const struct option options[] = {
    {"--socket", NULL, OPTION_SOCKET, true},  {"--name", "-n", OPTION_NAME, true},
    {"--output-dir", "-o", OPTION_DIR, true}, {"--json", NULL, OPTION_JSON, false},
    {"--help", "-h", OPTION_HELP, false},     {"--version", "-V", OPTION_VERSION, false},
};

struct parse {
    const struct command *const *table;
    int argc;
    char *const *argv;
    int at;
    struct args *out;
    char *error;
};

static int usage_error(struct parse *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int usage_error(struct parse *p, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(p->error, ARGS_ERROR_BYTES, fmt, args);
    va_end(args);
    return EXIT_USAGE;
}

const struct command *args_find(const struct command *const *table, const char *name)
{
    for (; *table != NULL; table++)
        if (strcmp((*table)->name, name) == 0)
            return *table;
    return NULL;
}

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits (insert, drop, replace, swap two neighbours) from a to b; both <= GUESS_MAX long. */
static unsigned edit_distance(const char *a, const char *b)
{
    unsigned d[GUESS_MAX + 1][GUESS_MAX + 1];
    size_t rows = strlen(a), columns = strlen(b);
    for (unsigned i = 0; i <= rows; i++)
        d[i][0] = i;
    for (unsigned j = 0; j <= columns; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= rows; i++)
        for (size_t j = 1; j <= columns; j++) {
            d[i][j] = least(least(d[i - 1][j], d[i][j - 1]) + 1,
                            d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[rows][columns];
}

/* What other programs call it. */
static const char *synonym_of(const char *name)
{
    static const char *const pairs[][2] = {
        {"list", "ls"},       {"fetch", "get"},      {"download", "get"}, {"add", "share"},
        {"publish", "share"}, {"remove", "unshare"}, {"rm", "unshare"},   {"check", "verify"},
        {"top", "watch"},     {"hosts", "peers"}};
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (strcmp(pairs[i][0], name) == 0)
            return pairs[i][1];
    return NULL;
}

const struct command *args_guess(const struct command *const *table, const char *name)
{
    size_t len = strlen(name);
    const struct command *best = NULL;
    /* nearer than replacing every letter, and within two edits */
    unsigned limit = len < 3 ? 1 : 2, nearest = limit + 1;
    if (len == 0 || len > GUESS_MAX)
        return NULL;
    if (synonym_of(name) != NULL)
        return args_find(table, synonym_of(name));
    for (; *table != NULL; table++) {
        unsigned distance = edit_distance(name, (*table)->name);
        bool begins = len >= 3 && strncmp((*table)->name, name, len) == 0;
        if (begins)
            distance = 0;
        if (distance < nearest && distance < strlen((*table)->name)) {
            nearest = distance;
            best = *table;
        }
    }
    return best;
}

/* The option that arg names; *value: what is glued to it, or NULL. */
static const struct option *option_find(const char *arg, const char **value)
{
    *value = NULL;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        const struct option *o = &options[i];
        size_t len = strlen(o->longer);
        if (strncmp(arg, o->longer, len) == 0 && (arg[len] == '\0' || arg[len] == '=')) {
            *value = arg[len] == '=' ? arg + len + 1 : NULL;
            return o;
        }
        if (o->shorter != NULL && strncmp(arg, o->shorter, 2) == 0 &&
            (arg[2] == '\0' || o->has_value)) {
            *value = arg[2] != '\0' ? arg + 2 : NULL;
            return o;
        }
    }
    return NULL;
}

static int option_set(struct parse *p, const struct option *o, const char *value)
{
    struct args *a = p->out;
    if (o->has_value && (value == NULL || value[0] == '\0'))
        return usage_error(p, "%s needs a value", o->longer);
    if (!o->has_value && value != NULL)
        return usage_error(p, "%s takes no value", o->longer);
    switch (o->id) {
    case OPTION_SOCKET:
        a->socket = value;
        break;
    case OPTION_NAME:
        a->name = value;
        break;
    case OPTION_DIR:
        a->dir = value;
        break;
    case OPTION_JSON:
        a->json = true;
        break;
    case OPTION_HELP:
        a->help = true;
        break;
    case OPTION_VERSION:
        a->version = true;
        break;
    }
    return 0;
}

static int parse_option(struct parse *p)
{
    const char *arg = p->argv[p->at], *value;
    const struct option *o = option_find(arg, &value);
    if (o == NULL)
        return usage_error(p, "there is no option `%s`", arg);
    if (o->has_value && value == NULL && p->at + 1 < p->argc)
        value = p->argv[++p->at];
    return option_set(p, o, value);
}

static int parse_word(struct parse *p)
{
    struct args *a = p->out;
    const char *word = p->argv[p->at];
    if (word[0] == '\0')
        return usage_error(p, "an empty word means nothing");
    if (a->command != NULL) {
        a->words[a->word_count++] = word;
        return 0;
    }
    a->command = args_find(p->table, word);
    if (a->command != NULL)
        return 0;
    const struct command *guess = args_guess(p->table, word);
    if (guess != NULL)
        return usage_error(p, "there is no command `%s`: did you mean `%s`?", word, guess->name);
    return usage_error(p, "there is no command `%s`: `ronda help` lists them", word);
}

/* Do the words and options fit the command? */
static int check_command(struct parse *p)
{
    const struct args *a = p->out;
    const struct command *c = a->command;
    if (c == NULL)
        return usage_error(p, "no command was given: `ronda help` lists them");
    if (a->word_count < c->words_min)
        return usage_error(p, "`ronda %s` needs %s", c->name, c->words);
    if (a->word_count > c->words_max)
        return usage_error(p, "`ronda %s` does not take `%s`", c->name, a->words[c->words_max]);
    if (a->name != NULL && (c->flags & COMMAND_NAME) == 0)
        return usage_error(p, "`ronda %s` does not take --name", c->name);
    if (a->name != NULL && a->word_count > 1)
        return usage_error(p, "--name names one share: give it with one PATH");
    if (a->dir != NULL && (c->flags & COMMAND_DIR) == 0)
        return usage_error(p, "`ronda %s` does not take -o", c->name);
    if (a->json && (c->flags & COMMAND_NO_JSON) != 0)
        return usage_error(p, "`ronda %s` does not take --json", c->name);
    return 0;
}

int args_parse(const struct command *const *table, int argc, char *const argv[], struct args *out,
               char error[static ARGS_ERROR_BYTES])
{
    struct parse p = {.table = table, .argc = argc, .argv = argv, .out = out, .error = error};
    bool only_words = false;
    error[0] = '\0';
    *out = (struct args){0};
    out->words = calloc((size_t)argc + 1, sizeof(*out->words));
    if (out->words == NULL) {
        snprintf(error, ARGS_ERROR_BYTES, "out of memory");
        return EXIT_FAILED;
    }
    for (p.at = 1; p.at < argc; p.at++) {
        const char *arg = argv[p.at];
        bool dashed = !only_words && arg[0] == '-' && arg[1] != '\0';
        int err = 0;
        if (dashed && strcmp(arg, "--") == 0)
            only_words = true;
        else
            err = dashed ? parse_option(&p) : parse_word(&p);
        if (out->help || out->version)
            return 0;
        if (err != 0)
            return err;
    }
    return check_command(&p);
}

void args_free(struct args *a)
{
    free(a->words);
    *a = (struct args){0};
}
