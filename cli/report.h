/* report: answers of the daemon as text for people. PURE: JSON in, text out.
 *
 * Nothing in an answer is trusted: a missing key or one of the wrong type reads as
 * 0 or "", and every string passes the escaper. Text goes to `out`; 0 or -ENOMEM.
 */
#ifndef RONDA_REPORT_H
#define RONDA_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "cli/render.h"

int report_catalog(FILE *out, const json_t *reply, const struct render_style *style);
/* "asked 9 hosts, 1 has not answered yet" */
void report_asked(FILE *out, const json_t *reply);
int report_status(FILE *out, const json_t *reply, const struct render_style *style);
int report_peers(FILE *out, const json_t *reply, const struct render_style *style);

/* The one line about a job that is done. */
int report_shared(FILE *out, const json_t *done, const struct render_style *style);
int report_got(FILE *out, const json_t *done, const struct render_style *style);
int report_verified(FILE *out, const json_t *done, const struct render_style *style);

/* Of an answer for report_status(): is the share with this id on its way here? */
bool report_is_fetched(const json_t *reply, const char *id);

/* A progress line of the daemon as render_progress() wants it. name: clean,
 * borrowed, as are the notes. get: a transfer, else {done_bytes, total_bytes}. */
void report_transfer_progress(const json_t *line, const char *name, struct render_progress *out);
void report_bytes_progress(const json_t *line, const char *name, struct render_progress *out);

/* Tolerant reading. */
const char *report_text(const json_t *object, const char *key);
uint64_t report_number(const json_t *object, const char *key);

#endif
