/* label: a wanted name made into a DNS label for an instance (RFC 6763 4.1.1). PURE. */
#ifndef RONDA_DISCOVERY_LABEL_H
#define RONDA_DISCOVERY_LABEL_H

#include <stddef.h>

/* Writes at most size - 1 bytes of valid UTF-8, cut between two characters; what
 * is no UTF-8 and control characters become '_'. An empty name gives `fallback`. */
void label_from_name(const char *name, const char *fallback, char *out, size_t size);

#endif
