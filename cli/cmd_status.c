#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"

static int status_print(struct command_context *ctx, json_t *reply)
{
    struct render_style style = term_style(&ctx->term, stdout);
    if (ctx->args->json)
        return command_print_json(ctx, json_incref(reply));
    if (report_status(stdout, reply, &style) != 0)
        return command_fail(ctx, EXIT_FAILED, "out of memory");
    return EXIT_DONE;
}

static int status_run(struct command_context *ctx)
{
    const struct client_request rq = {.method = "GET", .path = "/v1/status"};
    return command_ask(ctx, &rq, status_print);
}

const struct command cmd_status = {
    .name = "status",
    .words = "",
    .summary = "show this host's shares and transfers",
    .details =
        "Shows the daemon, what it shares and what it is fetching. COPIES is how much of a\n"
        "share the host that shared it first has sent since it was started, in copies: while\n"
        "nobody else has all of it, 1.00 is the least there can be. \"you may leave now\" is\n"
        "said of your own share as soon as the others together hold all of it.\n\n"
        "Examples:\n"
        "  ronda status\n"
        "  ronda --json status | jq '.transfers[] | {name, state, done_bytes}'\n",
    .run = status_run,
};
