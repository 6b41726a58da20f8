/* The floor under synchronous publishing: what this machine's sockets and disk allow a server that
 * has nothing else to do. It reads publishes, writes one page for all that one turn of the loop
 * brought, durably, and answers; nothing is parsed beyond the reply subject, nothing is stored.
 *
 * floor --file PATH --writers N: 0 writers do not write at all (sockets only), -1 writes on the
 * loop's own thread, N > 0 threads keep N writes in flight. Prints its port. Answers leave in the
 * order of their writes. Driven by floor.py. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { PAGE = 4096, FILE_PAGES = 4096, TURN_MAX = 64, TURNS_MAX = 1024, LINE_MAX_BYTES = 8192 };

struct answer {
    int fd;
    int len;
    char text[160];
};
struct turn {
    int n;
    atomic_bool durable;
    struct answer a[TURN_MAX];
};

static struct turn turns[TURNS_MAX]; /* a ring: filled, written, answered */
static unsigned filled, answered;    /* loop's */
static unsigned taken;               /* under mu */
static unsigned offered;             /* under mu */
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int disk, bell, poller;
static atomic_uint next_page;
static _Alignas(PAGE) uint8_t page[PAGE];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void write_page(void)
{
    off_t at = (off_t)(atomic_fetch_add(&next_page, 1) % FILE_PAGES) * PAGE;
    if (pwrite(disk, page, PAGE, at) != PAGE) {
        die("pwrite");
    }
}

/* Takes all turns that wait, makes them durable with one write. */
static void *writer(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_mutex_lock(&mu);
        while (taken == offered) {
            pthread_cond_wait(&more, &mu);
        }
        unsigned from = taken, to = offered;
        taken = to;
        pthread_mutex_unlock(&mu);
        write_page();
        for (; from != to; from++) {
            atomic_store_explicit(&turns[from % TURNS_MAX].durable, true, memory_order_release);
        }
        uint64_t one = 1;
        if (write(bell, &one, sizeof one) != sizeof one) {
            die("eventfd");
        }
    }
    return NULL;
}

static void answer(void)
{
    while (answered != filled) {
        struct turn *t = &turns[answered % TURNS_MAX];
        if (!atomic_load_explicit(&t->durable, memory_order_acquire)) {
            return;
        }
        for (int i = 0; i < t->n; i++) {
            if (write(t->a[i].fd, t->a[i].text, (size_t)t->a[i].len) < 0) {
                close(t->a[i].fd);
            }
        }
        answered++;
    }
}

/* One read of one connection: a piece of the handshake, or one publish with a reply subject. */
static void on_bytes(int fd, struct turn *t)
{
    char b[LINE_MAX_BYTES + 1];
    ssize_t n = read(fd, b, LINE_MAX_BYTES);
    if (n <= 0) {
        close(fd);
        return;
    }
    b[n] = 0;
    if (strstr(b, "PING\r\n") != NULL) {
        if (write(fd, "PONG\r\n", 6) < 0) {
            close(fd);
        }
        return;
    }
    char *reply = strncmp(b, "PUB ", 4) == 0 ? strstr(b, "_INBOX") : NULL;
    char *end = reply != NULL ? strchr(reply, ' ') : NULL;
    if (end == NULL || t->n == TURN_MAX) {
        return;
    }
    struct answer *a = &t->a[t->n++];
    a->fd = fd;
    a->len = snprintf(a->text, sizeof a->text,
                      "MSG %.*s 1 33\r\n{\"stream\":\"BENCH\", \"seq\":1234567}\r\n",
                      (int)(end - reply), reply);
}

static void on_accept(int listener)
{
    int fd = accept(listener, NULL, NULL);
    int on = 1;
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
        die("accept");
    }
    const char *info = "INFO {\"server_id\":\"FLOOR\",\"version\":\"2.10.0\",\"proto\":1,"
                       "\"headers\":true,\"max_payload\":1048576}\r\n";
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (write(fd, info, strlen(info)) < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, fd, &ev) != 0) {
        die("epoll_ctl");
    }
}

static void offer(struct turn *t, int writers)
{
    filled++;
    if (writers <= 0) {
        if (writers < 0) {
            write_page();
        }
        atomic_store(&t->durable, true);
        return;
    }
    pthread_mutex_lock(&mu);
    offered = filled;
    pthread_mutex_unlock(&mu);
    pthread_cond_signal(&more);
}

static void run(int listener, int writers)
{
    struct epoll_event evs[TURN_MAX];
    for (;;) {
        int n = epoll_wait(poller, evs, TURN_MAX, -1);
        struct turn *t = &turns[filled % TURNS_MAX];
        t->n = 0;
        atomic_store(&t->durable, false);
        for (int i = 0; i < n; i++) {
            int fd = evs[i].data.fd;
            uint64_t rung;
            if (fd == listener) {
                on_accept(fd);
            } else if (fd == bell) {
                if (read(bell, &rung, sizeof rung) < 0) {
                    die("eventfd");
                }
            } else {
                on_bytes(fd, t);
            }
        }
        if (t->n > 0) {
            offer(t, writers);
        }
        answer();
    }
}

/* Written once, so that the measured writes change data only. */
static void open_file(const char *path)
{
    disk = open(path, O_RDWR | O_CREAT, 0600);
    for (int i = 0; i < FILE_PAGES; i++) {
        if (disk < 0 || pwrite(disk, page, PAGE, (off_t)i * PAGE) != PAGE) {
            die(path);
        }
    }
    if (fsync(disk) != 0 || close(disk) != 0) {
        die(path);
    }
    disk = open(path, O_RDWR | O_DIRECT | O_DSYNC);
    if (disk < 0) {
        die(path);
    }
}

static int listen_any(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) != 0 || listen(fd, TURN_MAX) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        die("listen");
    }
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

int main(int argc, char **argv)
{
    if (argc != 5 || strcmp(argv[1], "--file") != 0 || strcmp(argv[3], "--writers") != 0) {
        fprintf(stderr, "usage: floor --file PATH --writers N\n");
        return 2;
    }
    int writers = atoi(argv[4]);
    open_file(argv[2]);
    poller = epoll_create1(0);
    bell = eventfd(0, EFD_NONBLOCK);
    for (int i = 0; i < writers; i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, writer, NULL) != 0) {
            die("pthread_create");
        }
    }
    int listener = listen_any();
    int fds[2] = {listener, bell};
    for (int i = 0; i < 2; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.fd = fds[i]};
        if (epoll_ctl(poller, EPOLL_CTL_ADD, fds[i], &ev) != 0) {
            die("epoll_ctl");
        }
    }
    run(listener, writers);
}
