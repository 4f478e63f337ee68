#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"

static int peers_print(struct command_context *ctx, json_t *reply)
{
    struct render_style style = term_style(&ctx->term, stdout);
    json_t *peers = json_object_get(reply, "peers");
    if (ctx->args->json)
        return command_print_json(ctx, peers != NULL ? json_incref(peers) : json_array());
    if (report_peers(stdout, reply, &style) != 0)
        return command_fail(ctx, EXIT_FAILED, "out of memory");
    if (json_array_size(peers) == 0)
        fputs("no other host has been found yet\n", stderr);
    return EXIT_DONE;
}

static int peers_run(struct command_context *ctx)
{
    const struct client_request rq = {.method = "GET", .path = "/v1/peers"};
    return command_ask(ctx, &rq, peers_print);
}

const struct command cmd_peers = {
    .name = "peers",
    .words = "",
    .summary = "show the neighbours",
    .details =
        "Shows the hosts that were found, how they can be reached, and why not when the last\n"
        "try failed. With --json: an array.\n\n"
        "Examples:\n"
        "  ronda peers\n"
        "  ronda --json peers | jq -r '.[] | select(.state == \"failed\") | .error'\n",
    .run = peers_run,
};
