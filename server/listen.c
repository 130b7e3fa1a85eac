#include "server/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

static int is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    return address->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

static int bind_one(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1, off = 0;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    /* [::] serves IPv4, too, whatever the system's default is. */
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int listen_bind(const char *host, const char *port, int loopback_only, int *fd, struct err *e)
{
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV}, *found;
    int problem = getaddrinfo(host, port, &wanted, &found);
    if (problem != 0)
        return err_set(e, "address_unusable", "--listen %s: %s", host, gai_strerror(problem));
    int result;
    if (loopback_only && !is_loopback(found->ai_addr))
        result = err_set(e, "usage", "--no-auth is for loopback addresses only, not for %s", host);
    else if ((*fd = bind_one(found)) >= 0)
        result = 0;
    else
        result =
            err_set(e, "address_unusable", "cannot listen on %s port %s: %s", host, port, strerror(errno));
    freeaddrinfo(found);
    return result;
}

int listen_start(int fd, char url[LISTEN_URL_BYTES], struct err *e)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char text[INET6_ADDRSTRLEN];
    if (listen(fd, BACKLOG) != 0 || getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return err_errno(e, "cannot listen");
    if (address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&address;
        inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof text);
        snprintf(url, LISTEN_URL_BYTES, "http://[%s]:%d", text, ntohs(a->sin6_port));
    } else {
        const struct sockaddr_in *a = (const struct sockaddr_in *)&address;
        inet_ntop(AF_INET, &a->sin_addr, text, sizeof text);
        snprintf(url, LISTEN_URL_BYTES, "http://%s:%d", text, ntohs(a->sin_port));
    }
    return 0;
}
