#include "tests/lib/tcp_client.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

int tcp_client(uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

ssize_t tcp_send(int fd, const void *p, size_t n)
{
    return send(fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t tcp_recv(int fd, void *p, size_t n)
{
    return recv(fd, p, n, MSG_DONTWAIT);
}
