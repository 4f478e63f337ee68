#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"

static void get_on_progress(void *arg, const json_t *line)
{
    struct command_context *ctx = arg;
    struct render_progress shown;
    if (ctx->args->json) {
        (void)command_print_json(ctx, json_deep_copy(line));
        return;
    }
    const char *name = report_text(line, "name");
    char *clean = render_clean(name[0] != '\0' ? name : ctx->args->words[0], ctx->term.ascii);
    report_transfer_progress(line, clean, &shown);
    if (clean != NULL)
        term_progress(&ctx->term, &shown);
    free(clean);
}

static int get_print(struct command_context *ctx, const json_t *done)
{
    static const char *const keys[] = {"id",
                                       "name",
                                       "bytes",
                                       "seconds",
                                       "peers",
                                       "bytes_from_source",
                                       "duplicates_bytes",
                                       "verified",
                                       "path",
                                       "source_copies",
                                       "files",
                                       NULL};
    struct render_style style = term_style(&ctx->term, stdout);
    term_clear(&ctx->term);
    if (!json_is_true(json_object_get(done, "verified"))) /* 0 is a promise */
        return command_fail(ctx, EXIT_INTEGRITY, "not every byte of it is verified");
    if (ctx->args->json)
        return command_print_json(ctx, command_pick(done, keys));
    return report_got(stdout, done, &style) == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* The daemon has another current directory. NULL: said why. */
static char *get_dest(struct command_context *ctx)
{
    const char *dir = ctx->args->dir != NULL ? ctx->args->dir : ".";
    struct stat st;
    char *dest = realpath(dir, NULL);
    if (dest == NULL) {
        int err = errno;
        command_fail(ctx, EXIT_FAILED,
                     err == ENOENT ? "%s: %s: make it first with `mkdir -p`" : "%s: %s", dir,
                     strerror(err));
        return NULL;
    }
    if (stat(dest, &st) != 0 || !S_ISDIR(st.st_mode)) {
        command_fail(ctx, EXIT_FAILED, "%s is not a directory: -o takes the one to put it in", dir);
        free(dest);
        return NULL;
    }
    return dest;
}

static int get_post(struct command_context *ctx, const json_t *body)
{
    json_t *done = NULL;
    int code = client_job(ctx->client, "/v1/downloads", body, get_on_progress, ctx, &done);
    if (code == EXIT_STOPPED)
        code = command_fail(ctx, code, "stopped; run the same command again to go on from there");
    else if (code != EXIT_DONE)
        code = command_result(ctx, code);
    else
        code = get_print(ctx, done);
    json_decref(done);
    return code;
}

static int get_run(struct command_context *ctx)
{
    char *dest = get_dest(ctx);
    if (dest == NULL)
        return EXIT_FAILED;
    json_t *body = json_pack("{s:s, s:s}", "what", ctx->args->words[0], "dest", dest);
    int code = body != NULL ? get_post(ctx, body)
                            : command_fail(ctx, EXIT_FAILED, "%s or %s is not UTF-8",
                                           ctx->args->words[0], dest);
    json_decref(body);
    free(dest);
    return code;
}

const struct command cmd_get = {
    .name = "get",
    .words = "NAME|ID [-o DIR]",
    .summary = "fetch a share",
    .details =
        "Fetches a share into DIR (default: the current directory) from everybody who has a\n"
        "part of it, and passes on to the others what has arrived. An ID may be shortened to\n"
        "its first 4 digits or more. Ends with 0 only when every byte is verified and in\n"
        "place. Nothing of yours is overwritten: the same file is kept, a different one makes\n"
        "`name (2)`. After Ctrl-C the same command goes on from where it stopped.\n\n"
        "  -o, --output-dir DIR  where to put it; it must exist\n\n"
        "With --json: progress lines ({\"event\": \"progress\", ...}), then the result as last "
        "line.\n\n"
        "Examples:\n"
        "  ronda get talk\n"
        "  ronda get 3fa9c1 -o ~/Videos\n"
        "  ronda --json get talk | tail -n 1 | jq .bytes_from_source\n",
    .flags = COMMAND_DIR | COMMAND_LONG,
    .words_min = 1,
    .words_max = 1,
    .run = get_run,
};
