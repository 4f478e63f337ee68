#include <stdlib.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"

static int unshare_print(struct command_context *ctx, json_t *reply)
{
    if (ctx->args->json)
        return command_print_json(ctx, json_incref(reply));
    char *name = render_clean(report_text(reply, "name"), ctx->term.ascii);
    bool unfinished = json_is_true(json_object_get(reply, "unfinished"));
    printf(unfinished ? "%s is given up; what had arrived is being deleted\n"
                      : "%s is no longer shared; the files stay\n",
           name != NULL ? name : "it");
    free(name);
    return EXIT_DONE;
}

static int unshare_run(struct command_context *ctx)
{
    const struct client_request rq = {
        .method = "DELETE", .path = "/v1/shares", .what = ctx->args->words[0]};
    return command_ask(ctx, &rq, unshare_print);
}

const struct command cmd_unshare = {
    .name = "unshare",
    .words = "NAME|ID",
    .summary = "stop sharing; the files stay",
    .details =
        "Stops sharing, and forgets the share. Your files are never deleted; of a get that is not\n"
        "finished, what had arrived is. What others have fetched already they keep and go on\n"
        "sharing.\n\n"
        "Example:\n"
        "  ronda unshare talk\n",
    .words_min = 1,
    .words_max = 1,
    .run = unshare_run,
};
