/* Sees every byte that libmicrohttpd receives, before it does. The library has no hook for that, and takes
 * what it parses apart in place; but it asks the C library for the bytes, and the name recv is ours:
 * receive.c defines it, as the program may, and passes on to the kernel. Sockets that nobody watches pass
 * through.
 *
 * The thread that receives from a socket is the one that watches and unwatches it. */
#pragma once
#include "server/wire/strict.h"

enum { RECEIVE_FDS_MAX = 1 << 16 };

/* What comes from `fd` goes through `s` from now on. -1: there are more descriptors than places. */
int receive_watch(int fd, struct strict *s);
void receive_unwatch(int fd);
