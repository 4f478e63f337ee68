/* main: reads the command line, opens the way to the daemon, runs one command. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/locate.h"

/* What was written must have arrived: `ronda ls > /dev/full` has failed. */
static int main_flush(int code)
{
    bool failed = ferror(stdout) != 0;
    if (fflush(stdout) == 0 && !failed)
        return code;
    fputs("ronda: can't write to standard output\n", stderr);
    return code == EXIT_DONE ? EXIT_FAILED : code;
}

static int main_run(struct command_context *ctx)
{
    const struct args *a = ctx->args;
    char path[LOCATE_PATH_BYTES];
    const struct locate_places places = {.option = a->socket,
                                         .environment = getenv("RONDA_SOCKET"),
                                         .runtime_dir = getenv("XDG_RUNTIME_DIR"),
                                         .tmp_dir = "/tmp",
                                         .system_dir = "/run",
                                         .uid = getuid()};
    locate_socket(&places, path);
    int stop_fd = (a->command->flags & COMMAND_LONG) != 0 ? term_stop_fd() : -1;
    int code = client_new(path, stop_fd < 0 ? -1 : stop_fd, &ctx->client);
    code = code == EXIT_DONE ? a->command->run(ctx) : command_fail(ctx, code, "out of memory");
    client_free(ctx->client);
    if (stop_fd >= 0)
        close(stop_fd);
    return code;
}

static int main_usage_error(struct command_context *ctx, int argc, const char *error)
{
    if (argc < 2) {
        command_usage(stderr);
        return EXIT_USAGE;
    }
    int code = command_fail(ctx, EXIT_USAGE, "%s", error);
    const struct command *c = ctx->args->command;
    fprintf(stderr, "Try `ronda %s%s--help`.\n", c != NULL ? c->name : "", c != NULL ? " " : "");
    return code;
}

int main(int argc, char *argv[])
{
    char error[ARGS_ERROR_BYTES];
    struct args args;
    struct command_context ctx = {.args = &args};
    term_open(&ctx.term);
    int code = args_parse(command_table(), argc, argv, &args, error);
    if (code == EXIT_USAGE)
        code = main_usage_error(&ctx, argc, error);
    else if (code != EXIT_DONE)
        code = command_fail(&ctx, code, "%s", error);
    else if (args.version)
        printf("ronda %s\n", RONDA_VERSION);
    else if (args.help && args.command != NULL)
        command_help(stdout, args.command);
    else if (args.help)
        command_usage(stdout);
    else
        code = main_run(&ctx);
    args_free(&args);
    return main_flush(code);
}
