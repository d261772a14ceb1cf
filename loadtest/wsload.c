/* The load client: many WebSocket connections in one epoll loop, told by lines on standard input what to do.
 *
 *   wsload PORT PATH TOKENS SOURCES header|hello
 *
 * TOKENS is a file with one token a line; connection i uses line i. SOURCES is how many loopback addresses
 * (127.0.0.1, 127.0.0.2 …) the connections come from, since one address has 28,232 ports.
 *
 *   open N INFLIGHT   open N more, at most INFLIGHT of them between connect and welcome; answers when all are in
 *   every N           print {"passed": total} each time another N events have come
 *   reset             begin to count afresh
 *   report            print the counters since the last reset
 *   close N           cut the N youngest (all: 0), without a word
 *   quit
 *
 * Every answer is one line of JSON. Frames of the hub are told apart by how they begin, not parsed: the client
 * must cost less than what it measures. Latency is from the `at` of an event, by the clock of this machine.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (1 << 18)
#define EVENTS_AT_ONCE 512
#define SUB_BUCKETS 64 /* of each power of two: a latency is known to 1.6 % */
#define BUCKETS (SUB_BUCKETS * 34)
#define SMALL_MAX 125

enum state { FREE, CONNECTING, SHAKING, GREETING, OPEN };

struct connection {
    int fd;
    enum state state;
    int token;
    unsigned char *kept; /* the beginning of a frame whose rest has not come */
    size_t kept_bytes, kept_room;
    long long last_seq;
};

static struct connection *connections;
static int connections_max, connections_used;
static char **tokens;
static int token_count;
static int poller, port, sources, token_in_hello;
static const char *path;
static unsigned char buffer[READ_BYTES + 16];

static long long events, messages, bytes, others, resets, byes, lost, pings, every, next_mark;
static long long first_ns, last_ns, cpu_before_ns;
static long long latencies[BUCKETS], latency_count, latency_max_us;

static int open_wanted, open_started, open_done, open_failed, open_inflight, inflight_max;
static long long open_began_ns;
static char failure[160];

