/* wireless: is an address of this host on Wi-Fi? */
#ifndef RONDA_DISCOVERY_WIRELESS_H
#define RONDA_DISCOVERY_WIRELESS_H

#include <stdbool.h>
#include <sys/socket.h>

/* As discovery_wireless(), with the kernel's list of interfaces (/sys/class/net)
 * in the directory given. */
bool wireless_at(const char *interfaces, const struct sockaddr *own);

#endif
