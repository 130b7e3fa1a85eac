#include "server/wire/receive.h"

#include <stdatomic.h>
#include <sys/socket.h>

static _Atomic(struct strict *) watched[RECEIVE_FDS_MAX];

int receive_watch(int fd, struct strict *s)
{
    if (fd < 0 || fd >= RECEIVE_FDS_MAX)
        return -1;
    atomic_store_explicit(&watched[fd], s, memory_order_release);
    return 0;
}

void receive_unwatch(int fd)
{
    atomic_store_explicit(&watched[fd], NULL, memory_order_release);
}

/* Instead of the C library's, for the library that this program is linked with, too. */
ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    ssize_t count = recvfrom(fd, buffer, size, flags, NULL, NULL);
    if (count > 0 && fd >= 0 && fd < RECEIVE_FDS_MAX && !(flags & MSG_PEEK)) {
        struct strict *s = atomic_load_explicit(&watched[fd], memory_order_acquire);
        if (s)
            strict_read(s, buffer, (size_t)count);
    }
    return count;
}
