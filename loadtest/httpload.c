/* The load client for REST: POSTs on kept connections, as fast as they are answered or at a given rate.
 *
 *   httpload PORT PATH BODIES TOKENS CONNECTIONS RATE WARM_S SECONDS
 *
 * BODIES has one body a line, taken in turn by all connections; TOKENS one token a line, connection i uses line i.
 * RATE 0: each connection asks again once it is answered. Else so many requests a second are due, whatever the server
 * does; one that finds no free connection waits, and its latency counts from when it was due.
 * What is answered in the first WARM_S seconds is not counted. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 8192
#define CONNECTIONS_MAX 1024
#define SAMPLES_MAX (1 << 22)

struct list {
    char **items;
    size_t *sizes;
    int count;
};

struct connection {
    int fd, is_busy, wants_room;
    char head[HEAD_MAX]; /* of the request that is sent */
    size_t head_bytes, sent;
    int body;
    long long due_ns;
    char answer[HEAD_MAX];
    size_t answer_bytes;
    long long body_left; /* -1 while the head of the answer is not whole */
    int status;
};

static struct connection *all;
static struct list bodies, tokens;
static int port, connections, next_body, poller;
static const char *path;
static long long began_ns, counted_from_ns, ends_ns, due_total, begun_total;
static long long answered, refused, bytes_in;
static double rate;
static unsigned *samples_us;
static int sample_count;
static char complaint[200];

static long long now_ns(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "httpload: %s: %s\n", what, strerror(errno));
    exit(1);
}

static struct list read_lines(const char *name) {
    struct list lines = {0};
    FILE *file = fopen(name, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    if (!file) fail(name);
    while ((size = getline(&line, &room, file)) > 0) {
        if (line[size - 1] == '\n') line[--size] = 0;
        lines.items = realloc(lines.items, (lines.count + 1) * sizeof *lines.items);
        lines.sizes = realloc(lines.sizes, (lines.count + 1) * sizeof *lines.sizes);
        lines.sizes[lines.count] = size;
        lines.items[lines.count++] = strdup(line);
    }
    free(line);
    fclose(file);
    if (!lines.count) fail(name);
    return lines;
}

static void watch(struct connection *one, int wants_room) {
    struct epoll_event wanted = {.events = EPOLLIN | (wants_room ? EPOLLOUT : 0), .data.ptr = one};
    if (one->wants_room == wants_room) return;
    one->wants_room = wants_room;
    epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &wanted);
}

static void push(struct connection *one) {
    size_t total = one->head_bytes + bodies.sizes[one->body];
    while (one->sent < total) {
        struct iovec parts[2];
        int count = 0;
        if (one->sent < one->head_bytes)
            parts[count++] = (struct iovec){one->head + one->sent, one->head_bytes - one->sent};
        size_t of_body = one->sent > one->head_bytes ? one->sent - one->head_bytes : 0;
        parts[count++] = (struct iovec){bodies.items[one->body] + of_body, bodies.sizes[one->body] - of_body};
        ssize_t taken = writev(one->fd, parts, count);
        if (taken < 0) {
            if (errno != EAGAIN) fail("the server hung up");
            watch(one, 1);
            return;
        }
        one->sent += taken;
    }
    watch(one, 0);
}

static void ask(struct connection *one, long long due_ns) {
    one->body = next_body++ % bodies.count;
    one->head_bytes = snprintf(one->head, HEAD_MAX,
                               "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAuthorization: Bearer %s\r\n"
                               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                               path, port, tokens.items[(one - all) % tokens.count], bodies.sizes[one->body]);
    if (one->head_bytes >= HEAD_MAX) fail("a token is too long");
    one->sent = one->answer_bytes = 0;
    one->body_left = -1;
    one->is_busy = 1;
    one->due_ns = due_ns;
    begun_total++;
    push(one);
}

static void ask_what_is_due(void) {
    long long now = now_ns(CLOCK_MONOTONIC);
    if (now >= ends_ns) return;
    due_total = rate > 0 ? (long long)((now - began_ns) / 1e9 * rate) : begun_total + connections;
    for (int i = 0; i < connections && begun_total < due_total; i++)
        if (!all[i].is_busy) ask(&all[i], rate > 0 ? began_ns + (long long)(begun_total / rate * 1e9) : now);
}

static void finish(struct connection *one) {
    long long now = now_ns(CLOCK_MONOTONIC);
    one->is_busy = 0;
    if (one->status / 100 != 2) {
        if (!refused++) snprintf(complaint, sizeof complaint, "%.*s", 190, one->answer);
        return;
    }
    if (now < counted_from_ns || now > ends_ns) return;
    answered++;
    if (sample_count < SAMPLES_MAX) samples_us[sample_count++] = (now - one->due_ns) / 1000;
}

