#include <stdlib.h>
#include <string.h>

#include "cli/args.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/report.h"

struct watch {
    struct command_context *ctx;
    unsigned lines; /* on the screen from the last time */
};

/* Prints at most rows lines of text; returns how many. */
static unsigned print_rows(const char *text, unsigned rows)
{
    unsigned lines = 0;
    while (*text != '\0' && lines < rows) {
        size_t len = strcspn(text, "\n");
        printf("%.*s\n", (int)len, text);
        text += len + (text[len] == '\n');
        lines++;
    }
    return lines;
}

static void watch_draw(struct watch *w, const char *text, unsigned rows)
{
    if (!w->ctx->term.out) {
        printf("%s\n", text);
        fflush(stdout);
        return;
    }
    if (w->lines != 0)
        printf("\033[%uA", w->lines);
    fputs("\r\033[J", stdout);
    w->lines = print_rows(text, rows);
    fflush(stdout);
}

/* How many lines fit; 0: all, it is no terminal. */
static unsigned watch_rows(const struct watch *w)
{
    unsigned rows = term_rows();
    if (!w->ctx->term.out)
        return 0;
    return rows > 1 ? rows - 1 : 24; /* the cursor stands below */
}

static int watch_on_line(void *arg, const json_t *line)
{
    struct watch *w = arg;
    struct render_style style = term_style(&w->ctx->term, stdout);
    char *text = NULL;
    size_t len = 0;
    style.redraws = true;
    style.rows = watch_rows(w);
    if (w->ctx->args->json)
        return command_print_json(w->ctx, json_deep_copy(line));
    FILE *f = open_memstream(&text, &len);
    if (f == NULL)
        return EXIT_FAILED;
    int err = report_status(f, line, &style);
    fclose(f);
    if (err == 0)
        watch_draw(w, text, style.rows);
    free(text);
    return err == 0 && !ferror(stdout) ? EXIT_DONE : EXIT_FAILED;
}

static int watch_run(struct command_context *ctx)
{
    const struct client_request rq = {.method = "GET", .path = "/v1/watch"};
    struct watch w = {.ctx = ctx};
    int code = client_stream(ctx->client, &rq, watch_on_line, &w);
    /* Ctrl-C is how one leaves it */
    return code == EXIT_STOPPED ? EXIT_DONE : command_result(ctx, code);
}

const struct command cmd_watch = {
    .name = "watch",
    .words = "",
    .summary = "show shares and transfers live",
    .details =
        "What `ronda status` shows, twice a second, until Ctrl-C; what moves comes first when\n"
        "not all of it fits. With --json: one document a line.\n\n"
        "Examples:\n"
        "  ronda watch\n"
        "  ronda --json watch | jq --unbuffered '[.transfers[].down_per_s] | add'\n",
    .flags = COMMAND_LONG,
    .run = watch_run,
};
