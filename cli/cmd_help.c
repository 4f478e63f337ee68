#include "cli/args.h"
#include "cli/command.h"

static int help_run(struct command_context *ctx)
{
    const struct args *a = ctx->args;
    if (a->word_count == 0) {
        command_usage(stdout);
        return EXIT_DONE;
    }
    const struct command *c = args_find(command_table(), a->words[0]);
    if (c != NULL) {
        command_help(stdout, c);
        return EXIT_DONE;
    }
    const struct command *guess = args_guess(command_table(), a->words[0]);
    if (guess != NULL)
        return command_fail(ctx, EXIT_USAGE, "there is no command `%s`: did you mean `%s`?",
                            a->words[0], guess->name);
    return command_fail(ctx, EXIT_USAGE, "there is no command `%s`: `ronda help` lists them",
                        a->words[0]);
}

const struct command cmd_help = {
    .name = "help",
    .words = "[COMMAND]",
    .summary = "tell about a command",
    .details = "Without COMMAND: the list of commands.\n\n"
               "Example:\n"
               "  ronda help get\n",
    .flags = COMMAND_NO_JSON,
    .words_max = 1,
    .run = help_run,
};
