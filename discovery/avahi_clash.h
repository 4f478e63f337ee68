/* avahi_clash: libavahi-core and libavahi-client (0.8) both export a function
 * avahi_entry_group_free, with different arguments. In a process that has both, the
 * dynamic linker gives all callers, inside the libraries too, whichever comes first,
 * and it dies in the other's. Ours comes before either and sends each on to its own. */
#ifndef RONDA_DISCOVERY_AVAHI_CLASH_H
#define RONDA_DISCOVERY_AVAHI_CLASH_H

/* The one of libavahi-client, for us. Naming it also links the other one in. */
int avahi_clash_client_group_free(void *group);

#endif
