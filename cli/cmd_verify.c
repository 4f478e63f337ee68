#include <stdlib.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"

static void verify_on_progress(void *arg, const json_t *line)
{
    struct command_context *ctx = arg;
    struct render_progress shown;
    char *name = render_clean(ctx->args->words[0], ctx->term.ascii);
    report_bytes_progress(line, name, &shown);
    if (name != NULL && !ctx->args->json)
        term_progress(&ctx->term, &shown);
    free(name);
}

static int verify_print(struct command_context *ctx, const json_t *done)
{
    static const char *const keys[] = {"id",        "name",    "bytes", "bad_chunks",
                                       "first_bad", "seconds", NULL};
    struct render_style style = term_style(&ctx->term, stdout);
    int code = EXIT_DONE;
    term_clear(&ctx->term);
    if (ctx->args->json)
        code = command_print_json(ctx, command_pick(done, keys));
    else if (report_verified(stdout, done, &style) != 0)
        code = EXIT_FAILED;
    return code == EXIT_DONE && report_number(done, "bad_chunks") != 0 ? EXIT_INTEGRITY : code;
}

static int verify_run(struct command_context *ctx)
{
    json_t *done = NULL, *body = json_pack("{s:s}", "what", ctx->args->words[0]);
    if (body == NULL)
        return command_fail(ctx, EXIT_FAILED, "%s is not UTF-8", ctx->args->words[0]);
    int code = client_job(ctx->client, "/v1/verify", body, verify_on_progress, ctx, &done);
    if (code == EXIT_STOPPED)
        code = command_fail(ctx, code, "stopped; not all of it has been checked");
    else if (code != EXIT_DONE)
        code = command_result(ctx, code);
    else
        code = verify_print(ctx, done);
    json_decref(done);
    json_decref(body);
    return code;
}

const struct command cmd_verify = {
    .name = "verify",
    .words = "NAME|ID",
    .summary = "read a share of this host again and check every byte",
    .details = "Reads the files of a share that this host holds and compares every chunk with its\n"
               "SHA-256. Ends with 5 when something is wrong.\n\n"
               "Example:\n"
               "  ronda verify talk && echo intact\n",
    .flags = COMMAND_LONG,
    .words_min = 1,
    .words_max = 1,
    .run = verify_run,
};
