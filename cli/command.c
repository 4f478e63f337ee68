#include "cli/command.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/client.h"

/* 15 digits: 23.1 stays 23.1 */
enum { COMMAND_JSON_FLAGS = JSON_ENSURE_ASCII | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15) };

static const struct command *const commands[] = {
    &cmd_share,   &cmd_ls,     &cmd_get,     &cmd_status,  &cmd_peers, &cmd_watch,
    &cmd_unshare, &cmd_verify, &cmd_torrent, &cmd_version, &cmd_help,  NULL};

static const char option_socket[] =
    "  --socket PATH   the daemon's socket (else $RONDA_SOCKET, else where rondad puts it)\n";
static const char option_json[] = "  --json          JSON on stdout and nothing else there\n";
static const char options_word[] = "  -h, --help      this text; behind a command, that command's\n"
                                   "  -V, --version   the version\n";

static const char exit_codes[] =
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon, 4 not found or ambiguous,\n"
    "5 content does not match its hash, 6 no space, 130 stopped by Ctrl-C.\n";

const struct command *const *command_table(void)
{
    return commands;
}

void command_usage(FILE *out)
{
    fputs("ronda: share files on the local network; what one fetches it passes on to the others\n\n"
          "Usage: ronda [--socket PATH] [--json] COMMAND\n\nCommands:\n",
          out);
    for (size_t i = 0; commands[i] != NULL; i++) {
        const struct command *c = commands[i];
        fprintf(out, "  %s %-*s %s\n", c->name, 30 - (int)strlen(c->name), c->words, c->summary);
    }
    fprintf(out, "\nOptions:\n%s%s%s\n%s", option_socket, option_json, options_word, exit_codes);
    fputs("\nExamples:\n"
          "  ronda share talk/           everybody on this network can fetch it now\n"
          "  ronda ls                    what the network holds\n"
          "  ronda get talk              fetch it into this directory\n",
          out);
}

void command_help(FILE *out, const struct command *c)
{
    bool json = (c->flags & COMMAND_NO_JSON) == 0;
    fprintf(out, "Usage: ronda [--socket PATH]%s %s%s%s\n\n%s\n", json ? " [--json]" : "", c->name,
            c->words[0] != '\0' ? " " : "", c->words, c->details);
    fprintf(out, "Options:\n%s%s%s\n%s", option_socket, json ? option_json : "", options_word,
            exit_codes);
}

int command_fail(struct command_context *ctx, int code, const char *fmt, ...)
{
    char text[CLIENT_ERROR_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    char *clean = render_clean(text, ctx->term.ascii);
    term_clear(&ctx->term);
    fprintf(stderr, "ronda: %s\n", clean != NULL ? clean : "out of memory");
    /* a sentence that quotes a path which is not UTF-8 goes out escaped */
    if (ctx->args->json) {
        json_t *sentence = json_string(text);
        if (sentence == NULL)
            sentence = json_string(clean);
        json_t *doc = json_pack("{s:o, s:i}", "error", sentence, "code", code);
        (void)command_print_json(ctx, doc);
    }
    free(clean);
    return code;
}

int command_result(struct command_context *ctx, int code)
{
    return code == EXIT_DONE ? code : command_fail(ctx, code, "%s", client_error(ctx->client));
}

int command_ask(struct command_context *ctx, const struct client_request *rq,
                command_print_fn *print)
{
    json_t *reply;
    int code = client_json(ctx->client, rq, &reply);
    if (code != EXIT_DONE)
        return command_result(ctx, code);
    code = print(ctx, reply);
    json_decref(reply);
    return code;
}

int command_print_json(struct command_context *ctx, json_t *value)
{
    char *text = value == NULL ? NULL : json_dumps(value, COMMAND_JSON_FLAGS);
    json_decref(value);
    term_clear(&ctx->term);
    if (text == NULL) {
        fputs("ronda: out of memory\n", stderr);
        return EXIT_FAILED;
    }
    /* DEL is the one control character that jansson leaves as it is */
    for (const char *at = text; *at != '\0'; at++)
        if (*at == '\177')
            fputs("\\u007f", stdout);
        else
            putchar(*at);
    putchar('\n');
    fflush(stdout); /* somebody may be reading line by line */
    free(text);
    return EXIT_DONE;
}

json_t *command_pick(const json_t *object, const char *const *keys)
{
    json_t *out = json_object();
    for (; out != NULL && *keys != NULL; keys++) {
        json_t *value = json_object_get(object, *keys);
        json_object_set_new(out, *keys, value != NULL ? json_incref(value) : json_null());
    }
    return out;
}
