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
    if (fd >= 0 && fd < RECEIVE_FDS_MAX)
        atomic_store_explicit(&watched[fd], NULL, memory_order_release);
}

static struct strict *find(int fd)
{
    return fd >= 0 && fd < RECEIVE_FDS_MAX ? atomic_load_explicit(&watched[fd], memory_order_acquire) : NULL;
}

/* Instead of the C library's, for the library that this program is linked with, too. Who asks for `size`
 * bytes and gets fewer believes that there are no more for now, so what strict_read leaves out is made up
 * for. */
ssize_t recv(int fd, void *buffer, size_t size, int flags)
{
    char *at = buffer;
    size_t used = 0;
    struct strict *s = flags & MSG_PEEK ? NULL : find(fd);
    for (;;) {
        ssize_t count = recvfrom(fd, at + used, size - used, flags, NULL, NULL);
        if (!s || count <= 0)
            return used ? (ssize_t)used : count;
        size_t seen = strict_read(s, at + used, (size_t)count), wanted = size - used;
        used += seen;
        if (seen == (size_t)count || (used && (size_t)count < wanted))
            return (ssize_t)used;
    }
}
