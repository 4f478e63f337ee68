/* listener: the data port.
 *
 * One dual-stack TCP socket on [::]:port. Accept pauses near RLIMIT_NOFILE and
 * on EMFILE/ENFILE and goes on after a while without spinning. Loop thread only.
 */
#ifndef RONDA_LISTENER_H
#define RONDA_LISTENER_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "transfer/core/err.h"

struct listener;

/* fd now belongs to the callee. */
typedef void listener_fn(void *arg, int fd, const struct sockaddr *addr);

/* port 0: any free one. fallback: when port is taken, take any free one. -errno. */
int listener_new(struct event_base *base, uint16_t port, bool fallback, listener_fn *on_accept,
                 void *arg, struct listener **out) RONDA_MUST_CHECK;
void listener_free(struct listener *l);
uint16_t listener_port(const struct listener *l);

#endif
