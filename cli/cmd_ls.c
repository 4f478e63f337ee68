#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"

static int ls_print_json(struct command_context *ctx, const json_t *reply)
{
    static const char *const keys[] = {"id",      "name",  "bytes", "files", "sources",
                                       "partial", "state", "names", NULL};
    json_t *list = json_array();
    size_t i;
    const json_t *share;
    json_array_foreach(json_object_get(reply, "shares"), i, share)
    {
        json_array_append_new(list, command_pick(share, keys));
    }
    return command_print_json(ctx, list);
}

static int ls_print(struct command_context *ctx, json_t *reply)
{
    struct render_style style = term_style(&ctx->term, stdout);
    if (ctx->args->json)
        return ls_print_json(ctx, reply);
    if (report_catalog(stdout, reply, &style) != 0)
        return command_fail(ctx, EXIT_FAILED, "out of memory");
    fflush(stdout); /* the footer comes behind the table */
    if (json_array_size(json_object_get(reply, "shares")) == 0)
        fputs("nothing is shared here yet: `ronda share PATH` begins\n", stderr);
    report_asked(stderr, reply);
    return EXIT_DONE;
}

static int ls_run(struct command_context *ctx)
{
    const struct client_request rq = {.method = "GET", .path = "/v1/catalog"};
    return command_ask(ctx, &rq, ls_print);
}

const struct command cmd_ls = {
    .name = "ls",
    .words = "",
    .summary = "list what the network holds",
    .details =
        "Lists what the hosts of this network share, merged by content: the same files under\n"
        "three names on three hosts are one line with three sources. STATE: here (all of it\n"
        "on this host), partial, remote. Any 4 digits or more of an ID's beginning stand for\n"
        "it. What is known now is shown at once; the last line, on stderr, tells how many\n"
        "hosts have not answered yet.\n\n"
        "Examples:\n"
        "  ronda ls\n"
        "  ronda --json ls | jq -r '.[] | select(.state == \"remote\") | .name'\n",
    .run = ls_run,
};
