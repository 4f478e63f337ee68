/* links: keeps browsers, our service and our addresses on exactly the links that
 * may be used, one set a link, for either back end. */
#ifndef RONDA_DISCOVERY_LINKS_H
#define RONDA_DISCOVERY_LINKS_H

#include "discovery/mdns.h"

struct links;

struct links *links_new(const struct mdns_api *api, void *backend); /* NULL: out of memory */
void links_free(struct links *l);                                   /* before its back end */

/* Makes all as wanted; s NULL: browse alone. 0, -EEXIST: the name is taken (nothing
 * is published on that link), -EAGAIN: something did not work, call again later. */
int links_sync(struct links *l, const struct netwatch_link *wanted, unsigned count,
               const struct mdns_service *s) __attribute__((warn_unused_result));

/* Browses anew from what is cached, so that what was ignored is told again. */
void links_rebrowse(struct links *l);

#endif
