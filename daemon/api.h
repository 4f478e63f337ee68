/* api: the control API, HTTP + JSON on a unix socket.
 *
 * <runtime-dir>/control.sock, mode 0600 (0660 for the system service's group);
 * the other end's uid (SO_PEERCRED) must be ours or root's. A request with
 * `Origin`, `Transfer-Encoding` or an absolute-form URI is refused: a web page may
 * be behind it. Header <= 16 KiB, body <= 64 KiB, at most 32 connections.
 *
 * Answers are JSON; failures {"error": sentence, "code": the CLI's exit code}
 * with status 400, 404, 409 or 500. Streams are application/x-ndjson: one JSON
 * object a line, {"event": "progress", ...} lines, at most 5 a second, then one
 * {"event": "done", ...} or {"event": "error", "error": sentence, "code": n}.
 * Closing the connection abandons the job.
 *
 * GET    /v1/version  {version, protocol, id, name}
 * GET    /v1/catalog  {hosts_asked, hosts_waiting, shares: [{id, name, names, bytes, files,
 *                      sources, partial, state: here|partial|remote}]}
 * GET    /v1/status   {node: {id, name, version, port, uptime_seconds, discovery, discovery_state,
 *                      hosts_asked, hosts_waiting}, transfers: [transfer]}
 *   transfer: {id, name, bytes, files, chunks, state: idle|seeding|checking|waiting|running|
 *              disk-full|finishing|paused|failed|changed, origin, done_bytes, files_done, peers,
 *              peers_seen, down_per_s, up_per_s, received_bytes, bytes_from_source,
 *              duplicates_bytes, uploaded_bytes, copies_sent, source_copies (null: unknown),
 *              source_restarted, spread, may_leave, seconds, path, error (only when failed)}; the
 *              rates are means of the last seconds, and 0 as soon as the state says that nothing
 *              moves; copies are counted since the source was started, and when it was started
 *              again meanwhile (source_restarted) they are the least that it has sent
 * GET    /v1/peers    {peers: [{id, name, address, port, state: known|dialling|connected|failed,
 *                      error, shares, transfers, in_bytes, out_bytes, wireless,
 *                      wireless_here}]}: which end of a connection is on Wi-Fi
 * GET    /v1/watch    stream of /v1/status objects, one every 500 ms, without end
 * POST   /v1/shares   {path, name?} -> stream; progress {done_bytes, total_bytes};
 *                     done {id, name, bytes, files, chunks, seconds, skipped, was (another
 *                     name that this path was shared by until now, else null)}
 * DELETE /v1/shares?what=W   {id, name, unfinished: what had arrived of it is being deleted}
 * POST   /v1/downloads {what, dest?} -> stream; without dest it goes to download-dir;
 *                     progress: transfer; done: transfer (peers: that sent us something)
 *                     and verified: true
 * POST   /v1/verify   {what} -> stream; progress {done_bytes, total_bytes};
 *                     done {id, name, bytes, bad_chunks, first_bad, seconds}
 * GET    /v1/torrent?what=W  the .torrent (application/x-bittorrent)
 *
 * Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no daemon, 4 not found (or
 * ambiguous), 5 integrity, 6 no space.
 */
#ifndef RONDA_API_H
#define RONDA_API_H

#include <event2/event.h>

#include "transfer/core/err.h"

#define API_SOCKET_NAME "control.sock"

struct api;
struct node;

/* runtime_dir is made (0700) when absent. A stale socket is replaced, a live one
 * is -EADDRINUSE. error: one sentence. */
int api_new(struct event_base *base, struct node *n, const char *runtime_dir, struct api **out,
            char error[static 1024]) RONDA_MUST_CHECK;
void api_free(struct api *a); /* removes the socket */

/* The CLI's exit code for an error of err.h or -errno. */
int api_exit_code(int err);

#endif
