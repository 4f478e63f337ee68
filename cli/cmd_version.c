#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"

/* reply NULL: no daemon, which is no failure here. */
static int version_print(struct command_context *ctx, json_t *reply)
{
    if (ctx->args->json)
        return command_print_json(ctx, json_pack("{s:s, s:o}", "version", RONDA_VERSION, "daemon",
                                                 reply != NULL ? json_incref(reply) : json_null()));
    printf("ronda %s\n", RONDA_VERSION);
    if (reply == NULL) {
        char *why = render_clean(client_error(ctx->client), ctx->term.ascii);
        puts(why != NULL ? why : "no daemon is running");
        free(why);
        return EXIT_DONE;
    }
    char *version = render_clean(report_text(reply, "version"), ctx->term.ascii);
    char *name = render_clean(report_text(reply, "name"), ctx->term.ascii);
    char *id = render_clean(report_text(reply, "id"), ctx->term.ascii);
    if (version != NULL && name != NULL && id != NULL)
        printf("rondad %s, protocol %llu, %s (%s)\n", version,
               (unsigned long long)report_number(reply, "protocol"), name, id);
    free(version);
    free(name);
    free(id);
    return EXIT_DONE;
}

static int version_run(struct command_context *ctx)
{
    const struct client_request rq = {.method = "GET", .path = "/v1/version"};
    json_t *reply;
    int code = client_json(ctx->client, &rq, &reply);
    if (code != EXIT_DONE && code != EXIT_NO_DAEMON)
        return command_result(ctx, code);
    code = version_print(ctx, reply);
    json_decref(reply);
    return code;
}

const struct command cmd_version = {
    .name = "version",
    .words = "",
    .summary = "show the version of ronda and of the daemon",
    .details = "Shows the version of this program and of the daemon, when one is running.\n\n"
               "Example:\n"
               "  ronda --json version | jq -r .daemon.protocol\n",
    .run = version_run,
};