static void read_head(struct connection *one) {
    char *end = memmem(one->answer, one->answer_bytes, "\r\n\r\n", 4);
    if (!end) {
        if (one->answer_bytes >= HEAD_MAX - 1) fail("the head of an answer is too long");
        return;
    }
    *end = 0; /* the last line's CRLF goes, its text stays */
    one->status = atoi(one->answer + 9);
    char *length = strcasestr(one->answer, "\r\ncontent-length:");
    if (!length) fail("an answer without a length");
    one->body_left = atoll(length + 17) - (long long)(one->answer_bytes - (end + 4 - one->answer));
}

static void hear(struct connection *one) {
    static char rest[1 << 18];
    while (one->is_busy) {
        int in_head = one->body_left < 0;
        char *to = in_head ? one->answer + one->answer_bytes : rest;
        size_t room = in_head ? HEAD_MAX - 1 - one->answer_bytes : sizeof rest;
        ssize_t size = recv(one->fd, to, room, 0);
        if (size < 0 && errno == EAGAIN) return;
        if (size <= 0) fail("the server hung up");
        bytes_in += size;
        if (in_head) {
            one->answer_bytes += size;
            one->answer[one->answer_bytes] = 0;
            read_head(one);
        } else {
            one->body_left -= size;
        }
        if (one->body_left == 0) finish(one);
        if ((size_t)size < room) return;
    }
}

static void connect_all(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int yes = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    all = calloc(connections, sizeof *all);
    for (int i = 0; i < connections; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (all[i].fd < 0 || connect(all[i].fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        /* Non-blocking from here on. */
        int flags = 1;
        if (ioctl(all[i].fd, FIONBIO, &flags) < 0) fail("ioctl");
        epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &wanted);
    }
}

static int ascending(const void *a, const void *b) {
    return (*(const unsigned *)a > *(const unsigned *)b) - (*(const unsigned *)a < *(const unsigned *)b);
}

static double percentile_ms(double share) {
    return sample_count ? samples_us[(int)(share * (sample_count - 1))] / 1000.0 : 0;
}

static void report(double seconds, double cpu_s) {
    qsort(samples_us, sample_count, sizeof *samples_us, ascending);
    for (char *c = complaint; *c; c++)
        if (*c < ' ' || *c == '"' || *c == '\\') *c = ' ';
    printf("{\"answered\":%lld,\"refused\":%lld,\"seconds\":%.3f,\"cpu_s\":%.6f,\"bytes_in\":%lld,\"late\":%lld,"
           "\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f,\"why\":\"%s\"}\n",
           answered, refused, seconds, cpu_s, bytes_in, rate > 0 ? due_total - begun_total : 0, percentile_ms(0.5),
           percentile_ms(0.9), percentile_ms(0.99), percentile_ms(1), complaint);
}

int main(int argc, char **argv) {
    struct epoll_event ready[CONNECTIONS_MAX];
    if (argc != 9) {
        fprintf(stderr, "usage: httpload PORT PATH BODIES TOKENS CONNECTIONS RATE WARM_S SECONDS\n");
        return 2;
    }
    port = atoi(argv[1]);
    path = argv[2];
    bodies = read_lines(argv[3]);
    tokens = read_lines(argv[4]);
    connections = atoi(argv[5]);
    rate = atof(argv[6]);
    samples_us = malloc(SAMPLES_MAX * sizeof *samples_us);
    if (connections < 1 || connections > CONNECTIONS_MAX || !samples_us) fail("connections");
    poller = epoll_create1(0);
    connect_all();
    began_ns = now_ns(CLOCK_MONOTONIC);
    counted_from_ns = began_ns + (long long)(atof(argv[7]) * 1e9);
    ends_ns = counted_from_ns + (long long)(atof(argv[8]) * 1e9);
    while (now_ns(CLOCK_MONOTONIC) < ends_ns) {
        ask_what_is_due();
        int count = epoll_wait(poller, ready, CONNECTIONS_MAX, rate > 0 ? 1 : 100);
        for (int i = 0; i < count; i++) {
            struct connection *one = ready[i].data.ptr;
            if (ready[i].events & EPOLLOUT) push(one);
            if (ready[i].events & ~EPOLLOUT) hear(one);
        }
    }
    report((ends_ns - counted_from_ns) / 1e9, now_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e9);
    return 0;
}
