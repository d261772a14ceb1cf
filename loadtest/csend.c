/* The limit of one send a frame: a WebSocket server that does nothing but call send.
 *
 *   csend FRAME_BYTES
 *
 * Listens on a free port of loopback, prints it, and answers every handshake and hello. Standard input is a stream
 * of 32-bit numbers in this machine's order: ALL sends the frame to every connection, any other to that one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ALL UINT32_MAX
#define CONNECTIONS_MAX 65536
#define EVENTS_AT_ONCE 512

/* The answer to the one key that the load client sends: the example of RFC 6455 1.3. */
static const char upgrade[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char welcome[] = "\x81\x12{\"type\":\"welcome\"}";

static int fds[CONNECTIONS_MAX], count;
static char is_upgraded[CONNECTIONS_MAX];
static unsigned char *frame;
static size_t frame_bytes;

static void give(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t taken = send(fd, at, size, MSG_NOSIGNAL);
        if (taken < 0 && errno == EAGAIN) {
            struct pollfd slow = {.fd = fd, .events = POLLOUT};
            poll(&slow, 1, -1);
        } else if (taken < 0) {
            return;
        } else {
            at += taken;
            size -= taken;
        }
    }
}

static void make_frame(size_t size) {
    static const char head[] = "{\"type\":\"event\",\"seq\":1,\"cursor\":1,\"data\":\"";
    size_t at = 0;
    frame = malloc(size + 16);
    frame[at++] = 0x81;
    if (size <= 125) {
        frame[at++] = size;
    } else {
        frame[at++] = 126;
        frame[at++] = size >> 8;
        frame[at++] = size & 255;
    }
    memset(frame + at, 'x', size);
    memcpy(frame + at, head, sizeof head - 1);
    memcpy(frame + at + size - 2, "\"}", 2);
    frame_bytes = at + size;
}

static void obey(void) {
    static unsigned char data[1 << 16];
    static size_t kept;
    ssize_t size = read(0, data + kept, sizeof data - kept);
    if (size <= 0) exit(0);
    size += kept;
    size_t whole = size / 4 * 4;
    for (size_t at = 0; at < whole; at += 4) {
        uint32_t to;
        memcpy(&to, data + at, 4);
        if (to == ALL) {
            for (int i = 0; i < count; i++)
                if (fds[i] >= 0) give(fds[i], frame, frame_bytes);
        } else if (to < (uint32_t)count && fds[to] >= 0) {
            give(fds[to], frame, frame_bytes);
        }
    }
    kept = size - whole;
    memmove(data, data + whole, kept);
}

static void hear(int index) {
    char data[4096];
    ssize_t size = recv(fds[index], data, sizeof data, 0);
    if (size <= 0) {
        if (size < 0 && errno == EAGAIN) return;
        close(fds[index]);
        fds[index] = -1;
    } else if (!is_upgraded[index]) {
        is_upgraded[index] = 1;
        give(fds[index], upgrade, sizeof upgrade - 1);
    } else if (size > 2 && (data[0] & 15) == 1) {
        give(fds[index], welcome, sizeof welcome - 1);
    }
}

int main(int argc, char **argv) {
    struct epoll_event ready[EVENTS_AT_ONCE], wanted = {.events = EPOLLIN};
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    size_t bytes = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poller = epoll_create1(0), yes = 1;
    if (bytes < 64 || bytes > 65535) {
        fprintf(stderr, "usage: csend FRAME_BYTES (64 to 65535)\n");
        return 2;
    }
    make_frame(bytes);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 4096) < 0) {
        perror("csend");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&at, &size);
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    wanted.data.u32 = CONNECTIONS_MAX;
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &wanted);
    wanted.data.u32 = CONNECTIONS_MAX + 1;
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &wanted);
    for (;;) {
        int many = epoll_wait(poller, ready, EVENTS_AT_ONCE, -1);
        for (int i = 0; i < many; i++) {
            uint32_t who = ready[i].data.u32;
            if (who == CONNECTIONS_MAX) {
                int fd;
                while (count < CONNECTIONS_MAX && (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                    wanted.data.u32 = count;
                    fds[count++] = fd;
                    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &wanted);
                }
            } else if (who == CONNECTIONS_MAX + 1) {
                obey();
            } else if (fds[who] >= 0) {
                hear(who);
            }
        }
    }
}