static long long clock_ns(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long cpu_ns(void) { return clock_ns(CLOCK_PROCESS_CPUTIME_ID); }

/* -- latency ----------------------------------------------------------------------------------------------------- */

static int bucket_of(unsigned long long us) {
    if (us < SUB_BUCKETS) return (int)us;
    int power = 63 - __builtin_clzll(us) - 5; /* so that us >> power is 32 to 63 */
    int index = power * (SUB_BUCKETS / 2) + (int)(us >> power);
    return index < BUCKETS ? index : BUCKETS - 1;
}

static double bucket_us(int index) {
    if (index < SUB_BUCKETS) return index;
    int power = index / (SUB_BUCKETS / 2) - 1;
    return (double)((unsigned long long)(index - power * (SUB_BUCKETS / 2)) << power);
}

static double percentile_us(double share) {
    long long below = 0, target = (long long)(share * latency_count);
    for (int i = 0; i < BUCKETS; i++)
        if ((below += latencies[i]) > target) return bucket_us(i);
    return latency_max_us;
}

static void take_latency(const unsigned char *frame, size_t size) {
    const unsigned char *found = memmem(frame, size < 256 ? size : 256, "\"at\":\"", 6);
    if (!found || found + 6 + 20 > frame + size || found[16] != 'T') return;
    const char *at = (const char *)found + 6;
    long long seconds = (at[11] - '0') * 36000LL + (at[12] - '0') * 3600 + (at[14] - '0') * 600 + (at[15] - '0') * 60 +
                        (at[17] - '0') * 10 + (at[18] - '0');
    long long fraction = 0, unit = 100000;
    if (at[19] == '.')
        for (const char *digit = at + 20; *digit >= '0' && *digit <= '9'; digit++, unit /= 10)
            fraction += (*digit - '0') * unit;
    long long us = clock_ns(CLOCK_REALTIME) / 1000 % 86400000000LL - seconds * 1000000 - fraction;
    if (us < -43200000000LL) us += 86400000000LL; /* midnight lay between */
    if (us < 0) us = 0;
    latencies[bucket_of(us)]++;
    latency_count++;
    if (us > latency_max_us) latency_max_us = us;
}

/* -- one connection ---------------------------------------------------------------------------------------------- */

static void write_all(int fd, const void *data, size_t size) {
    /* What a client says fits a socket's empty buffer; one that does not take it is broken, and will be seen so. */
    if (send(fd, data, size, MSG_NOSIGNAL) < 0) return;
}

/* A client's frames are masked (RFC 6455 5.3); a mask of zeros leaves them as they are. */
static void send_frame(int fd, int opcode, const void *payload, size_t size) {
    unsigned char frame[4096 + 8];
    size_t at = 0;
    if (size > 4096) return;
    frame[at++] = 0x80 | opcode;
    if (size <= SMALL_MAX) {
        frame[at++] = 0x80 | size;
    } else {
        frame[at++] = 0x80 | 126;
        frame[at++] = size >> 8;
        frame[at++] = size & 255;
    }
    memset(frame + at, 0, 4);
    memcpy(frame + at + 4, payload, size);
    write_all(fd, frame, at + 4 + size);
}

static void note_failure(const char *what, const char *detail, size_t size) {
    open_failed++;
    if (failure[0]) return;
    snprintf(failure, sizeof failure, "%s %.*s", what, (int)(size < 100 ? size : 100), detail);
    for (char *c = failure; *c; c++)
        if (*c < ' ' || *c == '"' || *c == '\\') *c = ' ';
}

static void end_connection(struct connection *one, const char *why, const char *detail, size_t size) {
    if (one->state == FREE) return;
    if (one->state == OPEN) {
        lost++;
    } else {
        open_inflight--;
        note_failure(why, detail, size);
    }
    close(one->fd);
    free(one->kept);
    one->kept = NULL;
    one->kept_bytes = one->kept_room = 0;
    one->state = FREE;
}

static void begin_connection(struct connection *one, int token) {
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int yes = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + token % sources);
    memset(one, 0, sizeof *one);
    one->token = token;
    one->state = CONNECTING;
    open_inflight++;
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (one->fd < 0) {
        end_connection(one, "socket", strerror(errno), 100);
        return;
    }
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(one->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (bind(one->fd, (struct sockaddr *)&from, sizeof from) < 0 ||
        (connect(one->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)) {
        end_connection(one, "connect", strerror(errno), 100);
        return;
    }
    struct epoll_event wanted = {.events = EPOLLOUT, .data.u32 = one - connections};
    epoll_ctl(poller, EPOLL_CTL_ADD, one->fd, &wanted);
}

static void shake(struct connection *one) {
    char request[4096];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
                        path, port);
    if (!token_in_hello)
        size += snprintf(request + size, sizeof request - size, "Authorization: Bearer %s\r\n", tokens[one->token]);
    size += snprintf(request + size, sizeof request - size, "\r\n");
    write_all(one->fd, request, size);
    struct epoll_event wanted = {.events = EPOLLIN, .data.u32 = one - connections};
    epoll_ctl(poller, EPOLL_CTL_MOD, one->fd, &wanted);
    one->state = SHAKING;
}

static void greet(struct connection *one) {
    char hello[4096];
    int size = token_in_hello
                   ? snprintf(hello, sizeof hello, "{\"type\":\"hello\",\"token\":\"%s\"}", tokens[one->token])
                   : snprintf(hello, sizeof hello, "{\"type\":\"hello\"}");
    send_frame(one->fd, 1, hello, size);
    one->state = GREETING;
}

static int begins(const unsigned char *data, size_t size, const char *with) {
    size_t length = strlen(with);
    return size >= length && memcmp(data, with, length) == 0;
}

static void take_event(struct connection *one, const unsigned char *frame, size_t size) {
    events++;
    one->last_seq = atoll((const char *)frame + 22); /* behind {"type":"event","seq": */
    take_latency(frame, size);
}

static void take_message(struct connection *one, const unsigned char *data, size_t size) {
    static const char mark[] = "{\"type\":\"event\",";
    messages++;
    if (one->state == GREETING) {
        if (begins(data, size, "{\"type\":\"welcome\"")) {
            one->state = OPEN;
            open_inflight--;
            open_done++;
        } else {
            end_connection(one, "instead of a welcome came", (const char *)data, size);
        }
    } else if (begins(data, size, mark)) {
        take_event(one, data, size);
    } else if (begins(data, size, "{\"type\":\"events\"")) {
        const unsigned char *at = data, *end = data + size;
        while ((at = memmem(at, end - at, mark, sizeof mark - 1))) {
            take_event(one, at, end - at);
            at += sizeof mark - 1;
        }
    } else if (begins(data, size, "{\"type\":\"reset\"")) {
        resets++;
    } else if (begins(data, size, "{\"type\":\"bye\"")) {
        byes++;
    } else {
        others++;
    }
}

/* How many bytes of the data were whole frames. */
static size_t take_frames(struct connection *one, const unsigned char *data, size_t size) {
    size_t at = 0;
    while (one->state != FREE && size - at >= 2) {
        int opcode = data[at] & 15;
        size_t head = 2, length = data[at + 1] & 127;
        if (length == 126) {
            if (size - at < 4) break;
            head = 4;
            length = data[at + 2] << 8 | data[at + 3];
        } else if (length == 127) {
            if (size - at < 10) break;
            head = 10;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | data[at + i];
        }
        if (size - at < head + length) break;
        const unsigned char *payload = data + at + head;
        at += head + length;
        if (opcode == 9) {
            pings++;
            send_frame(one->fd, 10, payload, length);
        } else if (opcode == 8) {
            send_frame(one->fd, 8, payload, length);
            end_connection(one, "closed:", length > 2 ? (const char *)payload + 2 : "", length > 2 ? length - 2 : 0);
        } else if (opcode == 1 || opcode == 2) {
            take_message(one, payload, length);
        }
    }
    return at;
}

static void keep(struct connection *one, const unsigned char *data, size_t size) {
    if (size > one->kept_room) {
        one->kept_room = size * 2;
        one->kept = realloc(one->kept, one->kept_room);
        if (!one->kept) exit(1);
    }
    memmove(one->kept, data, size);
    one->kept_bytes = size;
}

static void take_data(struct connection *one, unsigned char *data, size_t size) {
    if (one->state == SHAKING) {
        unsigned char *end = memmem(data, size, "\r\n\r\n", 4);
        if (!end) {
            keep(one, data, size);
            return;
        }
        if (!begins(data, size, "HTTP/1.1 101")) {
            end_connection(one, "not upgraded:", (char *)data, size);
            return;
        }
        greet(one);
        size -= end + 4 - data;
        data = end + 4;
    }
    size_t used = take_frames(one, data, size);
    if (one->state == FREE) return;
    if (used < size)
        keep(one, data + used, size - used);
    else
        one->kept_bytes = 0;
}

static void hear(struct connection *one) {
    size_t before = one->kept_bytes;
    if (before) memcpy(buffer, one->kept, before);
    ssize_t size = recv(one->fd, buffer + before, READ_BYTES - before, 0);
    if (size <= 0) {
        if (size < 0 && errno == EAGAIN) return;
        end_connection(one, size ? strerror(errno) : "ended by the server", "", 0);
        return;
    }
    last_ns = clock_ns(CLOCK_MONOTONIC);
    if (!first_ns) first_ns = last_ns;
    bytes += size;
    buffer[before + size] = 0; /* so that reading a number ends */
    take_data(one, buffer, before + size);
}

/* -- what is asked ----------------------------------------------------------------------------------------------- */

static void open_more(void) {
    while (open_started < open_wanted && open_inflight < inflight_max) {
        int index = connections_used + open_started;
        open_started++;
        begin_connection(&connections[index], index);
    }
    if (open_wanted && open_done + open_failed == open_wanted) {
        printf("{\"opened\":%d,\"failed\":%d,\"seconds\":%.6f,\"why\":\"%s\"}\n", open_done, open_failed,
               (clock_ns(CLOCK_MONOTONIC) - open_began_ns) / 1e9, failure);
        connections_used += open_wanted;
        open_wanted = 0;
    }
}

static void report(void) {
    long long seq_min = -1, seq_max = -1;
    int now = 0;
    for (int i = 0; i < connections_used; i++) {
        if (connections[i].state != OPEN) continue;
        now++;
        if (seq_min < 0 || connections[i].last_seq < seq_min) seq_min = connections[i].last_seq;
        if (connections[i].last_seq > seq_max) seq_max = connections[i].last_seq;
    }
    printf("{\"connections\":%d,\"events\":%lld,\"messages\":%lld,\"bytes\":%lld,\"others\":%lld,\"resets\":%lld,"
           "\"byes\":%lld,\"lost\":%lld,\"pings\":%lld,\"first_ns\":%lld,\"last_ns\":%lld,\"cpu_s\":%.6f,"
           "\"seq_min\":%lld,\"seq_max\":%lld,\"latency\":{\"count\":%lld,\"p50_us\":%.0f,\"p90_us\":%.0f,"
           "\"p99_us\":%.0f,\"max_us\":%lld}}\n",
           now, events, messages, bytes, others, resets, byes, lost, pings, first_ns, last_ns,
           (cpu_ns() - cpu_before_ns) / 1e9, seq_min, seq_max, latency_count, percentile_us(0.5), percentile_us(0.9),
           percentile_us(0.99), latency_max_us);
}

static void reset(void) {
    events = messages = bytes = others = resets = byes = lost = pings = first_ns = last_ns = 0;
    latency_count = latency_max_us = 0;
    memset(latencies, 0, sizeof latencies);
    next_mark = every;
    cpu_before_ns = cpu_ns();
}

static void cut(int count) {
    long long lost_before = lost;
    if (!count || count > connections_used) count = connections_used;
    for (int i = connections_used - count; i < connections_used; i++)
        if (connections[i].state != FREE) {
            connections[i].state = OPEN;
            end_connection(&connections[i], "", "", 0);
        }
    connections_used -= count;
    lost = lost_before;
}

static void obey(const char *line) {
    int count, inflight;
    if (sscanf(line, "open %d %d", &count, &inflight) == 2) {
        if (open_wanted || connections_used + count > connections_max) {
            printf("{\"error\":\"there are %d tokens, and one open at a time\"}\n", token_count);
            return;
        }
        open_wanted = count;
        inflight_max = inflight;
        open_started = open_done = open_failed = open_inflight = 0;
        failure[0] = 0;
        open_began_ns = clock_ns(CLOCK_MONOTONIC);
    } else if (sscanf(line, "every %d", &count) == 1) {
        every = count;
        next_mark = events + every;
        printf("{\"every\":%d}\n", count);
    } else if (sscanf(line, "close %d", &count) == 1) {
        cut(count);
        printf("{\"left\":%d}\n", connections_used);
    } else if (!strncmp(line, "reset", 5)) {
        reset();
        printf("{\"reset\":true}\n");
    } else if (!strncmp(line, "report", 6)) {
        report();
    } else if (!strncmp(line, "quit", 4)) {
        exit(0);
    } else {
        printf("{\"error\":\"not a command\"}\n");
    }
}

static void read_commands(void) {
    static char lines[4096];
    static size_t size;
    ssize_t more = read(0, lines + size, sizeof lines - 1 - size);
    if (more <= 0) exit(0);
    size += more;
    lines[size] = 0;
    char *at = lines, *end;
    while ((end = strchr(at, '\n'))) {
        *end = 0;
        obey(at);
        at = end + 1;
    }
    size -= at - lines;
    memmove(lines, at, size);
}

static void read_tokens(const char *name) {
    FILE *file = fopen(name, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    if (!file) {
        fprintf(stderr, "wsload: %s: %s\n", name, strerror(errno));
        exit(1);
    }
    while ((size = getline(&line, &room, file)) > 0) {
        if (line[size - 1] == '\n') line[--size] = 0;
        if (size > 3000) {
            fprintf(stderr, "wsload: a token is longer than 3000 bytes\n");
            exit(1);
        }
        tokens = realloc(tokens, (token_count + 1) * sizeof *tokens);
        tokens[token_count++] = strdup(line);
    }
    free(line);
    fclose(file);
}

int main(int argc, char **argv) {
    struct epoll_event ready[EVENTS_AT_ONCE];
    if (argc != 6) {
        fprintf(stderr, "usage: wsload PORT PATH TOKENS SOURCES header|hello\n");
        return 2;
    }
    port = atoi(argv[1]);
    path = argv[2];
    read_tokens(argv[3]);
    sources = atoi(argv[4]) > 0 ? atoi(argv[4]) : 1;
    token_in_hello = !strcmp(argv[5], "hello");
    connections_max = token_count;
    connections = calloc(connections_max + 1, sizeof *connections);
    poller = epoll_create1(0);
    struct epoll_event commands = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(poller, EPOLL_CTL_ADD, 0, &commands);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (;;) {
        int count = epoll_wait(poller, ready, EVENTS_AT_ONCE, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.u32 == UINT32_MAX) {
                read_commands();
                continue;
            }
            struct connection *one = &connections[ready[i].data.u32];
            if (one->state == CONNECTING && !(ready[i].events & (EPOLLERR | EPOLLHUP)))
                shake(one);
            else if (one->state != FREE)
                hear(one);
        }
        open_more();
        while (every && events >= next_mark) {
            printf("{\"passed\":%lld}\n", next_mark);
            next_mark += every;
        }
    }
}
