#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"

static int torrent_on_bytes(void *arg, const char *data, size_t len)
{
    struct command_context *ctx = arg;
    if (fwrite(data, 1, len, stdout) != len)
        return command_fail(ctx, EXIT_FAILED, "can't write: %s", strerror(errno));
    return EXIT_DONE;
}

static int torrent_run(struct command_context *ctx)
{
    const struct client_request rq = {
        .method = "GET", .path = "/v1/torrent", .what = ctx->args->words[0]};
    if (isatty(STDOUT_FILENO))
        return command_fail(ctx, EXIT_USAGE,
                            "a .torrent is no text for a terminal: add `> FILE.torrent`");
    int code = client_bytes(ctx->client, &rq, torrent_on_bytes, ctx);
    /* what torrent_on_bytes() said it has said; the client knows nothing about it */
    return code == EXIT_DONE || client_error(ctx->client)[0] == '\0' ? code
                                                                     : command_result(ctx, code);
}

const struct command cmd_torrent = {
    .name = "torrent",
    .words = "NAME|ID > FILE",
    .summary = "write a .torrent (BitTorrent v2) of a share",
    .details = "Writes a BitTorrent v2 .torrent of a share that this host holds to stdout; its\n"
               "infohash is the share's id, so the share is also `magnet:?xt=urn:btmh:1220ID`.\n\n"
               "Example:\n"
               "  ronda torrent talk > talk.torrent\n",
    .flags = COMMAND_NO_JSON,
    .words_min = 1,
    .words_max = 1,
    .run = torrent_run,
};
