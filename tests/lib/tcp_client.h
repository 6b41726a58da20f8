/* A client socket on loopback for tests that cannot include <sys/socket.h> (its MSG_BATCH is also a
 * name of engine/record.h). Nothing here blocks but the connecting. */
#ifndef TESTS_LIB_TCP_CLIENT_H
#define TESTS_LIB_TCP_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A connected socket, or -1; the caller closes it. */
int tcp_client(uint16_t port);
/* As send and recv, without waiting: -1 when nothing can be sent or has come. */
ssize_t tcp_send(int fd, const void *p, size_t n);
ssize_t tcp_recv(int fd, void *p, size_t n);

#endif
